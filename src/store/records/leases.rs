//! Lease records on disk.
//!
//! Key: `lease/` and the four bytes of the address. Value, 42 bytes: what [`super::codec`] says, with `BWL1` for
//! the version and nothing of its own.
//!
//! A record that can't be read is skipped and reported, never fatal: an odd one must not keep the
//! daemon from starting (Kea CVE-2019-6474).

use super::codec::{Holder, Kind};
use crate::lease::{LeaseChange, LeaseRecord};
use crate::store::{
    Store, StoreError, Write,
    salvage::{RecordKind, Remnant, SalvageReader},
};

/// One of them, for people.
pub const NAME: &str = "lease";

const LEASE: Kind = Kind {
    prefix: b"lease/",
    magic: b"BWL1",
    own_bytes: 0,
};

/// The checksums tell records from corrupt bytes. Of several versions the one that ends last is taken; a lease that was
/// given back may come back to life, which costs its address some time and nothing else.
pub(super) const KIND: RecordKind = RecordKind {
    name: NAME,
    prefix: LEASE.prefix,
    salvage: Some(SalvageReader {
        magic: LEASE.magic,
        read: remnant,
    }),
};

/// Every lease that can be read, and a sentence for every record that can't.
///
/// # Errors
///
/// The store can't be read at all.
pub fn load(store: &dyn Store) -> Result<(Vec<LeaseRecord>, Vec<String>), StoreError> {
    let mut records = Vec::new();
    let mut unreadable = Vec::new();
    for (key, value) in store.scan(LEASE.prefix)? {
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
        LeaseChange::Remove(address) => Write::Delete {
            key: LEASE.key(*address),
        },
    }
}

fn put(record: &LeaseRecord) -> Write {
    Write::Put {
        key: LEASE.key(record.address),
        value: encode(record),
    }
}

fn remnant(bytes: &[u8]) -> Option<Remnant> {
    let length = LEASE.bytes();
    let (holder, _) = LEASE.decode_value(bytes.get(..length)?).ok()?;
    Some(Remnant {
        key: LEASE.key(holder.address),
        length,
        rank: holder.expires.0,
    })
}

fn encode(record: &LeaseRecord) -> Vec<u8> {
    let LeaseRecord {
        address,
        client,
        expires,
    } = *record;
    let holder = Holder {
        address,
        client,
        expires,
    };
    LEASE.encode(&holder, &[])
}

fn decode(key: &[u8], value: &[u8]) -> Result<LeaseRecord, &'static str> {
    LEASE.decode(key, value).map(|(holder, _)| lease(holder))
}

fn lease(holder: Holder) -> LeaseRecord {
    let Holder {
        address,
        client,
        expires,
    } = holder;
    LeaseRecord {
        address,
        client,
        expires,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HardwareAddr, WallTime};
    use crate::store::salvage::salvage;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

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
        assert_eq!(decode(&LEASE.key(record.address), &encode(&record)), Ok(record));
    }

    #[test]
    fn a_record_on_disk_is_what_every_version_wrote() {
        let Write::Put { key, value } = put(&record(7, 1_700_000_000)) else {
            panic!("it is kept")
        };
        assert_eq!(key, b"lease/\xc0\0\x02\x07");
        let body = b"BWL1\xc0\0\x02\x07\x01\x06RT\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x65\x53\xf1\0";
        assert_eq!(value[..34], body[..]);
        assert_eq!(value[34..], *b"\x76\x53\x46\x96\x21\x9f\x0f\x62");
    }

    #[test]
    fn one_flipped_bit_anywhere_is_noticed() {
        let record = record(7, 1_700_000_000);
        for bit in 0..LEASE.bytes() * 8 {
            let mut bytes = encode(&record);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&LEASE.key(record.address), &bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_record_under_anothers_key_is_not_believed() {
        let record = record(7, 1);
        assert!(decode(&LEASE.key(Ipv4Addr::new(192, 0, 2, 8)), &encode(&record)).is_err());
    }

    #[test]
    fn corrupt_bytes_are_searched_for_the_newest_of_each_record() {
        let corrupt = [
            &[0xff; 100][..],
            &encode(&record(7, 20)),
            b"BWL1",
            &encode(&record(8, 5)),
            &encode(&record(7, 10)),
        ]
        .concat();
        let (found, _) = salvage(&corrupt, &[KIND]);
        assert_eq!(found, [put(&record(7, 20)), put(&record(8, 5))]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(key: Vec<u8>, value: Vec<u8>) {
            let _ = decode(&key, &value);
            let _ = salvage(&value, &[KIND]);
        }
    }
}
