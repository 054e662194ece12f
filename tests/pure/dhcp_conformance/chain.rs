//! The whole boot chain of a rack in memory: firmware, loader, iPXE, script, system and answer,
//! over a wire that loses, doubles and reorders packets, with a scripted clock.

use super::support::*;
use crate::fixtures::{draw_token, file_request};
use bootwright::boot::{
    arming::HostState,
    event::Step,
    identity_cache::IdentityCache,
    render::Templates,
    resource::{Resource, Transport},
    snapshot::{Host, Hosts},
};
use bootwright::lease::LeaseChange;
use bootwright::model::{BootTarget, By, Dialect, MacAddr, WallTime};
use dhcproto::v4::MessageType;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

const MACHINES: u8 = 40;
const TICK: Duration = Duration::from_millis(100);
/// When a client asks again.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// A rack that is not up by then never will be.
const LIMIT: Duration = Duration::from_secs(600);

/// Chance by a seed: xorshift, so that a failure repeats.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Packets under way, by the moment they arrive.
struct Wire<T> {
    under_way: Vec<(Duration, T)>,
}

impl<T: Clone> Wire<T> {
    /// A quarter is lost, an eighth doubled, and each copy takes up to two seconds.
    fn send(&mut self, chance: &mut Chance, now: Duration, packet: &T) {
        let copies = match chance.below(8) {
            0 | 1 => 0,
            2 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = Duration::from_millis(chance.below(2000));
            self.under_way.push((now + delay, packet.clone()));
        }
    }

    fn observed_port(&mut self, now: Duration) -> Vec<T> {
        let (here, later) = self.under_way.drain(..).partition(|(at, _)| *at <= now);
        self.under_way = later;
        let here: Vec<(Duration, T)> = here;
        here.into_iter().map(|(_, packet)| packet).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Firmware,
    Ipxe,
    System,
    Up,
}

/// A machine on its way up.
struct Machine {
    mac: MacAddr,
    stage: Stage,
    offered: Option<Ipv4Addr>,
    address: Option<Ipv4Addr>,
    asks_at: Duration,
    answer: String,
}

impl Machine {
    /// What it sends now: a DISCOVER, or a REQUEST for what it was offered.
    fn packet(&self) -> Packet {
        let packet = match self.offered {
            None => Packet::discover(self.mac),
            Some(address) => Packet::selecting(self.mac, address),
        };
        match self.stage {
            Stage::Firmware => packet.pxe(7).broadcast(),
            Stage::Ipxe => packet.ipxe(7),
            Stage::System | Stage::Up => packet,
        }
    }

    /// Whether a reply is for the stage the machine is at; a late one of an earlier stage is not.
    fn is_ours(&self, reply: &Reply) -> bool {
        let boot = reply.boot.as_deref().unwrap_or_default();
        match self.stage {
            Stage::Firmware => boot == "snponly.efi",
            Stage::Ipxe => boot.starts_with("http://192.0.2.1/boot.ipxe"),
            Stage::System => boot.is_empty(),
            Stage::Up => false,
        }
    }
}

/// A reply as far as its client looks.
#[derive(Clone)]
struct Reply {
    mac: MacAddr,
    kind: MessageType,
    address: Ipv4Addr,
    boot: Option<String>,
}

struct Rack {
    room: Room,
    identities: IdentityCache,
    machines: Vec<Machine>,
    /// What the disk would have: the holder of each dynamic address.
    disk: BTreeMap<Ipv4Addr, MacAddr>,
}

fn mac(number: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0, 2, number])
}

/// Every second machine has a reservation; all boot `live`, with an answer.
fn listed(number: u8) -> Host {
    let reservation = format!("192.0.2.{}", number + 10);
    let address = number.is_multiple_of(2).then_some(reservation.as_str());
    let mut host = host(&format!("m{number}"), &[mac(number)], address, BootTarget::Live);
    host.settings.answer = Some(sourced("preseed".parse().unwrap()));
    host
}

