//! Rung 4: real firmware, to the point where the installer's own userland fetched its answer.
//!
//! The emulation is slow, so the limits are wide: a machine takes one to two minutes to its answer on two cores that
//! nobody else uses. Where others do, what it waits for them is not counted ([`super::poll_machine`]).

mod captures;
mod causes;
mod deploy;

use super::daemon::{Daemon, Line, ask_json};
use super::machine::{Firmware, MEMORY_MB, Machine};
use super::namespace::{SERVER, Wire};
use super::room::{HOLDER, Room};
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// From power-on to the loader's first question: OVMF alone takes 25 s.
pub const LOADER: Duration = Duration::from_secs(120);
/// From the script to the kernel's and the initrd's last byte.
pub const KERNEL: Duration = Duration::from_secs(120);
/// From there to the answer: the kernel, the hardware detection and DHCP of the installer.
pub const ANSWER: Duration = Duration::from_secs(300);

/// One worker, as the shipped inventory has it.
pub const WORKER: &str = r#"
[profile.worker]
image   = "debian-12"
boot    = "live"
script  = "debian-installer"
answer  = "preseed"
cmdline = ["console=ttyS0,115200", "DEBIAN_FRONTEND=text"]

[[host]]
name    = "r1u07"
mac     = "52:54:00:00:00:07"
address = "192.0.2.11"
profile = "worker"
vars    = { disk = "/dev/vda" }

[[host]]
name    = "r1u08"
mac     = "52:54:00:00:00:08"
address = "192.0.2.12"
boot    = "local"
"#;

/// Waits for each step of a worker from its loader, where it needs one, to its initrd's last byte.
pub fn boots_to_the_kernel(daemon: &Daemon, machine: &str, loader: Option<&str>) {
    if let Some(loader) = loader {
        // As a guest we do not know whose address it is that asks.
        let sent = format!("loader {loader}");
        daemon.wait_for_within("the loader", LOADER, |line| line.event == "sent" && line.file == sent);
    }
    for (what, timeout, file) in [
        ("the script", LOADER, "script debian-installer"),
        ("the kernel", KERNEL, "/linux"),
        ("the initrd", KERNEL, "/initrd.gz"),
    ] {
        daemon.wait_for_within(what, timeout, |line| {
            line.is(machine, "sent", &[]) && line.file.ends_with(file)
        });
    }
}

/// Boots the worker and waits for each step. `stage` is what its first packet shows; `loader` is the file the firmware must be given, and
/// `None` where the NIC has iPXE already.
fn boot_to_the_answer(firmware: Firmware, stage: &str, loader: Option<&str>) {
    let wire = Wire::new();
    let room = Room::new(WORKER).with_debian();
    let daemon = Daemon::start(&wire, &room);
    let _machine = Machine::power_on(&wire, firmware, "52:54:00:00:00:07");
    daemon.wait_for_within("the first offer", LOADER, |line| {
        line.is("r1u07", "offered", &[]) && line.stage == stage
    });
    boots_to_the_kernel(&daemon, "r1u07", loader);
    for (what, timeout, event, value) in [
        ("the reservation", LOADER, "acknowledged", "192.0.2.11"),
        ("the answer", ANSWER, "sent", "answer preseed.cfg"),
    ] {
        daemon.wait_for_within(what, timeout, |line| line.is("r1u07", event, &[value]));
    }
    // The installer's own log comes to us by the shipped script.
    let logged = super::poll(super::SOON, || {
        let why = super::daemon::ask_json_with(&room, &["why", "r1u07"]);
        let lines = why[0]["log"]["lines"].as_array()?.clone();
        lines.iter().any(|line| line["tag"].is_string()).then_some(())
    });
    assert!(logged.is_some(), "{}", daemon.log_tail());
    if loader.is_none() {
        // What its iPXE told of it with its script.
        let facts = super::daemon::ask_json_with(&room, &["why", "r1u07"])[0]["facts"].clone();
        assert_eq!(
            (&facts["memory_mib"], &facts["chip"]),
            (&MEMORY_MB.into(), &"virtio-net".into()),
            "{facts}"
        );
    }
    // Without this word it would have waited for a router before it fetched its script. From 1.21.1 on iPXE fetches
    // ours by its autoexec.ipxe, and waits for no router there.
    let lines = daemon.lines();
    let first = |event: &str, values: &[&str]| lines.iter().position(|line| line.is("r1u07", event, values));
    let told = first("no_ipv6_router", &[]);
    let script = first("sent", &["script debian-installer"]);
    let autoexec = first("sent", &["autoexec.ipxe"]);
    let before_the_script = |line: Option<usize>| line.is_some_and(|line| Some(line) < script);
    assert!(
        before_the_script(told) || before_the_script(autoexec),
        "{told:?} {autoexec:?} {script:?}\n{}",
        daemon.log_tail()
    );
    if loader.is_none() {
        let second = daemon
            .lines()
            .into_iter()
            .find(|line| line.event == "sent" && line.file.starts_with("loader "));
        assert!(second.is_none(), "an iPXE got a second loader: {second:?}");
    }
}

