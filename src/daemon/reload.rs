//! The one place that swaps a generation, whoever asked for it: SIGHUP, an operator, a saved file.
//!
//! A new generation is swapped in whole, or the old one stays and every reason is logged. One
//! reload runs at a time; whoever asks meanwhile waits and gets one of its own, because the files
//! may have changed since the other began to read.

use super::{
    artifacts,
    complaints::{log_errors, log_warnings},
    kept::{Instead, Keeper},
    restart::restart_needed,
    systemd,
    verifier::Verifier,
    watched::Watched,
};
use crate::admin::answer::{Accepted, KeptFiles, Problem, Refusal, counted};
use crate::boot::snapshot::Ports;
use crate::config::{
    Appliance, Loaded, Report,
    apart::{self, TriedFiles},
};
use crate::images::sums::Later;
use crate::model::{WallTime, limits::REFUSAL_REMINDER};
use crate::net::Shared;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// Who asked for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// SIGHUP.
    Signal,
    /// `bootwright reload`.
    Operator,
    /// A watched folder changed; nothing is read when it is as it was after all.
    Watch,
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trigger::Signal => "SIGHUP",
            Trigger::Operator => "an operator",
            Trigger::Watch => "a changed file",
        })
    }
}

/// What became of a reload.
pub(super) enum Reloaded {
    /// A new generation is in force.
    Accepted(Accepted),
    /// The old one stays.
    Refused(Refusal),
    /// The files are those of the last reload.
    Unchanged,
}

/// Reads the operator's files again and swaps the snapshot.
pub(super) struct Reloader {
    config_file: PathBuf,
    /// The settings that the process was started with; some hold until its end.
    running: Appliance,
    shared: Arc<Shared>,
    verifier: Arc<Verifier>,
    keeper: Keeper,
    one_at_a_time: tokio::sync::Mutex<()>,
    standing: Mutex<Standing>,
    /// Told of each reload that the watch did not ask for.
    reloaded: Notify,
}

/// How the last reload left things.
#[derive(Clone)]
pub(super) struct Standing {
    /// Since when the generation is in force.
    pub(super) since: WallTime,
    /// Why the files as they are now are not, if they are not.
    pub(super) last_refusal: Option<Refusal>,
    /// The files in force, where those on disk were refused at the start already.
    pub(super) kept_files: Option<KeptFiles>,
    /// When the refusal was said last, by the clock that never jumps.
    said: Duration,
    /// The settings of the generation in force.
    appliance: Appliance,
    /// What its files were when they were tried.
    tried: TriedFiles,
    /// Settings of the files that hold only after a restart.
    pub(super) restart_needed_for: Vec<String>,
    /// Folders whose changes are not seen at once.
    pub(super) unwatched: Vec<Problem>,
    fingerprint: u64,
}

impl Reloader {
    /// For the generation that `shared` has, read from `config_file` just now.
    pub(super) fn new(
        config_file: &Path,
        running: Appliance,
        shared: Arc<Shared>,
        verifier: Arc<Verifier>,
        (tried, instead): (TriedFiles, Option<Instead>),
    ) -> Reloader {
        let watched = Watched::of(&running, config_file);
        let now = shared.clock.now().wall;
        let (last_refusal, kept_files) = match instead {
            None => (None, None),
            Some(Instead { errors, kept }) => {
                let refusal = Refusal {
                    at: now,
                    generation: shared.snapshot.load().generation,
                    errors: errors.iter().map(Problem::from).collect(),
                };
                (Some(refusal), Some(kept))
            }
        };
        let standing = Standing {
            since: now,
            last_refusal,
            kept_files,
            said: shared.clock.monotonic(),
            appliance: running.clone(),
            tried,
            restart_needed_for: Vec::new(),
            unwatched: Vec::new(),
            fingerprint: watched.fingerprint(),
        };
        Reloader {
            config_file: config_file.to_owned(),
            keeper: Keeper::new(&running.state, config_file),
            running,
            shared,
            verifier,
            one_at_a_time: tokio::sync::Mutex::new(()),
            standing: Mutex::new(standing),
            reloaded: Notify::new(),
        }
    }

    /// The configuration it reads.
    pub(super) fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// How the last reload left things.
    pub(super) fn standing(&self) -> Standing {
        self.stand().clone()
    }

    /// The folders to watch, as they are now: links may lead elsewhere by now, and folders be gone.
    pub(super) fn watched(&self) -> Watched {
        let appliance = self.stand().appliance.clone();
        Watched::of(&appliance, &self.config_file)
    }

    /// Whether the files are others than those that were read last. Blocks.
    pub(super) fn have_files_changed(&self) -> bool {
        let now = self.watched().fingerprint();
        now != self.stand().fingerprint
    }

