//! A reply and its bytes: what firmware accepts, and never a byte more than it can take.

mod layout;
mod option;

pub use option::ReplyOption;

use self::{
    layout::{Layout, encode_into},
    option::nul_terminated,
};
use super::{
    Request,
    option_body::{CLASSLESS_ROUTES, ROUTER, STATIC_ROUTES},
    wire,
};
use crate::model::{HardwareAddr, limits};
use dhcproto::{
    Encodable, Encoder,
    v4::{DhcpOption, MessageType, OptionCode, UnknownOption},
};
use std::{net::Ipv4Addr, time::Duration};

/// What a reply says: option 53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// DHCPOFFER.
    Offer,
    /// DHCPACK.
    Ack,
    /// DHCPNAK.
    Nak,
    /// A reply to plain BOOTP: no option 53 and none of DHCP's own (RFC 1534).
    Bootp,
}

/// A reply to be written. What must always be echoed (transaction, flags, relay, hardware address, options
/// 61, 82 and 97) is taken from the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Offer, ACK or NAK.
    pub kind: ReplyKind,
    /// The flags; a relayed NAK sets [`Reply::FLAG_BROADCAST`].
    pub flags: u16,
    /// The client's own address, also known as `ciaddr`; 0.0.0.0 where it has none.
    pub client_address: Ipv4Addr,
    /// The address it is given, also known as `yiaddr`; 0.0.0.0 for none.
    pub your_address: Ipv4Addr,
    /// The TFTP server, also known as `siaddr`; 0.0.0.0 for none.
    pub next_server: Ipv4Addr,
    /// The TFTP server by name, also known as `sname`, where it fits its 63 bytes.
    pub server_name: Option<String>,
    /// Option 54.
    pub server_identifier: Ipv4Addr,
    /// Option 67 and, where it is short enough, `file`.
    pub boot_file: Option<String>,
    /// Further options, in any order; where room is short the least important are left out.
    pub options: Vec<ReplyOption>,
    /// 118, where the client's word on its subnet was obeyed: by that it knows (RFC 3011).
    pub subnet_selection: Option<Ipv4Addr>,
    /// Codes of options that are not written, whoever put them in.
    pub leave_out: Vec<u8>,
    xid: u32,
    relay: Ipv4Addr,
    hardware: HardwareAddr,
    client_identifier: Option<Vec<u8>>,
    machine_identifier: Option<Vec<u8>>,
    relay_agent: Option<Vec<u8>>,
    wanted_options: Vec<u8>,
    bytes_max: usize,
}

/// `file` holds this many bytes and a NUL.
const FILE_NAME_BYTES_MAX: usize = 127;
/// `sname` holds this many bytes and a NUL.
const SERVER_NAME_BYTES_MAX: usize = 63;
/// The IP and UDP headers that option 57 counts and a payload does not.
const IP_UDP_BYTES: u16 = 28;
/// What every client must accept (RFC 2132 section 9.10), headers included.
const MESSAGE_BYTES_MIN: u16 = 576;
/// A relay writes one option 82 (RFC 3046). A longer one, in pieces, is no relay's, and echoing it
/// would leave no room for the reply.
const RELAY_AGENT_BYTES_MAX: usize = 255;

/// What no client can do without, in the order of a reply: old firmware looks for 53 first. The rest
/// follows in the order of the client's list (RFC 2132 section 9.8), and what it does not name comes
/// last, because where room is short it is the last that are left out.
const ESSENTIAL: [u8; 12] = [53, 54, 51, 1, 3, 67, 60, 43, 175, 61, 97, 118];
/// As many options as a reply has room for at once; one with more grows.
const OPTIONS_USUAL: usize = 24;
/// The order of what the client's list does not name.
const UNNAMED: [u8; 8] = [6, 56, 66, 58, 59, 28, 12, 15];

impl Reply {
    /// The flag that asks a relay to broadcast (RFC 2131 section 4.1).
    pub const FLAG_BROADCAST: u16 = 0x8000;

