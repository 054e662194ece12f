//! What a kind of record is to those who know keys and values only: what its keys begin with, and what finds one of
//! it in a file of which nothing else can be read.

use super::Write;
use std::collections::BTreeMap;

/// A kind of record.
pub(super) struct RecordKind {
    /// One of it, for people.
    pub(super) name: &'static str,
    /// What its keys begin with.
    pub(super) prefix: &'static [u8],
    /// How it is found in a broken file; `None` for what is better lost than older than the truth.
    pub(super) salvage: Option<SalvageReader>,
}

/// What finds a kind's records among bytes.
pub(super) struct SalvageReader {
    /// What its values begin with.
    pub(super) magic: &'static [u8; 4],
    /// Reads the record that these bytes begin with, whatever stands behind it.
    pub(super) read: fn(&[u8]) -> Option<Remnant>,
}

/// A record that was found among bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remnant {
    /// The key that it belongs to.
    pub(super) key: Vec<u8>,
    /// How long its value is.
    pub(super) length: usize,
    /// redb and the journal leave older versions of a record behind: of several, the highest counts.
    pub(super) rank: u64,
}

/// Records of one kind that could be read from a broken file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// One of them, for people.
    pub kind: &'static str,
    /// How many.
    pub records: usize,
}

/// The newest of each record that can be read from a file of which nothing else can, and how many of each kind.
pub(super) fn salvage(file: &[u8], kinds: &[RecordKind]) -> (Vec<Write>, Vec<Salvaged>) {
    let mut writes = Vec::new();
    let mut counts = Vec::new();
    for kind in kinds {
        let found = kind.salvage.as_ref().map(|reader| reader.find(file));
        let mut found = found.unwrap_or_default();
        found.retain(|key, _| key.starts_with(kind.prefix));
        if !found.is_empty() {
            counts.push(Salvaged {
                kind: kind.name,
                records: found.len(),
            });
        }
        writes.extend(found.into_iter().map(|(key, (_, value))| Write::Put {
            key,
            value: value.to_vec(),
        }));
    }
    (writes, counts)
}

impl SalvageReader {
    /// The highest of each key with its value.
    fn find<'f>(&self, file: &'f [u8]) -> BTreeMap<Vec<u8>, (u64, &'f [u8])> {
        let mut found: BTreeMap<Vec<u8>, (u64, &[u8])> = BTreeMap::new();
        let starts = file.windows(self.magic.len()).enumerate();
        for (start, _) in starts.filter(|(_, bytes)| *bytes == self.magic) {
            let bytes = &file[start..];
            let Some(Remnant { key, length, rank }) = (self.read)(bytes) else {
                continue;
            };
            match found.get(&key) {
                Some((known, _)) if *known >= rank => {}
                Some(_) | None => drop(found.insert(key, (rank, &bytes[..length]))),
            }
        }
        found
    }
}
