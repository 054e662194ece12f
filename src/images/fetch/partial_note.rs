//! What is known of a file whose download has not ended, in a small file beside its part.

use crate::images::error::{ImageError, failed};
use serde::{Deserialize, Serialize};
use std::{ffi::OsStr, fs, io, path::Path};

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PartialNote {
    pub(super) url: String,
    /// A strong ETag, or the time of the last change.
    pub(super) validator: Option<String>,
    pub(super) total: Option<u64>,
    /// Whatever comes is accepted, so no later run can tell what it got by a checksum.
    without_checksum: bool,
}

impl PartialNote {
    pub(super) fn new(url: &str, has_checksum: bool) -> PartialNote {
        PartialNote {
            url: url.to_owned(),
            without_checksum: !has_checksum,
            ..PartialNote::default()
        }
    }

    pub(super) fn read(path: &Path) -> Option<PartialNote> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), ImageError> {
        let text = serde_json::to_vec(self).unwrap_or_default();
        write_atomically(path, &text).map_err(|error| failed("write", path.display(), error))
    }

    /// This file, asked for with or without a checksum.
    pub(super) fn with_checksum(self, has_checksum: bool) -> PartialNote {
        PartialNote {
            without_checksum: !has_checksum,
            ..self
        }
    }

    /// Whether a later run that asks for the same can use what is here.
    pub(super) fn is_resumable(&self) -> bool {
        self.validator.is_some() || !self.without_checksum
    }
}

/// Whoever reads it finds the text before or this one.
fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_file_name(
        path.file_name()
            .unwrap_or(OsStr::new("note"))
            .to_string_lossy()
            .into_owned()
            + ".new",
    );
    fs::write(&beside, bytes)?;
    fs::rename(&beside, path)
}
