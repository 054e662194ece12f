//! An earlier generation is put in force again, until the files on disk change.
//!
//! The files on disk are the operator's, and often another program's (git, Ansible); the daemon may not write them, and
//! does not. So a rollback serves an earlier generation's files from the state, at once, and says where they lie: the
//! next change of the files on disk, a reload and a restart take what stands there. It is tried like any candidate, and
//! it arms nobody: a host that comes back with it was known before, and one that is not does not appear, it is put back.

use super::{ReloadOutcome, Reloader, Taken, Trigger};
use crate::admin::api::{LastGoodFiles, Problem, ReloadAccepted, ReloadRefusal};
use crate::config::{KEPT_FOLDERS, LoadReport, validation};
use crate::daemon::{generations::FilesOfGeneration, watched::WatchSet};
use crate::images::sums::Deferred;
use crate::store::generations;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What became of a rollback.
pub(in crate::daemon) enum RollbackOutcome {
    /// It is in force; its files lie in that folder.
    Done(ReloadAccepted, PathBuf),
    /// Its files are refused today.
    Refused(ReloadRefusal),
    /// No text of its files is kept, or it can't be read.
    NotKept(io::Error),
}

impl Reloader {
    /// Puts a generation in force again.
    pub(in crate::daemon) async fn roll_back(self: &Arc<Self>, number: u64, by: Arc<str>) -> RollbackOutcome {
        let _turn = self.one_at_a_time.lock().await;
        let this = Arc::clone(self);
        let trigger = Trigger::Rollback { to: number, by };
        let asked = trigger.clone();
        let state = self.running.state.clone();
        let done = tokio::task::spawn_blocking(move || -> io::Result<(Taken, PathBuf)> {
            let files = generations::files(&state, number)?;
            let unpacked = generations::unpack(&state, number, &KEPT_FOLDERS, &files);
            let taken = unpacked.map(|folder| (this.roll_back_now(&asked, &folder, files), folder));
            // What is in force keeps its files: they are looked at again where those on disk are refused.
            let _ = generations::drop_unpacked(&state, this.stand().rolled_back_to);
            taken
        });
        let (taken, folder) = match done.await.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(done) => done,
            Err(error) => return RollbackOutcome::NotKept(error),
        };
        match self.done(taken, &trigger).await {
            ReloadOutcome::Accepted(accepted) => RollbackOutcome::Done(accepted, folder),
            ReloadOutcome::Refused(refusal) => RollbackOutcome::Refused(refusal),
            ReloadOutcome::Unchanged => RollbackOutcome::NotKept(io::ErrorKind::NotFound.into()),
        }
    }

    fn roll_back_now(&self, trigger: &Trigger, folder: &Path, files: Vec<generations::GenerationFile>) -> Taken {
        let Trigger::Rollback { to, .. } = trigger else {
            return Taken::of(ReloadOutcome::Unchanged);
        };
        let generation = self.shared.snapshot.load().generation;
        let kept = validation::kept_in(folder, &self.config_file);
        match validation::try_and_load(kept, generation + 1, &mut Deferred) {
            Ok((loaded, tried)) => {
                // The files on disk as they are now were not taken: they count once they change.
                let fingerprint = WatchSet::of(&loaded.appliance, &self.config_file).fingerprint();
                let files = FilesOfGeneration::Earlier(*to, files);
                let taken = self.accept(trigger, (loaded, tried), files);
                let mut state = self.stand();
                state.fingerprint = fingerprint;
                state.last_good = Some(LastGoodFiles {
                    accepted: state.since.into(),
                    folder: folder.to_owned(),
                });
                state.rolled_back_to = Some(*to);
                taken
            }
            Err(LoadReport { errors, .. }) => {
                let errors = errors.iter().map(Problem::from).collect();
                Taken::of(ReloadOutcome::Refused(self.refused(trigger, errors)))
            }
        }
    }
}
