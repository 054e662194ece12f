//! Rung 3: image files that have to be waited for, by whoever comes back and by whoever does not; racks
//! behind one address.

use super::daemon::{Daemon, ask_json};
use super::held::Held;
use super::namespace::{Namespace, SERVER, TaskTracker, Wire};
use super::room::Room;
use super::wire::hear;
use super::{SOON, poll};
use bootwright::model::limits::SHUTDOWN_TIMEOUT;
use nix::sys::signal::Signal;
use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

const INITRD: &str = "/image/debian-12/initrd.gz";
const ONE_STREAM: &str = "[http]\nbulk_streams = 1\n";
/// Machines of a rack behind one address.
const RACK: usize = 24;

fn counter(room: &Room, name: &str) -> u64 {
    ask_json(room, "status")["counters"][name].as_u64().expect("a count")
}

fn wait_for_count(room: &Room, name: &str, count: u64) {
    let counted = poll(SOON, || (counter(room, name) == count).then_some(()));
    assert!(counted.is_some(), "{name} is {} and not {count}", counter(room, name));
}

/// Programs that give up at a 503, each as live systems and installers call it; `{}` is where the file goes.
const FETCHERS: [(&str, &[&str]); 4] = [
    ("busybox", &["wget", "-q", "-O", "{}"]),
    ("wget", &["-q", "-O", "{}"]),
    ("wget", &["-q", "-U", "debian-installer", "-O", "{}"]),
    ("curl", &["-sSf", "-o", "{}"]),
];

/// Starts a program that fetches `path` into `target`.
fn fetch(client: &Namespace, (program, arguments): (&str, &[&str]), target: &Path, path: &str) -> TaskTracker {
    let mut command = client.command(program);
    let target = target.to_string_lossy().into_owned();
    command.args(arguments.iter().map(|argument| argument.replace("{}", &target)));
    command.arg(format!("http://{SERVER}{path}"));
    TaskTracker(
        command
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; tests/install-packages.sh installs it")),
    )
}

fn must_succeed(mut running: TaskTracker, what: &str) {
    let ended = poll(SOON * 3, || running.0.try_wait().expect("our own child"));
    assert!(ended.is_some_and(|status| status.success()), "{what}: {ended:?}");
}

/// The status line of what a program of that name is told, which must be said at once.
fn told(client: &Namespace, name: &str, path: &str) -> String {
    let url = format!("http://{SERVER}{path}");
    let arguments = ["-sS", "-m", "20", "-A", name, "-o", "/dev/null", "-D", "-", &url];
    String::from_utf8_lossy(&client.run("curl", &arguments).stdout).to_ascii_lowercase()
}

/// Asks by hand, and reads the head: it comes before the body can.
fn head_of(client: &Namespace, name: &str, path: &str) -> (String, TcpStream) {
    client.enter(|| {
        let mut stream = TcpStream::connect((SERVER, 80)).expect("the server listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout above zero");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: {name}\r\n\r\n").expect("the server reads");
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a whole head");
            head.push(byte[0]);
        }
        (String::from_utf8_lossy(&head).to_ascii_lowercase(), stream)
    })
}

