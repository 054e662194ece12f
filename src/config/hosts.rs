//! Validates hosts and rules: names, addresses and other keys that two hosts share, and what each of them boots.

use super::{
    causes::{CausesByMachine, Whose},
    identity::HostIdentity,
    inherit::{Profiles, ResolvedSettings},
    problems::{Problems, did_you_mean},
    raw::{Inventory, RawHost, RawRule},
    subnets,
};
use crate::boot::{
    render::Templates,
    resource::RESCUE_SCRIPT,
    snapshot::{BootSettings, Host, Image, Origin, Rule, Sourced, Subnet},
};
use crate::model::{BootTarget, Name, text};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Display,
};

/// Hosts and rules whose ancestry has an error of its own: what they lack is no second one.
pub(super) type HasBrokenAncestry = HashSet<Origin>;

/// Judges every host.
pub(super) fn validate<'a>(
    inventory: &'a Inventory,
    profiles: &mut Profiles<'a>,
    (subnets, gives_addresses): (&[Subnet], bool),
    in_cycle: &mut HasBrokenAncestry,
    problems: &mut Problems,
) -> Vec<Host> {
    let mut claims = Claims {
        seen: HashMap::with_capacity(inventory.hosts.len() * USUAL_CLAIMS),
        twin: None,
    };
    let mut hosts = Vec::with_capacity(inventory.hosts.len());
    for raw in &inventory.hosts {
        claims.validate(raw, problems);
        validate_host_name(raw, problems);
        // Where this appliance gives no addresses, it needs no subnet for them.
        if let Some(address) = &raw.address
            && (gives_addresses || !subnets.is_empty())
            && (!inventory.misses_subnets || subnets::any_has(subnets, address.value))
        {
            subnets::validate_reservation(subnets, raw.name.value.as_str(), address, problems);
        }
        let whose = Whose::Host(&raw.name.value);
        let settled = profiles.resolve(&raw.profiles, &raw.own, whose, problems);
        if !inventory.misses_subnets {
            let address = raw.address.as_ref().map(|address| address.value);
            subnets::validate_routes(subnets, (whose, address), &settled.settings, problems);
        }
        if !settled.is_complete {
            in_cycle.insert(raw.origin.clone());
        }
        hosts.push(Host {
            name: raw.name.value.clone(),
            macs: raw.identity.macs.iter().map(|mac| mac.value).collect(),
            links: raw.identity.links.iter().map(|link| link.value).collect(),
            uuid: raw.identity.uuid.as_ref().map(|uuid| uuid.value),
            serial: raw.identity.serial.as_ref().map(|serial| serial.value.clone()),
            port: raw.identity.port.as_ref().map(|port| port.value.clone()),
            address: raw.address.as_ref().map(|address| address.value),
            hostname: raw.hostname.as_ref().map(|hostname| hostname.value.clone()),
            locked: raw.locked,
            settings: settled.settings,
            origin: raw.origin.clone(),
        });
    }
    hosts
}

/// A host is called by its name, unless it has a `hostname`; installers stop at one that is none.
fn validate_host_name(raw: &RawHost, problems: &mut Problems) {
    let name = raw.name.value.as_str();
    if raw.hostname.is_some() || text::is_domain_name(name) {
        return;
    }
    let plain = name.replace('_', "-");
    let labels = plain.split('.').map(|label| label.trim_matches('-'));
    let plain: Vec<&str> = labels.filter(|label| !label.is_empty()).collect();
    let message =
        format_args!("the name `{name}` is what the machine is told to call itself, and no installer takes it");
    let help = format_args!(
        "a host name has letters, digits and hyphens, and no hyphen at either end (RFC 1123): rename it, or add hostname = \"{}\"",
        plain.join(".")
    );
    problems.error(&raw.name.origin, message, help);
}

/// Judges every rule.
pub(super) fn validate_rules<'a>(
    rules: &'a [RawRule],
    profiles: &mut Profiles<'a>,
    images: &BTreeMap<Name, Image>,
    in_cycle: &mut HasBrokenAncestry,
    problems: &mut Problems,
) -> Vec<Rule> {
    let mut validated = Vec::with_capacity(rules.len());
    for raw in rules {
        let ResolvedSettings { settings, is_complete } =
            profiles.resolve(&raw.profiles, &raw.own, Whose::Rule, problems);
        if !is_complete {
            in_cycle.insert(raw.origin.clone());
        }
        let image = settings.image.as_ref().and_then(|image| images.get(&image.value));
        let wrong_cpu = image
            .and_then(|image| image.cpu)
            .zip(raw.matches.cpu)
            .filter(|(of_image, wanted)| of_image != wanted);
        if let Some((of_image, wanted)) = wrong_cpu {
            let message = format_args!("this rule speaks of {wanted} machines, and its image is for {of_image}");
            problems.error(&raw.origin, message, "choose an image of that architecture");
        }
        validated.push(Rule {
            matches: raw.matches.clone(),
            settings,
            origin: raw.origin.clone(),
        });
    }
    validated
}

