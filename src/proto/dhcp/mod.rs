//! DHCP (RFC 2131): lenient reading, strict writing.
//!
//! Owns the wire: the fixed header, the walk over the options (split, overloaded, broken), what a
//! request says in typed fields, and the bytes of a reply. dhcproto gives single options their
//! meaning and their encoding; what it gets wrong on hostile input (it stops at the first bad
//! option, joins only adjacent pieces, ignores overload, keeps one architecture and reorders option
//! 82) is done here. Does not own any decision: that is `boot::engine`.

pub mod client;
mod described;
mod ipxe;
pub mod option_body;
mod port;
mod relay;
mod reply;
mod request;
mod sniffed;
mod wire;

pub use described::{DescribedOption, described_options};
pub use ipxe::IpxeFeatures;
pub use option_body::RawOption;
pub use port::names_a_vlan;
pub use relay::RelayAgent;
pub use reply::{Reply, ReplyKind, ReplyOption};
pub use request::{ClientName, Request, RequestKind, parse};
pub use sniffed::{SniffedReply, sniff_reply};

use serde::Serialize;
use std::fmt;

/// Why bytes are not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MalformedRequest {
    /// Shorter than the fixed header, or cut in the magic cookie behind it.
    Short,
    /// `op` is not 1: a reply, or nothing of DHCP's.
    NotARequest,
    /// The four bytes before the options are not DHCP's (RFC 2131 section 3).
    BadMagic,
}

impl MalformedRequest {
    /// The reason in a phrase, for logs and counters.
    pub fn reason(self) -> &'static str {
        match self {
            MalformedRequest::Short => "shorter than a DHCP header",
            MalformedRequest::NotARequest => "not a request: its op is not 1",
            MalformedRequest::BadMagic => "without DHCP's magic cookie",
        }
    }
}

impl fmt::Display for MalformedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for MalformedRequest {}
