//! Asks an address whether another machine uses it, before a machine is offered it.
//!
//! The engine says which address and how; what comes of it is told to the lease table. The packet loop
//! never waits here: each probe is a task of its own, and its offer waits in it.

use crate::boot::engine::ConflictProbe;
use crate::model::{
    HardwareAddr, MacAddr, Probe,
    limits::{PROBE_RETRY_INTERVAL, PROBE_TIMEOUT, PROBES_MAX},
};
use crate::net::{
    intake::packets,
    socket::{self, FrameSender},
    tasks::TaskTracker,
};
use crate::proto::ip;
use crate::state::{Counter, Shared};
use std::{
    collections::HashMap,
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{net::UdpSocket, sync::oneshot, task::JoinSet, time::timeout};
use tracing::warn;

/// An ARP packet between Ethernet and IPv4 (RFC 826), in bytes.
const ARP_BYTES: usize = 28;
/// The longest IP packet that is looked at for an answer to a ping; a longer one is cut.
const PACKET_BYTES_MAX: usize = 256;
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;

/// Who answered a probe: its MAC, where that can be told.
type ProbeReply = Option<MacAddr>;

/// What a probe came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeResult {
    /// Another machine than the client uses the address.
    InUse(ProbeReply),
    /// No answer came in time.
    Unused,
    /// The question could not be sent: too many probes wait, or it can't be sent.
    NotSent,
    /// Another probe of the address is under way, and what it comes to decides: the client asked again
    /// while this process was kept from its answers.
    AlreadyProbing,
}

/// Why a probe can't begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProbeRefused {
    /// Too many wait.
    Full,
    /// One waits for this address.
    AlreadyProbing,
}

/// Probes that wait for an answer, by address: whose packets are no answer, and where one is told.
#[derive(Debug, Default)]
struct PendingProbes(Mutex<HashMap<Ipv4Addr, (HardwareAddr, oneshot::Sender<ProbeReply>)>>);

/// What probes are sent by; opened with the first one.
#[derive(Debug, Default)]
struct ProbeSockets {
    arp: Option<MacAddr>,
    ping: Option<Arc<UdpSocket>>,
    /// Reads the answers, for as long as there is a probe.
    listening: JoinSet<()>,
}

/// Probes addresses on one interface, or behind its relays.
pub(super) struct Prober {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    frames: Option<Arc<FrameSender>>,
    index: u32,
    waiting: Arc<PendingProbes>,
    sockets: Mutex<ProbeSockets>,
}

impl Prober {
    pub(super) fn new(shared: Arc<Shared>, tasks: TaskTracker, frames: Option<Arc<FrameSender>>, index: u32) -> Prober {
        Prober {
            shared,
            tasks,
            frames,
            index,
            waiting: Arc::default(),
            sockets: Mutex::default(),
        }
    }

    /// Who uses the address, other than `client` itself.
    pub(super) async fn probe(&self, probe: ConflictProbe, client: HardwareAddr) -> ProbeResult {
        let (told, answer) = oneshot::channel();
        match self.waiting.begin(probe.address, client, told) {
            Ok(()) => {}
            Err(ProbeRefused::AlreadyProbing) => return ProbeResult::AlreadyProbing,
            Err(ProbeRefused::Full) => {
                self.shared.counters.count(Counter::DhcpProbeSkipped);
                return ProbeResult::NotSent;
            }
        }
        let found = self.ask(probe, answer).await;
        self.waiting.end(probe.address);
        found
    }

    async fn ask(&self, probe: ConflictProbe, mut answer: oneshot::Receiver<ProbeReply>) -> ProbeResult {
        if let Err(error) = self.send(probe) {
            self.shared.counters.count(Counter::DhcpProbeSkipped);
            warn!("{} is not probed, because no probe can be sent: {error}", probe.address);
            return ProbeResult::NotSent;
        }
        self.shared.counters.count(Counter::DhcpProbed);
        let found = |answer: Option<ProbeReply>| answer.map_or(ProbeResult::Unused, ProbeResult::InUse);
        if let Ok(answer) = timeout(PROBE_RETRY_INTERVAL, &mut answer).await {
            return found(answer.ok());
        }
        // The first may have been lost; should the second fail to go out, the first was sent.
        let _ = self.send(probe);
        let left = PROBE_TIMEOUT.saturating_sub(PROBE_RETRY_INTERVAL);
        found(timeout(left, answer).await.ok().and_then(Result::ok))
    }

