//! What a machine is told to boot.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The boot target of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootTarget {
    /// Destroys a disk, so it happens only to an armed host (see `boot::gate`).
    Install,
    /// Boots from the network every time.
    Live,
    /// Boots the disk.
    Local,
    /// A live system of ours for repairs.
    Rescue,
    /// A live system of ours that introduces the machine.
    Discover,
}

impl BootTarget {
    /// The word the inventory uses.
    pub fn name(self) -> &'static str {
        match self {
            BootTarget::Install => "install",
            BootTarget::Live => "live",
            BootTarget::Local => "local",
            BootTarget::Rescue => "rescue",
            BootTarget::Discover => "discover",
        }
    }
}

impl fmt::Display for BootTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
