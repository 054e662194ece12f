//! The inventory's `vars` held against what the templates ask for: a misspelt one would go
//! unnoticed, and its default would be sent in its place.

use super::{
    problems::{Problems, did_you_mean},
    raw::Inventory,
};
use crate::boot::{render::Templates, snapshot::Origin};
use crate::model::text;
use std::collections::BTreeMap;

/// Warns of each name that no script and no answer has, at the first place that says it. Templates that
/// could not be read may have asked for anything.
pub(super) fn validate_used(inventory: &Inventory, templates: &Templates, problems: &mut Problems) {
    if !templates.all_compile() {
        return;
    }
    let profiles = inventory.profiles.iter().map(|profile| &profile.own);
    let hosts = inventory.hosts.iter().map(|host| &host.own);
    let rules = inventory.rules.iter().map(|rule| &rule.own);
    let mut unasked: BTreeMap<&str, (&Origin, usize)> = BTreeMap::new();
    for (key, var) in profiles.chain(hosts).chain(rules).flat_map(|own| &own.vars) {
        if !templates.uses_var(key) {
            unasked.entry(key).or_insert((&var.origin, 0)).1 += 1;
        }
    }
    let asked = templates.used_vars();
    for (key, (origin, times)) in unasked {
        let shown = text::escaped(key);
        let help = did_you_mean(key, asked.iter().copied(), "correct its name, or take it out");
        let once = format_args!("no script and no answer asks for `vars.{shown}`");
        match times {
            1 => problems.warn(origin, once, help),
            times => problems.warn(origin, format_args!("{once}; it is written {times} times"), help),
        }
    }
}
