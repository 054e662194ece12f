//! The metadata tree of EC2, as clouds and Tinkerbell serve it and cloud-init's data source `Ec2` reads it: its paths,
//! its folders and what stands in them. Whose it is, and whether they get it, is `resource`'s.
//!
//! cloud-init asks `2009-04-04/meta-data/instance-id` until somebody answers, then for the newest version of the tree
//! that is there, and goes through that: a listing's line with a slash at its end is a folder, and `0=NAME` among the
//! keys stands for `0/openssh-key`.

use crate::boot::request_path::RequestPath;
use crate::model::{Cidr, MacAddr};
use std::{borrow::Cow, net::IpAddr};

/// The versions of the tree. They say the same: what a newer one has beside the first, no machine of a rack has.
const VERSIONS: [&str; 5] = ["latest", "2009-04-04", "2016-09-02", "2018-09-24", "2021-03-23"];
/// The tree of a machine that is named, for whoever comes through somebody's proxy: Tinkerbell's form.
const OF_INSTANCE: &str = "tootles/instanceID/";
/// All of it in one text.
const JSON: &str = "metadata";
const USER_DATA: &str = "user-data";
const META_DATA: &str = "meta-data";
/// What Tinkerbell's tree always has: who asks for one that is not known gets an empty text, and no listing has it.
const KNOWN: [&str; 7] = [
    "iqn",
    "plan",
    "facility",
    "tags",
    "public-ipv4",
    "public-ipv6",
    "public-keys",
];

/// A path of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataPath<'p> {
    /// The machine that it names; else it is for whoever asks.
    pub machine: Option<&'p str>,
    /// What is asked for.
    pub wanted: MetadataWanted<'p>,
}

/// What is asked for of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataWanted<'p> {
    /// All of it, as JSON.
    Json,
    /// What the machine's answer is for cloud-init.
    UserData,
    /// A folder or a leaf: its path behind the version, which is empty for the whole.
    Entry(&'p str),
}

/// What is known of a machine, for its tree.
#[derive(Clone, Debug)]
pub struct Instance<'a> {
    /// Its name, by which cloud-init sees that it is another machine than before.
    pub id: Cow<'a, str>,
    /// What it calls itself.
    pub hostname: Cow<'a, str>,
    /// Its address.
    pub address: IpAddr,
    /// Its subnet.
    pub subnet: Option<Cidr>,
    /// The interface that has the address.
    pub mac: Option<MacAddr>,
    /// The image that it boots.
    pub image: Option<&'a str>,
    /// Public SSH keys.
    pub keys: Vec<&'a str>,
    /// What Tinkerbell has of a machine besides, and the inventory's `vars` say: `plan`, `facility`, `iqn`.
    pub words: Vec<(&'static str, &'a str)>,
    /// Labels of it.
    pub tags: Vec<&'a str>,
}

