//! Where machines were given their addresses, on disk: for hosts that belong to a switch port.
//!
//! Key: `port/` and the four bytes of the address. Value, 50 bytes, numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `BWP1`: the version |
//! | 4..8 | the address again |
//! | 8 | hardware type |
//! | 9 | length of the hardware address, at most 16 |
//! | 10..26 | the hardware address, zero-filled |
//! | 26..34 | until when it counts, in seconds since 1970-01-01 UTC |
//! | 34..42 | the port's mark |
//! | 42..50 | the first 8 bytes of SHA-256 over all before |
//!
//! One that can't be read is left out: its host is asked to say its port again, which it does by itself when
//! it rebinds or boots.

use super::{Store, StoreError, Write};
use crate::lease::{PortChange, PortMark, PortRecord};
use crate::model::{HardwareAddr, WallTime};
use sha2::{Digest, Sha256};
use std::net::Ipv4Addr;

const PREFIX: &[u8] = b"port/";
const MAGIC: &[u8; 4] = b"BWP1";
const BODY_BYTES: usize = 42;
const RECORD_BYTES: usize = 50;

/// Every record that can be read, and how many can't.
///
/// # Errors
///
/// The store can't be read at all.
pub fn load(store: &dyn Store) -> Result<(Vec<PortRecord>, usize), StoreError> {
    let entries = store.scan(PREFIX)?;
    let all = entries.len();
    let records: Vec<PortRecord> = entries.iter().filter_map(|(key, value)| decode(key, value)).collect();
    let unreadable = all - records.len();
    Ok((records, unreadable))
}

/// The write that a change makes.
pub fn write(change: &PortChange) -> Write {
    match change {
        PortChange::Put(record) => Write::Put {
            key: key(record.address),
            value: encode(record).to_vec(),
        },
        PortChange::Remove(address) => Write::Delete { key: key(*address) },
    }
}

fn key(address: Ipv4Addr) -> Vec<u8> {
    [PREFIX, &address.octets()].concat()
}

fn encode(record: &PortRecord) -> [u8; RECORD_BYTES] {
    let client = record.client.as_bytes();
    let mut bytes = [0; RECORD_BYTES];
    bytes[..4].copy_from_slice(MAGIC);
    bytes[4..8].copy_from_slice(&record.address.octets());
    bytes[8] = record.client.htype();
    bytes[9] = u8::try_from(client.len()).expect("a hardware address has at most 16 bytes");
    bytes[10..10 + client.len()].copy_from_slice(client);
    bytes[26..34].copy_from_slice(&record.expires.0.to_be_bytes());
    bytes[34..BODY_BYTES].copy_from_slice(&record.port.0.to_be_bytes());
    let sum = Sha256::digest(&bytes[..BODY_BYTES]);
    bytes[BODY_BYTES..].copy_from_slice(&sum[..8]);
    bytes
}

fn decode(key_bytes: &[u8], value: &[u8]) -> Option<PortRecord> {
    let value: &[u8; RECORD_BYTES] = value.try_into().ok()?;
    let is_whole = value.starts_with(MAGIC) && value[BODY_BYTES..] == Sha256::digest(&value[..BODY_BYTES])[..8];
    let address = Ipv4Addr::new(value[4], value[5], value[6], value[7]);
    if !is_whole || key(address) != key_bytes {
        return None;
    }
    let mut chaddr = [0; 16];
    chaddr.copy_from_slice(&value[10..26]);
    let number = |at: usize| value[at..at + 8].try_into().map(u64::from_be_bytes).ok();
    Some(PortRecord {
        address,
        client: HardwareAddr::from_wire(value[8], value[9], chaddr),
        port: PortMark(number(34)?),
        expires: WallTime(number(26)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MacAddr;

    #[test]
    fn a_record_is_read_as_it_was_written_and_no_other_way() {
        let record = PortRecord {
            address: Ipv4Addr::new(192, 0, 2, 11),
            client: MacAddr([2, 0, 0, 0, 0, 1]).into(),
            port: PortMark::of("sw7/Gi1/7"),
            expires: WallTime(1_800_000_000),
        };
        let Write::Put { key, value } = write(&PortChange::Put(record.clone())) else {
            panic!("it is kept")
        };
        assert_eq!(decode(&key, &value), Some(record));
        for place in 0..value.len() {
            let mut broken = value.clone();
            broken[place] ^= 1;
            assert_eq!(decode(&key, &broken), None, "byte {place}");
        }
        assert_eq!(decode(b"port/\xc0\0\x02\x0c", &value), None, "of another address");
        assert_eq!(decode(&key, &value[1..]), None);
        let Write::Delete { key: dropped } = write(&PortChange::Remove(Ipv4Addr::new(192, 0, 2, 11))) else {
            panic!("it is dropped")
        };
        assert_eq!(dropped, key);
    }
}
