//! The inventory as it is written: every value decoded and none judged yet.

use super::{
    decode::{self, Fields, Reader, Value},
    identity::{self, HostIdentity},
    options::{self, NamedOptions},
    ports_from,
    problems::Problems,
    settings,
    source::{self, Source},
    stanzas::Stanzas,
};
use crate::boot::snapshot::{BootSettings, Origin, PortsFrom, RuleMatch, Sourced};
use crate::model::{AddressRange, Cidr, Cpu, Name, Probe, text};
use std::{net::Ipv4Addr, path::Path, path::PathBuf, time::Duration};
use toml::de::DeValue;

/// Everything the inventory's files say, in their order.
#[derive(Default)]
pub(super) struct Inventory {
    pub(super) subnets: Vec<RawSubnet>,
    pub(super) profiles: Vec<RawProfile>,
    pub(super) hosts: Vec<RawHost>,
    pub(super) rules: Vec<RawRule>,
    /// Some file is not TOML or can't be read: what is left is not worth judging.
    pub(super) broken: bool,
    /// Some subnet could not be read: what lies in no other may lie in it.
    pub(super) misses_subnets: bool,
    /// Some profile could not be read: who names one that is not there may mean it.
    pub(super) misses_profiles: bool,
}

impl Inventory {
    /// What each profile, host and rule says itself.
    pub(super) fn settings(&self) -> impl Iterator<Item = &BootSettings> {
        let own = self.profiles.iter().map(|profile| &profile.own);
        own.chain(self.hosts.iter().map(|host| &host.own))
            .chain(self.rules.iter().map(|rule| &rule.own))
    }
}

/// One `[[subnet]]`.
pub(super) struct RawSubnet {
    pub(super) cidr: Sourced<Cidr>,
    pub(super) network: Option<Name>,
    pub(super) selectable: bool,
    pub(super) router: Option<Sourced<Ipv4Addr>>,
    pub(super) dns: Vec<Ipv4Addr>,
    pub(super) domain: Option<String>,
    pub(super) pool: Vec<Sourced<AddressRange>>,
    pub(super) lease: Option<Sourced<Duration>>,
    /// `None` where it does not say: the router.
    pub(super) ports_from: Option<PortsFrom>,
    pub(super) probe: Option<Probe>,
    pub(super) options: NamedOptions,
}

/// One `[profile.NAME]`.
pub(super) struct RawProfile {
    pub(super) name: Sourced<Name>,
    pub(super) inherits: Vec<Sourced<Name>>,
    pub(super) own: BootSettings,
}

/// One `[[host]]`.
pub(super) struct RawHost {
    pub(super) name: Sourced<Name>,
    pub(super) identity: HostIdentity,
    pub(super) address: Option<Sourced<Ipv4Addr>>,
    pub(super) hostname: Option<Sourced<String>>,
    pub(super) locked: bool,
    pub(super) profiles: Vec<Sourced<Name>>,
    pub(super) own: BootSettings,
    pub(super) origin: Origin,
}

/// One `[[rule]]`.
pub(super) struct RawRule {
    pub(super) matches: RuleMatch,
    pub(super) profiles: Vec<Sourced<Name>>,
    pub(super) own: BootSettings,
    pub(super) origin: Origin,
}

impl Inventory {
    /// Reads the inventory: a file, or a folder of `*.toml` in the order of their names.
    pub(super) fn read(path: &Path, problems: &mut Problems) -> Inventory {
        let mut inventory = Inventory::default();
        let files = files_of(path, problems);
        inventory.broken = files.is_empty();
        for file in files {
            match Source::read(&file, problems) {
                Some(source) => inventory.add(&source, problems),
                None => inventory.broken = true,
            }
        }
        inventory
    }

    fn add(&mut self, source: &Source, problems: &mut Problems) {
        if let Some(stanzas) = Stanzas::of(source)
            && self.add_apart(&stanzas, problems)
        {
            return;
        }
        let (root, broken) = decode::document(source, problems);
        if broken {
            // What the parser makes of the rest would be reported as missing, although it is written.
            self.broken = true;
            return;
        }
        let reader = &mut Reader { source, problems };
        self.add_rest(reader, &root, |reader, listed| {
            let hosts = decode::tables(reader, "host", listed);
            hosts.into_iter().filter_map(|value| host(reader, value)).collect()
        });
    }

