//! The store as its folder sees it: SIGKILL, a second process, a broken file, a full disk.

use bootwright::lease::{ClockMark, LeaseChange, LeaseRecord, PortId, PortRecord};
use bootwright::model::{MacAddr, WallTime};
use bootwright::store::{
    self, Expected, OpenedStore, Precondition, Revision, Store, StoreError, WatchEvent, Write,
    records::{birth::Birth, calendar, checksums, leases, lost, ports},
    writer::StoreWriter,
};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Set in the processes that a test starts from its own binary.
const ROLE_FOLDER: &str = "BOOTWRIGHT_TEST_STORE";
/// The first number that a granting process takes.
const ROLE_FIRST: &str = "BOOTWRIGHT_TEST_FIRST";

/// How long a store may stay locked that nobody has open.
const LOCK_WAIT: Duration = Duration::from_secs(20);

/// Opens a store that no other process has. Until it runs its program a process that some test starts has every
/// lock of this one, so that a store that is closed meanwhile stays locked a little longer.
fn try_open(folder: &Path) -> Result<OpenedStore, StoreError> {
    let began = Instant::now();
    loop {
        match store::open(folder) {
            Err(error) if error.to_string().contains("is held by") && began.elapsed() < LOCK_WAIT => {
                std::thread::sleep(Duration::from_millis(1));
            }
            opened => return opened,
        }
    }
}

fn open(folder: &Path) -> OpenedStore {
    try_open(folder).unwrap()
}

fn record(number: u64) -> LeaseRecord {
    let address = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (number % 500) as u32);
    let [_, _, _, _, .., c, d] = number.to_be_bytes();
    LeaseRecord {
        address,
        client: MacAddr([0x52, 0x54, 0, 0, c, d]).into(),
        expires: WallTime(number),
    }
}

fn put(number: u64) -> Write {
    leases::write(&LeaseChange::Put(record(number)))
}

fn load(folder: &Path) -> Vec<LeaseRecord> {
    let (records, unreadable) = leases::load(&*open(folder).store).unwrap();
    assert_eq!(unreadable, Vec::<String>::new());
    records
}

/// Starts this test binary again, to play `role` (a test below that does nothing by itself).
fn child(role: &str, folder: &Path, first: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", role, "--nocapture", "--quiet"])
        .env(ROLE_FOLDER, folder)
        .env(ROLE_FIRST, first.to_string())
        .stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Role: grants leases through the writer, 32 at a time, and prints each once it is durable.
#[test]
fn role_grants_leases_until_it_is_killed() {
    let Some(folder) = std::env::var_os(ROLE_FOLDER) else {
        return;
    };
    let writer = StoreWriter::start(open(Path::new(&folder)).store).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let first: u64 = std::env::var(ROLE_FIRST).unwrap().parse().unwrap();
    runtime.block_on(async {
        for round in 0.. {
            let numbers = first + round * 32..first + (round + 1) * 32;
            let waiting: Vec<_> = numbers
                .map(|number| (number, writer.leases(1, move || vec![put(number)]).unwrap()))
                .collect();
            for (number, durable) in waiting {
                durable.await.unwrap();
                println!("acknowledged {number}");
            }
        }
    });
}

#[test]
fn sigkill_loses_no_acknowledged_lease() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<Ipv4Addr, u64> = BTreeMap::new();
    for kill in 0..8 {
        let mut child = child(
            "store::role_grants_leases_until_it_is_killed",
            folder.path(),
            kill as u64 * 1_000_000,
        );
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for (seen, line) in lines.enumerate() {
            let line = line.unwrap();
            if let Some(number) = line.split("acknowledged ").nth(1) {
                let number: u64 = number.parse().unwrap();
                acknowledged.insert(record(number).address, number);
            }
            if seen == 100 + kill * 77 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let kept: BTreeMap<Ipv4Addr, u64> = load(folder.path())
            .into_iter()
            .map(|record| (record.address, record.expires.0))
            .collect();
        for (address, number) in &acknowledged {
            // The process may have written later ones whose acknowledgement we never read.
            assert!(
                kept.get(address) >= Some(number),
                "kill {kill}: {address} (lease {number}) is gone"
            );
        }
        acknowledged = kept;
    }
    assert!(acknowledged.len() > 100);
}

/// Role: holds the store until its input ends.
#[test]
fn role_holds_the_store() {
    let Some(folder) = std::env::var_os(ROLE_FOLDER) else {
        return;
    };
    let _held = open(Path::new(&folder));
    println!("\nheld");
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_second_process_learns_who_holds_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let mut holder = child("store::role_holds_the_store", folder.path(), 0);
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("held")));
    let refusal = store::open(folder.path()).err().unwrap().to_string();
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(
        refusal.contains(&format!("held by process {}", holder.id())),
        "{refusal}"
    );
    assert!(try_open(folder.path()).is_ok());
}

