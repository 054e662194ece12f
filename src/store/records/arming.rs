//! The state of hosts that were armed once, on disk.
//!
//! Key: `host/` and the host's name. Value, numbers big-endian, texts with a byte for their length before them:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `BWA1`: the version |
//! | 4..20 | the epoch that it was written in ([`super::birth`]) |
//! | 20..28 | which machine it was (`Fingerprint`) |
//! | 28..36 | since when, in seconds since 1970-01-01 UTC |
//! | then | by whom: 0 and a person's name, 1 the inventory, 2 and the machine's address, 3 time |
//! | then | the state: 0 armed, 1 installing, 2 installed, 3 failed, 4 local, and what belongs to it |
//! | then 8 | the first 8 bytes of SHA-256 over all before |
//!
//! A record of another epoch, or one that can't be read, is dropped: its host is not armed. So is everything that
//! stood in a broken file: in an older version of the truth a host may be armed that has been installed since.

use super::{
    birth::EpochId,
    codec::{unseal, verified},
};
use crate::boot::arming::{ArmingChange, Credential, Fingerprint, HostRecord, HostState, Install};
use crate::model::{By, InstallFailure, InstallStep, Name, Token, WallTime, limits::INSTALL_WORDS_BYTES_MAX, text};
use crate::store::{Store, StoreError, Write, salvage::RecordKind};
use std::{net::Ipv4Addr, sync::Arc};

const PREFIX: &[u8] = b"host/";
const MAGIC: &[u8; 4] = b"BWA1";

/// Not salvaged.
pub(super) const KIND: RecordKind = RecordKind {
    name: "host state",
    prefix: PREFIX,
    salvage: None,
};

/// Every record of this epoch that can be read, and how many others there were; these are dropped.
///
/// # Errors
///
/// The store can't be read or written at all.
pub fn load(store: &dyn Store, epoch: EpochId) -> Result<(Vec<HostRecord>, usize), StoreError> {
    let (mut records, mut others) = (Vec::new(), Vec::new());
    for (key, value) in store.scan(PREFIX)? {
        match decode(&key, &value, epoch) {
            Some(record) => records.push(record),
            None => others.push(Write::Delete { key }),
        }
    }
    if !others.is_empty() {
        store.commit(&others)?;
    }
    Ok((records, others.len()))
}

/// The write that makes a change durable.
pub fn write(change: &ArmingChange, epoch: EpochId) -> Write {
    match change {
        ArmingChange::Put { record, .. } => Write::Put {
            key: key(&record.name),
            value: encode(record, epoch),
        },
        ArmingChange::Forget(name) => Write::Delete { key: key(name) },
    }
}

fn key(name: &Name) -> Vec<u8> {
    [PREFIX, name.as_str().as_bytes()].concat()
}

fn encode(record: &HostRecord, epoch: EpochId) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(epoch.0.to_be_bytes());
    bytes.extend(record.machine.0.to_be_bytes());
    bytes.extend(record.since.0.to_be_bytes());
    put_by(&mut bytes, &record.by);
    match &record.state {
        HostState::Armed { until } => {
            bytes.push(0);
            bytes.extend(until.0.to_be_bytes());
        }
        HostState::Installing(install) => {
            bytes.push(1);
            put_credential(&mut bytes, &install.credential);
            bytes.push(install.tries);
            put_step(&mut bytes, &install.last);
            bytes.extend(install.deadline.0.to_be_bytes());
        }
        HostState::Installed { by } => {
            bytes.push(2);
            put_credential(&mut bytes, by);
        }
        HostState::Failed { why, last, by } => {
            bytes.push(3);
            put_failure(&mut bytes, why);
            put_step(&mut bytes, last);
            match by {
                None => bytes.push(0),
                Some(by) => {
                    bytes.push(1);
                    put_credential(&mut bytes, by);
                }
            }
        }
        HostState::Local => bytes.push(4),
    }
    verified(bytes)
}

fn put_by(bytes: &mut Vec<u8>, by: &By) {
    match by {
        By::Operator { name } => {
            bytes.push(0);
            put_text(bytes, name);
        }
        By::Inventory => bytes.push(1),
        By::Machine { address } => {
            bytes.push(2);
            bytes.extend(address.octets());
        }
        By::Time => bytes.push(3),
    }
}

fn put_credential(bytes: &mut Vec<u8>, credential: &Credential) {
    bytes.extend(credential.token.to_bytes());
    bytes.extend(credential.address.octets());
}

fn put_step(bytes: &mut Vec<u8>, step: &InstallStep) {
    match step {
        InstallStep::Script => bytes.push(0),
        InstallStep::Answer => bytes.push(1),
        InstallStep::Started => bytes.push(2),
        InstallStep::Progress { percent, message } => {
            bytes.extend([3, percent.unwrap_or(u8::MAX)]);
            put_text(bytes, message);
        }
    }
}

