//! The store as its folder sees it: SIGKILL, a second process, a broken file, a full disk.

use bootwright::lease::{LeaseChange, LeaseRecord};
use bootwright::model::{MacAddr, WallTime};
use bootwright::store::{self, OpenedStore, StoreError, Write, leases, lost, writer::LeaseWriter};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::Path,
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
    let writer = LeaseWriter::start(open(Path::new(&folder)).store).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let first: u64 = std::env::var(ROLE_FIRST).unwrap().parse().unwrap();
    runtime.block_on(async {
        for round in 0.. {
            let numbers = first + round * 32..first + (round + 1) * 32;
            let waiting: Vec<_> = numbers
                .map(|number| (number, writer.append(vec![LeaseChange::Put(record(number))]).unwrap()))
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
        assert_eq!(kept, moved.salvaged, "{what}");
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
    let put = |number| leases::write(&LeaseChange::Put(record(number)));
    store.commit(&[put(1)]).unwrap();
    let filler = folder.join("filler");
    let _ = std::fs::write(&filler, vec![0; 64 * 1024 * 1024]);
    let big = |number: u64| Write::Put {
        key: number.to_be_bytes().to_vec(),
        value: vec![7; 256 * 1024],
    };
    let refused = (0..100).find_map(|number| store.commit(&[big(number)]).err());
    let refused = refused.expect("the disk never filled").to_string();
    assert!(refused.contains("No space left"), "{refused}");
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