/// What most hosts have that no other may have: a name, a host name, a MAC, an address, a serial number.
const USUAL_CLAIMS: usize = 5;

/// Who claims which name, address and number first.
struct Claims<'a> {
    seen: HashMap<IdentityKey, (&'a str, &'a Origin)>,
    /// The host that has the name of the one that is judged.
    twin: Option<&'a str>,
}

/// What one host alone may have.
#[derive(PartialEq, Eq, Hash)]
enum IdentityKey {
    Name(String),
    Mac([u8; 6]),
    Link(crate::model::HardwareAddr),
    Uuid(crate::model::Uuid),
    Serial(String),
    Port(String),
    Address(std::net::Ipv4Addr),
    Hostname(String),
}

impl<'a> Claims<'a> {
    fn validate(&mut self, host: &'a RawHost, problems: &mut Problems) {
        let name = host.name.value.as_str();
        let identity = IdentityKey::Name(name.to_ascii_lowercase());
        // A host that was copied as it is has everything twice, and is one mistake. What it has of others is another.
        self.twin = self.seen.get(&identity).map(|(first, _)| *first);
        self.claim_name(host, identity, problems);
        let HostIdentity {
            macs,
            links,
            uuid,
            serial,
            port,
            is_given: _,
        } = &host.identity;
        for mac in macs {
            self.claim(name, "MAC address", mac, IdentityKey::Mac(mac.value.0), problems);
        }
        for link in links {
            self.claim(name, "interface", link, IdentityKey::Link(link.value), problems);
        }
        if let Some(uuid) = uuid {
            // Either byte order is known, so that one is the other.
            let claim = IdentityKey::Uuid(uuid.value.min(uuid.value.swapped()));
            self.claim(name, "UUID", uuid, claim, problems);
        }
        if let Some(serial) = serial {
            self.claim(
                name,
                "serial number",
                serial,
                IdentityKey::Serial(serial.value.clone()),
                problems,
            );
        }
        if let Some(port) = port {
            self.claim(
                name,
                "switch port",
                port,
                IdentityKey::Port(port.value.clone()),
                problems,
            );
        }
        if let Some(address) = &host.address {
            self.claim(name, "address", address, IdentityKey::Address(address.value), problems);
        }
        match &host.hostname {
            Some(hostname) => {
                let claim = IdentityKey::Hostname(hostname.value.to_ascii_lowercase());
                self.claim(name, "hostname", hostname, claim, problems);
            }
            None => {
                let claim = IdentityKey::Hostname(name.to_ascii_lowercase());
                self.claim(name, "hostname", &host.name, claim, problems);
            }
        }
    }

    fn claim_name(&mut self, host: &'a RawHost, claim: IdentityKey, problems: &mut Problems) {
        match self.seen.get(&claim) {
            None => {
                self.seen.insert(claim, (host.name.value.as_str(), &host.name.origin));
            }
            Some((_, origin)) => {
                let message = format_args!("host `{}` is listed twice", host.name.value);
                problems.error(&host.name.origin, message, super::first_defined(origin));
            }
        }
    }

    /// A second claim is reported.
    fn claim<T: Display>(
        &mut self,
        host: &'a str,
        what: &str,
        claimed: &'a Sourced<T>,
        claim: IdentityKey,
        problems: &mut Problems,
    ) {
        match self.seen.get(&claim) {
            None => {
                self.seen.insert(claim, (host, &claimed.origin));
            }
            Some((first, _)) if Some(*first) == self.twin => {}
            Some((first, origin)) => {
                let (value, help) = (&claimed.value, super::first_defined(origin));
                let twice = format_args!("host `{host}` has the {what} {value} twice");
                let of_another = format_args!("host `{host}` has the {what} {value} of host `{first}`");
                let message = if *first == host { twice } else { of_another };
                problems.error(&claimed.origin, message, help);
            }
        }
    }
}

/// What settings may refer to.
pub(super) struct References<'a> {
    pub(super) images: &'a BTreeMap<Name, Image>,
    /// Images that are there and not sound; naming one is no second error.
    pub(super) unsound: &'a [Name],
    pub(super) templates: &'a Templates,
    /// Folders that can't be read; that nothing of theirs is known is no second error.
    pub(super) unread: UnreadFolders,
}

/// Which folders can't be read.
#[derive(Clone, Copy, Default)]
pub(super) struct UnreadFolders {
    pub(super) images: bool,
    pub(super) scripts: bool,
    pub(super) answers: bool,
}

/// Judges the names in every profile's, host's and rule's own settings, used or not.
pub(super) fn validate_references(inventory: &Inventory, known: &References<'_>, problems: &mut Problems) {
    let of_profiles = inventory.profiles.iter().map(|profile| &profile.own);
    let of_hosts = inventory.hosts.iter().map(|host| &host.own);
    let of_rules = inventory.rules.iter().map(|rule| &rule.own);
    for own in of_profiles.chain(of_hosts).chain(of_rules) {
        validate_names(own, known, problems);
    }
}

