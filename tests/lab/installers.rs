//! Rungs 3 and 4: what a loaded kernel goes on to fetch from us: live-boot, dracut, Debian's installer and
//! cloud-init of newer suites, with the scripts and answers as shipped, in the smallest inventory that is
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

const MAC: &str = "52:54:00:00:00:07";
/// What the live systems' init says.
const UP: &str = "the live system runs";
/// The least that an inventory must say.
const SMALLEST: &str = "[[subnet]]\ncidr = \"192.0.2.0/24\"\npool = [\"192.0.2.100-192.0.2.199\"]\n";

/// Something that fetches more than a kernel.
struct System {
    /// The medium's folder.
    medium: fn() -> PathBuf,
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
const INSTALLER_12: System = System {
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
fn script(name: &str, arguments: &[&str]) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let output = Command::new(&script).args(arguments).output().expect("it is shipped");
    assert!(output.status.success(), "{name} {arguments:?}: {}", text(&output));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end())
}

/// A room with that medium as image `it`, imported as an operator would, and one place for image files.
fn room(medium: &Path, host: &str) -> Room {
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
enum Meanwhile {
    Nothing,
    /// Every place of `bulk_streams` is taken.
    Full,
    /// The image is being written to, so it is verified again and again.
    Verified,
}

/// What goes on until it is ended.
struct Trouble {
    is_over: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Trouble {
    fn begin(meanwhile: Meanwhile, holder: &Namespace, room: &Room) -> Trouble {
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

    fn end(mut self) {
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

/// cloud-init in a copy of its suite's root: what it asks for, and what it makes of it.
const CLOUD_INIT: &str = r#"
mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work /mnt/root || exit 1
mount -t overlay overlay -o "lowerdir=$0,upperdir=/mnt/upper,workdir=/mnt/work" /mnt/root || exit 1
cd /mnt/root && mount -t proc proc proc && mount -t sysfs sysfs sys && mount --bind /dev dev && mount -t tmpfs tmpfs run || exit 1
printf 'datasource_list: [NoCloud]\nnetwork: {config: disabled}\ncloud_init_modules: []\n' > etc/cloud/cloud.cfg.d/99-lab.cfg
export DEBUG_PROC_CMDLINE="ro autoinstall ds=nocloud;s=$1"
chroot . cloud-init init > /mnt/printed 2>&1 || { cat /mnt/printed; exit 1; }
chroot . cloud-init schema --system > /mnt/printed 2>&1 || { cat /mnt/printed; exit 1; }
echo "instance $(cat var/lib/cloud/data/instance-id)"
chroot . cat /var/lib/cloud/instance/user-data.txt
"#;

fn cloud_init_reads_its_answer(suite: &str, meanwhile: Meanwhile) {
    let root = script("newer-root.sh", &[suite, "cloud-init"]);
    let wire = Wire::new();
    let host = "script = \"live\"\nanswer = \"autoinstall\"\nvars = { disk = \"/dev/vda\" }\n";
    let room = room(&(INSTALLER_12.medium)(), host);
    let daemon = Daemon::start(&wire, &room);
    let holder = wire.client_at("02:00:00:00:00:55", "192.0.2.55");
    assert!(holder.gets_lease(&[]), "{}", daemon.log_tail());
    let client = wire.client_at(MAC, "192.0.2.11");
    let trouble = Trouble::begin(meanwhile, &holder, &room);
    let base = format!("http://{SERVER}/answer/r1u07/");
    let root = root.to_string_lossy();
    let apart = [
        "--mount",
        "--uts",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        CLOUD_INIT,
    ];
    let printed = client.expect("unshare", &[&apart[..], &[&root, &base]].concat());
    trouble.end();
    let user_data = client.expect("curl", &["-sSf", &format!("{base}user-data")]);
    assert!(user_data.starts_with(b"#cloud-config\n"));
    let expected = ["instance r1u07\n".as_bytes(), &user_data].concat();
    assert_eq!(String::from_utf8_lossy(&printed), String::from_utf8_lossy(&expected));
    // It repeats what it was refused, a second apart: then the boot waits for nothing.
    let asked = || {
        daemon
            .lines()
            .into_iter()
            .filter(|line| line.machine == "r1u07" && line.file.starts_with("answer "))
    };
    let refused: Vec<_> = asked().filter(|line| line.event == "failed").collect();
    assert!(refused.is_empty(), "{refused:?}");
    for (file, times) in [
        ("network-config", 1),
        ("meta-data", 1),
        ("vendor-data", 1),
        ("user-data", 2),
    ] {
        let answer = format!("answer {file}");
        let count = asked()
            .filter(|line| line.event == "sent" && line.file == answer)
            .count();
        assert_eq!(count, times, "{file}\n{}", daemon.log_tail());
    }
}

#[test]
fn cloud_init_26_takes_its_answer_at_once_while_image_files_have_to_be_waited_for() {
    for meanwhile in [Meanwhile::Nothing, Meanwhile::Full, Meanwhile::Verified] {
        cloud_init_reads_its_answer("sid", meanwhile);
    }
}

#[test]
fn cloud_init_25_takes_its_answer_at_once() {
    cloud_init_reads_its_answer("trixie", Meanwhile::Nothing);
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