    /// Ready after a reload that the watch did not ask for.
    pub(super) async fn reloaded(&self) {
        self.reloaded.notified().await;
    }

    /// Takes note of the folders whose changes are not seen at once, and says those that are new.
    pub(super) fn note_unwatched(&self, unwatched: Vec<Problem>) {
        let before = std::mem::replace(&mut self.stand().unwatched, unwatched.clone());
        for problem in unwatched.iter().filter(|problem| !before.contains(problem)) {
            tracing::warn!("{problem}");
        }
    }

    /// One line for `systemctl status`.
    pub(super) fn summary(&self) -> String {
        let snapshot = self.shared.snapshot.load();
        let hosts = counted(snapshot.hosts.len(), "host");
        let serving = format!("generation {}: {hosts}", snapshot.generation);
        let standing = self.stand();
        let refused = match &standing.kept_files {
            None => "reload refused",
            Some(_) => "NOT FROM THE FILES ON DISK, which are refused, but from those accepted before",
        };
        match &standing.last_refusal {
            None => serving,
            Some(refusal) => match refusal.errors.first() {
                Some(first) => format!("{serving}; {refused}: {first}"),
                None => format!("{serving}; {refused}"),
            },
        }
    }

    /// Says again that the files on disk are refused, where that is so and was not said for long.
    pub(super) fn remind(&self) {
        let now = self.shared.clock.monotonic();
        let mut standing = self.stand();
        if let Some(line) = standing.reminder(now) {
            standing.said = now;
            tracing::error!("{line}");
        }
    }

    /// Keeps the files of the generation in force for a start that finds worse ones, in the background.
    /// A start from kept files has them already.
    pub(super) fn keep(self: &Arc<Self>) {
        let Standing {
            appliance,
            tried,
            since,
            kept_files,
            ..
        } = self.standing();
        if kept_files.is_none() {
            let this = Arc::clone(self);
            tokio::task::spawn_blocking(move || this.keeper.keep(&appliance, since, &tried));
        }
    }

    /// Reads the files and swaps the snapshot whole, or keeps the old one and says why.
    pub(super) async fn reload(self: &Arc<Self>, trigger: Trigger) -> Reloaded {
        let _turn = self.one_at_a_time.lock().await;
        let this = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || this.reload_now(trigger)).await;
        let done = done.unwrap_or_else(|panic| {
            let problem = Problem::new(format!(
                "the files could not be judged: {panic}; this is a bug of bootwright"
            ));
            Reloaded::Refused(self.refuse(trigger, vec![problem]))
        });
        match done {
            Reloaded::Unchanged => {}
            Reloaded::Accepted(_) | Reloaded::Refused(_) => systemd::ready(&self.summary()),
        }
        if let Reloaded::Accepted(_) = done {
            self.keep();
        }
        match trigger {
            Trigger::Signal | Trigger::Operator => self.reloaded.notify_one(),
            Trigger::Watch => {}
        }
        done
    }

    fn reload_now(&self, trigger: Trigger) -> Reloaded {
        let watched = self.watched();
        let fingerprint = watched.fingerprint();
        if trigger == Trigger::Watch && fingerprint == self.stand().fingerprint {
            return Reloaded::Unchanged;
        }
        systemd::reloading();
        self.stand().fingerprint = fingerprint;
        let generation = self.shared.snapshot.load().generation;
        match apart::try_and_load(apart::on_disk(&self.config_file), generation + 1, &mut Later) {
            Ok((loaded, tried)) => {
                let now = Watched::of(&loaded.appliance, &self.config_file);
                if now != watched {
                    // It speaks of other folders from now on.
                    self.stand().fingerprint = now.fingerprint();
                }
                Reloaded::Accepted(self.accept(trigger, (loaded, tried)))
            }
            Err(Report { errors, .. }) => {
                self.look_again_beside_kept(generation);
                Reloaded::Refused(self.refuse(trigger, errors.iter().map(Problem::from).collect()))
            }
        }
    }

    /// Where kept files are served, loaders and images that changed beside them are taken as they are now:
    /// one that was gone at the start and is there again must not wait for the files.
    fn look_again_beside_kept(&self, generation: u64) {
        let Standing {
            kept_files, appliance, ..
        } = self.standing();
        let loaded = kept_files.and_then(|kept| {
            let files = apart::kept_in(&kept.folder, &self.config_file);
            apart::try_and_load(files, generation, &mut Later).ok()
        });
        if let Some((Loaded { snapshot, .. }, _)) = loaded {
            self.shared.snapshot.store(Arc::new(snapshot));
            self.verifier.look(appliance.recheck);
        }
    }

    fn accept(&self, trigger: Trigger, (loaded, tried): (Loaded, TriedFiles)) -> Accepted {
        let Loaded {
            appliance,
            mut snapshot,
            warnings,
        } = loaded;
        // The URLs we hand out must name the ports we listen on, whatever the file says by now.
        snapshot.ports = Ports {
            http: self.running.http_port,
            tftp: self.running.tftp_port,
        };
        let mut warnings: Vec<Problem> = warnings.iter().map(Problem::from).collect();
        warnings.extend(artifacts::warnings(&snapshot, &self.shared.ledger()));
        let accepted = Accepted {
            generation: snapshot.generation,
            hosts: snapshot.hosts.len(),
            warnings,
            restart_needed_for: restart_needed(&self.running, &appliance),
        };
        self.shared.snapshot.store(Arc::new(snapshot));
        self.verifier.look(appliance.recheck);
        let mut standing = self.stand();
        standing.since = self.shared.clock.now().wall;
        standing.last_refusal = None;
        standing.kept_files = None;
        standing.appliance = appliance;
        standing.tried = tried;
        standing.restart_needed_for.clone_from(&accepted.restart_needed_for);
        drop(standing);
        log_accepted(trigger, &accepted);
        accepted
    }

    fn refuse(&self, trigger: Trigger, errors: Vec<Problem>) -> Refusal {
        let refusal = Refusal {
            at: self.shared.clock.now().wall,
            generation: self.shared.snapshot.load().generation,
            errors,
        };
        let mut standing = self.stand();
        standing.last_refusal = Some(refusal.clone());
        standing.said = self.shared.clock.monotonic();
        drop(standing);
        log_refused(trigger, &refusal);
        refusal
    }

    /// Every change of it is whole before the next can panic, so a poisoned one is sound.
    fn stand(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// What is said again of refused files, if it is time for that.
    fn reminder(&self, now: Duration) -> Option<String> {
        let refusal = self.last_refusal.as_ref()?;
        if now.saturating_sub(self.said) < REFUSAL_REMINDER {
            return None;
        }
        let errors = counted(refusal.errors.len(), "error");
        let first = refusal
            .errors
            .first()
            .map_or(String::new(), |first| format!(": {first}"));
        let served = match &self.kept_files {
            None => format!("generation {} is served", refusal.generation),
            Some(kept) => format!("what is served are older ones, kept in {}", kept.folder.display()),
        };
        Some(format!(
            "the files on disk are still refused and {served}; see `bootwright check`: {errors}{first}"
        ))
    }
}

