//! The one place that swaps a generation, whoever asked for it: SIGHUP, an operator, a saved file.
//!
//! A new generation replaces the old one atomically, or the old one stays and every reason is logged. One
//! reload runs at a time; whoever asks meanwhile waits and gets one of its own, because the files
//! may have changed since the other began to read.

use super::{
    artifacts,
    diagnostics_log::{log_accepted, log_refused},
    first_appearance::FirstAppearance,
    last_good::{Fallback, LastGoodSaver},
    restart::restart_needed,
    systemd,
    verifier::Verifier,
    watched::WatchSet,
};
use crate::admin::api::{LastGoodFiles, PlanBasis, Problem, ReloadAccepted, ReloadRefusal};
use crate::boot::{
    plan::{self, Picture},
    snapshot::Ports,
};
use crate::config::{
    Appliance, LoadReport, Loaded,
    validation::{self, TriedFiles},
};
use crate::images::sums::Deferred;
use crate::model::{WallTime, limits::REFUSAL_LOG_INTERVAL, text::counted};
use crate::state::Shared;
use std::{
    fmt::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{runtime::Handle, sync::Notify};

/// Who asked for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// SIGHUP.
    Signal,
    /// `bootwright reload`.
    AdminApi,
    /// A watched folder changed; nothing is read when it is as it was after all.
    Watch,
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trigger::Signal => "SIGHUP",
            Trigger::AdminApi => "an operator",
            Trigger::Watch => "a changed file",
        })
    }
}

/// What became of a reload.
pub(super) enum ReloadOutcome {
    /// A new generation is in force.
    Accepted(ReloadAccepted),
    /// The old one stays.
    Refused(ReloadRefusal),
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
    last_good_saver: LastGoodSaver,
    first_appearance: FirstAppearance,
    one_at_a_time: tokio::sync::Mutex<()>,
    state: Mutex<ReloadState>,
    /// Told of each reload that the watch did not ask for.
    reloaded: Notify,
}

