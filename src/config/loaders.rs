//! The loaders that are there, those the inventory names, and those it will miss at night.

use super::{
    hosts::Crowd,
    problems::{Problems, did_you_mean},
    raw::Inventory,
    source,
};
use crate::boot::{
    loader::{Loaders, candidates, cpu_of_efi},
    render::Templates,
    resource::LOCAL_SCRIPT,
    snapshot::{BootSettings, Host, Image, Origin, Rule, Sourced, UnknownPolicy},
};
use crate::model::{Arch, Cpu, Dialect, Firmware, Name, limits::LOADER_DEPTH_MAX, text};
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// As much of a loader as says what it is for, in bytes: an EFI program's header begins in there.
const BEGINNING_BYTES: u64 = 4096;

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
            let looked = match roots {
                [] => "`loaders` names no folder".to_owned(),
                roots => format!("none of {} is a regular file in {}", files.join(", "), listed(roots)),
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

/// Judges the loaders that profiles, hosts and rules name, and notes which firmware runs each. `is_guest`
/// is whether another DHCP server gives the addresses on some interface.
pub(super) fn judge_named(
    inventory: &Inventory,
    (roots, is_guest): (&[PathBuf], bool),
    loaders: &mut Loaders,
    problems: &mut Problems,
) {
    let of_profiles = inventory.profiles.iter().map(|profile| &profile.own);
    let of_hosts = inventory.hosts.iter().map(|host| &host.own);
    let of_rules = inventory.rules.iter().map(|rule| &rule.own);
    let mut archs = HashMap::new();
    for own in of_profiles.chain(of_hosts).chain(of_rules) {
        let mut first: BTreeMap<Arch, &str> = BTreeMap::new();
        for loader in &own.loaders {
            let file = loader.value.as_str();
            let arch = archs
                .entry(file.to_owned())
                .or_insert_with(|| arch_of(file, roots, loaders));
            let arch = match arch {
                Ok(arch) => *arch,
                Err((message, help)) => {
                    problems.error(&loader.origin, message.clone(), help.clone());
                    continue;
                }
            };
            loaders.set_arch(file.to_owned(), arch);
            if is_guest && Dialect::of_loader(file) == Some(Dialect::Grub) {
                let message = format!(
                    "GRUB (`{}`) asks the server that gave its address for its configuration, and on some \
                     interface that is another one",
                    text::escape(file.as_bytes())
                );
                let help = "keep to iPXE where mode = \"proxy\", or give the addresses here";
                problems.warn(&loader.origin, message, help);
            }
            if let Some(other) = first.insert(arch, file) {
                let message = format!("`{other}` and `{file}` are both for {arch}");
                problems.error(&loader.origin, message, "name one loader for each kind of firmware");
            }
        }
    }
}

/// What firmware runs a loader, or what is wrong with it and what to do.
fn arch_of(file: &str, roots: &[PathBuf], loaders: &Loaders) -> Result<Arch, (String, String)> {
    let shown = text::escape(file.as_bytes());
    let Some(root) = loaders.root_of(file) else {
        let message = match roots {
            [] => format!("there is no loader `{shown}`: `loaders` under [paths] names no folder"),
            roots => format!(
                "there is no loader `{shown}`: it is no regular file in {}",
                listed(roots)
            ),
        };
        let otherwise = "copy it there, or add the folder that has it to `loaders` under [paths]";
        return Err((message, did_you_mean(file, loaders.names(), otherwise)));
    };
    let beginning = beginning(&root.join(file)).map_err(|error| {
        let message = format!("the loader `{shown}` can't be read: {error}");
        (message, String::new())
    })?;
    if !beginning.starts_with(b"MZ") && !file.ends_with(".efi") {
        return Ok(Arch {
            firmware: Firmware::Bios,
            cpu: Cpu::X86_64,
        });
    }
    match cpu_of_efi(&beginning) {
        Some(cpu) => Ok(Arch {
            firmware: Firmware::Uefi,
            cpu,
        }),
        None => {
            let message = format!("the loader `{shown}` is no EFI program for a machine that we know");
            Err((message, "copy the file again, or name another".to_owned()))
        }
    }
}

/// The folders that were looked in, as the operator named them.
fn listed(roots: &[PathBuf]) -> String {
    let roots: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
    roots.join(", ")
}

fn beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut beginning = Vec::new();
    File::open(path)?.take(BEGINNING_BYTES).read_to_end(&mut beginning)?;
    Ok(beginning)
}

/// A script that a loader can't read: the setting that leads there, the script and the loader.
type Unreadable = (Origin, String, Dialect, Option<String>);

/// Says the scripts that are not written for the loader that will ask for them.
pub(super) fn judge_forms(hosts: &[Host], rules: &[Rule], templates: &Templates, problems: &mut Problems) {
    let mut unreadable: Crowd<Unreadable> = Crowd::default();
    let named_hosts = hosts
        .iter()
        .map(|host| (format!("host `{}`", host.name), &host.settings));
    let named_rules = rules
        .iter()
        .map(|rule| ("a machine of this rule".to_owned(), &rule.settings));
    for (whose, settings) in named_hosts.chain(named_rules) {
        for missing in unreadable_scripts(settings, templates) {
            unreadable.add(missing, whose.clone());
        }
    }
    for ((origin, script, dialect, loader), whose) in unreadable.said() {
        let loads = loader.map_or_else(|| dialect.to_string(), |loader| format!("`{loader}`"));
        let message = format!("{whose} loads {loads}, and the script `{script}` is not written for {dialect}");
        let help = format!(
            "write {script}.{} in the folder of scripts; written for {dialect} are {}",
            dialect.extension(),
            templates.names_for(dialect).join(", ")
        );
        problems.error(&origin, message, help);
    }
}

fn unreadable_scripts(settings: &BootSettings, templates: &Templates) -> Vec<Unreadable> {
    let script = settings.script.as_ref().map(|script| script.value.as_str());
    // One that is in no language is missing, and that has been said.
    let script = script.filter(|script| templates.has_script(script));
    let mut missing = Vec::new();
    if let (Some(said), Some(script)) = (&settings.script, script)
        && settings.loaders.is_empty()
        && !templates.has_form(script, Dialect::Ipxe)
    {
        missing.push((said.origin.clone(), script.to_owned(), Dialect::Ipxe, None));
    }
    for Sourced { value: file, origin } in &settings.loaders {
        let Some(dialect) = Dialect::of_loader(file) else {
            continue;
        };
        // A machine that was told to load it may be sent to its disk before it asks for its script.
        for script in script.into_iter().chain([LOCAL_SCRIPT]) {
            if !templates.has_form(script, dialect) {
                missing.push((origin.clone(), script.to_owned(), dialect, Some(file.clone())));
            }
        }
    }
    missing
}
