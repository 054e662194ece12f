//! Rung 4: machines whose disk our own live system writes, from power-on to the boot of what it wrote; what leaves a
//! disk alone; and the same live system for repairs.

mod secure_boot;

use super::LOADER;
use crate::daemon::{Daemon, ask, ask_json, ask_json_with};
use crate::machine::{DiskFile, Firmware, Machine, talking_disk};
use crate::namespace::{SERVER, Wire, text};
use crate::room::Room;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{LazyLock, mpsc},
    time::Duration,
};

/// What writes the disk, dynamically linked: its libraries come from Debian's packages, as those of other programs.
const PROGRAM: &str = env!("CARGO_BIN_EXE_bootwright-deploy");
const MAC: &str = "52:54:00:00:00:07";
/// The serial number of the disk that is to be written.
const DISK_SERIAL: &str = "BW-DISK-1";
/// From the script to the live system's first words: its initrd is unpacked by an emulated processor.
const LIVE: Duration = Duration::from_secs(180);
/// Until a disk is written.
const WRITTEN: Duration = Duration::from_secs(600);
/// From power-on to the word of what was installed: its first boot, with cloud-init.
const FIRST_BOOT: Duration = Duration::from_secs(600);
/// The disk that Debian's image goes to: more than the image has, so that something can grow.
const DEBIAN_DISK_BYTES: u64 = 6 << 30;
/// Where what is installed tells that it came up, in its URL; see tests/disk-image.sh.
const TELLS: &str = "192.0.2.1:8099";

/// A host that our own live system installs, with the disk that it may lose.
fn deployed(boot: &str, key: &str) -> String {
    format!(
        "[[host]]\nname = \"r1u07\"\nhostname = \"web07\"\nmac = \"{MAC}\"\naddress = \"192.0.2.11\"\n{boot}\
         cmdline = [\"console=ttyS0,115200\"]\nvars = {{ ssh_keys = [\"{key}\"] }}\n"
    )
}

fn installs(key: &str) -> String {
    let boot = format!(
        "boot = \"install\"\nscript = \"deploy\"\nimage = \"debian-13\"\nanswer = \"cloud\"\n\
         disk = {{ serial = \"{DISK_SERIAL}\" }}\n"
    );
    deployed(&boot, key)
}

/// The live system of this checkout, made by what `make deployer` runs, once for each state of what it is made of.
fn live_system() -> &'static Path {
    static MADE: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bootwright-live");
        let made_of = hex(&live_sources());
        let note = folder.join("made-of");
        if fs::read_to_string(&note).is_ok_and(|text| text == made_of) {
            return folder;
        }
        let _ = fs::remove_file(&note);
        let output = make_live_system(&folder);
        assert!(output.status.success(), "live/build.sh: {}", text(&output));
        fs::write(&note, made_of).expect("a file in our own folder");
        folder
    });
    &MADE
}

/// The sum of the program and the scripts that it is made of.
fn live_sources() -> [u8; 32] {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("live");
    let files = ["build.sh", "init", "dhcp", "lib", "modules"].map(|name| scripts.join(name));
    let sums = files.iter().map(|file| sum_of(file));
    let mut hash = Sha256::new();
    for sum in sums.chain([sum_of(Path::new(PROGRAM))]) {
        hash.update(sum);
    }
    hash.finalize().into()
}

fn make_live_system(folder: &Path) -> Output {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("live/build.sh"))
        .arg(PROGRAM)
        .arg(folder)
        // What is asked is what the system does, not how small it is.
        .env("ZSTD_CLEVEL", "3")
        .output()
        .expect("the script is shipped")
}

/// A disk image of Debian 13: its folder.
fn debian() -> &'static Path {
    static MADE: LazyLock<PathBuf> = LazyLock::new(|| {
        let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/disk-image.sh"))
            .arg("trixie")
            .output()
            .expect("the script is shipped");
        assert!(output.status.success(), "tests/disk-image.sh: {}", text(&output));
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    });
    &MADE
}