/// A folder or a leaf of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataEntry<'a> {
    /// A text.
    Leaf(Cow<'a, str>),
    /// Several texts, a line each.
    Lines(Vec<&'a str>),
    /// A folder.
    Folder(Vec<(Cow<'a, str>, MetadataEntry<'a>)>),
    /// Keys, which have a folder each that is listed by its number and a name.
    Keys(Vec<&'a str>),
}

impl<'p> MetadataPath<'p> {
    /// That of a path, if it is one of the tree.
    pub fn of(path: &'p RequestPath) -> Option<MetadataPath<'p>> {
        let (machine, rest) = match path.as_str().strip_prefix(OF_INSTANCE) {
            Some(named) => named
                .split_once('/')
                .map(|(machine, rest)| (Some(machine), rest))
                .unwrap_or((Some(named), "")),
            None => (None, path.as_str()),
        };
        let wanted = match rest {
            JSON => MetadataWanted::Json,
            _ => {
                let (version, entry) = rest.split_once('/').unwrap_or((rest, ""));
                if !VERSIONS.contains(&version) {
                    return None;
                }
                match entry {
                    USER_DATA => MetadataWanted::UserData,
                    entry => MetadataWanted::Entry(entry),
                }
            }
        };
        Some(MetadataPath { machine, wanted })
    }
}

impl<'a> Instance<'a> {
    /// Its tree behind the version.
    fn tree(&self) -> MetadataEntry<'a> {
        let data = [(META_DATA, self.meta_data()), (USER_DATA, leaf(""))];
        folder(data)
    }

    /// What the tree has at a path behind the version; `None` where there is no such thing.
    pub fn entry(&self, path: &str) -> Option<MetadataEntry<'a>> {
        let known = path.strip_prefix(META_DATA).and_then(|rest| rest.strip_prefix('/'));
        let mut components = path.split('/').filter(|component| !component.is_empty());
        components
            .try_fold(self.tree(), |entry, name| entry.child(name))
            .or_else(|| known.filter(|known| KNOWN.contains(known)).map(|_| leaf("")))
    }

    /// All that is known, as one JSON text.
    pub fn json(&self) -> serde_json::Value {
        self.meta_data().json()
    }

    fn meta_data(&self) -> MetadataEntry<'a> {
        let mut entries = vec![
            ("instance-id", MetadataEntry::Leaf(self.id.clone())),
            ("hostname", MetadataEntry::Leaf(self.hostname.clone())),
            ("local-hostname", MetadataEntry::Leaf(self.hostname.clone())),
        ];
        if let IpAddr::V4(address) = self.address {
            entries.push(("local-ipv4", shown(address)));
        }
        if let Some(mac) = self.mac {
            entries.push(("mac", shown(mac)));
            entries.push(("network", self.network(mac)));
        }
        if let Some(image) = self.image {
            entries.push(("operating-system", operating_system(image)));
        }
        if !self.keys.is_empty() {
            entries.push(("public-keys", MetadataEntry::Keys(self.keys.clone())));
        }
        if !self.tags.is_empty() {
            entries.push(("tags", MetadataEntry::Lines(self.tags.clone())));
        }
        entries.extend(self.words.iter().map(|(name, word)| (*name, leaf(word))));
        folder(entries)
    }

    /// The one interface that the machine is known to have here: cloud-init sets it up by DHCP.
    fn network(&self, mac: MacAddr) -> MetadataEntry<'a> {
        let mut interface = vec![
            ("device-number", leaf("0")),
            ("local-hostname", MetadataEntry::Leaf(self.hostname.clone())),
            ("mac", shown(mac)),
        ];
        if let (IpAddr::V4(address), Some(subnet)) = (self.address, self.subnet) {
            interface.push(("local-ipv4s", shown(address)));
            interface.push(("subnet-ipv4-cidr-block", shown(subnet)));
        }
        let macs = MetadataEntry::Folder(vec![(Cow::Owned(mac.to_string()), folder(interface))]);
        folder([("interfaces", folder([("macs", macs)]))])
    }
}

/// What is known of an image by its name: `debian-13` is version 13 of `debian`.
fn operating_system(image: &str) -> MetadataEntry<'_> {
    let (distro, version) = image.rsplit_once('-').unwrap_or((image, ""));
    folder([
        ("slug", leaf(image)),
        ("distro", leaf(distro)),
        ("version", leaf(version)),
        ("image_tag", leaf("")),
        ("license_activation", folder([("state", leaf("unlicensed"))])),
    ])
}

fn leaf(text: &str) -> MetadataEntry<'_> {
    MetadataEntry::Leaf(Cow::Borrowed(text))
}

fn shown<'a>(value: impl ToString) -> MetadataEntry<'a> {
    MetadataEntry::Leaf(Cow::Owned(value.to_string()))
}

fn folder<'a>(entries: impl IntoIterator<Item = (&'static str, MetadataEntry<'a>)>) -> MetadataEntry<'a> {
    let entries = entries.into_iter().map(|(name, entry)| (Cow::Borrowed(name), entry));
    MetadataEntry::Folder(entries.collect())
}