#[test]
fn seabios_with_its_own_ipxe_boots_to_the_installers_answer() {
    boot_to_the_answer(Firmware::SeaBios, "ipxe", None);
}

#[test]
fn ovmf_pxe_boots_through_snponly_to_the_installers_answer() {
    boot_to_the_answer(Firmware::OvmfPxe, "uefi-pxe", Some("snponly.efi"));
}

#[test]
fn ovmf_http_boot_boots_to_the_installers_answer() {
    boot_to_the_answer(Firmware::OvmfHttp, "uefi-http", Some("snponly.efi"));
}

#[test]
fn case_40_an_ipxe_that_is_told_to_come_back_waits_and_boots() {
    let wire = Wire::new();
    let room = Room::new(&format!("{WORKER}{HOLDER}"))
        .with_debian()
        .with_settings("[http]\nbulk_streams = 1\n");
    let daemon = Daemon::start(&wire, &room);
    // A client that takes little, but goes on: it holds the only place until it is let go.
    let holder = wire.client_at("02:00:00:00:00:55", "192.0.2.55");
    assert!(holder.gets_lease(&[]), "{}", daemon.log_tail());
    let mut held = holder.enter(|| TcpStream::connect((SERVER, 80)).expect("the daemon is up"));
    let ask = b"GET /image/debian-12/initrd.gz HTTP/1.1\r\nHost: x\r\n\r\n";
    held.write_all(ask).expect("a request");
    let mut little = vec![0; 64 * 1024];
    held.read_exact(&mut little).expect("the place is taken");
    let _machine = Machine::power_on(&wire, Firmware::SeaBios, "52:54:00:00:00:07");
    let is_told = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_told.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(500));
                held.read_exact(&mut little).expect("a slow client is not cut");
            }
        });
        let tells = |line: &Line| line.has("image_files_wait", &[("machine", "r1u07")]);
        let told = super::poll_machine(LOADER, || daemon.lines().into_iter().find(tells));
        is_told.store(true, Ordering::Relaxed);
        assert!(told.is_some_and(|line| line.level == "WARN"), "{}", daemon.log_tail());
    });
    let early = daemon
        .lines()
        .into_iter()
        .find(|line| line.is("r1u07", "sent", &[]) && line.file.starts_with("image "));
    assert!(early.is_none(), "the only place was not taken: {early:?}");
    drop(held);
    for file in ["initrd.gz", "linux"] {
        daemon.wait_for_within("the image", KERNEL, |line| {
            line.is("r1u07", "sent", &[]) && line.file.ends_with(file)
        });
    }
}

/// [`WORKER`] with other loaders, and a parameter that only this host has and that GRUB's shell would make
/// four things of.
pub const OTHER_LOADERS: &str = r#"
[[host]]
name    = "r1u07"
mac     = "52:54:00:00:00:07"
address = "192.0.2.11"
image   = "debian-12"
boot    = "live"
script  = "debian-installer"
answer  = "preseed"
loader  = ["shimx64.efi", "lpxelinux.0"]
cmdline = ["console=ttyS0,115200", "lab=nocloud;s=$r1u07|#{1}", 'lab.words="two words"']
vars    = { disk = "/dev/vda" }
"#;

/// Boots the worker with the loader that the inventory names, to a kernel that has that host's parameters:
/// `words` is what they look like on the console.
fn boot_another_loader(firmware: Firmware, stage: &str, loaders: [&str; 2], dialect: &str, words: &[&str]) {
    let wire = Wire::new();
    let room = Room::new(OTHER_LOADERS).with_debian().with_other_loaders();
    let daemon = Daemon::start(&wire, &room);
    let listed = ask_json(&room, "hosts");
    assert_eq!(listed[0]["loaders"], serde_json::json!(["shimx64.efi", "lpxelinux.0"]));
    let machine = Machine::power_on(&wire, firmware, "52:54:00:00:00:07");
    daemon.wait_for_within("the offer", LOADER, |line| {
        line.is("r1u07", "offered", &["192.0.2.11", "loader", loaders[0]]) && line.stage == stage
    });
    loads_another_loader(&daemon, stage, loaders, dialect);
    machine.wait_for("Kernel command line: ", KERNEL);
    for words in words {
        machine.wait_for(words, KERNEL);
    }
}

