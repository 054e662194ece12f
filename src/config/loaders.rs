//! The loaders that the inventory names, and those it will miss at night. Those that are there: `found`.

mod found;

use super::{
    causes::{CausesByMachine, Whose},
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
    fmt,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// As much of a loader as says what it is for, in bytes: an EFI program's header begins in there.
const BEGINNING_BYTES: u64 = 4096;

/// Who needs iPXE for a kind of firmware.
type Needs<'a> = BTreeMap<Arch, Whose<'a>>;

/// The kinds of firmware that the inventory speaks of, each with one machine that needs an iPXE for it. A
/// machine whose image does not say is a PC; one that is told another loader needs none for the firmware that
/// runs it.
pub(super) fn needs<'a>(machines: &LoaderUsers<'a>, unknown: UnknownPolicy, loaders: &Loaders) -> Needs<'a> {
    let mut needs = Needs::new();
    let mut need = |cpu: Option<Cpu>, settings: &BootSettings, whose: Whose<'a>| {
        let cpu = cpu.or_else(|| machines.cpu_of_image(settings));
        if cpu.is_none() && machines.has_stand_in(settings) {
            return;
        }
        let cpu = cpu.unwrap_or(Cpu::X86_64);
        for firmware in [Firmware::Bios, Firmware::Uefi] {
            let arch = Arch { firmware, cpu };
            let has_another = |named: &Sourced<String>| loaders.runs_on(&named.value, arch);
            if !settings.loaders.iter().any(has_another) {
                needs.entry(arch).or_insert(whose);
            }
        }
    };
    for host in machines.hosts {
        need(None, &host.settings, Whose::Host(&host.name));
    }
    for rule in machines.rules {
        need(rule.matches.cpu, &rule.settings, Whose::RuleAt(&rule.origin));
    }
    if unknown == UnknownPolicy::Discover {
        need(None, &BootSettings::default(), Whose::Unknown);
    }
    needs
}

/// Says each loader that is needed and not there.
pub(super) fn validate(loaders: &Loaders, roots: &[PathBuf], needs: &Needs<'_>, at: &Origin, problems: &mut Problems) {
    for (arch, whose) in needs {
        let files = candidates(*arch);
        if files.is_empty() || loaders.for_arch(*arch).is_some() {
            continue;
        }
        let looked = Looked { files, roots, loaders };
        let message = format_args!("no loader for {arch}, which {whose} needs: {looked}");
        let help = match arch.cpu {
            Cpu::X86_64 => "install the package `ipxe`, or add the folder that has it to `loaders` under [paths]",
            Cpu::X86 | Cpu::Arm32 | Cpu::Arm64 | Cpu::Riscv64 | Cpu::LoongArch64 | Cpu::Ppc64 | Cpu::S390x => {
                "put an iPXE built for it into a folder, and name the folder in `loaders` under [paths]"
            }
        };
        problems.error(at, message, help);
    }
}

/// Where a loader was looked for in vain.
struct Looked<'a> {
    files: &'a [&'static str],
    roots: &'a [PathBuf],
    loaders: &'a Loaders,
}

