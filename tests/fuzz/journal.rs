//! What must hold of the store whatever its journal holds: one input is a journal, a daemon that opens it,
//! and one that opens it again.
//!
//! An input is a row of pieces: commits as the daemon writes them, with any of their bytes changed and the
//! checksum put right behind that or not; and raw bytes, as a disk leaves them. The frames are made here,
//! from the layout that the journal's own words give, and not by the daemon.

use super::input::Input;
use bootwright::boot::{snapshot::FileStamp, verification::ChecksumRecord};
use bootwright::lease::{LeaseChange, LeaseRecord, LeaseTable};
use bootwright::model::{HardwareAddr, Now, WallTime};
use bootwright::store::{
    self, Store, Write,
    records::{checksums, leases},
};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fs, net::Ipv4Addr, path::Path, time::Duration};
use tempfile::TempDir;

/// What the store notes for itself: that its database has a journal, that the one of this journal was gone, who it
/// is, and since when it remembers all.
const OWN_KEYS: [&[u8]; 4] = [b"journal", b"lost", b"birth", b"epoch"];
/// Pieces of one journal.
const PIECES_MAX: usize = 32;
const NOW: Now = Now {
    monotonic: Duration::from_secs(1000),
    wall: WallTime(1_700_000_000),
};

/// A folder for one store after another.
pub struct Disk(TempDir);

/// A journal's file, and what must be read from it.
#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    /// What the commits in it come to, the later ones last; `None` for a key that was removed.
    kept: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Bytes that are no commit stand in it, and may be taken for one, or for a record.
    is_ambiguous: bool,
}

impl Disk {
    pub fn new() -> Disk {
        Disk(tempfile::tempdir().unwrap())
    }

    /// Runs one input; how many leases were read. Panics where a property does not hold.
    pub fn live(&self, input: &[u8]) -> usize {
        let mut input = Input(input);
        let mut file = File::default();
        for _ in 0..PIECES_MAX {
            if input.0.is_empty() {
                break;
            }
            file.add(&mut input);
        }
        let folder = self.0.path();
        for left in fs::read_dir(folder).unwrap() {
            fs::remove_file(left.unwrap().path()).unwrap();
        }
        fs::write(folder.join("bootwright.journal"), &file.bytes).unwrap();
        // What a command reads beside a daemon that holds the store.
        let beside = checksums::beside_a_daemon(folder);
        let first = read(folder, &[]);
        file.assert_kept(&first);
        let known = |record: &ChecksumRecord| beside.iter().any(|other| other.path == record.path);
        assert!(
            first.checksums.iter().all(known),
            "a command knows fewer files than a daemon"
        );
        // The daemon ended; what it had is there again, and so is what it wrote.
        let written = lease(254, 1_800_000_000);
        let second = read(folder, &[leases::write(&LeaseChange::Put(written.clone()))]);
        assert_eq!(second.entries, first.entries, "lost by a restart");
        let third = read(folder, &[]);
        assert!(third.leases.contains(&written), "a commit was lost");
        let others = |found: &JournalState| -> Vec<LeaseRecord> {
            let others = found.leases.iter().filter(|each| each.address != written.address);
            others.cloned().collect()
        };
        assert_eq!(others(&third), others(&first), "a commit cost another");
        assert_table(&third.leases);
        first.leases.len()
    }
}

/// What a daemon found in its store.
struct JournalState {
    entries: Vec<store::KeyValue>,
    leases: Vec<LeaseRecord>,
    checksums: Vec<ChecksumRecord>,
}

/// Opens the store, reads all, commits, and ends as a daemon does.
fn read(folder: &Path, writes: &[Write]) -> JournalState {
    let opened = store::open(folder).expect("a journal keeps no daemon from starting");
    assert!(opened.corrupt.is_none(), "the database: {:?}", opened.corrupt);
    let store: &dyn Store = &*opened.store;
    let mut entries = store.scan(b"").unwrap();
    entries.retain(|(key, _)| !OWN_KEYS.contains(&key.as_slice()));
    let (leases, unreadable) = leases::load(store).unwrap();
    for words in &unreadable {
        assert!(
            words.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
            "steers a terminal: {words:?}"
        );
    }
    let (checksums, _) = checksums::load(store).unwrap();
    if !writes.is_empty() {
        store.commit(writes).unwrap();
    }
    JournalState {
        entries,
        leases,
        checksums,
    }
}

/// Whatever was read, the table takes it or says why not, and no address is two clients'.
fn assert_table(records: &[LeaseRecord]) {
    let mut table = LeaseTable::default();
    let refused = table.restore(NOW, records.to_vec());
    assert!(refused.len() <= records.len());
    let mut addresses: Vec<Ipv4Addr> = records.iter().map(|record| record.address).collect();
    addresses.dedup();
    assert_eq!(addresses.len(), records.len(), "an address twice");
}

