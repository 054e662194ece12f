//! Rung 3: images are served only while their bytes are those of their checksums.

use super::daemon::{Daemon, ask, ask_json};
use super::held::Held;
use super::namespace::{Namespace, SERVER, Wire, text};
use super::room::{Room, bootwright};
use serde_json::Value;
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};
use tempfile::TempDir;

/// How long a small image may take to be verified, or to be found wrong.
pub const KERNEL: &str = "images/small/kernel.bin";
pub const KERNEL_URL: &str = "/image/small/kernel.bin";

/// Asks for a path over HTTP, as who is told at once when it can't be had yet; the status, the headers and
/// the body as text.
pub fn get(client: &Namespace, path: &str) -> String {
    let url = format!("http://{SERVER}{path}");
    let output = client.run("curl", &["-sS", "-m", "20", "-A", "iPXE/2.0.0", "-i", &url]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn is_served(client: &Namespace, path: &str) -> bool {
    get(client, path).starts_with("HTTP/1.1 200")
}

fn must_be_refused_by_tftp(client: &Namespace, path: &str) {
    let url = format!("tftp://{SERVER}{path}");
    let output = client.run("curl", &["-sS", "-m", "20", "-o", "/dev/null", &url]);
    assert!(!output.status.success(), "{}", text(&output));
}

/// The artifacts that are not served, by what `status` says of them.
fn unserved(room: &Room) -> Vec<Value> {
    let status = ask_json(room, "status");
    status["artifacts"]["unserved"].as_array().expect("a list").clone()
}

pub fn counter(room: &Room, name: &str) -> u64 {
    ask_json(room, "status")["counters"][name].as_u64().expect("a count")
}

/// Changes one byte and puts the file's time back, as nobody who means well does.
pub fn flip_a_byte(file: &Path, at: u64) {
    let modified = fs::metadata(file)
        .and_then(|found| found.modified())
        .expect("our own file");
    let opened = File::options().read(true).write(true).open(file).expect("our own file");
    flip(&opened, at);
    opened.set_modified(modified).expect("our own file");
    let now = fs::metadata(file)
        .and_then(|found| found.modified())
        .expect("our own file");
    assert_eq!(now, modified);
}

fn flip(file: &File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("the file is longer");
    file.write_all_at(&[byte[0] ^ 1], at).expect("our own file");
    file.sync_all().expect("our own disk");
}

/// Bytes that compress to nothing and stand nowhere else on the disk.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = vec![0; length];
    for chunk in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_be_bytes()[..chunk.len()]);
    }
    bytes
}

