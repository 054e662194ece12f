//! `POST /reload`: the operator's files are read again.

use super::{AdminRefusal, Problem, RefusalCode, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A reload that took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadAccepted {
    /// The generation in force now.
    pub generation: u64,
    /// Hosts in its inventory.
    pub hosts: usize,
    /// What is odd, and served all the same.
    pub warnings: Vec<Problem>,
    /// Settings that changed and hold only after a restart.
    pub restart_needed_for: Vec<String>,
    /// Hosts that are set to install now, and were not before.
    #[serde(default)]
    pub install_targets: Vec<InstallTarget>,
}

/// A host that is set to install now, and was not before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallTarget {
    /// Its name.
    pub host: String,
    /// Whether it is armed: its next boot from the network erases its disk.
    pub armed: bool,
}

impl fmt::Display for InstallTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InstallTarget { host, armed } = self;
        match armed {
            true => write!(
                f,
                "host {host} is set to install, and armed: its next boot from the network ERASES ITS DISK; \
                 `bootwright disarm {host}` keeps it from that"
            ),
            false => write!(
                f,
                "host {host} is set to install, and not armed: it boots its disk until `bootwright arm {host}`"
            ),
        }
    }
}

/// A reload that was refused: the generation before it stays in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadRefusal {
    /// When it was refused.
    pub at: Timestamp,
    /// The generation that stays in force.
    pub generation: u64,
    /// Everything that is wrong.
    pub errors: Vec<Problem>,
}

impl From<ReloadRefusal> for AdminRefusal {
    fn from(refusal: ReloadRefusal) -> AdminRefusal {
        let ReloadRefusal { at, generation, errors } = refusal;
        let detail = format!("reload refused: generation {generation} stays in force");
        AdminRefusal {
            at: Some(at),
            generation: Some(generation),
            errors,
            ..AdminRefusal::new(RefusalCode::FilesRefused, detail)
        }
    }
}
