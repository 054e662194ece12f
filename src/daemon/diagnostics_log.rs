//! What is wrong with the operator's files, and what is odd, as lines of the log: so many at once, and
//! where the rest is to be seen.

use crate::admin::api::{Problem, ReloadAccepted, ReloadRefusal};
use crate::model::{limits::REFUSAL_LINES_MAX, text::counted};
use std::fmt::Display;

/// Files that are in force now, asked for by `trigger`.
pub(super) fn log_accepted(trigger: impl Display, accepted: &ReloadAccepted) {
    tracing::info!(
        event = "reloaded", generation = accepted.generation, %trigger,
        "reload by {trigger}: generation {} is in force, {}",
        accepted.generation,
        counted(accepted.hosts, "host")
    );
    log_warnings(&accepted.warnings);
    for setting in &accepted.restart_needed_for {
        tracing::warn!("`{setting}` changed and holds only after `systemctl restart bootwright`");
    }
}

/// Files that were refused.
pub(super) fn log_refused(trigger: impl Display, refusal: &ReloadRefusal) {
    tracing::error!(
        event = "reload_refused", generation = refusal.generation, %trigger,
        "reload by {trigger} refused, {}: generation {} stays in force",
        counted(refusal.errors.len(), "error"),
        refusal.generation
    );
    log_errors(&refusal.errors);
}

/// One line for each thing that is odd.
pub(super) fn log_warnings(warnings: &[Problem]) {
    for warning in warnings.iter().take(REFUSAL_LINES_MAX) {
        tracing::warn!(
            event = "file_warning",
            file = warning.file.as_deref(),
            line = warning.line,
            "{warning}"
        );
    }
    log_rest(warnings.len());
}

/// One line for each thing that is wrong.
pub(super) fn log_errors(errors: &[Problem]) {
    for error in errors.iter().take(REFUSAL_LINES_MAX) {
        tracing::error!(
            event = "file_error",
            file = error.file.as_deref(),
            line = error.line,
            "{error}"
        );
    }
    log_rest(errors.len());
}

fn log_rest(problems: usize) {
    if problems > REFUSAL_LINES_MAX {
        tracing::warn!("and {} more; see `bootwright check`", problems - REFUSAL_LINES_MAX);
    }
}
