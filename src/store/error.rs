//! Why a store can't do what it was asked: a kind that a caller can act upon, a sentence for people, and what
//! was beneath it.

use crate::boot::event::{NotStored, StoreFault};
use std::{error::Error, fmt, io, sync::Arc};

/// Why the store can't do what it was asked. Nothing of a commit that fails is in the store.
#[derive(Clone, Debug)]
pub enum StoreError {
    /// What a commit asked for beforehand does not hold: somebody else was faster. Read the key again and decide
    /// anew.
    Conflict {
        /// The key that is not as it was expected.
        key: Vec<u8>,
    },
    /// The disk has no room, or a quota is used up. It heals by itself once there is some.
    Full(StoreFailure),
    /// The disk, the system or another process is in the way, or too much waits already.
    Unavailable(StoreFailure),
    /// What is on the disk makes no sense.
    Corrupt(StoreFailure),
}

/// What failed, in words, and the error beneath it.
#[derive(Clone, Debug)]
pub struct StoreFailure {
    what: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
    /// What to do, where that is known better here than by the kind.
    next: Option<String>,
}

impl StoreError {
    /// The disk, the system or another process is in the way, as `what` says.
    pub fn unavailable(what: impl Into<String>) -> StoreError {
        StoreError::Unavailable(StoreFailure::new(what, None))
    }

    /// What the system answered when `what` was tried; its kind says which error that is.
    pub fn of_io(what: impl Into<String>, error: io::Error) -> StoreError {
        let kind = error.kind();
        let failure = StoreFailure::new(what, Some(Arc::new(error)));
        match kind {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                StoreError::Full(failure)
            }
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => StoreError::Corrupt(failure),
            // Whatever else a system says, its disk can't be used just now.
            _ => StoreError::Unavailable(failure),
        }
    }

    /// What stands on the disk makes no sense, as `what` says.
    pub fn corrupt(what: impl Into<String>, source: Option<Arc<dyn Error + Send + Sync>>) -> StoreError {
        StoreError::Corrupt(StoreFailure::new(what, source))
    }

    /// Adds what to do about it.
    pub(super) fn with_next_step(mut self, step: impl Into<String>) -> StoreError {
        match &mut self {
            StoreError::Conflict { .. } => {}
            StoreError::Full(failure) | StoreError::Unavailable(failure) | StoreError::Corrupt(failure) => {
                failure.next = Some(step.into());
            }
        }
        self
    }

    /// The kind by itself, for events, logs and programs.
    pub fn fault(&self) -> StoreFault {
        match self {
            StoreError::Conflict { .. } => StoreFault::Conflict,
            StoreError::Full(_) => StoreFault::Full,
            StoreError::Unavailable(_) => StoreFault::Unavailable,
            StoreError::Corrupt(_) => StoreFault::Corrupt,
        }
    }

    /// The error for an operator who runs the daemon: with what to do about it.
    pub fn with_advice(&self) -> String {
        let advice = match self {
            StoreError::Full(failure) | StoreError::Unavailable(failure) | StoreError::Corrupt(failure)
                if failure.next.is_some() =>
            {
                return self.to_string();
            }
            StoreError::Conflict { .. } => "try again",
            StoreError::Full(_) => {
                "the disk of [state] path is full: make room there (`df`, `df -i`, quotas), and it goes on by itself"
            }
            StoreError::Unavailable(_) => "see whether the disk of [state] path is there and can be written (`dmesg`)",
            StoreError::Corrupt(_) => "restart bootwright: it keeps the file aside and goes on with what can be read",
        };
        format!("{self}; {advice}")
    }
}

impl From<StoreError> for NotStored {
    fn from(error: StoreError) -> NotStored {
        NotStored {
            fault: error.fault(),
            message: error.to_string().into(),
        }
    }
}

impl StoreFailure {
    fn new(what: impl Into<String>, source: Option<Arc<dyn Error + Send + Sync>>) -> StoreFailure {
        StoreFailure {
            what: what.into(),
            source,
            next: None,
        }
    }

    /// What is wrong beneath, without what was tried.
    pub(super) fn cause(&self) -> String {
        match &self.source {
            Some(source) => source.to_string(),
            None => self.what.clone(),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failure = match self {
            StoreError::Conflict { key } => {
                return write!(f, "{} is not in the store as it was expected", key.escape_ascii());
            }
            StoreError::Full(failure) | StoreError::Unavailable(failure) | StoreError::Corrupt(failure) => failure,
        };
        f.write_str(&failure.what)?;
        // One sentence is what logs and people get.
        if let Some(source) = &failure.source {
            write!(f, ": {source}")?;
        }
        match &failure.next {
            Some(next) => write!(f, "; {next}"),
            None => Ok(()),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StoreError::Conflict { .. } => None,
            StoreError::Full(failure) | StoreError::Unavailable(failure) | StoreError::Corrupt(failure) => {
                failure.source.as_deref().map(|source| source as &(dyn Error + 'static))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_that_is_known_better_stands_alone() {
        let error = StoreError::unavailable("the folder");
        assert_eq!(
            error.clone().with_next_step("make it").with_advice(),
            "the folder; make it"
        );
        assert!(error.with_advice().starts_with("the folder; "));
    }

    #[test]
    fn what_the_system_answered_says_which_error_it_is_and_stays_beneath_it() {
        for (errno, fault) in [
            (nix::errno::Errno::ENOSPC, StoreFault::Full),
            (nix::errno::Errno::EDQUOT, StoreFault::Full),
            (nix::errno::Errno::EFBIG, StoreFault::Full),
            (nix::errno::Errno::EIO, StoreFault::Unavailable),
            (nix::errno::Errno::EROFS, StoreFault::Unavailable),
            (nix::errno::Errno::EACCES, StoreFault::Unavailable),
        ] {
            let error = StoreError::of_io("the journal", io::Error::from_raw_os_error(errno as i32));
            assert_eq!(error.fault(), fault, "{errno}");
            let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
            assert_eq!(source.and_then(io::Error::raw_os_error), Some(errno as i32));
        }
        let rubble = StoreError::of_io("the journal", io::ErrorKind::UnexpectedEof.into());
        assert_eq!(rubble.fault(), StoreFault::Corrupt);
        let conflict = StoreError::Conflict { key: b"arm/7".to_vec() };
        assert_eq!(conflict.fault(), StoreFault::Conflict);
        assert!(conflict.source().is_none());
    }
}
