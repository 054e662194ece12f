//! The disks that a machine told of, once it had a system that sees them.

use super::DiskInfo;
use serde::{Deserialize, Serialize};

/// What a machine told of its disks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldDisks {
    /// Its disks, in the order in which it named them.
    pub disks: Vec<DiskInfo>,
    /// Whether these are all: it may have told of more than are kept, and its words may have been cut off.
    pub is_whole: bool,
}
