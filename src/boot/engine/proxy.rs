//! The proxyDHCP server of PXE 2.1, beside another DHCP server: it offers the boot file, and no address.
//!
//! The client gathers the server's offer and ours, asks the server for its address, and then either
//! takes our boot file as it is (BIOS, iPXE, HTTP boot) or comes to port 4011 for it (UEFI PXE). So
//! DISCOVERs are answered, and everything else on port 67 is between the client and its server.
//!
//! Scripts and answers go to the machine that holds the address they are asked from, and here no
//! lease of ours tells which one that is. What tells it is heard: a client's REQUEST is broadcast
//! and names the address it takes. That is the machine's own word, as its MAC is.

use super::{
    Outcome, PXE_PORT, RequestContext,
    boot_fields::{self, BootInstruction},
    pxe_port, reply_options,
};
use crate::boot::event::{Reason, Stage, Step};
use crate::model::{MacAddr, Mode};
use crate::proto::dhcp::{Reply, ReplyKind, RequestKind};
use std::net::Ipv4Addr;

/// Answers a request as a proxyDHCP server.
pub(super) fn answer(context: &RequestContext<'_>) -> Outcome {
    if context.ingress.port == PXE_PORT {
        return pxe_port::answer(context);
    }
    match context.request.kind {
        RequestKind::Discover => discover(context),
        RequestKind::Request => context.ignored(Reason::ProxyRequest),
        RequestKind::Decline | RequestKind::Release | RequestKind::Inform | RequestKind::Bootp => {
            context.ignored(Reason::ProxyOther)
        }
        RequestKind::Other(kind) => context.ignored(Reason::MessageType { kind }),
    }
}

fn discover(context: &RequestContext<'_>) -> Outcome {
    if context.stage == Stage::Pxelinux {
        return context.ignored(Reason::ProxyPxelinux);
    }
    let BootInstruction { decision, fields } = boot_fields::boot_instruction(context);
    let Some(fields) = fields else {
        return context.ignored(Reason::ProxyNothing { boot: decision });
    };
    let mut reply = Reply::to(context.request, ReplyKind::Offer, context.address);
    reply.options.extend(reply_options::log_server(context));
    let boot_file = fields.write_for_proxy(context, &mut reply);
    context.replied((reply, boot_file), None, Step::ProxyOffered { boot: decision })
}

/// The address that the client has or is about to have from another server. An INIT-REBOOT counts for
/// nothing: the server may well refuse it.
pub(super) fn address_from_other_server(context: &RequestContext<'_>) -> Option<(Ipv4Addr, MacAddr)> {
    let request = context.request;
    let tells = context.ingress.port == PXE_PORT || request.kind == RequestKind::Request;
    if context.ingress.mode != Mode::Proxy || !tells {
        return None;
    }
    let source = *context.ingress.source.ip();
    let taken = request.server_identifier.and(request.requested_address);
    let used = request.client_address.filter(|address| *address == source);
    let address = taken.or(used)?;
    // A client behind a relay is on a wire of its own; elsewhere it is on ours, or it is lying.
    let is_plausible =
        request.relay.is_some() || context.ingress.own.iter().any(|own| own.cidr.is_host_address(address));
    let is_ours = context.ingress.is_own(address);
    request
        .hardware
        .mac()
        .filter(|_| is_plausible && !is_ours)
        .map(|mac| (address, mac))
}