    /// An empty reply to `request`, from the server that `server_identifier` names.
    pub fn to(request: &Request, kind: ReplyKind, server_identifier: Ipv4Addr) -> Reply {
        let datagram = request.message_bytes_max.unwrap_or(MESSAGE_BYTES_MIN);
        let payload = datagram.max(MESSAGE_BYTES_MIN) - IP_UDP_BYTES;
        Reply {
            kind,
            flags: request.flags,
            client_address: Ipv4Addr::UNSPECIFIED,
            your_address: Ipv4Addr::UNSPECIFIED,
            next_server: Ipv4Addr::UNSPECIFIED,
            server_name: None,
            server_identifier,
            boot_file: None,
            options: Vec::new(),
            subnet_selection: None,
            leave_out: Vec::new(),
            xid: request.xid,
            relay: request.relay.unwrap_or(Ipv4Addr::UNSPECIFIED),
            hardware: request.chaddr,
            client_identifier: request.client_identifier.clone(),
            machine_identifier: request.machine_identifier.clone(),
            relay_agent: request
                .relay_agent
                .as_ref()
                .map(|agent| agent.raw.clone())
                .filter(|raw| raw.len() <= RELAY_AGENT_BYTES_MAX),
            wanted_options: request.wanted_options.clone().unwrap_or_default(),
            bytes_max: usize::from(payload).min(limits::DHCP_REPLY_BYTES_MAX),
        }
    }

    /// Makes the lease it gives no longer than `lasting`, and its T1 and T2 half and seven eighths of
    /// that.
    pub fn limit_lease(&mut self, lasting: Duration) {
        for option in &mut self.options {
            match option {
                ReplyOption::LeaseTime(time) => *time = lasting.min(*time),
                ReplyOption::RenewAfter(time) => *time = (lasting / 2).min(*time),
                ReplyOption::RebindAfter(time) => *time = (lasting / 8 * 7).min(*time),
                ReplyOption::SubnetMask(_)
                | ReplyOption::Router(_)
                | ReplyOption::DnsServers(_)
                | ReplyOption::HostName(_)
                | ReplyOption::DomainName(_)
                | ReplyOption::BroadcastAddress(_)
                | ReplyOption::VendorOptions(_)
                | ReplyOption::Message(_)
                | ReplyOption::VendorClass(_)
                | ReplyOption::TftpServerName(_)
                | ReplyOption::ClientName { .. }
                | ReplyOption::Ipxe(_)
                | ReplyOption::Raw(_) => {}
            }
        }
    }

