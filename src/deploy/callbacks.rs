//! What the daemon is told: that it began, how far it is, that it is done, or why it failed.

use super::{failure::DeployFailure, meter::Meter, wire::Wire};
use crate::model::{
    CallbackWord, DiskInfo,
    limits::{DEPLOY_HEARTBEAT, DEPLOY_LAST_WORD_PATIENCE, DEPLOY_PROGRESS_INTERVAL},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::{
    fmt,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

/// The daemon's ear.
pub(super) struct Callbacks<'w> {
    wire: &'w Wire,
    base: &'w str,
}

impl<'w> Callbacks<'w> {
    /// `base` is the order's: its words are appended to it.
    pub(super) fn new(wire: &'w Wire, base: &'w str) -> Callbacks<'w> {
        Callbacks {
            wire,
            base: base.trim_end_matches('/'),
        }
    }

    fn url(&self, word: CallbackWord) -> String {
        format!("{}/{}", self.base, word.name())
    }

    /// It begins. Whoever is refused has no leave to write.
    pub(super) fn started(&self) -> Result<(), DeployFailure> {
        self.begin("")
    }

    /// The same, with the disks that the machine has.
    pub(super) fn started_with(&self, disks: &[DiskInfo]) -> Result<(), DeployFailure> {
        self.begin(&told(disks))
    }

    fn begin(&self, body: &str) -> Result<(), DeployFailure> {
        let url = self.url(CallbackWord::Started);
        self.wire.post(&url, body, "leave to begin", Duration::ZERO)
    }

    /// It is done.
    pub(super) fn done(&self) -> Result<(), DeployFailure> {
        let url = self.url(CallbackWord::Done);
        self.wire
            .post(&url, "", "an end to the install", DEPLOY_LAST_WORD_PATIENCE)
    }

    /// It failed.
    pub(super) fn failed(&self, why: &DeployFailure) -> Result<(), DeployFailure> {
        let form = Form(&[("reason", why)]);
        let url = self.url(CallbackWord::Failed);
        // A server that is gone was waited for already.
        let patience = match why {
            DeployFailure::ServerGone { .. } => Duration::ZERO,
            _ => DEPLOY_LAST_WORD_PATIENCE,
        };
        self.wire
            .post(&url, &form.to_string(), "an end to the install", patience)
    }

    /// Tells how far it is, from time to time, until `end` is dropped.
    pub(super) fn follow(&self, meter: &Meter, end: &Receiver<()>) {
        let (mut told, mut when) = (None, Instant::now());
        while end.recv_timeout(DEPLOY_PROGRESS_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            let state = meter.state();
            if told == Some(state) && when.elapsed() < DEPLOY_HEARTBEAT {
                continue;
            }
            let form = Form(&[("percent", &state.percent), ("message", &meter.words())]);
            self.wire
                .post_once(&self.url(CallbackWord::Progress), &form.to_string());
            (told, when) = (Some(state), Instant::now());
        }
    }
}

/// Tells a URL of a machine's disks, whether or not anything is installed.
pub(super) fn tell_disks(wire: &Wire, url: &str, disks: &[DiskInfo]) -> Result<(), DeployFailure> {
    wire.post(url, &told(disks), "an ear for its disks", Duration::ZERO)
}

/// Disks as JSON: a list.
fn told(disks: &[DiskInfo]) -> String {
    // Nothing in them can fail.
    serde_json::to_string(disks).unwrap_or_default()
}

/// Fields as a form has them.
struct Form<'a>(&'a [(&'a str, &'a dyn fmt::Display)]);

impl fmt::Display for Form<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "&" };
            let value = format!("{value}");
            write!(f, "{separator}{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_survives_a_form() {
        let form = Form(&[("percent", &40), ("message", &"writing, 1 & 2 = 3 % ü")]);
        assert_eq!(
            form.to_string(),
            "percent=40&message=writing%2C%201%20%26%202%20%3D%203%20%25%20%C3%BC"
        );
    }
}
