//! Rung 3: the daemon is killed at a bad moment, and a second one is started by mistake.

use super::daemon::{Daemon, ask_json};
use super::held::Held;
use super::namespace::Wire;
use super::room::Room;
use super::wire::Rack;
use nix::sys::signal::Signal;
use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// Room for every client of the run.
const WIDE_SUBNET: &str = r#"
[[subnet]]
cidr   = "192.0.2.0/24"
router = "192.0.2.1"
pool   = ["192.0.2.10-192.0.2.239"]
lease  = "1h"
"#;

#[test]
fn no_acknowledged_lease_is_lost_by_kill_9_and_no_address_is_given_twice() {
    let wire = Wire::new();
    let room = Room::new("");
    room.write("inventory.toml", WIDE_SUBNET);
    let is_dead = Arc::new(AtomicBool::new(false));
    let rack = Rack::new(&wire.client_at("02:00:00:00:00:fa", "192.0.2.250")).told(&is_dead);
    let acknowledged = Mutex::new(HashMap::new());

    // Three crashes, each in the middle of a run; clients that got no answer just never got one.
    for (round, clients) in [0..60_u32, 60..120, 120..180].into_iter().enumerate() {
        let daemon = Daemon::start(&wire, &room);
        is_dead.store(false, Ordering::Release);
        std::thread::scope(|scope| {
            let run = scope.spawn(|| lease_until_silence(&rack, clients.clone(), &acknowledged));
            let before = acknowledged.lock().expect("no panic").len();
            let under_way = super::poll(super::SOON, || {
                (acknowledged.lock().expect("no panic").len() >= before + 20).then_some(())
            });
            assert!(
                under_way.is_some(),
                "round {round}: the run of leases stalled\n{}",
                daemon.log_tail()
            );
            daemon.crash();
            is_dead.store(true, Ordering::Release);
            run.join().expect("the run does not panic");
        });
    }

    is_dead.store(false, Ordering::Release);
    let acknowledged = acknowledged.into_inner().expect("no panic");
    let _daemon = Daemon::start(&wire, &room);
    let known = ask_json(&room, "leases").to_string();
    for (client, address) in &acknowledged {
        assert!(
            known.contains(&format!("\"{address}\"")),
            "client {client}: {address} is forgotten in {known}"
        );
        assert_eq!(rack.lease(*client), Some(*address), "client {client} keeps its address");
    }
    let newcomers = (1000..1020).filter_map(|client| rack.lease(client).map(|address| (client, address)));
    let mut holders: HashMap<Ipv4Addr, u32> = acknowledged
        .iter()
        .map(|(client, address)| (*address, *client))
        .collect();
    assert_eq!(
        holders.len(),
        acknowledged.len(),
        "an address was given twice: {acknowledged:?}"
    );
    let mut count = 0;
    for (client, address) in newcomers {
        assert_eq!(holders.insert(address, client), None, "{address} was somebody's");
        count += 1;
    }
    assert_eq!(count, 20, "newcomers are served after the crashes");
}

/// One client after the other until the server no longer answers.
fn lease_until_silence(rack: &Rack, clients: std::ops::Range<u32>, acknowledged: &Mutex<HashMap<u32, Ipv4Addr>>) {
    for client in clients {
        let Some(address) = rack.lease(client) else { return };
        acknowledged.lock().expect("no panic").insert(client, address);
    }
}

/// Rounds of the power cut, where `POWER_CUTS` says nothing else, and the racks that ask at once in each.
const POWER_CUTS: u32 = 100;
const RACKS: u32 = 4;
/// The clients of a rack: then the first comes again, and must find its address.
const RACK_CLIENTS: u32 = 1500;
/// The most acknowledgements that are heard before the daemon is killed.
const LIFE_ACKS_MAX: u32 = 100;

const VERY_WIDE_SUBNET: &str = r#"
[[subnet]]
cidr  = "198.18.0.0/16"
pool  = ["198.18.1.0-198.18.99.255"]
lease = "1h"
"#;

