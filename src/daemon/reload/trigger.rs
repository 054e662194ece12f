//! Who asked for a reload, in the words of the log and of the journal.

use std::{fmt, sync::Arc};

/// Who asked for a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::daemon) enum Trigger {
    /// SIGHUP.
    Signal,
    /// `bootwright reload`.
    AdminApi {
        /// Who asked, by the socket.
        by: Arc<str>,
    },
    /// `bootwright rollback`.
    Rollback {
        /// The generation that is put in force again.
        to: u64,
        /// Who asked, by the socket.
        by: Arc<str>,
    },
    /// A watched folder changed; nothing is read when it is as it was after all.
    Watch,
}

impl Trigger {
    /// Who it was, for the journal.
    pub(super) fn by(&self) -> &str {
        match self {
            Trigger::Signal => "SIGHUP",
            Trigger::AdminApi { by } | Trigger::Rollback { by, .. } => by,
            Trigger::Watch => "file changed",
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Signal => f.write_str("SIGHUP"),
            Trigger::AdminApi { .. } => f.write_str("an operator"),
            Trigger::Rollback { to, by } => write!(f, "a rollback to generation {to} ({by})"),
            Trigger::Watch => f.write_str("a changed file"),
        }
    }
}
