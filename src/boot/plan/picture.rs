//! A generation as machines see it: what is said of each host and of what they share, as text, and what their scripts
//! and answers come to. Two of one appliance can be held against each other wherever they are, and no secret is in one.

use super::texts::{Texts, checksum, labelled, shown, texts};
use crate::boot::{
    arming::Fingerprint,
    machine::Who,
    snapshot::{BootSettings, Host, Image, PortsFrom, Rule, RuleMatch, Snapshot, Subnet},
    written::{WrittenSetting, written_settings},
};
use crate::model::{ImageFormat, Probe, text};
use crate::proto::dhcp::RawOption;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
    sync::Arc,
    time::Duration,
};

/// A generation as machines see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// The listed hosts by name.
    pub hosts: BTreeMap<String, Traits>,
    /// Subnets, rules, images and what else they share, by what each is.
    pub parts: BTreeMap<String, Traits>,
}

/// What is said of one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traits {
    /// Which machine it is, where it is a host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<u64>,
    /// What is said of it, by the inventory's words.
    pub values: BTreeMap<String, String>,
    /// The installer that it starts without a question at every power-on, where it boots one `live`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_installer: Option<String>,
    /// The texts that are made for it, by what each is, with a checksum.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<String, u64>,
}

impl Picture {
    /// That of a generation: every script and every answer is rendered for it.
    pub fn of(snapshot: &Snapshot) -> Picture {
        Picture::of_some(snapshot, |_| true)
    }

    /// The same without hosts that are not wanted.
    pub(super) fn of_some(snapshot: &Snapshot, is_wanted: impl Fn(&Host) -> bool) -> Picture {
        let hosts = snapshot.hosts.iter().filter(|host| is_wanted(host));
        let mut parts: BTreeMap<String, Traits> = BTreeMap::new();
        for subnet in &snapshot.subnets {
            parts.insert(labelled("subnet", subnet.cidr), of_subnet(subnet));
        }
        for (name, image) in &snapshot.images {
            parts.insert(labelled("image", name), of_image(image));
        }
        for (place, rule) in snapshot.rules.iter().enumerate() {
            let label = labelled("rule", shown_match(&rule.matches));
            let twin = labelled(&label, place + 1);
            let label = if parts.contains_key(&label) { twin } else { label };
            parts.insert(label, of_rule(snapshot, place, rule));
        }
        parts.insert("unlisted machines".into(), of_unlisted(snapshot));
        parts.insert("loaders and firmware".into(), of_firmware(snapshot));
        Picture {
            hosts: hosts
                .map(|host| (host.name.as_str().into(), of_host(snapshot, host)))
                .collect(),
            parts,
        }
    }
}

/// What is said of something, as it is collected.
#[derive(Default)]
struct Values(BTreeMap<String, String>);

impl Values {
    fn put(&mut self, key: &str, value: impl Display) {
        self.0.insert(key.into(), shown(value));
    }

    fn put_some(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    fn put_all<T: Display>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        let mut all = String::new();
        for value in values {
            let comma = if all.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(all, "{comma}{value}");
        }
        if !all.is_empty() {
            self.put(key, all);
        }
    }

    fn put_options<'o>(&mut self, options: impl IntoIterator<Item = &'o RawOption>) {
        for RawOption { code, body, always } in options {
            let always = if *always { " (always)" } else { "" };
            self.put(
                &labelled("option", code),
                format_args!("{}{always}", text::escape(body)),
            );
        }
    }
}

fn of_host(snapshot: &Snapshot, listed: &Arc<Host>) -> Traits {
    let Host {
        name: _,
        macs,
        links,
        uuid,
        serial,
        port,
        hostname,
        address,
        locked,
        settings,
        origin: _,
    } = &**listed;
    let mut values = Values::default();
    let links = links.iter().map(shown);
    values.put_all("mac", macs.iter().map(shown).chain(links));
    values.put_some("uuid", uuid.as_ref());
    values.put_some("serial", serial.as_ref());
    values.put_some("port", port.as_ref());
    values.put_some("hostname", hostname.as_ref());
    values.put_some("address", address.as_ref());
    values.put_some("locked", locked.then_some(true));
    add_settings(settings, &mut values);
    let Texts { sums, live_installer } = texts(snapshot, Who::Host(listed));
    Traits {
        machine: Some(Fingerprint::of(listed).0),
        values: values.0,
        live_installer,
        texts: sums,
    }
}

