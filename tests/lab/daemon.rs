//! The running binary: started in the server's namespace, followed through its JSON log.

use super::namespace::{Namespace, Wire};
use super::room::{Room, binary, bootwright};
use bootwright::admin::api::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

/// How long a start may take. A start takes a second; the machines that run tests can be slow.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a stop may take: the drain's deadline and then some, for the same reason.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// One line of the log: its fields. Its sentence is for people, and in [`Daemon::log_tail`].
#[derive(Clone, Debug)]
pub struct Line {
    /// `boot` for the steps of a machine's boot.
    pub target: String,
    /// `ERROR`, `WARN`, `INFO`.
    pub level: String,
    /// The machine's name, for lines of target `boot`.
    pub machine: String,
    /// Its stage.
    pub stage: String,
    /// What happened, in a word: `acknowledged`, `sent`, …
    pub event: String,
    /// Why.
    pub reason: String,
    /// The address that it is about.
    pub address: String,
    /// The file that it is about.
    pub file: String,
    /// What the machine is told to load, in a word.
    pub boot: String,
    /// The quirks that matched.
    pub quirks: String,
    /// An interface's addresses, where a line tells them.
    pub addresses: String,
    /// All fields, those above among them.
    fields: Value,
}

impl Line {
    fn parse(raw: &str) -> Line {
        let value: Value = serde_json::from_str(raw).unwrap_or(Value::Null);
        let field = |name: &str| {
            let found = value
                .get("fields")
                .and_then(|fields| fields.get(name))
                .or_else(|| value.get(name));
            found.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Line {
            target: field("target"),
            level: field("level"),
            machine: field("machine"),
            stage: field("stage"),
            event: field("event"),
            reason: field("reason"),
            address: field("address"),
            file: field("file"),
            boot: field("boot"),
            quirks: field("quirks"),
            addresses: field("addresses"),
            fields: value.get("fields").unwrap_or(&value).clone(),
        }
    }

    /// A field as text, whatever it is: `""` where there is none.
    pub fn field(&self, name: &str) -> String {
        match self.fields.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// Whether it is that event of the daemon's own, with these fields.
    pub fn has(&self, event: &str, fields: &[(&str, &str)]) -> bool {
        self.event == event && fields.iter().all(|(name, value)| self.field(name) == *value)
    }

    /// Whether it is that event of that machine, and one of its fields (reason, address, file, boot) is each of
    /// `values`.
    pub fn is(&self, machine: &str, event: &str, values: &[&str]) -> bool {
        let fields = [&self.reason, &self.address, &self.file, &self.boot];
        let has = |value: &&str| fields.iter().any(|field| field == value);
        self.target == "boot" && self.machine == machine && self.event == event && values.iter().all(has)
    }
}

/// A daemon's log as it grows, for whoever keeps it beyond the daemon's life.
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// The lines since the last time; the daemon's own methods see them no more.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("the log's readers do not panic"))
    }

    /// Whether more may come.
    pub fn is_written(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// A running daemon; killed on drop.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Those who read the log; they end with it.
    readers: [JoinHandle<()>; 2],
}

impl Daemon {
    /// Starts the daemon and waits until it serves, every image included that can be.
    pub fn start(wire: &Wire, room: &Room) -> Daemon {
        let daemon = Daemon::start_at_once(wire, room);
        let verified = super::poll(START_TIMEOUT, || {
            let status = ask_json(room, "status");
            let unserved = status["artifacts"]["unserved"].as_array()?;
            unserved.iter().all(|one| !one["problem"].is_null()).then_some(())
        });
        assert!(verified.is_some(), "images were not verified:\n{}", daemon.log_tail());
        daemon
    }

    /// Starts the daemon and waits until it serves, though not every image yet.
    pub fn start_at_once(wire: &Wire, room: &Room) -> Daemon {
        Daemon::start_as(wire.server.command(&binary()), room)
    }

    /// The same by a command that runs the binary with what is added to it.
    pub fn start_as(command: Command, room: &Room) -> Daemon {
        let daemon = Daemon::spawn_as(command, room);
        let ready = super::poll(START_TIMEOUT, || {
            let output = bootwright(&["status", "--socket", &socket(room)]);
            output.status.success().then_some(())
        });
        assert!(ready.is_some(), "the daemon did not start:\n{}", daemon.log_tail());
        daemon
    }

    /// Starts a daemon that may well refuse to.
    pub fn spawn(server: &Namespace, room: &Room) -> Daemon {
        Daemon::spawn_as(server.command(&binary()), room)
    }

