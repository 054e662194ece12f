//! How the last reload left things, and what of that is logged again.

use crate::admin::api::{LastGoodFiles, Problem, ReloadRefusal};
use crate::config::{Appliance, validation::TriedFiles};
use crate::model::{WallTime, limits::REFUSAL_LOG_INTERVAL, text::counted};
use std::{fmt::Write, time::Duration};

/// How the last reload left things.
#[derive(Clone)]
pub(in crate::daemon) struct ReloadState {
    /// Since when the generation is in force.
    pub(in crate::daemon) since: WallTime,
    /// Why the files as they are now are not, if they are not.
    pub(in crate::daemon) last_refusal: Option<ReloadRefusal>,
    /// The files in force, where those on disk were refused at the start already.
    pub(in crate::daemon) last_good: Option<LastGoodFiles>,
    /// The generation whose files are in force in place of those on disk, where an operator took it back.
    pub(in crate::daemon) rolled_back_to: Option<u64>,
    /// When the refusal was logged last, by the clock that never jumps.
    pub(super) refusal_logged_at: Duration,
    /// The settings of the generation in force.
    pub(in crate::daemon) appliance: Appliance,
    /// What its files were when they were tried.
    pub(in crate::daemon) tried: TriedFiles,
    /// Settings of the files that hold only after a restart.
    pub(in crate::daemon) restart_needed_for: Vec<String>,
    /// Folders whose changes are not seen at once.
    pub(in crate::daemon) unwatched: Vec<Problem>,
    /// What tells the files as they were read from any others.
    pub(super) fingerprint: u64,
}

impl ReloadState {
    /// What is logged again of refused files, if it is time for that.
    pub(super) fn reminder(&self, now: Duration) -> Option<String> {
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
    use std::path::Path;

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
            rolled_back_to: None,
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