impl<'a> MetadataEntry<'a> {
    fn child(self, name: &str) -> Option<MetadataEntry<'a>> {
        match self {
            MetadataEntry::Folder(entries) => entries.into_iter().find(|(own, _)| own == name).map(|(_, entry)| entry),
            MetadataEntry::Keys(keys) => {
                let key = keys.get(name.parse::<usize>().ok()?)?;
                Some(folder([("openssh-key", leaf(key))]))
            }
            MetadataEntry::Leaf(_) | MetadataEntry::Lines(_) => None,
        }
    }

    /// What is sent of it: a leaf's text, or a folder's listing.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |parts: &[&str]| {
            if !text.is_empty() {
                text.push('\n');
            }
            parts.iter().for_each(|part| text.push_str(part));
        };
        match self {
            MetadataEntry::Leaf(leaf) => text.push_str(leaf),
            MetadataEntry::Lines(lines) => lines.iter().for_each(|one| line(&[one])),
            MetadataEntry::Folder(entries) => {
                for (name, entry) in entries {
                    line(&[name, if entry.is_folder() { "/" } else { "" }]);
                }
            }
            MetadataEntry::Keys(keys) => {
                for place in 0..keys.len() {
                    let place = place.to_string();
                    line(&[&place, "=key-", &place]);
                }
            }
        }
        text
    }

    fn is_folder(&self) -> bool {
        matches!(self, MetadataEntry::Folder(_) | MetadataEntry::Keys(_))
    }

    fn json(&self) -> serde_json::Value {
        match self {
            MetadataEntry::Leaf(leaf) => leaf.as_ref().into(),
            MetadataEntry::Lines(lines) | MetadataEntry::Keys(lines) => lines.as_slice().into(),
            MetadataEntry::Folder(entries) => entries
                .iter()
                .map(|(name, entry)| (name.as_ref(), entry.json()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::request_path::Transport;

    fn instance() -> Instance<'static> {
        Instance {
            id: "r1u07".into(),
            hostname: "web-7".into(),
            address: "192.0.2.11".parse().unwrap(),
            subnet: Some("192.0.2.0/24".parse().unwrap()),
            mac: Some("52:54:00:00:00:07".parse().unwrap()),
            image: Some("debian-13"),
            keys: vec!["ssh-ed25519 AAAA ada", "ssh-ed25519 BBBB bob"],
            words: vec![("facility", "ams1")],
            tags: vec!["rack-1", "web"],
        }
    }

    fn text(path: &str) -> Option<String> {
        instance().entry(path).map(|entry| entry.text())
    }

    #[test]
    fn a_listing_has_a_slash_behind_folders_and_numbers_before_keys() {
        assert_eq!(
            text("meta-data").unwrap(),
            "instance-id\nhostname\nlocal-hostname\nlocal-ipv4\nmac\nnetwork/\noperating-system/\npublic-keys/\ntags\nfacility"
        );
        assert_eq!(text("").unwrap(), "meta-data/\nuser-data");
        assert_eq!(text("meta-data/public-keys").unwrap(), "0=key-0\n1=key-1");
        assert_eq!(text("meta-data/public-keys/1").unwrap(), "openssh-key");
        assert_eq!(
            text("meta-data/public-keys/1/openssh-key").unwrap(),
            "ssh-ed25519 BBBB bob"
        );
        assert_eq!(text("meta-data/network/interfaces/macs").unwrap(), "52:54:00:00:00:07/");
        assert_eq!(text("meta-data/tags").unwrap(), "rack-1\nweb");
    }

    #[test]
    fn what_tinkerbells_tree_always_has_is_empty_where_it_is_not_known_and_the_rest_is_not_there() {
        for (path, expected) in [
            ("meta-data/hostname", Some("web-7")),
            ("meta-data/operating-system/version", Some("13")),
            (
                "meta-data/operating-system/license_activation/state",
                Some("unlicensed"),
            ),
            ("meta-data/facility", Some("ams1")),
            ("meta-data/plan", Some("")),
            ("meta-data/public-ipv4", Some("")),
            ("meta-data/hostname/more", None),
            ("meta-data/public-keys/2", None),
            ("meta-data/public-keys/x", None),
            ("dynamic", None),
            ("plan", None),
        ] {
            assert_eq!(text(path).as_deref(), expected, "{path}");
        }
        let bare = Instance {
            mac: None,
            image: None,
            keys: Vec::new(),
            words: Vec::new(),
            tags: Vec::new(),
            ..instance()
        };
        let listed = bare.entry("meta-data").unwrap().text();
        assert_eq!(listed, "instance-id\nhostname\nlocal-hostname\nlocal-ipv4");
    }

    #[test]
    fn the_same_in_one_json_text() {
        let json = instance().json();
        assert_eq!(json["instance-id"], "r1u07");
        assert_eq!(json["public-keys"][1], "ssh-ed25519 BBBB bob");
        assert_eq!(json["operating-system"]["distro"], "debian");
    }

    #[test]
    fn paths_of_the_tree_are_told_from_others_with_and_without_a_slash_at_the_end() {
        let read = |path: &str| {
            let path = RequestPath::parse(Transport::Http, path.as_bytes()).unwrap();
            MetadataPath::of(&path).map(|found| format!("{:?} {:?}", found.machine, found.wanted))
        };
        for (path, expected) in [
            ("/2009-04-04/meta-data/", Some("None Entry(\"meta-data\")")),
            ("/2009-04-04/meta-data", Some("None Entry(\"meta-data\")")),
            ("/latest/user-data/", Some("None UserData")),
            ("/2021-03-23", Some("None Entry(\"\")")),
            ("/metadata", Some("None Json")),
            (
                "/tootles/instanceID/r1u07/2009-04-04/meta-data/hostname",
                Some("Some(\"r1u07\") Entry(\"meta-data/hostname\")"),
            ),
            ("/2009-04-05/meta-data", None),
            ("/metadata/x", None),
            ("/tootles/instanceID/r1u07", None),
            ("/snponly.efi", None),
        ] {
            assert_eq!(read(path).as_deref(), expected, "{path}");
        }
    }
}
