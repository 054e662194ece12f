//! What must hold of every life of a DHCP server, whatever comes in: one input is one life.
//!
//! An input is a row of steps: packets, raw or put together from a few bytes, and what happens
//! between them: time passes, the inventory changes, the daemon restarts, packets come in elsewhere.
//! A second book of who was promised which address is kept from the replies alone, as a client reads
//! them, and never from the lease table.

use super::{input::Input, support::*};
use bootwright::boot::{
    arming::Arming,
    engine::{self, Destination, Ingress, Outcome, OutgoingReply},
    event::Step,
    snapshot::{Host, Hosts, Snapshot, UnknownPolicy},
    world::World,
};
use bootwright::lease::{LeaseChange, LeaseRecord, LeaseTable};
use bootwright::model::{Arch, BootTarget, HardwareAddr, MacAddr, Mode, Now, Uuid};
use bootwright::proto::dhcp::{self, RawOption, ReplyKind, Request};
use dhcproto::{Decodable, v4::Message};
use std::{collections::BTreeMap, net::Ipv4Addr, sync::OnceLock, time::Duration};

/// Steps of one life; longer ones find nothing that shorter ones don't.
const STEPS_MAX: usize = 64;
const UUID: [u8; 17] = [0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8];

/// An address that a client was promised.
struct Promise {
    client: HardwareAddr,
    /// The other interfaces of the host it is reserved for: one machine has one address.
    siblings: Vec<MacAddr>,
    until: Duration,
    /// By reservation, which no disk remembers.
    reserved: bool,
    generation: u64,
}

pub struct Life {
    pub now: Now,
    pub snapshot: &'static Snapshot,
    /// How often the inventory changed.
    pub generation: u64,
    pub ingress: Ingress,
    leases: LeaseTable,
    disk: BTreeMap<Ipv4Addr, LeaseRecord>,
    promises: BTreeMap<Ipv4Addr, Promise>,
    /// The address that was given last.
    pub last: Ipv4Addr,
}

/// Lives one input; how many replies it drew. Panics where a property does not hold.
pub fn live(input: &[u8]) -> usize {
    let mut input = Input(input);
    let mut life = Life::under(&inventories()[0]);
    let mut replies = 0;
    for _ in 0..STEPS_MAX {
        if input.0.is_empty() {
            break;
        }
        match input.byte() % 16 {
            0 => {
                let seconds = u64::from(input.word());
                life.now = life.now.after(Duration::from_secs(seconds));
            }
            1 => {
                let all = inventories();
                life.snapshot = &all[usize::from(input.byte()) % all.len()];
                life.generation += 1;
            }
            2 => life.restart(),
            3 => life.ingress = door(&mut input),
            4 => {
                let length = usize::from(input.word());
                let bytes = input.bytes(length).to_vec();
                replies += usize::from(life.is_answered(&bytes));
            }
            _ => {
                let bytes = composed(&mut input, life.last);
                replies += usize::from(life.is_answered(&bytes));
            }
        }
    }
    replies
}

