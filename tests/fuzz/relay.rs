//! What must hold of what relays and switches say (option 82), whatever that is: one input is one life of
//! a server whose machines stand behind them.
//!
//! An input is a row of steps, as in `dhcp`; its packets have an option 82 of any shape, made of
//! sub-options or of raw bytes. Everything that holds of every life holds of these.

use super::{
    dhcp::{Life, word},
    input::Input,
    support::*,
};
use bootwright::boot::{
    engine::{Destination, Outcome, OutgoingReply},
    snapshot::{Host, Hosts, Snapshot, UnknownPolicy},
};
use bootwright::model::{BootTarget, MacAddr, Mode};
use bootwright::proto::dhcp::{ReplyKind, Request};
use std::{net::Ipv4Addr, sync::OnceLock, time::Duration};

/// Steps of one life.
const STEPS_MAX: usize = 48;
/// Ways of writing one port, of all switches together.
const WAYS_MAX: usize = 64;
const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// An address of a subnet that nobody serves.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
/// Sub-options that decide something, and some that none of ours knows.
const CODES: [u8; 10] = [1, 2, 5, 11, 19, 1, 2, 9, 151, 0];
/// Hosts at a port each: whoever stands there, or one that may stand nowhere else.
const PORTS: [(&str, Option<MacAddr>); 4] = [
    ("sw1/e1", None),
    ("sw1/e2", Some(INSTALL)),
    ("1/7", None),
    ("leaf1/Ethernet4", Some(LOCAL)),
];
/// What switches write into a circuit-id or a remote-id.
const WORDS: [&[u8]; 16] = [
    b"e1",
    b"e2",
    b"sw1",
    b"leaf1",
    b"leaf1:Ethernet4:Vlan100",
    b"leaf1 eth 0/1/12:20",
    b"ge-0/0/7.0:v10",
    b"port 3 vlan 7",
    b"swp7:br10",
    b"vlan10",
    &[0, 4, 0, 10, 1, 7],
    &[0, 24],
    &[1, 2, b'e', b'1'],
    &[0, 6, 0xaa, 0xbb, 0xcc, 0, 1, 2],
    b" :.",
    &[],
];

/// Lives one input; how many replies it drew. Panics where a property does not hold.
pub fn live(input: &[u8]) -> usize {
    let mut input = Input(input);
    let mut life = Life::under(&buffers()[0]);
    let mut replies = 0;
    for _ in 0..STEPS_MAX {
        if input.0.is_empty() {
            break;
        }
        match input.byte() % 16 {
            0 => life.now = life.now.after(Duration::from_secs(u64::from(input.word()))),
            1 => {
                life.snapshot = &buffers()[usize::from(input.byte()) % buffers().len()];
                life.generation += 1;
            }
            2 => life.restart(),
            _ => {
                let packet = packet(&mut input, &mut life);
                let bytes = packet.bytes();
                let Some((request, outcome)) = life.take(&bytes) else {
                    continue;
                };
                assert_words(&request);
                if let Some(sending) = &outcome.send {
                    replies += 1;
                    assert_answer(&life, &packet, &outcome, sending);
                }
            }
        }
    }
    replies
}

/// The room of the conformance tests with hosts at ports, and the same with nothing but ports.
fn buffers() -> &'static [Snapshot] {
    static ALL: OnceLock<Vec<Snapshot>> = OnceLock::new();
    ALL.get_or_init(|| {
        let by_port = (20..).zip(PORTS).map(|(last, (port, mac))| {
            let macs: Vec<MacAddr> = mac.into_iter().collect();
            let address = format!("192.0.2.{last}");
            Host {
                port: Some(port.to_owned()),
                ..host(&format!("port-{last}"), &macs, Some(&address), BootTarget::Live)
            }
        });
        let by_port: Vec<Host> = by_port.collect();
        let mut both = snapshot(UnknownPolicy::Discover);
        let listed = host("live-one", &[LIVE, LIVE_SECOND], Some("192.0.2.11"), BootTarget::Live);
        both.hosts = Hosts::new([vec![listed], by_port.clone()].concat());
        let mut ports_alone = snapshot(UnknownPolicy::Ignore);
        ports_alone.hosts = Hosts::new(by_port);
        vec![both, ports_alone]
    })
}

/// A packet from a few bytes, and the way it came.
fn packet(input: &mut Input, life: &mut Life) -> Packet {
    let kind = input.one(&[1, 3, 1, 3, 7, 4, 8]);
    let mac = input.one(&[LIVE, LOCAL, INSTALL, STRANGER, MacAddr([2, 0, 0, 0, 0, 1])]);
    let address = |choice: u8| match choice % 8 {
        0 | 1 => None,
        2 | 3 => Some(life.last),
        4 => Some(Ipv4Addr::new(192, 0, 2, 20 + choice / 8 % 4)),
        5 => Some(Ipv4Addr::new(198, 51, 100, 100)),
        6 => Some(SERVER),
        _ => Some(Ipv4Addr::new(203, 0, 113, 9)),
    };
    let mut packet = Packet::new(kind, mac);
    for code in [50, 54] {
        if let Some(said) = address(input.byte()) {
            packet = packet.with(code, &said.octets());
        }
    }
    packet.ciaddr = address(input.byte()).filter(|_| kind != 1).unwrap_or(NOBODY);
    let way = input.byte();
    packet.giaddr = match way % 4 {
        0 => NOBODY,
        1 => Ipv4Addr::new(192, 0, 2, 2),
        2 => RELAY,
        _ => Ipv4Addr::new(203, 0, 113, 2),
    };
    let port = if way & 0x10 == 0 { 67 } else { 1067 };
    life.ingress.source = match packet.giaddr {
        NOBODY => "0.0.0.0:68".parse().unwrap(),
        relay => std::net::SocketAddrV4::new(relay, port),
    };
    life.ingress.mode = if way & 0xe0 == 0xe0 { Mode::Proxy } else { Mode::Dhcp };
    if let Some(agent) = agent(input) {
        packet = packet.with(82, &agent);
    }
    packet
}

