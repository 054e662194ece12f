//! What a client said in its DISCOVER, for the REQUEST of the same exchange.
//!
//! VMware's PXE ROM says what it is (options 60 and 93) in its DISCOVER alone. Its REQUEST looks like a
//! running system's, and an ACK without a boot file is the end of that boot.

use crate::boot::sightings::Recent;
use crate::model::{HardwareAddr, Now, Uuid, limits::EXCHANGE_LASTS};
use crate::proto::dhcp::{IpxeFeatures, Request, RequestKind};
use std::time::Duration;

/// The words of the exchanges that are under way.
#[derive(Debug, Default)]
pub struct Words {
    said: Recent<HardwareAddr, Said>,
}

/// What a DISCOVER said of its client.
#[derive(Debug)]
struct Said {
    xid: u32,
    /// When, on the monotonic clock.
    at: Duration,
    vendor_class: Option<Vec<u8>>,
    archs: Vec<u16>,
    user_classes: Vec<Vec<u8>>,
    ipxe: Option<IpxeFeatures>,
    uuid: Option<Uuid>,
}

impl Words {
    /// Notes what a DISCOVER says, and adds it to a REQUEST that takes an offer and does not say it again.
    /// Nothing is added to what is echoed: the client gets back what it sent.
    pub fn complete(&mut self, now: Now, request: &mut Request) {
        let is_mute = request.vendor_class.is_none() && request.archs.is_empty();
        match request.kind {
            RequestKind::Discover if is_mute => self.said.forget(request.hardware),
            RequestKind::Discover => self.said.note(request.hardware, Said::of(now, request)),
            RequestKind::Request if is_mute && request.server_identifier.is_some() => self.add(now, request),
            RequestKind::Request
            | RequestKind::Decline
            | RequestKind::Release
            | RequestKind::Inform
            | RequestKind::Bootp
            | RequestKind::Other(_) => {}
        }
    }

    fn add(&self, now: Now, request: &mut Request) {
        let Some(said) = self.said.get(request.hardware) else {
            return;
        };
        let age = now.monotonic.saturating_sub(said.at);
        if said.xid != request.xid || age > EXCHANGE_LASTS {
            return;
        }
        request.vendor_class.clone_from(&said.vendor_class);
        request.archs.clone_from(&said.archs);
        if request.user_classes.is_empty() {
            request.user_classes.clone_from(&said.user_classes);
        }
        request.ipxe = request.ipxe.or(said.ipxe);
        request.uuid = request.uuid.or(said.uuid);
    }
}

impl Said {
    fn of(now: Now, request: &Request) -> Said {
        Said {
            xid: request.xid,
            at: now.monotonic,
            vendor_class: request.vendor_class.clone(),
            archs: request.archs.clone(),
            user_classes: request.user_classes.clone(),
            ipxe: request.ipxe,
            uuid: request.uuid,
        }
    }
}