/// How the last reload left things.
#[derive(Clone)]
pub(super) struct ReloadState {
    /// Since when the generation is in force.
    pub(super) since: WallTime,
    /// Why the files as they are now are not, if they are not.
    pub(super) last_refusal: Option<ReloadRefusal>,
    /// The files in force, where those on disk were refused at the start already.
    pub(super) last_good: Option<LastGoodFiles>,
    /// When the refusal was logged last, by the clock that never jumps.
    refusal_logged_at: Duration,
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
        (tried, fallback): (TriedFiles, Option<Fallback>),
        first_appearance: FirstAppearance,
    ) -> Reloader {
        let watched = WatchSet::of(&running, config_file);
        let now = shared.clock.now().wall;
        let (last_refusal, last_good) = match fallback {
            None => (None, None),
            Some(Fallback { errors, kept }) => {
                let refusal = ReloadRefusal {
                    at: now.into(),
                    generation: shared.snapshot.load().generation,
                    errors: errors.iter().map(Problem::from).collect(),
                };
                (Some(refusal), Some(kept))
            }
        };
        let state = ReloadState {
            since: now,
            last_refusal,
            last_good,
            refusal_logged_at: shared.clock.monotonic(),
            appliance: running.clone(),
            tried,
            restart_needed_for: Vec::new(),
            unwatched: Vec::new(),
            fingerprint: watched.fingerprint(),
        };
        Reloader {
            config_file: config_file.to_owned(),
            last_good_saver: LastGoodSaver::new(&running.state, config_file),
            running,
            shared,
            verifier,
            first_appearance,
            one_at_a_time: tokio::sync::Mutex::new(()),
            state: Mutex::new(state),
            reloaded: Notify::new(),
        }
    }

    /// The configuration it reads.
    pub(super) fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// How the last reload left things.
    pub(super) fn state(&self) -> ReloadState {
        self.stand().clone()
    }

    /// The folders to watch, as they are now: links may lead elsewhere by now, and folders be gone.
    pub(super) fn watched(&self) -> WatchSet {
        let appliance = self.stand().appliance.clone();
        WatchSet::of(&appliance, &self.config_file)
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
        let mut summary = format!("generation {}: {hosts}", snapshot.generation);
        let state = self.stand();
        let refused = match &state.last_good {
            None => "reload refused",
            Some(_) => "NOT FROM THE FILES ON DISK, which are refused, but from those accepted before",
        };
        if let Some(refusal) = &state.last_refusal {
            // Writing to a String cannot fail.
            let _ = write!(summary, "; {refused}");
            let _ = refusal.errors.first().map(|first| write!(summary, ": {first}"));
        }
        summary
    }

    /// Logs again that the files on disk are refused, where that is so and was not logged for long.
    pub(super) fn remind(&self) {
        let now = self.shared.clock.monotonic();
        let mut state = self.stand();
        if let Some(line) = state.reminder(now) {
            state.refusal_logged_at = now;
            tracing::error!("{line}");
        }
    }

    /// Keeps the files of the generation in force for a start that finds worse ones, in the background.
    /// A start from kept files has them already.
    pub(super) fn keep(self: &Arc<Self>) {
        let ReloadState {
            appliance,
            tried,
            since,
            last_good,
            ..
        } = self.state();
        if last_good.is_none() {
            let this = Arc::clone(self);
            tokio::task::spawn_blocking(move || this.last_good_saver.save(&appliance, since, &tried));
        }
    }

    /// Arms the hosts of the generation in force that appear in it for the first time, and learns all the others.
    pub(super) async fn learn_hosts(&self) {
        self.first_appearance.learn(&self.shared).await;
    }

    /// What a candidate is held against, as it is now. Blocks: every text of the generation is rendered for it.
    pub(super) fn plan_basis(&self) -> PlanBasis {
        let snapshot = self.shared.snapshot.load_full();
        let installs = Handle::current().block_on(self.first_appearance.known(&self.shared));
        PlanBasis {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: snapshot.generation,
            ports: snapshot.ports,
            picture: Picture::of(&snapshot),
            boots: plan::next_boots(&snapshot, &mut installs.arming(), installs.date),
            installs,
        }
    }

    /// Reads the files and swaps the snapshot whole, or keeps the old one and says why.
    pub(super) async fn reload(self: &Arc<Self>, trigger: Trigger) -> ReloadOutcome {
        let _turn = self.one_at_a_time.lock().await;
        let this = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || this.reload_now(trigger)).await;
        let done = done.unwrap_or_else(|panic| {
            let problem = Problem::new(format_args!(
                "the files could not be judged: {panic}; this is a bug of bootwright"
            ));
            ReloadOutcome::Refused(self.refuse(trigger, vec![problem]))
        });
        match done {
            ReloadOutcome::Unchanged => {}
            ReloadOutcome::Accepted(_) | ReloadOutcome::Refused(_) => systemd::ready(&self.summary()),
        }
        if let ReloadOutcome::Accepted(_) = done {
            self.keep();
        }
        match trigger {
            Trigger::Signal | Trigger::AdminApi => self.reloaded.notify_one(),
            Trigger::Watch => {}
        }
        done
    }

    fn reload_now(&self, trigger: Trigger) -> ReloadOutcome {
        let watched = self.watched();
        let fingerprint = watched.fingerprint();
        if trigger == Trigger::Watch && fingerprint == self.stand().fingerprint {
            return ReloadOutcome::Unchanged;
        }
        systemd::reloading();
        self.stand().fingerprint = fingerprint;
        let generation = self.shared.snapshot.load().generation;
        match validation::try_and_load(validation::on_disk(&self.config_file), generation + 1, &mut Deferred) {
            Ok((loaded, tried)) => {
                let now = WatchSet::of(&loaded.appliance, &self.config_file);
                if now != watched {
                    // It speaks of other folders from now on.
                    self.stand().fingerprint = now.fingerprint();
                }
                ReloadOutcome::Accepted(self.accept(trigger, (loaded, tried)))
            }
            Err(LoadReport { errors, .. }) => {
                self.recheck_while_fallback(generation);
                ReloadOutcome::Refused(self.refuse(trigger, errors.iter().map(Problem::from).collect()))
            }
        }
    }

    /// Where kept files are served, loaders and images that changed beside them are taken as they are now:
    /// one that was gone at the start and is there again must not wait for the files.
    fn recheck_while_fallback(&self, generation: u64) {
        let ReloadState {
            last_good, appliance, ..
        } = self.state();
        let loaded = last_good.and_then(|kept| {
            let files = validation::kept_in(&kept.folder, &self.config_file);
            validation::try_and_load(files, generation, &mut Deferred).ok()
        });
        if let Some((Loaded { snapshot, .. }, _)) = loaded {
            self.shared.snapshot.store(Arc::new(snapshot));
            self.verifier.look(appliance.recheck);
        }
    }

    fn accept(&self, trigger: Trigger, (loaded, tried): (Loaded, TriedFiles)) -> ReloadAccepted {
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
        warnings.extend(artifacts::warnings(&self.shared, &snapshot));
        let mut accepted = ReloadAccepted {
            generation: snapshot.generation,
            hosts: snapshot.hosts.len(),
            warnings,
            restart_needed_for: restart_needed(&self.running, &appliance),
            install_targets: Vec::new(),
        };
        let before = self.shared.snapshot.swap(Arc::new(snapshot));
        let targets = self.first_appearance.take_over(&self.shared, &before);
        accepted.install_targets = Handle::current().block_on(targets);
        self.verifier.look(appliance.recheck);
        let mut state = self.stand();
        state.since = self.shared.clock.now().wall;
        state.last_refusal = None;
        state.last_good = None;
        state.appliance = appliance;
        state.tried = tried;
        state.restart_needed_for.clone_from(&accepted.restart_needed_for);
        drop(state);
        log_accepted(trigger, &accepted);
        accepted
    }

    fn refuse(&self, trigger: Trigger, errors: Vec<Problem>) -> ReloadRefusal {
        let refusal = ReloadRefusal {
            at: self.shared.clock.now().wall.into(),
            generation: self.shared.snapshot.load().generation,
            errors,
        };
        let mut state = self.stand();
        state.last_refusal = Some(refusal.clone());
        state.refusal_logged_at = self.shared.clock.monotonic();
        drop(state);
        log_refused(trigger, &refusal);
        refusal
    }

    /// Every change of it is whole before the next can panic, so a poisoned one is sound.
    fn stand(&self) -> MutexGuard<'_, ReloadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReloadState {
    /// What is logged again of refused files, if it is time for that.
    fn reminder(&self, now: Duration) -> Option<String> {
        let refusal = self.last_refusal.as_ref()?;
        if now.saturating_sub(self.refusal_logged_at) < REFUSAL_LOG_INTERVAL {
            return None;
        }
        let errors = counted(refusal.errors.len(), "error");
        let mut words = "the files on disk are still refused and ".to_owned();
        // Writing to a String cannot fail.
        let _ = match &self.last_good {
            None => write!(words, "generation {} is served", refusal.generation),
            Some(kept) => write!(
                words,
                "what is served are older ones, kept in {}",
                kept.folder.display()
            ),
        };
        let _ = write!(words, "; see `bootwright check`: {errors}");
        let _ = refusal.errors.first().map(|first| write!(words, ": {first}"));
        Some(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(last_good: Option<LastGoodFiles>) -> ReloadState {
        let appliance = crate::config::appliance(Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/config/bootwright.toml"
        )));
        let appliance = appliance.unwrap();
        ReloadState {
            since: WallTime(7),
            last_refusal: Some(ReloadRefusal {
                at: WallTime(8).into(),
                generation: 3,
                errors: vec![Problem::new("host r1u07 twice"), Problem::new("no image")],
            }),
            last_good,
            refusal_logged_at: Duration::from_secs(100),
            unwatched: Vec::new(),
            appliance,
            tried: TriedFiles::default(),
            restart_needed_for: Vec::new(),
            fingerprint: 0,
        }
    }

    #[test]
    fn refused_files_are_logged_again_and_again_and_accepted_ones_never() {
        let due = Duration::from_secs(100) + REFUSAL_LOG_INTERVAL;
        let mut state = state(None);
        assert_eq!(state.reminder(due - Duration::from_secs(1)), None);
        let line = state.reminder(due).unwrap();
        assert!(
            line.contains("generation 3 is served") && line.contains("2 errors: host r1u07 twice"),
            "{line}"
        );
        state.last_good = Some(LastGoodFiles {
            accepted: WallTime(5).into(),
            folder: "/var/lib/bootwright/accepted/4".into(),
        });
        assert!(state.reminder(due).unwrap().contains("/var/lib/bootwright/accepted/4"));
        state.last_refusal = None;
        assert_eq!(state.reminder(due), None);
    }
}
