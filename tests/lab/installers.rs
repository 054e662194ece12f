//! Rungs 3 and 4: what a loaded kernel goes on to fetch from us: live-boot, dracut and Debian's installer, with the scripts and answers as shipped, in the smallest inventory that is
//! sound. Each also while every place for image files is taken, and while its image is being verified.
//!
//! Kernels and initrds are those of the suites, made by `tests/live-image.sh`. A boot takes a minute: one of
//! each kind is under `firmware`, and the others are under `matrix`, for `make test-matrix`.

use super::daemon::{Daemon, ask_json};
use super::firmware::{ANSWER, KERNEL, LOADER};
use super::machine::{Firmware, Machine};
use super::namespace::{Namespace, SERVER, Wire, text};
use super::room::{HOLDER, Room, bootwright};
use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

pub const MAC: &str = "52:54:00:00:00:07";
/// What the live systems' init says.
const UP: &str = "the live system runs";
/// The least that an inventory must say.
const SMALLEST: &str = "[[subnet]]\ncidr = \"192.0.2.0/24\"\npool = [\"192.0.2.100-192.0.2.199\"]\n";

/// Something that fetches more than a kernel.
pub struct System {
    /// The medium's folder.
    pub medium: fn() -> PathBuf,
    /// The rest of its host.
    host: &'static str,
    /// Whether it fetches a file of its image, and waits for its turn.
    fetches: bool,
}

const LIVE_BOOT: System = System {
    medium: || script("live-image.sh", &["live-boot", "trixie"]),
    host: "script = \"live\"\n",
    fetches: true,
};
const DRACUT_106: System = System {
    medium: || script("live-image.sh", &["dracut", "trixie"]),
    host: "script = \"dracut-live\"\n",
    fetches: true,
};
const DRACUT_112: System = System {
    medium: || script("live-image.sh", &["dracut", "sid"]),
    host: "script = \"dracut-live\"\n",
    fetches: true,
};
const INSTALLER_HOST: &str = "script = \"debian-installer\"\nanswer = \"preseed\"\nvars = { disk = \"/dev/vda\" }\n";
pub const INSTALLER_12: System = System {
    medium: || installer("bookworm", "12"),
    host: INSTALLER_HOST,
    fetches: false,
};
const INSTALLER_13: System = System {
    medium: || installer("trixie", "13"),
    host: INSTALLER_HOST,
    fetches: false,
};

/// A release's installer: this machine's own, where it is of that release.
fn installer(suite: &str, release: &str) -> PathBuf {
    let path = format!("usr/lib/debian-installer/images/{release}/amd64/text");
    let own = Path::new("/").join(&path);
    if own.exists() {
        return own;
    }
    let package = format!("debian-installer-{release}-netboot-amd64");
    script("newer-root.sh", &[suite, &package]).join(&path)
}

/// Runs a script of tests/ that prints a path. It may install packages, and takes its time.
pub fn script(name: &str, arguments: &[&str]) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let output = Command::new(&script).args(arguments).output().expect("it is shipped");
    assert!(output.status.success(), "{name} {arguments:?}: {}", text(&output));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end())
}

/// A room with that medium as image `it`, imported as an operator would, and one place for image files.
pub fn room(medium: &Path, host: &str) -> Room {
    let room = Room::new("").with_settings("[http]\nbulk_streams = 1\n");
    let images = room.path("images");
    let added = bootwright(&[
        "image",
        "add",
        "it",
        &medium.to_string_lossy(),
        "--images",
        &images.to_string_lossy(),
    ]);
    assert!(added.status.success(), "{}", text(&added));
    let console = "cmdline = [\"console=ttyS0,115200\", \"DEBIAN_FRONTEND=text\"]";
    let who = format!("name = \"r1u07\"\nmac = \"{MAC}\"\naddress = \"192.0.2.11\"");
    room.write(
        "inventory.toml",
        &format!("{SMALLEST}[[host]]\n{who}\nimage = \"it\"\nboot = \"live\"\n{console}\n{host}{HOLDER}"),
    );
    room
}

/// What goes on meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meanwhile {
    Nothing,
    /// Every place of `bulk_streams` is taken.
    Full,
    /// The image is being written to, so it is verified again and again.
    Verified,
}

