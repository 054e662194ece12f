//! What a request for a file comes to: a file beneath a root, a text, or a refusal with its reason.

use crate::boot::{
    change::Change,
    event::{PathFault, Reason, Subject},
    verification::VerifiedStamp,
};
use crate::model::Token;
use std::path::PathBuf;

/// What a path stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A regular file, to be opened beneath its root with no symlink on the way.
    File {
        /// The folder.
        root: PathBuf,
        /// The path beneath it.
        file: String,
        /// What the file must still be; `None` where it has no checksum.
        verified: Option<VerifiedStamp>,
        /// An image's artifact: many megabytes, of which only so many go out at once.
        is_bulk: bool,
        /// Its media type.
        content_type: &'static str,
    },
    /// A rendered text.
    Text {
        /// The text.
        body: String,
        /// Its media type.
        content_type: &'static str,
    },
}

/// Why a path gets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing.
    NotFound(Reason),
    /// There is no such thing, and who asks goes on without it.
    OptionalMissing(Reason),
    /// The path is not one we would ever look at.
    BadPath(PathFault),
    /// It is for another machine, or not for this one now.
    Forbidden(Reason),
    /// Our own fault: a template that `check` passed failed for this machine, or a file is not what
    /// it should be.
    ServerError(Reason),
    /// It will be there by itself, in a while.
    NotReady {
        /// What is waited for.
        reason: Reason,
        /// Bytes of the file.
        length: u64,
    },
    /// The disk did not take what the request is to change.
    NotStored(Reason),
}

impl Refusal {
    /// Why.
    pub fn into_reason(self) -> Reason {
        match self {
            Refusal::NotFound(reason)
            | Refusal::OptionalMissing(reason)
            | Refusal::Forbidden(reason)
            | Refusal::ServerError(reason)
            | Refusal::NotStored(reason)
            | Refusal::NotReady { reason, .. } => reason,
            Refusal::BadPath(fault) => Reason::BadPath { fault },
        }
    }

    /// Whether who asks goes on without it.
    pub fn is_optional(&self) -> bool {
        matches!(self, Refusal::OptionalMissing(_))
    }
}

/// What is to be begun by who asks again with [`super::Hearing::Acknowledged`], and is told the same then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The token of the install, which stands in what it is sent; `None` where it boots its disk.
    pub token: Option<Token>,
}

/// What a request comes to.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Whom it is about, and what it asks for.
    pub subject: Subject,
    /// The largest TFTP block that the client may be given, in bytes, where a quirk says.
    pub block_max: Option<u16>,
    /// What it changes; durable before the response goes out.
    pub change: Option<Change>,
    /// What begins once who asked acknowledges what it is sent; nothing of it counts before.
    pub promise: Option<Promise>,
    /// The thing, or why not.
    pub result: Result<Resource, Refusal>,
}