#[test]
fn a_hundred_power_cuts_under_load_lose_no_acknowledged_lease() {
    let power_cuts = std::env::var("POWER_CUTS").map_or(POWER_CUTS, |count| count.parse().expect("a number"));
    let wire = Wire::wide();
    let room = Room::new("");
    room.write("inventory.toml", VERY_WIDE_SUBNET);
    let is_dead = Arc::new(AtomicBool::new(false));
    let racks: Vec<Rack> = (0..RACKS)
        .map(|number| {
            let client = wire.client(&format!("02:00:00:00:00:f{number}"));
            client.expect(
                "ip",
                &["addr", "add", &format!("198.18.200.{}/16", number + 1), "dev", "eth0"],
            );
            Rack::new(&client).told(&is_dead)
        })
        .collect();
    let mut acknowledged: HashMap<Ipv4Addr, u32> = HashMap::new();
    let (mut heard, mut next) = (0, [0; RACKS as usize]);
    // Any seed will do; what it is shows when a round fails.
    let mut seed = std::process::id();
    for round in 0..power_cuts {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let life = 1 + (seed >> 16) % LIFE_ACKS_MAX;
        let daemon = Daemon::start(&wire, &room);
        is_dead.store(false, Ordering::Release);
        assert_known(&room, &acknowledged, round, seed);
        let acks = AtomicU32::new(0);
        let seen = std::thread::scope(|scope| {
            let runs: Vec<_> = (0..)
                .zip(racks.iter().zip(next))
                .map(|(number, (rack, next))| {
                    let acks = &acks;
                    scope.spawn(move || leases_of(rack, rack_clients(number, next), acks))
                })
                .collect();
            let end = Instant::now() + super::SOON;
            while acks.load(Ordering::Relaxed) < life && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(1));
            }
            daemon.crash();
            is_dead.store(true, Ordering::Release);
            let seen = runs.into_iter().map(|run| run.join().expect("the run does not panic"));
            seen.collect::<Vec<_>>()
        });
        for (next, seen) in next.iter_mut().zip(&seen) {
            *next += u32::try_from(seen.len()).expect("few clients");
        }
        for (address, client) in seen.into_iter().flatten() {
            heard += 1;
            let holder = acknowledged.insert(address, client).unwrap_or(client);
            assert_eq!(holder, client, "round {round}, seed {seed}: {address} was somebody's");
        }
        if round % 100 == 99 {
            eprintln!("{} power cuts, {heard} ACKs, {} leases", round + 1, acknowledged.len());
        }
    }
    let daemon = Daemon::start(&wire, &room);
    assert_known(&room, &acknowledged, power_cuts, seed);
    let clients: HashSet<u32> = acknowledged.values().copied().collect();
    eprintln!(
        "{power_cuts} power cuts, {heard} ACKs to {} clients: {} leases and all known",
        clients.len(),
        acknowledged.len()
    );
    assert_eq!(clients.len(), acknowledged.len(), "who came again found its address");
    assert!(
        heard > u64::from(power_cuts),
        "only {heard} ACKs were heard: the load never came\n{}",
        daemon.log_tail()
    );
}

/// A rack's clients from its `next` on: new ones, and when all have been there the first ones again.
fn rack_clients(rack: u32, next: u32) -> impl Iterator<Item = u32> {
    (next..).map(move |client| rack * RACK_CLIENTS + client % RACK_CLIENTS)
}

/// Whether the restarted daemon knows every lease that a client saw acknowledged.
fn assert_known(room: &Room, acknowledged: &HashMap<Ipv4Addr, u32>, round: u32, seed: u32) {
    let leases = ask_json(room, "leases");
    let known: HashMap<&str, &str> = leases
        .as_array()
        .expect("a list of leases")
        .iter()
        .filter_map(|lease| Some((lease.get("address")?.as_str()?, lease.get("client")?.as_str()?)))
        .collect();
    for (address, client) in acknowledged {
        let [a, b, c, d] = client.to_be_bytes();
        let mac = format!("02:bb:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
        assert_eq!(
            known.get(address.to_string().as_str()).copied(),
            Some(mac.as_str()),
            "round {round}, seed {seed}: {address} was acknowledged"
        );
    }
}

/// What one client after the other was acknowledged until the server no longer answers; counted as it comes.
fn leases_of(rack: &Rack, clients: impl Iterator<Item = u32>, acks: &AtomicU32) -> Vec<(Ipv4Addr, u32)> {
    let lease = |client| {
        let address = rack.lease(client)?;
        acks.fetch_add(1, Ordering::Relaxed);
        Some((address, client))
    };
    clients.map_while(lease).collect()
}

#[test]
fn a_second_daemon_says_who_holds_the_port() {
    let wire = Wire::new();
    let (room, other) = (Room::new(""), Room::new(""));
    let first = Daemon::start(&wire, &room);
    let mut second = Daemon::spawn(&wire.server, &other);
    assert!(!second.wait_exit().success());
    let log = second.log_tail();
    assert!(
        log.contains("bootwright") && log.contains(&first.pid().to_string()),
        "{log}"
    );
}

#[test]
fn an_interface_that_comes_late_is_served_without_a_restart() {
    let wire = Wire::new();
    let room = Room::new("");
    // Only an interface that is down can take another name.
    wire.server
        .expect("ip", &["link", "set", "eno2", "down", "name", "other0"]);
    let daemon = Daemon::start(&wire, &room);
    wire.server.expect("ip", &["link", "set", "other0", "name", "eno2"]);
    wire.server.expect("ip", &["link", "set", "eno2", "up"]);
    let rack = Rack::new(&wire.client_at("02:00:00:00:00:fa", "192.0.2.250"));
    let served = super::poll(super::SOON, || rack.lease(1));
    assert!(served.is_some(), "{}", daemon.log_tail());
}

#[test]
fn sigterm_lets_a_running_transfer_end() {
    let kernel = vec![0x42; 24_000_000];
    let wire = Wire::new();
    let room = Room::new("").with_small_image(&kernel);
    let mut daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:61", "192.0.2.61");
    let transfer = Held::begin(&client, "/image/small/kernel.bin");
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for("the drain's beginning", |line| line.event == "draining");
    let (is_whole, fetched) = transfer.end();
    assert!(
        is_whole && fetched == kernel,
        "{} of {} bytes",
        fetched.len(),
        kernel.len()
    );
    assert!(daemon.wait_exit().success(), "SIGTERM is a clean end");
}