#[test]
fn who_gives_up_at_a_503_waits_for_its_place_and_who_comes_back_is_told_to() {
    let wire = Wire::new();
    let room = Room::new("").with_debian().with_settings(ONE_STREAM);
    let daemon = Daemon::start(&wire, &room);
    let holder = wire.client_at("02:00:00:00:00:61", "192.0.2.61");
    let client = wire.client_at("02:00:00:00:00:62", "192.0.2.62");
    let first = Held::begin(&holder, INITRD);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let target = |number: usize| folder.path().join(number.to_string());
    let fetching: Vec<TaskTracker> = (0..)
        .zip(FETCHERS)
        .map(|(number, fetcher)| fetch(&client, fetcher, &target(number), INITRD))
        .collect();
    wait_for_count(&room, "http_held", FETCHERS.len() as u64);

    for name in ["iPXE/1.21.1+git", "Cloud-Init/26.2"] {
        let told = told(&client, name, INITRD);
        assert!(
            told.starts_with("http/1.1 503") && told.contains("retry-after: "),
            "{name}: {told}"
        );
    }
    // EDK2 waits 5 s for a head, GRUB half a minute for each byte: the head says already what will come.
    let length = fs::metadata(room.path("images/debian-12/initrd.gz"))
        .expect("imported")
        .len();
    for name in ["UefiHttpBoot/1.0", "GRUB 2.12-9+deb13u4"] {
        let (head, stream) = head_of(&client, name, INITRD);
        assert!(head.starts_with("http/1.1 200"), "{name}: {head}");
        assert!(
            head.contains(&format!("content-length: {length}\r\n")),
            "{name}: {head}"
        );
        drop(stream);
    }
    wait_for_count(&room, "http_held_abandoned", 2);
    daemon.wait_for("who left", |line| {
        line.level == "WARN"
            && line.event == "failed"
            && line.file == "image debian-12/initrd.gz"
            && (line.reason.as_str(), line.field("by")) == ("wait_ended", "client_left".to_owned())
    });
    daemon.wait_for("the log says it", |line| {
        line.level == "WARN" && line.has("image_files_wait", &[("reason", "bulk_streams")])
    });
    // A body that was promised comes before those that can wait.
    let (_, mut promised) = head_of(&client, "UefiHttpBoot/1.0", INITRD);
    assert!(first.end().0, "the first client was cut");
    let expected = fs::read(room.path("images/debian-12/initrd.gz")).expect("imported");
    let mut body = vec![0; expected.len()];
    promised.read_exact(&mut body).expect("the body comes in its turn");
    assert!(body == expected, "other bytes were promised");
    drop(promised);
    for (number, (running, fetcher)) in fetching.into_iter().zip(FETCHERS).enumerate() {
        must_succeed(running, &format!("{fetcher:?}\n{}", daemon.log_tail()));
        assert!(
            fs::read(target(number)).expect("fetched") == expected,
            "{fetcher:?} has other bytes"
        );
    }
    assert_eq!(
        (counter(&room, "http_busy"), counter(&room, "http_held_timeout")),
        (2, 0)
    );
}

/// An image whose disk takes longer to be verified than any test.
fn room_with_an_endless_image() -> (Room, PathBuf) {
    let room = Room::new("");
    fs::create_dir(room.path("images/big")).expect("a new folder");
    let disk = room.path("images/big/disk.img");
    let file = File::create(&disk).expect("a new file");
    file.set_len(1 << 40).expect("a file system with holes");
    let manifest = format!("disk = {{ file = \"disk.img\", sha256 = \"{}\" }}\n", "0".repeat(64));
    fs::write(room.path("images/big/image.toml"), manifest).expect("a new file in our own folder");
    (room, disk)
}

