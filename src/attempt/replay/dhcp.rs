//! The DHCP requests of a capture.

use super::{Replay, event_of};
use crate::boot::{
    engine::{self, Ingress, OutgoingReply},
    event::{Machine, MachineKey, Reason, Stage, Step},
    world::World,
};
use crate::model::Now;
use crate::proto::capture::DissectedPacket;
use crate::proto::dhcp::{self, RequestKind};
use std::{sync::Arc, time::Duration};

/// The ports that requests come to.
const SERVER_PORTS: [u16; 2] = [67, 4011];
/// `op` of a request.
const OP_REQUEST: u8 = 1;

/// Whether a datagram goes to a DHCP server's port. A relay's answer does, too, and is told by its first byte.
pub(super) fn is_to_server(packet: &DissectedPacket<'_>) -> bool {
    SERVER_PORTS.contains(&packet.to.port()) && op(packet) == Some(OP_REQUEST)
}

/// Whether a datagram comes from a DHCP server's port, and is an answer.
pub(super) fn is_from_server(packet: &DissectedPacket<'_>) -> bool {
    SERVER_PORTS.contains(&packet.from.port()) && op(packet) != Some(OP_REQUEST)
}

fn op(packet: &DissectedPacket<'_>) -> Option<u8> {
    match packet.payload {
        crate::proto::capture::SegmentOrDatagram::Udp(bytes) => bytes.first().copied(),
        crate::proto::capture::SegmentOrDatagram::Tcp { .. } => None,
    }
}

/// A request's kind, as people say it.
fn name(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Bootp => "BOOTP",
        RequestKind::Discover => "DHCPDISCOVER",
        RequestKind::Request => "DHCPREQUEST",
        RequestKind::Decline => "DHCPDECLINE",
        RequestKind::Release => "DHCPRELEASE",
        RequestKind::Inform => "DHCPINFORM",
        RequestKind::Other(_) => "DHCP",
    }
}

impl Replay<'_> {
    pub(super) fn dhcp(&mut self, at: Duration, packet: &DissectedPacket<'_>, bytes: &[u8]) {
        let now = self.now(at);
        let mut request = match dhcp::parse(bytes) {
            Ok(request) => request,
            Err(fault) => {
                let machine = Machine {
                    key: packet
                        .source_mac
                        .map_or(MachineKey::Unknown, |mac| MachineKey::Hardware(mac.into())),
                    ..Machine::default()
                };
                let source = packet.from;
                let reason = Reason::Malformed { source, fault };
                let event = event_of(now, machine.clone(), Stage::Unknown, Step::Ignored { reason });
                self.answer(at, "DHCP".into(), Some(event), machine);
                return;
            }
        };
        self.discovers.complete(now, &mut request);
        let (asked, xid) = (name(request.kind).into(), request.xid);
        let ingress = self.ingress(packet);
        let outcome = engine::handle(&mut self.world(now), &ingress, &request);
        if let Some(probe) = outcome.probe {
            self.leases.probe_passed(request.hardware, probe.address);
        }
        if let Some(change) = &outcome.change {
            self.leases.committed(now, change);
        }
        self.identities.record(outcome.observation);
        if let Some(notice) = &outcome.notice {
            self.publish(notice);
        }
        self.publish(&outcome.event);
        let machine = outcome.event.machine.clone();
        let place = self.answer(at, asked, Some(outcome.event), machine);
        self.answers[place].reply = outcome.send.as_ref().map(OutgoingReply::encode);
        self.transactions.insert(xid, place);
    }

    /// Holds a reply that the capture has against the one that was made.
    pub(super) fn dhcp_reply(&mut self, bytes: &[u8]) {
        let xid = bytes
            .get(4..8)
            .and_then(|xid| xid.try_into().ok())
            .map(u32::from_be_bytes);
        let answered = xid.and_then(|xid| self.transactions.get(&xid));
        if let Some(answer) = answered.and_then(|place| self.answers.get_mut(*place)) {
            answer.is_same = Some(answer.reply.as_deref() == Some(bytes));
        }
    }

    fn world(&mut self, now: Now) -> World<'_, '_> {
        // Nobody sets a capture's clock but who took it: every decision begins with that.
        let _ = self.leases.observe_clock(now);
        World {
            now,
            snapshot: self.settings.snapshot,
            leases: &mut self.leases,
            arming: &mut self.arming,
        }
    }

    fn ingress(&self, packet: &DissectedPacket<'_>) -> Ingress {
        let server = self.settings.server;
        Ingress {
            interface: Arc::clone(&self.settings.interface),
            own: Arc::new([server]),
            elsewhere: Arc::new([]),
            address: server.address,
            port: packet.to.port(),
            mode: self.settings.mode,
            source: packet.from,
            to: *packet.to.ip(),
        }
    }
}
