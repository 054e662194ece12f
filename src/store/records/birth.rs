//! Who a store is, and since when it forgot nothing.
//!
//! What destroys a disk is armed by what a store knows. A store that was lost, or made anew, knows no more than one
//! that never heard of the room; and what can be read from a broken file may be an older version of the truth, in
//! which a host is still armed that has been installed since. So a store has a *birth*, made once with it and kept
//! through salvage, and an *epoch*, which ends whenever the store may have forgotten something: a file was gone,
//! empty or broken, or commits in the journal make no sense. Whoever arms writes the epoch beside it
//! ([`Birth::epoch`]), and believes nothing that another epoch wrote ([`Birth::remembers`]).
//!
//! A copy of the whole folder that an operator puts back has the epoch that it had, and may be older than the truth.
//! That it is one is seen by its files ([`crate::store::place`]), and another epoch begins.
//!
//! Keys: `birth`, and `epoch`. Values, 36 bytes each, numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `BWB1` for a birth and `BWE1` for an epoch: the version |
//! | 4..20 | its number, drawn by lot |
//! | 20..28 | when it was made by this host's clock, in seconds since 1970-01-01 UTC |
//! | 28..36 | the first 8 bytes of SHA-256 over all before |
//!
//! One that can't be read is none, and another is made.

use super::codec::{SUM_BYTES, unseal, verified};
use crate::model::WallTime;
use crate::store::{
    Write,
    salvage::{RecordKind, Remnant, SalvageReader},
};
use sha2::{Digest, Sha256};
use std::{
    fmt,
    fs::File,
    io::Read,
    time::{SystemTime, UNIX_EPOCH},
};

pub(in crate::store) const KEY: &[u8] = b"birth";
pub(in crate::store) const EPOCH_KEY: &[u8] = b"epoch";
const BIRTH_MAGIC: &[u8; 4] = b"BWB1";
const EPOCH_MAGIC: &[u8; 4] = b"BWE1";
const RECORD_BYTES: usize = 28 + SUM_BYTES;

/// There is one of a store.
pub(super) const BIRTH: RecordKind = RecordKind {
    name: "birth",
    prefix: KEY,
    salvage: Some(SalvageReader {
        magic: BIRTH_MAGIC,
        read: remnant,
    }),
};

/// Not salvaged: what was told in it is no longer all there.
pub(super) const EPOCH: RecordKind = RecordKind {
    name: "epoch",
    prefix: EPOCH_KEY,
    salvage: None,
};

/// A store's own number: no two stores have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(pub u128);

/// An epoch's number: no two have the same, of whichever store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EpochId(pub u128);

/// Who a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// The store.
    pub store: StoreId,
    /// When it was made.
    pub born: WallTime,
    /// The epoch that runs: what the store was told in it, it knows.
    pub epoch: EpochId,
    /// When that began; at the birth, if the store never forgot anything.
    pub since: WallTime,
    /// Whether either was made as the store was opened.
    pub is_new: bool,
}