/// A room with our live system.
fn room(inventory: &str) -> Room {
    let room = Room::new(inventory);
    let image = room.path("images/bootwright-live");
    fs::create_dir(&image).expect("a new folder");
    for file in ["vmlinuz", "initrd.zst", "image.toml"] {
        fs::copy(live_system().join(file), image.join(file)).expect("room for a copy");
    }
    room
}

/// The image `debian-13` with that file as its disk; what else is said of it.
fn with_disk_image(room: &Room, bytes: impl FnOnce(&Path), says: &str) {
    let folder = room.path("images/debian-13");
    fs::create_dir_all(&folder).expect("a new folder");
    let file = folder.join("disk.zst");
    bytes(&file);
    let sum = hex(&sum_of(&file));
    room.write(
        "images/debian-13/image.toml",
        &format!("disk = {{ file = \"disk.zst\", sha256 = \"{sum}\"{says} }}\n"),
    );
}

fn with_debian(room: &Room) {
    let read = |file: &str| fs::read_to_string(debian().join(file)).expect("tests/disk-image.sh writes it");
    let says = format!(
        ", unpacked = {{ bytes = {}, sha256 = \"{}\" }}",
        read("bytes").trim(),
        read("sha256").trim()
    );
    let copy = |file: &Path| {
        fs::copy(debian().join("disk.raw.zst"), file).expect("room for a copy");
    };
    with_disk_image(room, copy, &says);
}

fn sum_of(file: &Path) -> [u8; 32] {
    let mut file = File::open(file).expect("a file of ours");
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).expect("a file of ours") {
            0 => return hash.finalize().into(),
            read => hash.update(&buffer[..read]),
        }
    }
}

fn hex(sum: &[u8]) -> String {
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A disk of zeros.
fn bare_disk(room: &Room, bytes: u64) -> PathBuf {
    let file = room.path("disk.img");
    File::create(&file)
        .and_then(|file| file.set_len(bytes))
        .expect("a new file in our own folder");
    file
}

/// Arms the host; what is known of its disks.
fn arm(room: &Room) -> Value {
    ask_json_with(room, &["arm", "r1u07"])["disks"][0].clone()
}

fn reload(room: &Room) {
    let output = ask(room, &["reload"]);
    assert!(output.status.success(), "{}", text(&output));
}

/// How a host stands with its install.
fn install(room: &Room, name: &str) -> Value {
    let hosts = ask_json(room, "hosts");
    let found = hosts
        .as_array()
        .and_then(|hosts| hosts.iter().find(|host| host["name"] == name));
    found.map_or(Value::Null, |host| host["install"].clone())
}

/// Hears what systems tell at [`TELLS`]: the query of each request.
fn hear(wire: &Wire) -> mpsc::Receiver<String> {
    let listener = wire
        .server
        .enter(|| TcpListener::bind(TELLS).expect("nobody else has the port"));
    let (told, hears) = mpsc::channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            let mut line = String::new();
            if BufReader::new(&connection).read_line(&mut line).is_err() {
                continue;
            }
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let query = line.split_whitespace().nth(1).and_then(|path| path.split_once('?'));
            if told
                .send(query.map_or(String::new(), |(_, query)| query.to_owned()))
                .is_err()
            {
                return;
            }
        }
    });
    hears
}

fn field(query: &str, name: &str) -> String {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.into_iter().find(|(key, _)| *key == name);
    let value = found.map(|(_, value)| value).unwrap_or_default().replace('+', " ");
    percent_encoding::percent_decode_str(&value)
        .decode_utf8_lossy()
        .into_owned()
}