#[test]
fn only_the_owner_and_the_group_can_read_leases() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    drop(open(&state));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    // The umask of whoever runs this may take more.
    assert_eq!(mode(&state) & 0o027, 0);
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    drop(open(&state));
    assert_eq!(mode(&state), 0o750);
    for file in std::fs::read_dir(&state).unwrap() {
        assert_eq!(mode(&file.unwrap().path()) & 0o037, 0);
    }
}

#[test]
fn a_broken_file_stands_aside_and_its_leases_are_salvaged() {
    let folder = tempfile::tempdir().unwrap();
    let writes: Vec<Write> = (0..200).map(|n| leases::write(&LeaseChange::Put(record(n)))).collect();
    open(folder.path()).store.commit(&writes).unwrap();
    let file = folder.path().join("bootwright.redb");
    let compiled = std::fs::read(&file).unwrap();
    let breakages: [(&str, Vec<u8>); 4] = [
        ("its start", [&[0xee; 64], &compiled[64..]].concat()),
        ("cut short", compiled[..compiled.len() / 2].to_vec()),
        ("no redb file", b"# not a database\n".repeat(1000)),
        (
            "every page's head",
            compiled
                .chunks(4096)
                .flat_map(|page| [&[0; 8], &page[8..]].concat())
                .collect(),
        ),
    ];
    for (what, corrupt) in breakages {
        std::fs::write(&file, &corrupt).unwrap();
        let opened = open(folder.path());
        let moved = opened.corrupt.unwrap_or_else(|| panic!("{what}: opened as if sound"));
        assert_eq!(std::fs::read(&moved.moved_to).unwrap().len(), corrupt.len(), "{what}");
        let (kept, _) = leases::load(&*opened.store).unwrap();
        let salvaged = moved.salvaged.iter().find(|salvaged| salvaged.kind == leases::NAME);
        assert_eq!(salvaged.map_or(0, |salvaged| salvaged.records), kept.len(), "{what}");
        let found = lost::load(&*opened.store).unwrap();
        assert_eq!(found, Some(lost::LossRecord::Undated), "{what}");
        if what == "its start" {
            assert_eq!(kept.len(), 200);
        }
    }
}

/// A store with 200 leases: in its database, or the last of them in its journal as after a kill.
fn kept_store(folder: &Path) {
    let writes: Vec<Write> = (0..200).map(|n| leases::write(&LeaseChange::Put(record(n)))).collect();
    open(folder).store.commit(&writes).unwrap();
}

#[test]
fn a_file_that_lost_all_it_had_is_no_beginning() {
    type Damage = fn(&Path) -> std::io::Result<()>;
    let empty: Damage = |file| std::fs::write(file, b"");
    let remove: Damage = |file| std::fs::remove_file(file);
    for (file, damage, remaining) in [
        ("bootwright.redb", empty, 0),
        ("bootwright.redb", remove, 0),
        ("bootwright.journal", empty, 200),
        ("bootwright.journal", remove, 200),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(folder.path());
        assert_eq!(opened.lost, None, "a new folder begins");
        drop(opened);
        kept_store(folder.path());
        assert_eq!(open(folder.path()).lost, None, "a clean end is a sound one");
        assert_eq!(noted_loss(folder.path()), None);
        damage(&folder.path().join(file)).unwrap();
        let opened = open(folder.path());
        let lost = opened
            .lost
            .unwrap_or_else(|| panic!("{file}: opened as if it were new"));
        assert!(lost.contains(file), "{lost}");
        assert_eq!(leases::load(&*opened.store).unwrap().0.len(), remaining, "{file}");
        drop(opened.store);
        let opened = open(folder.path());
        assert_eq!(opened.lost, None, "it is said once");
        let found = lost::load(&*opened.store).unwrap();
        assert_eq!(found, Some(lost::LossRecord::Undated), "and known from then on");
    }
}

