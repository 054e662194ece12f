//! Lease records on disk.
//!
//! Key: `lease/` and the four bytes of the address. Value, 42 bytes, numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `BWL1`: the version, and what finds a record in a broken file |
//! | 4..8 | the address again, so that the value speaks for itself |
//! | 8 | hardware type |
//! | 9 | length of the hardware address, at most 16 |
//! | 10..26 | the hardware address, zero-filled |
//! | 26..34 | its end, in seconds since 1970-01-01 UTC |
//! | 34..42 | the first 8 bytes of SHA-256 over all before |
//!
//! A record that can't be read is skipped and reported, never fatal: an odd one must not keep the
//! daemon from starting (Kea CVE-2019-6474).

use super::{Store, StoreError, Write};
use crate::lease::{LeaseChange, LeaseRecord};
use crate::model::{HardwareAddr, WallTime};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, net::Ipv4Addr};

const PREFIX: &[u8] = b"lease/";
const MAGIC: &[u8; 4] = b"BWL1";
const BODY_BYTES: usize = 34;
const RECORD_BYTES: usize = 42;

/// Every lease that can be read, and a sentence for every record that can't.
///
/// # Errors
///
/// The store can't be read at all.
pub fn load(store: &dyn Store) -> Result<(Vec<LeaseRecord>, Vec<String>), StoreError> {
    let mut records = Vec::new();
    let mut unreadable = Vec::new();
    for (key, value) in store.scan(PREFIX)? {
        match decode(&key, &value) {
            Ok(record) => records.push(record),
            Err(reason) => unreadable.push(format!("record {}: {reason}", key.escape_ascii())),
        }
    }
    Ok((records, unreadable))
}

/// The write that makes a change durable.
pub fn write(change: &LeaseChange) -> Write {
    match change {
        LeaseChange::Put(record) => put(record),
        LeaseChange::Remove(address) => Write::Delete { key: key(*address) },
    }
}

/// The write that keeps a record.
pub(super) fn put(record: &LeaseRecord) -> Write {
    Write::Put {
        key: key(record.address),
        value: encode(record).to_vec(),
    }
}

/// The leases that still stand in a store's broken file: the checksums tell records from rubble.
/// redb leaves older versions of a record behind, so of several the one that ends last is taken; a
/// lease that was given back may come back to life, which costs its address some time and
/// nothing else.
pub(super) fn salvage(file: &[u8]) -> Vec<LeaseRecord> {
    let mut found: BTreeMap<Ipv4Addr, LeaseRecord> = BTreeMap::new();
    for bytes in file.windows(RECORD_BYTES).filter(|bytes| bytes.starts_with(MAGIC)) {
        let Ok(record) = decode_value(bytes) else { continue };
        match found.get(&record.address) {
            Some(known) if known.expires >= record.expires => {}
            Some(_) | None => drop(found.insert(record.address, record)),
        }
    }
    found.into_values().collect()
}

fn key(address: Ipv4Addr) -> Vec<u8> {
    [PREFIX, &address.octets()].concat()
}

fn encode(record: &LeaseRecord) -> [u8; RECORD_BYTES] {
    let client = record.client.as_bytes();
    let mut bytes = [0; RECORD_BYTES];
    bytes[..4].copy_from_slice(MAGIC);
    bytes[4..8].copy_from_slice(&record.address.octets());
    bytes[8] = record.client.htype();
    bytes[9] = u8::try_from(client.len()).expect("a hardware address has at most 16 bytes");
    bytes[10..10 + client.len()].copy_from_slice(client);
    bytes[26..BODY_BYTES].copy_from_slice(&record.expires.0.to_be_bytes());
    let sum = checksum(&bytes[..BODY_BYTES]);
    bytes[BODY_BYTES..].copy_from_slice(&sum);
    bytes
}

fn decode(key_bytes: &[u8], value: &[u8]) -> Result<LeaseRecord, &'static str> {
    let record = decode_value(value)?;
    if key(record.address) != key_bytes {
        return Err("it speaks of another address than its key");
    }
    Ok(record)
}

fn decode_value(value: &[u8]) -> Result<LeaseRecord, &'static str> {
    let value: &[u8; RECORD_BYTES] = value.try_into().map_err(|_| "it has the wrong length")?;
    if !value.starts_with(MAGIC) {
        return Err("its version is unknown; a newer bootwright wrote it");
    }
    if value[BODY_BYTES..] != checksum(&value[..BODY_BYTES]) {
        return Err("its checksum is wrong");
    }
    let mut chaddr = [0; 16];
    chaddr.copy_from_slice(&value[10..26]);
    let mut expires = [0; 8];
    expires.copy_from_slice(&value[26..BODY_BYTES]);
    Ok(LeaseRecord {
        address: Ipv4Addr::new(value[4], value[5], value[6], value[7]),
        client: HardwareAddr::from_wire(value[8], value[9], chaddr),
        expires: WallTime(u64::from_be_bytes(expires)),
    })
}

fn checksum(body: &[u8]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&Sha256::digest(body)[..8]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(last: u8, expires: u64) -> LeaseRecord {
        LeaseRecord {
            address: Ipv4Addr::new(192, 0, 2, last),
            client: HardwareAddr::from_wire(1, 6, [0x52, 0x54, 0, 0, 0, last, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            expires: WallTime(expires),
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let record = record(7, 1_700_000_000);
        assert_eq!(decode(&key(record.address), &encode(&record)), Ok(record));
    }

    #[test]
    fn one_flipped_bit_anywhere_is_noticed() {
        let record = record(7, 1_700_000_000);
        for bit in 0..RECORD_BYTES * 8 {
            let mut bytes = encode(&record);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&key(record.address), &bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_record_under_anothers_key_is_not_believed() {
        let record = record(7, 1);
        assert!(decode(&key(Ipv4Addr::new(192, 0, 2, 8)), &encode(&record)).is_err());
    }

    #[test]
    fn rubble_is_searched_for_the_newest_of_each_record() {
        let rubble = [
            &[0xff; 100][..],
            &encode(&record(7, 20)),
            b"BWL1",
            &encode(&record(8, 5)),
            &encode(&record(7, 10)),
        ]
        .concat();
        assert_eq!(salvage(&rubble), [record(7, 20), record(8, 5)]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(key: Vec<u8>, value: Vec<u8>) {
            let _ = decode(&key, &value);
            let _ = salvage(&value);
        }
    }
}
