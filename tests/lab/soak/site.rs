//! Where the soak happens: the network, the room, the daemon in its present life, and what machines were
//! promised; each act is done here, and all of it is held against the promises.

use super::acts::{Act, Edited, End, Flap, Storm};
use super::files::{Files, LEASE_S};
use super::hosts::{self, HOSTS, REAL};
use super::met::{Machines, Met};
use super::promises::{Acknowledged, Promises};
use crate::daemon::{Daemon, Log, ask};
use crate::namespace::{INTERFACE, Namespace, Wire, text};
use crate::room::{Room, binary};
use crate::wire::{Rack, throw_at};
use nix::sys::{
    resource::{UsageWho, getrusage},
    signal::Signal,
};
use serde_json::Value;
use std::{
    fs::{self, OpenOptions},
    io::{Read, Write},
    net::{Ipv4Addr, UdpSocket},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// The daemon's address.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The host that storms, and the relay that it is.
const STORMING: &str = "198.18.0.254";
const FLEET: &str = "198.19.0.0/16";
const RELAY: &str = "198.19.0.1";
const KERNEL_BYTES: usize = 2_000_000;
/// How often a machine is powered on again whose transfer the daemon's end has cut.
const POWER_CYCLES: u32 = 5;
/// A rack's clients below that are the listed hosts.
const NEWCOMER_FIRST: u32 = 1000;
/// Newcomers that come again are among so many of the last.
const AGAIN_AMONG: u32 = 500;
/// `daemon.log` is begun anew beyond that; the one before stays beside it.
const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The kernel counts in these: USER_HZ, which is 100 on every Linux that Rust runs on.
const TICKS_A_SECOND: u64 = 100;

/// All of it.
pub struct Site {
    wire: Wire,
    room: Room,
    daemon: Option<Daemon>,
    /// The logs of this life and of those whose last lines may still come.
    logs: Vec<Log>,
    /// The host that storms.
    fleet: Arc<Namespace>,
    newcomers: [Namespace; 2],
    listed: Namespace,
    real: Namespace,
    files: Files,
    promises: Promises,
    /// Those that this life has met.
    machines: Machines,
    next_newcomer: u32,
}

impl Site {
    /// Lays the network, writes the files and starts the daemon.
    pub fn new() -> Site {
        let wire = Wire::wide();
        // The flight recorder is full after the first hundred boots: what comes later is no packets of its.
        let room = Room::new("")
            .with_small_image(&vec![7; KERNEL_BYTES])
            .with_settings("[recorder]\nbytes = 1_048_576\n");
        let files = Files::new(fs::read_to_string(room.config()).expect("the room's own file"));
        for file in [Edited::Script, Edited::ServerReply, Edited::Inventory] {
            room.write(Files::path(file), &files.compiled(file));
        }
        let at = |mac: &str, addresses: &[String]| {
            let client = wire.client(mac);
            for address in addresses {
                client.expect("ip", &["addr", "add", &format!("{address}/16"), "dev", "eth0"]);
            }
            client
        };
        let fleet = at("02:00:c0:00:02:fe", &[STORMING.to_owned()]);
        fleet.expect("ip", &["route", "add", "local", FLEET, "dev", "lo"]);
        let newcomers =
            [251, 252].map(|last: u8| at(&format!("02:00:c0:00:02:{last:02x}"), &[format!("198.18.0.{last}")]));
        let listed = at("02:00:c0:00:02:fa", &HOSTS.map(|host| host.address().to_string()));
        let real = wire.client(&REAL.mac());
        let mut site = Site {
            wire,
            room,
            daemon: None,
            logs: Vec::new(),
            fleet: Arc::new(fleet),
            newcomers,
            listed,
            real,
            files,
            promises: Promises::default(),
            machines: Machines::default(),
            next_newcomer: NEWCOMER_FIRST,
        };
        site.route_fleet();
        site.start();
        site
    }

    fn start(&mut self) {
        let daemon = Daemon::start(&self.wire, &self.room);
        self.logs.push(daemon.log());
        self.daemon = Some(daemon);
        self.machines = Machines::default();
    }

    /// A route goes with its interface's address, and does not come back with it.
    fn route_fleet(&self) {
        let route = ["route", "replace", FLEET, "via", STORMING];
        self.wire.server.expect("ip", &route);
    }

    /// The daemon's process, if there is one.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Daemon::pid)
    }

    /// What `bootwright status` says.
    pub fn status(&self) -> Result<Value, String> {
        self.asked("status")
    }

    fn asked(&self, command: &str) -> Result<Value, String> {
        let output = ask(&self.room, &[command, "--json"]);
        match output.status.success() {
            true => serde_json::from_slice(&output.stdout).map_err(|error| format!("{command}: {error}")),
            false => Err(format!("{command}: {}", text(&output))),
        }
    }

    /// What DHCP has counted: who gets no answer was heard, or was not.
    fn dhcp_counters(&self) -> String {
        let status = self.status().unwrap_or_default();
        let counters = status["counters"].as_object().into_iter().flatten();
        let counted = counters.filter(|(name, count)| name.starts_with("dhcp") && count.as_u64() > Some(0));
        counted
            .map(|(name, count)| format!("{name} {count}"))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Waits until the status is as it must become.
    fn becomes(&self, what: &str, is: impl Fn(&Value) -> bool) -> Result<(), String> {
        let seen = crate::poll(crate::SOON, || self.status().ok().filter(|status| is(status)));
        seen.map(drop)
            .ok_or_else(|| format!("{what}: not within {:?}: {:?}", crate::SOON, self.status()))
    }

    /// CPU time of both ends so far.
    pub fn cpu(&self) -> Duration {
        let of = |who| {
            let usage = getrusage(who).expect("a process may ask for its own");
            [usage.user_time(), usage.system_time()]
                .map(|time| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()).cast_unsigned()))
                .iter()
                .sum::<Duration>()
        };
        let stat = self
            .pid()
            .and_then(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
        let ticks: u64 = stat
            .iter()
            .flat_map(|stat| stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2))
            .filter_map(|ticks| ticks.parse::<u64>().ok())
            .sum();
        of(UsageWho::RUSAGE_SELF) + of(UsageWho::RUSAGE_CHILDREN) + Duration::from_millis(ticks * 1000 / TICKS_A_SECOND)
    }

    /// Leases that clients saw acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.promises.acknowledged
    }

    /// The machines that this life of the daemon has met.
    pub fn met(&self) -> Met {
        self.machines.met()
    }

    /// Starts the daemon again where it is gone.
    ///
    /// # Errors
    /// When it does not start.
    pub fn revive(&mut self) -> Result<(), ()> {
        if self.daemon.as_mut().is_some_and(Daemon::is_alive) {
            return Ok(());
        }
        self.daemon = None;
        catch_unwind(AssertUnwindSafe(|| self.start())).map_err(drop)
    }

    /// Writes down what the daemon said since; what of it must never be said.
    pub fn keep_log(&mut self, folder: &Path) -> Vec<String> {
        let path = folder.join("daemon.log");
        if path.metadata().is_ok_and(|meta| meta.len() > LOG_BYTES_MAX) {
            fs::rename(&path, folder.join("daemon.log.1")).expect("our own folder");
        }
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .expect("our own folder");
        let mut panics = Vec::new();
        for log in &self.logs {
            for line in log.take() {
                writeln!(file, "{line}").expect("room for the log");
                if line.contains("panicked at") {
                    panics.push(format!("panic: {line}"));
                }
            }
        }
        self.logs.retain(Log::is_written);
        panics
    }

    /// What was promised, and does not hold now.
    pub fn check(&mut self) -> Vec<String> {
        if !self.daemon.as_mut().is_some_and(Daemon::is_alive) {
            return vec!["the daemon ended by itself".to_owned()];
        }
        let serves = self.becomes("the interface serves", |status| {
            status["interfaces"][0]["problem"].is_null() && status["leases_writable"] == true
        });
        let mut broken: Vec<String> = serves.err().into_iter().collect();
        let before = (self.dhcp_counters(), neighbours_full());
        let odd = hosts::boot_all(&self.listed, &self.files);
        if !odd.is_empty() {
            broken.push(format!(
                "DHCP before: {}; and after: {}; meanwhile the kernel's table of neighbours, which all network \
                 namespaces share, was full {} times",
                before.0,
                self.dhcp_counters(),
                neighbours_full() - before.1
            ));
        }
        broken.extend(odd);
        if !self.real.gets_lease(&[]) {
            broken.push(format!("busybox's client, host {}, gets no lease", REAL.name()));
        }
        match self.asked("leases") {
            Ok(leases) => broken.extend(self.promises.hold_against(&leases)),
            Err(error) => broken.push(error),
        }
        broken
    }

    /// Does an act.
    ///
    /// # Errors
    /// When it does not go as it must; what is left of it is then mended.
    pub fn perform(&mut self, act: &Act) -> Result<(), String> {
        match *act {
            Act::Storm(storm) => {
                self.machines.boot(&storm);
                storm_from(&self.fleet, storm, 0)
            }
            Act::Newcomers { count, again } => self.newcomers(count, again),
            Act::Edit { file, in_place } => self.edit(file, in_place),
            Act::Spoil { file, kind } => {
                self.spoil(file, kind)?;
                // The version before still serves.
                let odd = self.check();
                self.mend(file)?;
                all(odd)
            }
            Act::Reload { hangup } => self.reload(hangup),
            Act::Flap { what, times, pause_ms } => {
                self.flap(what, times, Duration::from_millis(pause_ms.into()));
                Ok(())
            }
            Act::WalkAway { clients } => self.walk_away(clients),
            Act::Noise { seed, count } => {
                self.noise(seed, count);
                Ok(())
            }
            Act::End { end, after_ms, spoilt } => self.end_under_load(end, after_ms, spoilt),
            Act::EndInStorm { end, after_ms, storm } => self.end_in_storm(end, after_ms, storm),
        }
    }

    /// New clients one after the other from two places, and some of the last ones again.
    fn newcomers(&mut self, count: u32, again: u32) -> Result<(), String> {
        let first = self.next_newcomer;
        self.next_newcomer += count;
        let oldest = first.saturating_sub(AGAIN_AMONG).max(NEWCOMER_FIRST);
        let again = (oldest..first).rev().step_by(7).take(again as usize);
        let clients: Vec<u32> = (first..self.next_newcomer).chain(again).collect();
        let (one, other) = clients.split_at(clients.len() / 2);
        let [here, there] = &self.newcomers;
        let seen = std::thread::scope(|scope| {
            let run = scope.spawn(|| leases_of(&Rack::new(here), one));
            let mut seen = leases_of(&Rack::reading_packets(there), other);
            seen.extend(run.join().expect("the run does not panic"));
            seen
        });
        let missing = clients.len() - seen.len();
        let mut odd = self.take(seen);
        if missing > 0 {
            odd.push(format!(
                "{missing} of {} new machines or more got no address",
                clients.len()
            ));
        }
        all(odd)
    }

    fn take(&mut self, mut seen: Vec<Acknowledged>) -> Vec<String> {
        seen.sort_by_key(|one| one.heard);
        seen.iter().for_each(|one| self.machines.lease(&one.mac));
        self.promises.take(Duration::from_secs(LEASE_S), seen)
    }

    fn write(&self, file: Edited, text: &str, in_place: bool) {
        let path = Files::path(file);
        match in_place {
            true => fs::write(self.room.path(path), text).expect("the room's own file"),
            false => self.room.write(path, text),
        }
    }

    /// A sound edit, which is in force soon without a word to the daemon.
    fn edit(&mut self, file: Edited, in_place: bool) -> Result<(), String> {
        let before = self.status()?["generation"].as_u64();
        let text = self.files.edit(file);
        self.write(file, &text, in_place);
        self.becomes("the edit is in force", |status| {
            status["generation"].as_u64() > before && status["last_refusal"].is_null()
        })
    }

    /// An unsound edit, which is refused soon.
    fn spoil(&self, file: Edited, kind: u32) -> Result<(), String> {
        self.write(file, &self.files.spoilt(file, kind), false);
        self.becomes("the slip is refused", |status| !status["last_refusal"].is_null())
    }

    /// A sound version over an unsound one.
    fn mend(&mut self, file: Edited) -> Result<(), String> {
        let text = self.files.edit(file);
        self.write(file, &text, false);
        self.becomes("the mended file is in force", |status| {
            status["last_refusal"].is_null() && status["last_good"].is_null()
        })
    }

    fn reload(&self, hangup: bool) -> Result<(), String> {
        if !hangup {
            let output = ask(&self.room, &["reload"]);
            return match output.status.success() {
                true => Ok(()),
                false => Err(text(&output)),
            };
        }
        let before = self.status()?["generation"].as_u64();
        self.daemon.as_ref().ok_or("no daemon")?.signal(Signal::SIGHUP);
        self.becomes("SIGHUP is a new generation", |status| {
            status["generation"].as_u64() > before
        })
    }

    fn flap(&self, what: Flap, times: u32, pause: Duration) {
        let server = &self.wire.server;
        let set = |link: &str, state: &str| drop(server.expect("ip", &["link", "set", link, state]));
        let address = |verb: &str| {
            server.expect("ip", &["addr", verb, &format!("{SERVER}/16"), "dev", INTERFACE]);
        };
        let ports = self.wire.ports();
        for _ in 0..times {
            match what {
                Flap::Interface => set(INTERFACE, "down"),
                Flap::Carrier => ports.iter().for_each(|port| set(port, "down")),
                Flap::Address => address("del"),
            }
            std::thread::sleep(pause);
            match what {
                Flap::Interface => set(INTERFACE, "up"),
                Flap::Carrier => ports.iter().for_each(|port| set(port, "up")),
                Flap::Address => address("add"),
            }
            std::thread::sleep(pause);
        }
        self.route_fleet();
    }

    /// Half-read kernels, requests without an end, and loaders that nobody acknowledges.
    fn walk_away(&self, clients: u32) -> Result<(), String> {
        self.listed.enter(|| {
            let mut open = Vec::new();
            for at in 0..clients as usize {
                let from = HOSTS[at % HOSTS.len()].address();
                let mut stream = hosts::ask(from, "/image/small/kernel.bin").map_err(|error| error.to_string())?;
                stream.read_exact(&mut [0; 1000]).map_err(|error| error.to_string())?;
                let tftp = UdpSocket::bind((from, 0)).map_err(|error| error.to_string())?;
                let request = b"\0\x01snponly.efi\0octet\0windowsize\x0016\0";
                tftp.send_to(request, (SERVER, 69)).map_err(|error| error.to_string())?;
                open.push((stream, tftp));
            }
            Ok(())
        })
    }

    fn noise(&self, seed: u32, count: u32) {
        let mut state = seed | 1;
        let mut byte = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_be_bytes()[0]
        };
        let datagrams: Vec<Vec<u8>> = (0..count).map(|at| (0..at % 700).map(|_| byte()).collect()).collect();
        for port in [67, 69, 4011] {
            throw_at(&self.listed, SERVER, port, &datagrams);
        }
    }

    /// Ends this life.
    fn end(&mut self, end: End) -> Result<(), String> {
        let daemon = self.daemon.take().ok_or("no daemon")?;
        match end {
            End::Killed => daemon.crash(),
            End::Stopped => {
                let status = daemon.stop();
                if !status.success() {
                    return Err(format!("SIGTERM is a clean end, and it ended with {status}"));
                }
            }
        }
        Ok(())
    }

    /// The end comes while clients ask; every lease that one saw acknowledged before is known after.
    fn end_under_load(&mut self, end: End, after_ms: u32, spoilt: Option<(Edited, u32)>) -> Result<(), String> {
        if let Some((file, kind)) = spoilt {
            self.spoil(file, kind)?;
        }
        let [here, there] = &self.newcomers;
        let racks = [Rack::new(here), Rack::reading_packets(there)].map(Rack::impatient);
        let clients = [0, 1].map(|number| {
            let first = self.next_newcomer + number * 1000;
            (first..first + 1000).collect::<Vec<u32>>()
        });
        self.next_newcomer += 2000;
        let (ended, seen) = std::thread::scope(|scope| {
            let runs: Vec<_> = racks
                .iter()
                .zip(&clients)
                .map(|(rack, clients)| scope.spawn(|| leases_of(rack, clients)))
                .collect();
            std::thread::sleep(Duration::from_millis(after_ms.into()));
            let ended = self.end(end);
            let seen = runs
                .into_iter()
                .flat_map(|run| run.join().expect("the run does not panic"));
            (ended, seen.collect::<Vec<_>>())
        });
        self.start();
        let mut odd: Vec<String> = ended.err().into_iter().collect();
        odd.extend(self.take(seen));
        if let Some((file, _)) = spoilt {
            if self.status()?["last_good"].is_null() {
                odd.push("the files on disk are refused, and none that were kept are said to serve".to_owned());
            }
            odd.extend(self.check());
            self.mend(file)?;
        }
        all(odd)
    }

    fn end_in_storm(&mut self, end: End, after_ms: u32, storm: Storm) -> Result<(), String> {
        // Machines whose transfer is cut are powered on again.
        let fleet = Arc::clone(&self.fleet);
        std::thread::scope(|scope| {
            let run = scope.spawn(|| storm_from(&fleet, storm, POWER_CYCLES));
            std::thread::sleep(Duration::from_millis(after_ms.into()));
            let ended = self.end(end);
            self.start();
            self.machines.boot(&storm);
            ended.and(run.join().expect("the storm does not panic"))
        })
    }
}