/// Arms, writes, starts anew, and hears what came of it.
fn a_bare_disk_is_written_and_boots(firmware: Firmware) {
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL5n1nZ4mZ8k8o5dM1uC0sYb3wT1q2n3b4v5c6x7z8a9 ada";
    let room = room(&installs(KEY));
    with_debian(&room);
    let wire = Wire::new();
    let daemon = Daemon::start(&wire, &room);
    let hears = hear(&wire);
    let disk = bare_disk(&room, DEBIAN_DISK_BYTES);
    let kept = DiskFile {
        file: &disk,
        serial: DISK_SERIAL,
    };
    arm(&room);
    let mut machine = Machine::power_on_with_disk_file(&wire, firmware, MAC, kept);
    for (what, timeout, event, values) in [
        ("the script", LOADER, "sent", &["script deploy"][..]),
        ("the order", LIVE, "sent", &["order"]),
        ("the installer's first word", LIVE, "install_started", &[]),
        ("the seed", WRITTEN, "sent", &["answer user-data"]),
        ("its last word", WRITTEN, "installed", &[]),
    ] {
        daemon.wait_for_within(what, timeout, |line| line.is("r1u07", event, values));
    }
    machine.wait_for_end(LIVE);
    drop(machine);
    assert_eq!(install(&room, "r1u07")["state"], "installed", "{}", daemon.log_tail());

    let _machine = Machine::power_on_with_disk_file(&wire, firmware, MAC, kept);
    let told = crate::poll_machine(FIRST_BOOT, || hears.try_recv().ok());
    let told = told.unwrap_or_else(|| panic!("nothing came up from the disk\n{}", daemon.log_tail()));
    assert_eq!(field(&told, "name"), "web07", "{told}");
    assert_eq!(field(&told, "key"), KEY, "{told}");
    assert_eq!(field(&told, "address"), "192.0.2.11/24", "{told}");
    let kilobytes: u64 = field(&told, "kilobytes").parse().expect("a number");
    assert!(
        kilobytes * 1024 > DEBIAN_DISK_BYTES / 10 * 8,
        "the last partition was not grown: {told}"
    );
}

#[test]
fn seabios_a_bare_disk_is_written_once_and_boots_with_what_the_inventory_says() {
    a_bare_disk_is_written_and_boots(Firmware::SeaBios);
}

#[test]
#[ignore = "keeps `make test` within its time: make test-installs"]
fn ovmf_a_bare_disk_is_written_once_and_boots_with_what_the_inventory_says() {
    a_bare_disk_is_written_and_boots(Firmware::OvmfPxe);
}

/// Says on its console that it boots.
const DISK_WORDS: &str = "this disk was left alone";

/// Powers on a machine with that disk, sees it boot it, and that nothing wrote to it.
fn boots_its_disk_untouched(wire: &Wire, daemon: &Daemon, (disk, mac): (&Path, &str), what: &str) {
    let before = sum_of(disk);
    let kept = DiskFile {
        file: disk,
        serial: DISK_SERIAL,
    };
    let machine = Machine::power_on_with_disk_file(wire, Firmware::SeaBios, mac, kept);
    machine.wait_for(DISK_WORDS, LOADER);
    drop(machine);
    assert_eq!(hex(&sum_of(disk)), hex(&before), "{what}\n{}", daemon.log_tail());
}

