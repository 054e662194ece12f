//! Raw TOML → checked snapshot: the only place that validates an inventory.
//!
//! `source` reads a file, `decode` takes its keys apart, `raw`, `settings` and `appliance` are what is written there,
//! and `stanzas` takes a long inventory apart for that; `inherit`,
//! `subnets`, `hosts`, `images`, `templates`, `loaders` and `quirks` validate it; `vars` compares what is written with what
//! is asked for; `dry_run` renders everything once, but for hosts that are `alike`, and `rendered` and `cautions` look at what came of it; `places` is
//! where each value is written. `last_good` is what is kept of an accepted version, and the way back from it; `watched` is
//! where a change means that all is read again. `catalogue` reads which images can be fetched; `validation` runs all of
//! this in another process first. Nothing stops at the first error: each step says what it finds to `problems` and goes on
//! with what is left, and `report` shows it all to people.

mod alike;
mod appliance;
mod catalogue;
mod causes;
mod cautions;
mod decode;
mod disk;
mod dry_run;
mod formats;
mod hosts;
mod identity;
mod images;
mod inherit;
mod installs;
mod last_good;
mod loaders;
mod loading;
mod options;
pub mod places;
mod port_locks;
mod ports_from;
mod problems;
mod quirks;
mod raw;
mod rendered;
pub mod report;
mod secrets;
mod settings;
mod source;
mod stanzas;
mod subnets;
mod templates;
pub mod validation;
mod validation_protocol;
mod vars;
mod watched;

use crate::boot::kept_texts::KeptTexts;
use crate::boot::quirks::Quirks;
use crate::boot::snapshot::{Host, Hosts, Image, Origin, Ports, Snapshot, UnknownPolicy};
use crate::images::{catalogue::CatalogueEntry, sums::Sums};
use crate::model::{Mode, Name, ServedInterface, SharedAddresses};
use hosts::{HasBrokenAncestry, References, UnreadFolders};
use images::ImageFolder;
use inherit::Profiles;
use loaders::LoaderUsers;
pub use problems::closest as nearest;
use problems::{Problems, first_defined};
use raw::Inventory;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

pub use decode::length_of_time;
pub use images::wrong;
pub use last_good::{KEPT_FOLDERS, SavedFile, files_to_save, load_last_good, rewritten_paths, state_folders};
pub use loading::load;
pub use problems::SecretsAre;
pub use watched::{Watched, watched, watched_beyond};

/// The appliance's settings (`bootwright.toml`), paths made absolute or relative to the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appliance {
    /// Interfaces to serve, by name.
    pub interfaces: Vec<ServedInterface>,
    /// Addresses that many machines ask from.
    pub shared_addresses: SharedAddresses,
    /// Whether machines in their boot are told that there is no IPv6 router, where there is none.
    pub router_advertisements: bool,
    /// TCP port.
    pub http_port: u16,
    /// Image files that go out by HTTP at once.
    pub bulk_streams: usize,
    /// Bytes of memory for copies of image files that several machines fetch; `None` is what suits the machine.
    pub hot_images: Option<u64>,
    /// UDP port.
    pub tftp_port: u16,
    /// Whether TFTP's transfers go over that port too.
    pub tftp_single_port: bool,
    /// The inventory: a file or a folder.
    pub inventory: PathBuf,
    /// Folder of `NAME.ipxe`, `NAME.grub` and `NAME.pxelinux`.
    pub scripts: PathBuf,
    /// Folder of `NAME.ext` or `NAME/`.
    pub answers: PathBuf,
    /// Folder of `NAME/image.toml`.
    pub images: PathBuf,
    /// Folders of loaders.
    pub loaders: Vec<PathBuf>,
    /// The image of the live system that writes disk images and repairs machines.
    pub live: Name,
    /// How often every artifact is read again; `None` is never.
    pub recheck: Option<Duration>,
    /// The operator's rows about firmware, where there are any.
    pub quirks: Option<PathBuf>,
    /// The embedded store's folder.
    pub state: PathBuf,
    /// The operator's socket.
    pub admin_socket: PathBuf,
    /// What becomes of unknown machines.
    pub unknown: UnknownPolicy,
    /// Bytes that the flight recorder may keep; 0 switches it off.
    pub recorder_bytes: usize,
    /// Whether machines may log to us.
    pub syslog: bool,
}

/// One thing wrong with the operator's files.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Diagnostic {
    /// What is wrong: names the thing, the place and the value.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The file as the operator named it.
    pub file: String,
    /// Line and column from 1; `None` where the whole file is meant.
    #[serde(flatten, serialize_with = "report::line_and_column")]
    pub place: Option<(u32, u32)>,
}

/// Everything that was found wrong, in file order.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// What makes the inventory unusable.
    pub errors: Vec<Diagnostic>,
    /// What is odd, and served all the same.
    pub warnings: Vec<Diagnostic>,
}