fn put_failure(bytes: &mut Vec<u8>, why: &InstallFailure) {
    match why {
        InstallFailure::Reported { reason } => {
            bytes.push(0);
            put_text(bytes, reason);
        }
        InstallFailure::Silent => bytes.push(1),
        InstallFailure::TooOften { tries } => bytes.extend([2, *tries]),
        InstallFailure::Interrupted => bytes.push(3),
    }
}

/// Whoever takes words in shortens them; what is longer all the same is cut here.
fn put_text(bytes: &mut Vec<u8>, words: &str) {
    let kept = text::prefix(words, INSTALL_WORDS_BYTES_MAX);
    bytes.push(u8::try_from(kept.len()).unwrap_or(0));
    bytes.extend(kept.as_bytes());
}

fn decode(key: &[u8], value: &[u8], epoch: EpochId) -> Option<HostRecord> {
    let name = str::from_utf8(key.strip_prefix(PREFIX)?).ok()?.parse().ok()?;
    let mut rest = Rest(unseal(MAGIC, value).ok()?);
    if u128::from_be_bytes(rest.take()?) != epoch.0 {
        return None;
    }
    let machine = Fingerprint(u64::from_be_bytes(rest.take()?));
    let since = rest.time()?;
    let by = rest.by()?;
    let state = rest.state()?;
    rest.0.is_empty().then_some(HostRecord {
        name,
        machine,
        state,
        since,
        by,
    })
}