/// The inventories that a life changes between.
fn inventories() -> &'static [Snapshot] {
    static ALL: OnceLock<Vec<Snapshot>> = OnceLock::new();
    ALL.get_or_init(|| {
        let listed = |hosts: Vec<Host>, pool: &str| {
            let mut inventory = snapshot(UnknownPolicy::Lease);
            inventory.hosts = Hosts::new(hosts);
            inventory.subnets[0] = subnet("192.0.2.0/24", Some("192.0.2.254"), &[pool]);
            inventory.subnets[0].lease = Duration::from_secs(60);
            inventory
        };
        let mut bare = snapshot(UnknownPolicy::Lease);
        bare.subnets.clear();
        bare.loaders = loaders(&Arch::all().collect::<Vec<_>>());
        let mut named = snapshot(UnknownPolicy::Discover);
        for (code, length) in [(26, 2), (42, 252), (119, 255), (121, 240), (224, 255)] {
            let body = vec![4; length];
            let option = RawOption {
                code,
                body,
                always: code != 42,
            };
            named.subnets[0].options.insert(code, sourced(option));
        }
        let by_uuid = Host {
            uuid: Uuid::from_option_97(&UUID),
            ..host("by-uuid", &[], Some("192.0.2.13"), BootTarget::Live)
        };
        let by_port = Host {
            port: Some("sw1/e1".to_owned()),
            ..host("by-port", &[], Some("192.0.2.14"), BootTarget::Live)
        };
        let locked = Host {
            port: Some("sw1/e2".to_owned()),
            ..host("locked", &[INSTALL], Some("192.0.2.15"), BootTarget::Live)
        };
        vec![
            snapshot(UnknownPolicy::Discover),
            snapshot(UnknownPolicy::Ignore),
            listed(Vec::new(), "192.0.2.11-192.0.2.14"),
            listed(
                vec![host(
                    "moved",
                    &[LIVE, LIVE_SECOND],
                    Some("192.0.2.101"),
                    BootTarget::Live,
                )],
                "192.0.2.100-192.0.2.102",
            ),
            listed(
                vec![host("new", &[STRANGER], Some("192.0.2.11"), BootTarget::Local)],
                "192.0.2.11-192.0.2.13",
            ),
            listed(vec![by_uuid, by_port, locked], "192.0.2.100-192.0.2.101"),
            named,
            bare,
        ]
    })
}

/// Where packets come in from here on.
fn door(input: &mut Input) -> Ingress {
    let choice = input.byte();
    let sources = [
        "0.0.0.0:68",
        "192.0.2.11:68",
        "192.0.2.100:4011",
        "198.51.100.2:67",
        "192.0.2.1:68",
    ];
    Ingress {
        port: if choice & 1 == 0 { 67 } else { 4011 },
        mode: if choice & 2 == 0 { Mode::Dhcp } else { Mode::Proxy },
        source: sources[usize::from(choice >> 2 & 0x1f) % sources.len()]
            .parse()
            .unwrap(),
        to: if choice & 0x80 == 0 {
            Ipv4Addr::BROADCAST
        } else {
            SERVER
        },
        ..ingress()
    }
}

/// A packet from a few bytes: so that whole exchanges are within a mutation's reach.
fn composed(input: &mut Input, last: Ipv4Addr) -> Vec<u8> {
    let kinds = [1, 3, 4, 7, 8, 1, 3, 5];
    let macs = [
        LIVE,
        LIVE_SECOND,
        LOCAL,
        INSTALL,
        STRANGER,
        MacAddr([2, 0, 0, 0, 0, 1]),
        MacAddr([2, 0, 0, 0, 0, 2]),
    ];
    let address = |choice: u8| match choice % 20 {
        0..=7 => NOBODY,
        8 => last,
        9 => SERVER,
        10 => Ipv4Addr::BROADCAST,
        11..=14 => Ipv4Addr::new(192, 0, 2, choice % 20),
        15 => Ipv4Addr::new(192, 0, 2, 2),
        16 => Ipv4Addr::new(198, 51, 100, 2),
        17 => Ipv4Addr::new(203, 0, 113, 9),
        _ => Ipv4Addr::new(192, 0, 2, 100 + choice / 20 % 4),
    };
    let (kind, mac) = (input.byte(), input.byte());
    let mut packet = Packet::new(
        kinds[usize::from(kind) % kinds.len()],
        macs[usize::from(mac) % macs.len()],
    );
    if kind > 0xf0 {
        packet.options.clear();
    }
    if mac > 0xf0 {
        (packet.htype, packet.hlen) = (input.byte(), input.byte());
    }
    packet.ciaddr = address(input.byte());
    packet.giaddr = address(input.byte());
    for code in [50, 54] {
        let said = address(input.byte());
        if said != NOBODY {
            packet = packet.with(code, &said.octets());
        }
    }
    let look = input.byte();
    packet = match look % 8 {
        1 => packet.pxe(0),
        2 => packet.pxe(7),
        3 => packet.http_boot(16),
        4 => packet.ipxe(7),
        5 => packet.pxe(41),
        6 => packet.with(97, &UUID),
        7 => packet.with(55, &[1, 3, 6, 12, 119, 121, 42]).with(81, &[1, 0, 0, b'n']),
        _ => packet,
    };
    if look & 0x08 != 0 {
        packet = packet.broadcast();
    }
    if look & 0x10 != 0 {
        packet = packet.with(61, &[1, 2, 3]);
    }
    if look & 0x20 != 0 {
        packet = packet.with(82, &[1, 2, b'e', b'1', 2, 3, b's', b'w', b'1']);
    }
    if look & 0x40 != 0 {
        let size = input.word().to_be_bytes();
        packet = packet.with(57, &size);
    }
    let mut bytes = packet.bytes();
    let length = usize::from(input.byte());
    bytes.pop();
    bytes.extend_from_slice(input.bytes(length));
    bytes
}