#[test]
fn an_installed_disk_is_left_alone_whatever_is_edited_lost_or_renamed() {
    let room = Room::new(&installs("k")).with_script("deploy", "#!ipxe\n# {{ callback.base }}\n");
    with_disk_image(
        &room,
        |file| fs::write(file, [0x28, 0xb5, 0x2f, 0xfd, 0]).expect("a new file"),
        "",
    );
    // The fence is the deployer's, which is not what this is about.
    room.write_inventory(&installs("k").replace(&format!("disk = {{ serial = \"{DISK_SERIAL}\" }}\n"), ""));
    let wire = Wire::new();
    let mut daemon = Daemon::start(&wire, &room);
    let disk = room.path("disk.img");
    fs::write(&disk, talking_disk(DISK_WORDS)).expect("a new file in our own folder");
    arm(&room);
    // The host's install, as far as the server sees it.
    let client = wire.client_at(MAC, "192.0.2.11");
    let script = client.expect("curl", &["-sSf", &format!("http://{SERVER}/boot.ipxe")]);
    let script = String::from_utf8_lossy(&script).into_owned();
    let base = script
        .lines()
        .find_map(|line| line.strip_prefix("# "))
        .expect("it is armed")
        .to_owned();
    client.expect("curl", &["-sSf", &format!("{base}/done")]);
    drop(client);
    assert_eq!(install(&room, "r1u07")["state"], "installed");
    boots_its_disk_untouched(&wire, &daemon, (&disk, MAC), "power cycled");

    let plain = installs("k").replace(&format!("disk = {{ serial = \"{DISK_SERIAL}\" }}\n"), "");
    let reload = |hosts: &str| {
        room.write_inventory(hosts);
        reload(&room);
    };
    fs::create_dir(room.path("images/debian-14")).expect("a new folder");
    for file in ["disk.zst", "image.toml"] {
        let image = |name: &str| room.path(&format!("images/{name}/{file}"));
        fs::copy(image("debian-13"), image("debian-14")).expect("a copy");
    }
    reload(&plain.replace("debian-13", "debian-14"));
    boots_its_disk_untouched(&wire, &daemon, (&disk, MAC), "another image");
    reload(&plain.replace("r1u07", "r1u99"));
    boots_its_disk_untouched(&wire, &daemon, (&disk, MAC), "renamed");
    let other = plain
        .replace("r1u07", "r1u08")
        .replace("web07", "web08")
        .replace("192.0.2.11", "192.0.2.12");
    reload(&(plain.replace(MAC, "52:54:00:00:00:17") + &other));
    boots_its_disk_untouched(&wire, &daemon, (&disk, MAC), "its MAC is another host's");

    reload(&plain);
    assert!(daemon.stop().success());
    fs::remove_dir_all(room.path("state")).expect("our own folder");
    daemon = Daemon::start(&wire, &room);
    assert_eq!(install(&room, "r1u07")["state"], "new");
    boots_its_disk_untouched(&wire, &daemon, (&disk, MAC), "the store is lost");
}

#[test]
#[ignore = "keeps `make test` within its time: make test-installs"]
fn rescue_is_a_shell_by_ssh_that_leaves_the_disk_alone() {
    let keys = tempfile::TempDir::new().expect("a temporary folder");
    let key = keys.path().join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .output()
        .expect("package openssh-client is installed");
    assert!(made.status.success(), "{}", text(&made));
    let public = fs::read_to_string(key.with_extension("pub")).expect("ssh-keygen writes it");
    let room = room(&deployed("boot = \"rescue\"\n", public.trim()));
    let wire = Wire::new();
    let daemon = Daemon::start(&wire, &room);
    let disk = room.path("disk.img");
    fs::write(&disk, talking_disk(DISK_WORDS)).expect("a new file in our own folder");
    let before = sum_of(&disk);
    let kept = DiskFile {
        file: &disk,
        serial: DISK_SERIAL,
    };
    let machine = Machine::power_on_with_disk_file(&wire, Firmware::SeaBios, MAC, kept);
    daemon.wait_for_within("the script", LOADER, |line| {
        line.is("r1u07", "sent", &["script rescue"])
    });
    daemon.wait_for_within("the keys", LIVE, |line| line.is("r1u07", "sent", &["ssh keys"]));
    machine.wait_for("rescue: no disk is mounted", LIVE);
    daemon.wait_for_within("its disks", LIVE, |line| {
        line.is("r1u07", "sent", &["word of its disks"])
    });
    let operator = wire.client_at("02:00:00:00:00:55", "192.0.2.55");
    let identity = key.to_string_lossy().into_owned();
    let seen = operator.expect(
        "ssh",
        &[
            "-i",
            &identity,
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "BatchMode=yes",
            "root@192.0.2.11",
            "cat /sys/block/vda/serial; echo; grep -c /dev/vd /proc/mounts; true",
        ],
    );
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert_eq!(
        seen.split_whitespace().collect::<Vec<_>>(),
        [DISK_SERIAL, "0"],
        "{seen}"
    );
    drop(machine);
    assert_eq!(hex(&sum_of(&disk)), hex(&before), "{}", daemon.log_tail());
}