#[test]
fn a_terabyte_that_is_new_holds_nothing_up_and_is_not_served_before_it_is_verified() {
    let wire = Wire::new();
    let room = Room::new("");
    fs::create_dir(room.path("images/big")).expect("a new folder");
    let disk = File::create(room.path("images/big/disk.img")).expect("a new file");
    disk.set_len(1 << 40).expect("a file system with holes");
    let manifest = format!("disk = {{ file = \"disk.img\", sha256 = \"{}\" }}\n", "0".repeat(64));
    fs::write(room.path("images/big/image.toml"), manifest).expect("a new file in our own folder");
    let daemon = Daemon::start_at_once(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:71", "192.0.2.71");
    assert!(is_served(&client, "/snponly.efi"));

    let refused = get(&client, "/image/big/disk.img").to_ascii_lowercase();
    assert!(refused.starts_with("http/1.1 503"), "{refused}");
    assert!(refused.contains("retry-after: "), "{refused}");
    assert!(refused.contains("image big/disk.img is being verified, "), "{refused}");
    assert!(refused.contains(" of 1099511627776 bytes"), "{refused}");
    must_be_refused_by_tftp(&client, "/image/big/disk.img");
    daemon.wait_for("the request that TFTP refused", |line| {
        line.target == "boot" && line.reason == "unverified"
    });
    daemon.wait_for("the progress", |line| {
        line.level == "INFO" && line.has("artifact_progress", &[("file", "image big/disk.img")])
    });

    // What is small does not wait for what is large, and a reload waits for neither.
    let room = room.with_small_image(b"kernel");
    assert!(ask(&room, &["reload"]).status.success());
    let served = super::poll(super::SOON, || is_served(&client, KERNEL_URL).then_some(()));
    assert!(served.is_some(), "{}", daemon.log_tail());
    let waiting = unserved(&room);
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(waiting[0]["image"], "big");
    assert!(waiting[0]["bytes_read"].as_u64() > Some(0), "{waiting:?}");
    let status = text(&ask(&room, &["status"]));
    assert!(status.contains("1 artifact verified"), "{status}");
    assert!(
        status.contains("not served yet: image big/disk.img is being verified"),
        "{status}"
    );
    let list = text(&bootwright(&[
        "image",
        "list",
        "--config",
        &room.config().to_string_lossy(),
    ]));
    assert!(
        list.contains("not verified yet") && list.contains("kernel.bin  verified "),
        "{list}"
    );
}

#[test]
fn a_restart_reads_no_image_again_and_one_that_changed_meanwhile_is_not_served() {
    let wire = Wire::new();
    let kernel = noise(100_000);
    let room = Room::new("").with_small_image(&kernel);
    let client = wire.client_at("02:00:00:00:00:72", "192.0.2.72");
    let daemon = Daemon::start(&wire, &room);
    // Said when its checksum is kept.
    daemon.wait_for("the checksum", |line| {
        line.has("artifact_verified", &[("file", "image small/kernel.bin")])
    });
    assert_eq!(counter(&room, "artifacts_read"), 1);
    assert!(daemon.stop().success());

    let daemon = Daemon::start_at_once(&wire, &room);
    assert!(is_served(&client, KERNEL_URL), "{}", daemon.log_tail());
    assert_eq!(counter(&room, "artifacts_read"), 0);
    assert_eq!(counter(&room, "artifact_bytes_read"), 0);
    assert!(daemon.stop().success());

    flip_a_byte(&room.path(KERNEL), 70_000);
    let daemon = Daemon::start(&wire, &room);
    let refused = get(&client, KERNEL_URL);
    assert!(
        refused.starts_with("HTTP/1.1 500") && refused.contains("is not served"),
        "{refused}"
    );
    assert!(is_served(&client, "/snponly.efi"), "the room goes on");
    daemon.wait_for("what is wrong", |line| {
        let fields = [("file", "image small/kernel.bin"), ("line", "2")];
        line.level == "ERROR" && line.has("artifact_wrong", &fields)
    });
    assert_eq!(counter(&room, "artifacts_mismatched"), 1);
    assert_eq!(unserved(&room)[0]["problem"]["line"], 2);
    let status = text(&ask(&room, &["status"]));
    assert!(status.contains("NOT SERVED: image small/kernel.bin"), "{status}");
    let config = room.config().to_string_lossy().into_owned();
    let list = text(&bootwright(&["image", "list", "--config", &config]));
    assert!(list.contains("WRONG, not served: kernel.bin"), "{list}");
    let check = bootwright(&["check", &config]);
    assert_eq!(check.status.code(), Some(1), "{}", text(&check));
    let reloaded = ask(&room, &["reload"]);
    assert!(
        reloaded.status.success() && text(&reloaded).contains("warning: "),
        "{}",
        text(&reloaded)
    );

    fs::write(room.path(KERNEL), &kernel).expect("our own file");
    let served = super::poll(super::SOON, || is_served(&client, KERNEL_URL).then_some(()));
    assert!(
        served.is_some(),
        "the right file is served by itself\n{}",
        daemon.log_tail()
    );
}

#[test]
fn one_byte_flipped_while_it_is_served_breaks_the_transfer_and_the_next_is_refused() {
    let wire = Wire::new();
    let room = Room::new("").with_small_image(&noise(48 << 20));
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:73", "192.0.2.73");
    let transfer = Held::begin(&client, KERNEL_URL);
    flip_a_byte(&room.path(KERNEL), (48 << 20) - 7);
    let refused = super::poll(super::SOON, || {
        let answer = get(&client, KERNEL_URL);
        assert!(!answer.starts_with("HTTP/1.1 200"), "wrong bytes were served");
        answer.contains("is not served").then_some(())
    });
    assert!(refused.is_some(), "{}", daemon.log_tail());
    must_break(transfer);
    must_be_refused_by_tftp(&client, KERNEL_URL);
}

#[test]
fn a_disk_that_rots_under_a_file_that_nobody_touched_is_found_by_reading_it_again() {
    let wire = Wire::new();
    let mut room = Room::new("").with_settings("[images]\nrecheck = \"1s\"\n");
    // After the room, so that it is gone before the room is.
    let disk = Disk::new(128 << 20);
    disk.mount(&room.path("images"));
    let kernel = noise(48 << 20);
    room = room.with_small_image(&kernel);
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:74", "192.0.2.74");
    let transfer = Held::begin(&client, KERNEL_URL);
    let stamp = |room: &Room| {
        fs::metadata(room.path(KERNEL))
            .and_then(|found| found.modified())
            .expect("our own file")
    };
    let before = stamp(&room);
    disk.rot(&kernel[(40 << 20)..(40 << 20) + 512]);
    daemon.wait_for_within("the rot", Duration::from_secs(60), |line| {
        line.level == "ERROR" && line.event == "artifact_rotted"
    });
    assert_eq!(stamp(&room), before, "nobody touched the file");
    must_break(transfer);
    let refused = get(&client, KERNEL_URL);
    assert!(
        refused.starts_with("HTTP/1.1 500") && refused.contains("is not served"),
        "{refused}"
    );
    let verified = bootwright(&["image", "verify", "--images", &room.path("images").to_string_lossy()]);
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));

    // A new file beside the rotten one, renamed over it: served by itself.
    fs::write(room.path("images/small/.new"), &kernel).expect("room on the disk");
    fs::rename(room.path("images/small/.new"), room.path(KERNEL)).expect("our own file");
    let served = super::poll(super::SOON, || is_served(&client, KERNEL_URL).then_some(()));
    assert!(served.is_some(), "{}", daemon.log_tail());
}