fn noted_loss(folder: &Path) -> Option<lost::LossRecord> {
    lost::load(&*open(folder).store).unwrap()
}

#[test]
fn a_loss_is_noted_before_another_database_is_made() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    kept_store(folder.path());
    let file = folder.path().join("bootwright.redb");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/nonexistent/folder/file", &file).unwrap();
    assert!(try_open(folder.path()).is_err(), "it can't be made there");
    // As a process leaves it that was killed when it had made another.
    std::fs::remove_file(&file).unwrap();
    drop(open(other.path()));
    std::fs::copy(other.path().join("bootwright.redb"), &file).unwrap();
    assert_eq!(open(folder.path()).lost, None);
    assert_eq!(noted_loss(folder.path()), Some(lost::LossRecord::Undated));
}

#[test]
fn a_first_start_that_was_killed_lost_nothing() {
    for has_file in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lock"), b"1\n").unwrap();
        if has_file {
            std::fs::write(folder.path().join("bootwright.redb"), b"").unwrap();
        }
        assert_eq!(open(folder.path()).lost, None);
        assert_eq!(noted_loss(folder.path()), None);
    }
}

#[test]
fn the_journal_of_a_version_that_left_it_empty_lost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    kept_store(folder.path());
    let forget = Write::Delete {
        key: b"journal".to_vec(),
    };
    open(folder.path()).store.commit(&[forget]).unwrap();
    std::fs::write(folder.path().join("bootwright.journal"), b"").unwrap();
    let opened = open(folder.path());
    assert_eq!(opened.lost, None);
    assert_eq!(leases::load(&*opened.store).unwrap().0.len(), 200);
}

#[test]
fn an_unreadable_record_is_reported_and_the_others_load() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path());
    let garbage = Write::Put {
        key: b"lease/\xc0\x00\x02\x63".to_vec(),
        value: b"\x1b[31m".to_vec(),
    };
    opened
        .store
        .commit(&[leases::write(&LeaseChange::Put(record(1))), garbage])
        .unwrap();
    let (records, unreadable) = leases::load(&*opened.store).unwrap();
    assert_eq!(records, [record(1)]);
    assert_eq!(unreadable.len(), 1);
}

/// Role: fills a small disk, sees the refusal, makes room, and goes on.
#[test]
fn role_meets_a_full_disk() {
    let Some(folder) = std::env::var_os(ROLE_FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let store = open(&folder.join("state")).store;
    store.commit(&[put(1)]).unwrap();
    let filler = folder.join("filler");
    let _ = std::fs::write(&filler, vec![0; 64 * 1024 * 1024]);
    let big = |number: u64| Write::Put {
        key: number.to_be_bytes().to_vec(),
        value: vec![7; 256 * 1024],
    };
    let refused = (0..100).find_map(|number| store.commit(&[big(number)]).err());
    let refused = refused.expect("the disk never filled");
    assert!(matches!(refused, StoreError::Full(_)), "{refused:?}");
    let beneath = std::error::Error::source(&refused).and_then(|source| source.downcast_ref::<std::io::Error>());
    assert_eq!(beneath.and_then(std::io::Error::raw_os_error), Some(nix::libc::ENOSPC));
    // A restart on the full disk still knows every lease: reserved hosts must boot, and nobody's
    // address may be given to somebody else.
    drop(store);
    let store = open(&folder.join("state")).store;
    assert_eq!(leases::load(&*store).unwrap().0, [record(1)]);
    std::fs::remove_file(&filler).unwrap();
    store.commit(&[put(2)]).unwrap();
    let (records, _) = leases::load(&*store).unwrap();
    assert_eq!(records, [record(1), record(2)]);
    println!("\nhealed");
}

/// Needs root, for a small disk of its own in a mount namespace.
#[test]
fn a_full_disk_refuses_and_heals_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let script =
        r#"mount -t tmpfs -o size=8m none "$0" && exec "$1" --exact store::role_meets_a_full_disk --nocapture --quiet"#;
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", script])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .env(ROLE_FOLDER, folder.path());
    let run = command.output().unwrap();
    assert!(String::from_utf8_lossy(&run.stdout).contains("healed"), "{run:?}");
}