impl Birth {
    /// Whether all is there still that was written in that epoch: nothing of another one may arm a host.
    pub fn remembers(&self, epoch: EpochId) -> bool {
        self.epoch == epoch
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The birth as these values say, and the writes that make what of it is not there.
pub(in crate::store) fn begin(birth: Option<&[u8]>, epoch: Option<&[u8]>) -> (Birth, Vec<Write>) {
    let mut new = Vec::new();
    let mut known_or_new = |key: &[u8], magic, value: Option<&[u8]>| {
        let known = value.and_then(|value| decode(magic, value));
        known.unwrap_or_else(|| {
            let made = (draw(), now());
            new.push(put(key, magic, made));
            made
        })
    };
    let (store, born) = known_or_new(KEY, BIRTH_MAGIC, birth);
    let (epoch, since) = known_or_new(EPOCH_KEY, EPOCH_MAGIC, epoch);
    let birth = Birth {
        store: StoreId(store),
        born,
        epoch: EpochId(epoch),
        since,
        is_new: !new.is_empty(),
    };
    (birth, new)
}

/// The write with which another epoch begins.
pub(in crate::store) fn another_epoch() -> Write {
    put(EPOCH_KEY, EPOCH_MAGIC, (draw(), now()))
}

fn put(key: &[u8], magic: &[u8; 4], (number, made): (u128, WallTime)) -> Write {
    let mut value = magic.to_vec();
    value.extend(number.to_be_bytes());
    value.extend(made.0.to_be_bytes());
    Write::Put {
        key: key.to_vec(),
        value: verified(value),
    }
}

fn decode(magic: &[u8; 4], value: &[u8]) -> Option<(u128, WallTime)> {
    let (number, made) = unseal(magic, value).ok()?.split_first_chunk()?;
    let made = WallTime(u64::from_be_bytes(made.try_into().ok()?));
    Some((u128::from_be_bytes(*number), made))
}

fn remnant(bytes: &[u8]) -> Option<Remnant> {
    let (_, made) = decode(BIRTH_MAGIC, bytes.get(..RECORD_BYTES)?)?;
    Some(Remnant {
        key: KEY.to_vec(),
        length: RECORD_BYTES,
        rank: made.0,
    })
}

/// This host's clock.
pub(in crate::store) fn now() -> WallTime {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    WallTime(since_1970.map_or(0, |since| since.as_secs()))
}

/// A number that nothing else has: the kernel's lot, and where that is out of sight, the moment and the process.
fn draw() -> u128 {
    let mut lot = [0; 16];
    // Half of it read is as good as none, and never worse.
    let _ = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut lot));
    let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let drawn = Sha256::new()
        .chain_update(lot)
        .chain_update(moment.as_nanos().to_be_bytes())
        .chain_update(std::process::id().to_be_bytes())
        .finalize();
    u128::from_be_bytes(std::array::from_fn(|index| drawn[index]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(write: &Write) -> &[u8] {
        match write {
            Write::Put { value, .. } => value,
            Write::Delete { .. } => panic!("it is kept"),
        }
    }

    #[test]
    fn a_birth_and_an_epoch_on_disk_are_what_every_version_wrote() {
        let made = (0x0011_2233_4455_6677_8899_aabb_ccdd_eeff, WallTime(1_764_000_000));
        let body = b"\0\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff\0\0\0\0\x69\x24\x81\0";
        for (key, magic, sum) in [
            (KEY, BIRTH_MAGIC, b"\x37\x97\xd8\xa7\x18\xca\x64\x14"),
            (EPOCH_KEY, EPOCH_MAGIC, b"\x27\xd5\x84\xc8\x0f\x05\x80\xcf"),
        ] {
            let written = put(key, magic, made);
            assert_eq!(value(&written), [&magic[..], body, sum].concat());
            assert_eq!(decode(magic, value(&written)), Some(made));
        }
        assert_eq!(
            [KEY, EPOCH_KEY, BIRTH_MAGIC, EPOCH_MAGIC],
            [&b"birth"[..], b"epoch", b"BWB1", b"BWE1"]
        );
    }

    #[test]
    fn a_birth_is_made_once_and_comes_back_as_it_was() {
        let (born, new) = begin(None, None);
        assert_eq!(new.iter().map(Write::key).collect::<Vec<_>>(), [KEY, EPOCH_KEY]);
        assert!(born.is_new);
        let (again, new_again) = begin(Some(value(&new[0])), Some(value(&new[1])));
        assert_eq!((again, new_again), (Birth { is_new: false, ..born }, vec![]));
        let (other, _) = begin(None, None);
        assert!(other.store != born.store && other.epoch != born.epoch);
    }

    #[test]
    fn another_epoch_is_of_the_same_store_and_remembers_nothing_of_the_one_before() {
        let (born, new) = begin(None, None);
        let (later, _) = begin(Some(value(&new[0])), Some(value(&another_epoch())));
        assert_eq!((later.store, later.born), (born.store, born.born));
        assert!(born.remembers(born.epoch) && !later.remembers(born.epoch));
    }

    #[test]
    fn one_flipped_bit_anywhere_makes_another() {
        let (born, new) = begin(None, None);
        for write in 0..2 {
            for bit in 0..value(&new[write]).len() * 8 {
                let mut values = [value(&new[0]).to_vec(), value(&new[1]).to_vec()];
                values[write][bit / 8] ^= 1 << (bit % 8);
                let (other, made) = begin(Some(&values[0]), Some(&values[1]));
                assert_eq!(made.len(), 1, "bit {bit}");
                assert_ne!((other.store, other.epoch), (born.store, born.epoch), "bit {bit}");
            }
        }
        // Neither is taken for the other.
        assert_eq!(begin(Some(value(&new[1])), Some(value(&new[0]))).1.len(), 2);
    }
}
