//! The loaders that the inventory names, and those it will miss at night. Those that are there: `found`.

mod found;

use super::{
    causes::CausesByMachine,
    problems::{Problems, did_you_mean},
    raw::Inventory,
};
use crate::boot::{
    loader::{Loaders, candidates},
    program::{cpu_of_efi, dialect_of_shim},
    render::Templates,
    resource::LOCAL_SCRIPT,
    snapshot::{BootSettings, Host, Image, Origin, Rule, Sourced, UnknownPolicy},
};
use crate::images::reading::open_regular;
use crate::model::{Arch, Cpu, Dialect, Firmware, Name, limits::LOADER_INSPECTED_BYTES_MAX, text};
pub(super) use found::{RECOVERED, find};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// As much of a loader as says what it is for, in bytes: an EFI program's header begins in there.
const BEGINNING_BYTES: u64 = 4096;

/// Who needs iPXE for a kind of firmware.
type Needs = BTreeMap<Arch, String>;

/// The kinds of firmware that the inventory speaks of, each with one machine that needs an iPXE for it. A
/// machine whose image does not say is a PC; one that is told another loader needs none for the firmware that
/// runs it.
pub(super) fn needs(machines: &LoaderUsers<'_>, unknown: UnknownPolicy, loaders: &Loaders) -> Needs {
    let mut needs = Needs::new();
    let mut need = |cpu: Option<Cpu>, settings: &BootSettings, whose: &dyn Fn() -> String| {
        let cpu = cpu.or_else(|| machines.cpu_of_image(settings));
        if cpu.is_none() && machines.has_stand_in(settings) {
            return;
        }
        let cpu = cpu.unwrap_or(Cpu::X86_64);
        for firmware in [Firmware::Bios, Firmware::Uefi] {
            let arch = Arch { firmware, cpu };
            let has_another = |named: &Sourced<String>| loaders.runs_on(&named.value, arch);
            if !settings.loaders.iter().any(has_another) {
                needs.entry(arch).or_insert_with(whose);
            }
        }
    };
    for host in machines.hosts {
        need(None, &host.settings, &|| format!("host `{}`", host.name));
    }
    for rule in machines.rules {
        let whose = || format!("the rule at {}:{}", rule.origin.file, rule.origin.line);
        need(rule.matches.cpu, &rule.settings, &whose);
    }
    if unknown == UnknownPolicy::Discover {
        need(None, &BootSettings::default(), &|| "an unknown machine".to_owned());
    }
    needs
}

/// Says each loader that is needed and not there.
pub(super) fn validate(loaders: &Loaders, roots: &[PathBuf], needs: &Needs, at: &Origin, problems: &mut Problems) {
    for (arch, whose) in needs {
        let files = candidates(*arch);
        if files.is_empty() || loaders.for_arch(*arch).is_some() {
            continue;
        }
        let looked = match roots {
            [] => "`loaders` names no folder".to_owned(),
            roots => format!("none of {} is in {}", files.join(", "), listed(roots)),
        };
        let links = files
            .iter()
            .filter_map(|file| Some((file, loaders.why_unfollowed(file)?)));
        let links: String = links
            .map(|(file, why)| format!("; {file} is a symbolic link, and {why}"))
            .collect();
        let message = format_args!("no loader for {arch}, which {whose} needs: {looked}{links}");
        let help = match arch.cpu {
            Cpu::X86_64 => "install the package `ipxe`, or add the folder that has it to `loaders` under [paths]",
            Cpu::X86 | Cpu::Arm32 | Cpu::Arm64 | Cpu::Riscv64 | Cpu::LoongArch64 | Cpu::Ppc64 | Cpu::S390x => {
                "put an iPXE built for it into a folder, and name the folder in `loaders` under [paths]"
            }
        };
        problems.error(at, message, help);
    }
}

