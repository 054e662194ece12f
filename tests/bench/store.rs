//! What a commit costs in three kinds of store, and what is left behind a SIGKILL: the store as it is (a journal
//! in front of redb), a journal in front of a sorted file that is written whole, and redb alone.
//!
//! `make bench-store` runs it, in about four minutes. Each row is a process of its own: it fills the store, commits
//! for a bounded time, says what that took, and is killed; then the store is opened and its leases are read. The
//! attempts are what a daemon is to keep of machines' boots: 20,000 of 2 KB, the oldest making room for each new
//! one. The CPU of a commit is nearly all the disk's sync; what is the store's own is measured in memory (/dev/shm),
//! over so many commits that what a journal moves elsewhere once it is long is in it.

use bootwright::{
    lease::{LeaseChange, LeaseRecord},
    model::{MacAddr, WallTime, limits::STORE_JOURNAL_BYTES_MAX},
    store::{self, Write},
};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use redb::{Database, ReadableDatabase, TableDefinition};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, BufWriter, Read, Write as _},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const LEASES: u32 = 10_000;
const ATTEMPTS: u32 = 20_000;
const ATTEMPT_BYTES: usize = 2048;
const TIME: Duration = Duration::from_secs(1);
/// Commits in memory: what is written meanwhile moves out of every journal.
const COMMITS: u32 = 20_000;
const RUNS: usize = 3;
const ENGINES: [&str; 3] = ["journal+redb", "journal+file", "redb"];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "row") {
        Some(at) => row(&arguments[at + 1..]),
        None => table(),
    }
}

/// One engine with one load, as its process measured it.
struct Row {
    commits_per_s: u64,
    cpu_us: u64,
    slowest_ms: u64,
    memory_mib: u64,
    open_ms: u64,
    files_mib: f64,
}

fn table() {
    // The disk that the build is on: a folder for temporary files may be memory, where a sync costs nothing.
    let disk = Path::new(env!("CARGO_TARGET_TMPDIR"));
    println!("medians of {RUNS} interleaved runs of {} s a row", TIME.as_secs());
    println!(
        "{:14} {:>8} {:>6} {:>9} {:>8} {:>10} {:>11} {:>8} {:>9} {:>10}",
        "store",
        "attempts",
        "leases",
        "commits/s",
        "CPU, us",
        "its own",
        "slowest, ms",
        "RAM, MiB",
        "open, ms",
        "files, MiB"
    );
    for (attempts, leases) in [(false, 1), (false, 8), (false, 64), (true, 1), (true, 8), (true, 64)] {
        let mut rows = ENGINES.map(|_| Vec::new());
        for _ in 0..RUNS {
            for (engine, rows) in ENGINES.iter().zip(&mut rows) {
                rows.push(measure(disk, engine, attempts, (leases, u32::MAX)));
            }
        }
        for (engine, rows) in ENGINES.iter().zip(&rows) {
            let in_memory = measure(Path::new("/dev/shm"), engine, attempts, (leases, COMMITS));
            let median = |of: fn(&Row) -> f64| {
                let mut all: Vec<f64> = rows.iter().map(of).collect();
                all.sort_by(f64::total_cmp);
                all[all.len() / 2]
            };
            println!(
                "{engine:14} {:>8} {leases:>6} {:>9} {:>8} {:>10} {:>11} {:>8} {:>9} {:>10.1}",
                if attempts { "20,000" } else { "none" },
                median(|row| row.commits_per_s as f64),
                median(|row| row.cpu_us as f64),
                in_memory.cpu_us,
                median(|row| row.slowest_ms as f64),
                median(|row| row.memory_mib as f64),
                median(|row| row.open_ms as f64),
                median(|row| row.files_mib),
            );
        }
    }
}

fn measure(disk: &Path, engine: &str, attempts: bool, (leases, commits): (u32, u32)) -> Row {
    let folder = tempfile::tempdir_in(disk).expect("a temporary folder");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "row",
            engine,
            &attempts.to_string(),
            &leases.to_string(),
            &commits.to_string(),
        ])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program runs again");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("its output is ours");
    BufReader::new(stdout).read_line(&mut line).expect("its line");
    child.kill().expect("it is ours");
    child.wait().expect("it ended");
    let numbers: Vec<u64> = line.split_whitespace().map(|word| word.parse().expect(&line)).collect();
    let &[commits_per_s, cpu_us, slowest_ms, memory_mib] = numbers.as_slice() else {
        panic!("{engine}: {line:?}")
    };
    let files = fs::read_dir(folder.path()).expect("its folder");
    let bytes: u64 = files
        .flatten()
        .map(|file| file.metadata().map_or(0, |file| file.len()))
        .sum();
    let began = Instant::now();
    let opened = open(engine, folder.path());
    assert_eq!(opened.count(b"lease/"), LEASES as usize, "{engine} lost leases");
    Row {
        commits_per_s,
        cpu_us,
        slowest_ms,
        memory_mib,
        open_ms: began.elapsed().as_millis() as u64,
        files_mib: bytes as f64 / f64::from(1 << 20),
    }
}