#[test]
#[ignore = "keeps `make test` within its time: make test-installs"]
fn two_builds_of_the_live_system_are_the_same_byte_for_byte() {
    let again = tempfile::TempDir::new().expect("a temporary folder");
    let output = make_live_system(again.path());
    assert!(output.status.success(), "{}", text(&output));
    for file in ["vmlinuz", "initrd.zst", "image.toml"] {
        let sum = |folder: &Path| hex(&sum_of(&folder.join(file)));
        assert_eq!(sum(live_system()), sum(again.path()), "{file}");
    }
}

/// A small disk that is packed by zstd: the file that is served, and bytes and sum of what is in it.
fn small_image() -> (Vec<u8>, usize, String) {
    const BYTES: usize = 24 << 20;
    let mut seed = 1u32;
    let mut disk: Vec<u8> = (0..BYTES)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect();
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let (raw, packed) = (folder.path().join("disk"), folder.path().join("disk.zst"));
    fs::write(&raw, &disk).expect("room for a disk");
    let output = Command::new("zstd").arg("-q").arg(&raw).arg("-o").arg(&packed).output();
    assert!(output.expect("package zstd is installed").status.success());
    let sum = hex(&sum_of(&raw));
    (fs::read(&packed).expect("zstd writes it"), BYTES, sum)
}

/// A host that installs with nothing for cloud-init: that wants a partition table, which a small image has not.
fn installs_without_seed() -> String {
    installs("k").replace("answer = \"cloud\"\n", "")
}

/// An install that can not succeed.
struct Hopeless<'a> {
    what: &'a str,
    disk_bytes: u64,
    serial: &'a str,
    /// Whether the image is found to be wrong before anything of it is on the disk.
    is_untouched: bool,
}

const LARGE: u64 = 64 << 20;

/// Arms, powers on, and waits until the install has failed; what `hosts` says of why.
fn fails((wire, room, daemon): (&Wire, &Room, &Daemon), hopeless: &Hopeless<'_>) -> String {
    let Hopeless { what, serial, .. } = *hopeless;
    let disk = bare_disk(room, hopeless.disk_bytes);
    let before = sum_of(&disk);
    arm(room);
    let kept = DiskFile { file: &disk, serial };
    let machine = Machine::power_on_with_disk_file(wire, Firmware::SeaBios, MAC, kept);
    let failed = wait_for_failure(room).unwrap_or_else(|| panic!("{what}: {}", daemon.log_tail()));
    drop(machine);
    assert!(begins_with_zeros(&disk), "{what}");
    if hopeless.is_untouched {
        assert_eq!(hex(&sum_of(&disk)), hex(&before), "{what}");
    }
    failed["reason"].as_str().unwrap_or_default().to_owned()
}

/// Whether nobody takes half a disk for a system.
fn begins_with_zeros(disk: &Path) -> bool {
    let mut head = vec![1; 1 << 20];
    let read = File::open(disk).and_then(|mut file| file.read_exact(&mut head));
    read.expect("a disk of ours");
    head.iter().all(|byte| *byte == 0)
}

/// How a host stands with its install, once that has failed.
fn wait_for_failure(room: &Room) -> Option<Value> {
    crate::poll_machine(WRITTEN, || {
        let install = install(room, "r1u07");
        (install["state"] == "failed").then_some(install)
    })
}

fn unpacked(bytes: usize, sum: &str) -> String {
    format!(", unpacked = {{ bytes = {bytes}, sha256 = \"{sum}\" }}")
}

