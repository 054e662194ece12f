//! Rung 3: image files that several machines fetch at once go out of a copy in memory, and all that holds of a file
//! holds of that. Each with the kernel sending the copy (sendfile), and with a kernel that refuses to.

use super::daemon::{Daemon, ask_json};
use super::held::Held;
use super::images::{Disk, KERNEL, KERNEL_URL, counter, flip_a_byte, get, noise};
use super::namespace::{Namespace, SERVER, TaskTracker, Wire};
use super::room::Room;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::{
    fs::{self, File},
    process::Stdio,
    time::Duration,
};

/// Larger than all the buffers on the way to a client that does not read.
const BYTES: usize = 48 << 20;

/// How the copy comes to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Sendfile,
    Refused,
}

/// An appliance with one image, and two machines.
struct Site {
    machines: [Namespace; 2],
    /// Refuses calls of sendfile as long as it runs.
    _refusal: Option<TaskTracker>,
    daemon: Daemon,
    room: Room,
    kernel: Vec<u8>,
    _wire: Wire,
}

impl Site {
    fn start(way: Way, room: Room) -> Site {
        let wire = Wire::new();
        let kernel = noise(BYTES);
        let room = room.with_small_image(&kernel);
        let machines = [
            wire.client_at("02:00:00:00:00:75", "192.0.2.75"),
            wire.client_at("02:00:00:00:00:76", "192.0.2.76"),
        ];
        let daemon = Daemon::start(&wire, &room);
        Site {
            machines,
            _refusal: (way == Way::Refused).then(|| without_sendfile(&daemon)),
            daemon,
            room,
            kernel,
            _wire: wire,
        }
    }

    /// Both machines are in the middle of the kernel, which has a copy by now.
    fn both_under_way(&self) -> [Held; 2] {
        let transfers = [0, 1].map(|machine: usize| Held::begin(&self.machines[machine], KERNEL_URL));
        self.counts("hot_image_filled", 1);
        transfers
    }

    fn counts(&self, name: &str, wanted: u64) {
        let counted = super::poll(super::SOON, || (counter(&self.room, name) >= wanted).then_some(()));
        assert!(counted.is_some(), "{name}: {}", self.daemon.log_tail());
    }

    fn fetch(&self, machine: usize, range: &str) -> Vec<u8> {
        let url = format!("http://{SERVER}{KERNEL_URL}");
        let fetched = self.machines[machine].run("curl", &["-sSf", "-m", "100", "-r", range, &url]);
        fetched.stdout
    }

    /// The kernel is not served any more, and says so.
    fn is_refused(&self) {
        let refused = super::poll(super::SOON, || {
            let answer = get(&self.machines[0], KERNEL_URL);
            answer.contains("is not served").then_some(())
        });
        assert!(refused.is_some(), "{}", self.daemon.log_tail());
    }
}

/// Has the kernel refuse sendfile to every thread of the daemon.
fn without_sendfile(daemon: &Daemon) -> TaskTracker {
    let mut strace = std::process::Command::new("strace");
    strace.args([
        "-f",
        "-q",
        "-o",
        "/dev/null",
        "--trace=sendfile",
        "--inject=sendfile:error=ENOSYS",
        "-p",
    ]);
    strace.arg(daemon.pid().to_string()).stderr(Stdio::null());
    let strace = TaskTracker(
        strace
            .spawn()
            .expect("strace is installed by tests/install-packages.sh"),
    );
    let is_traced = || {
        let mut threads = fs::read_dir(format!("/proc/{}/task", daemon.pid())).ok()?;
        let is_traced = |status: String| !status.contains("TracerPid:\t0\n");
        let all = threads.all(|thread| {
            let status = thread.and_then(|thread| fs::read_to_string(thread.path().join("status")));
            status.is_ok_and(is_traced)
        });
        all.then_some(())
    };
    assert!(
        super::poll(super::SOON, is_traced).is_some(),
        "strace follows the daemon"
    );
    strace
}

fn must_break(transfer: Held) {
    let (is_whole, got) = transfer.end();
    assert!(
        !is_whole && got.len() < BYTES,
        "a transfer of {} bytes was called whole",
        got.len()
    );
}

#[test]
fn every_byte_of_a_copy_arrives_and_whoever_is_under_way_changes_over_to_it() {
    for way in [Way::Sendfile, Way::Refused] {
        let site = Site::start(way, Room::new(""));
        assert!(site.fetch(0, "0-") == site.kernel);
        assert_eq!(
            counter(&site.room, "hot_image_bytes"),
            0,
            "{way:?}: one machine is no reason"
        );
        let transfers = site.both_under_way();
        assert!(counter(&site.room, "hot_image_bytes") >= BYTES as u64);
        for (range, expected) in [
            ("0-", &site.kernel[..]),
            ("1000001-30000000", &site.kernel[1_000_001..=30_000_000]),
            ("-1", &site.kernel[BYTES - 1..]),
        ] {
            assert!(site.fetch(1, range) == expected, "{way:?}: bytes {range}");
        }
        for transfer in transfers {
            let (is_whole, got) = transfer.end();
            assert!(is_whole && got == site.kernel, "{way:?}: {} bytes", got.len());
        }
        site.counts("hot_image_hit", 5);
        site.counts("http_completed", 6);
        assert_eq!(
            (
                counter(&site.room, "hot_image_filled"),
                counter(&site.room, "http_aborted")
            ),
            (1, 0)
        );
    }
}

