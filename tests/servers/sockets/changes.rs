//! A request for a file that changes what is on disk: nobody is told of the change before it is there.

use super::{
    Appliance, Hand, LISTEN, NoLog, PATIENCE, PORTS, comes_true, curl,
    disk::{Disk, Log},
    events::next_event,
};
use crate::network::own_network;
use bootwright::{
    boot::{
        arming::{ArmingChange, Fingerprint, HostRecord, HostState},
        change::Change,
        event::{Reason, Step, StoreFault},
        method::{Method, Methods},
        resource::{FileRequest, Inquiry, InventoryResources, Resources},
        world::FileWorld,
    },
    lease::{LeaseChange, LeaseTable},
    model::{
        By, InstallNews, WallTime,
        limits::{FILE_CHANGE_WRITE_TIMEOUT, HTTP_BODY_BYTES_MAX, HTTP_BODY_DISCARDED_BYTES_MAX},
    },
    state::{Clock, CommitLog, Counter, Durable, Shared},
    store::StoreError,
};
use std::{
    cell::RefCell,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

const GIVEN_UP: Change = Change::Lease(LeaseChange::Remove(Ipv4Addr::new(192, 0, 2, 100)));

/// What was asked of callbacks, and what came with it.
type Asked = Arc<Mutex<Vec<(Method, Vec<u8>)>>>;

/// A room in which `autoexec.ipxe` is a callback: whoever asks for it makes a change.
struct Callbacks(Asked, Change);

impl Resources for Callbacks {
    fn methods(&self, path: &[u8]) -> Methods {
        match path {
            b"/autoexec.ipxe" => Methods::Post,
            path => InventoryResources.methods(path),
        }
    }

    fn begin<'a>(&self, files: FileWorld<'a, '_>, request: &'a FileRequest<'a>) -> Inquiry<'a> {
        let inquiry = InventoryResources.begin(files, request);
        if !request.path.ends_with(b"autoexec.ipxe") {
            return inquiry;
        }
        self.0.lock().unwrap().push((request.method, request.body.to_vec()));
        inquiry.that_makes(self.1.clone())
    }
}

/// A disk that takes its time, and whether it has everything that was handed to it.
#[derive(Clone, Default)]
struct Slow {
    is_on_disk: Arc<AtomicBool>,
    handed_over: Arc<Mutex<Vec<Change>>>,
}

impl CommitLog for Slow {
    fn append(&self, changes: Vec<Change>) -> Result<Durable, StoreError> {
        self.handed_over.lock().unwrap().extend(changes);
        self.is_on_disk.store(false, Ordering::SeqCst);
        let is_on_disk = Arc::clone(&self.is_on_disk);
        Ok(Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            is_on_disk.store(true, Ordering::SeqCst);
            Ok(())
        }))
    }
}

struct Room {
    appliance: Appliance,
    asked: Asked,
}

impl Room {
    fn new(log: impl CommitLog + 'static) -> Room {
        Room::that_makes(log, GIVEN_UP)
    }

    /// The same, where that is the change.
    fn that_makes(log: impl CommitLog + 'static, change: Change) -> Room {
        let asked = Asked::default();
        let callbacks = Callbacks(Arc::clone(&asked), change);
        let appliance = Appliance::with_shared(&["lo"], LISTEN, |snapshot| {
            let mut shared = Shared::new(Clock::start(), snapshot, LeaseTable::default(), Box::new(log));
            shared.resources = Box::new(callbacks);
            shared
        });
        Room { appliance, asked }
    }

    /// Sends a request by hand.
    fn sent(&self, head: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", PORTS.http)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("{head} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        write!(stream, "Content-Length: {}\r\n\r\n", body.len()).unwrap();
        stream.write_all(body).unwrap();
        stream
    }
}

fn all_of(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn no_post_is_answered_before_its_change_is_on_disk() {
    own_network();
    let disk = Slow::default();
    let room = Room::new(disk.clone());
    let stream = room.sent("POST /autoexec.ipxe", b"done");
    stream.peek(&mut [0]).unwrap();
    assert!(disk.is_on_disk.load(Ordering::SeqCst), "answered before");
    let answer = all_of(stream);
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("#!ipxe"),
        "{answer}"
    );
    assert_eq!(*disk.handed_over.lock().unwrap(), [GIVEN_UP]);
    assert_eq!(*room.asked.lock().unwrap(), [(Method::Post, b"done".to_vec())]);
}

/// How a client leaves that has said what it had to say.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    /// It closes its connection, and waits for no answer.
    Closes,
    /// Its machine is switched off, or its program killed: the kernel resets the connection.
    Resets,
    /// The same, once the change is on its way to the disk.
    ClosesLater,
}

