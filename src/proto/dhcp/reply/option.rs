//! One option of a reply: what it means, and what it is on the wire.

use super::super::{RawOption, option_body, request::ClientName};
use dhcproto::v4::{DhcpOption, OptionCode, UnknownOption};
use std::{net::Ipv4Addr, time::Duration};

/// One option of a reply, by meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyOption {
    /// 51, whole seconds.
    LeaseTime(Duration),
    /// 1.
    SubnetMask(Ipv4Addr),
    /// 3.
    Router(Ipv4Addr),
    /// 6, in order.
    DnsServers(Vec<Ipv4Addr>),
    /// 12.
    HostName(String),
    /// 15.
    DomainName(String),
    /// 28.
    BroadcastAddress(Ipv4Addr),
    /// 43, with its own end marker where the reader needs one.
    VendorOptions(Vec<u8>),
    /// 56: why a NAK.
    Message(String),
    /// 58 (T1), whole seconds.
    RenewAfter(Duration),
    /// 59 (T2), whole seconds.
    RebindAfter(Duration),
    /// 60.
    VendorClass(&'static str),
    /// 66; written with a NUL behind it.
    TftpServerName(String),
    /// 81: the client's name (RFC 4702), and that we update no DNS.
    ClientName {
        /// What the client sent; its flags tell how the name is written.
        asked: ClientName,
        /// The name it is to have; `None` where it keeps its own.
        name: Option<String>,
    },
    /// 175: iPXE's own options.
    Ipxe(Vec<u8>),
    /// One that the operator named.
    Raw(RawOption),
}

impl ReplyOption {
    /// The option's code.
    pub fn code(&self) -> u8 {
        match self {
            ReplyOption::LeaseTime(_) => 51,
            ReplyOption::SubnetMask(_) => 1,
            ReplyOption::Router(_) => 3,
            ReplyOption::DnsServers(_) => 6,
            ReplyOption::HostName(_) => 12,
            ReplyOption::DomainName(_) => 15,
            ReplyOption::BroadcastAddress(_) => 28,
            ReplyOption::VendorOptions(_) => 43,
            ReplyOption::Message(_) => 56,
            ReplyOption::RenewAfter(_) => 58,
            ReplyOption::RebindAfter(_) => 59,
            ReplyOption::VendorClass(_) => 60,
            ReplyOption::TftpServerName(_) => 66,
            ReplyOption::ClientName { .. } => 81,
            ReplyOption::Ipxe(_) => 175,
            ReplyOption::Raw(option) => option.code,
        }
    }

    pub(super) fn to_wire(&self) -> DhcpOption {
        match self {
            ReplyOption::LeaseTime(time) => DhcpOption::AddressLeaseTime(seconds(*time)),
            ReplyOption::SubnetMask(mask) => DhcpOption::SubnetMask(*mask),
            ReplyOption::Router(router) => DhcpOption::Router(vec![*router]),
            ReplyOption::DnsServers(servers) => DhcpOption::DomainNameServer(servers.clone()),
            ReplyOption::HostName(name) => DhcpOption::Hostname(name.clone()),
            ReplyOption::DomainName(name) => DhcpOption::DomainName(name.clone()),
            ReplyOption::BroadcastAddress(address) => DhcpOption::BroadcastAddr(*address),
            ReplyOption::VendorOptions(body) => DhcpOption::VendorExtensions(body.clone()),
            ReplyOption::Message(text) => DhcpOption::Message(text.clone()),
            ReplyOption::RenewAfter(time) => DhcpOption::Renewal(seconds(*time)),
            ReplyOption::RebindAfter(time) => DhcpOption::Rebinding(seconds(*time)),
            ReplyOption::VendorClass(class) => DhcpOption::ClassIdentifier(class.as_bytes().to_vec()),
            ReplyOption::TftpServerName(name) => DhcpOption::TFTPServerName(nul_terminated(name)),
            ReplyOption::ClientName { asked, name } => raw(81, client_name(asked, name.as_deref())),
            ReplyOption::Raw(option) => raw(option.code, option.body.clone()),
            ReplyOption::Ipxe(body) => DhcpOption::Unknown(UnknownOption::new(OptionCode::Unknown(175), body.clone())),
        }
    }
}

fn raw(code: u8, body: Vec<u8>) -> DhcpOption {
    DhcpOption::Unknown(UnknownOption::new(OptionCode::from(code), body))
}

/// The body of our option 81: N, because we update no DNS; O where the client wanted us to;
/// and the two result codes, which a server sets to 255 (RFC 4702 section 2.2).
fn client_name(asked: &ClientName, name: Option<&str>) -> Vec<u8> {
    let mut flags = ClientName::NO_UPDATES | (asked.flags & ClientName::ENCODED);
    if asked.flags & ClientName::SERVER_UPDATES != 0 {
        flags |= ClientName::OVERRIDDEN;
    }
    let mut body = vec![flags, 255, 255];
    match name {
        None => body.extend_from_slice(&asked.name),
        Some(name) if asked.is_encoded() => body.extend(option_body::labels(name)),
        Some(name) => body.extend_from_slice(name.as_bytes()),
    }
    body
}

/// Whole seconds; what does not fit is "infinite" (RFC 2131 section 3.3).
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// Text with a NUL behind it.
pub(super) fn nul_terminated(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}
