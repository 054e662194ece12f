//! A room to ask in: a small inventory by hand, and packets by hand.

use crate::fixtures::{self, draw_token, file_request};
pub use crate::fixtures::{SERVER, sourced};
use bootwright::boot::{
    arming::Arming,
    engine::{self, Destination, DiscoverCache, Ingress, Outcome, OutgoingReply},
    event::{BootAction, BootDecision, MachineKey, NoOwnAddress, Reason, Step},
    identity_cache::IdentityCache,
    loader::{Loaders, candidates},
    resource::{FileRequest, Resolved, Transport, resource},
    snapshot::{BootSettings, Host, Hosts, PortsFrom, Rule, RuleMatch, Snapshot, Subnet, UnknownPolicy},
    verification::Verification,
    world::{FileWorld, World},
};
use bootwright::lease::{LeaseChange, LeaseTable};
use bootwright::model::{Arch, BootTarget, Cidr, MacAddr, Mode, Now, OwnAddress, WallTime};
use bootwright::proto::dhcp::{self, Request};
use dhcproto::{
    Decodable,
    v4::{DhcpOption, Message, MessageType, OptionCode},
};
use std::{net::Ipv4Addr, sync::LazyLock, time::Duration};

pub const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
pub const BROADCAST: Destination = Destination::Broadcast { port: 68 };
/// A host with `boot = "live"` and the reservation 192.0.2.11.
pub const LIVE: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
/// Its second interface.
pub const LIVE_SECOND: MacAddr = MacAddr([0x52, 0x54, 0, 0, 1, 1]);
/// A host with `boot = "local"` and the reservation 192.0.2.12.
pub const LOCAL: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
/// A host with `boot = "install"` and no reservation.
pub const INSTALL: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 3]);
/// Nobody.
pub const STRANGER: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 99]);

pub const START: Now = Now {
    monotonic: Duration::from_secs(1000),
    wall: WallTime(1_700_000_000),
};

pub fn settings(target: BootTarget) -> BootSettings {
    fixtures::settings(target, "live")
}

pub fn host(name: &str, macs: &[MacAddr], address: Option<&str>, target: BootTarget) -> Host {
    Host {
        macs: macs.to_vec(),
        address: address.map(|text| text.parse().unwrap()),
        settings: settings(target),
        ..fixtures::host(name)
    }
}

pub fn rule(matches: RuleMatch, target: BootTarget) -> Rule {
    Rule {
        matches,
        ..fixtures::rule(settings(target))
    }
}

pub fn subnet(cidr: &str, router: Option<&str>, pool: &[&str]) -> Subnet {
    Subnet {
        router: router.map(|text| text.parse().unwrap()),
        dns: vec![Ipv4Addr::new(192, 0, 2, 53)],
        domain: Some("rack.example".to_owned()),
        pool: pool.iter().map(|text| text.parse().unwrap()).collect(),
        ports_from: PortsFrom {
            relays: vec![cidr.parse().unwrap()],
            switches: true,
        },
        ..fixtures::subnet(cidr)
    }
}

/// The best loader of every architecture, but none that serves a skipped one.
pub fn loaders(skipped: &[Arch]) -> Loaders {
    let mut loaders = Loaders::default();
    let is_skipped = |file: &&&str| skipped.iter().any(|arch| candidates(*arch).contains(*file));
    for arch in Arch::all() {
        if let Some(file) = candidates(arch).first().filter(|file| !is_skipped(file)) {
            loaders.add("/loaders".into(), (*file).to_owned());
        }
    }
    loaders
}

