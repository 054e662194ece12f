//! The verification state of artifacts: verified, mismatched, unreadable, or not read yet.
//!
//! A generation says which checksums its artifacts must have; this records which
//! checksum each file was found to have, as identified by its stamp (length, times, inode). What is not verified is not
//! served. It also decides which file is read next. Does not own: reading files, and storing the results.

use crate::boot::snapshot::{Artifact, FileStamp, Image};
use crate::model::{Name, Now, WallTime, limits::VERIFY_RETRY_INTERVAL};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Vouches for a file with one stamp, until its bytes are found to be others.
#[derive(Clone, Debug)]
pub struct VerifiedStamp {
    stamp: FileStamp,
    sha256: Option<[u8; 32]>,
    broken: Arc<AtomicBool>,
}

impl VerifiedStamp {
    /// An unbroken seal.
    pub fn of(stamp: FileStamp) -> VerifiedStamp {
        VerifiedStamp {
            stamp,
            sha256: None,
            broken: Arc::default(),
        }
    }

    /// The same, which tells besides what its bytes were found to be.
    fn with_sum(&self, sha256: [u8; 32]) -> VerifiedStamp {
        VerifiedStamp {
            sha256: Some(sha256),
            ..self.clone()
        }
    }

    /// The SHA-256 of the file's bytes, where it was handed out for an artifact.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        self.sha256
    }

    /// What the file must still be.
    pub fn stamp(&self) -> FileStamp {
        self.stamp
    }

    /// Whether the file's bytes turned out wrong since: transfers under way end then.
    pub fn is_revoked(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    fn revoke(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Somebody read other bytes than those it vouches for: transfers under way end, and the file is served again
    /// once it was read from its first byte to its last.
    pub fn doubt(&self) {
        self.revoke();
    }
}

impl PartialEq for VerifiedStamp {
    fn eq(&self, other: &VerifiedStamp) -> bool {
        self.stamp == other.stamp && self.is_revoked() == other.is_revoked()
    }
}

impl Eq for VerifiedStamp {}

/// What a file came to that was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashResult {
    /// Its SHA-256.
    Sum([u8; 32]),
    /// It could not be read; why.
    Unreadable(String),
    /// Another file has its name by now, which the next generation will know.
    Replaced,
}

/// A checksum that was found, as it is kept over restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChecksumRecord {
    /// The file.
    pub path: PathBuf,
    /// What the file was.
    pub stamp: FileStamp,
    /// The SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// When they were read.
    pub at: WallTime,
}

/// What is known of an artifact's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerificationState {
    /// They are the right ones.
    Verified {
        /// For whoever serves them.
        verified: VerifiedStamp,
        /// When they were read last.
        at: WallTime,
    },
    /// They have not been read to the end yet.
    Pending {
        /// Bytes read so far.
        done: u64,
    },
    /// They differ from the image's `sha256`.
    Mismatch {
        /// The checksum they have.
        found: [u8; 32],
    },
    /// They can't be read.
    Unreadable {
        /// The error.
        reason: String,
    },
}

/// Why a file is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadReason {
    /// It has not been verified yet, and so is not served.
    New,
    /// It was verified before; a disk may fail later.
    Recheck,
}

/// An artifact that is to be read next.
#[derive(Clone, Copy, Debug)]
pub struct NextRead<'a> {
    /// Its image.
    pub image: &'a Image,
    /// The artifact.
    pub artifact: &'a Artifact,
    /// Why it is read.
    pub why: ReadReason,
}

/// The newest finding about one file.
#[derive(Clone)]
struct ChecksumEntry {
    verified: VerifiedStamp,
    finding: HashResult,
    at: WallTime,
    /// How old it was when it was entered, and when that was: the calendar may jump, and this does not.
    age: Duration,
    entered: Duration,
}

impl ChecksumEntry {
    fn age(&self, now: Now) -> Duration {
        self.age + now.monotonic.saturating_sub(self.entered)
    }

    /// Whether other bytes were read since.
    fn is_doubted(&self) -> bool {
        self.verified.is_revoked()
    }
}

/// What is known of every artifact's bytes.
#[derive(Clone, Default)]
pub struct Verification {
    facts: HashMap<PathBuf, ChecksumEntry>,
    under_way: HashMap<PathBuf, (FileStamp, u64)>,
}

impl Verification {
    /// Takes what was kept over a restart. A record from the future is as good as one of now.
    pub fn restore(&mut self, now: Now, records: Vec<ChecksumRecord>) {
        for record in records {
            let fact = ChecksumEntry {
                verified: VerifiedStamp::of(record.stamp),
                finding: HashResult::Sum(record.sha256),
                at: record.at,
                age: Duration::from_secs(now.wall.0.saturating_sub(record.at.0)),
                entered: now.monotonic,
            };
            self.facts.insert(record.path, fact);
        }
    }