/// Judges the loaders that profiles, hosts and rules name, and notes which firmware runs each. `is_proxy`
/// is whether another DHCP server gives the addresses on some interface.
pub(super) fn validate_named(
    inventory: &Inventory,
    (roots, is_proxy): (&[PathBuf], bool),
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
            note_dialect(file, loaders);
            if is_proxy && loaders.dialect_of(file) == Some(Dialect::Grub) {
                let message = format_args!(
                    "GRUB (`{}`) asks the server that gave its address for its configuration, and on some \
                     interface that is another one",
                    text::escape(file.as_bytes())
                );
                let help = "keep to iPXE where mode = \"proxy\", or give the addresses here";
                problems.warn(&loader.origin, message, help);
            }
            if let Some(own) = own_configuration(file, loaders) {
                let message =
                    format!("`{own}` is beside the loaders, and GRUB gets it in place of the machine's script");
                let help = "copy the loader and what it loads into a folder without it, or take that file away";
                problems.warn(&loader.origin, message, help);
            }
            if let Some(other) = first.insert(arch, file) {
                let message = format_args!("`{other}` and `{file}` are both for {arch}");
                problems.error(&loader.origin, message, "name one loader for each kind of firmware");
            }
        }
    }
}

/// The configuration that a GRUB finds where it looks, although nobody wrote it for the room: Debian's netboot
/// trees have one.
fn own_configuration(file: &str, loaders: &Loaders) -> Option<String> {
    if loaders.dialect_of(file) != Some(Dialect::Grub) {
        return None;
    }
    let folder = file.rfind('/').map_or("", |slash| &file[..=slash]);
    let names = [
        format!("{folder}grub.cfg"),
        format!("{folder}grub/grub.cfg"),
        "grub/grub.cfg".to_owned(),
    ];
    names.into_iter().find(|name| loaders.location_of(name).is_some())
}

/// Notes what a loader that has any name reads, such as a shim called `bootx64.efi`.
fn note_dialect(file: &str, loaders: &mut Loaders) {
    if loaders.dialect_of(file).is_none()
        && let Some(place) = loaders.location_of(file)
        && let Ok(program) = read_at_most(&place.root.join(&place.file), LOADER_INSPECTED_BYTES_MAX)
        && let Some(dialect) = dialect_of_shim(&program)
    {
        loaders.set_dialect(file.to_owned(), dialect);
    }
}