impl fmt::Display for Looked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.roots {
            [] => f.write_str("`loaders` names no folder")?,
            roots => write!(f, "none of {} is in {}", self.files.join(", "), Listed(roots))?,
        }
        for file in self.files {
            if let Some(why) = self.loaders.why_unfollowed(file) {
                write!(f, "; {file} is a symbolic link, and {why}")?;
            }
        }
        Ok(())
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
            let arch = archs.entry(file.to_owned()).or_insert_with(|| arch_of(file, loaders));
            let arch = match arch {
                Ok(arch) => *arch,
                Err(fault) => {
                    fault.say(loader, (roots, loaders), problems);
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
                    format_args!("`{own}` is beside the loaders, and GRUB gets it in place of the machine's script");
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

/// The configuration that a GRUB finds where it looks, although it was not written for these machines:
/// Debian's netboot trees have one.
fn own_configuration(file: &str, loaders: &Loaders) -> Option<String> {
    if loaders.dialect_of(file) != Some(Dialect::Grub) {
        return None;
    }
    let folder = file.rfind('/').map_or("", |slash| &file[..=slash]);
    let names = [(folder, "grub.cfg"), (folder, "grub/grub.cfg"), ("", "grub/grub.cfg")];
    let mut names = names.into_iter().map(|(folder, name)| format!("{folder}{name}"));
    names.find(|name| loaders.location_of(name).is_some())
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

/// What is wrong with a loader that is named.
enum LoaderFault {
    /// It is a symbolic link that is not followed.
    Unfollowed,
    Missing,
    Unreadable(io::Error),
    /// It is no EFI program, or for a machine that we don't know.
    NoProgram,
}

impl LoaderFault {
    fn say(&self, loader: &Sourced<String>, (roots, loaders): (&[PathBuf], &Loaders), problems: &mut Problems) {
        let (at, shown) = (&loader.origin, text::escaped(&loader.value));
        match (self, roots) {
            (LoaderFault::Unfollowed, _) => {
                let why = loaders.why_unfollowed(&loader.value).unwrap_or_default();
                let message = format_args!("the loader `{shown}` is a symbolic link that is not followed: {why}");
                let help = "make root the owner of the link and of what it names, or copy the file there";
                problems.error(at, message, help);
            }
            (LoaderFault::Missing, roots) => {
                let otherwise = "copy it there, or add the folder that has it to `loaders` under [paths]";
                let help = did_you_mean(&loader.value, loaders.names(), otherwise);
                let mut missing = |where_not: fmt::Arguments<'_>| {
                    problems.error(at, format_args!("there is no loader `{shown}`: {where_not}"), &help);
                };
                match roots {
                    [] => missing(format_args!("`loaders` under [paths] names no folder")),
                    roots => missing(format_args!("it is no file in {}", Listed(roots))),
                }
            }
            (LoaderFault::Unreadable(error), _) => {
                problems.error(at, format_args!("the loader `{shown}` can't be read: {error}"), "");
            }
            (LoaderFault::NoProgram, _) => {
                let message = format_args!("the loader `{shown}` is no EFI program for a machine that we know");
                problems.error(at, message, "copy the file again, or name another");
            }
        }
    }
}

/// What firmware runs a loader, or what is wrong with it.
fn arch_of(file: &str, loaders: &Loaders) -> Result<Arch, LoaderFault> {
    if loaders.why_unfollowed(file).is_some() {
        return Err(LoaderFault::Unfollowed);
    }
    let place = loaders.location_of(file).ok_or(LoaderFault::Missing)?;
    let path = place.root.join(&place.file);
    let beginning = read_at_most(&path, BEGINNING_BYTES).map_err(LoaderFault::Unreadable)?;
    if !beginning.starts_with(b"MZ") && !file.ends_with(".efi") {
        return Ok(Arch {
            firmware: Firmware::Bios,
            cpu: Cpu::X86_64,
        });
    }
    let cpu = cpu_of_efi(&beginning).ok_or(LoaderFault::NoProgram)?;
    Ok(Arch {
        firmware: Firmware::Uefi,
        cpu,
    })
}

/// The folders that were looked in, as the operator named them.
struct Listed<'a>(&'a [PathBuf]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, root) in self.0.iter().enumerate() {
            let between = if place == 0 { "" } else { ", " };
            write!(f, "{between}{}", root.display())?;
        }
        Ok(())
    }
}

fn read_at_most(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut beginning = Vec::new();
    open_regular(path)?.take(bytes_max).read_to_end(&mut beginning)?;
    Ok(beginning)
}

/// A script that a loader can't read: the setting that leads there, the script and the loader.
type UnreadableScript<'a> = (Origin, &'a str, Dialect, Option<&'a str>);