    /// The reply's bytes: at least [`limits::DHCP_REPLY_BYTES_MIN`], at most what option 57 allows
    /// and [`limits::DHCP_REPLY_BYTES_MAX`]. Option 82 is the last (RFC 3046 section 2.2).
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header();
        let relay_agent = self.encoded_relay_agent();
        let end_bytes = 1;
        let taken = bytes.len() + relay_agent.len() + end_bytes;
        self.laid_out(self.bytes_max.saturating_sub(taken)).write(&mut bytes);
        bytes.extend_from_slice(&relay_agent);
        bytes.push(wire::END);
        if bytes.len() < limits::DHCP_REPLY_BYTES_MIN {
            bytes.resize(limits::DHCP_REPLY_BYTES_MIN, 0);
        }
        bytes
    }

    /// Every option but 82, as many as the room holds. Who asks for the classless routes and for the older
    /// options that they stand in place of gets those alone, if there is room for them (RFC 3442).
    fn laid_out(&self, room: usize) -> Layout {
        let options = self.ordered_options();
        let all: Vec<&DhcpOption> = options.iter().collect();
        let is_wanted = |code: u8| self.wanted_options.contains(&code);
        let is_replaced = |option: &&DhcpOption| {
            let code = u8::from(OptionCode::from(*option));
            matches!(code, ROUTER | STATIC_ROUTES) && is_wanted(code)
        };
        if is_wanted(CLASSLESS_ROUTES) && all.iter().any(is_replaced) {
            let others: Vec<&DhcpOption> = options.iter().filter(|option| !is_replaced(option)).collect();
            let layout = self.widened(&others, room);
            if layout.codes.contains(&CLASSLESS_ROUTES) {
                return layout;
            }
        }
        self.widened(&all, room)
    }

    /// The options behind the header, and where not all find room there in its unused fields as well. Firmware
    /// that is told what to load finds that there, and no option.
    fn widened(&self, options: &[&DhcpOption], room: usize) -> Layout {
        let layout = Layout::behind_the_header(options, room);
        let is_lease = matches!(self.kind, ReplyKind::Offer | ReplyKind::Ack);
        let has_spare_fields = is_lease && self.boot_file.is_none() && self.server_name.is_none();
        if layout.codes.len() == options.len() || !has_spare_fields {
            return layout;
        }
        let wide = Layout::in_all_fields(options, room);
        match wide.codes.len() > layout.codes.len() {
            true => wide,
            false => layout,
        }
    }

    /// The fixed header and the magic cookie, with room for what follows. Not by dhcproto, which writes the many zeros
    /// of a header one by one: that took a tenth of the time of DHCP's thread.
    fn header(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes_max);
        bytes.resize(wire::HEADER_BYTES, 0);
        let hardware = self.hardware.as_bytes();
        let hardware_bytes = u8::try_from(hardware.len()).unwrap_or(u8::MAX);
        bytes[..3].copy_from_slice(&[wire::OP_REPLY, self.hardware.htype(), hardware_bytes]);
        bytes[wire::XID].copy_from_slice(&self.xid.to_be_bytes());
        bytes[wire::FLAGS].copy_from_slice(&self.flags.to_be_bytes());
        let addresses = [self.client_address, self.your_address, self.next_server, self.relay];
        for (place, address) in bytes[wire::ADDRESSES].chunks_exact_mut(4).zip(addresses) {
            place.copy_from_slice(&address.octets());
        }
        bytes[wire::CHADDR][..hardware.len()].copy_from_slice(hardware);
        let texts = [
            (wire::SNAME, &self.server_name, SERVER_NAME_BYTES_MAX),
            (wire::FILE, &self.boot_file, FILE_NAME_BYTES_MAX),
        ];
        for (place, text, bytes_max) in texts {
            if let Some(text) = text.as_ref().filter(|text| text.len() <= bytes_max) {
                bytes[place][..text.len()].copy_from_slice(text.as_bytes());
            }
        }
        bytes[wire::FIXED_BYTES..].copy_from_slice(&wire::MAGIC);
        bytes
    }

    /// Every option but 82, in the order of the wire.
    fn ordered_options(&self) -> Vec<DhcpOption> {
        let kind = match self.kind {
            ReplyKind::Offer => Some(MessageType::Offer),
            ReplyKind::Ack => Some(MessageType::Ack),
            ReplyKind::Nak => Some(MessageType::Nak),
            ReplyKind::Bootp => None,
        };
        let mut options = Vec::with_capacity(OPTIONS_USUAL);
        if let Some(kind) = kind {
            options.push(DhcpOption::MessageType(kind));
            options.push(DhcpOption::ServerIdentifier(self.server_identifier));
        }
        // In NAKs too (RFC 6842 section 3).
        options.extend(self.client_identifier.clone().map(DhcpOption::ClientIdentifier));
        options.extend(self.subnet_selection.map(DhcpOption::SubnetSelection));
        if self.kind != ReplyKind::Nak {
            // EDK2 writes a NUL behind an unterminated 67, over the next option's code.
            let boot_file = self.boot_file.as_deref().map(nul_terminated);
            options.extend(boot_file.map(DhcpOption::BootfileName));
            options.extend(self.machine_identifier.clone().map(DhcpOption::ClientMachineIdentifier));
        }
        options.extend(self.options.iter().map(ReplyOption::to_wire).filter(fits));
        options.retain(|option| !self.leave_out.contains(&u8::from(OptionCode::from(option))));
        options.sort_by_cached_key(|option| {
            let code = u8::from(OptionCode::from(option));
            let rank = |list: &[u8]| list.iter().position(|listed| *listed == code);
            rank(&ESSENTIAL)
                .map(|place| (0, place))
                .or_else(|| rank(&self.wanted_options).map(|place| (1, place)))
                .unwrap_or_else(|| (2, rank(&UNNAMED).unwrap_or(UNNAMED.len())))
        });
        options
    }

    fn encoded_relay_agent(&self) -> Vec<u8> {
        // As an unknown option, because dhcproto's own type for 82 sorts and merges sub-options.
        self.relay_agent.clone().map_or_else(Vec::new, |raw| {
            encoded(&DhcpOption::Unknown(UnknownOption::new(
                OptionCode::RelayAgentInformation,
                raw,
            )))
        })
    }
}

/// Whether an option is no longer than any may be.
fn fits(option: &DhcpOption) -> bool {
    match option {
        DhcpOption::Unknown(raw) => raw.data().len() <= limits::DHCP_OPTION_BYTES_MAX,
        _ => true,
    }
}