#[test]
fn a_file_that_is_written_to_or_cut_under_its_copy_breaks_the_transfers_and_is_refused() {
    for way in [Way::Sendfile, Way::Refused] {
        let site = Site::start(way, Room::new(""));
        let transfers = site.both_under_way();
        flip_a_byte(&site.room.path(KERNEL), (BYTES - 7) as u64);
        site.is_refused();
        transfers.into_iter().for_each(must_break);

        // The right bytes again, and cut short under the next two.
        fs::write(site.room.path(KERNEL), &site.kernel).expect("our own file");
        let is_right = || (site.fetch(0, "0-") == site.kernel).then_some(());
        assert!(
            super::poll(super::SOON, is_right).is_some(),
            "{}",
            site.daemon.log_tail()
        );
        let transfers = [0, 1].map(|machine: usize| Held::begin(&site.machines[machine], KERNEL_URL));
        let cut = File::options().write(true).open(site.room.path(KERNEL));
        cut.and_then(|cut| cut.set_len(1000)).expect("our own file");
        transfers.into_iter().for_each(must_break);
        assert!(
            !get(&site.machines[0], KERNEL_URL).starts_with("HTTP/1.1 200"),
            "{way:?}"
        );
    }
}

#[test]
fn who_is_sent_a_copy_gets_all_of_the_old_file_when_another_takes_its_name() {
    for way in [Way::Sendfile, Way::Refused] {
        let site = Site::start(way, Room::new(""));
        let transfers = site.both_under_way();
        let new = site.room.path("images/small/.new");
        fs::write(&new, noise(BYTES + 8)).expect("our own file");
        fs::rename(new, site.room.path(KERNEL)).expect("our own file");
        for transfer in transfers {
            let (is_whole, got) = transfer.end();
            assert!(is_whole && got == site.kernel, "{way:?}: {} bytes", got.len());
        }
        site.is_refused();
    }
}

#[test]
fn a_disk_that_rots_under_a_copy_breaks_its_transfers_once_that_is_found() {
    for way in [Way::Sendfile, Way::Refused] {
        let room = Room::new("").with_settings("[images]\nrecheck = \"1s\"\n");
        let disk = Disk::new(128 << 20);
        disk.mount(&room.path("images"));
        let site = Site::start(way, room);
        let transfers = site.both_under_way();
        disk.rot(&site.kernel[(40 << 20)..(40 << 20) + 512]);
        site.daemon.wait_for_within("the rot", Duration::from_secs(60), |line| {
            line.level == "ERROR" && line.event == "artifact_rotted"
        });
        transfers.into_iter().for_each(must_break);
        site.is_refused();
    }
}

#[test]
fn nothing_of_a_copy_that_is_not_what_its_checksum_says_goes_out_and_the_file_is_found_wrong() {
    let room = Room::new("").with_settings("[images]\nrecheck = \"off\"\n");
    let disk = Disk::new(128 << 20);
    disk.mount(&room.path("images"));
    let site = Site::start(Way::Sendfile, room);
    disk.rot(&site.kernel[(40 << 20)..(40 << 20) + 512]);
    // What the memory remembers of the file was right.
    let file = File::open(site.room.path(KERNEL)).expect("our own file");
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).expect("a local file system");
    let transfers = [0, 1].map(|machine: usize| Held::begin(&site.machines[machine], KERNEL_URL));
    site.daemon.wait_for_within("the rot", Duration::from_secs(60), |line| {
        line.level == "ERROR" && line.event == "artifact_rotted"
    });
    transfers.into_iter().for_each(must_break);
    site.is_refused();
    let counted = [
        "hot_image_wrong",
        "hot_image_filled",
        "hot_image_hit",
        "hot_image_bytes",
    ];
    assert_eq!(counted.map(|name| counter(&site.room, name)), [1, 0, 0, 0]);
}

#[test]
fn where_no_copies_are_wanted_none_is_made() {
    let site = Site::start(Way::Sendfile, Room::new("").with_settings("[http]\nhot_images = 0\n"));
    let transfers = [0, 1].map(|machine: usize| Held::begin(&site.machines[machine], KERNEL_URL));
    assert!(site.fetch(0, "0-") == site.kernel);
    for transfer in transfers {
        let (is_whole, got) = transfer.end();
        assert!(is_whole && got == site.kernel);
    }
    let status = ask_json(&site.room, "status");
    assert_eq!(status["counters"]["hot_image_filled"], 0);
    assert_eq!(status["counters"]["hot_image_hit"], 0);
}