fn add_settings(settings: &BootSettings, values: &mut Values) {
    for WrittenSetting { key, value, .. } in written_settings(settings) {
        let separator = if key == "cmdline" { " " } else { ", " };
        let all = values.0.entry(key).or_default();
        if !all.is_empty() {
            all.push_str(separator);
        }
        all.push_str(&value);
    }
}

fn seconds(time: Duration) -> String {
    shown(format_args!("{}s", time.as_secs()))
}

fn of_subnet(subnet: &Subnet) -> Traits {
    let Subnet {
        cidr: _,
        network,
        selectable,
        router,
        dns,
        domain,
        pool,
        // It follows from the pool and from the hosts.
        kept: _,
        ports_from: PortsFrom { relays, switches },
        lease,
        probe,
        options,
    } = subnet;
    let mut values = Values::default();
    values.put_some("network", network.as_ref());
    values.put_some("selectable", selectable.then_some(true));
    values.put_some("router", router.as_ref());
    values.put_all("dns", dns);
    values.put_some("domain", domain.as_ref());
    values.put_all("pool", pool);
    values.put_all("ports_from", relays);
    values.put_some("ports_from switches", switches.then_some(true));
    values.put("lease", seconds(*lease));
    values.put_some(
        "probe",
        probe.map(|probe| match probe {
            Probe::Arp => "arp",
            Probe::Ping => "ping",
        }),
    );
    values.put_options(options.values().map(|option| &option.value));
    Traits {
        values: values.0,
        ..Traits::default()
    }
}

fn of_image(image: &Image) -> Traits {
    let Image {
        name: _,
        cpu,
        root: _,
        kernel,
        initrds,
        disk,
        deployable,
        cmdline,
    } = image;
    let mut values = Values::default();
    values.put_some("arch", cpu.as_ref());
    values.put_all("cmdline", cmdline);
    // Its length and its sums are those of the file's sha256.
    values.put_some(
        "disk's format",
        deployable.as_ref().map(|disk| match disk.format {
            ImageFormat::Raw => "raw",
            ImageFormat::Zstd => "zstd",
            ImageFormat::Gzip => "gzip",
        }),
    );
    let initrds = initrds.iter().map(|initrd| ("initrd", initrd));
    let kernel = kernel.iter().map(|kernel| ("kernel", kernel));
    for (what, artifact) in kernel.chain(initrds).chain(disk.iter().map(|disk| ("disk", disk))) {
        let mut sum = String::from("sha256 ");
        for byte in artifact.sha256 {
            // Writing to a String cannot fail.
            let _ = write!(sum, "{byte:02x}");
        }
        values.put(&labelled(what, &artifact.file), sum);
    }
    Traits {
        values: values.0,
        ..Traits::default()
    }
}

fn shown_match(matches: &RuleMatch) -> String {
    let RuleMatch {
        cpu,
        vendor,
        mac,
        serial,
    } = matches;
    let mut label = String::from("for");
    // Writing to a String cannot fail.
    if let Some(cpu) = cpu {
        let _ = write!(label, " arch {cpu}");
    }
    for (key, pattern) in [("vendor", vendor), ("mac", mac), ("serial", serial)] {
        if let Some(pattern) = pattern {
            let _ = write!(label, " {key} {pattern}");
        }
    }
    if label == "for" {
        "for any machine".into()
    } else {
        label
    }
}

fn of_rule(snapshot: &Snapshot, place: usize, rule: &Rule) -> Traits {
    let mut values = Values::default();
    values.put("place among the rules", place + 1);
    add_settings(&rule.settings, &mut values);
    let Texts { sums, live_installer } = texts(snapshot, Who::Rule(rule));
    Traits {
        machine: None,
        values: values.0,
        live_installer,
        texts: sums,
    }
}

/// Machines that nobody listed; and the script of those that boot their disk, which is nobody's own.
fn of_unlisted(snapshot: &Snapshot) -> Traits {
    let mut values = Values::default();
    values.put("policy", snapshot.unknown.name());
    Traits {
        values: values.0,
        texts: texts(snapshot, Who::Unknown).sums,
        ..Traits::default()
    }
}

fn of_firmware(snapshot: &Snapshot) -> Traits {
    let mut values = Values::default();
    values.put_all("loaders", snapshot.loaders.names());
    for quirk in &snapshot.quirks.0 {
        let debugged = shown(format_args!("{quirk:?}"));
        values.put(
            &labelled("firmware row", &quirk.name),
            format_args!("{:08x}", checksum(debugged.as_bytes())),
        );
    }
    Traits {
        values: values.0,
        ..Traits::default()
    }
}
