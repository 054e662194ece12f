//! The last accepted version of the operator's files: saved at each acceptance; a start falls back to it
//! when the files on disk are refused.
//!
//! A restart must not take down a site that a bad edit left alone. That it is served is logged as an error, repeatedly
//! (`reload`), because it is not what the files say.

use super::diagnostics_log::{log_errors, log_warnings};
use crate::admin::api::{LastGoodFiles, Problem};
use crate::config::{
    self, Appliance, Diagnostic, KEPT_FOLDERS, LoadReport, Loaded,
    validation::{self, TriedFiles},
};
use crate::images::sums::Deferred;
use crate::model::{WallTime, text::counted};
use crate::net::socket::return_free_memory;
use crate::store::last_good::{self, KeepError, LastGoodVersion};
use nix::unistd::geteuid;
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// What the daemon begins with.
pub(super) struct InitialLoad {
    /// The version that is served.
    pub(super) loaded: Loaded,
    /// What its files were when they were tried.
    pub(super) tried: TriedFiles,
    /// Why that is a kept one, if it is.
    pub(super) fallback: Option<Fallback>,
}

/// A version that is served in place of the files on disk.
pub(super) struct Fallback {
    /// What is wrong with these.
    pub(super) errors: Vec<Diagnostic>,
    /// The version that is served.
    pub(super) kept: LastGoodFiles,
}

/// Loads the files on disk, or else those that were accepted last, and says that and what is odd about them:
/// at once, because the start may fail yet.
///
/// # Errors
/// The files on disk are refused, and no version of them is kept that could be served.
pub(super) fn begin(config_file: &Path) -> Result<InitialLoad, LoadReport> {
    let beginning = load(config_file)?;
    if let Some(fallback) = &beginning.fallback {
        log_fallback(fallback);
    }
    let warnings: Vec<Problem> = beginning.loaded.warnings.iter().map(Problem::from).collect();
    log_warnings(&warnings);
    Ok(beginning)
}

fn log_fallback(Fallback { errors, kept }: &Fallback) {
    let errors: Vec<Problem> = errors.iter().map(Problem::from).collect();
    log_errors(&errors);
    tracing::error!(
        event = "last_good_served",
        "THE FILES ON DISK ARE REFUSED, {}: serving the last accepted version, saved in {}; correct the files, and they \
         take effect without a restart",
        counted(errors.len(), "error"),
        kept.folder.display()
    );
}

fn load(config_file: &Path) -> Result<InitialLoad, LoadReport> {
    let refused = match validation::try_and_load(validation::on_disk(config_file), 1, &mut Deferred) {
        Ok((loaded, tried)) => {
            return Ok(InitialLoad {
                loaded,
                tried,
                fallback: None,
            });
        }
        Err(refused) => refused,
    };
    let latest = |state: PathBuf| last_good::latest(&state, config_file);
    let Some(LastGoodVersion { folder, accepted }) = config::state_folders(config_file).into_iter().find_map(latest)
    else {
        return Err(refused);
    };
    match validation::try_and_load(validation::kept_in(&folder, config_file), 1, &mut Deferred) {
        Ok((loaded, _)) if is_strange(&loaded.appliance, &folder, config_file) => Err(refused),
        Ok((loaded, tried)) => Ok(InitialLoad {
            loaded,
            tried,
            fallback: Some(Fallback {
                errors: refused.errors,
                kept: LastGoodFiles {
                    accepted: accepted.into(),
                    folder,
                },
            }),
        }),
        Err(report) => {
            // An older version of bootwright kept them, or they were written to.
            tracing::error!(
                "the files that were accepted last, kept in {}, are refused as well: {}",
                folder.display(),
                counted(report.errors.len(), "error")
            );
            Err(refused)
        }
    }
}

/// Whether these are kept settings that root must not act upon; says so.
fn is_strange(appliance: &Appliance, folder: &Path, config_file: &Path) -> bool {
    let strange = config::rewritten_paths(appliance, config_file).filter(|_| geteuid().is_root());
    if let Some((setting, path)) = strange {
        tracing::error!(
            event = "last_good_refused",
            setting,
            path = %path.display(),
            "the files that were accepted last, kept in {}, are not served: their `{setting}` is {}, which {} does \
             not say, and a start as root takes that from nowhere else; correct the files on disk",
            folder.display(),
            path.display(),
            config_file.display()
        );
    }
    strange.is_some()
}

/// Keeps the version that is in force, one at a time.
pub(super) struct LastGoodSaver {
    /// The state's folder of this process.
    state: PathBuf,
    config_file: PathBuf,
    one_at_a_time: Mutex<()>,
}

impl LastGoodSaver {
    pub(super) fn new(state: &Path, config_file: &Path) -> LastGoodSaver {
        LastGoodSaver {
            state: state.to_owned(),
            config_file: config_file.to_owned(),
            one_at_a_time: Mutex::default(),
        }
    }

    /// Keeps the files of an accepted version. They are read once more for it; where they are other bytes than
    /// those that were tried, they are judged where they lie then: what is kept is known to be a start.
    pub(super) fn save(&self, appliance: &Appliance, accepted: WallTime, tried: &TriedFiles) {
        let _turn = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.write(appliance, accepted, tried) {
            tracing::warn!(
                "the accepted files can't be kept ({error}): were they refused at the next restart, nothing or an \
                 older version of them would be served"
            );
        }
        // What a load leaves is free by now, and what was read for this.
        return_free_memory();
    }

    fn write(&self, appliance: &Appliance, accepted: WallTime, tried: &TriedFiles) -> Result<(), KeepError> {
        let files =
            config::files_to_save(appliance, &self.config_file).map_err(|error| KeepError::Refused(error.into()))?;
        let are_tried = tried.are(&files);
        let files: Vec<(&Path, &[u8])> = files.iter().map(|file| (&*file.path, &*file.bytes)).collect();
        let is_sound = |folder: &Path| {
            if are_tried {
                return Ok(());
            }
            let tried = validation::validate_in_subprocess(validation::kept_in(folder, &self.config_file));
            let report = tried.map_or_else(|report| report, |tried| tried.report);
            match report.errors.first() {
                None => Ok(()),
                Some(first) => Err(format!("they changed meanwhile: {first}").into()),
            }
        };
        last_good::save(
            &self.state,
            (&self.config_file, accepted),
            (&KEPT_FOLDERS, &files),
            is_sound,
        )
    }
}
