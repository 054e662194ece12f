//! The journal of generations: what each was, who had it read, what it changed, and its files.
//!
//! It is written behind a reload and never before it: a disk that is full loses an entry, and no reload. Whoever reads
//! it waits for the entry that is being written.

use crate::boot::{
    arming::KnownInstalls,
    plan::{ChangeKind, PlannedChanges},
    snapshot::Snapshot,
};
use crate::config::{self, Appliance, SavedFile, validation::TriedFiles};
use crate::model::WallTime;
use crate::net::socket::return_free_memory;
use crate::store::generations::{self, ChangeCounts, GenerationFile, GenerationRecord};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Where generations are kept.
pub(super) struct GenerationJournal {
    state: PathBuf,
    config_file: PathBuf,
    turn: Arc<Mutex<()>>,
}

/// A generation that is in force, and is to be kept.
pub(super) struct NewGeneration {
    /// What it took the place of.
    pub(super) before: Arc<Snapshot>,
    /// Who could install then.
    pub(super) installs: KnownInstalls,
    pub(super) now: Arc<Snapshot>,
    pub(super) at: WallTime,
    pub(super) by: String,
    pub(super) files: FilesOfGeneration,
}

/// Where its files are.
pub(super) enum FilesOfGeneration {
    /// On disk, where they are those that were tried.
    OnDisk(Box<Appliance>, TriedFiles),
    /// Those of an earlier one, which was taken back.
    Earlier(u64, Vec<GenerationFile>),
}

/// What a daemon of this state is to begin with, by the files that it was started with: a start with the same files
/// goes on with the same generation, and any other is one of its own.
pub(super) fn begin(
    (appliance, config_file): (&Appliance, &Path),
    (now, hosts): (WallTime, usize),
    is_fallback: bool,
) -> u64 {
    let state = &appliance.state;
    let latest = generations::latest(state);
    let last = latest.as_ref().map_or(0, |latest| latest.number);
    if is_fallback {
        return last.max(1);
    }
    let Ok(files) = config::files_to_save(appliance, config_file) else {
        return last + 1;
    };
    let files = borrowed(&files);
    let digest = generations::digest(&files);
    if latest.is_some_and(|latest| latest.digest == digest) {
        return last;
    }
    let record = GenerationRecord {
        number: last + 1,
        at: now,
        by: "start".into(),
        rolled_back_to: None,
        digest,
        hosts,
        counts: None,
        changes: None,
        has_files: true,
    };
    log_unkept(last + 1, generations::keep(state, &record, &files));
    last + 1
}

fn borrowed(files: &[SavedFile]) -> Vec<(&Path, &[u8])> {
    files.iter().map(|file| (&*file.path, &*file.bytes)).collect()
}

fn log_unkept(number: u64, kept: std::io::Result<()>) {
    if let Err(error) = kept {
        tracing::warn!(
            event = "generation_not_kept",
            generation = number,
            "generation {number} can't be kept, and `bootwright rollback {number}` won't find it: {error}"
        );
    }
}

impl GenerationJournal {
    pub(super) fn new(state: &Path, config_file: &Path) -> GenerationJournal {
        GenerationJournal {
            state: state.to_owned(),
            config_file: config_file.to_owned(),
            turn: Arc::default(),
        }
    }

    /// Where they are kept, once nothing is being written.
    pub(super) async fn read(&self) -> (&Path, OwnedMutexGuard<()>) {
        (&self.state, self.turn().await)
    }

    /// The right to write the next entry, or to read all: in the order in which it was asked for.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Keeps a generation. Blocks: every text of a host that changed is rendered.
    pub(super) fn keep(&self, new: NewGeneration) {
        let number = new.now.generation;
        let (rolled_back_to, files) = match new.files {
            FilesOfGeneration::OnDisk(appliance, tried) => {
                let files = config::files_to_save(&appliance, &self.config_file);
                (None, files.ok().filter(|files| tried.are(files)))
            }
            FilesOfGeneration::Earlier(earlier, files) => {
                let files = files.into_iter().map(|(path, bytes)| SavedFile { path, bytes });
                (Some(earlier), Some(files.collect()))
            }
        };
        let changes = PlannedChanges::between(&new.before, &new.now, new.installs);
        let has_files = files.is_some();
        let files = files.unwrap_or_default();
        let files = borrowed(&files);
        let record = GenerationRecord {
            number,
            at: new.at,
            by: new.by,
            rolled_back_to,
            digest: generations::digest(&files),
            hosts: new.now.hosts.len(),
            counts: Some(counts(&changes)),
            changes: Some(changes),
            has_files,
        };
        log_unkept(number, generations::keep(&self.state, &record, &files));
        drop(new.before);
        return_free_memory();
    }
}

fn counts(changes: &PlannedChanges) -> ChangeCounts {
    let of = |kind: ChangeKind| {
        let groups = changes.hosts.iter().filter(|group| group.kind == kind);
        groups.map(|group| group.hosts.len()).sum()
    };
    ChangeCounts {
        added: of(ChangeKind::Added),
        removed: of(ChangeKind::Removed),
        changed: of(ChangeKind::Changed),
        other: changes.appliance.len(),
    }
}
