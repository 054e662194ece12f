//! Other DHCP servers on our wire: they are named now and then, with what to do about them.
//!
//! Two servers that do not know of each other are the most common reason for a machine that boots
//! one day and not the next. They show in two ways: their replies are overheard, where they reach
//! this interface (broadcasts, and what the switch floods), and machines say whose offer they took.
//! A second appliance with the same inventory is seen here too: whoever runs two knows them by their
//! addresses.

use crate::model::{
    MacAddr, Mode,
    limits::{OTHER_SERVER_REMINDER, OTHER_SERVERS_CROWD_REMINDER, OTHER_SERVERS_MAX},
};
use crate::net::{Counter, Shared, intake::packets, interface::Interface, running::Running, socket};
use crate::proto::dhcp::{Overheard, overhear};
use std::{
    collections::HashMap,
    fmt::Display,
    hash::Hash,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::UdpSocket, sync::watch};
use tracing::{info, warn};

/// The smallest reply: Ethernet's payload begins with an IPv4 header of 20 bytes, UDP's has 8.
const IP_HEADER_BYTES_MIN: usize = 20;
const UDP_HEADER_BYTES: usize = 8;
/// The longest reply that is looked at, with its IP header; a longer one is cut.
const PACKET_BYTES_MAX: usize = 2048;

/// What is to be said of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Its name.
    Name,
    /// That there are too many to name.
    Crowd,
    /// Nothing: it was said not long ago.
    Nothing,
}

/// What was named, and when.
#[derive(Debug)]
struct Named<K> {
    at: HashMap<K, Duration>,
    crowd_at: Option<Duration>,
}

impl<K> Default for Named<K> {
    fn default() -> Self {
        Named {
            at: HashMap::new(),
            crowd_at: None,
        }
    }
}

impl<K: Eq + Hash> Named<K> {
    fn due(&mut self, now: Duration, key: K) -> Due {
        self.at.retain(|_, named| now - *named < OTHER_SERVER_REMINDER);
        if self.at.contains_key(&key) {
            return Due::Nothing;
        }
        if self.at.len() < OTHER_SERVERS_MAX {
            self.at.insert(key, now);
            return Due::Name;
        }
        if self
            .crowd_at
            .is_some_and(|said| now - said < OTHER_SERVERS_CROWD_REMINDER)
        {
            return Due::Nothing;
        }
        self.crowd_at = Some(now);
        Due::Crowd
    }
}

/// Servers whose offers machines took instead of ours, on one interface.
#[derive(Debug, Default)]
pub(super) struct Chosen(Mutex<Named<Ipv4Addr>>);

impl Chosen {
    /// Counts a machine that went to `server`, and names the server when it is time.
    pub(super) fn take(&self, shared: &Shared, interface: &str, server: Ipv4Addr) {
        shared.counters.count(Counter::DhcpOtherServer);
        let now = shared.clock.monotonic();
        let due = self.0.lock().unwrap_or_else(PoisonError::into_inner).due(now, server);
        match due {
            Due::Nothing => {}
            Due::Crowd => warn_of_crowd(interface, &server),
            Due::Name => warn!(
                interface,
                "machines take the offers of another DHCP server, {server}, and do not boot from us. {REMEDY}"
            ),
        }
    }
}

const REMEDY: &str = "Switch it off, or set mode = \"proxy\" to be its guest";

fn warn_of_crowd(interface: &str, last: &dyn Display) {
    warn!(
        interface,
        "more than {OTHER_SERVERS_MAX} other DHCP servers show up here, the last of them {last}: a machine on this \
         wire invents them. Find its port on the switch by that address"
    );
}

/// Watches one interface.
pub(super) struct Watch {
    pub shared: Arc<Shared>,
    pub mode: Mode,
    pub interface: watch::Receiver<Interface>,
    pub running: Running,
}

impl Watch {
    /// Watches until no new work may begin.
    pub(super) async fn run(self, replies: UdpSocket) {
        let mut named = Named::default();
        let common = ("other DHCP servers", &*self.shared, &self.running);
        let receive = (PACKET_BYTES_MAX, socket::receive_packet);
        packets(common, &replies, receive, |mac, packet| {
            self.take(&mut named, mac, packet)
        })
        .await;
    }

    fn take(&self, named: &mut Named<(Ipv4Addr, bool)>, mac: MacAddr, packet: &[u8]) {
        let Some(Overheard { server, boots }) = reply_in(packet) else {
            return;
        };
        let interface = self.interface.borrow();
        if interface.own(server).is_some() {
            return;
        }
        self.shared.counters.count(Counter::DhcpOtherServer);
        // Where we give the addresses, one that gives them too is wrong whatever else it says.
        let boots = boots && self.mode == Mode::Proxy;
        let due = named.due(self.shared.clock.monotonic(), (server, boots));
        let name = &*interface.name;
        match (due, self.mode) {
            (Due::Nothing, _) => {}
            (Due::Crowd, _) => warn_of_crowd(name, &format_args!("{server} ({mac})")),
            (Due::Name, Mode::Dhcp) => warn!(
                interface = name,
                "another DHCP server answers here: {server} ({mac}); machines that take its offers do not boot from us. \
                 {REMEDY}"
            ),
            (Due::Name, Mode::Proxy) if boots => warn!(
                interface = name,
                "another server tells machines what to boot: {server} ({mac}); which of us a machine obeys is its \
                 firmware's choice. Take its boot file and its options 60 and 67 away"
            ),
            (Due::Name, Mode::Proxy) => info!(interface = name, "the DHCP server here is {server} ({mac})"),
        }
    }
}

/// The DHCP reply in an IPv4 packet.
fn reply_in(packet: &[u8]) -> Option<Overheard> {
    let first = *packet.first()?;
    let header_bytes = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header_bytes < IP_HEADER_BYTES_MIN {
        return None;
    }
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let message = packet.get(header_bytes + UDP_HEADER_BYTES..)?;
    overhear(message, Ipv4Addr::from(source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::frame::udp_packet;

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
    fn requests_relayed_replies_and_rubble_name_nobody() {
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
    fn a_crowd_of_invented_servers_is_said_and_the_real_one_is_named_when_it_is_over() {
        let mut named = Named::default();
        let second = Duration::from_secs;
        let invented = (0..100).map(|last| Ipv4Addr::new(198, 51, 100, last));
        let said: Vec<Due> = invented.map(|server| named.due(second(1), server)).collect();
        let count = |due: Due| said.iter().filter(|said| **said == due).count();
        assert_eq!((count(Due::Name), count(Due::Crowd)), (OTHER_SERVERS_MAX, 1));
        let real = Ipv4Addr::new(192, 0, 2, 9);
        assert_eq!(named.due(second(2), real), Due::Nothing);
        assert_eq!(named.due(second(1) + OTHER_SERVERS_CROWD_REMINDER, real), Due::Crowd);
        assert_eq!(named.due(second(1) + OTHER_SERVER_REMINDER, real), Due::Name);
        assert_eq!(named.due(second(2) + OTHER_SERVER_REMINDER, real), Due::Nothing);
    }
}
