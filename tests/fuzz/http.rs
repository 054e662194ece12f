//! What must hold of the HTTP server whatever comes in as a request: one input is what one client sends
//! before an honest request of its own.
//!
//! The server is the daemon's, on a socket; what it answers is read by a reader of our own, to the byte,
//! and so is every line that it says about it.

use super::room::Room;
use bootwright::{
    boot::{
        change::Change,
        snapshot::{Host, Hosts, Snapshot},
        verification::HashResult,
    },
    lease::LeaseTable,
    model::{SharedAddresses, text},
    net::{
        files::sealed::SealedCopies,
        http::{HttpServer, HttpThreads, buffers, bulk_places, connection_places, wait_slots},
        tasks::{Shutdown, TaskTracker},
    },
    state::{Clock, CommitLog, Counter, Durable, Shared},
    store::StoreError,
};
use socket2::SockRef;
use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{runtime::Runtime, sync::watch};
use tracing_subscriber::fmt::MakeWriter;

/// How long an answer is waited for; whoever gets none has found something.
const PATIENCE: Duration = Duration::from_secs(8);
/// Lies beside what is served, and goes to nobody.
const SECRET: &[u8] = b"nobody may read this line";
/// The honest request: it ends a head that was left open, and then the connection.
const HONEST: &[u8] = b"\r\n\r\nGET /snponly.efi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const HTTP_2: &[u8] = b"PRI * HTTP/2.0";
const STATUS: [u16; 14] = [200, 206, 304, 400, 403, 404, 405, 408, 412, 414, 416, 431, 501, 503];
const LOADER_BYTES: usize = 3000;

/// A server, its folder and its log.
pub struct Appliance {
    _runtime: Runtime,
    _stop: watch::Sender<bool>,
    _drain: Shutdown,
    _room: Room,
    shared: Arc<Shared>,
    address: SocketAddr,
    loader: Vec<u8>,
    log: Log,
}

/// What was said, as it would stand in the journal.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lines().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

struct NoLog;

impl CommitLog for NoLog {
    fn append(&self, _: Vec<Change>) -> Result<Durable, StoreError> {
        Ok(Box::pin(std::future::ready(Ok(()))))
    }
}