/// Sends a request and leaves.
fn says_and_leaves(head: &str, body: &str, how: Leaving) {
    let mut stream = TcpStream::connect(("127.0.0.1", PORTS.http)).unwrap();
    let length = body.len();
    let request = format!("{head} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    match how {
        Leaving::Closes => {}
        Leaving::Resets => {
            let no_wait = nix::libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &no_wait).unwrap();
        }
        Leaving::ClosesLater => std::thread::sleep(Duration::from_millis(50)),
    }
}

fn armed() -> Change {
    let record = HostRecord {
        name: "r1u07".parse().unwrap(),
        machine: Fingerprint(7),
        state: HostState::Armed { until: WallTime(7) },
        since: WallTime(1),
        by: By::Inventory,
    };
    Change::Arming(ArmingChange::Put {
        record: Arc::new(record),
        news: Some(InstallNews::Armed),
    })
}

#[test]
fn what_an_installer_says_is_carried_to_its_end_though_it_leaves_at_once() {
    own_network();
    const TIMES: usize = 20;
    let disk = Slow::default();
    let room = Room::that_makes(disk.clone(), armed());
    let listener = RefCell::new(room.appliance.shared.events.subscribe());
    for how in [Leaving::Closes, Leaving::Resets, Leaving::ClosesLater] {
        for (head, body) in [("POST /autoexec.ipxe", "done"), ("GET /callback/autoexec.ipxe", "")] {
            for _ in 0..TIMES {
                says_and_leaves(head, body, how);
            }
            let told = RefCell::new(0);
            let all_told = comes_true(|| {
                let events = std::iter::from_fn(|| listener.borrow_mut().try_next());
                *told.borrow_mut() += events.filter(|event| matches!(event.step, Step::Install(_))).count();
                *told.borrow() == TIMES
            });
            assert!(all_told, "{} of {TIMES}: {head}, {how:?}", told.borrow());
            let handed_over = std::mem::take(&mut *disk.handed_over.lock().unwrap());
            assert_eq!(handed_over, vec![armed(); TIMES], "{head}, {how:?}");
        }
    }
}

#[test]
fn a_change_that_the_disk_does_not_take_is_counted_though_who_made_it_left() {
    own_network();
    let (_disk, state) = watch::channel(Disk::Fails);
    let room = Room::new(Log(state));
    for how in [Leaving::Closes, Leaving::Resets] {
        says_and_leaves("POST /autoexec.ipxe", "done", how);
    }
    room.appliance.counted(Counter::FileChangeNotStored, 2);
}

#[test]
fn a_body_that_breaks_off_changes_nothing() {
    own_network();
    let disk = Slow::default();
    let room = Room::new(disk.clone());
    let mut stream = TcpStream::connect(("127.0.0.1", PORTS.http)).unwrap();
    write!(
        stream,
        "POST /autoexec.ipxe HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\ndone"
    )
    .unwrap();
    drop(stream);
    room.appliance.counted(Counter::HttpRefused, 1);
    assert!(room.asked.lock().unwrap().is_empty() && disk.handed_over.lock().unwrap().is_empty());
}

#[test]
fn a_change_that_the_disk_does_not_take_is_a_503_that_says_why() {
    own_network();
    let (disk, state) = watch::channel(Disk::Works);
    let room = Room::new(Log(state));
    let listener = RefCell::new(room.appliance.shared.events.subscribe());
    for (count, (now, why, expected)) in [
        (Disk::Fails, "No space left on device", StoreFault::Full),
        (
            Disk::Conflicts,
            "is not in the store as it was expected",
            StoreFault::Conflict,
        ),
        (Disk::Overrun, "too many changes wait", StoreFault::Unavailable),
        (Disk::Hangs, "the disk has not taken it within", StoreFault::Unavailable),
    ]
    .into_iter()
    .enumerate()
    {
        disk.send(now).unwrap();
        let began = Instant::now();
        let answer = all_of(room.sent("POST /autoexec.ipxe", b""));
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("\r\nRetry-After: ") && answer.contains(why), "{answer}");
        room.appliance.counted(Counter::FileChangeNotStored, count as u64 + 1);
        let is_refusal = |step: &Step| {
            let error = step.reason().and_then(Reason::not_stored);
            error.is_some_and(|error| error.fault == expected)
        };
        next_event(&listener, "change that was not stored", is_refusal);
        assert!(now != Disk::Hangs || began.elapsed() >= FILE_CHANGE_WRITE_TIMEOUT);
    }
    assert_eq!(room.appliance.count(Counter::HttpUnverified), 0);
    disk.send(Disk::Works).unwrap();
    assert!(all_of(room.sent("POST /autoexec.ipxe", b"")).starts_with("HTTP/1.1 200"));
}

