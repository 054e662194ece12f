//! The date by which the ends of leases on disk are written, as it was last.
//!
//! Key: `calendar`. Value, 44 bytes, numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `BWK1`: the version |
//! | 4..12 | the date, in seconds since 1970-01-01 UTC |
//! | 12..28 | the host's boot, as the kernel names it; zero where that is not known |
//! | 28..36 | how long the host had been up, in milliseconds |
//! | 36..44 | the first 8 bytes of SHA-256 over all before |
//!
//! One that can't be read is none: the host's clock counts then.

use super::codec::{unseal, verified};
use crate::lease::ClockMark;
use crate::model::WallTime;
use crate::store::{Store, StoreError, Write, salvage::RecordKind};
use std::time::Duration;

const KEY: &[u8] = b"calendar";
const MAGIC: &[u8; 4] = b"BWK1";

/// Not salvaged: an older date would put off the end of every lease.
pub(super) const KIND: RecordKind = RecordKind {
    name: "date",
    prefix: KEY,
    salvage: None,
};

/// The mark, if one was made.
///
/// # Errors
///
/// The store can't be read at all.
pub fn load(store: &dyn Store) -> Result<Option<ClockMark>, StoreError> {
    let entries = store.scan(KEY)?;
    Ok(entries
        .iter()
        .find(|(key, _)| key == KEY)
        .and_then(|(_, value)| decode(value)))
}

/// The write that makes the mark.
pub fn put(mark: &ClockMark) -> Write {
    let up_ms = u64::try_from(mark.up.as_millis()).unwrap_or(u64::MAX);
    let mut value = MAGIC.to_vec();
    value.extend(mark.date.0.to_be_bytes());
    value.extend(mark.boot.unwrap_or(0).to_be_bytes());
    value.extend(up_ms.to_be_bytes());
    Write::Put {
        key: KEY.to_vec(),
        value: verified(value),
    }
}

fn decode(value: &[u8]) -> Option<ClockMark> {
    let rest = unseal(MAGIC, value).ok()?;
    let (date, rest) = rest.split_first_chunk()?;
    let (boot, rest) = rest.split_first_chunk()?;
    let up_ms = u64::from_be_bytes(rest.try_into().ok()?);
    Some(ClockMark {
        date: WallTime(u64::from_be_bytes(*date)),
        boot: Some(u128::from_be_bytes(*boot)).filter(|boot| *boot != 0),
        up: Duration::from_millis(up_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    #[test]
    fn a_mark_on_disk_is_what_every_version_wrote() {
        let mut mark = ClockMark {
            date: WallTime(1_764_000_000),
            boot: Some(7 << 100),
            up: Duration::from_millis(12_345_678),
        };
        let Write::Put { key, value } = put(&mark) else {
            panic!()
        };
        assert_eq!(key, b"calendar");
        let body = b"BWK1\0\0\0\0\x69\x24\x81\0\0\0\0\x70\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xbc\x61\x4e";
        assert_eq!(value[..36], body[..]);
        assert_eq!(value[36..], *b"\x83\xad\x92\x27\x90\xcc\xe3\x05");
        mark.boot = None;
        let Write::Put { value, .. } = put(&mark) else { panic!() };
        assert_eq!(value[12..28], [0; 16]);
        assert_eq!(value[36..], *b"\xb9\x37\xe5\x25\xec\xa5\x8d\x01");
    }

    #[test]
    fn a_mark_comes_back_as_it_was_and_broken_it_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = store::open(folder.path()).unwrap().store;
        assert_eq!(load(&*store).unwrap(), None);
        for boot in [None, Some(7 << 100)] {
            let mark = ClockMark {
                date: WallTime(1_764_000_000),
                boot,
                up: Duration::from_millis(12_345_678),
            };
            store.commit(&[put(&mark)]).unwrap();
            assert_eq!(load(&*store).unwrap(), Some(mark));
            let Write::Put { value, .. } = put(&mark) else { panic!() };
            for bit in 0..value.len() * 8 {
                let mut corrupt = value.clone();
                corrupt[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&corrupt), None, "bit {bit}");
            }
            for length in 0..value.len() {
                assert_eq!(decode(&value[..length]), None, "{length} bytes");
            }
        }
    }
}