/// Waits for each step of r1u07 from its loader, `first`, which fetches `second` for itself, to its initrd's
/// last byte.
pub fn loads_another_loader(daemon: &Daemon, stage: &str, [first, second]: [&str; 2], dialect: &str) {
    let step = |what: &str, stage: &str, file: &str| {
        daemon.wait_for_within(what, LOADER, |line| {
            line.is("r1u07", "sent", &[file]) && line.stage == stage
        });
    };
    step("the loader", stage, &format!("loader {first}"));
    daemon.wait_for_within("its second part", LOADER, |line| {
        line.is("r1u07", "sent", &[&format!("loader {second}")])
    });
    let script = format!("script debian-installer ({dialect})");
    step("the script", dialect, &script);
    for file in ["image debian-12/linux", "image debian-12/initrd.gz"] {
        step("the image", dialect, file);
    }
    let missing = |line: &Line| line.level == "WARN" && line.is("r1u07", "failed", &["loader_missing"]);
    let missed = daemon.lines().into_iter().find(missing);
    assert!(missed.is_none(), "it came up without: {missed:?}");
}

#[test]
fn ovmf_with_secure_boot_goes_through_shim_and_signed_grub_to_the_hosts_own_kernel_parameters() {
    boot_another_loader(
        Firmware::OvmfSecureBoot,
        "uefi-pxe",
        ["shimx64.efi", "grubx64.efi"],
        "grub",
        &[
            "Secure boot enabled",
            " lab=nocloud;s=$r1u07|#{1} \"lab.words=two words\"",
            "url=http://192.0.2.1/answer/r1u07/preseed.cfg",
        ],
    );
}

#[test]
fn seabios_goes_through_lpxelinux_to_the_hosts_own_kernel_parameters() {
    boot_another_loader(
        Firmware::SeaBiosPxe,
        "bios-pxe",
        ["lpxelinux.0", "ldlinux.c32"],
        "pxelinux",
        &[
            " lab=nocloud;s=$r1u07|#{1} lab.words=\"two words\"",
            "url=http://192.0.2.1/answer/r1u07/preseed.cfg",
            "initrd=http://192.0.2.1/image/debian-12/initrd.gz",
        ],
    );
}

#[test]
fn a_machine_that_nobody_listed_shows_who_it_is() {
    let wire = Wire::new();
    let room = Room::new(WORKER).with_debian();
    let daemon = Daemon::start(&wire, &room);
    let machine = Machine::power_on(&wire, Firmware::SeaBios, "52:54:00:00:00:99");
    daemon.wait_for_within("the unknown machine's script", LOADER, |line| {
        line.is("52-54-00-00-00-99", "sent", &["script unknown"])
    });
    machine.wait_for("does not know this machine", LOADER);
    machine.wait_for("52:54:00:00:00:99", LOADER);
}

#[test]
fn a_machine_told_to_boot_its_disk_boots_its_disk() {
    let wire = Wire::new();
    let room = Room::new(WORKER).with_debian();
    let daemon = Daemon::start(&wire, &room);
    let words = "this is the local disk";
    let machine = Machine::power_on_with_disk(&wire, Firmware::SeaBios, "52:54:00:00:00:08", words);
    daemon.wait_for_within("the reservation", LOADER, |line| {
        line.is("r1u08", "acknowledged", &["192.0.2.12", "disk"])
    });
    machine.wait_for(words, LOADER);
    let loaded = daemon.lines().into_iter().find(|line| line.event == "sent");
    assert!(loaded.is_none(), "a machine that boots its disk was sent {loaded:?}");
}

#[test]
fn uefi_that_is_told_to_boot_its_disk_leaves_the_network_at_the_first_word() {
    let wire = Wire::new();
    let room = Room::new(WORKER).with_debian();
    let daemon = Daemon::start(&wire, &room);
    let _machine = Machine::power_on(&wire, Firmware::OvmfPxe, "52:54:00:00:00:08");
    // It drops an offer without a file, so that it takes this one is all that shows that it goes on.
    daemon.wait_for_within("the reservation", LOADER, |line| {
        line.is("r1u08", "acknowledged", &["192.0.2.12", "disk"]) && line.stage == "uefi-pxe"
    });
    // The next of its boot options.
    daemon.wait_for_within("what comes next", LOADER, |line| {
        line.is("r1u08", "offered", &[]) && line.stage == "uefi-http"
    });
    let lines = daemon.lines();
    let asked = |line: &&Line| line.is("r1u08", "offered", &[]) && line.stage == "uefi-pxe";
    assert_eq!(lines.iter().filter(asked).count(), 1, "{}", daemon.log_tail());
    let loaded = lines.iter().find(|line| line.event == "sent");
    assert!(loaded.is_none(), "a machine that boots its disk was sent {loaded:?}");
}
