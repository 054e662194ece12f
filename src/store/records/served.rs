//! Which hosts were served, on disk.
//!
//! Key: `served/` and the record's number, 4 bytes. Value, numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `BWS1`: the version |
//! | 4..20 | the epoch that it was written in ([`super::birth`]) |
//! | 20.. | the keys, 8 bytes each (`HostKey`) |
//! | then 8 | the first 8 bytes of SHA-256 over all before |
//!
//! Where any of them can't be read, or is of another epoch, all are dropped: a host that was served would appear for
//! the first time. The inventory is learned anew then, and arms nobody.

use super::{
    birth::EpochId,
    codec::{unseal, verified},
};
use crate::boot::arming::{HostKey, served::ServedRecord};
use crate::store::{Store, StoreError, Write, salvage::RecordKind};

const PREFIX: &[u8] = b"served/";
const MAGIC: &[u8; 4] = b"BWS1";

/// Not salvaged.
pub(super) const KIND: RecordKind = RecordKind {
    name: "served hosts",
    prefix: PREFIX,
    salvage: None,
};

/// Every record of this epoch; none where not all can be believed.
///
/// # Errors
///
/// The store can't be read or written at all.
pub fn load(store: &dyn Store, epoch: EpochId) -> Result<Vec<ServedRecord>, StoreError> {
    let entries = store.scan(PREFIX)?;
    let read: Vec<Option<ServedRecord>> = entries.iter().map(|(key, value)| decode(key, value, epoch)).collect();
    let records: Option<Vec<ServedRecord>> = read.into_iter().collect();
    // In key order each has the next number, if none is missing.
    let is_whole =
        |records: &Vec<ServedRecord>| records.iter().zip(0..).all(|(record, number)| record.number == number);
    match records.filter(is_whole) {
        Some(records) => Ok(records),
        None => {
            let dropped: Vec<Write> = entries.into_iter().map(|(key, _)| Write::Delete { key }).collect();
            store.commit(&dropped)?;
            Ok(Vec::new())
        }
    }
}

/// The write that keeps a record.
pub fn write(record: &ServedRecord, epoch: EpochId) -> Write {
    let mut value = MAGIC.to_vec();
    value.extend(epoch.0.to_be_bytes());
    value.extend(record.keys.iter().flat_map(|key| key.0.to_be_bytes()));
    Write::Put {
        key: [PREFIX, &record.number.to_be_bytes()].concat(),
        value: verified(value),
    }
}

fn decode(key: &[u8], value: &[u8], epoch: EpochId) -> Option<ServedRecord> {
    let number = key.strip_prefix(PREFIX)?.try_into().ok()?;
    let (of, keys) = unseal(MAGIC, value).ok()?.split_first_chunk()?;
    let (keys, odd) = keys.as_chunks();
    let is_whole = u128::from_be_bytes(*of) == epoch.0 && odd.is_empty();
    is_whole.then(|| ServedRecord {
        number: u32::from_be_bytes(number),
        keys: keys.iter().map(|key| HostKey(u64::from_be_bytes(*key))).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    const EPOCH: EpochId = EpochId(7 << 100);

    fn record(number: u32) -> ServedRecord {
        ServedRecord {
            number,
            keys: vec![HostKey(1), HostKey(u64::from(number) << 32)],
        }
    }

    #[test]
    fn what_was_served_is_on_disk_as_every_version_wrote_it() {
        let Write::Put { key, value } = write(&record(1), EPOCH) else {
            panic!("it is kept")
        };
        assert_eq!(key, b"served/\0\0\0\x01");
        let body = b"BWS1\0\0\0\x70\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\0";
        assert_eq!(value[..36], body[..]);
        assert_eq!(value[36..], *b"\x45\x4f\x51\xe7\xb2\x73\x31\xdd");
        assert_eq!(decode(&key, &value, EPOCH), Some(record(1)));
        for bit in 0..value.len() * 8 {
            let mut corrupt = value.clone();
            corrupt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&key, &corrupt, EPOCH), None, "bit {bit}");
        }
    }

    #[test]
    fn one_that_is_missing_broken_or_of_another_epoch_makes_all_unknown() {
        let spoilt: [fn(&dyn Store); 3] = [
            |store| {
                let key = b"served/\0\0\0\0".to_vec();
                store.commit(&[Write::Delete { key }]).unwrap();
            },
            |store| {
                let (key, value) = (b"served/\0\0\0\x01".to_vec(), b"BWS1".to_vec());
                store.commit(&[Write::Put { key, value }]).unwrap();
            },
            |store| {
                store.commit(&[write(&record(1), EpochId(8))]).unwrap();
            },
        ];
        for spoil in spoilt {
            let folder = tempfile::tempdir().unwrap();
            let store = store::open(folder.path()).unwrap().store;
            let all = [record(0), record(1), record(2)];
            store
                .commit(&all.each_ref().map(|record| write(record, EPOCH)))
                .unwrap();
            assert_eq!(load(&*store, EPOCH).unwrap(), all);
            spoil(&*store);
            assert_eq!(load(&*store, EPOCH).unwrap(), []);
            assert!(store.scan(PREFIX).unwrap().is_empty());
        }
    }
}
