//! What was in force before, and an earlier generation put in force again.

use super::{AdminService, arm::asked_by};
use crate::admin::{
    Answers, Caller, Document, Lines,
    api::{
        AdminRefusal, FileChange, GENERATIONS_LISTED, GenerationFilter, GenerationStatus, RefusalCode, ReloadAccepted,
        RollbackRequest, RolledBack, generation_number,
    },
    routes::{GetGenerations, PostRollback},
};
use crate::boot::plan::ChangeKind;
use crate::daemon::reload::RollbackOutcome;
use crate::store::generations::{self, GenerationRecord};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};
use tokio::runtime::Handle;

impl Answers<GetGenerations> for AdminService {
    fn answer(&self, filter: GenerationFilter, _: &Caller) -> Result<Lines<GenerationStatus>, AdminRefusal> {
        let number = generation_number(&filter.number)?;
        let in_force = self.shared.snapshot.load().generation;
        // Whoever has just had files read finds them here.
        let (state, _turn) = Handle::current().block_on(self.reloader.journal().read());
        let found = match number {
            None => {
                let brief = |record: GenerationRecord| GenerationRecord {
                    changes: None,
                    ..record
                };
                let all = generations::all(state).into_iter().map(brief);
                all.map(|record| status(record, in_force)).collect()
            }
            Some(number) => vec![whole(state, number, in_force)?],
        };
        Ok(Lines::new(found.into_iter()))
    }
}

impl Answers<PostRollback> for AdminService {
    fn answer(&self, request: RollbackRequest, caller: &Caller) -> Result<Document<RolledBack>, AdminRefusal> {
        let number = generation_number(&request.number)?;
        let number = number.ok_or_else(|| {
            AdminRefusal::new(RefusalCode::BadRequest, "no generation is named").with_help(GENERATIONS_LISTED)
        })?;
        let by = asked_by(caller, &request.by)?;
        {
            let (state, _turn) = Handle::current().block_on(self.reloader.journal().read());
            known(state, number)?;
        }
        match Handle::current().block_on(self.reloader.roll_back(number, by.into())) {
            RollbackOutcome::Done(accepted, folder) => {
                let ReloadAccepted {
                    generation,
                    hosts,
                    warnings,
                    install_targets,
                    ..
                } = accepted;
                Ok(Document(RolledBack {
                    generation,
                    rolled_back_to: number,
                    hosts,
                    folder,
                    warnings,
                    install_targets,
                }))
            }
            RollbackOutcome::Refused(refusal) => Err(refusal.into()),
            RollbackOutcome::NotKept(error) => Err(unreadable(number, &error)),
        }
    }
}

/// A generation whose files are kept.
fn known(state: &Path, number: u64) -> Result<GenerationRecord, AdminRefusal> {
    let record = generations::record(state, number).map_err(|error| unreadable(number, &error))?;
    match record.has_files {
        true => Ok(record),
        false => {
            let detail = format!("no text of the files of generation {number} is kept");
            Err(AdminRefusal::new(RefusalCode::NotFound, detail).with_help(GENERATIONS_LISTED))
        }
    }
}

fn unreadable(number: u64, error: &std::io::Error) -> AdminRefusal {
    let detail = match error.kind() {
        std::io::ErrorKind::NotFound => format!("no generation {number} is kept"),
        _ => format!("generation {number} can't be read: {error}"),
    };
    AdminRefusal::new(RefusalCode::NotFound, detail).with_help(GENERATIONS_LISTED)
}

fn whole(state: &Path, number: u64, in_force: u64) -> Result<GenerationStatus, AdminRefusal> {
    let record = generations::record(state, number).map_err(|error| unreadable(number, &error))?;
    let before = generations::all(state)
        .into_iter()
        .rev()
        .find(|other| other.number < number);
    let files = before.and_then(|before| {
        let old = generations::files(state, before.number).ok()?;
        Some(file_changes(old, generations::files(state, number).ok()?))
    });
    Ok(GenerationStatus {
        files,
        changes: record.changes.clone(),
        ..status(record, in_force)
    })
}

fn file_changes(old: Vec<(PathBuf, Vec<u8>)>, new: Vec<(PathBuf, Vec<u8>)>) -> Vec<FileChange> {
    let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) = (old.into_iter().collect(), new.into_iter().collect());
    let all: BTreeSet<&PathBuf> = old.keys().chain(new.keys()).collect();
    let change = |file: &PathBuf| {
        let kind = match (old.get(file), new.get(file)) {
            (None, _) => ChangeKind::Added,
            (Some(_), None) => ChangeKind::Removed,
            (Some(old), Some(new)) if old != new => ChangeKind::Changed,
            (Some(_), Some(_)) => return None,
        };
        Some(FileChange {
            file: file.clone(),
            kind,
        })
    };
    all.into_iter().filter_map(change).collect()
}

fn status(record: GenerationRecord, in_force: u64) -> GenerationStatus {
    GenerationStatus {
        number: record.number,
        at: record.at.into(),
        by: record.by,
        rolled_back_to: record.rolled_back_to,
        in_force: record.number == in_force,
        digest: record.digest,
        hosts: record.hosts,
        counts: record.counts,
        has_files: record.has_files,
        files: None,
        changes: None,
    }
}
