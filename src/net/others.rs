//! Other DHCP servers on our wire: their replies are overheard, and they are named now and then.
//!
//! What is overheard is what reaches this interface: broadcasts, and what the switch floods. A reply
//! that a switch hands to its client alone is not among it.
//!
//! Two servers that do not know of each other are the most common reason for a machine that boots
//! one day and not the next. A second appliance with the same inventory is seen here too: whoever
//! runs two knows them by their addresses.

use crate::model::{
    MacAddr, Mode,
    limits::{OTHER_SERVER_REMINDER, OTHER_SERVERS_MAX},
};
use crate::net::{Counter, Shared, intake::packets, interface::Interface, running::Running, socket};
use crate::proto::dhcp::overheard_server;
use std::{collections::HashMap, net::Ipv4Addr, sync::Arc, time::Duration};
use tokio::{net::UdpSocket, sync::watch};
use tracing::{info, warn};

/// The smallest reply: Ethernet's payload begins with an IPv4 header of 20 bytes, UDP's has 8.
const IP_HEADER_BYTES_MIN: usize = 20;
const UDP_HEADER_BYTES: usize = 8;
/// The longest reply that is looked at, with its IP header; a longer one is cut.
const PACKET_BYTES_MAX: usize = 2048;

/// Watches one interface.
pub(super) struct Watch {
    pub shared: Arc<Shared>,
    pub mode: Mode,
    pub interface: watch::Receiver<Interface>,
    pub running: Running,
}

impl Watch {
    /// Watches until no new work may begin.
    pub async fn run(self, replies: UdpSocket) {
        let mut said = HashMap::new();
        let common = ("other DHCP servers", &*self.shared, &self.running);
        let receive = (PACKET_BYTES_MAX, socket::receive_packet);
        packets(common, &replies, receive, |mac, packet| {
            self.take(&mut said, mac, packet)
        })
        .await;
    }

    fn take(&self, said: &mut HashMap<Ipv4Addr, Duration>, mac: MacAddr, packet: &[u8]) {
        let Some(server) = server_of(packet) else { return };
        let is_ours = self.interface.borrow().own(server).is_some();
        if is_ours {
            return;
        }
        self.shared.counters.count(Counter::DhcpOtherServer);
        let now = self.shared.clock.monotonic();
        let is_due = said
            .get(&server)
            .is_none_or(|last| now - *last >= OTHER_SERVER_REMINDER);
        if !is_due || (said.len() >= OTHER_SERVERS_MAX && !said.contains_key(&server)) {
            return;
        }
        said.insert(server, now);
        let name = self.interface.borrow().name.clone();
        match self.mode {
            Mode::Dhcp => warn!(
                interface = name,
                "another DHCP server answers here: {server} ({mac}); machines that take its offers do not boot from us. \
                 Switch it off, or set mode = \"proxy\" to be its guest"
            ),
            Mode::Proxy => info!(interface = name, "the DHCP server here is {server} ({mac})"),
        }
    }
}

/// The server that sent the DHCP reply in an IPv4 packet.
fn server_of(packet: &[u8]) -> Option<Ipv4Addr> {
    let first = *packet.first()?;
    let header_bytes = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header_bytes < IP_HEADER_BYTES_MIN {
        return None;
    }
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let message = packet.get(header_bytes + UDP_HEADER_BYTES..)?;
    overheard_server(message, Ipv4Addr::from(source))
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
}
