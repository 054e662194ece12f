//! Detects rogue DHCP servers: other servers that answer on an interface where we are the DHCP server. Each is logged
//! at most once an interval, with what to do about it.
//!
//! Two servers that do not know of each other are the most common reason for a machine that boots
//! one day and not the next. They show in two ways: their replies are overheard, where they reach
//! this interface (broadcasts, and what the switch floods), and machines say whose offer they took.
//! A second appliance with the same inventory is seen here too: whoever runs two knows them by their
//! addresses.

use crate::model::{
    MacAddr, Mode,
    limits::{
        DHCP_SERVER_PROBES, DHCP_SERVERS_FOUND_MAX, ROGUE_SERVER_LOG_INTERVAL, ROGUE_SERVERS_MAX,
        ROGUE_SERVERS_OVERFLOW_LOG_INTERVAL,
    },
};
use crate::net::{
    intake::packets,
    interface::Interface,
    socket::{self, FrameSender},
    tasks::TaskTracker,
};
use crate::proto::{
    dhcp::{
        SniffedReply,
        client::{ClientKind, ClientMessage},
        sniff_reply,
    },
    ip::udp_packet,
};
use crate::state::{Counter, Shared};
use std::{
    collections::HashMap,
    fmt::Display,
    hash::Hash,
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tokio::{net::UdpSocket, sync::watch};
use tracing::{info, warn};

/// The smallest reply: Ethernet's payload begins with an IPv4 header of 20 bytes, UDP's has 8.
const IP_HEADER_BYTES_MIN: usize = 20;
const UDP_HEADER_BYTES: usize = 8;
/// The longest reply that is looked at, with its IP header; a longer one is cut.
const PACKET_BYTES_MAX: usize = 2048;
/// How often it is looked whether a probe was answered.
const PROBE_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What is to be logged of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogDecision {
    /// Its name.
    Name,
    /// That there are too many to name.
    TooMany,
    /// Nothing: it was logged not long ago.
    Nothing,
}

/// What was named, and when.
#[derive(Debug)]
struct RecentServers<K> {
    at: HashMap<K, Duration>,
    overflow_logged_at: Option<Duration>,
}

impl<K> Default for RecentServers<K> {
    fn default() -> Self {
        RecentServers {
            at: HashMap::new(),
            overflow_logged_at: None,
        }
    }
}

impl<K: Eq + Hash> RecentServers<K> {
    fn log_decision(&mut self, now: Duration, key: K) -> LogDecision {
        self.at.retain(|_, named| now - *named < ROGUE_SERVER_LOG_INTERVAL);
        if self.at.contains_key(&key) {
            return LogDecision::Nothing;
        }
        if self.at.len() < ROGUE_SERVERS_MAX {
            self.at.insert(key, now);
            return LogDecision::Name;
        }
        if self
            .overflow_logged_at
            .is_some_and(|logged_at| now - logged_at < ROGUE_SERVERS_OVERFLOW_LOG_INTERVAL)
        {
            return LogDecision::Nothing;
        }
        self.overflow_logged_at = Some(now);
        LogDecision::TooMany
    }
}

/// Servers whose offers machines took instead of ours, on one interface.
#[derive(Debug, Default)]
pub(super) struct RogueServers(Mutex<RecentServers<Ipv4Addr>>);

impl RogueServers {
    /// Counts a machine that went to `server`, and names the server when it is time.
    pub(super) fn take(&self, shared: &Shared, interface: &str, server: Ipv4Addr) {
        shared.counters.count(Counter::DhcpRogueServer);
        let now = shared.clock.monotonic();
        let log_decision = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .log_decision(now, server);
        match log_decision {
            LogDecision::Nothing => {}
            LogDecision::TooMany => warn_of_too_many(interface, &server),
            LogDecision::Name => warn!(
                event = ROGUE_SERVER,
                reason = "chosen",
                address = %server,
                interface,
                "rogue DHCP server {server}: machines take its offers and do not boot from us. {REMEDY}"
            ),
        }
    }
}

/// The field `event` of both lines: of a server whose replies are overheard, and of one that machines chose.
const ROGUE_SERVER: &str = "rogue_dhcp_server";
const REMEDY: &str = "Switch it off, or set mode = \"proxy\" to run beside it";

fn warn_of_too_many(interface: &str, last: &dyn Display) {
    warn!(
        interface,
        "more than {ROGUE_SERVERS_MAX} rogue DHCP servers answer here, the last of them {last}: one machine on this \
         network probably forges them. Find its switch port by that address"
    );
}

/// Watches one interface.
pub(super) struct RogueMonitor {
    pub shared: Arc<Shared>,
    pub mode: Mode,
    pub interface: watch::Receiver<Interface>,
    pub tasks: TaskTracker,
}

impl RogueMonitor {
    /// Watches until no new work may begin.
    pub(super) async fn run(self, replies: UdpSocket) {
        let mut named = RecentServers::default();
        let common = ("other DHCP servers", &*self.shared, &self.tasks);
        let receive = (PACKET_BYTES_MAX, socket::receive_packet);
        packets(common, &replies, receive, |mac, packet| {
            self.take(&mut named, mac, packet)
        })
        .await;
    }

    fn take(&self, named: &mut RecentServers<(Ipv4Addr, bool)>, mac: MacAddr, packet: &[u8]) {
        let Some(SniffedReply { server, boots }) = reply_in(packet) else {
            return;
        };
        let interface = self.interface.borrow();
        if interface.own(server).is_some() {
            return;
        }
        self.shared.counters.count(Counter::DhcpRogueServer);
        // Where we give the addresses, one that gives them too is wrong whatever else it says.
        let boots = boots && self.mode == Mode::Proxy;
        let log_decision = named.log_decision(self.shared.clock.monotonic(), (server, boots));
        let name = &*interface.name;
        match (log_decision, self.mode) {
            (LogDecision::Nothing, _) => {}
            (LogDecision::TooMany, _) => warn_of_too_many(name, &format_args!("{server} ({mac})")),
            (LogDecision::Name, Mode::Dhcp) => warn!(
                event = ROGUE_SERVER,
                reason = "overheard",
                address = %server,
                mac = %mac,
                interface = name,
                "rogue DHCP server {server} ({mac}): machines that take its offers do not boot from us. {REMEDY}"
            ),
            (LogDecision::Name, Mode::Proxy) if boots => warn!(
                event = "other_boot_server",
                address = %server,
                mac = %mac,
                interface = name,
                "another server tells machines what to boot: {server} ({mac}); which of us a machine obeys is its \
                 firmware's choice. Take its boot file and its options 60 and 67 away"
            ),
            (LogDecision::Name, Mode::Proxy) => info!(
                event = "dhcp_server",
                address = %server,
                mac = %mac,
                interface = name,
                "the DHCP server here is {server} ({mac})"
            ),
        }
    }
}

/// Asks for DHCP servers on an interface, as the firmware of a machine does that nobody knows, and waits for so long for
/// their offers; each server once. None of the offers is taken. Needs CAP_NET_RAW, and blocks.
///
/// # Errors
/// The interface can't be sent or listened on.
pub fn probe(interface: &Interface, timeout: Duration) -> io::Result<Vec<SniffedReply>> {
    let replies = socket::dhcp_replies(interface.index)?;
    let frames = FrameSender::new(interface.index)?;
    let start = Instant::now();
    let mut found: Vec<SniffedReply> = Vec::new();
    let mut asked = 0;
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    while start.elapsed() < timeout {
        // All of them in the first half, so that the last has an answer too.
        if asked < DHCP_SERVER_PROBES && start.elapsed() >= timeout / (2 * DHCP_SERVER_PROBES) * asked {
            frames.send(MacAddr([0xff; 6]), &discover(interface.index, asked))?;
            asked += 1;
        }
        match socket::receive_packet(&replies, &mut buffer) {
            Ok((length, _)) => {
                let reply = buffer.get(..length).and_then(reply_in);
                let is_new = |reply: &SniffedReply| !found.iter().any(|known| known.server == reply.server);
                found.extend(reply.filter(is_new).filter(|_| found.len() < DHCP_SERVERS_FOUND_MAX));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PROBE_POLL_INTERVAL),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// A DISCOVER as firmware sends it, of a MAC that no card has: a server that knows the machine answers it only.
fn discover(index: u32, number: u32) -> Vec<u8> {
    let [.., a, b] = index.to_be_bytes();
    let message = ClientMessage {
        client: ClientKind::Firmware,
        arch: 7,
        mac: MacAddr([0x02, b'b', b'w', b'd', a, b]),
        xid: (u32::from_be_bytes(*b"doct") ^ index).wrapping_add(number),
        relay: None,
        takes: None,
        uuid: None,
        circuit_id: None,
    };
    let (from, to) = (
        SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
        SocketAddrV4::new(Ipv4Addr::BROADCAST, 67),
    );
    udp_packet(from, to, &message.encode()).expect("a DISCOVER fits into a datagram")
}

/// The DHCP reply in an IPv4 packet.
fn reply_in(packet: &[u8]) -> Option<SniffedReply> {
    let first = *packet.first()?;
    let header_bytes = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header_bytes < IP_HEADER_BYTES_MIN {
        return None;
    }
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let message = packet.get(header_bytes + UDP_HEADER_BYTES..)?;
    sniff_reply(message, Ipv4Addr::from(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fixed header with its magic cookie, and `giaddr` in it.
    const HEADER_BYTES: usize = 240;
    const GIADDR: std::ops::Range<usize> = 24..28;

    fn reply(op: u8, giaddr: [u8; 4], options: &[u8]) -> Vec<u8> {
        let mut message = vec![0; HEADER_BYTES];
        message[0] = op;
        message[GIADDR].copy_from_slice(&giaddr);
        message.extend_from_slice(options);
        let (from, to) = ("192.0.2.9:67".parse().unwrap(), "255.255.255.255:68".parse().unwrap());
        udp_packet(from, to, &message).unwrap()
    }

    fn server_of(packet: &[u8]) -> Option<Ipv4Addr> {
        reply_in(packet).map(|heard| heard.server)
    }

    #[test]
    fn a_server_is_named_by_option_54_or_by_its_packets_source() {
        let named = reply(2, [0; 4], &[53, 1, 2, 0, 54, 4, 198, 51, 100, 9, 255]);
        assert_eq!(server_of(&named), Some(Ipv4Addr::new(198, 51, 100, 9)));
        assert_eq!(
            server_of(&reply(2, [0; 4], &[53, 1, 2, 255])),
            Some(Ipv4Addr::new(192, 0, 2, 9))
        );
    }

    #[test]
    fn requests_relayed_replies_and_garbage_name_nobody() {
        let options = [53, 1, 2, 54, 4, 192, 0, 2, 9, 255];
        assert_eq!(server_of(&reply(1, [0; 4], &options)), None);
        assert_eq!(server_of(&reply(2, [192, 0, 2, 250], &options)), None);
        let whole = reply(2, [0; 4], &options);
        for length in 0..whole.len() {
            let _ = server_of(&whole[..length]);
        }
        assert_eq!(server_of(&[0x4f; 30]), None);
    }

    #[test]
    fn a_reply_boots_machines_by_its_file_or_by_its_options() {
        let boots = |packet: &[u8]| reply_in(packet).unwrap().boots;
        let mut plain = reply(2, [0; 4], &[53, 1, 2, 54, 4, 192, 0, 2, 9, 255]);
        assert!(!boots(&plain));
        assert!(boots(&reply(2, [0; 4], &[53, 1, 2, 67, 1, b'f', 255])));
        assert!(boots(&reply(
            2,
            [0; 4],
            &[60, 9, b'P', b'X', b'E', b'C', b'l', b'i', b'e', b'n', b't', 255]
        )));
        plain[IP_HEADER_BYTES_MIN + UDP_HEADER_BYTES + 108] = b'f';
        assert!(boots(&plain));
    }

    #[test]
    fn a_crowd_of_invented_servers_is_logged_and_the_real_one_is_named_when_it_is_over() {
        let mut named = RecentServers::default();
        let second = Duration::from_secs;
        let invented = (0..100).map(|last| Ipv4Addr::new(198, 51, 100, last));
        let decisions: Vec<LogDecision> = invented.map(|server| named.log_decision(second(1), server)).collect();
        let count = |log_decision: LogDecision| decisions.iter().filter(|decision| **decision == log_decision).count();
        assert_eq!(
            (count(LogDecision::Name), count(LogDecision::TooMany)),
            (ROGUE_SERVERS_MAX, 1)
        );
        let real = Ipv4Addr::new(192, 0, 2, 9);
        assert_eq!(named.log_decision(second(2), real), LogDecision::Nothing);
        assert_eq!(
            named.log_decision(second(1) + ROGUE_SERVERS_OVERFLOW_LOG_INTERVAL, real),
            LogDecision::TooMany
        );
        assert_eq!(
            named.log_decision(second(1) + ROGUE_SERVER_LOG_INTERVAL, real),
            LogDecision::Name
        );
        assert_eq!(
            named.log_decision(second(2) + ROGUE_SERVER_LOG_INTERVAL, real),
            LogDecision::Nothing
        );
    }
}
