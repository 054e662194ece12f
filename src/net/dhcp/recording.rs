//! What the flight recorder has of DHCP: the messages of boots as they came and went.

use super::{DhcpServer, replies::ReplyChannels};
use crate::attempt::PacketKind;
use crate::boot::{
    engine::{Destination, Ingress, OutgoingReply},
    event::{Event, MachineKey},
};
use crate::model::{HardwareAddr, MacAddr};
use crate::net::socket::{DATAGRAMS_PER_BATCH, ReceivedDatagram};
use crate::proto::dhcp::Request;
use crate::state::recorder::{ObservedPacket, PacketOwner};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Where in their batch the packets stand that are requests.
#[derive(Default)]
pub(super) struct BatchPositions {
    positions: [u8; DATAGRAMS_PER_BATCH],
    count: usize,
}

impl BatchPositions {
    pub(super) fn add(&mut self, at: usize) {
        if let Some(position) = self.positions.get_mut(self.count) {
            *position = u8::try_from(at).unwrap_or(u8::MAX);
            self.count += 1;
        }
    }

    pub(super) fn of(&self, request: usize) -> usize {
        self.positions.get(request).copied().map_or(0, usize::from)
    }
}

/// The hardware address of a packet that is no request, if it is an Ethernet's at its place (RFC 2131 section 2).
fn claimed_mac(bytes: &[u8]) -> Option<MacAddr> {
    let is_ethernet = bytes.get(1..3)? == [1, 6];
    let mac = bytes.get(28..34).filter(|_| is_ethernet)?;
    mac.try_into().ok().map(MacAddr)
}

impl DhcpServer {
    /// Keeps a request that was decided.
    pub(super) fn record(
        &self,
        (received, bytes): (ReceivedDatagram, &[u8]),
        (ingress, request): (&Ingress, &Request),
        event: &Event,
    ) {
        if !self.shared.is_recorded(event) {
            return;
        }
        let mac = request.hardware.mac().filter(|_| request.relay.is_none());
        self.shared.record(&ObservedPacket {
            owner: PacketOwner::Machine(&event.machine.key),
            kind: PacketKind::Dhcp,
            at: event.at.monotonic,
            is_ours: false,
            from: received.source,
            to: SocketAddrV4::new(asked(&received), self.port),
            mac,
            interface: Some(&ingress.interface),
            bytes,
            length: bytes.len(),
        });
    }

    /// Keeps a packet that can't be read as a request, if it has a MAC where requests have one.
    pub(super) fn record_malformed(&self, received: &ReceivedDatagram, bytes: &[u8]) {
        let Some(mac) = claimed_mac(bytes).filter(|_| self.shared.recorder.is_on()) else {
            return;
        };
        let snapshot = self.shared.snapshot.load();
        let key = match snapshot.hosts.by_mac(mac) {
            Some(host) => MachineKey::Host(host.name.clone()),
            None => MachineKey::Hardware(HardwareAddr::from(mac)),
        };
        self.shared.record(&ObservedPacket {
            owner: PacketOwner::Machine(&key),
            kind: PacketKind::Dhcp,
            at: self.shared.clock.monotonic(),
            is_ours: false,
            from: received.source,
            to: SocketAddrV4::new(asked(received), self.port),
            mac: Some(mac),
            interface: Some(&self.interface.borrow().name),
            bytes,
            length: bytes.len(),
        });
    }
}

/// Where a packet was sent to: a socket that does not tell is one for everybody.
fn asked(received: &ReceivedDatagram) -> Ipv4Addr {
    match received.asked {
        Ipv4Addr::UNSPECIFIED => Ipv4Addr::BROADCAST,
        asked => asked,
    }
}

impl ReplyChannels {
    /// Keeps a reply of an event's machine that goes out now.
    pub(super) fn record(&self, sending: &OutgoingReply, bytes: &[u8], event: &Event) {
        if !self.shared.is_recorded(event) {
            return;
        }
        for (from, destination) in [(sending.from, sending.destination)].into_iter().chain(sending.copy) {
            let (to, mac) = match destination {
                Destination::Unicast(to) => (to, sending.link),
                Destination::Broadcast { port } => (SocketAddrV4::new(Ipv4Addr::BROADCAST, port), None),
                Destination::Frame { mac, to } => (to, Some(mac)),
            };
            self.shared.record(&ObservedPacket {
                owner: PacketOwner::Machine(&event.machine.key),
                kind: PacketKind::Dhcp,
                at: self.shared.clock.monotonic(),
                is_ours: true,
                from: SocketAddrV4::new(from, self.port),
                to,
                mac,
                interface: None,
                bytes,
                length: bytes.len(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_is_no_request_is_known_by_its_hardware_address_if_it_has_one() {
        let mut packet = [0; 300];
        packet[..4].copy_from_slice(&[9, 1, 6, 0]);
        packet[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 7]);
        assert_eq!(claimed_mac(&packet), Some(MacAddr([2, 0, 0, 0, 0, 7])));
        assert_eq!(claimed_mac(&packet[..33]), None);
        packet[2] = 8;
        assert_eq!(claimed_mac(&packet), None);
    }
}