fn entry(key: &str, value: &str) -> Write {
    Write::Put {
        key: key.as_bytes().to_vec(),
        value: value.as_bytes().to_vec(),
    }
}

fn value(store: &dyn Store, key: &str) -> Option<Vec<u8>> {
    store.get(key.as_bytes()).unwrap().map(|(value, _)| value)
}

#[test]
fn a_commit_is_made_if_its_keys_are_as_they_were_expected_and_else_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).store;
    let arm = |expected, value| {
        let key = b"arm/7".to_vec();
        store.commit_if(
            &[Precondition { key, expected }],
            &[entry("arm/7", value), entry("log", value)],
        )
    };
    arm(Expected::Absent, "one").unwrap();
    let again = arm(Expected::Absent, "two");
    assert!(matches!(again, Err(StoreError::Conflict { key }) if key == b"arm/7"));
    assert_eq!(value(&*store, "log"), Some(b"one".to_vec()), "nothing of it");
    assert!(arm(Expected::Value(b"two".to_vec()), "three").is_err());
    let third = arm(Expected::Value(b"one".to_vec()), "three").unwrap();
    assert_eq!(store.get(b"arm/7").unwrap(), Some((b"three".to_vec(), third)));
    // The same value again is another commit.
    let fourth = arm(Expected::Revision(third), "three").unwrap();
    assert!(arm(Expected::Revision(third), "five").is_err());
    let gone = Write::Delete { key: b"arm/7".to_vec() };
    store.commit(&[gone]).unwrap();
    assert!(arm(Expected::Revision(fourth), "six").is_err(), "it is gone");
    arm(Expected::Absent, "seven").unwrap();
}

#[test]
fn what_was_there_before_the_store_was_opened_has_a_revision_too() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).store.commit(&[entry("arm/7", "one")]).unwrap();
    let store = open(folder.path()).store;
    let (_, before) = store.get(b"arm/7").unwrap().unwrap();
    let unchanged = Precondition {
        key: b"arm/7".to_vec(),
        expected: Expected::Revision(before),
    };
    let later = store
        .commit_if(std::slice::from_ref(&unchanged), &[entry("arm/7", "two")])
        .unwrap();
    assert!(later > before);
    assert!(store.commit_if(&[unchanged], &[]).is_err());
}

#[test]
fn of_two_who_compare_and_swap_at_once_one_is_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).store;
    store.commit(&[entry("count", "0")]).unwrap();
    const EACH: usize = 25;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut done = 0;
                while done < EACH {
                    let (now, revision) = store.get(b"count").unwrap().unwrap();
                    let next = String::from_utf8(now).unwrap().parse::<usize>().unwrap() + 1;
                    let unchanged = Precondition {
                        key: b"count".to_vec(),
                        expected: Expected::Revision(revision),
                    };
                    match store.commit_if(&[unchanged], &[entry("count", &next.to_string())]) {
                        Ok(_) => done += 1,
                        Err(StoreError::Conflict { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    let all = (4 * EACH).to_string().into_bytes();
    assert_eq!(value(&*store, "count"), Some(all));
}

#[test]
fn who_watches_a_prefix_learns_of_every_commit_beneath_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).store;
    let mut watch = store.watch(b"arm/");
    let first = store.commit(&[entry("arm/1", "one"), entry("lease/1", "")]).unwrap();
    let (at, entries) = store.scan_at(b"arm/").unwrap();
    assert_eq!((at, entries.len()), (first, 1), "a scan says which commits it has");
    let gone = Write::Delete { key: b"arm/1".to_vec() };
    let second = store.commit(std::slice::from_ref(&gone)).unwrap();
    drop(store);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let written = |revision: Revision, write: Write| Some(WatchEvent::Written { revision, write });
    assert_eq!(runtime.block_on(watch.next()), written(first, entry("arm/1", "one")));
    assert_eq!(runtime.block_on(watch.next()), written(second, gone));
    assert_eq!(runtime.block_on(watch.next()), None, "the store is closed");
}

fn birth(folder: &Path) -> Birth {
    open(folder).birth
}

#[test]
fn a_store_has_one_birth_and_remembers_all_since_whatever_way_a_process_ends() {
    let folder = tempfile::tempdir().unwrap();
    let born = birth(folder.path());
    assert!(born.is_new);
    for _ in 0..2 {
        kept_store(folder.path());
        assert_eq!(birth(folder.path()), Birth { is_new: false, ..born });
    }
    let mut holder = child("store::role_holds_the_store", folder.path(), 0);
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("held")));
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(birth(folder.path()), Birth { is_new: false, ..born });
    // An interrupted append is a crash's, and nobody was told of it.
    let journal = folder.path().join("bootwright.journal");
    let whole = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, [&whole[..], b"BWJ1\0\0"].concat()).unwrap();
    assert_eq!(birth(folder.path()), Birth { is_new: false, ..born });
}