/// The process of a row.
fn row(arguments: &[String]) {
    let [engine, attempts, leases, most, folder] = arguments else {
        panic!("{arguments:?}")
    };
    let attempts: bool = attempts.parse().expect("a bool");
    let [leases, most]: [u32; 2] = [leases, most].map(|number| number.parse().expect("a number"));
    let mut engine = open(engine, Path::new(folder));
    for first in (0..LEASES).step_by(1000) {
        engine.commit(&(first..first + 1000).map(lease).collect::<Vec<Write>>());
    }
    let kept = if attempts { ATTEMPTS } else { 0 };
    for first in (0..kept).step_by(100) {
        engine.commit(&(first..first + 100).map(attempt).collect::<Vec<Write>>());
    }
    let (began, cpu) = (Instant::now(), cpu_us());
    let (mut commits, mut next, mut slowest) = (0, 0, Duration::ZERO);
    while commits < most && (most != u32::MAX || began.elapsed() < TIME) {
        let mut writes: Vec<Write> = (0..leases).map(|offset| lease((next + offset) % LEASES)).collect();
        next += leases;
        if attempts {
            writes.push(attempt(kept + commits));
            writes.push(Write::Delete {
                key: attempt_key(commits),
            });
        }
        let start = Instant::now();
        engine.commit(&writes);
        slowest = slowest.max(start.elapsed());
        commits += 1;
    }
    let per_s = f64::from(commits) / began.elapsed().as_secs_f64();
    let cpu = (cpu_us() - cpu) / i64::from(commits);
    // Once in a while somebody waits for it, which may not have been in this time.
    let start = Instant::now();
    engine.move_journal();
    slowest = slowest.max(start.elapsed());
    println!("{} {cpu} {} {}", per_s as u64, slowest.as_millis(), memory_mib());
    std::io::stdout().flush().expect("somebody reads");
    std::thread::sleep(Duration::from_secs(600));
}

fn cpu_us() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask for its own");
    usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
}

fn memory_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

fn lease(number: u32) -> Write {
    let [.., a, b] = number.to_be_bytes();
    store::records::leases::write(&LeaseChange::Put(LeaseRecord {
        address: Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number),
        client: MacAddr([0x52, 0x54, 0, 0, a, b]).into(),
        expires: WallTime(1_800_000_000),
    }))
}

fn attempt_key(number: u32) -> Vec<u8> {
    [b"attempt/", &number.to_be_bytes()[..]].concat()
}

/// Bytes that differ from one to the next.
fn attempt(number: u32) -> Write {
    let seed = Sha256::digest(number.to_be_bytes());
    Write::Put {
        key: attempt_key(number),
        value: seed.iter().copied().cycle().take(ATTEMPT_BYTES).collect(),
    }
}

trait Engine {
    fn commit(&mut self, writes: &[Write]);
    fn count(&self, prefix: &[u8]) -> usize;
    /// Does what it does once its journal is long; nothing where that is short anyway.
    fn move_journal(&mut self) {}
}

fn open(engine: &str, folder: &Path) -> Box<dyn Engine> {
    match engine {
        "journal+redb" => Box::new(AsItIs(store::open(folder).expect("it opens").store)),
        "journal+file" => Box::new(SortedFile::open(folder)),
        "redb" => Box::new(Redb::open(&folder.join("bare.redb"))),
        other => panic!("no engine {other}"),
    }
}

struct AsItIs(Arc<dyn store::Store>);

impl Engine for AsItIs {
    fn commit(&mut self, writes: &[Write]) {
        self.0.commit(writes).expect("the disk takes it");
    }

    fn count(&self, prefix: &[u8]) -> usize {
        self.0.scan(prefix).expect("the disk gives it").len()
    }
}

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("entries");

/// With the settings of the store as it is.
struct Redb(Database);

impl Redb {
    fn open(path: &Path) -> Redb {
        let database = Database::builder()
            .set_cache_size(16 * 1024 * 1024)
            .set_check_integrity_on_open(true)
            .create(path);
        Redb(database.expect("it opens"))
    }
}

impl Engine for Redb {
    fn commit(&mut self, writes: &[Write]) {
        let transaction = self.0.begin_write().expect("it begins");
        {
            let mut table = transaction.open_table(TABLE).expect("the table");
            for write in writes {
                match write {
                    Write::Put { key, value } => drop(table.insert(key.as_slice(), value.as_slice()).expect("put")),
                    Write::Delete { key } => drop(table.remove(key.as_slice()).expect("removed")),
                }
            }
        }
        transaction.commit().expect("the disk takes it");
    }