    fn spawn_as(mut command: Command, room: &Room) -> Daemon {
        command
            .arg("serve")
            .arg("--config")
            .arg(room.config())
            .args(["--log-format", "json"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built binary runs");
        let log = Arc::new(Mutex::new(Vec::new()));
        let readers = [
            follow(child.stdout.take().expect("piped above"), Arc::clone(&log)),
            follow(child.stderr.take().expect("piped above"), Arc::clone(&log)),
        ];
        Daemon { child, log, readers }
    }

    /// The log so far.
    pub fn lines(&self) -> Vec<Line> {
        let raw = self.log.lock().expect("the log's readers do not panic");
        raw.iter().map(|line| Line::parse(line)).collect()
    }

    /// Waits for a line; panics with the end of the log when it does not come.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Line) -> bool) -> Line {
        self.wait_for_within(what, super::SOON, wanted)
    }

    /// The same, where an emulated machine or a disk takes its time.
    pub fn wait_for_within(&self, what: &str, timeout: Duration, wanted: impl Fn(&Line) -> bool) -> Line {
        super::poll_machine(timeout, || self.lines().into_iter().find(|line| wanted(line)))
            .unwrap_or_else(|| panic!("no line in {timeout:?}: {what}\n{}", self.log_tail()))
    }

    /// The end of the log as it was written.
    pub fn log_tail(&self) -> String {
        let raw = self.log.lock().expect("the log's readers do not panic");
        format!("--- the daemon's log\n{}", super::tail(&raw.join("\n"), 40))
    }

    /// The log, to be kept.
    pub fn log(&self) -> Log {
        Log(Arc::clone(&self.log))
    }

    /// Resident memory in kilobytes.
    pub fn resident_kb(&self) -> u64 {
        self.told_by_kernel("status", "VmRSS:")
    }

    /// Arenas of the C library's allocator beside the first: each is a mapping of its own at a multiple of 64 MiB.
    pub fn further_arenas(&self) -> usize {
        const ARENA_BYTES: u64 = 64 << 20;
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.child.id())).expect("the daemon runs");
        let is_arena = |line: &&str| {
            let mut fields = line.split_whitespace();
            let begins = fields.next().and_then(|range| range.split('-').next());
            let begins = begins.and_then(|begins| u64::from_str_radix(begins, 16).ok());
            let is_written = fields.next().is_some_and(|may| may.starts_with("rw"));
            // Offset, device, inode, and no file.
            is_written && fields.count() == 3 && begins.is_some_and(|begins| begins % ARENA_BYTES == 0)
        };
        maps.lines().filter(is_arena).count()
    }

    /// Bytes that it has read from files so far, from the disk or from the page cache.
    pub fn read_bytes(&self) -> u64 {
        self.told_by_kernel("io", "rchar:")
    }

    /// The number in a line of a table in /proc.
    fn told_by_kernel(&self, table: &str, name: &str) -> u64 {
        let table = std::fs::read_to_string(format!("/proc/{}/{table}", self.child.id())).expect("the daemon runs");
        table
            .lines()
            .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in\n{table}"))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// SIGKILL: no chance to tidy up.
    pub fn crash(mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().expect("a killed child ends");
    }

    /// SIGTERM, and the exit status.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait_exit()
    }

    /// Waits for an end that the test expects, and for the end of the log.
    pub fn wait_exit(&mut self) -> ExitStatus {
        super::poll(STOP_TIMEOUT, || {
            let status = self.child.try_wait().expect("a child can be asked")?;
            self.readers.iter().all(JoinHandle::is_finished).then_some(status)
        })
        .unwrap_or_else(|| panic!("the daemon did not end in {STOP_TIMEOUT:?}\n{}", self.log_tail()))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("the daemon is our child");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

/// A command that asks the running daemon.
pub fn ask(room: &Room, arguments: &[&str]) -> Output {
    bootwright(&[arguments, &["--socket", &socket(room)]].concat())
}

/// A command's JSON answer.
pub fn ask_json(room: &Room, command: &str) -> Value {
    ask_json_with(room, &[command])
}

/// The JSON answer of a command with arguments.
pub fn ask_json_with(room: &Room, arguments: &[&str]) -> Value {
    let output = ask(room, &[arguments, &["--json"]].concat());
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        super::namespace::text(&output)
    );
    serde_json::from_slice(&output.stdout).expect("--json prints JSON")
}

/// When a lease of `leases --json` ends, in seconds since 1970.
pub fn expiry_s(lease: &Value) -> u64 {
    let expires: Timestamp = serde_json::from_value(lease["expires"].clone()).expect("a time of RFC 3339");
    expires.wall().0
}

fn socket(room: &Room) -> String {
    room.path("admin.sock").to_string_lossy().into_owned()
}

fn follow(pipe: impl Read + Send + 'static, log: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            log.lock().expect("the log's readers do not panic").push(line);
        }
    })
}
