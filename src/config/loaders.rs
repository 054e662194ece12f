//! The loaders that are there, and those the inventory will miss at night.

use super::{problems::Problems, source};
use crate::boot::{
    loader::{Loaders, candidates},
    snapshot::{Host, Image, Origin, Rule, UnknownPolicy},
};
use crate::model::{Arch, Cpu, Firmware, Name, limits::LOADER_DEPTH_MAX};
use std::{collections::BTreeMap, path::PathBuf};

/// Every regular file beneath `roots`, as deep as loaders are kept (`arm64-efi/snponly.efi`).
/// Symlinks are no loaders: the servers would not open them.
pub(super) fn find(roots: &[PathBuf]) -> Loaders {
    let mut loaders = Loaders::default();
    for root in roots {
        let mut folders = vec![(root.clone(), String::new())];
        while let Some((folder, path)) = folders.pop() {
            for entry in source::entries(&folder).unwrap_or_default() {
                let Some(name) = entry.file_name().and_then(|name| name.to_str()) else {
                    continue;
                };
                let file = format!("{path}{name}");
                let deep = path.matches('/').count() + 1 >= LOADER_DEPTH_MAX;
                match entry.symlink_metadata() {
                    Ok(metadata) if metadata.is_file() => loaders.add(root.clone(), file),
                    Ok(metadata) if metadata.is_dir() && !deep => folders.push((entry, format!("{file}/"))),
                    Ok(_) | Err(_) => {}
                }
            }
        }
    }
    loaders
}

/// Who needs the loaders of an instruction set.
type Needs = BTreeMap<Cpu, String>;

/// The instruction sets that the inventory speaks of, each with one machine that needs it. A
/// machine whose image does not say is a PC.
pub(super) fn needs(hosts: &[Host], rules: &[Rule], images: &BTreeMap<Name, Image>, unknown: UnknownPolicy) -> Needs {
    let mut needs = Needs::new();
    for host in hosts {
        let image = host.settings.image.as_ref().and_then(|image| images.get(&image.value));
        let cpu = image.and_then(|image| image.cpu).unwrap_or(Cpu::X86_64);
        needs.entry(cpu).or_insert_with(|| format!("host `{}`", host.name));
    }
    for rule in rules {
        let image = rule.settings.image.as_ref().and_then(|image| images.get(&image.value));
        let cpu = rule
            .matches
            .cpu
            .or(image.and_then(|image| image.cpu))
            .unwrap_or(Cpu::X86_64);
        needs
            .entry(cpu)
            .or_insert_with(|| format!("the rule at {}:{}", rule.origin.file, rule.origin.line));
    }
    if unknown == UnknownPolicy::Discover {
        needs
            .entry(Cpu::X86_64)
            .or_insert_with(|| "an unknown machine".to_owned());
    }
    needs
}

/// Says each loader that is needed and not there.
pub(super) fn judge(loaders: &Loaders, roots: &[PathBuf], needs: &Needs, at: &Origin, problems: &mut Problems) {
    for (cpu, whose) in needs {
        for firmware in [Firmware::Bios, Firmware::Uefi] {
            let arch = Arch { firmware, cpu: *cpu };
            let files = candidates(arch);
            if files.is_empty() || loaders.for_arch(arch).is_some() {
                continue;
            }
            let roots: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
            let looked = match roots.is_empty() {
                true => "`loaders` names no folder".to_owned(),
                false => format!("none of {} is a regular file in {}", files.join(", "), roots.join(", ")),
            };
            let message = format!("no loader for {arch}, which {whose} needs: {looked}");
            let help = match cpu {
                Cpu::X86_64 => "install the package `ipxe`, or add the folder that has it to `loaders` under [paths]",
                Cpu::X86 | Cpu::Arm32 | Cpu::Arm64 | Cpu::Riscv64 | Cpu::LoongArch64 => {
                    "put an iPXE built for it into a folder, and name the folder in `loaders` under [paths]"
                }
            };
            problems.error(at, message, help);
        }
    }
}
