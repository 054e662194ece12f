//! What records on disk have in common: the version in front, the checksum behind, and, of those that say who
//! has an address until when, all between the two.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | the version, and what finds a record in a broken file |
//! | 4..8 | the address again, so that the value speaks for itself |
//! | 8 | hardware type |
//! | 9 | length of the hardware address, at most 16 |
//! | 10..26 | the hardware address, zero-filled |
//! | 26..34 | its end, in seconds since 1970-01-01 UTC |
//! | 34.. | what else records of its kind say |
//! | then 8 | the first 8 bytes of SHA-256 over all before |

use crate::model::{HardwareAddr, WallTime};
use sha2::{Digest, Sha256};
use std::net::Ipv4Addr;

/// Bytes of a checksum.
pub(in crate::store) const SUM_BYTES: usize = 8;
/// Bytes of a record up to where its kind's own begin.
const HOLDER_BYTES: usize = 34;

/// What tells that a body is as it was written.
pub(in crate::store) fn checksum(body: &[u8]) -> [u8; SUM_BYTES] {
    let sum = Sha256::digest(body);
    std::array::from_fn(|index| sum[index])
}

/// A body, and its checksum behind it.
pub(super) fn verified(mut body: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&body);
    body.extend(sum);
    body
}

/// What stands between the version and the checksum of a record, or why it is none.
pub(super) fn unseal<'v>(magic: &[u8; 4], value: &'v [u8]) -> Result<&'v [u8], &'static str> {
    let (body, sum) = value.split_last_chunk::<SUM_BYTES>().ok_or(WRONG_LENGTH)?;
    let rest = body
        .strip_prefix(magic)
        .ok_or("its version is unknown; a newer bootwright wrote it")?;
    match *sum == checksum(body) {
        true => Ok(rest),
        false => Err("its checksum is wrong"),
    }
}

const WRONG_LENGTH: &str = "it has the wrong length";

/// Who has an address, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub address: Ipv4Addr,
    pub client: HardwareAddr,
    pub expires: WallTime,
}

/// A kind of record that says who has an address.
pub(super) struct Kind {
    /// What its keys begin with; the address's four bytes are the rest.
    pub prefix: &'static [u8],
    pub magic: &'static [u8; 4],
    /// Bytes that it has of its own.
    pub own_bytes: usize,
}

impl Kind {
    /// Bytes of a record.
    pub(super) const fn bytes(&self) -> usize {
        HOLDER_BYTES + self.own_bytes + SUM_BYTES
    }

    pub(super) fn key(&self, address: Ipv4Addr) -> Vec<u8> {
        [self.prefix, &address.octets()].concat()
    }

    /// The record; `own` is what the kind says besides.
    pub(super) fn encode(&self, holder: &Holder, own: &[u8]) -> Vec<u8> {
        let client = holder.client.as_bytes();
        let mut bytes = vec![0; HOLDER_BYTES];
        bytes[..4].copy_from_slice(self.magic);
        bytes[4..8].copy_from_slice(&holder.address.octets());
        bytes[8] = holder.client.htype();
        bytes[9] = u8::try_from(client.len()).expect("a hardware address has at most 16 bytes");
        bytes[10..10 + client.len()].copy_from_slice(client);
        bytes[26..HOLDER_BYTES].copy_from_slice(&holder.expires.0.to_be_bytes());
        bytes.extend_from_slice(own);
        verified(bytes)
    }

    /// What a record says that stands under its key, and what of that is the kind's own; or why it is none.
    pub(super) fn decode<'v>(&self, key: &[u8], value: &'v [u8]) -> Result<(Holder, &'v [u8]), &'static str> {
        let (holder, own) = self.decode_value(value)?;
        match self.key(holder.address) == key {
            true => Ok((holder, own)),
            false => Err("it speaks of another address than its key"),
        }
    }

    /// The same of a record that was found without its key.
    pub(super) fn decode_value<'v>(&self, value: &'v [u8]) -> Result<(Holder, &'v [u8]), &'static str> {
        if value.len() != self.bytes() {
            return Err(WRONG_LENGTH);
        }
        let body = unseal(self.magic, value)?;
        let (address, body) = body.split_first_chunk::<4>().ok_or(WRONG_LENGTH)?;
        let ([htype, length], body) = body.split_first_chunk::<2>().ok_or(WRONG_LENGTH)?;
        let (chaddr, body) = body.split_first_chunk::<16>().ok_or(WRONG_LENGTH)?;
        let (expires, own) = body.split_first_chunk::<8>().ok_or(WRONG_LENGTH)?;
        let holder = Holder {
            address: Ipv4Addr::from(*address),
            client: HardwareAddr::from_wire(*htype, *length, *chaddr),
            expires: WallTime(u64::from_be_bytes(*expires)),
        };
        Ok((holder, own))
    }
}
