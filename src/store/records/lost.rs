//! That the disk lost leases, and when that was found: machines may use addresses by leases that are not on record.
//!
//! Key: `lost`. Value: nothing as long as the find has no date, or 20 bytes, numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `BWF1`: the version |
//! | 4..12 | the date of the find by the calendar of all leases on disk, in seconds since 1970-01-01 UTC |
//! | 12..20 | the first 8 bytes of SHA-256 over all before |
//!
//! The store notes the find before it makes anything new, without a date: what date it is can't be known before
//! the rest was read. Whoever reads a find without one, or one whose date can't be read, counts from then on.

use super::codec::{unseal, verified};
use crate::model::WallTime;
use crate::store::{Store, StoreError, Write, salvage::RecordKind};

const KEY: &[u8] = b"lost";
/// No other kind's.
const MAGIC: &[u8; 4] = b"BWF1";
/// What finds of before begin with, as leases do.
const FORMER_MAGIC: &[u8; 4] = b"BWL1";

/// Not salvaged: whoever salvages makes a find of his own.
pub(super) const KIND: RecordKind = RecordKind {
    name: "loss",
    prefix: KEY,
    salvage: None,
};

/// A find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossRecord {
    /// When is not written yet.
    Undated,
    /// By the calendar.
    At(WallTime),
}

/// The last find, if there was one.
///
/// # Errors
///
/// The store can't be read at all.
pub fn load(store: &dyn Store) -> Result<Option<LossRecord>, StoreError> {
    let entries = store.scan(KEY)?;
    let found = entries.iter().find(|(key, _)| key == KEY);
    Ok(found.map(|(_, value)| decode(value)))
}

/// The write that notes a find.
pub fn put(found: LossRecord) -> Write {
    let value = match found {
        LossRecord::Undated => Vec::new(),
        LossRecord::At(date) => verified([&MAGIC[..], &date.0.to_be_bytes()].concat()),
    };
    Write::Put {
        key: KEY.to_vec(),
        value,
    }
}

fn decode(value: &[u8]) -> LossRecord {
    let date = unseal(MAGIC, value).or_else(|_| unseal(FORMER_MAGIC, value));
    let date = date.ok().and_then(|date| date.try_into().ok());
    date.map_or(LossRecord::Undated, |date| {
        LossRecord::At(WallTime(u64::from_be_bytes(date)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::records::leases;

    #[test]
    fn a_find_of_before_is_read_and_a_new_one_begins_as_no_lease_does() {
        let found = LossRecord::At(WallTime(1_764_000_000));
        let former = verified([&FORMER_MAGIC[..], &1_764_000_000_u64.to_be_bytes()].concat());
        assert_eq!(decode(&former), found);
        let Write::Put { value, .. } = put(found) else {
            panic!("it is kept")
        };
        let lease = leases::KIND.salvage.map(|reader| reader.magic);
        assert!(lease.is_some_and(|magic| !value.starts_with(magic)));
    }

    #[test]
    fn a_find_on_disk_is_these_bytes_and_those_of_before_are_read() {
        let Write::Put { key, value } = put(LossRecord::At(WallTime(1_764_000_000))) else {
            panic!("it is kept")
        };
        assert_eq!(key, b"lost");
        assert_eq!(value, b"BWF1\0\0\0\0\x69\x24\x81\0\x84\xa8\x45\x60\x5e\x47\xc3\x1d");
        // As older versions wrote it.
        let former = b"BWL1\0\0\0\0\x69\x24\x81\0\x7f\x6f\x86\x2f\x24\xf9\xbb\x5c";
        assert_eq!(decode(former), LossRecord::At(WallTime(1_764_000_000)));
        let Write::Put { value, .. } = put(LossRecord::Undated) else {
            panic!("it is kept")
        };
        assert_eq!((value.as_slice(), decode(b"")), (&b""[..], LossRecord::Undated));
    }

    #[test]
    fn a_find_comes_back_as_it_was_and_broken_it_has_no_date() {
        let found = LossRecord::At(WallTime(1_764_000_000));
        let Write::Put { value, .. } = put(found) else {
            panic!("it is kept")
        };
        assert_eq!(decode(&value), found);
        for bit in 0..value.len() * 8 {
            let mut corrupt = value.clone();
            corrupt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&corrupt), LossRecord::Undated, "bit {bit}");
        }
        for length in 0..value.len() {
            assert_eq!(decode(&value[..length]), LossRecord::Undated, "{length} bytes");
        }
    }
}
