//! Where the inventory's values are written, for who asks why a machine gets them: the files are read again for it, so
//! that a generation in force need not keep what nobody asks for.

use super::{
    SecretsAre,
    inherit::{Profiles, rescue_script},
    problems::Problems,
    raw::{Inventory, RawHost},
    validation::TriedFiles,
};
use crate::boot::{
    explain::{Places, SettingLayer},
    machine::Who,
    snapshot::{BootSettings, Origin, Sourced},
    written::{WrittenSetting, written_settings},
};
use crate::model::{BootTarget, Cidr, Name};
use std::{fmt::Display, path::Path};

/// The inventory as it is written now.
pub struct InventoryPlaces(Inventory);

impl InventoryPlaces {
    /// Reads the inventory's file or folder; where `tried` is said, of these files and no others: whatever else is written
    /// there may cost the one who reads it its memory. What is wrong there is nobody's who asks: it is left out.
    pub fn read(inventory: &Path, tried: Option<&TriedFiles>) -> InventoryPlaces {
        let mut problems = Problems::default()
            .with_secrets(SecretsAre::Elsewhere)
            .with_only(tried.map(TriedFiles::sums));
        InventoryPlaces(Inventory::read(inventory, &mut problems))
    }

    fn profiles(&self, names: &[Sourced<Name>]) -> Vec<SettingLayer> {
        let profiles = Profiles::check(&self.0.profiles, true, &mut Problems::default());
        let names = names.iter().map(|name| &name.value);
        let layer = |profile: &super::raw::RawProfile| SettingLayer {
            name: ["profile ", profile.name.value.as_str()].concat(),
            settings: own_settings(&profile.own),
        };
        profiles.in_order(names).into_iter().map(layer).collect()
    }
}

impl Places for InventoryPlaces {
    fn layers(&self, who: Who<'_>) -> Vec<SettingLayer> {
        let (names, own) = match who {
            Who::Host(host) => {
                let Some(raw) = self.0.hosts.iter().find(|raw| raw.name.value == host.name) else {
                    return Vec::new();
                };
                let own = SettingLayer {
                    name: ["host ", host.name.as_str()].concat(),
                    settings: identity_of(raw).into_iter().chain(own_settings(&raw.own)).collect(),
                };
                (&raw.profiles, own)
            }
            Who::Rule(rule) => {
                let Some(raw) = self.0.rules.iter().find(|raw| raw.origin == rule.origin) else {
                    return Vec::new();
                };
                let own = SettingLayer {
                    name: "this rule".into(),
                    settings: own_settings(&raw.own),
                };
                (&raw.profiles, own)
            }
            Who::Unknown => return Vec::new(),
        };
        let mut layers = self.profiles(names);
        layers.push(own);
        layers
    }

    fn subnet(&self, cidr: Cidr) -> Option<Origin> {
        let subnet = self.0.subnets.iter().find(|subnet| subnet.cidr.value == cidr)?;
        Some(subnet.cidr.origin.clone())
    }
}

/// What is written, and the script that follows from `boot = "rescue"` where none is.
fn own_settings(own: &BootSettings) -> Vec<WrittenSetting> {
    let boot = own.boot.as_ref().filter(|boot| boot.value == BootTarget::Rescue);
    let script = boot
        .filter(|_| own.script.is_none())
        .and_then(|boot| rescue_script(&boot.origin));
    let named = script.map(|script| BootSettings {
        script: Some(script),
        ..BootSettings::default()
    });
    let of_rescue = named.iter().flat_map(written_settings);
    written_settings(own).into_iter().chain(of_rescue).collect()
}

fn identity_of(raw: &RawHost) -> Vec<WrittenSetting> {
    fn row<T: Display>(key: &str, written: &Sourced<T>) -> WrittenSetting {
        WrittenSetting::of(key, &written.value, &written.origin)
    }
    let identity = &raw.identity;
    let macs = identity.macs.iter().map(|mac| row("mac", mac));
    let links = identity.links.iter().map(|link| row("mac", link));
    let others = [
        identity.uuid.as_ref().map(|uuid| row("uuid", uuid)),
        identity.serial.as_ref().map(|serial| row("serial", serial)),
        identity.port.as_ref().map(|port| row("port", port)),
        raw.address.as_ref().map(|address| row("address", address)),
        raw.hostname.as_ref().map(|hostname| row("hostname", hostname)),
    ];
    macs.chain(links).chain(others.into_iter().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_not_tried_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let inventory = folder.path().join("inventory.toml");
        std::fs::write(&inventory, "[[subnet]]\ncidr = \"192.0.2.0/24\"\n").unwrap();
        let cidr: Cidr = "192.0.2.0/24".parse().unwrap();
        let by_itself = InventoryPlaces::read(&inventory, None).subnet(cidr);
        assert_eq!(by_itself.map(|place| place.line), Some(2));
        let others = TriedFiles::default();
        assert!(InventoryPlaces::read(&inventory, Some(&others)).subnet(cidr).is_none());
    }
}