pub fn snapshot(unknown: UnknownPolicy) -> Snapshot {
    Snapshot {
        subnets: vec![
            subnet("192.0.2.0/24", Some("192.0.2.254"), &["192.0.2.100-192.0.2.103"]),
            subnet(
                "198.51.100.0/24",
                Some("198.51.100.254"),
                &["198.51.100.100-198.51.100.199"],
            ),
        ],
        hosts: Hosts::new(vec![
            host("live-one", &[LIVE, LIVE_SECOND], Some("192.0.2.11"), BootTarget::Live),
            host("local-one", &[LOCAL], Some("192.0.2.12"), BootTarget::Local),
            host("install-one", &[INSTALL], None, BootTarget::Install),
        ]),
        unknown,
        loaders: loaders(&[]),
        quirks: bootwright::config::shipped_quirks(),
        ..fixtures::snapshot()
    }
}

/// An address of ours in a subnet of 24 bits.
pub fn own_address(address: Ipv4Addr) -> OwnAddress {
    OwnAddress {
        address,
        cidr: Cidr::containing(address, 24),
    }
}

pub fn ingress() -> Ingress {
    Ingress {
        interface: "eno2".into(),
        own: [own_address(SERVER)].into(),
        elsewhere: [].into(),
        address: SERVER,
        port: 67,
        mode: Mode::Dhcp,
        source: "0.0.0.0:68".parse().unwrap(),
        to: Ipv4Addr::BROADCAST,
    }
}

/// A snapshot, its leases and a clock.
pub struct Room {
    pub snapshot: Snapshot,
    pub leases: LeaseTable,
    pub arming: Arming,
    pub discovers: DiscoverCache,
    pub ingress: Ingress,
    pub now: Now,
}

impl Room {
    pub fn new() -> Room {
        Room {
            snapshot: snapshot(UnknownPolicy::Discover),
            leases: LeaseTable::default(),
            arming: Arming::default(),
            discovers: DiscoverCache::default(),
            ingress: ingress(),
            now: START,
        }
    }

    /// What requests for files are decided from.
    fn files<'r>(&'r mut self, identities: &'r mut IdentityCache) -> FileWorld<'r, 'r> {
        static NOTHING_READ: LazyLock<Verification> = LazyLock::new(Verification::default);
        FileWorld {
            world: World {
                now: self.now,
                snapshot: &self.snapshot,
                leases: &mut self.leases,
                arming: &mut self.arming,
            },
            identities,
            verification: &NOTHING_READ,
            draw_token,
        }
    }

    pub fn outcome(&mut self, packet: &Packet) -> Outcome {
        self.decide(&dhcp::parse(&packet.bytes()).unwrap())
    }

    /// What comes of asking for a file over HTTP.
    pub fn get(&mut self, identities: &mut IdentityCache, peer: Ipv4Addr, path: &str) -> Resolved {
        self.file(identities, &file_request(Transport::Http, peer, path))
    }

    /// What comes of asking for a file.
    pub fn file(&mut self, identities: &mut IdentityCache, request: &FileRequest<'_>) -> Resolved {
        resource(self.files(identities), request)
    }

    fn decide(&mut self, request: &Request) -> Outcome {
        let mut request = request.clone();
        self.discovers.complete(self.now, &mut request);
        let mut world = World {
            now: self.now,
            snapshot: &self.snapshot,
            leases: &mut self.leases,
            arming: &mut self.arming,
        };
        engine::handle(&mut world, &self.ingress, &request)
    }

    /// The reply that a packet gets, as its client decodes it.
    pub fn reply(&mut self, packet: &Packet) -> ServerReply {
        self.reply_to(&dhcp::parse(&packet.bytes()).unwrap())
    }

    /// The reply that a parsed request gets.
    pub fn reply_to(&mut self, request: &Request) -> ServerReply {
        let outcome = self.decide(request);
        let sending = outcome
            .send
            .unwrap_or_else(|| panic!("no reply: {:?}", outcome.event.step));
        ServerReply::of(outcome.event.step, outcome.change, sending)
    }

    /// Why a packet gets no reply.
    pub fn silence(&mut self, packet: &Packet) -> Reason {
        match self.unanswered(packet) {
            Step::Ignored { reason } | Step::PoolExhausted { reason } => reason,
            other => panic!("not ignored: {other:?}"),
        }
    }

    /// What becomes of a packet that gets no reply.
    pub fn unanswered(&mut self, packet: &Packet) -> Step {
        let outcome = self.outcome(packet);
        assert!(outcome.send.is_none(), "a reply: {:?}", outcome.event.step);
        outcome.event.step
    }

    /// A lease as a client gets one; its address.
    pub fn dora(&mut self, mac: MacAddr) -> Ipv4Addr {
        let address = self.reply(&Packet::discover(mac)).message.yiaddr();
        let ack = self.reply(&Packet::selecting(mac, address));
        assert_eq!(ack.kind(), MessageType::Ack);
        assert_eq!(ack.message.yiaddr(), address);
        address
    }
}