impl Appliance {
    pub fn start() -> Appliance {
        let log = Log::default();
        let said = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone());
        said.with_max_level(tracing::Level::DEBUG).init();
        let room = Room::new();
        let loader: Vec<u8> = (0..LOADER_BYTES).map(|n| (n * 7 + n / 251) as u8).collect();
        room.write("loaders/snponly.efi", &loader);
        room.write("secret", SECRET);
        room.write("inventory.toml", super::template::INVENTORY.as_bytes());
        let snapshot = room
            .load()
            .unwrap_or_else(|report| panic!("{}", report.render(false)))
            .snapshot;
        let shared = shared(snapshot);
        let runtime = Runtime::new().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (tasks, drain) = TaskTracker::new(stopped);
        let address = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let addresses = SharedAddresses::NONE;
            let server = HttpServer {
                sealed_copies: SealedCopies::new(Arc::clone(&shared)),
                shared: Arc::clone(&shared),
                listener,
                places: connection_places(&addresses),
                bulk: bulk_places(2, &addresses),
                wait_slots: wait_slots(&addresses),
                come_back: Arc::default(),
                hot_files: Arc::default(),
                buffers: buffers(),
                threads: HttpThreads::start(),
                links: Default::default(),
                tasks,
            };
            tokio::spawn(server.run());
            address
        });
        Appliance {
            _runtime: runtime,
            _stop: stop,
            _drain: drain,
            _room: room,
            shared,
            address,
            loader,
            log,
        }
    }

    /// Sends one input; how many answers came. Panics where a property does not hold.
    pub fn ask(&self, input: &[u8]) -> usize {
        let (said, is_cut) = self.converse(&[input, HONEST].concat());
        let mut rest = said.as_slice();
        let mut answers = 0;
        while !rest.is_empty() {
            let Some(after) = self.assert_answer(rest) else {
                assert!(is_cut, "half an answer, and then an end: {}", rest.escape_ascii());
                break;
            };
            rest = after;
            answers += 1;
        }
        // hyper leaves who begins with HTTP/2 without a word.
        let is_http_2 = input.windows(HTTP_2.len()).any(|part| part == HTTP_2);
        assert!(answers > 0 || is_cut || is_http_2, "no answer at all");
        let log = std::mem::take(&mut *self.log.lines());
        let log = String::from_utf8(log).expect("lines of text");
        let odd = log.chars().find(|c| *c != '\n' && text::steers(*c));
        assert!(odd.is_none(), "steers a terminal: {}", log.escape_debug());
        if answers == 0 || answers > 3 {
            // Whatever that was, everybody else is served.
            let (said, _) = self.converse(HONEST.trim_ascii_start());
            assert!(said.ends_with(&self.loader), "nobody is served any more");
        }
        answers
    }

    /// How often the server refused a head without looking any closer.
    pub fn malformed(&self) -> u64 {
        self.shared.counters.value(Counter::HttpMalformed)
    }

    /// Sends bytes, and reads until the server ends it; whether that was by a reset.
    fn converse(&self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        // Nothing is left of a connection, however many there are in a second.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may have been refused before all of it was sent.
        let is_refused = stream.write_all(bytes).is_err();
        let mut said = Vec::new();
        let is_cut = match stream.read_to_end(&mut said) {
            Ok(_) => is_refused,
            Err(error) => {
                let is_silent = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                assert!(!is_silent, "no end within {PATIENCE:?}: {}", said.escape_ascii());
                true
            }
        };
        (said, is_cut)
    }

    /// Reads the answer that `bytes` begin with; what follows it, or `None` where it is cut off.
    fn assert_answer<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n")?;
        let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
        let odd = head.iter().find(|byte| !matches!(byte, b'\r' | b'\n' | 0x20..=0x7e));
        assert!(odd.is_none(), "a head with {odd:?}: {}", head.escape_ascii());
        let mut lines = std::str::from_utf8(head).unwrap().split("\r\n");
        let first = lines.next().unwrap();
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| first.strip_prefix("HTTP/1.0 "));
        let status: u16 = status.and_then(|line| line.get(..3)).unwrap_or("?").parse().unwrap();
        assert!(STATUS.contains(&status), "{first}");
        let mut headers = HashMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line}"));
            let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            assert!(is_name && !name.is_empty(), "no name: {line}");
            let before = headers.insert(name.to_ascii_lowercase(), value);
            assert!(before.is_none(), "{name} twice");
        }
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        if status == 304 || rest.is_empty() || rest.starts_with(b"HTTP/1.") {
            // Of HEAD, or without a body.
            return Some(rest);
        }
        let (body, rest) = rest.split_at_checked(length)?;
        self.assert_body(status, &headers, body);
        Some(rest)
    }

    /// What goes out is what is served, to the byte, and nothing beside it.
    fn assert_body(&self, status: u16, headers: &HashMap<String, &str>, body: &[u8]) {
        let has = |part: &[u8]| body.windows(part.len()).any(|window| window == part);
        assert!(!has(SECRET), "left the folder");
        let kind = headers.get("content-type").copied().unwrap_or_default();
        match status {
            206 => {
                let range = headers["content-range"].strip_prefix("bytes ").unwrap();
                let (range, whole) = range.split_once('/').unwrap();
                let (first, last) = range.split_once('-').unwrap();
                let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                assert_eq!(body.len(), last - first + 1, "the length of a part");
                if whole == LOADER_BYTES.to_string() {
                    assert_eq!(body, &self.loader[first..=last], "other bytes");
                }
            }
            200 if body.len() == LOADER_BYTES => assert_eq!(body, self.loader, "other bytes"),
            200 if kind.starts_with("text/") => {
                let text = std::str::from_utf8(body).expect("a text");
                super::room::assert_text(text, "a script");
            }
            200 => {}
            _ => {
                let text = std::str::from_utf8(body).expect("a refusal is a text");
                super::room::assert_text(text, "a refusal");
            }
        }
    }
}

/// Every artifact was read and found sound, and the client is a listed host.
fn shared(mut snapshot: Snapshot) -> Arc<Shared> {
    let clock = Clock::start();
    let mut hosts: Vec<Host> = snapshot.hosts.iter().map(|host| Host::clone(host)).collect();
    hosts[0].address = Some(Ipv4Addr::LOCALHOST);
    snapshot.hosts = Hosts::new(hosts);
    let images = snapshot.images.clone();
    let shared = Shared::new(clock, snapshot, LeaseTable::default(), Box::new(NoLog));
    for image in images.values() {
        for artifact in image.artifacts() {
            let (path, finding) = (image.path(artifact), HashResult::Sum(artifact.sha256));
            let found = (clock.now(), &path, artifact.stamp, finding);
            shared.verification(found, |verification, (now, path, stamp, finding)| {
                verification.record(now, path, stamp, finding);
            });
        }
    }
    Arc::new(shared)
}
