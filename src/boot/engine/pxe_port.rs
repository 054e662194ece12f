//! Port 4011: the boot file alone. A client comes here when an offer made it look for a boot server:
//! UEFI's after every proxy's offer, others after a stray option 60.

use super::{
    Outcome, RequestContext,
    boot_fields::{self, BootInstruction},
};
use crate::boot::event::{Reason, Step};
use crate::proto::dhcp::{Reply, ReplyKind, RequestKind};
use std::net::Ipv4Addr;

/// Answers a request on port 4011, whoever gave the client its address.
pub(super) fn answer(context: &RequestContext<'_>) -> Outcome {
    match context.request.kind {
        RequestKind::Request | RequestKind::Inform => {}
        RequestKind::Discover
        | RequestKind::Decline
        | RequestKind::Release
        | RequestKind::Bootp
        | RequestKind::Other(_) => return context.ignored(Reason::PxePortKind),
    }
    let BootInstruction { decision, fields } = boot_fields::boot_instruction(context);
    let Some(fields) = fields else {
        return context.ignored(Reason::PxePortNothing { boot: decision });
    };
    let mut reply = Reply::to(context.request, ReplyKind::Ack, context.address);
    let address = context.request.client_address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    reply.client_address = address;
    let boot_file = fields.write_for_pxe_port(context, &mut reply);
    let boot = decision;
    context.replied((reply, boot_file), None, Step::Acknowledged { address, boot })
}
