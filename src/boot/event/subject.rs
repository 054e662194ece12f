//! Whom a request for a file is about, and the events of it.

use super::{Event, Machine, Reason, RequestedFile, Stage, Step};
use crate::model::Now;
use serde::Serialize;
use std::sync::Arc;

/// Whom a request for a file is about, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// The machine.
    pub machine: Machine,
    /// Where in its boot a machine asks for such a thing.
    pub stage: Stage,
    /// What was asked for.
    pub file: RequestedFile,
}

impl Subject {
    /// What became of it, as an event of its machine.
    pub fn event(&self, at: Now, step: Step) -> Event {
        Event {
            at,
            machine: self.machine.clone(),
            stage: self.stage,
            quirks: Arc::default(),
            step,
        }
    }

    /// That it was not to be had. Who asks goes on without it, where it `is_optional`.
    pub fn failed(&self, at: Now, reason: Reason, is_optional: bool) -> Event {
        let file = self.file.clone();
        let step = match is_optional {
            true => Step::OptionalMissing { file },
            false => Step::Failed {
                file,
                part: None,
                reason,
            },
        };
        self.event(at, step)
    }
}
