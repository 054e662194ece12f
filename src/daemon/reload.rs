//! The one place that swaps a generation, whoever asked for it: SIGHUP, an operator, a saved file.
//!
//! A new generation replaces the old one atomically, or the old one stays and every reason is logged. One
//! reload runs at a time; whoever asks meanwhile waits and gets one of its own, because the files
//! may have changed since the other began to read.

mod rollback;
mod state;
mod trigger;

pub(super) use rollback::RollbackOutcome;
pub(super) use state::ReloadState;
pub(super) use trigger::Trigger;

use super::{
    artifacts,
    diagnostics_log::{log_accepted, log_refused},
    first_appearance::{Appearing, FirstAppearance},
    generations::{FilesOfGeneration, GenerationJournal, NewGeneration},
    last_good::{Fallback, LastGoodSaver},
    restart::{restart_needed, take_over},
    systemd,
    verifier::Verifier,
    watched::WatchSet,
};
use crate::admin::api::{PlanBasis, Problem, ReloadAccepted, ReloadRefusal};
use crate::boot::snapshot::{Ports, Snapshot};
use crate::config::{
    Appliance, LoadReport, Loaded,
    validation::{self, TriedFiles},
};
use crate::images::sums::Deferred;
use crate::model::text::counted;
use crate::state::Shared;
use std::{
    fmt::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{runtime::Handle, sync::Notify};

/// What became of a reload.
pub(super) enum ReloadOutcome {
    /// A new generation is in force.
    Accepted(ReloadAccepted),
    /// The old one stays.
    Refused(ReloadRefusal),
    /// The files are those of the last reload.
    Unchanged,
}

/// What a reload came to, and what of it is to be kept.
struct Taken {
    outcome: ReloadOutcome,
    new: Option<NewGeneration>,
}

impl Taken {
    /// Where nothing new is in force.
    fn of(outcome: ReloadOutcome) -> Taken {
        Taken { outcome, new: None }
    }
}

/// Reads the operator's files again and swaps the snapshot.
pub(super) struct Reloader {
    config_file: PathBuf,
    /// The settings that the process was started with; some hold until its end.
    running: Appliance,
    shared: Arc<Shared>,
    verifier: Arc<Verifier>,
    last_good_saver: LastGoodSaver,
    journal: GenerationJournal,
    first_appearance: FirstAppearance,
    one_at_a_time: tokio::sync::Mutex<()>,
    state: Mutex<ReloadState>,
    /// Told of each reload that the watch did not ask for.
    reloaded: Notify,
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
            rolled_back_to: None,
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
            journal: GenerationJournal::new(&running.state, config_file),
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
        if let Some(to) = state.rolled_back_to {
            // Writing to a String cannot fail.
            let _ = write!(
                summary,
                "; ROLLED BACK to generation {to}, whatever the files on disk say"
            );
        }
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
        PlanBasis::of(&snapshot, installs)
    }

    /// The journal of generations.
    pub(super) fn journal(&self) -> &GenerationJournal {
        &self.journal
    }

    /// Reads the files and swaps the snapshot whole, or keeps the old one and says why.
    pub(super) async fn reload(self: &Arc<Self>, trigger: Trigger) -> ReloadOutcome {
        let _turn = self.one_at_a_time.lock().await;
        let (this, asked) = (Arc::clone(self), trigger.clone());
        let done = tokio::task::spawn_blocking(move || this.reload_now(&asked)).await;
        let taken = done.unwrap_or_else(|panic| {
            let problem = Problem::new(format_args!(
                "the files could not be judged: {panic}; this is a bug of bootwright"
            ));
            Taken::of(ReloadOutcome::Refused(self.refuse(&trigger, vec![problem])))
        });
        self.done(taken, &trigger).await
    }

    /// What follows a reload: systemd is told, and the generation is kept, behind whoever waits for the answer.
    async fn done(self: &Arc<Self>, taken: Taken, trigger: &Trigger) -> ReloadOutcome {
        let Taken { outcome, new } = taken;
        match outcome {
            ReloadOutcome::Unchanged => {}
            ReloadOutcome::Accepted(_) | ReloadOutcome::Refused(_) => systemd::ready(&self.summary()),
        }
        if let ReloadOutcome::Accepted(_) = outcome {
            self.keep();
        }
        if let Some(new) = new {
            let (this, turn) = (Arc::clone(self), self.journal.turn().await);
            tokio::task::spawn_blocking(move || {
                this.journal.keep(new);
                drop(turn);
            });
        }
        match trigger {
            Trigger::Signal | Trigger::AdminApi { .. } | Trigger::Rollback { .. } => self.reloaded.notify_one(),
            Trigger::Watch => {}
        }
        outcome
    }

    fn reload_now(&self, trigger: &Trigger) -> Taken {
        let watched = self.watched();
        let fingerprint = watched.fingerprint();
        if *trigger == Trigger::Watch && fingerprint == self.stand().fingerprint {
            return Taken::of(ReloadOutcome::Unchanged);
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
                let files = FilesOfGeneration::OnDisk(Box::new(loaded.appliance.clone()), tried.clone());
                self.accept(trigger, (loaded, tried), files)
            }
            Err(LoadReport { errors, .. }) => {
                self.recheck_while_fallback(generation);
                let errors = errors.iter().map(Problem::from).collect();
                Taken::of(ReloadOutcome::Refused(self.refuse(trigger, errors)))
            }
        }
    }

    /// The URLs we hand out must name the ports we listen on, whatever the files say by now.
    fn as_it_listens(&self, snapshot: &mut Snapshot) {
        snapshot.syslog = self.running.syslog;
        snapshot.ports = Ports {
            http: self.running.http_port,
            tftp: self.running.tftp_port,
        };
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
        if let Some((Loaded { mut snapshot, .. }, _)) = loaded {
            self.as_it_listens(&mut snapshot);
            self.shared.put_in_force(Arc::new(snapshot));
            self.verifier.look(appliance.recheck);
        }
    }

    fn accept(&self, trigger: &Trigger, (loaded, tried): (Loaded, TriedFiles), files: FilesOfGeneration) -> Taken {
        let Loaded {
            appliance,
            mut snapshot,
            warnings,
        } = loaded;
        self.as_it_listens(&mut snapshot);
        let mut warnings: Vec<Problem> = warnings.iter().map(Problem::from).collect();
        warnings.extend(artifacts::warnings(&self.shared, &snapshot));
        let mut accepted = ReloadAccepted {
            generation: snapshot.generation,
            hosts: snapshot.hosts.len(),
            warnings,
            restart_needed_for: restart_needed(&self.running, &appliance),
            install_targets: Vec::new(),
        };
        let installs = Handle::current().block_on(self.first_appearance.known(&self.shared));
        let now = Arc::new(snapshot);
        let before = self.shared.put_in_force(Arc::clone(&now));
        let arms = match trigger {
            Trigger::Rollback { .. } => Appearing::ArmsNobody,
            Trigger::Signal | Trigger::AdminApi { .. } | Trigger::Watch => Appearing::Arms,
        };
        let targets = self.first_appearance.take_over(&self.shared, &before, arms);
        accepted.install_targets = Handle::current().block_on(targets);
        self.verifier.look(appliance.recheck);
        take_over(&self.shared, &appliance);
        let mut state = self.stand();
        state.since = self.shared.clock.now().wall;
        state.last_refusal = None;
        state.last_good = None;
        state.rolled_back_to = None;
        state.appliance = appliance;
        state.tried = tried;
        state.restart_needed_for.clone_from(&accepted.restart_needed_for);
        let at = state.since;
        drop(state);
        log_accepted(trigger, &accepted);
        let new = NewGeneration {
            before,
            installs,
            now,
            at,
            by: trigger.by().into(),
            files,
        };
        Taken {
            outcome: ReloadOutcome::Accepted(accepted),
            new: Some(new),
        }
    }

    /// Files that are not those on disk: what is known of these stays as it is.
    fn refused(&self, trigger: &Trigger, errors: Vec<Problem>) -> ReloadRefusal {
        let refusal = ReloadRefusal {
            at: self.shared.clock.now().wall.into(),
            generation: self.shared.snapshot.load().generation,
            errors,
        };
        log_refused(trigger, &refusal);
        refusal
    }

    fn refuse(&self, trigger: &Trigger, errors: Vec<Problem>) -> ReloadRefusal {
        let refusal = self.refused(trigger, errors);
        let mut state = self.stand();
        state.last_refusal = Some(refusal.clone());
        state.refusal_logged_at = self.shared.clock.monotonic();
        drop(state);
        refusal
    }

    /// Every change of it is whole before the next can panic, so a poisoned one is sound.
    fn stand(&self) -> MutexGuard<'_, ReloadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
