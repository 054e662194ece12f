//! `GET /generations` and `POST /rollback`: what was in force before, and an earlier generation put in force again.

use super::{AdminRefusal, InstallTarget, Problem, RefusalCode, Timestamp};
use crate::boot::plan::{ChangeKind, PlannedChanges};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

pub use crate::store::generations::ChangeCounts;

/// Which generations are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationFilter {
    /// The number of one, of which all is told; without it all of them, in brief.
    #[serde(default)]
    pub number: Vec<String>,
}

/// The generation that is to be put in force again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Its number, once.
    #[serde(default)]
    pub number: Vec<String>,
    /// Who asks, where that is not who runs the command; once, or not at all.
    #[serde(default)]
    pub by: Vec<String>,
}

/// A generation that was in force, or is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationStatus {
    /// Its number.
    pub number: u64,
    /// Since when it was in force.
    pub at: Timestamp,
    /// Who had it read: a user, `SIGHUP`, `file changed`, `start`.
    pub by: String,
    /// The generation whose files it took back, where it is a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back_to: Option<u64>,
    /// Whether it is in force now.
    pub in_force: bool,
    /// The SHA-256 of its files, in hexadecimal digits.
    pub digest: String,
    /// Hosts in its inventory.
    pub hosts: usize,
    /// How much it changed; nothing of a start.
    pub counts: Option<ChangeCounts>,
    /// Whether it can be put in force again: the text of its files is kept.
    pub has_files: bool,
    /// Which files differ from those of the generation before, where one is asked for and both are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Vec<FileChange>>,
    /// What it changed, where one is asked for and that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<PlannedChanges>,
}

/// A file that differs from the one of the generation before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Where it lies among the files of a generation.
    pub file: PathBuf,
    /// Whether it came, went, or was changed.
    pub kind: ChangeKind,
}

/// An earlier generation that is in force again, by another number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// Its number now.
    pub generation: u64,
    /// The generation whose files these are.
    pub rolled_back_to: u64,
    /// Hosts in its inventory.
    pub hosts: usize,
    /// Where its files lie. Those on disk are what they were, and count once they change.
    pub folder: PathBuf,
    /// What is odd today, and served all the same.
    pub warnings: Vec<Problem>,
    /// Hosts that are set to install now, and were not before.
    pub install_targets: Vec<InstallTarget>,
}

/// The one number that is asked for, if one is.
///
/// # Errors
/// It is no number, or there are several.
pub fn generation_number(numbers: &[String]) -> Result<Option<u64>, AdminRefusal> {
    match numbers {
        [] => Ok(None),
        [number] => number.parse().map(Some).map_err(|_| {
            let detail = format!("`{}` is no generation's number", number.escape_debug());
            AdminRefusal::new(RefusalCode::BadRequest, detail).with_help(GENERATIONS_LISTED)
        }),
        _ => Err(AdminRefusal::new(RefusalCode::BadRequest, "`number` is there twice")),
    }
}

/// Where the numbers are.
pub const GENERATIONS_LISTED: &str = "`bootwright generations` lists them";