    /// What is known of an artifact.
    pub fn state(&self, image: &Image, artifact: &Artifact) -> VerificationState {
        let path = image.path(artifact);
        let Some(fact) = self.fact(&path, artifact.stamp) else {
            return VerificationState::Pending {
                done: self.progress(&path, artifact.stamp),
            };
        };
        match &fact.finding {
            HashResult::Sum(found) if *found == artifact.sha256 && !fact.is_doubted() => VerificationState::Verified {
                verified: fact.verified.with_sum(*found),
                at: fact.at,
            },
            HashResult::Sum(_) if fact.is_doubted() => VerificationState::Pending {
                done: self.progress(&path, artifact.stamp),
            },
            HashResult::Sum(found) => VerificationState::Mismatch { found: *found },
            HashResult::Unreadable(reason) => VerificationState::Unreadable { reason: reason.clone() },
            // Not a fault: who asks in that moment has only to wait for it.
            HashResult::Replaced => VerificationState::Pending { done: 0 },
        }
    }

    /// Whether an artifact was verified, and other bytes of it were read since.
    pub fn is_doubted(&self, image: &Image, artifact: &Artifact) -> bool {
        let fact = self.fact(&image.path(artifact), artifact.stamp);
        fact.is_some_and(ChecksumEntry::is_doubted)
    }

    fn fact(&self, path: &Path, stamp: FileStamp) -> Option<&ChecksumEntry> {
        self.facts.get(path).filter(|fact| fact.verified.stamp == stamp)
    }

    fn progress(&self, path: &Path, stamp: FileStamp) -> u64 {
        let begun = self.under_way.get(path).filter(|(of, _)| *of == stamp);
        begun.map_or(0, |(_, done)| *done)
    }

    /// Takes how far the reading of a file has come.
    pub fn record_progress(&mut self, path: &Path, stamp: FileStamp, done: u64) {
        self.under_way.insert(path.to_owned(), (stamp, done));
    }

    /// Takes what a file came to. Transfers of it that are under way end where it is not what it was.
    pub fn record(&mut self, now: Now, path: &Path, stamp: FileStamp, finding: HashResult) {
        self.under_way.remove(path);
        let earlier = self.facts.remove(path).filter(|fact| fact.verified.stamp == stamp);
        let verified = match earlier {
            Some(fact) if fact.finding == finding && !fact.is_doubted() => fact.verified,
            // Whoever is being sent the old file gets all of it.
            Some(_) if finding == HashResult::Replaced => VerifiedStamp::of(stamp),
            Some(fact) => {
                fact.verified.revoke();
                VerifiedStamp::of(stamp)
            }
            None => VerifiedStamp::of(stamp),
        };
        let fact = ChecksumEntry {
            verified,
            finding,
            at: now.wall,
            age: Duration::ZERO,
            entered: now.monotonic,
        };
        self.facts.insert(path.to_owned(), fact);
    }

    /// Forgets every file that no image has; which those were.
    pub fn forget_unlisted(&mut self, images: &BTreeMap<Name, Image>) -> Vec<PathBuf> {
        let has = |image: &'_ Image| {
            image
                .artifacts()
                .map(|artifact| image.path(artifact))
                .collect::<Vec<_>>()
        };
        let ours: HashSet<PathBuf> = images.values().flat_map(has).collect();
        self.under_way.retain(|path, _| ours.contains(path));
        let gone: Vec<PathBuf> = self
            .facts
            .keys()
            .filter(|path| !ours.contains(*path))
            .cloned()
            .collect();
        for path in &gone {
            self.facts.remove(path);
        }
        gone
    }

    /// What is to be read next: what is not known yet, the least work first, so that a kernel does
    /// not wait for a disk image; and then what was not read for longest, if that is long enough.
    pub fn next_to_read<'a>(
        &self,
        now: Now,
        images: &'a BTreeMap<Name, Image>,
        recheck: Option<Duration>,
    ) -> Option<NextRead<'a>> {
        let all = || {
            let one = |image: &'a Image| image.artifacts().map(move |artifact| (image, artifact));
            images.values().flat_map(one)
        };
        let new = all().filter_map(|(image, artifact)| {
            let path = image.path(artifact);
            let left = artifact.stamp.length - self.progress(&path, artifact.stamp).min(artifact.stamp.length);
            self.is_unverified(now, &path, artifact.stamp)
                .then_some((left, image, artifact))
        });
        if let Some((_, image, artifact)) = new.min_by_key(|(left, ..)| *left) {
            let why = ReadReason::New;
            return Some(NextRead { image, artifact, why });
        }
        let recheck = recheck?;
        let old = all().filter_map(|(image, artifact)| {
            let fact = self.fact(&image.path(artifact), artifact.stamp)?;
            let age = fact.age(now);
            let is_due = matches!(fact.finding, HashResult::Sum(_)) && age >= recheck;
            is_due.then_some((age, image, artifact))
        });
        let (_, image, artifact) = old.max_by_key(|(age, ..)| *age)?;
        let why = ReadReason::Recheck;
        Some(NextRead { image, artifact, why })
    }

    fn is_unverified(&self, now: Now, path: &Path, stamp: FileStamp) -> bool {
        match self.fact(path, stamp) {
            None => true,
            Some(fact) if fact.is_doubted() => true,
            Some(fact) => !matches!(fact.finding, HashResult::Sum(_)) && fact.age(now) >= VERIFY_RETRY_INTERVAL,
        }
    }
}

#[cfg(test)]
mod tests;