    /// Takes the hosts of a long inventory in pieces, and the rest by itself. Where that is no sound TOML so, nothing is
    /// taken and nothing said: the file is read whole then.
    fn add_apart(&mut self, stanzas: &Stanzas<'_>, problems: &mut Problems) -> bool {
        let Some(root) = stanzas.rest_without_hosts() else {
            return false;
        };
        let Some(pieces) = stanzas.each_piece(problems, |reader, root| {
            let mut fields = Fields::of(reader, "an inventory", root)?;
            let listed = decode::tables(reader, "host", fields.value("host"));
            let hosts = listed.into_iter().filter_map(|value| host(reader, value));
            Some(hosts.collect::<Vec<RawHost>>())
        }) else {
            return false;
        };
        let source = &stanzas.rest;
        let reader = &mut Reader { source, problems };
        self.add_rest(reader, &root, |reader, _| {
            let mut hosts = Vec::with_capacity(pieces.iter().map(|(hosts, _)| hosts.len()).sum());
            for (of_piece, said) in pieces {
                hosts.extend(of_piece);
                reader.problems.take_in(said);
            }
            hosts
        });
        true
    }

    /// What an inventory has, with its hosts as `hosts` makes them of what is listed there.
    fn add_rest(
        &mut self,
        reader: &mut Reader<'_>,
        root: &Value<'_>,
        hosts: impl FnOnce(&mut Reader<'_>, Option<&Value<'_>>) -> Vec<RawHost>,
    ) {
        let Some(mut fields) = Fields::of(reader, "an inventory", root) else {
            return;
        };
        let subnets = decode::tables(reader, "subnet", fields.value("subnet"));
        for value in subnets {
            match subnet(reader, value) {
                Some(read) => self.subnets.push(read),
                None => self.misses_subnets = true,
            }
        }
        if let Some(profiles) = fields.value("profile") {
            self.misses_profiles |= !all_profiles(reader, profiles, &mut self.profiles);
        }
        let listed = fields.value("host");
        self.hosts.append(&mut hosts(reader, listed));
        let rules = decode::tables(reader, "rule", fields.value("rule"));
        self.rules
            .extend(rules.into_iter().filter_map(|value| rule(reader, value)));
        // `[profiles.x]` is one mistake, however many hosts name `x`.
        let misspelt = fields.finish(reader);
        self.misses_profiles |= misspelt.contains(&"profile");
        self.misses_subnets |= misspelt.contains(&"subnet");
    }
}

fn files_of(path: &Path, problems: &mut Problems) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let shown = path.display();
    match source::entries(path) {
        Ok(mut files) => {
            for folder in files.iter().filter(|file| file.is_dir()) {
                let place = Origin {
                    file: folder.display().to_string().into(),
                    line: 1,
                    column: 1,
                };
                let message = "this folder is not read: an inventory is the *.toml files of one folder";
                problems.warn(&place, message, "move its files up, or the folder elsewhere");
            }
            files.retain(|file| !file.is_dir());
            files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
            if files.is_empty() {
                let message = "this folder of inventories has no *.toml file";
                problems.unusable(shown, message, "add a file such as racks.toml");
            }
            files
        }
        Err(error) => {
            let message = format_args!("this folder of inventories can't be read: {error}");
            problems.unusable(shown, message, "");
            Vec::new()
        }
    }
}