/// What goes on until it is ended.
pub struct Trouble {
    is_over: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Trouble {
    pub fn begin(meanwhile: Meanwhile, holder: &Namespace, room: &Room) -> Trouble {
        let images = room.path("images/it");
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let worker = match meanwhile {
            Meanwhile::Nothing => None,
            Meanwhile::Full => {
                let held = take_the_place(holder, &largest(&images));
                Some(std::thread::spawn(move || sip(held, &ends)))
            }
            Meanwhile::Verified => Some(std::thread::spawn(move || touch(&images, &ends))),
        };
        Trouble { is_over, worker }
    }

    pub fn end(mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            worker.join().expect("it went on to its end");
        }
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// The name of the image's largest file, which is on its way for as long as somebody wants.
fn largest(images: &Path) -> String {
    let files = fs::read_dir(images).expect("it was imported");
    let files = files.map(|entry| entry.expect("our own folder"));
    let largest = files.max_by_key(|entry| entry.metadata().expect("our own file").len());
    largest
        .expect("it has files")
        .file_name()
        .to_string_lossy()
        .into_owned()
}

/// Begins to fetch a file of the image: from here on nobody else finds a place.
fn take_the_place(holder: &Namespace, file: &str) -> TcpStream {
    let mut held = holder.enter(|| TcpStream::connect((SERVER, 80)).expect("the daemon is up"));
    let ask = format!("GET /image/it/{file} HTTP/1.1\r\nHost: x\r\n\r\n");
    held.write_all(ask.as_bytes()).expect("a request");
    let mut status = [0; 12];
    held.read_exact(&mut status).expect("the place is taken");
    assert_eq!(&status, b"HTTP/1.1 200");
    held
}

/// Takes little, but goes on: who takes nothing for a minute is cut.
fn sip(mut held: TcpStream, is_over: &AtomicBool) {
    let mut little = vec![0; 16 * 1024];
    while !is_over.load(Ordering::Relaxed) {
        held.read_exact(&mut little).expect("a slow client is not cut");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Changes the times of every artifact again and again, as whoever writes to them does.
fn touch(images: &Path, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        for entry in fs::read_dir(images).expect("it was imported") {
            let path = entry.expect("our own folder").path();
            if path.extension().is_none_or(|end| end != "toml") {
                let file = File::options().write(true).open(&path).expect("our own file");
                file.set_modified(SystemTime::now()).expect("our own file");
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Boots it from power-on until it is up, or until it has its answer.
fn comes_up(system: &System, meanwhile: Meanwhile) {
    let wire = Wire::new();
    let room = room(&(system.medium)(), system.host);
    let daemon = Daemon::start(&wire, &room);
    let holder = wire.client_at("02:00:00:00:00:55", "192.0.2.55");
    assert!(holder.gets_lease(&[]), "{}", daemon.log_tail());
    let machine = Machine::power_on(&wire, Firmware::SeaBios, MAC);
    for (what, timeout) in [("initrd", LOADER), ("kernel", KERNEL)] {
        let sent = if what == "kernel" {
            ["linux", "vmlinuz"]
        } else {
            ["initrd", "initrd"]
        };
        daemon.wait_for_within(what, timeout, |line| {
            sent.iter().any(|file| {
                line.is("r1u07", "sent", &[]) && line.file.starts_with("image it/") && line.file.contains(file)
            })
        });
    }
    // Its kernel has just begun: however late this is noticed, it asks for nothing of its image before the trouble does.
    let trouble = Trouble::begin(meanwhile, &holder, &room);
    let held = || ask_json(&room, "status")["counters"]["http_held"].as_u64();
    let before = held();
    daemon.wait_for_within("its own question for its address", ANSWER, |line| {
        line.is("r1u07", "offered", &["192.0.2.11"]) && line.stage == "system"
    });
    if !system.fetches {
        daemon.wait_for_within("the answer", ANSWER, |line| {
            line.is("r1u07", "sent", &["answer preseed.cfg"])
        });
    } else if meanwhile != Meanwhile::Nothing {
        let waits = super::poll_machine(ANSWER, || (held() > before).then_some(()));
        assert!(waits.is_some(), "nobody waits for the image\n{}", daemon.log_tail());
        assert!(!machine.console().contains(UP), "it did not wait");
    }
    trouble.end();
    if system.fetches {
        machine.wait_for(UP, ANSWER);
    }
}

/// The boots of `make test`.
mod firmware {
    use super::*;

    #[test]
    fn debian_13s_installer_goes_on_to_its_answer_without_a_name_server_or_a_router() {
        comes_up(&INSTALLER_13, Meanwhile::Nothing);
    }

    #[test]
    fn live_boot_waits_for_its_root_while_every_place_is_taken() {
        comes_up(&LIVE_BOOT, Meanwhile::Full);
    }

    #[test]
    fn dracut_112_has_a_network_and_waits_for_its_root_while_that_is_verified() {
        comes_up(&DRACUT_112, Meanwhile::Verified);
    }
}

/// Every system, whatever goes on.
mod matrix {
    use super::*;

    /// The tests of a system that are not in `make test`.
    macro_rules! comes_up_while {
        ($($name:ident: $system:expr, $meanwhile:ident;)*) => {$(
            #[test]
            #[ignore = "a minute each: make test-matrix"]
            fn $name() {
                comes_up(&$system, Meanwhile::$meanwhile);
            }
        )*};
    }

    comes_up_while! {
        live_boot: LIVE_BOOT, Nothing;
        live_boot_while_its_root_is_verified: LIVE_BOOT, Verified;
        dracut_106: DRACUT_106, Nothing;
        dracut_106_while_every_place_is_taken: DRACUT_106, Full;
        dracut_106_while_its_root_is_verified: DRACUT_106, Verified;
        dracut_112: DRACUT_112, Nothing;
        dracut_112_while_every_place_is_taken: DRACUT_112, Full;
        debian_12s_installer: INSTALLER_12, Nothing;
        debian_13s_installer_while_every_place_is_taken: INSTALLER_13, Full;
        debian_13s_installer_while_its_image_is_verified: INSTALLER_13, Verified;
    }
}
