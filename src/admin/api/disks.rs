//! What is known of a machine's disks, for whoever arms its host.

use super::Timestamp;
use crate::model::DiskInfo;
use serde::{Deserialize, Serialize};

/// A host's disks, as its machine told of them last, and which one an install would erase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDisks {
    /// The host's name.
    pub host: String,
    /// When its machine told of them; none where it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Timestamp>,
    /// Its disks then.
    #[serde(default)]
    pub disks: Vec<DiskInfo>,
    /// Whether these are all.
    #[serde(default)]
    pub is_whole: bool,
    /// The rule by which its install chooses among them, as in the inventory; none where its installer has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The kernel's name of the disk that the rule chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    /// What is wrong: no disk fits, or several do, or it is too small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}