#[test]
fn who_gives_up_at_a_503_waits_while_its_image_is_verified() {
    let wire = Wire::new();
    let (room, disk) = room_with_an_endless_image();
    let daemon = Daemon::start_at_once(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:63", "192.0.2.63");
    let path = "/image/big/disk.img";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let target = folder.path().join("got");
    let fetching = fetch(&client, FETCHERS[0], &target, path);
    wait_for_count(&room, "http_held", 1);
    let ipxe = told(&client, "iPXE/2.0.0", path);
    assert!(
        ipxe.starts_with("http/1.1 503") && ipxe.contains("retry-after: "),
        "{ipxe}"
    );
    let (head, mut promised) = head_of(&client, "UefiHttpBoot/1.0", path);
    assert!(head.contains("\r\ncontent-length: 1099511627776\r\n"), "{head}");
    // A HEAD is no byte of the file, and waits for nothing.
    let url = format!("http://{SERVER}{path}");
    let asked = String::from_utf8_lossy(&client.expect("curl", &["-sSfI", "-m", "20", &url])).into_owned();
    assert!(asked.contains("Content-Length: 1099511627776"), "{asked}");

    // The operator puts another file there: who waits gets that one, once it is verified.
    let small = room.path("small.img");
    fs::write(&small, "a disk").expect("a new file in our own folder");
    let sum = Command::new("sha256sum")
        .arg(&small)
        .output()
        .expect("a part of coreutils")
        .stdout;
    let sum = String::from_utf8_lossy(&sum[..64]).into_owned();
    room.write(
        "images/big/image.toml",
        &format!("disk = {{ file = \"disk.img\", sha256 = \"{sum}\" }}\n"),
    );
    fs::rename(&small, &disk).expect("our own file");
    must_succeed(fetching, &daemon.log_tail());
    assert_eq!(fs::read(&target).expect("fetched"), b"a disk");
    // A promise that can't be kept is no whole file.
    assert_eq!(
        promised.read(&mut [0; 16]).ok().unwrap_or(0),
        0,
        "a byte of another file was sent"
    );
    daemon.wait_for("why it was cut", |line| {
        line.event == "failed" && line.file == "image big/disk.img" && line.reason.starts_with("file_changed")
    });
}

#[test]
fn so_many_wait_and_no_more_and_nobody_else_is_kept_from_booting() {
    let wire = Wire::new();
    let (room, _) = room_with_an_endless_image();
    let daemon = Daemon::start_at_once(&wire, &room);
    let crowd = wire.client_at("02:00:00:00:00:64", "192.0.2.64");
    let honest = wire.client_at("02:00:00:00:00:65", "192.0.2.65");
    let ask = b"GET /image/big/disk.img HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut waiting: Vec<TcpStream> = crowd.enter(|| {
        let connect = |_| {
            let mut stream = TcpStream::connect((SERVER, 80)).expect("the server listens");
            stream.set_read_timeout(Some(SOON)).expect("a timeout above zero");
            stream.write_all(ask).expect("the server reads");
            stream
        };
        (0..32).map(connect).collect()
    });
    wait_for_count(&room, "http_held", 32);
    let refused = told(&crowd, "Wget", "/image/big/disk.img");
    assert!(
        refused.starts_with("http/1.1 503"),
        "one address may not wait for more: {refused}"
    );
    assert_eq!(counter(&room, "http_held_timeout"), 1);
    daemon.wait_for("that too many wait", |line| {
        line.level == "WARN" && line.reason == "too_many_wait"
    });
    for path in ["/snponly.efi", "/boot.ipxe?mac=02-00-00-00-00-65"] {
        assert!(told(&honest, "iPXE/2.0.0", path).starts_with("http/1.1 200"), "{path}");
    }
    // Who leaves gives up its turn.
    waiting.truncate(30);
    wait_for_count(&room, "http_held_abandoned", 2);
    let mut late = fetch(&crowd, FETCHERS[1], Path::new("/dev/null"), "/image/big/disk.img");
    wait_for_count(&room, "http_held", 33);
    assert!(late.0.try_wait().expect("our own child").is_none(), "it waits");
    let still = waiting.pop().expect("thirty wait");
    drop((waiting, late));
    wait_for_count(&room, "http_held_abandoned", 32);
    // Whom the daemon leaves at its end has not left.
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_within("the end of the last wait", SOON + SHUTDOWN_TIMEOUT, |line| {
        let why = (line.reason.as_str(), line.field("by"));
        line.file == "image big/disk.img" && why == ("wait_ended", "stopped".to_owned())
    });
    drop(still);
}