/// How often the kernel's table of neighbours was full: then nobody on this host can send to whom it does not
/// know yet, or broadcast, and another program's flood is at fault.
fn neighbours_full() -> u64 {
    let table = fs::read_to_string("/proc/net/stat/arp_cache").unwrap_or_default();
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let names = lines.next().unwrap_or_default();
    let place = names.iter().position(|name| *name == "table_fulls");
    // A line for each processor, in hexadecimal.
    lines
        .filter_map(|line| u64::from_str_radix(line.get(place?)?, 16).ok())
        .sum()
}

/// A storm to its end: every machine comes up.
fn storm_from(fleet: &Namespace, storm: Storm, power_cycles: u32) -> Result<(), String> {
    let server = SERVER.to_string();
    let [high, low] = u16::try_from(storm.first).expect("few machines").to_be_bytes();
    let numbers = [storm.machines, storm.spread_s, power_cycles].map(|number| number.to_string());
    let first = format!("02:10:00:00:{high:02x}:{low:02x}");
    let arguments = [
        "storm",
        "--json",
        "--server",
        &server,
        "--relay",
        RELAY,
        "--machines",
        &numbers[0],
        "--spread",
        &numbers[1],
        "--power-cycles",
        &numbers[2],
        "--firmware",
        storm.firmware,
        "--mac-first",
        &first,
        "--time-limit",
        "150",
    ];
    let output = fleet.run(&binary(), &arguments);
    let report: Value = serde_json::from_slice(&output.stdout).map_err(|_| text(&output))?;
    match output.status.success() && report["up"] == storm.machines {
        true => Ok(()),
        false => Err(format!(
            "{} of {} machines up: {}",
            report["up"], storm.machines, report["failures"]
        )),
    }
}

/// What clients were acknowledged, one after the other, until there was no answer.
fn leases_of(rack: &Rack, clients: &[u32]) -> Vec<Acknowledged> {
    let lease = |client: &u32| {
        let asked = Instant::now();
        let address = rack.lease(*client)?;
        let [a, b, c, d] = client.to_be_bytes();
        Some(Acknowledged {
            mac: format!("02:bb:{a:02x}:{b:02x}:{c:02x}:{d:02x}"),
            address,
            asked,
            heard: Instant::now(),
        })
    };
    clients.iter().map_while(lease).collect()
}

fn all(odd: Vec<String>) -> Result<(), String> {
    match odd.is_empty() {
        true => Ok(()),
        false => Err(odd.join("; ")),
    }
}
