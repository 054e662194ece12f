//! Where machines were given their addresses, on disk: for hosts that belong to a switch port.
//!
//! Key: `port/` and the four bytes of the address. Value, 50 bytes: what [`super::codec`] says, with `BWP1` for
//! the version and of its own the port's mark, 8 bytes, big-endian.
//!
//! One that can't be read is left out: its host is asked to say its port again, which it does by itself when
//! it rebinds or boots.

use super::codec::{Holder, Kind};
use crate::lease::{PortChange, PortId, PortRecord};
use crate::store::{Store, StoreError, Write, salvage::RecordKind};

const PORT: Kind = Kind {
    prefix: b"port/",
    magic: b"BWP1",
    own_bytes: 8,
};

/// Not salvaged: at an older port a host that was moved would be turned away.
pub(super) const KIND: RecordKind = RecordKind {
    name: "switch port",
    prefix: PORT.prefix,
    salvage: None,
};

/// Every record that can be read, and how many can't.
///
/// # Errors
///
/// The store can't be read at all.
pub fn load(store: &dyn Store) -> Result<(Vec<PortRecord>, usize), StoreError> {
    let entries = store.scan(PORT.prefix)?;
    let all = entries.len();
    let records: Vec<PortRecord> = entries.iter().filter_map(|(key, value)| decode(key, value)).collect();
    let unreadable = all - records.len();
    Ok((records, unreadable))
}

/// The write that a change makes.
pub fn write(change: &PortChange) -> Write {
    match change {
        PortChange::Put(record) => Write::Put {
            key: PORT.key(record.address),
            value: encode(record),
        },
        PortChange::Remove(address) => Write::Delete {
            key: PORT.key(*address),
        },
    }
}

fn encode(record: &PortRecord) -> Vec<u8> {
    let holder = Holder {
        address: record.address,
        client: record.client,
        expires: record.expires,
    };
    PORT.encode(&holder, &record.port.0.to_be_bytes())
}

fn decode(key: &[u8], value: &[u8]) -> Option<PortRecord> {
    let (holder, port) = PORT.decode(key, value).ok()?;
    Some(PortRecord {
        address: holder.address,
        client: holder.client,
        port: PortId(u64::from_be_bytes(port.try_into().ok()?)),
        expires: holder.expires,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MacAddr, WallTime};
    use std::net::Ipv4Addr;

    #[test]
    fn a_record_is_read_as_it_was_written_and_no_other_way() {
        let record = PortRecord {
            address: Ipv4Addr::new(192, 0, 2, 11),
            client: MacAddr([2, 0, 0, 0, 0, 1]).into(),
            port: PortId::of("sw7/Gi1/7"),
            expires: WallTime(1_800_000_000),
        };
        let Write::Put { key, value } = write(&PortChange::Put(record.clone())) else {
            panic!("it is kept")
        };
        assert_eq!(decode(&key, &value), Some(record));
        // What every version wrote.
        let body = b"BWP1\xc0\0\x02\x0b\x01\x06\x02\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x6b\x49\xd2\0\xac\x25\xd9\x1f\xa3\x7d\x45\x92";
        assert_eq!(key, b"port/\xc0\0\x02\x0b");
        assert_eq!(
            (&value[..42], &value[42..]),
            (&body[..], &b"\xde\x51\x6f\x39\x92\xcf\xb3\xf6"[..])
        );
        for place in 0..value.len() {
            let mut corrupt = value.clone();
            corrupt[place] ^= 1;
            assert_eq!(decode(&key, &corrupt), None, "byte {place}");
        }
        assert_eq!(decode(b"port/\xc0\0\x02\x0c", &value), None, "of another address");
        assert_eq!(decode(&key, &value[1..]), None);
        let Write::Delete { key: dropped } = write(&PortChange::Remove(Ipv4Addr::new(192, 0, 2, 11))) else {
            panic!("it is dropped")
        };
        assert_eq!(dropped, key);
    }
}