/// What events know a listed host by.
pub fn listed(name: &str) -> MachineKey {
    MachineKey::Host(name.parse().unwrap())
}

/// What events know a machine by that nobody listed.
pub fn unlisted(mac: MacAddr) -> MachineKey {
    MachineKey::Hardware(mac.into())
}

/// The pool of [`SERVER`]'s subnet is used up for a machine without an address of its own.
pub fn used_up() -> Reason {
    Reason::PoolUsedUp {
        own: NoOwnAddress::Unreserved,
        subnet: cidr("192.0.2.0/24"),
    }
}

/// What a machine is told that says nothing odd of itself.
pub fn told(boot: BootAction) -> BootDecision {
    BootDecision { boot, mismatch: None }
}

pub fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

/// A reply as its client sees it.
pub struct ServerReply {
    pub message: Message,
    pub options: Vec<(u8, Vec<u8>)>,
    pub destination: Destination,
    /// The second copy: from which address of ours, and where to.
    pub copy: Option<(Ipv4Addr, Destination)>,
    pub step: Step,
    pub change: Option<LeaseChange>,
    pub bytes: Vec<u8>,
}

impl ServerReply {
    /// What a client decodes of a reply that was sent.
    pub fn of(step: Step, change: Option<LeaseChange>, sending: OutgoingReply) -> ServerReply {
        let bytes = sending.encode();
        ServerReply {
            message: Message::from_bytes(&bytes).unwrap(),
            options: raw_options(&bytes),
            destination: sending.destination,
            copy: sending.copy,
            step,
            change,
            bytes,
        }
    }

    pub fn kind(&self) -> MessageType {
        self.message.opts().msg_type().unwrap()
    }

    pub fn option(&self, code: u8) -> Option<&[u8]> {
        self.options
            .iter()
            .find(|(each, _)| *each == code)
            .map(|(_, body)| body.as_slice())
    }

    /// Option 67 without its NUL.
    pub fn boot_file(&self) -> Option<String> {
        let body = self.option(67)?;
        let (nul, text) = body.split_last().unwrap();
        assert_eq!(*nul, 0, "67 is not NUL-terminated");
        Some(String::from_utf8(text.to_vec()).unwrap())
    }

    /// The header's `file`.
    pub fn file(&self) -> String {
        let field = &self.bytes[108..236];
        let end = field.iter().position(|byte| *byte == 0).unwrap();
        String::from_utf8(field[..end].to_vec()).unwrap()
    }

    pub fn server_identifier(&self) -> Ipv4Addr {
        match self.message.opts().get(OptionCode::ServerIdentifier) {
            Some(DhcpOption::ServerIdentifier(address)) => *address,
            other => panic!("{other:?}"),
        }
    }
}

/// The options of a reply in the order they stand on the wire.
pub fn raw_options(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut options = Vec::new();
    let mut rest = &bytes[240..];
    while rest[0] != 255 {
        let length = usize::from(rest[1]);
        options.push((rest[0], rest[2..2 + length].to_vec()));
        rest = &rest[2 + length..];
    }
    assert!(rest[1..].iter().all(|byte| *byte == 0), "bytes behind the end marker");
    options
}

