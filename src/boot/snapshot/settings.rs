//! What a machine boots and is told, as its host or rule and their profiles say it together.

use super::{Sourced, Var, VarTable};
use crate::model::{AfterDeploy, BootTarget, DiskSelector, Name};
use crate::proto::dhcp::RawOption;
use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

/// What a machine boots, after inheritance.
#[derive(Clone, Debug, Default)]
pub struct BootSettings {
    /// The boot target; local where none is configured.
    pub boot: Option<Sourced<BootTarget>>,
    /// The image's name; it is in `Snapshot::images`.
    pub image: Option<Sourced<Name>>,
    /// The script's name; it is in `Snapshot::templates`.
    pub script: Option<Sourced<Name>>,
    /// The answer's name; it is in `Snapshot::templates`.
    pub answer: Option<Sourced<Name>>,
    /// Files in `Snapshot::loaders` in place of iPXE, each for the firmware that runs it.
    pub loaders: Vec<Sourced<String>>,
    /// Kernel parameters, the ancestors' first.
    pub cmdline: Vec<Sourced<String>>,
    /// DHCP options by number.
    pub options: BTreeMap<u8, Sourced<RawOption>>,
    /// How long nothing may be heard of its install before that has failed.
    pub install_timeout: Option<Sourced<Duration>>,
    /// Which disk its install may write to; `None` where only one can be meant: the machine's only disk.
    pub disk: Option<Box<Sourced<DiskSelector>>>,
    /// Whether our deployer makes the last partition as large as the disk allows; it does where nothing is said.
    pub grow: Option<Sourced<bool>>,
    /// What a machine does once our deployer is done; it starts anew where nothing is said.
    pub after: Option<Sourced<AfterDeploy>>,
    /// Template variables by name.
    pub vars: VarTable,
}

impl BootSettings {
    /// Its own name servers (option 6), in place of its subnet's.
    pub fn dns(&self) -> Option<Vec<Ipv4Addr>> {
        let body = &self.options.get(&6)?.value.body;
        let (addresses, _) = body.as_chunks::<4>();
        Some(addresses.iter().copied().map(Ipv4Addr::from).collect())
    }

    /// Whether some variable is a secret.
    pub fn has_secrets(&self) -> bool {
        self.vars.values().any(|var| matches!(var.value, Var::Secret(_)))
    }

    /// Its own domain (option 15), in place of its subnet's.
    pub fn domain(&self) -> Option<&str> {
        std::str::from_utf8(&self.options.get(&15)?.value.body).ok()
    }
}