    fn send(&self, probe: ConflictProbe) -> io::Result<()> {
        match probe.by {
            Probe::Arp => {
                let own = self.arp()?;
                let frames = self.frames.as_ref().ok_or(io::ErrorKind::Unsupported)?;
                frames.broadcast_arp(&arp_probe(own, probe.address))
            }
            // Where no route leads there, no answer comes from there either.
            Probe::Ping => match socket::send_icmp(&*self.ping()?, &echo_request(), probe.address) {
                Err(error) if error.kind() == io::ErrorKind::HostUnreachable => Ok(()),
                sent => sent,
            },
        }
    }

    /// Our own MAC on the wire, with the answers being read.
    fn arp(&self) -> io::Result<MacAddr> {
        let mut sockets = self.sockets();
        if let Some(own) = sockets.arp {
            return Ok(own);
        }
        let (arp, own) = socket::arp_packets(self.index)?;
        let (arp, waiting) = (UdpSocket::from_std(arp)?, Arc::clone(&self.waiting));
        let (shared, tasks) = (Arc::clone(&self.shared), self.tasks.clone());
        sockets.listening.spawn(async move {
            let common = ("ARP", &*shared, &tasks);
            let receive = (ARP_BYTES, socket::receive_packet);
            packets(common, &arp, receive, |_, packet| {
                if let Some((address, mac)) = user_of(packet, own) {
                    waiting.answered(address, Some(mac));
                }
            })
            .await;
        });
        sockets.arp = Some(own);
        Ok(own)
    }

    /// The socket that pings go out by, with the answers being read.
    fn ping(&self) -> io::Result<Arc<UdpSocket>> {
        let mut sockets = self.sockets();
        if let Some(ping) = &sockets.ping {
            return Ok(Arc::clone(ping));
        }
        let ping = Arc::new(UdpSocket::from_std(socket::icmp()?)?);
        let (answers, waiting) = (Arc::clone(&ping), Arc::clone(&self.waiting));
        let (shared, tasks) = (Arc::clone(&self.shared), self.tasks.clone());
        sockets.listening.spawn(async move {
            let common = ("ICMP", &*shared, &tasks);
            let receive = (PACKET_BYTES_MAX, socket::receive_icmp);
            packets(common, &answers, receive, |source, packet| {
                if is_echo_reply(packet) {
                    waiting.answered(source, None);
                }
            })
            .await;
        });
        sockets.ping = Some(Arc::clone(&ping));
        Ok(ping)
    }

    fn sockets(&self) -> MutexGuard<'_, ProbeSockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingProbes {
    fn begin(
        &self,
        address: Ipv4Addr,
        client: HardwareAddr,
        told: oneshot::Sender<ProbeReply>,
    ) -> Result<(), ProbeRefused> {
        let mut waiting = self.lock();
        if waiting.contains_key(&address) {
            return Err(ProbeRefused::AlreadyProbing);
        }
        if waiting.len() >= PROBES_MAX {
            return Err(ProbeRefused::Full);
        }
        waiting.insert(address, (client, told));
        Ok(())
    }

    fn end(&self, address: Ipv4Addr) {
        self.lock().remove(&address);
    }