    fn count(&self, prefix: &[u8]) -> usize {
        let transaction = self.0.begin_read().expect("it begins");
        let table = transaction.open_table(TABLE).expect("the table");
        let entries = table.range(prefix..).expect("a range");
        entries
            .map(|entry| entry.expect("the disk gives it").0.value().to_vec())
            .take_while(|key| key.starts_with(prefix))
            .count()
    }
}

/// All entries in memory; a journal, and a file of all of them in their order that is written whole once the
/// journal is long: as long as that file, so that no byte is written more than about thrice.
struct SortedFile {
    folder: PathBuf,
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    journal: File,
    journal_bytes: u64,
    file_bytes: u64,
}

const PUT: u8 = 1;
const DELETE: u8 = 0;

impl SortedFile {
    fn open(folder: &Path) -> SortedFile {
        let mut entries = BTreeMap::new();
        let file = fs::read(folder.join("entries")).unwrap_or_default();
        if let Some((body, sum)) = file.split_last_chunk::<32>() {
            assert_eq!(&Sha256::digest(body)[..], sum, "the file is whole");
            take(&mut entries, body);
        }
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let mut journal = options.open(folder.join("journal")).expect("it opens");
        let mut bytes = Vec::new();
        journal.read_to_end(&mut bytes).expect("the disk gives it");
        let mut rest = bytes.as_slice();
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let Some((sum, behind)) = behind.split_first_chunk::<8>() else {
                break;
            };
            let Some((body, behind)) = behind.split_at_checked(u32::from_be_bytes(*length) as usize) else {
                break;
            };
            if Sha256::digest(body)[..8] != *sum {
                break;
            }
            take(&mut entries, body);
            rest = behind;
        }
        SortedFile {
            folder: folder.to_owned(),
            entries,
            journal,
            journal_bytes: bytes.len() as u64,
            file_bytes: file.len() as u64,
        }
    }

    fn write_file(&mut self) {
        let (next, path) = (self.folder.join("next"), self.folder.join("entries"));
        let file = File::create(&next).expect("a new file");
        let (mut sum, mut out, mut piece) = (Sha256::new(), BufWriter::with_capacity(1 << 20, &file), Vec::new());
        self.file_bytes = 32;
        for (key, value) in &self.entries {
            piece.clear();
            put(&mut piece, PUT, key, value);
            sum.update(&piece);
            out.write_all(&piece).expect("the disk takes it");
            self.file_bytes += piece.len() as u64;
        }
        out.write_all(&sum.finalize()).expect("the disk takes it");
        drop(out);
        file.sync_all().expect("the disk takes it");
        fs::rename(&next, &path).expect("the disk takes it");
        let folder = File::open(&self.folder).expect("the folder");
        folder.sync_all().expect("the disk takes it");
        self.journal.set_len(0).expect("the disk takes it");
        self.journal.sync_all().expect("the disk takes it");
        self.journal_bytes = 0;
    }
}

fn put(out: &mut Vec<u8>, kind: u8, key: &[u8], value: &[u8]) {
    out.push(kind);
    out.extend((key.len() as u16).to_be_bytes());
    out.extend((value.len() as u32).to_be_bytes());
    out.extend(key);
    out.extend(value);
}

fn take(entries: &mut BTreeMap<Vec<u8>, Vec<u8>>, mut body: &[u8]) {
    while let Some((header, rest)) = body.split_first_chunk::<7>() {
        let key_bytes = usize::from(u16::from_be_bytes([header[1], header[2]]));
        let value_bytes = u32::from_be_bytes([header[3], header[4], header[5], header[6]]) as usize;
        let (key, rest) = rest.split_at(key_bytes);
        let (value, rest) = rest.split_at(value_bytes);
        match header[0] {
            DELETE => drop(entries.remove(key)),
            _ => drop(entries.insert(key.to_vec(), value.to_vec())),
        }
        body = rest;
    }
}

impl Engine for SortedFile {
    fn move_journal(&mut self) {
        self.write_file();
    }

    fn commit(&mut self, writes: &[Write]) {
        if self.journal_bytes > self.file_bytes.max(STORE_JOURNAL_BYTES_MAX) {
            self.write_file();
        }
        let mut body = Vec::new();
        for write in writes {
            match write {
                Write::Put { key, value } => put(&mut body, PUT, key, value),
                Write::Delete { key } => put(&mut body, DELETE, key, &[]),
            }
        }
        let mut frame = (body.len() as u32).to_be_bytes().to_vec();
        frame.extend(&Sha256::digest(&body)[..8]);
        frame.extend(&body);
        self.journal.write_all(&frame).expect("the disk takes it");
        self.journal.sync_data().expect("the disk takes it");
        self.journal_bytes += frame.len() as u64;
        take(&mut self.entries, &body);
    }

    fn count(&self, prefix: &[u8]) -> usize {
        let from = self.entries.range(prefix.to_vec()..);
        from.take_while(|(key, _)| key.starts_with(prefix)).count()
    }
}