fn rack() -> Rack {
    let mut room = Room::new();
    let mut templates = Templates::new();
    let (live, preseed) = ("live".parse().unwrap(), "preseed".parse().unwrap());
    templates
        .add_script(&live, Dialect::Ipxe, "live.ipxe", "{{ answer.url }}")
        .unwrap();
    templates
        .add_answer(&preseed, "preseed.cfg", "preseed.cfg", "for {{ name }}")
        .unwrap();
    room.snapshot.templates = templates;
    room.snapshot.subnets = vec![subnet("192.0.2.0/24", None, &["192.0.2.100-192.0.2.199"])];
    room.snapshot.hosts = Hosts::new((0..MACHINES).map(listed).collect());
    let machine = |number| Machine {
        mac: mac(number),
        stage: Stage::Firmware,
        offered: None,
        address: None,
        asks_at: Duration::ZERO,
        answer: String::new(),
    };
    Rack {
        room,
        identities: IdentityCache::default(),
        machines: (0..MACHINES).map(machine).collect(),
        disk: BTreeMap::new(),
    }
}

impl Rack {
    /// The server takes a packet; a dynamic lease is on disk before its ACK leaves.
    fn serve(&mut self, packet: &Packet) -> Option<Reply> {
        let outcome = self.room.outcome(packet);
        let mac = MacAddr(packet.chaddr[..6].try_into().unwrap());
        match outcome.change {
            Some(LeaseChange::Put(record)) => {
                self.disk.insert(record.address, mac);
            }
            Some(LeaseChange::Remove(address)) => {
                self.disk.remove(&address);
            }
            None => {}
        }
        let answer = ServerReply::of(outcome.event.step, None, outcome.send?);
        Some(Reply {
            mac,
            kind: answer.kind(),
            address: answer.message.yiaddr(),
            boot: answer.boot_file(),
        })
    }

    fn get(&mut self, transport: Transport, peer: Ipv4Addr, path: &str) -> Resource {
        let ask = file_request(transport, peer, path);
        let answered = self.room.file(&mut self.identities, &ask);
        answered
            .result
            .unwrap_or_else(|refusal| panic!("{peer} {path}: {refusal:?}"))
    }

    /// A machine takes a reply; with an ACK it fetches what its stage fetches, and goes on.
    fn take(&mut self, reply: &Reply) {
        let index = self
            .machines
            .iter()
            .position(|machine| machine.mac == reply.mac)
            .unwrap();
        let machine = &mut self.machines[index];
        let ours = machine.is_ours(reply);
        match (reply.kind, machine.offered) {
            (MessageType::Offer, None) if ours => machine.offered = Some(reply.address),
            (MessageType::Ack, Some(offered)) if ours && offered == reply.address => {
                self.acknowledged(index, reply.address);
            }
            (MessageType::Offer | MessageType::Ack, _) => return,
            (other, _) => panic!("{} got {other:?}", reply.mac),
        }
        self.machines[index].asks_at = self.room.now.monotonic;
    }

    fn acknowledged(&mut self, index: usize, address: Ipv4Addr) {
        let (mac, stage) = (self.machines[index].mac, self.machines[index].stage);
        let before = self.machines[index].address.replace(address);
        assert!(
            before.is_none_or(|before| before == address),
            "{mac} changed its address on its way"
        );
        match stage {
            Stage::Firmware => {
                let loader = self.get(Transport::Tftp, address, "snponly.efi");
                assert!(matches!(loader, Resource::File { .. }));
            }
            Stage::Ipxe => {
                let path = format!("/boot.ipxe?mac={}&arch=x86_64&platform=efi", mac.hyphenated());
                self.machines[index].answer = text(self.get(Transport::Http, address, &path));
            }
            Stage::System | Stage::Up => {
                let url = self.machines[index].answer.clone();
                let path = url.strip_prefix("http://192.0.2.1").unwrap();
                self.machines[index].answer = text(self.get(Transport::Http, address, path));
            }
        }
        let machine = &mut self.machines[index];
        machine.offered = None;
        machine.stage = match stage {
            Stage::Firmware => Stage::Ipxe,
            Stage::Ipxe => Stage::System,
            Stage::System | Stage::Up => Stage::Up,
        };
    }

    fn is_up(&self) -> bool {
        self.machines.iter().all(|machine| machine.stage == Stage::Up)
    }
}

