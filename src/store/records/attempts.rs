//! Attempts on disk.
//!
//! Key: `attempt/` and the attempt's number, 8 bytes, big-endian: in the order in which they began. Value:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `BWA1`: the version |
//! | 4..8 | length of what follows, big-endian |
//! | then | the attempt as JSON: an attempt has many parts, and grows by more |
//! | then 8 | the first 8 bytes of SHA-256 over all before |
//!
//! One that can't be read is left out: nothing is decided by it.

use super::codec::{SUM_BYTES, unseal, verified};
use crate::attempt::{Attempt, AttemptId};
use crate::store::{
    Store, StoreError, StorePage, Write,
    salvage::{RecordKind, Remnant, SalvageReader},
};

const PREFIX: &[u8] = b"attempt/";
const MAGIC: &[u8; 4] = b"BWA1";
const LENGTH_END: usize = MAGIC.len() + 4;

/// Of several versions the one that was heard last is taken.
pub(super) const KIND: RecordKind = RecordKind {
    name: "attempt",
    prefix: PREFIX,
    salvage: Some(SalvageReader {
        magic: MAGIC,
        read: remnant,
    }),
};

/// Hands over every attempt that can be read, the earliest first, and returns how many can't: all of them at once
/// would take more memory than the daemon does.
///
/// # Errors
///
/// The store can't be read at all.
pub fn each(store: &dyn Store, mut take: impl FnMut(Attempt)) -> Result<usize, StoreError> {
    let (mut unreadable, mut from) = (0, None);
    loop {
        let StorePage { entries, next } = store.page(PREFIX, from)?;
        for (key, value) in &entries {
            match decode(key, value) {
                Some(attempt) => take(attempt),
                None => unreadable += 1,
            }
        }
        if next.is_none() {
            return Ok(unreadable);
        }
        from = next;
    }
}

/// One attempt, if it is there and can be read.
///
/// # Errors
///
/// The store can't be read at all.
pub fn get(store: &dyn Store, id: AttemptId) -> Result<Option<Attempt>, StoreError> {
    let key = key(id);
    let found = store.get(&key)?;
    Ok(found.and_then(|(value, _)| decode(&key, &value)))
}

/// The write that keeps an attempt; `None` if it can't be written.
pub fn put(attempt: &Attempt) -> Option<Write> {
    let json = serde_json::to_vec(attempt).ok()?;
    let length = u32::try_from(json.len()).ok()?;
    let body = [&MAGIC[..], &length.to_be_bytes(), &json].concat();
    Some(Write::Put {
        key: key(attempt.id),
        value: verified(body),
    })
}

/// The write that removes an attempt.
pub fn remove(id: AttemptId) -> Write {
    Write::Delete { key: key(id) }
}

fn key(id: AttemptId) -> Vec<u8> {
    [PREFIX, &id.0.to_be_bytes()].concat()
}

fn decode(key: &[u8], value: &[u8]) -> Option<Attempt> {
    let json = unseal(MAGIC, value).ok()?.get(4..)?;
    let attempt: Attempt = serde_json::from_slice(json).ok()?;
    (self::key(attempt.id) == key).then_some(attempt)
}

fn remnant(bytes: &[u8]) -> Option<Remnant> {
    let length = bytes.get(MAGIC.len()..LENGTH_END)?.try_into().ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let length = LENGTH_END.checked_add(length)?.checked_add(SUM_BYTES)?;
    let value = bytes.get(..length)?;
    let attempt: Attempt = serde_json::from_slice(unseal(MAGIC, value).ok()?.get(4..)?).ok()?;
    Some(Remnant {
        key: key(attempt.id),
        length,
        rank: attempt.last_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::salvage::salvage;

    /// What every version wrote, with everything that an attempt may have.
    const WRITTEN: &str = concat!(
        r#"{"id":1764000000000,"owner":{"host":"r1u07"},"mac":"02:00:00:00:00:07","address":"192.0.2.11","#,
        r#""generation":3,"began":1764000000,"last_ms":20500,"progress":"script","outcome":"disk","steps":["#,
        r#"{"at_ms":0,"until_ms":9000,"times":2,"stage":"uefi-pxe","event":"offered","address":"192.0.2.11","#,
        r#""boot":"loader"},"#,
        r#"{"at_ms":20500,"until_ms":20500,"times":1,"stage":"ipxe","event":"failed","file":"image debian/linux","#,
        r#""bytes":7,"reason":{"code":"connection_ended","sentence":"the connection ended before the body did"}}"#,
        r#"],"omitted":4}"#
    );

    fn attempt() -> Attempt {
        serde_json::from_str(WRITTEN).unwrap()
    }

    fn entry(attempt: &Attempt) -> (Vec<u8>, Vec<u8>) {
        match put(attempt).unwrap() {
            Write::Put { key, value } => (key, value),
            Write::Delete { .. } => panic!("it is kept"),
        }
    }

    #[test]
    fn an_attempt_on_disk_is_what_every_version_wrote() {
        let (key, value) = entry(&attempt());
        assert_eq!(key, b"attempt/\0\0\x01\x9a\xb6\x97\xe8\0");
        let length = u32::try_from(WRITTEN.len()).unwrap().to_be_bytes();
        let body = [b"BWA1", &length[..], WRITTEN.as_bytes()].concat();
        assert_eq!(value[..body.len()], body[..]);
        assert_eq!(value.len(), body.len() + SUM_BYTES);
        assert_eq!(decode(&key, &value), Some(attempt()));
        for place in (0..value.len()).step_by(7) {
            let mut corrupt = value.clone();
            corrupt[place] ^= 1;
            assert_eq!(decode(&key, &corrupt), None, "byte {place}");
        }
    }

    #[test]
    fn what_a_newer_version_knows_besides_takes_nothing_away() {
        let newer = WRITTEN
            .replace(r#""event":"offered""#, r#""event":"teleported","speed":3"#)
            .replace(r#""stage":"uefi-pxe""#, r#""stage":"uefi-quantum""#);
        let body = [
            b"BWA1",
            &u32::try_from(newer.len()).unwrap().to_be_bytes()[..],
            newer.as_bytes(),
        ]
        .concat();
        let (key, _) = entry(&attempt());
        let read = decode(&key, &verified(body)).unwrap();
        assert_eq!(read.steps.len(), 2);
        assert_eq!(read.steps[0].kind, crate::attempt::StepKind::Other);
    }

    #[test]
    fn of_a_broken_file_the_last_version_is_taken() {
        let (early, mut late) = (attempt(), attempt());
        late.last_ms += 1;
        let file = [&b"rubbish"[..], &entry(&late).1, b"BWA1", &entry(&early).1, b"rubbish"].concat();
        let (writes, _) = salvage(&file, super::super::KINDS);
        assert_eq!(writes, [put(&late).unwrap()]);
    }
}
