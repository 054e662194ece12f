//! Why an image can't be made, found or removed: a kind that a caller can act upon, a sentence for the operator, and
//! what was beneath it.

use std::{error::Error, fmt, io};

/// Why an image can't be made: what, where, and what to do.
#[derive(Debug)]
pub enum ImageError {
    /// Whoever looks on wants no more of it.
    Stopped,
    /// The system refuses.
    System {
        /// What was being done.
        doing: &'static str,
        /// To what.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// What was asked for can't be had.
    Refused {
        /// Why, and what to do.
        why: String,
        /// The error beneath it, which `why` has the words of.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageError::Stopped => f.write_str("it was stopped; no image has changed"),
            ImageError::System { doing, what, source } => {
                write!(f, "can't {doing} {what}: {source}")?;
                match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => f.write_str(
                        ": the disk is full; make room there and say it again, or name another folder of images with --images DIR",
                    ),
                    // The system's word says it.
                    _ => Ok(()),
                }
            }
            ImageError::Refused { why, .. } => f.write_str(why),
        }
    }
}

impl Error for ImageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ImageError::Stopped => None,
            ImageError::System { source, .. } => Some(source),
            ImageError::Refused { source, .. } => source.as_deref().map(|source| source as &(dyn Error + 'static)),
        }
    }
}

impl ImageError {
    /// What was asked for can't be had, as the sentence says.
    pub(super) fn new(why: impl fmt::Display) -> ImageError {
        ImageError::Refused {
            why: why.to_string(),
            source: None,
        }
    }

    /// What is wrong with what was asked for.
    pub(super) fn about(what: impl fmt::Display, source: impl Error + Send + Sync + 'static) -> ImageError {
        ImageError::new(format_args!("{what}: {source}")).with_source(source)
    }

    /// Adds the error beneath a refusal, whose words its sentence has.
    pub(super) fn with_source(mut self, beneath: impl Error + Send + Sync + 'static) -> ImageError {
        if let ImageError::Refused { source, .. } = &mut self {
            *source = Some(Box::new(beneath));
        }
        self
    }
}

/// What was being done to what, and the system's word.
pub(super) fn failed(doing: &'static str, what: impl fmt::Display, error: io::Error) -> ImageError {
    // A copy that was stopped comes through the standard library's copying.
    error.downcast().unwrap_or_else(|source| ImageError::System {
        doing,
        what: what.to_string(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_stays_beneath_the_sentence_and_a_full_disk_has_its_next_step() {
        let kind_of = |error: &ImageError| {
            let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
            source.map(io::Error::kind)
        };
        let full = failed("write", "/images/deb/linux", io::ErrorKind::StorageFull.into());
        assert_eq!(kind_of(&full), Some(io::ErrorKind::StorageFull));
        assert!(full.to_string().contains("--images DIR"), "{full}");
        let refused = failed("write", "/images/deb/linux", io::ErrorKind::PermissionDenied.into());
        assert_eq!(kind_of(&refused), Some(io::ErrorKind::PermissionDenied));
        assert!(!refused.to_string().contains("--images DIR"), "{refused}");
        let about = ImageError::about("debian.iso", io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(kind_of(&about), Some(io::ErrorKind::NotFound));
    }

    #[test]
    fn who_stops_a_copy_hears_that_it_was_stopped() {
        let stopped = io::Error::new(io::ErrorKind::Interrupted, ImageError::Stopped);
        assert!(matches!(failed("copy", "linux", stopped), ImageError::Stopped));
    }
}
