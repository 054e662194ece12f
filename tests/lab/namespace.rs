//! Network namespaces that vanish with their test, and the programs that run in them.

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, Uid};
use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// How long a program of a test may run before it is killed: what takes five seconds here takes a minute
/// on a machine that has much else to do.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(180);

/// The provisioning interface's name in the server's namespace, as the shipped configuration has it.
pub const INTERFACE: &str = "eno2";
/// The name of a second one, where there is one.
const SECOND_INTERFACE: &str = "eno3";
/// The daemon's address on it.
pub const SERVER: &str = "192.0.2.1";

static SERIAL: AtomicU32 = AtomicU32::new(0);

/// One network namespace, deleted on drop.
pub struct Namespace {
    name: String,
}

impl Namespace {
    fn new() -> Namespace {
        assert!(
            Uid::effective().is_root(),
            "the lab makes network namespaces, which needs root: run `sudo make test`"
        );
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("bw{}-{serial}", std::process::id());
        ip(&["netns", "add", &name]);
        let namespace = Namespace { name };
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    /// A namespace whose `eth0`, with that MAC, hangs on `port` of another.
    pub fn beside(other: &Namespace, port: &str, mac: &str) -> Namespace {
        let client = Namespace::new();
        other.ip(&[
            "link",
            "add",
            port,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "address",
            mac,
            "netns",
            &client.name,
        ]);
        other.ip(&["link", "set", port, "up"]);
        client.ip(&["link", "set", "eth0", "up"]);
        other.wait_for_link(port);
        client.wait_for_link("eth0");
        client
    }

    /// Waits until the kernel sends what it is given on `interface`. For a moment after its carrier came
    /// it takes every packet and drops it without a word, while packets from the other side come in.
    fn wait_for_link(&self, interface: &str) {
        let state = || text(&self.run("ip", &["-o", "link", "show", "dev", interface]));
        let is_up = super::poll(super::SOON, || state().contains(" state UP ").then_some(()));
        assert!(is_up.is_some(), "{interface} has no carrier: {}", state());
    }

    fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.name], arguments].concat());
    }

    /// A command that will run inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name, program])
            .stdin(Stdio::null());
        command
    }

    /// Runs a program to its end.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(program);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command, program)
    }

    /// Whether busybox's DHCP client gets a lease on `eth0` within many tries; it configures nothing.
    pub fn gets_lease(&self, options: &[&str]) -> bool {
        self.udhcpc(&["-t", "15"], options)
    }

    /// Whether it gets none within some: who waits for nothing waits no longer than it must.
    pub fn gets_no_lease(&self, options: &[&str]) -> bool {
        !self.udhcpc(&["-t", "5"], options)
    }

    fn udhcpc(&self, tries: &[&str], options: &[&str]) -> bool {
        let once = ["udhcpc", "-i", "eth0", "-n", "-q", "-T", "2", "-s", "/bin/true"];
        self.run("busybox", &[&once, tries, options].concat()).status.success()
    }

    /// Waits until a program has UDP's `port`. The kernel's list is read: whoever tries to take the port
    /// to see whether it is free may hold it in the moment in which the program asks for it.
    pub fn wait_for_udp(&self, port: u16, program: &str) {
        let local = format!(":{port:04X} ");
        let list = || fs::read_to_string("/proc/thread-self/net/udp").expect("the kernel lists its sockets");
        let is_taken = super::poll(super::SOON, || self.enter(list).contains(&local).then_some(()));
        assert!(is_taken.is_some(), "{program} did not take its port");
    }

    /// Runs a program that must succeed; its standard output.
    pub fn expect(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(program, arguments);
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// Runs `work` on a thread that lives in the namespace: for sockets of the test's own.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let file = File::open(&path).expect("the namespace exists while its owner does");
                setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace it made");
                work()
            });
            match inside.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// The IPv4 addresses of an interface, without their prefix lengths.
    pub fn addresses(&self, interface: &str) -> Vec<String> {
        let text = self.expect("ip", &["-4", "-o", "addr", "show", "dev", interface]);
        String::from_utf8_lossy(&text)
            .lines()
            .filter_map(|line| line.split_whitespace().nth(3))
            .filter_map(|cidr| cidr.split('/').next().map(str::to_owned))
            .collect()
    }

    /// SIGKILL to whatever runs inside.
    pub fn kill_all(&self) {
        for pid in self.pids() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// The same, until nothing holds its locks and sockets any more.
    pub fn end_all(&self) {
        self.kill_all();
        let ended = super::poll(super::SOON, || self.pids().is_empty().then_some(()));
        assert!(ended.is_some(), "{:?} outlive SIGKILL", self.pids());
    }

    fn pids(&self) -> Vec<i32> {
        let pids = Command::new("ip").args(["netns", "pids", &self.name]).output();
        let pids = pids.map(|output| output.stdout).unwrap_or_default();
        let lines = String::from_utf8_lossy(&pids);
        lines.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What still runs inside would keep the namespace alive after its name is gone.
        self.kill_all();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// The server's namespace with its bridge; clients and machines are plugged into it.
pub struct Wire {
    /// Where the daemon runs.
    pub server: Namespace,
}

impl Wire {
    /// A bridge named like the shipped configuration's interface, with the server's address.
    pub fn new() -> Wire {
        let server = Namespace::new();
        server.ip(&["link", "add", INTERFACE, "type", "bridge", "forward_delay", "0"]);
        // Without an address of its own a bridge takes the lowest of its ports, and changes it
        // whenever a port comes or goes.
        server.ip(&["link", "set", INTERFACE, "address", "02:00:c0:00:02:01"]);
        server.ip(&["addr", "add", "192.0.2.1/24", "dev", INTERFACE]);
        server.ip(&["link", "set", INTERFACE, "up"]);
        Wire { server }
    }

    /// A namespace with `eth0` plugged into the bridge, with that MAC and no address.
    pub fn client(&self, mac: &str) -> Namespace {
        let port = port_name("v");
        let client = Namespace::beside(&self.server, &port, mac);
        self.server.ip(&["link", "set", &port, "master", INTERFACE]);
        self.server.wait_for_link(INTERFACE);
        client
    }

    /// The same with a fixed address, for programs that do not ask for one.
    pub fn client_at(&self, mac: &str, address: &str) -> Namespace {
        let client = self.client(mac);
        client.ip(&["addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        client
    }

    /// The bridge with the wide network 198.18.0.0/16 in place of its own, for clients by the
    /// thousand; the server is 198.18.0.1.
    pub fn wide() -> Wire {
        let wire = Wire::new();
        wire.server.ip(&["addr", "flush", "dev", INTERFACE]);
        wire.server.ip(&["addr", "add", "198.18.0.1/16", "dev", INTERFACE]);
        wire
    }

    /// A second bridge, `eno3`, with the address 198.51.100.1 and the first one's link-layer address: the
    /// interfaces of a trunk have one in common.
    pub fn add_second(&self) {
        let server = &self.server;
        server.ip(&["link", "add", SECOND_INTERFACE, "type", "bridge", "forward_delay", "0"]);
        server.ip(&["link", "set", SECOND_INTERFACE, "address", "02:00:c0:00:02:01"]);
        server.ip(&["addr", "add", "198.51.100.1/24", "dev", SECOND_INTERFACE]);
        server.ip(&["link", "set", SECOND_INTERFACE, "up"]);
    }

    /// The bridge's ports, by their names.
    pub fn ports(&self) -> Vec<String> {
        let listed = self.server.expect("ip", &["-o", "link", "show", "master", INTERFACE]);
        let name =
            |line: &str| -> Option<String> { Some(line.split_whitespace().nth(1)?.split('@').next()?.to_owned()) };
        String::from_utf8_lossy(&listed)
            .lines()
            .map(|line| name(line).expect("ip names each link"))
            .collect()
    }

    /// Plugs what is on the first bridge into the second; nobody's link goes down.
    pub fn rewire(&self) {
        for port in self.ports() {
            self.server.ip(&["link", "set", &port, "master", SECOND_INTERFACE]);
        }
    }

    /// A tap device on the bridge; its name.
    pub fn tap(&self) -> String {
        let port = port_name("t");
        self.server.ip(&["tuntap", "add", &port, "mode", "tap"]);
        self.server.ip(&["link", "set", &port, "master", INTERFACE, "up"]);
        port
    }
}

fn port_name(kind: &str) -> String {
    format!("{kind}{}", SERIAL.fetch_add(1, Ordering::Relaxed))
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("package iproute2 is installed");
    assert!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Waits for a program, within bounds.
pub fn finish(mut command: Command, name: &str) -> Output {
    // A group of its own: what it started would hold its output open after it.
    let child = command
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}; tests/install-packages.sh installs it"));
    let pid = Pid::from_raw(child.id().cast_signed());
    let start = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || child.wait_with_output());
        let ended = super::poll(PROGRAM_TIMEOUT, || waiting.is_finished().then_some(()));
        if ended.is_none() {
            let _ = killpg(pid, Signal::SIGKILL);
        }
        let output = waiting
            .join()
            .expect("waiting does not panic")
            .expect("a child can be waited for");
        assert!(
            ended.is_some(),
            "{name} still ran after {:?}: {}",
            start.elapsed(),
            text(&output)
        );
        output
    })
}

/// Everything a program said.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

/// A program that is killed when its owner lets go of it.
pub struct TaskTracker(pub Child);

impl Drop for TaskTracker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