#[test]
fn a_store_that_was_lost_or_made_anew_remembers_nothing_that_was_armed_before() {
    let other = tempfile::tempdir().unwrap();
    assert_ne!(
        birth(other.path()).store,
        birth(tempfile::tempdir().unwrap().path()).store
    );
    type Damage = fn(&Path);
    let cases: [(&str, Damage, bool); 6] = [
        (
            "the database is gone",
            |at| std::fs::remove_file(at.join("bootwright.redb")).unwrap(),
            false,
        ),
        (
            "the database is empty",
            |at| std::fs::write(at.join("bootwright.redb"), b"").unwrap(),
            false,
        ),
        (
            "the journal is gone",
            |at| std::fs::remove_file(at.join("bootwright.journal")).unwrap(),
            true,
        ),
        (
            "the journal is empty",
            |at| std::fs::write(at.join("bootwright.journal"), b"").unwrap(),
            true,
        ),
        ("a commit makes no sense", rot_in_the_journal, true),
        ("the database is broken", break_the_database, true),
    ];
    for (what, damage, is_same_store) in cases {
        let folder = tempfile::tempdir().unwrap();
        let born = birth(folder.path());
        kept_store(folder.path());
        damage(folder.path());
        let after = birth(folder.path());
        assert_eq!(after.store == born.store, is_same_store, "{what}");
        assert_eq!((after.is_new, after.remembers(born.epoch)), (true, false), "{what}");
        let later = birth(folder.path());
        assert_eq!(
            later,
            Birth { is_new: false, ..after },
            "{what}: from then on it remembers"
        );
    }
}

/// One bit in the first of two commits.
fn rot_in_the_journal(folder: &Path) {
    let journal = folder.join("bootwright.journal");
    let compiled = {
        let store = open(folder).store;
        store.commit(&[entry("arm/1", "disarmed")]).unwrap();
        store.commit(&[entry("arm/2", "armed")]).unwrap();
        std::fs::read(&journal).unwrap()
    };
    let mut rotten = compiled;
    let at = rotten.windows(8).position(|window| window == b"disarmed").unwrap();
    rotten[at] ^= 1;
    std::fs::write(&journal, rotten).unwrap();
}

fn break_the_database(folder: &Path) {
    let file = folder.join("bootwright.redb");
    let compiled = std::fs::read(&file).unwrap();
    std::fs::write(&file, [&[0xee; 64], &compiled[64..]].concat()).unwrap();
}

