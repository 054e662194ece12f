//! The lab: the real binary in network namespaces, met by real clients and by real firmware.
//!
//! One test program for both rungs, so that the tools are written once:
//!
//! | module | what it is |
//! |---|---|
//! | `namespace` | network namespaces, the bridge between them, programs run inside |
//! | `room` | a folder of configuration, as an operator would write it |
//! | `daemon` | the running binary and its log |
//! | `machine` | a virtual machine: firmware, serial console, perhaps a disk |
//! | `release` | loaders, firmware and installers of other Debian releases |
//! | `wire` | DHCP clients by the dozen over one socket |
//! | `frames` | what goes over an interface, frame by frame |
//! | `held` | a transfer that stays under way until its test lets it go on |
//! | `recorder` | rung 3: what the flight recorder has of a boot, before tshark and in a replay |
//! | `watch` | rung 3: the board of the room, on a terminal |
//! | `attempts` | rung 3: what a boot came to, over `kill -9` |
//! | `causes` | rung 3: what keeps machines from coming up, made for real, and what `why` calls it |
//! | `arming` | rung 3: who is armed, who is not, and installs that tell of themselves |
//! | `cases` | rung 3: the conformance cases that concern sockets |
//! | `clients` | rung 3: what tftp, atftp, busybox and curl get |
//! | `lives` | rung 3: dhclient, dhcpcd, udhcpc and systemd-networkd from their first lease to the release |
//! | `lives::newer` | rung 3: the same for clients of newer suites, NetworkManager and connman among them |
//! | `lives::own` | rung 3: a host's own address, and who else may have it |
//! | `options` | rung 3: what clients hand to their scripts, and BOOTP |
//! | `routers` | rung 3: machines that ask for an IPv6 router |
//! | `relays` | rung 3: behind real relays, and the switch port they tell; `relays::firmware` boots real firmware there |
//! | `reload` | rung 3: the inventory edited while machines are served |
//! | `plan` | rung 3: what a plan says of a candidate, and what becomes of it |
//! | `generations` | rung 3: the journal of generations, and one that is put in force again |
//! | `secrets` | rung 3: an install with a secret, and no byte of that anywhere else |
//! | `waits` | rung 3: image files that have to be waited for, and racks behind one address |
//! | `gone` | rung 3: machines that are switched off in the middle of a transfer |
//! | `unread` | rung 3: what is refused before it is a request, and names written in other ways |
//! | `images` | rung 3: only the right bytes are served, whatever becomes of a file or its disk |
//! | `installers` | rungs 3 and 4: what live systems and installers of newer suites go on to fetch |
//! | `cloud_init` | rung 3: what cloud-init of three suites asks of an answer and of the metadata tree, and makes of it |
//! | `validators` | rung 3: the shipped answers before their readers' own validators |
//! | `clock` | rung 3: the host's clock is set while the daemon runs and between its lives |
//! | `log` | rung 3: whoever reads the log stops reading it |
//! | `crash` | rung 3: `kill -9`, restart, a second daemon |
//! | `soak` | rung 3: storms, edits, flaps and kills in an order that a seed gives; hours of it in `make soak` |
//! | `threats` | rung 3: paths, garbage, silence and slowness |
//! | `floods` | rung 3: a rack that starts in one moment, and answers that nobody takes |
//! | `slow` | rung 3: HTTP clients that are slow on purpose, slowhttptest's and our own |
//! | `rogue` | rung 3: a second DHCP server on the wire, and a second appliance |
//! | `probe` | rung 3: an address of the pool that somebody took without asking |
//! | `proxy` | rung 3: the guest beside dnsmasq; `proxy::firmware` boots real firmware there |
//! | `proxmox` | rung 3: whoever asks and tells as Proxmox VE's installer does |
//! | `syslog` | rung 3: what machines log, by real loggers, in floods and from nobody's address |
//! | `storm` | rung 3: the virtual fleet, and what it says of failures |
//! | `doctor` | rung 3: what the doctor says of what is well and of what is not |
//! | `uplink` | rung 3: interfaces that lead to more than machines are not served unless that is asked for |
//! | `quirks` | rung 3: firmware with needs of its own, by rows that change while it runs |
//! | `newer` | rung 4: loaders of newer Debian releases, unpacked beside the system |
//! | `pxelinux` | rung 4 in `pxelinux::firmware`: s390x and POWER, whose firmware reads `pxelinux.cfg` itself |
//! | `firmware` | rung 4: SeaBIOS, OVMF PXE and OVMF HTTP boot to a kernel's userland |
//! | `firmware::causes` | rung 4: real machines that do not come up, and the cause that `why` names; the slow ones in `make test-causes` |
//! | `firmware::deploy` | rung 4: bare disks that are written and boot, disks that nothing touches, rescue |
//! | `matrix` | rung 4: loaders and firmware of three releases with each other; one of each kind in `make test`, all in `make test-matrix` |
//! | `demo` | rung 4: the demo says why it can't succeed |
//!
//! The tests need root and say so; `make test` installs the programs they use. Addresses are the
//! documentation ranges, and nothing here is joined to a network outside.

#![expect(unreachable_pub, reason = "the modules of a test program are public to each other")]

mod arming;
mod attempts;
mod cases;
mod causes;
mod clients;
mod clock;
mod cloud_init;
mod crash;
mod daemon;
mod demo;
mod doctor;
mod explain;
mod firmware;
mod floods;
mod frames;
mod generations;
mod gone;
mod held;
mod hot_images;
mod images;
mod installers;
mod lives;
mod log;
mod machine;
mod matrix;
mod namespace;
mod newer;
mod options;
mod plan;
mod probe;
mod proxmox;
mod proxy;
mod pxelinux;
mod quirks;
mod recorder;
mod relays;
mod release;
mod reload;
mod restart;
mod rogue;
mod room;
mod routers;
mod secrets;
mod slow;
mod soak;
mod storm;
mod syslog;
mod threats;
mod unit;
mod unread;
mod uplink;
mod validators;
mod waits;
mod watch;
mod wire;

use std::time::{Duration, Instant};

/// How long what must come is waited for: on a loaded machine it is late, and a test that passes waits
/// for none of it.
const SOON: Duration = Duration::from_secs(20);

/// Asks until `ask` has an answer or the time is up; the only way the lab waits.
fn poll<T>(timeout: Duration, ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    poll_while(|| start.elapsed() < timeout, ask)
}

/// The same for what an emulated machine is to do: the time in which it waits for a processor does not count.
fn poll_machine<T>(timeout: Duration, ask: impl FnMut() -> Option<T>) -> Option<T> {
    let (start, before) = (Instant::now(), machine::starved());
    let spent = || {
        let starved = machine::starved().saturating_sub(before);
        start.elapsed().saturating_sub(starved)
    };
    poll_while(|| spent() < timeout, ask)
}

fn poll_while<T>(is_time_left: impl Fn() -> bool, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    loop {
        // Asked once more when the time is up: whoever waits may have been kept from asking until then.
        let is_last = !is_time_left();
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if is_last {
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The last `count` lines, for a failure's report.
fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