/// Who boots, with the images whose instruction sets tell their firmware.
pub(super) struct LoaderUsers<'a> {
    pub(super) hosts: &'a [Host],
    pub(super) rules: &'a [Rule],
    pub(super) images: &'a BTreeMap<Name, Image>,
    /// Images that were not looked at: what firmware their machines have, nothing tells.
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
    let mut unreadable: CausesByMachine<'_, UnreadableScript<'_>> = CausesByMachine::default();
    let mut unloaded: CausesByMachine<'_, (Origin, &str)> = CausesByMachine::default();
    let named_hosts = machines.hosts.iter().map(|host| {
        let cpu = machines.cpu_of_image(&host.settings);
        (Whose::Host(&host.name), &host.settings, cpu)
    });
    let named_rules = machines.rules.iter().map(|rule| {
        let cpu = rule.matches.cpu.or_else(|| machines.cpu_of_image(&rule.settings));
        (Whose::MachineOfRule, &rule.settings, cpu)
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
                (Dialect::Ipxe, true) if templates.has_script_for(missing.1, Dialect::Pxelinux) => {
                    unloaded.add((missing.0, missing.1), whose);
                }
                (_, _) => unreadable.add(missing, whose),
            }
        }
    }
    for ((origin, script), whose) in unloaded.into_summaries() {
        let message = format_args!(
            "{whose} boots only with firmware that reads pxelinux.cfg itself: `{script}` is {script}.pxelinux"
        );
        problems.warn(
            &origin,
            message,
            format_args!("write {script}.ipxe too for machines with UEFI"),
        );
    }
    for ((origin, script, dialect, loader), whose) in unreadable.into_summaries() {
        let loads = Loads { loader, dialect };
        let message = format_args!("{whose} {loads}, and the script `{script}` is not written for {dialect}");
        let help = format_args!(
            "write {script}.{} in the folder of scripts; written for {dialect} are {}",
            dialect.extension(),
            templates.names_for(dialect).join(", ")
        );
        problems.error(&origin, message, help);
    }
}

/// What asks for a machine's script.
struct Loads<'a> {
    /// The loader that the machine is told to load; `None` where it gets what is usual.
    loader: Option<&'a str>,
    dialect: Dialect,
}

impl fmt::Display for Loads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.loader, self.dialect) {
            (Some(loader), _) => write!(f, "loads `{loader}`"),
            (None, Dialect::Pxelinux) => f.write_str("has firmware that reads pxelinux.cfg itself"),
            (None, dialect @ (Dialect::Ipxe | Dialect::Grub)) => write!(f, "loads {dialect}"),
        }
    }
}

/// What a machine that is told no loader reads its script in.
fn read_by_itself(settings: &BootSettings, cpu: Option<Cpu>) -> Option<Dialect> {
    match cpu.is_some_and(Cpu::boots_by_pxelinux_alone) {
        true => Some(Dialect::Pxelinux),
        false => settings.loaders.is_empty().then_some(Dialect::Ipxe),
    }
}

fn unreadable_scripts<'a>(
    settings: &'a BootSettings,
    by_itself: Option<Dialect>,
    (templates, loaders): (&Templates, &Loaders),
) -> Vec<UnreadableScript<'a>> {
    let script = settings.script.as_ref().map(|script| script.value.as_str());
    // One that is in no language is missing, and that has been reported.
    let script = script.filter(|script| templates.has_script(script));
    let mut missing = Vec::new();
    if let (Some(setting), Some(script), Some(dialect)) = (&settings.script, script, by_itself)
        && !templates.has_script_for(script, dialect)
    {
        missing.push((setting.origin.clone(), script, dialect, None));
    }
    for Sourced { value: file, origin } in &settings.loaders {
        let Some(dialect) = loaders.dialect_of(file) else {
            continue;
        };
        // A machine that was told to load it may be sent to its disk before it asks for its script.
        for script in script.into_iter().chain([LOCAL_SCRIPT]) {
            if !templates.has_script_for(script, dialect) {
                missing.push((origin.clone(), script, dialect, Some(file.as_str())));
            }
        }
    }
    missing
}