/// A request by hand.
#[derive(Clone, Debug)]
pub struct Packet {
    pub op: u8,
    pub htype: u8,
    pub hlen: u8,
    pub flags: u16,
    pub ciaddr: Ipv4Addr,
    pub giaddr: Ipv4Addr,
    pub chaddr: [u8; 16],
    pub sname: Vec<u8>,
    pub file: Vec<u8>,
    pub options: Vec<(u8, Vec<u8>)>,
}

impl Packet {
    pub fn new(kind: u8, mac: MacAddr) -> Packet {
        let mut chaddr = [0; 16];
        chaddr[..6].copy_from_slice(&mac.0);
        Packet {
            op: 1,
            htype: 1,
            hlen: 6,
            flags: 0,
            ciaddr: NOBODY,
            giaddr: NOBODY,
            chaddr,
            sname: Vec::new(),
            file: Vec::new(),
            options: vec![(53, vec![kind])],
        }
    }

    pub fn discover(mac: MacAddr) -> Packet {
        Packet::new(1, mac)
    }

    /// A REQUEST that takes our offer of `address`.
    pub fn selecting(mac: MacAddr, address: Ipv4Addr) -> Packet {
        Packet::rebooting(mac, address).with(54, &SERVER.octets())
    }

    /// A REQUEST in INIT-REBOOT.
    pub fn rebooting(mac: MacAddr, address: Ipv4Addr) -> Packet {
        Packet::new(3, mac).with(50, &address.octets())
    }

    /// A REQUEST in RENEWING.
    pub fn renewing(mac: MacAddr, address: Ipv4Addr) -> Packet {
        Packet::new(3, mac).at(address)
    }

    pub fn with(mut self, code: u8, body: &[u8]) -> Packet {
        self.options.push((code, body.to_vec()));
        self
    }

    pub fn at(mut self, ciaddr: Ipv4Addr) -> Packet {
        self.ciaddr = ciaddr;
        self
    }

    pub fn through(mut self, giaddr: Ipv4Addr) -> Packet {
        self.giaddr = giaddr;
        self
    }

    pub fn broadcast(mut self) -> Packet {
        self.flags = 0x8000;
        self
    }

    /// A PXE ROM of that architecture.
    pub fn pxe(self, arch: u16) -> Packet {
        let class = format!("PXEClient:Arch:{arch:05}:UNDI:003016");
        let mut uuid = [7; 17];
        (uuid[0], uuid[16]) = (0, 8);
        self.with(60, class.as_bytes())
            .with(93, &arch.to_be_bytes())
            .with(94, &[1, 3, 16])
            .with(97, &uuid)
    }

    /// UEFI HTTP boot of that architecture.
    pub fn http_boot(self, arch: u16) -> Packet {
        let class = format!("HTTPClient:Arch:{arch:05}:UNDI:003016");
        self.with(60, class.as_bytes()).with(93, &arch.to_be_bytes())
    }

    /// iPXE with the features of a stock build.
    pub fn ipxe(self, arch: u16) -> Packet {
        let features = [0xb1, 1, 1, 0x13, 1, 1, 0x18, 1, 1, 0x24, 1, 1];
        self.pxe(arch).with(77, b"iPXE").with(175, &features)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.op, self.htype, self.hlen, 0, 0xde, 0xad, 0xbe, 0xef, 0, 4];
        bytes.extend_from_slice(&self.flags.to_be_bytes());
        bytes.extend_from_slice(&self.ciaddr.octets());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&self.giaddr.octets());
        bytes.extend_from_slice(&self.chaddr);
        for (field, length) in [(&self.sname, 64), (&self.file, 128)] {
            let mut field = field.clone();
            field.resize(length, 0);
            bytes.extend_from_slice(&field);
        }
        bytes.extend_from_slice(&[99, 130, 83, 99]);
        for (code, body) in &self.options {
            for piece in body.chunks(255) {
                bytes.push(*code);
                bytes.push(u8::try_from(piece.len()).unwrap());
                bytes.extend_from_slice(piece);
            }
        }
        bytes.push(255);
        bytes
    }
}
