//! A generation of the inventory, checked and indexed: what every decision is made from.
//!
//! Immutable once built. `config` is the only module that builds one from files; tests make theirs by
//! `tests/shared/fixtures.rs`, where every field has its value once. A file each: [`Host`] and the index of all
//! [`Hosts`], [`Subnet`] and whose word on switch ports it takes ([`PortsFrom`]), [`Rule`], [`BootSettings`]
//! with their [`VarTable`], [`Image`], and where each value was written ([`Sourced`]).

mod host;
mod hosts;
mod image;
mod origin;
mod relays;
mod rule;
mod secret;
mod settings;
mod subnet;
mod vars;

pub use crate::boot::paths::Ports;
use crate::boot::{kept_texts::KeptTexts, loader::Loaders, quirks::Quirks, render::Templates};
use crate::model::{Arch, Name};
pub use host::Host;
pub use hosts::Hosts;
pub use image::{Artifact, DeployableDisk, FileStamp, Image};
pub use origin::{Origin, Sourced};
pub use relays::PortsFrom;
pub use rule::{Rule, RuleMatch, UnknownPolicy};
pub use secret::{BLACKED_OUT, Secret, SecretSource};
pub use settings::BootSettings;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};
pub use subnet::Subnet;
pub use vars::{Var, VarTable};

/// One accepted version of the inventory with everything that decisions need.
pub struct Snapshot {
    /// Counts accepted versions from 1.
    pub generation: u64,
    /// Where our own servers listen, for the URLs we hand out.
    pub ports: Ports,
    /// Whether machines may log to us, and are told so.
    pub syslog: bool,
    /// The subnets we serve; none overlaps another.
    pub subnets: Vec<Subnet>,
    /// The machines that are listed.
    pub hosts: Hosts,
    /// Settings for unlisted machines; the first match wins.
    pub rules: Vec<Rule>,
    /// What becomes of a machine that neither a host nor a rule names.
    pub unknown: UnknownPolicy,
    /// The images by name.
    pub images: BTreeMap<Name, Image>,
    /// The name of the image that is our own live system, whether or not it is there.
    pub live: Name,
    /// The loaders found, by architecture.
    pub loaders: Loaders,
    /// Rows for firmware that needs something of its own.
    pub quirks: Quirks,
    /// The compiled scripts and answers.
    pub templates: Templates,
    /// Scripts that were rendered with all of this.
    pub kept_texts: KeptTexts,
}

impl Snapshot {
    /// The subnet that holds an address. Those of the inventory are IPv4's.
    pub fn subnet_of(&self, address: impl Into<IpAddr>) -> Option<&Subnet> {
        let IpAddr::V4(address) = address.into() else {
            return None;
        };
        self.subnets.iter().find(|subnet| subnet.cidr.contains(address))
    }

    /// Whether the inventory names that very address as a router, or as a relay whose word counts: of a network
    /// of relays anybody can make up addresses.
    pub fn names_router(&self, address: Ipv4Addr) -> bool {
        let mut subnets = self.subnets.iter();
        subnets.any(|subnet| subnet.router == Some(address) || subnet.ports_from.names(address))
    }

    /// The artifact of that image and file.
    pub fn artifact(&self, image: &str, file: &str) -> Option<(&Image, &Artifact)> {
        let image = self.images.get(image)?;
        let artifact = image.artifacts().find(|artifact| artifact.file == file)?;
        Some((image, artifact))
    }

    /// The loader that the settings name for firmware of that kind; the first of theirs where the kind is
    /// not known.
    pub fn named_loader<'s>(&self, settings: Option<&'s BootSettings>, arch: Option<Arch>) -> Option<&'s str> {
        let named = settings.map_or(&[][..], |settings| &settings.loaders);
        let runs = |file: &str| arch.is_none_or(|arch| self.loaders.runs_on(file, arch));
        named.iter().map(|loader| loader.value.as_str()).find(|file| runs(file))
    }
}
