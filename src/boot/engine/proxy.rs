//! The guest beside another DHCP server (PXE 2.1's proxyDHCP): what to boot, and no address.
//!
//! The client gathers the server's offer and ours, asks the server for its address, and then either
//! takes our boot file as it is (BIOS, iPXE, HTTP boot) or comes to port 4011 for it (UEFI PXE). So
//! DISCOVERs are answered, and everything else on port 67 is between the client and its server.
//!
//! Scripts and answers go to the machine that holds the address they are asked from, and here no
//! lease of ours tells which one that is. What tells it is heard: a client's REQUEST is broadcast
//! and names the address it takes. That is the machine's own word, as its MAC is.

use super::{
    Asked, Outcome, PXE_PORT,
    answer::{self, Boot},
    pxe_port,
};
use crate::boot::event::{Stage, Step};
use crate::model::{MacAddr, Mode};
use crate::proto::dhcp::{Reply, ReplyKind, RequestKind};
use std::net::Ipv4Addr;

/// Answers a request as the guest of another server.
pub(super) fn answer(asked: &Asked<'_>) -> Outcome {
    if asked.ingress.port == PXE_PORT {
        return pxe_port::answer(asked);
    }
    match asked.request.kind {
        RequestKind::Discover => discover(asked),
        RequestKind::Request => asked.ignored("its address is another DHCP server's to give"),
        RequestKind::Decline | RequestKind::Release | RequestKind::Inform | RequestKind::Bootp => {
            asked.ignored("it is for the DHCP server that gives the addresses here")
        }
        RequestKind::Other(kind) => asked.ignored(format!("a message of type {kind} is not for a DHCP server")),
    }
}

fn discover(asked: &Asked<'_>) -> Outcome {
    if asked.stage == Stage::Pxelinux {
        return asked.ignored(
            "firmware that reads pxelinux.cfg itself takes one offer for all, and as a guest we give no address: let the \
             DHCP server name us as its next server (siaddr)",
        );
    }
    let Boot { text, fields } = answer::boot(asked);
    let Some(fields) = fields else {
        return asked.ignored(format!("as a guest we say only what to boot, and it boots {text}"));
    };
    let mut reply = Reply::to(asked.request, ReplyKind::Offer, asked.address);
    fields.write_for_proxy(asked, &mut reply);
    asked.replied(reply, None, Step::Told { boot: text })
}

/// The address that the client has or is about to have from another server. An INIT-REBOOT counts for
/// nothing: the server may well refuse it.
pub(super) fn heard(asked: &Asked<'_>) -> Option<(Ipv4Addr, MacAddr)> {
    let request = asked.request;
    let tells = asked.ingress.port == PXE_PORT || request.kind == RequestKind::Request;
    if asked.ingress.mode != Mode::Proxy || !tells {
        return None;
    }
    let source = *asked.ingress.source.ip();
    let taken = request.server_identifier.and(request.requested_address);
    let used = request.client_address.filter(|address| *address == source);
    let address = taken.or(used)?;
    // A client behind a relay is on a wire of its own; elsewhere it is on ours, or it is lying.
    let is_plausible = request.relay.is_some() || asked.ingress.own.iter().any(|own| own.cidr.is_host_address(address));
    let is_ours = asked.ingress.is_own(address);
    request
        .hardware
        .mac()
        .filter(|_| is_plausible && !is_ours)
        .map(|mac| (address, mac))
}
