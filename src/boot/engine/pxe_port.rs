//! Port 4011: the boot file alone. A client comes here when an offer made it look for a boot server:
//! UEFI's after every proxy's offer, others after a stray option 60.

use super::{
    Asked, Outcome,
    answer::{self, Boot},
};
use crate::boot::event::Step;
use crate::proto::dhcp::{Reply, ReplyKind, RequestKind};
use std::net::Ipv4Addr;

/// Answers a request on port 4011, whoever gave the client its address.
pub(super) fn answer(asked: &Asked<'_>) -> Outcome {
    match asked.request.kind {
        RequestKind::Request | RequestKind::Inform => {}
        RequestKind::Discover
        | RequestKind::Decline
        | RequestKind::Release
        | RequestKind::Bootp
        | RequestKind::Other(_) => return asked.ignored("port 4011 answers requests for a boot file only"),
    }
    let Boot { text, fields } = answer::boot(asked);
    let Some(fields) = fields else {
        return asked.ignored(format!(
            "port 4011 is for boot files, and this machine loads none: {text}"
        ));
    };
    let mut reply = Reply::to(asked.request, ReplyKind::Ack, asked.address);
    let address = asked.request.client_address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    reply.client_address = address;
    fields.write_for_pxe_port(asked, &mut reply);
    asked.replied(reply, None, Step::Acknowledged { address, boot: text })
}