    /// A machine uses `address`; the client that is to have it may do so.
    fn answered(&self, address: Ipv4Addr, by: ProbeReply) {
        let mut waiting = self.lock();
        let is_other = |client: &HardwareAddr| by.is_none() || client.mac() != by;
        if waiting.get(&address).is_some_and(|(client, _)| is_other(client))
            && let Some((_, told)) = waiting.remove(&address)
        {
            // The receiver is dropped when the probe's time is over.
            let _ = told.send(by);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ipv4Addr, (HardwareAddr, oneshot::Sender<ProbeReply>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// "Who has `address`?" with an unspecified sender address (RFC 5227 section 2.1.1): no host's cache learns an address from it.
fn arp_probe(own: MacAddr, address: Ipv4Addr) -> [u8; ARP_BYTES] {
    let mut packet = [0; ARP_BYTES];
    packet[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
    packet[8..14].copy_from_slice(&own.0);
    packet[24..].copy_from_slice(&address.octets());
    packet
}

/// The address that an ARP packet of another host shows to be in use: its sender's, or the one that
/// the sender is probing for itself (RFC 5227 section 2.1.1).
fn user_of(packet: &[u8], own: MacAddr) -> Option<(Ipv4Addr, MacAddr)> {
    let packet: &[u8; ARP_BYTES] = packet.try_into().ok()?;
    let at = |start: usize| Ipv4Addr::new(packet[start], packet[start + 1], packet[start + 2], packet[start + 3]);
    let (sender, target) = (at(14), at(24));
    let mac: [u8; 6] = packet[8..14].try_into().ok()?;
    let is_ours = MacAddr(mac) == own || packet[..6] != [0, 1, 8, 0, 6, 4];
    let address = if sender.is_unspecified() { target } else { sender };
    (!is_ours).then_some((address, MacAddr(mac)))
}

fn echo_request() -> [u8; 8] {
    let [high, low] = identifier();
    let mut message = [ECHO_REQUEST, 0, 0, 0, high, low, 0, 1];
    let checksum = !ip::sum(0, &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// Whether an IP packet holds the answer to an echo request of ours.
fn is_echo_reply(packet: &[u8]) -> bool {
    let header_bytes = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
    let message = packet.get(header_bytes..).unwrap_or_default();
    matches!(message, [ECHO_REPLY, 0, _, _, high, low, ..] if [*high, *low] == identifier())
}

/// What tells our pings from those of other programs here.
fn identifier() -> [u8; 2] {
    let [.., high, low] = std::process::id().to_be_bytes();
    [high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

    #[test]
    fn a_probe_has_no_sender_address_and_is_no_answer_to_itself() {
        let probe = arp_probe(OWN, ADDRESS);
        assert_eq!(probe[14..18], [0; 4]);
        assert_eq!(user_of(&probe, OWN), None);
    }

    #[test]
    fn a_reply_names_its_user_and_so_does_a_probe_of_somebody_elses() {
        let mut reply = arp_probe(OTHER, Ipv4Addr::UNSPECIFIED);
        reply[7] = 2;
        reply[14..18].copy_from_slice(&ADDRESS.octets());
        assert_eq!(user_of(&reply, OWN), Some((ADDRESS, OTHER)));
        assert_eq!(user_of(&arp_probe(OTHER, ADDRESS), OWN), Some((ADDRESS, OTHER)));
        assert_eq!(user_of(&reply[..27], OWN), None);
    }

    #[test]
    fn an_answer_to_our_ping_is_known_from_others() {
        let mut packet = vec![0x45; 20];
        packet.extend_from_slice(&echo_request());
        assert!(!is_echo_reply(&packet), "the request itself, seen on loopback");
        packet[20] = ECHO_REPLY;
        assert!(is_echo_reply(&packet));
        packet[24] ^= 1;
        assert!(!is_echo_reply(&packet));
        assert!(!is_echo_reply(&[]));
    }

    #[test]
    fn the_machine_that_is_to_have_the_address_may_answer_for_it_and_nobody_else() {
        let waiting = PendingProbes::default();
        let (told, mut answer) = oneshot::channel();
        assert_eq!(waiting.begin(ADDRESS, OWN.into(), told), Ok(()));
        waiting.answered(ADDRESS, Some(OWN));
        assert!(answer.try_recv().is_err());
        waiting.answered(ADDRESS, Some(OTHER));
        assert_eq!(answer.try_recv().unwrap(), Some(OTHER));
    }

    #[test]
    fn an_address_that_is_asked_already_is_left_to_that_probe_even_in_a_crowd() {
        let waiting = PendingProbes::default();
        let begin = |number: usize| {
            let address = u32::from(ADDRESS) + u32::try_from(number).unwrap();
            waiting.begin(address.into(), OWN.into(), oneshot::channel().0)
        };
        assert_eq!(begin(0), Ok(()));
        assert_eq!(begin(0), Err(ProbeRefused::AlreadyProbing));
        assert!((1..PROBES_MAX).all(|number| begin(number) == Ok(())));
        assert_eq!(begin(PROBES_MAX), Err(ProbeRefused::Full));
        assert_eq!(begin(0), Err(ProbeRefused::AlreadyProbing));
    }
}