fn validate_names(own: &BootSettings, known: &References<'_>, problems: &mut Problems) {
    let missing = |what: &str, name: &Sourced<Name>, help: &dyn Display, problems: &mut Problems| {
        problems.error(&name.origin, format_args!("there is no {what} `{}`", name.value), help);
    };
    if let Some(image) = &own.image
        && !known.unread.images
        && !known.images.contains_key(&image.value)
        && !known.unsound.contains(&image.value)
    {
        let names = known.images.keys().map(Name::as_str);
        let otherwise = format_args!(
            "`bootwright image fetch {0}` downloads it if `bootwright image catalogue` lists it; `bootwright image add {0} \
             FILE.iso` makes it of an ISO, a folder or files",
            image.value
        );
        missing(
            "image",
            image,
            &did_you_mean(image.value.as_str(), names, otherwise),
            problems,
        );
    }
    if let Some(script) = &own.script
        && !known.unread.scripts
        && !known.templates.has_script(script.value.as_str())
    {
        let names = known.templates.script_names();
        let known_names = names.join(", ");
        let otherwise = format_args!(
            "write {}.ipxe in the folder of scripts, or use one of {}",
            script.value, known_names
        );
        missing(
            "script",
            script,
            &did_you_mean(stem(&script.value, &names), names, otherwise),
            problems,
        );
    }
    if let Some(answer) = &own.answer
        && !known.unread.answers
        && !known.templates.has_answer(answer.value.as_str())
    {
        let names: Vec<&str> = known.templates.answers.keys().map(Name::as_str).collect();
        let otherwise = format_args!("write {}.cfg or the folder {0} in the folder of answers", answer.value);
        missing(
            "answer",
            answer,
            &did_you_mean(stem(&answer.value, &names), names, otherwise),
            problems,
        );
    }
}

/// `preseed` for `preseed.cfg`, where there is one: people name files, and settings name what they are.
fn stem<'n>(name: &'n Name, names: &[&str]) -> &'n str {
    let name = name.as_str();
    name.rsplit_once('.')
        .map(|(stem, _)| stem)
        .filter(|stem| names.contains(stem))
        .unwrap_or(name)
}

/// Judges what each machine boots, once all is resolved: the same cause is logged once, however many
/// hosts it touches.
pub(super) fn validate_targets(
    (hosts, rules): (&[Host], &[Rule]),
    scripts: Option<&Templates>,
    problems: &mut Problems,
) {
    let mut unscripted = CausesByMachine::default();
    let mut without_rescue = CausesByMachine::default();
    let named_hosts = hosts.iter().map(|host| (Whose::Host(&host.name), &host.settings));
    let named_rules = rules.iter().map(|rule| (Whose::Rule, &rule.settings));
    for (whose, settings) in named_hosts.chain(named_rules) {
        if let (Some(boot), None) = (&settings.boot, &settings.script) {
            unscripted.add((boot.origin.clone(), boot.value), whose);
        }
        // Nobody wrote its name, so nothing else says that it is not there.
        let is_ours = |script: &Name| script.as_str() == RESCUE_SCRIPT;
        if let (Some(boot), Some(script), Some(scripts)) = (&settings.boot, &settings.script, scripts)
            && boot.origin == script.origin
            && is_ours(&script.value)
            && !scripts.has_script(RESCUE_SCRIPT)
        {
            without_rescue.add(boot.origin.clone(), whose);
        }
    }
    for (origin, whose) in without_rescue.into_summaries() {
        let message = format_args!("{whose} boots `rescue`, and there is no script `{RESCUE_SCRIPT}`");
        problems.error(
            &origin,
            message,
            "put the shipped rescue.ipxe into the folder of scripts",
        );
    }
    for ((origin, target), whose) in unscripted.into_summaries() {
        let message = format_args!("{whose} boots `{target}` and has no script");
        match target {
            BootTarget::Live => problems.error(&origin, message, "add `script`, such as script = \"live\""),
            BootTarget::Install => {
                let help = "it can't be armed, and boots its disk: add `script`, such as script = \"debian-installer\"";
                problems.warn(&origin, message, help);
            }
            // Who is set to rescue and names no script has ours.
            BootTarget::Local | BootTarget::Discover | BootTarget::Rescue => {}
        }
    }
    for boot in rules.iter().filter_map(|rule| rule.settings.boot.as_ref()) {
        if boot.value == BootTarget::Install {
            let message = format_args!("this rule is set to install, and only listed hosts are ever armed");
            let help = "its machines boot their disk: list them as hosts, or say boot = \"local\"";
            problems.warn(&boot.origin, message, help);
        }
    }
}