impl Life {
    /// One that begins, with no lease.
    pub fn under(snapshot: &'static Snapshot) -> Life {
        Life {
            now: START,
            snapshot,
            generation: 0,
            ingress: ingress(),
            leases: LeaseTable::default(),
            disk: BTreeMap::new(),
            promises: BTreeMap::new(),
            last: NOBODY,
        }
    }

    /// The daemon ends and starts anew: what is on disk comes back, and nothing else.
    pub fn restart(&mut self) {
        self.leases = LeaseTable::default();
        let records = self.disk.values().cloned().collect();
        let refused = self.leases.restore(self.now, records);
        assert!(refused.is_empty(), "its own records: {refused:?}");
        self.promises.retain(|_, promise| !promise.reserved);
    }

    fn is_answered(&mut self, bytes: &[u8]) -> bool {
        self.take(bytes).is_some_and(|(_, outcome)| outcome.send.is_some())
    }

    /// One packet, if it is a request, and what came of it.
    pub fn take(&mut self, bytes: &[u8]) -> Option<(Request, Outcome)> {
        let request = dhcp::parse(bytes).ok()?;
        let mut world = World {
            now: self.now,
            snapshot: self.snapshot,
            leases: &mut self.leases,
            arming: &mut Arming::default(),
        };
        let outcome = engine::handle(&mut world, &self.ingress, &request);
        let said = format!("{} {}", outcome.event.machine.key, outcome.event.step);
        assert!(
            said.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
            "steers a terminal: {said}"
        );
        match &outcome.change {
            Some(LeaseChange::Put(record)) => {
                self.disk.insert(record.address, record.clone());
            }
            Some(LeaseChange::Remove(address)) => {
                assert!(self.disk.remove(address).is_some(), "removes what nobody wrote");
            }
            None => {}
        }
        let reply = outcome.send.as_ref().map(OutgoingReply::encode);
        if let Some(reply) = &reply {
            assert_reply(&outcome, &self.ingress, &request, bytes, reply);
        }
        self.book(&outcome, &request, reply.as_deref());
        Some((request, outcome))
    }

    /// Keeps the book of promises; nobody is promised what another was.
    fn book(&mut self, outcome: &Outcome, request: &Request, reply: Option<&[u8]>) {
        let client = request.hardware;
        let is_own = |promise: &Promise| promise.client == client;
        match (&outcome.event.step, reply) {
            (Step::Acknowledged { .. }, Some(reply)) => self.promise(outcome, request, reply),
            (Step::Offered { address, .. }, Some(_)) => self.last = *address,
            (Step::Released { address } | Step::Declined { address }, None) => {
                if self.promises.get(address).is_some_and(is_own) {
                    self.promises.remove(address);
                }
            }
            (Step::Refused { .. }, Some(_)) => {
                let asked = request.requested_address.or(request.client_address);
                if let Some(address) = asked.filter(|address| self.promises.get(address).is_some_and(is_own)) {
                    self.promises.remove(&address);
                }
            }
            _ => assert!(
                reply.is_none() || self.ingress.mode == Mode::Proxy,
                "{:?}",
                outcome.event.step
            ),
        }
    }

