//! Attempts on disk.
//!
//! Key: `attempt/` and the attempt's number, 8 bytes, big-endian: in the order in which they began. Value:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `BWA1`: the version |
//! | 4..8 | length of what follows, big-endian |
//! | then | what a start reads of it, as JSON: [`AttemptHead`] |
//! | then | the whole attempt as JSON, which grows by more, deflated: it is a fifth of that, and there are many |
//! | then 8 | the first 8 bytes of SHA-256 over all before |
//!
//! Earlier versions wrote the whole attempt as JSON in place of both; so it may stand there, and has its head in it.
//! One that can't be read is left out: nothing is decided by it.

use super::codec::{SUM_BYTES, unseal, verified};
use crate::attempt::{Attempt, AttemptHead, AttemptId};
use crate::model::limits::ATTEMPT_JSON_BYTES_MAX;
use crate::store::{
    Store, StoreError, StorePage, Write,
    salvage::{RecordKind, Remnant, SalvageReader},
};
use flate2::{Compress, Compression, FlushCompress, Status, read::DeflateDecoder};
use std::io::Read;

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

/// Hands over the head of every attempt that can be read, the earliest first, with what reads all of it, and returns
/// how many can't be read. All of them at once would take more memory than the daemon does, and the steps of each more
/// time than its start may.
///
/// # Errors
///
/// The store can't be read at all.
pub fn each(
    store: &dyn Store,
    mut take: impl FnMut(&AttemptHead, &dyn Fn() -> Option<Attempt>),
) -> Result<usize, StoreError> {
    let (mut unreadable, mut from) = (0, None);
    loop {
        let StorePage { entries, next } = store.page(PREFIX, from)?;
        for (key, value) in &entries {
            match head(key, value) {
                Some(head) => take(&head, &|| decode(key, value)),
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

/// The writes that keep attempts; of one that can't be written there is none.
pub fn puts<'a>(attempts: impl IntoIterator<Item = &'a Attempt>) -> Vec<Write> {
    // What it works in is larger than many attempts: one for all.
    let mut deflate = Compress::new(Compression::fast(), false);
    attempts
        .into_iter()
        .filter_map(|attempt| put(attempt, &mut deflate))
        .collect()
}

fn put(attempt: &Attempt, deflate: &mut Compress) -> Option<Write> {
    let mut content = serde_json::to_vec(&attempt.head()).ok()?;
    content.extend(deflated(deflate, &serde_json::to_vec(attempt).ok()?)?);
    let length = u32::try_from(content.len()).ok()?;
    let body = [&MAGIC[..], &length.to_be_bytes(), &content].concat();
    Some(Write::Put {
        key: key(attempt.id),
        value: verified(body),
    })
}

fn deflated(deflate: &mut Compress, json: &[u8]) -> Option<Vec<u8>> {
    deflate.reset();
    // What can't be made smaller grows by 5 bytes in 16 KiB at most.
    let mut bytes = Vec::with_capacity(json.len() + json.len() / 1024 + 64);
    let status = deflate.compress_vec(json, &mut bytes, FlushCompress::Finish).ok()?;
    (status == Status::StreamEnd).then_some(bytes)
}

/// The write that removes an attempt.
pub fn remove(id: AttemptId) -> Write {
    Write::Delete { key: key(id) }
}

fn key(id: AttemptId) -> Vec<u8> {
    [PREFIX, &id.0.to_be_bytes()].concat()
}

fn decode(key: &[u8], value: &[u8]) -> Option<Attempt> {
    let (_, content, rest) = read(value)?;
    let attempt: Attempt = match rest {
        [] => serde_json::from_slice(content).ok()?,
        deflated => {
            let mut json = Vec::new();
            let inflated = DeflateDecoder::new(deflated).take(ATTEMPT_JSON_BYTES_MAX);
            { inflated }.read_to_end(&mut json).ok()?;
            serde_json::from_slice(&json).ok()?
        }
    };
    (self::key(attempt.id) == key).then_some(attempt)
}

fn head(key: &[u8], value: &[u8]) -> Option<AttemptHead> {
    let (head, ..) = read(value)?;
    (self::key(head.id) == key).then_some(head)
}

/// The head, the JSON that it stands in, and what stands behind that.
fn read(value: &[u8]) -> Option<(AttemptHead, &[u8], &[u8])> {
    let content = unseal(MAGIC, value).ok()?.get(4..)?;
    let mut values = serde_json::Deserializer::from_slice(content).into_iter();
    let head = values.next()?.ok()?;
    let (json, rest) = content.split_at_checked(values.byte_offset())?;
    Some((head, json, rest))
}

fn remnant(bytes: &[u8]) -> Option<Remnant> {
    let length = bytes.get(MAGIC.len()..LENGTH_END)?.try_into().ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let length = LENGTH_END.checked_add(length)?.checked_add(SUM_BYTES)?;
    let (head, ..) = read(bytes.get(..length)?)?;
    Some(Remnant {
        key: key(head.id),
        length,
        rank: head.last_ms,
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
        let [Write::Put { key, value }] = <[Write; 1]>::try_from(puts([attempt])).unwrap() else {
            panic!("it is kept")
        };
        (key, value)
    }

    /// A record of these bytes between the length and the checksum.
    fn sealed(content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        verified([b"BWA1", &length[..], content].concat())
    }

    #[test]
    fn an_attempt_on_disk_is_what_every_version_wrote() {
        let (key, value) = entry(&attempt());
        assert_eq!(key, b"attempt/\0\0\x01\x9a\xb6\x97\xe8\0");
        let start = br#"{"id":1764000000000,"owner":{"host":"r1u07"},"began":1764000000,"last_ms":20500}"#;
        assert_eq!(value[LENGTH_END..LENGTH_END + start.len()], start[..]);
        // Of an earlier version it is as good.
        for value in [value, sealed(WRITTEN.as_bytes())] {
            assert_eq!(decode(&key, &value), Some(attempt()));
            assert_eq!(head(&key, &value), Some(attempt().head()));
            let length = value.len();
            assert_eq!(remnant(&[&value[..], b"more"].concat()).unwrap().length, length);
            for place in (0..length).step_by(7) {
                let mut corrupt = value.clone();
                corrupt[place] ^= 1;
                assert_eq!(decode(&key, &corrupt), None, "byte {place}");
                assert_eq!(head(&key, &corrupt), None, "byte {place}");
            }
        }
    }

    #[test]
    fn one_that_unpacks_to_more_than_any_attempt_has_is_none() {
        let head = serde_json::to_vec(&attempt().head()).unwrap();
        let spaces = vec![b' '; usize::try_from(ATTEMPT_JSON_BYTES_MAX).unwrap()];
        let packed = |json: &[u8]| deflated(&mut Compress::new(Compression::fast(), false), json).unwrap();
        let (key, _) = entry(&attempt());
        let fits = sealed(&[&head[..], &packed(WRITTEN.as_bytes())].concat());
        assert_eq!(decode(&key, &fits), Some(attempt()));
        let bomb = sealed(&[head, packed(&[&spaces, WRITTEN.as_bytes()].concat())].concat());
        assert_eq!(decode(&key, &bomb), None);
    }

    #[test]
    fn what_a_newer_version_knows_besides_takes_nothing_away() {
        let newer = WRITTEN
            .replace(r#""event":"offered""#, r#""event":"teleported","speed":3"#)
            .replace(r#""stage":"uefi-pxe""#, r#""stage":"uefi-quantum""#);
        let (key, _) = entry(&attempt());
        let read = decode(&key, &sealed(newer.as_bytes())).unwrap();
        assert_eq!(read.steps.len(), 2);
        assert_eq!(read.steps[0].kind, crate::attempt::StepKind::Other);
    }

    #[test]
    fn of_a_broken_file_the_last_version_is_taken() {
        let (early, mut late) = (attempt(), attempt());
        late.last_ms += 1;
        let file = [&b"rubbish"[..], &entry(&late).1, b"BWA1", &entry(&early).1, b"rubbish"].concat();
        let (writes, _) = salvage(&file, super::super::KINDS);
        assert_eq!(writes, puts([&late]));
    }
}