#[test]
fn an_install_on_another_disk_or_of_a_wrong_image_has_failed_and_says_why() {
    let (file, bytes, sum) = small_image();
    let room = room(&installs_without_seed());
    let copy = |path: &Path| fs::write(path, &file).expect("a new file");
    with_disk_image(&room, copy, &unpacked(bytes, &sum));
    let wire = Wire::new();
    let daemon = Daemon::start(&wire, &room);
    let at = (&wire, &room, &daemon);
    let hopeless = Hopeless {
        what: "another disk",
        disk_bytes: LARGE,
        serial: "ANOTHER",
        is_untouched: true,
    };
    let reason = fails(at, &hopeless);
    // What its kernel said came to us.
    let why = ask_json_with(&room, &["why", "r1u07"]);
    let logged = why[0]["log"]["lines"].as_array().cloned().unwrap_or_default();
    assert!(logged.iter().any(|line| line["tag"] == "kernel"), "{why}");
    assert!(reason.contains("ANOTHER") && reason.contains(DISK_SERIAL), "{reason}");
    // Its live system told of the disk, so whoever arms it again sees what is wrong.
    let known = arm(&room);
    assert_eq!(known["disks"][0]["serial"], "ANOTHER", "{known}");
    assert_eq!(known["disks"][0]["bytes"], LARGE, "{known}");
    assert_eq!(known["chosen"], Value::Null, "{known}");
    assert!(
        known["warning"].as_str().is_some_and(|why| why.contains("ANOTHER")),
        "{known}"
    );

    with_disk_image(&room, copy, &unpacked(bytes, &"0".repeat(64)));
    reload(&room);
    let hopeless = Hopeless {
        what: "a wrong checksum",
        serial: DISK_SERIAL,
        is_untouched: false,
        ..hopeless
    };
    let reason = fails(at, &hopeless);
    assert!(reason.contains("checksum") && reason.contains("unpacked"), "{reason}");
}

#[test]
#[ignore = "two machines more: make test-installs"]
fn an_install_on_a_small_disk_or_of_a_short_image_has_failed_and_says_why() {
    let (file, bytes, sum) = small_image();
    let room = room(&installs_without_seed());
    with_disk_image(
        &room,
        |path| fs::write(path, &file).expect("a new file"),
        &unpacked(bytes, &sum),
    );
    let wire = Wire::new();
    let daemon = Daemon::start(&wire, &room);
    let at = (&wire, &room, &daemon);
    let hopeless = Hopeless {
        what: "a disk that is too small",
        disk_bytes: 8 << 20,
        serial: DISK_SERIAL,
        is_untouched: true,
    };
    let reason = fails(at, &hopeless);
    assert!(reason.contains("too small") && reason.contains("vda"), "{reason}");

    let half = &file[..file.len() / 2];
    with_disk_image(
        &room,
        |path| fs::write(path, half).expect("a new file"),
        &unpacked(bytes, &sum),
    );
    reload(&room);
    let hopeless = Hopeless {
        what: "an image that was cut off",
        disk_bytes: LARGE,
        is_untouched: false,
        ..hopeless
    };
    let reason = fails(at, &hopeless);
    assert!(reason.contains("image"), "{reason}");
}