/// A store as version 0.1.0 left it at a SIGKILL: its database, and two commits in its journal.
#[test]
fn the_store_of_an_older_version_is_read_whole_and_gets_a_birth() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["bootwright.redb", "bootwright.journal"] {
        let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pure/stores/0.1.0");
        std::fs::write(folder.path().join(file), std::fs::read(old.join(file)).unwrap()).unwrap();
    }
    let opened = open(folder.path());
    assert!(opened.corrupt.is_none() && opened.lost.is_none());
    let store = &*opened.store;
    let lease = |last: u8| LeaseRecord {
        address: Ipv4Addr::new(192, 0, 2, last),
        client: MacAddr([0x52, 0x54, 0, 0, 0, last]).into(),
        expires: WallTime(1_800_000_000 + u64::from(last)),
    };
    let expected: Vec<LeaseRecord> = (2..=22).map(lease).collect();
    assert_eq!(leases::load(store).unwrap(), (expected, vec![]));
    let port = PortRecord {
        address: Ipv4Addr::new(192, 0, 2, 7),
        client: lease(7).client,
        port: PortId(0x0123_4567_89ab_cdef),
        expires: lease(7).expires,
    };
    assert_eq!(ports::load(store).unwrap(), (vec![port], 0));
    let (sums, unreadable) = checksums::load(store).unwrap();
    let sums: Vec<(PathBuf, [u8; 32], u64)> = sums
        .into_iter()
        .map(|sum| (sum.path, sum.sha256, sum.stamp.inode))
        .collect();
    let file = |number: u8| (format!("/srv/images/debian-12/file-{number}").into(), [number; 32], 42);
    assert_eq!((sums, unreadable), ((1..=3).map(file).collect(), 0));
    let mark = ClockMark {
        date: WallTime(1_764_000_000),
        boot: Some(7 << 100),
        up: Duration::from_millis(12_345),
    };
    assert_eq!(calendar::load(store).unwrap(), Some(mark));
    let found = lost::load(store).unwrap();
    assert_eq!(found, Some(lost::LossRecord::At(WallTime(1_763_999_000))));
    let born = opened.birth;
    assert!(born.is_new);
    drop(opened);
    assert_eq!(birth(folder.path()), Birth { is_new: false, ..born });
}

#[test]
fn pages_together_are_what_a_scan_finds_with_what_the_journal_has_between() {
    let folder = tempfile::tempdir().unwrap();
    let key = |number: u32| [b"attempt/", &number.to_be_bytes()[..]].concat();
    let put = |number: u32| Write::Put {
        key: key(number),
        value: number.to_string().into_bytes(),
    };
    {
        let store = open(folder.path()).store;
        let beside = [b"attempt.".to_vec(), b"attempt0".to_vec()].map(|key| Write::Put { key, value: vec![1] });
        let even: Vec<Write> = (0..2000).step_by(2).map(put).collect();
        store.commit(&[even, beside.to_vec()].concat()).unwrap();
    }
    // The database has those now, and the journal what follows.
    let store = open(folder.path()).store;
    let odd = (0..2500).step_by(7).map(put);
    let removed = (0..1000).step_by(3).map(|number| Write::Delete { key: key(number) });
    store.commit(&odd.chain(removed).collect::<Vec<Write>>()).unwrap();
    let (mut pages, mut from) = (Vec::new(), None);
    let mut all = Vec::new();
    loop {
        let page = store.page(b"attempt/", from).unwrap();
        pages.push(page.entries.len());
        all.extend(page.entries);
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(all, store.scan(b"attempt/").unwrap());
    assert!(
        pages.len() > 3 && pages.iter().all(|entries| *entries < 600),
        "{pages:?}"
    );
    let none = store.page(b"none/", None).unwrap();
    assert!(none.entries.is_empty() && none.next.is_none());
}

#[test]
fn checksums_are_salvaged_too_and_ports_are_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pure/stores/0.1.0/bootwright.redb");
    std::fs::copy(old, folder.path().join("bootwright.redb")).unwrap();
    drop(open(folder.path()));
    break_the_database(folder.path());
    let opened = open(folder.path());
    let salvaged: BTreeMap<&str, usize> = opened
        .corrupt
        .unwrap()
        .salvaged
        .iter()
        .map(|salvaged| (salvaged.kind, salvaged.records))
        .collect();
    assert_eq!(salvaged, BTreeMap::from([("birth", 1), ("checksum", 2), ("lease", 20)]));
    assert_eq!(checksums::load(&*opened.store).unwrap().0.len(), 2);
    assert_eq!(ports::load(&*opened.store).unwrap().0.len(), 0);
}
