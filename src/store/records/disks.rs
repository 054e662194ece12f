//! What machines told of their disks, on disk.
//!
//! Key: `disks/` and the machine, 8 bytes, big-endian (`Fingerprint`). Value:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `BWD1`: the version |
//! | 4..12 | when it told of them, in seconds since 1970-01-01 UTC, big-endian |
//! | then | `ToldDisks` as JSON |
//! | then 8 | the first 8 bytes of SHA-256 over all before |
//!
//! One that can't be read is left out: nothing is decided by it.

use super::codec::{unseal, verified};
use crate::boot::arming::{DiskReport, DiskReportChange, Fingerprint};
use crate::model::WallTime;
use crate::store::{Store, StoreError, StorePage, Write, salvage::RecordKind};
use std::sync::Arc;

const PREFIX: &[u8] = b"disks/";
const MAGIC: &[u8; 4] = b"BWD1";

/// Not salvaged: the machine tells it anew.
pub(super) const KIND: RecordKind = RecordKind {
    name: "disks of a machine",
    prefix: PREFIX,
    salvage: None,
};

/// Which machines told of their disks, and when. What can't be read counts as told the longest time ago.
///
/// # Errors
///
/// The store can't be read at all.
pub fn told(store: &dyn Store) -> Result<Vec<(Fingerprint, WallTime)>, StoreError> {
    let (mut told, mut from) = (Vec::new(), None);
    loop {
        let StorePage { entries, next } = store.page(PREFIX, from)?;
        let read = entries.iter().filter_map(|(key, value)| {
            let at = decode(key, value).map_or(WallTime(0), |report| report.told);
            Some((machine_of(key)?, at))
        });
        told.extend(read);
        if next.is_none() {
            return Ok(told);
        }
        from = next;
    }
}

/// What a machine told, if it is there and can be read.
///
/// # Errors
///
/// The store can't be read at all.
pub fn get(store: &dyn Store, machine: Fingerprint) -> Result<Option<DiskReport>, StoreError> {
    let key = key(machine);
    let found = store.get(&key)?;
    Ok(found.and_then(|(value, _)| decode(&key, &value)))
}

/// The write that makes a change durable.
pub fn write(change: &DiskReportChange) -> Write {
    match change {
        DiskReportChange::Put(report) => Write::Put {
            key: key(report.machine),
            value: encode(report),
        },
        DiskReportChange::Forget(machine) => Write::Delete { key: key(*machine) },
    }
}

fn key(machine: Fingerprint) -> Vec<u8> {
    [PREFIX, &machine.0.to_be_bytes()].concat()
}

fn machine_of(key: &[u8]) -> Option<Fingerprint> {
    let number = key.strip_prefix(PREFIX)?.try_into().ok()?;
    Some(Fingerprint(u64::from_be_bytes(number)))
}

fn encode(report: &Arc<DiskReport>) -> Vec<u8> {
    let json = serde_json::to_vec(&report.disks).unwrap_or_default();
    verified([&MAGIC[..], &report.told.0.to_be_bytes(), &json].concat())
}

fn decode(key: &[u8], value: &[u8]) -> Option<DiskReport> {
    let (told, json) = unseal(MAGIC, value).ok()?.split_first_chunk()?;
    Some(DiskReport {
        machine: machine_of(key)?,
        told: WallTime(u64::from_be_bytes(*told)),
        disks: serde_json::from_slice(json).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DiskInfo, ToldDisks};
    use crate::store;

    fn report(machine: u64) -> DiskReport {
        DiskReport {
            machine: Fingerprint(machine),
            told: WallTime(1_764_000_000),
            disks: ToldDisks {
                disks: vec![DiskInfo {
                    name: "sda".to_owned(),
                    bytes: 480,
                    serial: Some("S1".to_owned()),
                    ..DiskInfo::default()
                }],
                is_whole: true,
            },
        }
    }

    fn put(report: &DiskReport) -> (Vec<u8>, Vec<u8>) {
        match write(&DiskReportChange::Put(Arc::new(report.clone()))) {
            Write::Put { key, value } => (key, value),
            Write::Delete { .. } => panic!("it is kept"),
        }
    }

    #[test]
    fn what_a_machine_told_is_on_disk_as_every_version_wrote_it() {
        let (key, value) = put(&report(7));
        assert_eq!(key, b"disks/\0\0\0\0\0\0\0\x07");
        let (body, sum) = value.split_at(value.len() - 8);
        let json = br#"{"disks":[{"name":"sda","bytes":480,"serial":"S1","nvme":false,"removable":false,"read_only":false}],"is_whole":true}"#;
        assert_eq!(body[..12], *b"BWD1\0\0\0\0\x69\x24\x81\0");
        assert_eq!(str::from_utf8(&body[12..]).unwrap(), str::from_utf8(json).unwrap());
        assert_eq!(sum, SUM, "{sum:x?}");
        assert_eq!(decode(&key, &value), Some(report(7)));
        for bit in 0..value.len() * 8 {
            let mut corrupt = value.clone();
            corrupt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&key, &corrupt), None, "bit {bit}");
        }
    }

    const SUM: &[u8] = b"\x9b\xdc\x1d\xe0\xf2\xa0\x30\x99";

    #[test]
    fn what_was_told_survives_and_what_can_not_be_read_gives_way_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = store::open(folder.path()).unwrap().store;
        let changes = [1, 2].map(|machine| DiskReportChange::Put(Arc::new(report(machine))));
        store.commit(&changes.each_ref().map(write)).unwrap();
        let broken = Write::Put {
            key: key(Fingerprint(2)),
            value: b"BWD1".to_vec(),
        };
        store.commit(&[broken]).unwrap();
        drop(store);
        let store = store::open(folder.path()).unwrap().store;
        assert_eq!(
            told(&*store).unwrap(),
            [(Fingerprint(1), report(1).told), (Fingerprint(2), WallTime(0))]
        );
        assert_eq!(get(&*store, Fingerprint(1)).unwrap(), Some(report(1)));
        assert_eq!(get(&*store, Fingerprint(2)).unwrap(), None);
        store
            .commit(&[write(&DiskReportChange::Forget(Fingerprint(1)))])
            .unwrap();
        assert_eq!(get(&*store, Fingerprint(1)).unwrap(), None);
    }
}
