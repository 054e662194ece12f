//! The rules of the firewall, as its own programs print them.

use super::{Unseen, program::printed};
use crate::doctor::firewall::{Ruleset, read_iptables, read_nftables};
use std::{fs, io};

/// Tables that iptables keeps in nftables; its own program prints all of each rule there, and nft only some.
const OF_IPTABLES: &[&str] = &["filter", "nat", "mangle", "raw", "security"];
/// The legacy rules' tables that are in use, in this network namespace.
const LEGACY_TABLES: &str = "/proc/net/ip_tables_names";
/// All rules; `None` where some could not be read.
pub(super) fn rules(unseen: &mut Unseen) -> Option<Ruleset> {
    let (nftables, legacy) = (nftables(unseen), legacy(unseen));
    let mut rules = nftables?;
    rules.extend(legacy?);
    Some(rules)
}

fn nftables(unseen: &mut Unseen) -> Option<Ruleset> {
    let json = match printed("nft", &["-j", "list", "ruleset"]) {
        Some(Ok(json)) => json,
        Some(Err(error)) => {
            unseen.add(format_args!("the firewall's rules (nft): {error}"));
            return None;
        }
        None if is_loaded("nf_tables") => {
            unseen.add("the firewall's rules: install the program `nft` (package nftables)");
            return None;
        }
        None => return Some(Ruleset::default()),
    };
    let is_of_iptables = |family: &str, table: &str| family == "ip" && OF_IPTABLES.contains(&table);
    let all = match read_nftables(&json, |_, _| false) {
        Ok(all) => all,
        Err(error) => {
            unseen.add(format_args!(
                "the firewall's rules: what nft prints makes no sense: {error}"
            ));
            return None;
        }
    };
    let has_those = OF_IPTABLES
        .iter()
        .any(|table| all.has_table(&["table ip ", table].concat()));
    let saved = has_those.then(|| printed("iptables-nft-save", &[])).flatten();
    match saved {
        Some(Ok(saved)) => {
            let mut rules = read_nftables(&json, is_of_iptables).ok()?;
            let theirs = read_iptables(&saved, "iptables");
            // A table of that name that somebody made with nft is none of iptables's.
            match theirs.is_empty() {
                true => return Some(all),
                false => rules.extend(theirs),
            }
            Some(rules)
        }
        _ => Some(all),
    }
}

fn legacy(unseen: &mut Unseen) -> Option<Ruleset> {
    let tables = match fs::read_to_string(LEGACY_TABLES) {
        Ok(tables) => tables,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(Ruleset::default()),
        Err(error) => {
            unseen.add(format_args!("the firewall's legacy rules: {error}"));
            return None;
        }
    };
    if tables.trim().is_empty() {
        return Some(Ruleset::default());
    }
    let saved = printed("iptables-legacy-save", &[]).or_else(|| printed("iptables-save", &[]));
    match saved {
        Some(Ok(saved)) => Some(read_iptables(&saved, "iptables-legacy")),
        Some(Err(error)) => {
            unseen.add(format_args!(
                "the firewall's legacy rules (iptables-legacy-save): {error}"
            ));
            None
        }
        None => {
            unseen.add("the firewall's legacy rules: install `iptables-legacy-save` (package iptables)");
            None
        }
    }
}

/// Whether a module of the kernel is in use; one that is built in is not listed, and counts as being in use where nothing
/// tells.
fn is_loaded(module: &str) -> bool {
    let modules = fs::read_to_string("/proc/modules");
    modules.map_or(true, |modules| {
        modules.lines().any(|line| line.split(' ').next() == Some(module))
    })
}