/// What firmware runs a loader, or what is wrong with it and what to do.
fn arch_of(file: &str, roots: &[PathBuf], loaders: &Loaders) -> Result<Arch, (String, String)> {
    let shown = text::escape(file.as_bytes());
    if let Some(why) = loaders.why_unfollowed(file) {
        let message = format!("the loader `{shown}` is a symbolic link that is not followed: {why}");
        let help = "make root the owner of the link and of what it names, or copy the file there";
        return Err((message, help.to_owned()));
    }
    let Some(place) = loaders.location_of(file) else {
        let message = match roots {
            [] => format!("there is no loader `{shown}`: `loaders` under [paths] names no folder"),
            roots => format!("there is no loader `{shown}`: it is no file in {}", listed(roots)),
        };
        let otherwise = "copy it there, or add the folder that has it to `loaders` under [paths]";
        return Err((message, did_you_mean(file, loaders.names(), otherwise)));
    };
    let path = place.root.join(&place.file);
    let beginning = read_at_most(&path, BEGINNING_BYTES).map_err(|error| {
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

fn read_at_most(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut beginning = Vec::new();
    open_regular(path)?.take(bytes_max).read_to_end(&mut beginning)?;
    Ok(beginning)
}

/// A script that a loader can't read: the setting that leads there, the script and the loader.
type UnreadableScript = (Origin, String, Dialect, Option<String>);

/// Who boots, with the images whose instruction sets tell their firmware.
pub(super) struct LoaderUsers<'a> {
    pub(super) hosts: &'a [Host],
    pub(super) rules: &'a [Rule],
    pub(super) images: &'a BTreeMap<Name, Image>,
    /// Images that nobody has seen: what firmware their machines have, nothing tells.
    pub(super) stand_ins: &'a BTreeSet<Name>,
}

impl LoaderUsers<'_> {
    fn cpu_of_image(&self, settings: &BootSettings) -> Option<Cpu> {
        self.images.get(&settings.image.as_ref()?.value)?.cpu
    }

    fn has_stand_in(&self, settings: &BootSettings) -> bool {
        let image = settings.image.as_ref();
        image.is_some_and(|image| self.stand_ins.contains(&image.value))
    }
}

/// Says the scripts that are not written for the loader that will ask for them.
pub(super) fn validate_script_dialects(
    machines: &LoaderUsers<'_>,
    (templates, loaders): (&Templates, &Loaders),
    problems: &mut Problems,
) {
    let mut unreadable: CausesByMachine<UnreadableScript> = CausesByMachine::default();
    let mut unloaded: CausesByMachine<(Origin, String)> = CausesByMachine::default();
    let named_hosts = machines.hosts.iter().map(|host| {
        let cpu = machines.cpu_of_image(&host.settings);
        (format!("host `{}`", host.name), &host.settings, cpu)
    });
    let named_rules = machines.rules.iter().map(|rule| {
        let cpu = rule.matches.cpu.or_else(|| machines.cpu_of_image(&rule.settings));
        ("a machine of this rule".to_owned(), &rule.settings, cpu)
    });
    for (whose, settings, cpu) in named_hosts.chain(named_rules) {
        let script = settings.script.as_ref().map_or("", |script| script.value.as_str());
        let may_be_either = cpu.is_none() && machines.has_stand_in(settings);
        let by_itself = match may_be_either && templates.has_script_for(script, Dialect::Pxelinux) {
            true => None,
            false => read_by_itself(settings, cpu),
        };
        for missing in unreadable_scripts(settings, by_itself, (templates, loaders)) {
            match (missing.2, cpu.is_some_and(Cpu::may_boot_by_pxelinux)) {
                // U-Boot may be what it has, and no inventory tells.
                (Dialect::Ipxe, true) if templates.has_script_for(&missing.1, Dialect::Pxelinux) => {
                    unloaded.add((missing.0, missing.1), whose.clone());
                }
                (_, _) => unreadable.add(missing, whose.clone()),
            }
        }
    }
    for ((origin, script), whose) in unloaded.into_summaries() {
        let message =
            format!("{whose} boots only with firmware that reads pxelinux.cfg itself: `{script}` is {script}.pxelinux");
        problems.warn(
            &origin,
            message,
            format_args!("write {script}.ipxe too for machines with UEFI"),
        );
    }
    for ((origin, script, dialect, loader), whose) in unreadable.into_summaries() {
        let loads = match (loader, dialect) {
            (Some(loader), _) => format!("loads `{loader}`"),
            (None, Dialect::Pxelinux) => "has firmware that reads pxelinux.cfg itself".to_owned(),
            (None, Dialect::Ipxe | Dialect::Grub) => format!("loads {dialect}"),
        };
        let message = format_args!("{whose} {loads}, and the script `{script}` is not written for {dialect}");
        let help = format_args!(
            "write {script}.{} in the folder of scripts; written for {dialect} are {}",
            dialect.extension(),
            templates.names_for(dialect).join(", ")
        );
        problems.error(&origin, message, help);
    }
}

/// What a machine that is told no loader reads its script in.
fn read_by_itself(settings: &BootSettings, cpu: Option<Cpu>) -> Option<Dialect> {
    match cpu.is_some_and(Cpu::boots_by_pxelinux_alone) {
        true => Some(Dialect::Pxelinux),
        false => settings.loaders.is_empty().then_some(Dialect::Ipxe),
    }
}

fn unreadable_scripts(
    settings: &BootSettings,
    by_itself: Option<Dialect>,
    (templates, loaders): (&Templates, &Loaders),
) -> Vec<UnreadableScript> {
    let script = settings.script.as_ref().map(|script| script.value.as_str());
    // One that is in no language is missing, and that has been reported.
    let script = script.filter(|script| templates.has_script(script));
    let mut missing = Vec::new();
    if let (Some(setting), Some(script), Some(dialect)) = (&settings.script, script, by_itself)
        && !templates.has_script_for(script, dialect)
    {
        missing.push((setting.origin.clone(), script.to_owned(), dialect, None));
    }
    for Sourced { value: file, origin } in &settings.loaders {
        let Some(dialect) = loaders.dialect_of(file) else {
            continue;
        };
        // A machine that was told to load it may be sent to its disk before it asks for its script.
        for script in script.into_iter().chain([LOCAL_SCRIPT]) {
            if !templates.has_script_for(script, dialect) {
                missing.push((origin.clone(), script.to_owned(), dialect, Some(file.clone())));
            }
        }
    }
    missing
}
