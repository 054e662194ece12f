//! What machines load first, and the files of images.

use crate::admin::api::Status;
use crate::boot::{
    loader::candidates,
    snapshot::{BootSettings, Snapshot, UnknownPolicy},
};
use crate::cli::hashing::kept_by;
use crate::config::Appliance;
use crate::doctor::{ImageFacts, LoaderFacts, LoaderState, signature};
use crate::images::reading::open_regular;
use crate::model::{Arch, Cpu, Firmware, limits::LOADER_SIGNATURES_BYTES_MAX};
use std::{
    collections::BTreeSet,
    io::{self, Read},
};

/// The loader of each kind of firmware that the inventory's machines may have. A machine whose image does not say is a
/// PC, of either age.
pub(super) fn loaders(snapshot: &Snapshot) -> Vec<LoaderFacts> {
    let unknown = (snapshot.unknown == UnknownPolicy::Discover).then_some((None, None));
    let hosts = snapshot.hosts.iter().map(|host| (None, Some(&host.settings)));
    let rules = snapshot
        .rules
        .iter()
        .map(|rule| (rule.matches.cpu, Some(&rule.settings)));
    let mut wanted: BTreeSet<(Arch, Option<&str>)> = BTreeSet::new();
    for (cpu, settings) in hosts.chain(rules).chain(unknown) {
        let cpu = cpu.or_else(|| cpu_of_image(snapshot, settings?)).unwrap_or(Cpu::X86_64);
        for firmware in [Firmware::Bios, Firmware::Uefi] {
            let arch = Arch { firmware, cpu };
            let named = snapshot.named_loader(settings, Some(arch));
            if named.is_some() || !candidates(arch).is_empty() {
                wanted.insert((arch, named.or_else(|| snapshot.loaders.for_arch(arch))));
            }
        }
    }
    let facts = wanted.into_iter().map(|(arch, file)| LoaderFacts {
        arch,
        file: file.map(Into::into),
        state: state(snapshot, arch, file),
    });
    facts.collect()
}

fn cpu_of_image(snapshot: &Snapshot, settings: &BootSettings) -> Option<Cpu> {
    snapshot.images.get(&settings.image.as_ref()?.value)?.cpu
}

fn state(snapshot: &Snapshot, arch: Arch, file: Option<&str>) -> LoaderState {
    let Some(location) = file.and_then(|file| snapshot.loaders.location_of(file)) else {
        return LoaderState::Missing;
    };
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = open_regular(&location.root.join(&location.file))?;
        file.take(LOADER_SIGNATURES_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match (read(), arch.firmware) {
        (Err(error), _) => LoaderState::Unreadable(error.to_string()),
        (Ok(bytes), Firmware::Uefi | Firmware::UefiHttp) => LoaderState::Efi(signature::read(&bytes)),
        (Ok(_), Firmware::Bios | Firmware::BiosHttp | Firmware::RaspberryPi | Firmware::Pxelinux) => {
            LoaderState::Unsignable
        }
    }
}

/// The files of the images: by the daemon's own word where it runs, else by their sizes and what it knew.
pub(super) fn images(
    snapshot: &Snapshot,
    appliance: &Appliance,
    (status, is_full): (Option<&Status>, bool),
) -> ImageFacts {
    if let Some(status) = status {
        let unserved = status.artifacts.unserved.iter().map(|one| {
            let why = one.problem.as_ref().map(ToString::to_string);
            ([&one.image, "/", &one.file].concat(), why)
        });
        return ImageFacts {
            sound: status.artifacts.verified,
            read: status.artifacts.verified,
            unserved: unserved.collect(),
        };
    }
    let known = kept_by(appliance);
    let mut facts = ImageFacts {
        sound: 0,
        read: 0,
        unserved: Vec::new(),
    };
    for image in snapshot.images.values() {
        for artifact in image.artifacts() {
            let path = image.path(artifact);
            let path = std::path::absolute(&path).unwrap_or(path);
            match known.of_file(&path, artifact.stamp) {
                Some(record) if record.sha256 != artifact.sha256 => facts.unserved.push((
                    [image.name.as_str(), "/", &artifact.file].concat(),
                    Some("its bytes are not those of its checksum".into()),
                )),
                record => {
                    facts.sound += 1;
                    facts.read += usize::from(is_full || record.is_some());
                }
            }
        }
    }
    facts
}