#[test]
fn no_tftp_transfer_begins_before_its_change_is_on_disk() {
    own_network();
    let disk = Slow::default();
    let _room = Room::new(disk.clone());
    let hand = Hand::new();
    hand.send(b"\0\x01autoexec.ipxe\0octet\0", 69);
    let first = hand.hear_block(1);
    assert!(first.windows(6).any(|bytes| bytes == b"#!ipxe"), "{first:?}");
    assert!(disk.is_on_disk.load(Ordering::SeqCst), "answered before");
    assert_eq!(*disk.handed_over.lock().unwrap(), [GIVEN_UP]);
}

#[test]
fn a_tftp_transfer_whose_change_the_disk_does_not_take_is_an_error_that_says_why() {
    own_network();
    let (_disk, state) = watch::channel(Disk::Fails);
    let _room = Room::new(Log(state));
    let hand = Hand::new();
    hand.send(b"\0\x01autoexec.ipxe\0octet\0", 69);
    let (error, _) = hand.receive().unwrap();
    assert_eq!(error[..4], [0, 5, 0, 0]);
    let message = String::from_utf8_lossy(&error[4..]);
    assert!(message.contains("No space left on device"), "{message}");
}

#[test]
fn what_changes_nothing_waits_for_no_disk() {
    own_network();
    let (_disk, state) = watch::channel(Disk::Hangs);
    let _room = Room::new(Log(state));
    assert!(curl(&["http://127.0.0.1/snponly.efi", "-o", "/dev/null", "-w", "%{http_code}"]).ends_with("200"));
}

#[test]
fn a_path_takes_what_it_takes_and_says_so_of_everything_else() {
    own_network();
    let room = Room::new(NoLog);
    for (head, allow) in [
        ("POST /boot.ipxe", "GET, HEAD"),
        ("PUT /snponly.efi", "GET, HEAD"),
        ("GET /autoexec.ipxe", "POST"),
        ("HEAD /autoexec.ipxe", "POST"),
        ("DELETE /autoexec.ipxe", "POST"),
    ] {
        let answer = all_of(room.sent(head, b""));
        assert!(answer.starts_with("HTTP/1.1 405"), "{head}: {answer}");
        assert!(answer.contains(&format!("\r\nAllow: {allow}\r\n")), "{head}: {answer}");
    }
    assert!(room.asked.lock().unwrap().is_empty());
}

#[test]
fn a_body_has_a_limit_whether_its_length_comes_first_or_not() {
    own_network();
    let room = Room::new(NoLog);
    let most = vec![b'x'; HTTP_BODY_BYTES_MAX];
    assert!(all_of(room.sent("POST /autoexec.ipxe", &most)).starts_with("HTTP/1.1 200"));
    assert_eq!(*room.asked.lock().unwrap(), [(Method::Post, most.clone())]);
    // By its length: no byte of it is waited for.
    let mut stream = TcpStream::connect(("127.0.0.1", PORTS.http)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = HTTP_BODY_BYTES_MAX + 1;
    write!(
        stream,
        "POST /autoexec.ipxe HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
    )
    .unwrap();
    let answer = all_of(stream);
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("16384 bytes"),
        "{answer}"
    );
    // In chunks, without a length.
    let mut stream = TcpStream::connect(("127.0.0.1", PORTS.http)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "POST /autoexec.ipxe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .unwrap();
    write!(stream, "{:x}\r\n", most.len()).unwrap();
    stream.write_all(&most).unwrap();
    stream.write_all(b"\r\n1\r\nx\r\n").unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    assert_eq!(room.asked.lock().unwrap().len(), 1);
}

#[test]
fn no_path_of_the_inventory_takes_anything() {
    own_network();
    let _appliance = Appliance::with_log(&["lo"], LISTEN, Box::new(NoLog));
    for path in ["autoexec.ipxe", "boot.ipxe", "snponly.efi", "boot/r1u07/done"] {
        let answer = curl(&["-X", "POST", "-d", "done", &format!("http://127.0.0.1/{path}")]);
        assert!(
            answer.starts_with("HTTP/1.1 405") && answer.contains("\r\nAllow: GET, HEAD\r\n"),
            "{answer}"
        );
    }
}

#[test]
fn who_sends_too_much_is_told_the_limit_of_that_path() {
    own_network();
    let _appliance = Appliance::with_log(&["lo"], LISTEN, Box::new(NoLog));
    for (path, max) in [
        ("answer", HTTP_BODY_BYTES_MAX),
        ("disks/r1u07", HTTP_BODY_BYTES_MAX),
        ("callback/r1u07/30/started", HTTP_BODY_DISCARDED_BYTES_MAX),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", PORTS.http)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = max + 1;
        write!(
            stream,
            "POST /{path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
        )
        .unwrap();
        let answer = all_of(stream);
        let is_said = answer.contains(&format!("longer than the {max} bytes"));
        assert!(answer.starts_with("HTTP/1.1 413") && is_said, "{path}: {answer}");
    }
}
