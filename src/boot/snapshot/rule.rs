//! What becomes of machines that are not listed.

use super::{BootSettings, Origin};
use crate::model::Cpu;

/// What becomes of a machine that neither a host nor a rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownPolicy {
    /// A dynamic lease, a loader and the script that shows the machine's identity.
    Discover,
    /// A dynamic lease and nothing to boot.
    Lease,
    /// Silence.
    Ignore,
}

impl UnknownPolicy {
    /// Its word in the settings.
    pub fn name(self) -> &'static str {
        match self {
            UnknownPolicy::Discover => "discover",
            UnknownPolicy::Lease => "lease",
            UnknownPolicy::Ignore => "ignore",
        }
    }
}

/// Settings for unlisted machines.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What a machine must be for the rule to hold; all that is given must hold.
    pub matches: RuleMatch,
    /// What such a machine boots.
    pub settings: BootSettings,
    /// Where the rule is written.
    pub origin: Origin,
}

/// A rule's conditions; an absent one always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleMatch {
    /// The instruction set.
    pub cpu: Option<Cpu>,
    /// Glob (`*`, `?`, ASCII case ignored) over the vendor class (option 60) or the manufacturer.
    pub vendor: Option<String>,
    /// Glob over the MAC as `52:54:00:00:00:07`.
    pub mac: Option<String>,
    /// Glob over the serial number.
    pub serial: Option<String>,
}
