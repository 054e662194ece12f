//! Why an image can't be made, found or removed, in words for the operator.

use std::{fmt, io};

/// Why an image can't be made: what, where, and what to do.
#[derive(Debug)]
pub struct ImageError(String);

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ImageError {}

impl ImageError {
    pub(super) fn new(why: String) -> ImageError {
        ImageError(why)
    }

    /// Whoever looks on wants no more of it.
    pub(super) fn stopped() -> ImageError {
        ImageError("it was stopped; no image has changed".to_owned())
    }
}

/// What was being done to what, and the system's word; where that is a full disk, what helps.
pub(super) fn failed(doing: &str, what: impl fmt::Display, error: &io::Error) -> ImageError {
    let help = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": the disk is full; make room there and say it again, or name another folder of images with --images DIR"
        }
        _ => "",
    };
    ImageError(format!("can't {doing} {what}: {error}{help}"))
}