/// Option 82: nothing, raw bytes, or a row of sub-options.
fn agent(input: &mut Input) -> Option<Vec<u8>> {
    let shape = input.byte();
    if shape < 0x20 {
        return None;
    }
    if shape < 0x40 {
        let length = usize::from(input.byte());
        return Some(input.bytes(length).to_vec());
    }
    let mut body = Vec::new();
    for _ in 0..shape % 6 {
        let (code, value) = (input.one(&CODES), input.byte());
        let value = match (code, value) {
            (5 | 11, 0x40..) => input.one(&[RELAY, SERVER, NOBODY, ELSEWHERE]).octets().to_vec(),
            (_, 0x40..) => WORDS[usize::from(value) % WORDS.len()].to_vec(),
            (_, length) => input.bytes(usize::from(length)).to_vec(),
        };
        body.extend_from_slice(&[code, u8::try_from(value.len()).unwrap()]);
        body.extend_from_slice(&value);
    }
    Some(body)
}

/// Every way of writing the port is a few words of plain text, each once.
fn assert_words(request: &Request) {
    let Some(agent) = &request.relay_agent else { return };
    let ways = agent.ports();
    assert!(ways.len() <= WAYS_MAX, "{} ways of writing one port", ways.len());
    for way in &ways {
        assert!(
            way.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
            "steers a terminal: {way:?}"
        );
        assert!(way.len() <= 4 * 255 + 8, "{} bytes of one port", way.len());
    }
}

/// A sub-option as RFC 3046 writes it, and only where all of the option is well formed: not the daemon's
/// own reading, which is held against it. Of several with one code the daemon may take any.
fn said(body: &[u8], wanted: u8) -> Option<Vec<Vec<u8>>> {
    let (mut at, mut found) = (0, Vec::new());
    while at < body.len() {
        let length = usize::from(*body.get(at + 1)?);
        let value = body.get(at + 2..at + 2 + length)?;
        if body[at] == wanted {
            found.push(value.to_vec());
        }
        at += 2 + length;
    }
    Some(found)
}

/// What must hold of one answer to somebody behind a relay or a switch.
fn assert_answer(life: &Life, packet: &Packet, outcome: &Outcome, sending: &OutgoingReply) {
    let body = packet.options.iter().find(|(code, _)| *code == 82);
    let body = body.map(|(_, body)| body.as_slice()).unwrap_or_default();
    let reply = sending.encode();
    let given = word(&reply, 16);
    if packet.giaddr != NOBODY {
        assert_relayed(life, packet, body, sending);
    }
    if life.ingress.mode == Mode::Proxy || sending.reply.kind == ReplyKind::Nak {
        return;
    }
    assert_port(life, packet, body, outcome);
    // The subnet that the relay names is the machine's, and no other.
    let single = |code: u8| match said(body, code).as_deref() {
        Some([value]) => <[u8; 4]>::try_from(value.as_slice()).ok().map(Ipv4Addr::from),
        _ => None,
    };
    let is_plain = said(body, 5).is_some_and(|links| links.is_empty() || single(5).is_some());
    let told = single(5).filter(|link| *link != NOBODY).unwrap_or(packet.giaddr);
    if given != NOBODY && told != NOBODY && is_plain && packet.giaddr != NOBODY {
        let subnet = life.snapshot.subnet_of(told);
        assert!(
            subnet.is_some_and(|subnet| subnet.cidr.contains(given)),
            "{given} for a machine of {told}"
        );
    }
}

/// It goes to the relay, and by the port that the relay listens on.
fn assert_relayed(life: &Life, packet: &Packet, body: &[u8], sending: &OutgoingReply) {
    let Destination::Unicast(to) = sending.destination else {
        panic!("past the relay: {:?}", sending.destination);
    };
    assert_eq!(*to.ip(), packet.giaddr, "another relay");
    assert!(sending.copy.is_none(), "a copy past the relay");
    match said(body, 19) {
        Some(source) if source.is_empty() => assert_eq!(to.port(), 67),
        Some(_) => assert_eq!(to.port(), life.ingress.source.port()),
        None => assert!(to.port() == 67 || to.port() == life.ingress.source.port()),
    }
}

/// A host that is bound to a port begins at no other: where it gets an address without having one, option 82
/// names the port in letters.
fn assert_port(life: &Life, packet: &Packet, body: &[u8], outcome: &Outcome) {
    let mac = MacAddr(packet.chaddr[..6].try_into().unwrap());
    let Some(host) = life.snapshot.hosts.by_mac(mac).filter(|_| packet.ciaddr == NOBODY) else {
        return;
    };
    let Some(port) = &host.port else { return };
    let last = port.rsplit('/').next().unwrap();
    let letters = body.to_ascii_lowercase();
    let wanted = last.to_ascii_lowercase();
    assert!(
        letters.windows(wanted.len()).any(|part| part == wanted.as_bytes()),
        "{port} is nowhere in {body:?}: {:?}",
        outcome.event.step
    );
}