/// Twenty-four TFTP clients of one address at once, each of which takes 20 ms for a block and gives up after
/// six seconds without one: how many got all of the file.
fn rack_by_tftp(client: &Namespace) -> usize {
    let fetch_slowly = || {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket in our own namespace");
        let request = b"\0\x01snponly.efi\0octet\0blksize\x001432\0";
        let (mut buffer, mut next, mut to) = ([0; 2048], 0_u16, (SERVER.to_owned(), 69));
        socket
            .set_read_timeout(Some(Duration::from_secs(1)))
            .expect("a timeout above zero");
        let mut silent = 0;
        let mut packet = request.to_vec();
        loop {
            let _ = socket.send_to(&packet, (to.0.as_str(), to.1));
            let Some((length, from)) = hear(&socket, &mut buffer) else {
                silent += 1;
                if silent > 6 {
                    return false;
                }
                continue;
            };
            let number = u16::from_be_bytes([buffer[2], buffer[3]]);
            match buffer[1] {
                6 if next == 0 => next = 1,
                3 if number == next => next += 1,
                // An ERROR: a place that its OACK held was needed for another, and clients give up.
                5 => return false,
                _ => continue,
            }
            silent = 0;
            to = (from.ip().to_string(), from.port());
            let [high, low] = (next - 1).to_be_bytes();
            packet = vec![0, 4, high, low];
            if buffer[1] == 3 && length < 4 + 1432 {
                let _ = socket.send_to(&packet, (to.0.as_str(), to.1));
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
    };
    client.enter(|| {
        thread::scope(|scope| {
            // The namespace is inherited by threads that are started in it.
            let clients: Vec<_> = (0..RACK).map(|_| scope.spawn(fetch_slowly)).collect();
            let ended = clients
                .into_iter()
                .map(|client| client.join().expect("no client panics"));
            ended.filter(|got_all| *got_all).count()
        })
    })
}

#[test]
fn a_rack_behind_one_address_boots_by_tftp_where_the_settings_know_of_it_and_else_the_log_names_the_key() {
    let wire = Wire::new();
    let room = Room::new("");
    // A loader that takes a client of 20 ms a block four seconds.
    fs::write(room.path("loaders/snponly.efi"), vec![7; 1432 * 200 + 9]).expect("a new file");
    room.set(
        "mode = \"dhcp\"",
        "mode = \"dhcp\"\nmachines_per_address = { \"192.0.2.66\" = 24, \"203.0.113.0/24\" = 2 }",
    );
    let daemon = Daemon::start(&wire, &room);
    let rack = wire.client_at("02:00:00:00:00:66", "192.0.2.66");
    assert_eq!(rack_by_tftp(&rack), RACK, "{}", daemon.log_tail());
    assert_eq!(counter(&room, "tftp_full"), 0);

    let unknown = wire.client_at("02:00:00:00:00:67", "192.0.2.67");
    rack_by_tftp(&unknown);
    // Who asks while others of its address have not yet answered takes their places; who asks later waits.
    let limited = counter(&room, "tftp_full") + counter(&room, "tftp_evicted");
    assert!(limited > 0, "one machine's places are no rack's");
    let line = daemon.wait_for("which address it is", |line| {
        line.has("tftp_full", &[("address", "192.0.2.67")])
    });
    assert_eq!(line.level, "WARN");
    assert_eq!(line.reason, "machines_per_address");
}

#[test]
fn a_rack_behind_one_address_gets_its_images_by_http_in_turns() {
    let wire = Wire::new();
    let room = Room::new("").with_debian();
    let daemon = Daemon::start(&wire, &room);
    let rack = wire.client_at("02:00:00:00:00:68", "192.0.2.68");
    let fetching: Vec<TaskTracker> = (0..RACK)
        .map(|_| {
            let mut command = rack.command("curl");
            // Slow enough that all of them are under way together.
            command.args([
                "-sSf",
                "--limit-rate",
                "8M",
                "-o",
                "/dev/null",
                &format!("http://{SERVER}{INITRD}"),
            ]);
            TaskTracker(command.stdout(Stdio::null()).spawn().expect("curl is installed"))
        })
        .collect();
    for running in fetching {
        must_succeed(running, &daemon.log_tail());
    }
    assert!(counter(&room, "http_held") >= 1, "eight at a time");
    assert_eq!(
        (counter(&room, "http_busy"), counter(&room, "http_held_timeout")),
        (0, 0)
    );
    daemon.wait_for("which address it is", |line| {
        let fields = [("reason", "machines_per_address"), ("address", "192.0.2.68")];
        line.level == "WARN" && line.has("image_files_wait", &fields)
    });
}
