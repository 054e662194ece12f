//! What differs between two pictures: hosts of which the same is to be said stand together, because an edit of one
//! profile may reach forty of them.

use super::{HostGroup, NextBoot, PartChange, Picture, Renaming, Traits};
use crate::model::text::{holds_secret, names_secret};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Stands for a value that is nobody's to read.
const HIDDEN: &str = "••••";

/// What becomes of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It comes.
    Added,
    /// It goes.
    Removed,
    /// It stays, and something of it differs.
    Changed,
}

/// A value that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ValueChange {
    /// Its key, as the inventory has it.
    pub key: String,
    /// As it is; nothing where there is none.
    pub old: Option<String>,
    /// As it would be; nothing where there would be none.
    pub new: Option<String>,
}

/// What differs between two of one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// Values.
    pub values: Vec<ValueChange>,
    /// Texts that come to something else.
    pub texts: Vec<String>,
}

/// What differs between two pictures.
pub(super) struct Differences {
    pub(super) hosts: Vec<HostGroup>,
    pub(super) renamed: Vec<Renaming>,
    pub(super) appliance: Vec<PartChange>,
}

/// A picture, and what its hosts boot next.
type Side<'p> = (&'p Picture, &'p BTreeMap<String, NextBoot>);

/// What is said of a host, by which it is grouped.
type Said = (ChangeKind, Option<NextBoot>, Option<NextBoot>, Difference);

/// Where a secret is, which is none.
fn is_place(value: &str) -> bool {
    value.starts_with("secret in ")
}

impl Difference {
    fn is_none(&self) -> bool {
        self.values.is_empty() && self.texts.is_empty()
    }

    fn of(old: &Traits, new: &Traits) -> Difference {
        let keys: BTreeSet<&String> = old.values.keys().chain(new.values.keys()).collect();
        let differing = keys
            .into_iter()
            .filter(|key| old.values.get(*key) != new.values.get(*key));
        let value = |key: &String| {
            let shown = |value: &String| match !is_place(value) && (names_secret(key) || holds_secret(value)) {
                true => HIDDEN.into(),
                false => value.clone(),
            };
            ValueChange {
                key: key.clone(),
                old: old.values.get(key).map(shown),
                new: new.values.get(key).map(shown),
            }
        };
        // A text that only one of them has follows from a value that differs.
        let texts = new
            .texts
            .iter()
            .filter(|(what, sum)| old.texts.get(*what).is_some_and(|former| former != *sum));
        Difference {
            values: differing.map(value).collect(),
            texts: texts.map(|(what, _)| what.clone()).collect(),
        }
    }
}

impl Differences {
    pub(super) fn of(old: Side<'_>, new: Side<'_>) -> Differences {
        Differences {
            hosts: groups(old, new),
            renamed: renamed(old.0, new.0),
            appliance: parts(old.0, new.0),
        }
    }
}

fn groups((old, boots_now): Side<'_>, (new, boots_then): Side<'_>) -> Vec<HostGroup> {
    let names: BTreeSet<&String> = old.hosts.keys().chain(new.hosts.keys()).collect();
    let mut grouped: BTreeMap<Said, Vec<String>> = BTreeMap::new();
    for name in names {
        let (now, then) = (boots_now.get(name).cloned(), boots_then.get(name).cloned());
        let said = match (old.hosts.get(name), new.hosts.get(name)) {
            (Some(old), Some(new)) => {
                let difference = Difference::of(old, new);
                if difference.is_none() && now == then {
                    continue;
                }
                (ChangeKind::Changed, now, then, difference)
            }
            (None, _) => (ChangeKind::Added, None, then, Difference::default()),
            (Some(_), None) => (ChangeKind::Removed, now, None, Difference::default()),
        };
        grouped.entry(said).or_default().push(name.clone());
    }
    let groups = grouped.into_iter();
    groups
        .map(|((kind, boots_now, boots_then, difference), hosts)| HostGroup {
            kind,
            hosts,
            difference,
            boots_now,
            boots_then,
        })
        .collect()
}

/// Hosts that go, each with one that comes and is the same machine.
fn renamed(old: &Picture, new: &Picture) -> Vec<Renaming> {
    let comes = new.hosts.iter().filter(|(name, _)| !old.hosts.contains_key(*name));
    let comes: BTreeMap<u64, &String> = comes
        .filter_map(|(name, traits)| Some((traits.machine?, name)))
        .collect();
    let goes = old.hosts.iter().filter(|(name, _)| !new.hosts.contains_key(*name));
    let both = goes.filter_map(|(from, traits)| {
        let to = comes.get(&traits.machine?)?;
        Some(Renaming {
            from: from.clone(),
            to: (*to).clone(),
        })
    });
    both.collect()
}

fn parts(old: &Picture, new: &Picture) -> Vec<PartChange> {
    let names: BTreeSet<&String> = old.parts.keys().chain(new.parts.keys()).collect();
    let change = |what: &String| {
        let (kind, difference) = match (old.parts.get(what), new.parts.get(what)) {
            (Some(old), Some(new)) => (ChangeKind::Changed, Difference::of(old, new)),
            (None, _) => (ChangeKind::Added, Difference::default()),
            (Some(_), None) => (ChangeKind::Removed, Difference::default()),
        };
        let is_same = kind == ChangeKind::Changed && difference.is_none();
        (!is_same).then(|| PartChange {
            what: what.clone(),
            kind,
            difference,
            hosts: what
                .strip_prefix("image ")
                .map_or_else(Vec::new, |image| booting(new, image)),
        })
    };
    names.into_iter().filter_map(change).collect()
}

/// The hosts that boot or install an image.
fn booting(picture: &Picture, image: &str) -> Vec<String> {
    let hosts = picture.hosts.iter();
    let named = hosts.filter(|(_, traits)| traits.values.get("image").is_some_and(|named| named == image));
    named.map(|(name, _)| name.clone()).collect()
}