/// An accepted version of the operator's files.
pub struct Loaded {
    /// The appliance's settings.
    pub appliance: Appliance,
    /// The generation built from them.
    pub snapshot: Snapshot,
    /// What is odd, and served all the same.
    pub warnings: Vec<Diagnostic>,
}

/// Judges everything. What it builds is only used when nothing was wrong.
fn snapshot(
    read: &appliance::ParsedAppliance,
    inventory: &Inventory,
    catalogue: ImageFolder,
    generation: u64,
    problems: &mut Problems,
) -> Snapshot {
    let appliance = &read.appliance;
    let mut unread = UnreadFolders {
        images: catalogue.unread,
        ..UnreadFolders::default()
    };
    let templates = templates::read(&appliance.scripts, &appliance.answers, &mut unread, problems);
    validation_protocol::next(|| validation_protocol::ValidationStep::Validate);
    let loaders = loaders::find(&appliance.loaders, &read.loaders_at, problems);
    let mut snapshot = Snapshot {
        generation,
        ports: Ports {
            http: appliance.http_port,
            tftp: appliance.tftp_port,
        },
        syslog: appliance.syslog,
        subnets: Vec::new(),
        hosts: Hosts::default(),
        rules: Vec::new(),
        unknown: appliance.unknown,
        live: appliance.live.clone(),
        images: catalogue.images,
        quirks: quirks::read(appliance.quirks.as_deref(), &loaders, problems),
        loaders,
        templates,
        kept_texts: KeptTexts::default(),
    };
    validation_protocol::next(|| validation_protocol::ValidationStep::Validate);
    if !inventory.broken {
        let seen = FolderContents {
            unsound: &catalogue.unsound,
            stand_ins: &catalogue.stand_ins,
            unread,
        };
        validate_inventory(read, inventory, seen, &mut snapshot, problems);
    }
    // Nothing more is rendered.
    validation_protocol::next(|| validation_protocol::ValidationStep::Validate);
    snapshot
}

/// What was found where the inventory's images and templates lie.
#[derive(Clone, Copy)]
struct FolderContents<'a> {
    /// Images with an error of their own.
    unsound: &'a [Name],
    /// Images that were not looked at.
    stand_ins: &'a BTreeSet<Name>,
    /// Folders that can't be read.
    unread: UnreadFolders,
}

fn validate_inventory(
    read: &appliance::ParsedAppliance,
    inventory: &Inventory,
    seen: FolderContents<'_>,
    snapshot: &mut Snapshot,
    problems: &mut Problems,
) {
    let FolderContents { unsound, unread, .. } = seen;
    let gives_addresses = read.appliance.interfaces.iter().any(|served| served.mode == Mode::Dhcp);
    if inventory.subnets.is_empty() && !inventory.misses_subnets && gives_addresses {
        // A file that was emptied by accident must not take every machine's address away.
        let file = read.appliance.inventory.display();
        let message = "the inventory has no [[subnet]], so no machine would get an address";
        problems.unusable(file, message, "write one, with its cidr: see config/inventory.toml");
    }
    snapshot.subnets = subnets::validate(&inventory.subnets, problems);
    let mut profiles = Profiles::check(&inventory.profiles, inventory.misses_profiles, problems);
    let mut in_cycle = HasBrokenAncestry::new();
    let hosts = hosts::validate(
        inventory,
        &mut profiles,
        (&snapshot.subnets, gives_addresses),
        &mut in_cycle,
        problems,
    );
    snapshot.rules = hosts::validate_rules(
        &inventory.rules,
        &mut profiles,
        &snapshot.images,
        &mut in_cycle,
        problems,
    );
    // Where something is wrong, a misspelt host or name is why a profile seems unused.
    let unused = profiles.unused(&inventory.profiles).filter(|_| !problems.has_errors());
    for profile in unused.collect::<Vec<_>>() {
        let message = format_args!("profile `{}` is used by no host and no rule", profile.name.value);
        let help = "name it in a host's `profile`, or take it out";
        problems.warn(&profile.name.origin, message, help);
    }
    secrets::validate_places(inventory.settings(), read, problems);
    let known = References {
        images: &snapshot.images,
        unsound,
        templates: &snapshot.templates,
        unread,
    };
    hosts::validate_references(inventory, &known, problems);
    if !unread.scripts && !unread.answers {
        vars::validate_used(inventory, &snapshot.templates, problems);
    }
    let scripts = (!unread.scripts).then_some(&snapshot.templates);
    hosts::validate_targets((&hosts, &snapshot.rules), scripts, problems);
    identity::warn_of_claims(&hosts, problems);
    // What was accepted before this was looked at is served all the same.
    problems.outside(|problems| port_locks::validate(inventory, gives_addresses, problems));
    validate_loaders(read, inventory, (&hosts, seen), snapshot, problems);
    let without_address = hosts.iter().filter(|host| host.address.is_none()).count();
    subnets::keep_for_listed(&mut snapshot.subnets, without_address as u64);
    snapshot.hosts = Hosts::new(hosts);
    let own_scripts_at = (!unread.scripts).then_some(&read.paths_at);
    // What is kept rendered when it was accepted: what makes it fail now are images and loaders of today.
    let outside = dry_run::outside(snapshot);
    if !problems.was_rehearsed(outside) {
        problems.outside(|problems| dry_run::dry_run(snapshot, (&in_cycle, gives_addresses), own_scripts_at, problems));
        validation_protocol::was_rehearsed(outside);
    }
}

