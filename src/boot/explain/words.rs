//! What hosts, rules and decisions are called where they are shown.

use crate::boot::{
    engine::Destination,
    machine::Who,
    snapshot::{Host, Origin, Rule, Snapshot},
};
use std::fmt::Display;

/// What is shown, as text.
pub(super) fn text_of(shown: impl Display) -> String {
    shown.to_string()
}

/// What a host is called, and where it is written.
pub(super) fn host_named(host: &Host) -> (String, Option<Origin>) {
    (["host ", host.name.as_str()].concat(), Some(host.origin.clone()))
}

/// The same of a rule, by its place among all.
pub(super) fn rule_named(place: usize, rule: &Rule) -> (String, Option<Origin>) {
    (["rule ", &text_of(place + 1)].concat(), Some(rule.origin.clone()))
}

/// The same of whoever a machine is.
pub(super) fn named(snapshot: &Snapshot, who: Who<'_>) -> (String, Option<Origin>) {
    match who {
        Who::Host(host) => host_named(host),
        Who::Rule(rule) => {
            let place = snapshot.rules.iter().position(|other| std::ptr::eq(other, rule));
            rule_named(place.unwrap_or_default(), rule)
        }
        Who::Unknown => ("unlisted machines".into(), None),
    }
}

/// Where a reply goes, in words.
pub(super) fn destination(to: &Destination) -> String {
    match to {
        Destination::Unicast(to) => text_of(to),
        Destination::Broadcast { port } => text_of(format_args!("255.255.255.255:{port}")),
        Destination::Frame { mac, to } => text_of(format_args!("{to} at {mac}")),
    }
}