fn subnet(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<RawSubnet> {
    let mut fields = Fields::of(reader, "a subnet", value)?;
    let cidr = fields.take(reader, "cidr", decode::parsed::<Cidr>);
    let network = fields.take(reader, "network", decode::parsed::<Name>);
    let selectable = fields.take(reader, "selectable", decode::boolean);
    let router = fields.take(reader, "router", decode::address);
    let dns = fields.take_all(reader, "dns", decode::address);
    let domain = fields.take(reader, "domain", decode::domain_name);
    let pool = fields.take_all(reader, "pool", decode::parsed::<AddressRange>);
    let lease = fields.take(reader, "lease", decode::duration);
    let ports_from = ports_from::read(reader, &mut fields);
    let probe = fields.take(reader, "probe", |reader, value| decode::word(reader, value, PROBES));
    let options = options::read(reader, &mut fields);
    if fields.value("cidr").is_none() {
        reader.error(
            value,
            "this subnet has no `cidr`",
            "add one, such as cidr = \"192.0.2.0/24\"",
        );
    }
    fields.finish(reader);
    Some(RawSubnet {
        cidr: cidr?,
        network: network.map(|network| network.value),
        selectable: selectable.is_some_and(|selectable| selectable.value),
        router,
        dns: dns.into_iter().map(|address| address.value).collect(),
        domain: domain.map(|domain| domain.value),
        pool,
        lease,
        ports_from,
        probe: probe.and_then(|probe| probe.value),
        options,
    })
}

/// Whether all of them could be read.
fn all_profiles(reader: &mut Reader<'_>, value: &Value<'_>, profiles: &mut Vec<RawProfile>) -> bool {
    let DeValue::Table(table) = value.get_ref() else {
        reader.error(value, "`profile` must be a table of profiles", "write [profile.NAME]");
        return false;
    };
    let (mut all_read, mut read) = (true, Vec::new());
    for (key, value) in table.iter() {
        let origin = reader.source.at(key.span());
        match key.get_ref().parse::<Name>() {
            Ok(name) => read.extend(profile(reader, Sourced { value: name, origin }, value)),
            Err(error) => reader.problems.error(&origin, error, "rename the profile"),
        }
        all_read &= read
            .last()
            .is_some_and(|profile: &RawProfile| profile.name.value.as_str() == key.get_ref());
    }
    read.sort_by_key(|profile| (profile.name.origin.line, profile.name.origin.column));
    profiles.append(&mut read);
    all_read
}

fn profile(reader: &mut Reader<'_>, name: Sourced<Name>, value: &Value<'_>) -> Option<RawProfile> {
    let mut fields = Fields::of(reader, "a profile", value)?;
    let inherits = fields.take_all(reader, "inherits", decode::parsed::<Name>);
    let own = settings::read(reader, &mut fields);
    fields.finish(reader);
    Some(RawProfile { name, inherits, own })
}

fn host(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<RawHost> {
    let mut fields = Fields::of(reader, "a host", value)?;
    let name = fields.take(reader, "name", decode::parsed::<Name>);
    let identity = identity::read(reader, &mut fields);
    let address = fields.take(reader, "address", decode::address);
    let hostname = fields.take(reader, "hostname", decode::domain_name);
    let locked = fields.take(reader, "locked", decode::boolean);
    let profiles = fields.take_all(reader, "profile", decode::parsed::<Name>);
    let own = settings::read(reader, &mut fields);
    if fields.value("name").is_none() {
        reader.error(value, "this host has no `name`", "add one, such as name = \"r1u07\"");
    }
    if !identity.is_given {
        let help = "add its `mac`, `uuid`, `serial` or switch `port`";
        match &name {
            Some(name) => reader.error(value, format_args!("host `{}` can't be recognised", name.value), help),
            None => reader.error(value, "this host can't be recognised", help),
        }
    }
    fields.finish(reader);
    Some(RawHost {
        name: name?,
        identity,
        address,
        hostname,
        // A misspelt lock must never unlock; its error keeps this generation out anyway.
        locked: locked.is_some_and(|locked| locked.value),
        profiles,
        own,
        origin: reader.origin(value),
    })
}

fn rule(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<RawRule> {
    let mut fields = Fields::of(reader, "a rule", value)?;
    let matches = match fields.value("match") {
        Some(written) => rule_match(reader, written)?,
        None => {
            let help = "add one, such as match = { arch = \"arm64\" }; match = {} speaks of every machine";
            reader.error(value, "this rule has no `match`", help);
            RuleMatch::default()
        }
    };
    let profiles = fields.take_all(reader, "profile", decode::parsed::<Name>);
    let own = settings::read(reader, &mut fields);
    fields.finish(reader);
    Some(RawRule {
        matches,
        profiles,
        own,
        origin: reader.origin(value),
    })
}

fn rule_match(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<RuleMatch> {
    let mut fields = Fields::of(reader, "a rule's match", value)?;
    let mut glob = |reader: &mut Reader<'_>, key| fields.take(reader, key, decode::some_text).map(|glob| glob.value);
    let (vendor, serial) = (glob(reader, "vendor"), glob(reader, "serial"));
    let mac = fields.take(reader, "mac", mac_glob).map(|glob| glob.value);
    let cpu = fields.take(reader, "arch", cpu).map(|cpu| cpu.value);
    fields.finish(reader);
    Some(RuleMatch {
        cpu,
        vendor,
        mac,
        serial,
    })
}

/// A glob over MAC addresses, which are compared as 52:54:00:00:00:07. One that has a letter no
/// address has would match nothing for ever, without a word why.
fn mac_glob(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let glob = decode::some_text(reader, value)?.replace('-', ":");
    let can_match = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '*' | '?');
    if !glob.chars().all(can_match) {
        let message = format_args!("`{}` matches no MAC address", text::escape(glob.as_bytes()));
        reader.error(value, message, "write it as 52:54:00:*");
        return None;
    }
    Some(glob)
}

/// An instruction set by any of its names.
pub(super) fn cpu(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Cpu> {
    let written = decode::text(reader, value)?;
    let found = Cpu::from_name(&written);
    if found.is_none() {
        let message = format_args!("`{}` is not an architecture", text::escape(written.as_bytes()));
        reader.error(
            value,
            message,
            "it is one of x86, x86_64, arm32, arm64, riscv64, loongarch64, ppc64, s390x",
        );
    }
    found
}

const PROBES: &[(&str, Option<Probe>)] = &[("off", None), ("arp", Some(Probe::Arp)), ("ping", Some(Probe::Ping))];