/// The loaders that are named and those that are needed, and the scripts in their languages.
fn validate_loaders(
    read: &appliance::ParsedAppliance,
    inventory: &Inventory,
    (hosts, seen): (&[Host], FolderContents<'_>),
    snapshot: &mut Snapshot,
    problems: &mut Problems,
) {
    let roots = &read.appliance.loaders;
    let is_proxy = read
        .appliance
        .interfaces
        .iter()
        .any(|served| served.mode == Mode::Proxy);
    problems.outside(|problems| loaders::validate_named(inventory, (roots, is_proxy), &mut snapshot.loaders, problems));
    let machines = LoaderUsers {
        hosts,
        rules: &snapshot.rules,
        images: &snapshot.images,
        stand_ins: seen.stand_ins,
    };
    if !seen.unread.scripts {
        let read_by = (&snapshot.templates, &snapshot.loaders);
        // What a loader reads, its bytes may say.
        problems.outside(|problems| loaders::validate_script_dialects(&machines, read_by, problems));
    }
    let needs = loaders::needs(&machines, snapshot.unknown, &snapshot.loaders);
    problems.outside(|problems| loaders::validate(&snapshot.loaders, roots, &needs, &read.loaders_at, problems));
}

/// Reads and judges one folder of images by itself, for the commands about images.
///
/// # Errors
/// When an image is not what its description says; the sound ones are returned all the same.
pub fn images(folder: &Path, sums: &mut dyn Sums) -> (BTreeMap<Name, Image>, LoadReport) {
    let mut problems = Problems::default();
    (
        ImageFolder::read(folder, sums, &mut problems).images,
        problems.into_report(),
    )
}

/// The table of firmware that is compiled in, as an appliance without a `quirks.toml` has it.
pub fn shipped_quirks() -> Quirks {
    quirks::shipped(&mut Problems::default())
}

/// The images that can be fetched by their names: the entries of `own`, if it is there, and the shipped ones.
///
/// # Errors
/// When something in it can't be used.
pub fn fetchable(own: Option<&Path>) -> Result<Vec<CatalogueEntry>, LoadReport> {
    let mut problems = Problems::default();
    let entries = catalogue::read(own, &mut problems);
    match problems.has_errors() {
        false => Ok(entries),
        true => Err(problems.into_report()),
    }
}

/// Where the appliance keeps its images, read from `bootwright.toml` alone.
///
/// # Errors
/// When the file can't be used.
pub fn appliance(path: &Path) -> Result<Appliance, LoadReport> {
    let mut problems = Problems::default();
    let read = appliance::read(path, &mut problems);
    match (read, problems.has_errors()) {
        (Some(read), false) => Ok(read.appliance),
        (_, _) => Err(problems.into_report()),
    }
}

/// Who names an image.
#[derive(Clone, Debug)]
pub enum ImageUser {
    /// A host.
    Host(Name),
    /// A profile.
    Profile(Name),
    /// A rule, which has no name.
    Rule,
}

impl fmt::Display for ImageUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageUser::Host(name) => write!(f, "host {name}"),
            ImageUser::Profile(name) => write!(f, "profile {name}"),
            ImageUser::Rule => f.write_str("a rule"),
        }
    }
}

/// Who in the inventory names `image`, used or not, and where.
///
/// # Errors
/// When a file can't be read or understood: then it is unknown.
pub fn users_of_image(path: &Path, image: &Name) -> Result<Vec<(ImageUser, Origin)>, LoadReport> {
    let mut problems = Problems::default();
    let inventory = appliance::read(path, &mut problems)
        .filter(|_| !problems.has_errors())
        .map(|read| Inventory::read(&read.appliance.inventory, &mut problems));
    let (Some(inventory), false) = (inventory, problems.has_errors()) else {
        return Err(problems.into_report());
    };
    let hosts = inventory
        .hosts
        .iter()
        .map(|host| (ImageUser::Host(host.name.value.clone()), &host.own));
    let profiles = inventory.profiles.iter();
    let profiles = profiles.map(|profile| (ImageUser::Profile(profile.name.value.clone()), &profile.own));
    let rules = inventory.rules.iter().map(|rule| (ImageUser::Rule, &rule.own));
    let identity = hosts.chain(profiles).chain(rules).filter_map(|(who, own)| {
        let setting = own.image.as_ref().filter(|setting| setting.value == *image)?;
        Some((who, setting.origin.clone()))
    });
    Ok(identity.collect())
}