fn encoded(part: &impl Encodable) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(&mut bytes, part);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::dhcp::{ClientName, RawOption};
    use dhcproto::v4::{Flags, HType, Message, Opcode};

    fn options() -> Vec<ReplyOption> {
        let (address, time) = (Ipv4Addr::new(192, 0, 2, 1), Duration::from_secs(3600));
        vec![
            ReplyOption::LeaseTime(time),
            ReplyOption::SubnetMask(address),
            ReplyOption::Router(address),
            ReplyOption::DnsServers(vec![address]),
            ReplyOption::HostName("r1u07".to_owned()),
            ReplyOption::DomainName("example.net".to_owned()),
            ReplyOption::BroadcastAddress(address),
            ReplyOption::VendorOptions(vec![255]),
            ReplyOption::Message("why".to_owned()),
            ReplyOption::RenewAfter(time / 2),
            ReplyOption::RebindAfter(time / 8 * 7),
            ReplyOption::VendorClass("PXEClient"),
            ReplyOption::TftpServerName("192.0.2.1".to_owned()),
            ReplyOption::ClientName {
                asked: ClientName {
                    flags: 0,
                    name: b"r1u07".to_vec(),
                },
                name: None,
            },
            ReplyOption::Ipxe(vec![176, 1, 1]),
            ReplyOption::Raw(RawOption {
                code: 42,
                body: vec![192, 0, 2, 1],
                always: true,
            }),
        ]
    }

    #[test]
    fn an_option_is_written_under_the_code_that_it_says() {
        for option in options() {
            assert_eq!(encoded(&option.to_wire())[0], option.code(), "{option:?}");
        }
    }

    /// A reply to a request of a client with that hardware address, with every field of the header in use.
    fn reply(htype: u8, hardware: &[u8]) -> Reply {
        let mut packet = [0; wire::HEADER_BYTES];
        packet[..3].copy_from_slice(&[1, htype, u8::try_from(hardware.len()).unwrap()]);
        packet[wire::XID].copy_from_slice(&[1, 2, 3, 4]);
        packet[24..28].copy_from_slice(&[198, 51, 100, 1]);
        packet[wire::CHADDR][..hardware.len()].copy_from_slice(hardware);
        packet[wire::FIXED_BYTES..].copy_from_slice(&wire::MAGIC);
        let request = crate::proto::dhcp::parse(&packet).unwrap();
        Reply {
            flags: Reply::FLAG_BROADCAST,
            client_address: Ipv4Addr::new(192, 0, 2, 7),
            your_address: Ipv4Addr::new(192, 0, 2, 8),
            next_server: Ipv4Addr::new(192, 0, 2, 9),
            ..Reply::to(&request, ReplyKind::Ack, Ipv4Addr::new(192, 0, 2, 1))
        }
    }

    #[test]
    fn a_header_is_what_dhcproto_makes_of_its_fields() {
        let long = |bytes| Some("x".repeat(bytes));
        for (htype, hardware) in [(1, &[2, 0, 0, 0, 0, 7][..]), (32, &[]), (6, &[9; 16])] {
            for (name, file) in [(None, None), (long(63), long(127)), (long(64), long(128))] {
                let reply = Reply {
                    server_name: name,
                    boot_file: file,
                    ..reply(htype, hardware)
                };
                let mut message = Message::new_with_id(
                    0x0102_0304,
                    reply.client_address,
                    reply.your_address,
                    reply.next_server,
                    Ipv4Addr::new(198, 51, 100, 1),
                    reply.hardware.as_bytes(),
                );
                message
                    .set_opcode(Opcode::BootReply)
                    .set_htype(HType::from(reply.hardware.htype()))
                    .set_flags(Flags::new(Reply::FLAG_BROADCAST));
                if let Some(name) = reply.server_name.as_ref().filter(|name| name.len() < 64) {
                    message.set_sname(name.as_bytes());
                }
                if let Some(file) = reply.boot_file.as_ref().filter(|file| file.len() < 128) {
                    message.set_fname(file.as_bytes());
                }
                assert_eq!(reply.header(), encoded(&message), "{reply:?}");
            }
        }
    }

    #[test]
    fn a_limited_lease_has_its_t1_and_t2_within_and_says_all_else_as_before() {
        let mut packet = [0; 240];
        packet[0] = 1;
        packet[236..].copy_from_slice(&[99, 130, 83, 99]);
        let request = crate::proto::dhcp::parse(&packet).unwrap();
        let mut reply = Reply::to(&request, ReplyKind::Ack, Ipv4Addr::new(192, 0, 2, 1));
        reply.options = options();
        let whole = reply.clone();
        reply.limit_lease(Duration::from_secs(7200));
        assert_eq!(reply, whole);
        reply.limit_lease(Duration::from_secs(80));
        let changed: Vec<&ReplyOption> = reply
            .options
            .iter()
            .filter(|option| !whole.options.contains(option))
            .collect();
        let seconds = Duration::from_secs;
        assert_eq!(
            changed,
            [
                &ReplyOption::LeaseTime(seconds(80)),
                &ReplyOption::RenewAfter(seconds(40)),
                &ReplyOption::RebindAfter(seconds(70)),
            ]
        );
    }
}