impl File {
    /// The next piece of the input.
    fn add(&mut self, input: &mut Input) {
        match input.byte() % 8 {
            0 | 1 => {
                let length = usize::from(input.byte());
                let raw = input.bytes(length).to_vec();
                self.rubble(&raw);
            }
            2 => {
                let mut frame = frame(&commit(input));
                // Changed, and not put right: or cut off.
                let at = usize::from(input.word()) % frame.len();
                match input.byte() {
                    0 => frame.truncate(at),
                    bits => frame[at] ^= bits,
                }
                self.rubble(&frame);
                self.is_ambiguous = true;
            }
            _ => {
                let writes = commit(input);
                for (kind, key, value) in &writes {
                    // Nobody reads on behind a write of a kind that is unknown.
                    match kind {
                        0 => self.kept.insert(key.clone(), None),
                        1 => self.kept.insert(key.clone(), Some(value.clone())),
                        _ => break,
                    };
                }
                self.bytes.extend(frame(&writes));
            }
        }
    }

    fn rubble(&mut self, raw: &[u8]) {
        // What begins in one piece may end in the next.
        self.is_ambiguous |= raw.contains(&b'B');
        self.bytes.extend_from_slice(raw);
    }

    /// Every commit is there, the last of each key, and nothing else.
    fn assert_kept(&self, found: &JournalState) {
        if self.is_ambiguous {
            return;
        }
        let kept: Vec<store::KeyValue> = self
            .kept
            .iter()
            .filter(|(key, _)| !OWN_KEYS.contains(&key.as_slice()))
            .filter_map(|(key, value)| Some((key.clone(), value.clone()?)))
            .collect();
        assert_eq!(found.entries, kept, "what was committed");
    }
}

/// Kind, key and value, as the journal writes them.
type Piece = (u8, Vec<u8>, Vec<u8>);

/// The writes of one commit.
fn commit(input: &mut Input) -> Vec<Piece> {
    let count = input.byte() % 5;
    (0..count).map(|_| piece(input)).collect()
}

fn piece(input: &mut Input) -> Piece {
    let what = input.byte();
    let write = match what % 8 {
        0 => leases::write(&LeaseChange::Remove(Ipv4Addr::new(192, 0, 2, input.byte() % 8))),
        1 => checksums::forget(Path::new("/srv/images/deb/linux")),
        2 => checksums::put(&checksum(input)).unwrap(),
        3 => {
            let (key, value) = (usize::from(input.byte()), usize::from(input.byte()));
            let key = input.bytes(key).to_vec();
            let value = input.bytes(value).to_vec();
            return (input.byte() % 4, key, value);
        }
        _ => {
            let last = input.byte() % 8;
            let expires = 1_700_000_000 + u64::from(input.word());
            leases::write(&LeaseChange::Put(lease(last, expires)))
        }
    };
    let (kind, mut key, mut value) = match write {
        Write::Put { key, value } => (1, key, value),
        Write::Delete { key } => (0, key, Vec::new()),
    };
    // A record that a disk or another version changed, in a commit that is sound.
    let changed = match what & 0xc0 {
        0x40 => &mut value,
        0x80 => &mut key,
        _ => return (kind, key, value),
    };
    let (at, bits) = (usize::from(input.byte()), input.byte());
    match changed.get_mut(at) {
        Some(byte) => *byte ^= bits,
        None => changed.truncate(usize::from(bits)),
    }
    (kind, key, value)
}

fn lease(last: u8, expires: u64) -> LeaseRecord {
    LeaseRecord {
        address: Ipv4Addr::new(192, 0, 2, last),
        client: HardwareAddr::from_wire(1, 6, [2, 0, 0, 0, 0, last, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        expires: WallTime(expires),
    }
}

fn checksum(input: &mut Input) -> ChecksumRecord {
    let file = ["linux", "initrd.gz", "\u{1b}[31m"][usize::from(input.byte()) % 3];
    ChecksumRecord {
        path: Path::new("/srv/images/deb").join(file),
        stamp: FileStamp {
            length: u64::from(input.word()),
            modified_ns: -i128::from(input.word()),
            changed_ns: i128::from(input.word()),
            inode: u64::from(input.byte()),
        },
        sha256: [input.byte(); 32],
        at: WallTime(1_700_000_000 + u64::from(input.byte())),
    }
}

/// `BWJ1`, the body's length, the first 8 bytes of its SHA-256, and the body.
fn frame(writes: &[Piece]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, key, value) in writes {
        body.push(*kind);
        body.extend_from_slice(&u16::try_from(key.len()).unwrap().to_be_bytes());
        body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend_from_slice(key);
        body.extend_from_slice(value);
    }
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let sum = &Sha256::digest(&body)[..8];
    [b"BWJ1", &length[..], sum, &body].concat()
}