    fn promise(&mut self, outcome: &Outcome, request: &Request, reply: &[u8]) {
        let (client, address) = (request.hardware, word(reply, 16));
        if address == NOBODY {
            assert!(outcome.change.is_none(), "a lease without an address");
            return;
        }
        // What a reservation takes over is off the disk.
        let reserved = !matches!(outcome.change, Some(LeaseChange::Put(_)));
        if let Some(LeaseChange::Put(record)) = &outcome.change {
            assert_eq!((record.address, record.client), (address, client));
        }
        let told = match walk(reply).iter().find(|(code, _)| *code == 51) {
            Some((_, body)) => u32::from_be_bytes(body.as_slice().try_into().unwrap()),
            None => u32::MAX,
        };
        let host = client.mac().and_then(|mac| self.snapshot.hosts.by_mac(mac));
        let is_in = |macs: &[MacAddr], other: HardwareAddr| other.mac().is_some_and(|mac| macs.contains(&mac));
        let mut promise = Promise {
            client,
            siblings: host
                .filter(|_| reserved)
                .map(|host| host.macs.clone())
                .unwrap_or_default(),
            until: self.now.monotonic + Duration::from_secs(told.into()),
            reserved,
            generation: self.generation,
        };
        if let Some(held) = self
            .promises
            .get(&address)
            .filter(|held| held.until > self.now.monotonic)
        {
            // A host's interfaces share its reservation, and a changed inventory gives the reservation
            // of the board that was replaced to the new one. Nobody else gets what is promised.
            let shared = is_in(&held.siblings, client) || is_in(&promise.siblings, held.client);
            let replaced = held.reserved && reserved && held.generation != self.generation && host.is_some();
            assert!(
                held.client == client || shared || replaced,
                "{address} is promised to {:?} and given to {client:?}",
                held.client
            );
            if shared && held.client != client {
                // One machine: its last lease counts, and a reservation shortens none.
                if reserved {
                    promise.until = promise.until.max(held.until);
                }
                promise.siblings.extend(held.client.mac());
            }
        }
        self.last = address;
        self.promises.insert(address, promise);
    }
}

/// The address at an offset of the header.
pub fn word(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap())
}

/// The options of a reply, read as strictly as the RFCs write them: every body inside the datagram, an
/// end marker, zeros behind it, no pad before it, and no code twice.
fn walk(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let options = raw_options(bytes);
    let mut codes: Vec<u8> = options.iter().map(|(code, _)| *code).collect();
    assert!(!codes.contains(&0), "a pad among the options");
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), options.len(), "an option twice: {options:?}");
    options
}

/// Every piece of one option in the options field of a request, joined; `None` where another field
/// may hold more of it. It is not the daemon's own reading, and is held against that.
fn piece(bytes: &[u8], wanted: u8) -> Option<Vec<u8>> {
    let (mut at, mut found) = (240, None);
    while at < bytes.len() && bytes[at] != 255 {
        if bytes[at] == 0 {
            at += 1;
            continue;
        }
        let Some(length) = bytes.get(at + 1).map(|length| usize::from(*length)) else {
            break;
        };
        let Some(body) = bytes.get(at + 2..at + 2 + length) else {
            break;
        };
        match bytes[at] {
            52 => return None,
            code if code == wanted => found.get_or_insert_with(Vec::new).extend_from_slice(body),
            _ => {}
        }
        at += 2 + length;
    }
    found
}