fn text(resource: Resource) -> String {
    match resource {
        Resource::Text { body, .. } => body,
        Resource::File { file, .. } => panic!("{file} is no text"),
    }
}

/// Runs a rack to its end.
fn power_on(seed: u64) -> Rack {
    let mut rack = rack();
    let mut chance = Chance(seed);
    let mut to_server: Wire<Packet> = Wire { under_way: Vec::new() };
    let mut to_machines: Wire<Reply> = Wire { under_way: Vec::new() };
    let end = rack.room.now.monotonic + LIMIT;
    while !rack.is_up() {
        let now = rack.room.now.monotonic;
        assert!(now < end, "seed {seed}: not up in time");
        for machine in rack.machines.iter_mut().filter(|machine| machine.stage != Stage::Up) {
            if machine.asks_at <= now {
                to_server.send(&mut chance, now, &machine.packet());
                machine.asks_at = now + ASK_AGAIN;
            }
        }
        for packet in to_server.observed_port(now) {
            if let Some(reply) = rack.serve(&packet) {
                to_machines.send(&mut chance, now, &reply);
            }
        }
        for reply in to_machines.observed_port(now) {
            rack.take(&reply);
        }
        rack.room.now = rack.room.now.after(TICK);
    }
    rack
}

#[test]
fn a_rack_comes_up_whatever_the_wire_does() {
    for seed in 1..=30 {
        let rack = power_on(seed);
        let addresses: BTreeSet<Ipv4Addr> = rack.machines.iter().filter_map(|machine| machine.address).collect();
        assert_eq!(
            addresses.len(),
            rack.machines.len(),
            "seed {seed}: an address was given twice"
        );
        for (number, machine) in (0..MACHINES).zip(&rack.machines) {
            let address = machine.address.unwrap();
            assert_eq!(machine.answer, format!("for m{number}"));
            if number.is_multiple_of(2) {
                assert_eq!(address, Ipv4Addr::new(192, 0, 2, number + 10));
            } else {
                assert_eq!(rack.disk.get(&address), Some(&machine.mac), "seed {seed}: not on disk");
            }
        }
    }
}

/// A machine that installs, armed in a room of its own; its state's number of tries once it was handed its script again.
fn tries_after(host: &Host, again: &Packet) -> (Room, u8) {
    let mut room = Room::new();
    room.snapshot.hosts = Hosts::new(vec![host.clone()]);
    let peer = host.address.unwrap();
    let change = room
        .arming
        .arm(START.wall, host, (WallTime(START.wall.0 + 100), By::Time));
    room.arming.settle(&change.unwrap(), true);
    let mut tries = 0;
    for _ in 0..2 {
        let _ = room.outcome(again);
        let handed = room.arming.hand_out(START.wall, (host, peer), draw_token).unwrap();
        let Some(HostState::Installing(install)) = handed.change.record().map(|record| &record.state) else {
            panic!("{handed:?}");
        };
        tries = install.tries;
    }
    (room, tries)
}

#[test]
fn a_nic_with_ipxe_in_it_is_started_anew_as_well_and_its_install_is_not_begun_for_ever() {
    let installs = host("install-one", &[INSTALL], Some("192.0.2.13"), BootTarget::Install);
    for asks in [Packet::discover(INSTALL).ipxe(0), Packet::discover(INSTALL).pxe(7)] {
        assert_eq!(tries_after(&installs, &asks).1, 2);
    }
    assert_eq!(
        tries_after(&installs, &Packet::discover(INSTALL)).1,
        1,
        "its system asks"
    );
}

#[test]
fn who_asks_in_a_hosts_name_from_where_it_is_not_served_makes_nothing_of_its_install() {
    let installs = Host {
        port: Some("sw1/Gi1/7".to_owned()),
        ..host("install-one", &[INSTALL], Some("192.0.2.13"), BootTarget::Install)
    };
    let elsewhere = Packet::discover(INSTALL).ipxe(0);
    let (mut room, tries) = tries_after(&installs, &elsewhere);
    assert!(matches!(room.unanswered(&elsewhere), Step::WrongPort { .. }));
    assert_eq!(tries, 1);
}