fn log_accepted(trigger: Trigger, accepted: &Accepted) {
    tracing::info!(
        "reload by {trigger}: generation {} is in force, {}",
        accepted.generation,
        counted(accepted.hosts, "host")
    );
    log_warnings(&accepted.warnings);
    for setting in &accepted.restart_needed_for {
        tracing::warn!("`{setting}` changed and holds only after `systemctl restart bootwright`");
    }
}

fn log_refused(trigger: Trigger, refusal: &Refusal) {
    tracing::error!(
        "reload by {trigger} refused, {}: generation {} stays in force",
        counted(refusal.errors.len(), "error"),
        refusal.generation
    );
    log_errors(&refusal.errors);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(kept_files: Option<KeptFiles>) -> Standing {
        let appliance = crate::config::appliance(Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/config/bootwright.toml"
        )));
        let appliance = appliance.unwrap();
        Standing {
            since: WallTime(7),
            last_refusal: Some(Refusal {
                at: WallTime(8),
                generation: 3,
                errors: vec![Problem::new("host r1u07 twice"), Problem::new("no image")],
            }),
            kept_files,
            said: Duration::from_secs(100),
            unwatched: Vec::new(),
            appliance,
            tried: TriedFiles::default(),
            restart_needed_for: Vec::new(),
            fingerprint: 0,
        }
    }

    #[test]
    fn refused_files_are_said_again_and_again_and_accepted_ones_never() {
        let due = Duration::from_secs(100) + REFUSAL_REMINDER;
        let mut standing = standing(None);
        assert_eq!(standing.reminder(due - Duration::from_secs(1)), None);
        let line = standing.reminder(due).unwrap();
        assert!(
            line.contains("generation 3 is served") && line.contains("2 errors: host r1u07 twice"),
            "{line}"
        );
        standing.kept_files = Some(KeptFiles {
            accepted: WallTime(5),
            folder: "/var/lib/bootwright/accepted/4".into(),
        });
        assert!(
            standing
                .reminder(due)
                .unwrap()
                .contains("/var/lib/bootwright/accepted/4")
        );
        standing.last_refusal = None;
        assert_eq!(standing.reminder(due), None);
    }
}