/// What must hold of one reply.
fn assert_reply(outcome: &Outcome, ingress: &Ingress, request: &Request, asked: &[u8], reply: &[u8]) {
    let sending = outcome.send.as_ref().unwrap();
    let most = request.message_bytes_max.unwrap_or(576).max(576) - 28;
    assert!(
        (300..=usize::from(most).min(1472)).contains(&reply.len()),
        "{} bytes",
        reply.len()
    );
    assert_eq!((reply[0], reply[1]), (2, asked[1]), "op and htype");
    assert_eq!(reply[2], asked[2].min(16), "hlen");
    assert_eq!(
        (&reply[4..8], &reply[24..28]),
        (&asked[4..8], &asked[24..28]),
        "xid and giaddr"
    );
    let length = usize::from(reply[2]);
    assert_eq!(reply[28..28 + length], asked[28..28 + length], "chaddr");
    assert_eq!((reply[107], reply[235]), (0, 0), "sname and file end");
    let options = walk(reply);
    let option = |code: u8| {
        options
            .iter()
            .find(|(each, _)| *each == code)
            .map(|(_, body)| body.as_slice())
    };

    // What another implementation makes of it: dhcproto stops at the first option it can't read. Option
    // 81 is left out, because it may be the client's own name as it came, and dhcproto knows whole
    // names in labels only, where RFC 4702 has ASCII and parts of names too.
    let mut theirs = reply[..240].to_vec();
    for (code, body) in options.iter().filter(|(code, _)| *code != 81) {
        theirs.extend_from_slice(&[*code, u8::try_from(body.len()).unwrap()]);
        theirs.extend_from_slice(body);
    }
    theirs.push(255);
    let message = Message::from_bytes(&theirs).unwrap();
    for (code, _) in options.iter().filter(|(code, _)| *code != 81) {
        let read = message.opts().get((*code).into());
        assert!(read.is_some(), "dhcproto does not read option {code}");
    }
    assert_eq!(message.yiaddr(), word(reply, 16));

    if let Some(agent) = piece(asked, 82).filter(|agent| (1..=255).contains(&agent.len())) {
        assert_eq!(options.last(), Some(&(82, agent)), "option 82");
    }
    if let Some(identifier) = piece(asked, 61).filter(|body| (1..=255).contains(&body.len()))
        && sending.reply.kind == ReplyKind::Nak
    {
        assert_eq!(option(61), Some(identifier.as_slice()), "option 61 in a NAK");
    }
    let yiaddr = word(reply, 16);
    match sending.reply.kind {
        ReplyKind::Bootp => assert!((50..60).all(|code| option(code).is_none())),
        ReplyKind::Nak => assert!(yiaddr == NOBODY && option(51).is_none() && option(67).is_none()),
        ReplyKind::Offer | ReplyKind::Ack => {
            assert_eq!(
                (options[0].0, options[1].0),
                (53, 54),
                "what old firmware looks for first"
            );
            let is_lease = yiaddr != NOBODY;
            assert_eq!(
                option(51).is_some(),
                is_lease,
                "a time for an address, and none without"
            );
            assert!(!is_lease || option(1).is_some(), "an address without its mask");
        }
    }
    if ingress.mode == Mode::Proxy {
        assert!(yiaddr == NOBODY && outcome.change.is_none(), "a guest gives no address");
        assert!([1, 3, 51, 58, 59].iter().all(|code| option(*code).is_none()));
    }
    match sending.destination {
        Destination::Unicast(to) => assert!(!to.ip().is_unspecified() || ingress.port == 4011, "to nobody"),
        Destination::Broadcast { port } => assert_eq!(port, 68),
        Destination::Frame { to, .. } => assert_eq!((*to.ip(), to.port()), (yiaddr, 68)),
    }
    if let Some((_, copy)) = sending.copy {
        let used = word(asked, 12);
        assert_eq!(sending.reply.kind, ReplyKind::Nak, "only a NAK is sent twice");
        assert_eq!(sending.destination, Destination::Broadcast { port: 68 });
        match copy {
            Destination::Unicast(to) | Destination::Frame { to, .. } => assert_eq!((*to.ip(), to.port()), (used, 68)),
            Destination::Broadcast { .. } => panic!("two broadcasts"),
        }
    }
}