/// A transfer ends before its end: the client knows that it has not got the file.
fn must_break(transfer: Held) {
    let (is_whole, got) = transfer.end();
    let got = got.len();
    assert!(!is_whole, "a transfer of {got} bytes was called whole");
    assert!(got < 48 << 20, "{got} bytes");
}

/// A small disk whose blocks can be changed beneath its file system.
pub struct Disk {
    folder: TempDir,
    mounted: std::cell::OnceCell<PathBuf>,
}

impl Disk {
    pub fn new(bytes: u64) -> Disk {
        let folder = TempDir::new().expect("a temporary folder");
        let disk = Disk {
            folder,
            mounted: std::cell::OnceCell::new(),
        };
        let file = File::create(disk.file()).expect("a new file");
        file.set_len(bytes).expect("a file system with holes");
        must(Command::new("mkfs.ext4").arg("-q").arg(disk.file()).output());
        disk
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    pub fn mount(&self, at: &Path) {
        must(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(self.file())
                .arg(at)
                .output(),
        );
        self.mounted.set(at.to_owned()).expect("mounted once");
    }

    /// Flips one bit of the block that holds `sector`, whose bytes stand nowhere else.
    pub fn rot(&self, sector: &[u8]) {
        let at = self.mounted.get().expect("mounted before");
        must(Command::new("sync").arg("-f").arg(at).output());
        let file = File::options()
            .read(true)
            .write(true)
            .open(self.file())
            .expect("our own file");
        let found = (0..).map(|number| number * 512).find(|at| {
            let mut bytes = [0; 512];
            file.read_exact_at(&mut bytes, *at).expect("the kernel is on the disk");
            bytes == sector
        });
        flip(&file, found.expect("the numbers are endless"));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(at) = self.mounted.get() {
            // Lazily, in case a process that is about to end still has a file of it open.
            let _ = Command::new("umount").arg("-l").arg(at).status();
        }
    }
}

fn must(output: std::io::Result<Output>) {
    let output = output.expect("the program is part of Debian");
    assert!(output.status.success(), "{}", text(&output));
}