/// What of a record is not read yet.
struct Rest<'v>(&'v [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn time(&mut self) -> Option<WallTime> {
        Some(WallTime(u64::from_be_bytes(self.take()?)))
    }

    fn text(&mut self) -> Option<Arc<str>> {
        let length = usize::from(self.byte()?);
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(str::from_utf8(text).ok()?.into())
    }

    fn by(&mut self) -> Option<By> {
        Some(match self.byte()? {
            0 => By::Operator { name: self.text()? },
            1 => By::Inventory,
            2 => By::Machine {
                address: Ipv4Addr::from(self.take::<4>()?),
            },
            3 => By::Time,
            _ => return None,
        })
    }

    fn credential(&mut self) -> Option<Credential> {
        Some(Credential {
            token: Token::of_random(self.take()?),
            address: Ipv4Addr::from(self.take::<4>()?),
        })
    }

    fn step(&mut self) -> Option<InstallStep> {
        Some(match self.byte()? {
            0 => InstallStep::Script,
            1 => InstallStep::Answer,
            2 => InstallStep::Started,
            3 => InstallStep::Progress {
                percent: Some(self.byte()?).filter(|percent| *percent <= 100),
                message: self.text()?,
            },
            _ => return None,
        })
    }

    fn failure(&mut self) -> Option<InstallFailure> {
        Some(match self.byte()? {
            0 => InstallFailure::Reported { reason: self.text()? },
            1 => InstallFailure::Silent,
            2 => InstallFailure::TooOften { tries: self.byte()? },
            3 => InstallFailure::Interrupted,
            _ => return None,
        })
    }

    fn state(&mut self) -> Option<HostState> {
        Some(match self.byte()? {
            0 => HostState::Armed { until: self.time()? },
            1 => HostState::Installing(Install {
                credential: self.credential()?,
                tries: self.byte()?,
                last: self.step()?,
                deadline: self.time()?,
            }),
            2 => HostState::Installed { by: self.credential()? },
            3 => HostState::Failed {
                why: self.failure()?,
                last: self.step()?,
                by: match self.byte()? {
                    0 => None,
                    _ => Some(self.credential()?),
                },
            },
            4 => HostState::Local,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    const EPOCH: EpochId = EpochId(7 << 100);
    const SINCE: WallTime = WallTime(1_764_000_000);

    fn record(state: HostState, by: By) -> HostRecord {
        HostRecord {
            name: "r1u07".parse().unwrap(),
            machine: Fingerprint(0x0102_0304_0506_0708),
            state,
            since: SINCE,
            by,
        }
    }

    fn credential() -> Credential {
        Credential {
            token: Token::of_random(*b"0123456789abcdef"),
            address: Ipv4Addr::new(192, 0, 2, 7),
        }
    }

    fn every() -> Vec<(HostRecord, &'static [u8])> {
        let person = || By::Operator { name: "ada".into() };
        let progress = |percent| InstallStep::Progress {
            percent,
            message: "packages".into(),
        };
        let install = Install {
            credential: credential(),
            tries: 2,
            last: progress(Some(40)),
            deadline: WallTime(SINCE.0 + 1),
        };
        let reported = HostState::Failed {
            why: InstallFailure::Reported {
                reason: "no disk".into(),
            },
            last: InstallStep::Started,
            by: Some(credential()),
        };
        let failed = |why, last| HostState::Failed { why, last, by: None };
        vec![
            (
                record(HostState::Armed { until: SINCE }, person()),
                b"\0\x03ada\0\0\0\0\0\x69\x24\x81\0",
            ),
            (
                record(HostState::Installing(install), By::Inventory),
                b"\x01\x010123456789abcdef\xc0\0\x02\x07\x02\x03\x28\x08packages\0\0\0\0\x69\x24\x81\x01",
            ),
            (
                record(
                    HostState::Installed { by: credential() },
                    By::Machine {
                        address: credential().address,
                    },
                ),
                b"\x02\xc0\0\x02\x07\x020123456789abcdef\xc0\0\x02\x07",
            ),
            (
                record(reported, By::Time),
                b"\x03\x03\0\x07no disk\x02\x010123456789abcdef\xc0\0\x02\x07",
            ),
            (
                record(failed(InstallFailure::Silent, InstallStep::Answer), By::Time),
                b"\x03\x03\x01\x01\0",
            ),
            (
                record(failed(InstallFailure::TooOften { tries: 3 }, progress(None)), By::Time),
                b"\x03\x03\x02\x03\x03\xff\x08packages\0",
            ),
            (
                record(failed(InstallFailure::Interrupted, InstallStep::Answer), By::Time),
                b"\x03\x03\x03\x01\0",
            ),
            (record(HostState::Local, By::Time), b"\x03\x04"),
        ]
    }

    fn put(record: &HostRecord) -> (Vec<u8>, Vec<u8>) {
        let record = Arc::new(record.clone());
        match write(&ArmingChange::Put { record, news: None }, EPOCH) {
            Write::Put { key, value } => (key, value),
            Write::Delete { .. } => panic!("it is kept"),
        }
    }

    #[test]
    fn a_state_on_disk_is_what_every_version_wrote() {
        let head = b"BWA1\0\0\0\x70\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\x69\x24\x81\0";
        for (record, own) in every() {
            let (key, value) = put(&record);
            assert_eq!(key, b"host/r1u07");
            let body = &value[..value.len() - 8];
            assert_eq!((&body[..36], &body[36..]), (&head[..], own), "{record:?}");
            assert_eq!(decode(&key, &value, EPOCH), Some(record));
        }
        // One sum, as it was written first.
        let (_, value) = put(&record(HostState::Local, By::Time));
        assert_eq!(value[38..], *b"\xd7\xc2\xbb\xc8\xc3\x12\xef\xbc");
    }

    #[test]
    fn one_flipped_bit_or_missing_byte_anywhere_is_noticed() {
        for (record, _) in every() {
            let (key, value) = put(&record);
            for bit in 0..value.len() * 8 {
                let mut corrupt = value.clone();
                corrupt[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(&key, &corrupt, EPOCH), None, "bit {bit}");
            }
            for length in 0..value.len() {
                assert_eq!(decode(&key, &value[..length], EPOCH), None, "{length} bytes");
            }
        }
    }

    #[test]
    fn what_another_epoch_wrote_arms_nobody_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = store::open(folder.path()).unwrap().store;
        for (name, epoch) in [("r1u07", EPOCH), ("r1u08", EpochId(8))] {
            let record = HostRecord {
                name: name.parse().unwrap(),
                ..record(HostState::Armed { until: SINCE }, By::Inventory)
            };
            let change = ArmingChange::Put {
                record: Arc::new(record),
                news: None,
            };
            store.commit(&[write(&change, epoch)]).unwrap();
        }
        let (records, others) = load(&*store, EPOCH).unwrap();
        let names: Vec<&str> = records.iter().map(|record| record.name.as_str()).collect();
        assert_eq!((names, others), (vec!["r1u07"], 1));
        assert_eq!(load(&*store, EPOCH).unwrap().1, 0, "it is gone");
        store
            .commit(&[write(&ArmingChange::Forget("r1u07".parse().unwrap()), EPOCH)])
            .unwrap();
        assert!(load(&*store, EPOCH).unwrap().0.is_empty());
    }

    #[test]
    fn words_that_are_too_long_are_cut_between_characters() {
        let record = record(
            HostState::Local,
            By::Operator {
                name: "ü".repeat(300).into(),
            },
        );
        let (key, value) = put(&record);
        let read = decode(&key, &value, EPOCH).unwrap();
        let By::Operator { name } = read.by else { panic!() };
        assert!(name.len() <= INSTALL_WORDS_BYTES_MAX && record_starts(&record, &name));
    }

    fn record_starts(record: &HostRecord, kept: &str) -> bool {
        matches!(&record.by, By::Operator { name } if name.starts_with(kept) && !kept.is_empty())
    }
}