#[test]
#[ignore = "six machines: make test-installs"]
fn a_machine_that_loses_its_power_while_its_disk_is_written_has_failed_until_it_is_armed_again_and_is_installed_then() {
    let room = room(&installs("k"));
    with_debian(&room);
    let wire = Wire::new();
    let daemon = Daemon::start(&wire, &room);
    for percent in [10, 50, 90] {
        let disk = bare_disk(&room, DEBIAN_DISK_BYTES);
        let kept = DiskFile {
            file: &disk,
            serial: DISK_SERIAL,
        };
        arm(&room);
        let machine = Machine::power_on_with_disk_file(&wire, Firmware::SeaBios, MAC, kept);
        let reached = crate::poll_machine(WRITTEN, || {
            let install = install(&room, "r1u07");
            (install["state"] == "installing" && install["percent"].as_u64() >= Some(percent)).then_some(())
        });
        assert!(reached.is_some(), "{percent} %: {}", daemon.log_tail());
        drop(machine);
        assert!(begins_with_zeros(&disk), "{percent} %");
        let again = Machine::power_on_with_disk_file(&wire, Firmware::SeaBios, MAC, kept);
        let failed = wait_for_failure(&room).unwrap_or_else(|| panic!("{percent} %: {}", daemon.log_tail()));
        drop(again);
        let reason = failed["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("started anew"), "{percent} %: {failed}");
    }
    let disk = room.path("disk.img");
    let kept = DiskFile {
        file: &disk,
        serial: DISK_SERIAL,
    };
    let known = arm(&room);
    assert_eq!(
        (&known["chosen"], &known["warning"]),
        (&Value::from("vda"), &Value::Null),
        "{known}"
    );
    let mut machine = Machine::power_on_with_disk_file(&wire, Firmware::SeaBios, MAC, kept);
    daemon.wait_for_within("its last word", WRITTEN, |line| line.is("r1u07", "installed", &[]));
    machine.wait_for_end(LIVE);
    assert_eq!(install(&room, "r1u07")["state"], "installed");
    assert!(!begins_with_zeros(&disk));
}

/// Bytes of the pieces of an image.
const PIECE_BYTES: usize = 4 << 20;

#[test]
#[ignore = "three machines: make test-installs"]
fn a_machine_that_lost_its_power_goes_on_behind_what_stands_on_its_disk() {
    let (small, _, _) = small_image();
    // Longer than it is written in a moment, and packed it would be no bytes of a disk.
    let image: Vec<u8> = small.iter().copied().cycle().take(96 * PIECE_BYTES).collect();
    let sums: Vec<String> = image
        .chunks(PIECE_BYTES)
        .map(|piece| format!("\"{}\"", hex(&Sha256::digest(piece))))
        .collect();
    let says = format!(
        ", format = \"raw\", pieces = {{ bytes = {PIECE_BYTES}, sha256 = [{}] }}",
        sums.join(", ")
    );
    let room = room(&installs_without_seed());
    with_disk_image(&room, |file| fs::write(file, &image).expect("room for an image"), &says);
    let wire = Wire::new();
    let daemon = Daemon::start(&wire, &room);
    let disk = bare_disk(&room, 512 << 20);
    let kept = DiskFile {
        file: &disk,
        serial: DISK_SERIAL,
    };
    arm(&room);
    let machine = Machine::power_on_with_disk_file(&wire, Firmware::SeaBios, MAC, kept);
    let reached = crate::poll_machine(WRITTEN, || {
        let install = install(&room, "r1u07");
        (install["state"] == "installing" && install["percent"].as_u64() >= Some(15)).then_some(())
    });
    assert!(reached.is_some(), "{}", daemon.log_tail());
    drop(machine);
    assert!(begins_with_zeros(&disk));
    let again = Machine::power_on_with_disk_file(&wire, Firmware::SeaBios, MAC, kept);
    assert!(wait_for_failure(&room).is_some(), "{}", daemon.log_tail());
    drop(again);

    arm(&room);
    let _machine = Machine::power_on_with_disk_file(&wire, Firmware::SeaBios, MAC, kept);
    let resumed = crate::poll_machine(WRITTEN, || {
        let last = install(&room, "r1u07")["last_step"].clone();
        last.as_str()
            .is_some_and(|last| last.contains("resumed at "))
            .then_some(())
    });
    assert!(resumed.is_some(), "{}", daemon.log_tail());
    daemon.wait_for_within("its last word", WRITTEN, |line| line.is("r1u07", "installed", &[]));
    let written = fs::read(&disk).expect("a disk of ours");
    assert!(written.starts_with(&image), "what was kept is not what was ordered");
}
