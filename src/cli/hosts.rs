//! `bootwright hosts`.

use super::ask::{AdminArgs, since, table, until};
use crate::admin::{
    api::{HeldAddress, HostFilter, HostStatus, InstallStatus},
    routes::GetHosts,
};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bootwright hosts
  bootwright hosts r1u07 52:54:00:00:00:08
  bootwright hosts --json | jq -r '.[] | select(.install.state == \"armed\") | .name'
  bootwright hosts --json | jq -r '.[] | select(.boot == \"live\") | .name'";

/// Lists the hosts of the inventory in force.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct HostsArgs {
    /// Only these, by name or MAC.
    #[arg(value_name = "HOST")]
    host: Vec<String>,
    #[command(flatten)]
    ask: AdminArgs,
}

/// Asks for the hosts.
pub(super) fn run(args: HostsArgs) -> ExitCode {
    let HostsArgs { host, ask } = args;
    ask.list::<GetHosts, _>(&HostFilter { host }, text)
}

/// Its own address, and what its interfaces have beside that.
fn address(host: &HostStatus) -> String {
    let own = host
        .address
        .map_or_else(|| "-".to_owned(), |address| address.to_string());
    let others = host.holds.iter().filter(|held| Some(held.address) != host.address);
    let others: Vec<String> = others
        .map(|HeldAddress { mac, address }| match host.macs.len() {
            1 => format!("has {address}"),
            _ => format!("{mac} has {address}"),
        })
        .collect();
    match others.is_empty() {
        true => own,
        false => format!("{own} ({})", others.join(", ")),
    }
}

/// How it stands with its install, and what is known of that besides.
fn state(install: &InstallStatus) -> String {
    let InstallStatus {
        state,
        until: end,
        percent,
        last_step,
        reason,
        ..
    } = install;
    let last = last_step.as_deref().unwrap_or_default();
    match (state.as_str(), reason, end) {
        ("armed", _, Some(end)) => format!("armed (for {})", until(*end)),
        ("installing", _, _) => match percent {
            Some(percent) => format!("installing ({percent} %)"),
            None => format!("installing ({last})"),
        },
        (_, Some(reason), _) => format!("{state} ({reason}; last seen: {last})"),
        (_, None, _) => state.clone(),
    }
}

fn text(hosts: &[HostStatus]) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows: Vec<[String; 10]> = hosts
        .iter()
        .map(|host| {
            let install = host.install.as_ref();
            let since = install.and_then(|install| install.since).map(since);
            let by = install.and_then(|install| install.by.clone());
            let locked = if host.locked { " (locked)" } else { "" };
            [
                host.name.clone(),
                or_dash(host.macs.first().cloned()),
                address(host),
                format!("{}{locked}", host.boot),
                or_dash(install.map(state)),
                or_dash(since),
                or_dash(by),
                or_dash(host.image.clone()),
                or_dash((!host.loaders.is_empty()).then(|| host.loaders.join(", "))),
                host.written.clone(),
            ]
        })
        .collect();
    let head = [
        "HOST", "MAC", "ADDRESS", "BOOT", "STATE", "SINCE", "BY", "IMAGE", "LOADER", "WRITTEN",
    ];
    table(head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_not_the_hosts_own_is_shown_beside_it() {
        let host = |macs: &[&str], holds: &[(&str, [u8; 4])]| HostStatus {
            name: "r1u07".to_owned(),
            macs: macs.iter().map(|mac| (*mac).to_owned()).collect(),
            address: Some([192, 0, 2, 11].into()),
            holds: holds
                .iter()
                .map(|(mac, address)| HeldAddress {
                    mac: (*mac).to_owned(),
                    address: (*address).into(),
                })
                .collect(),
            boot: "live".to_owned(),
            image: None,
            script: None,
            loaders: Vec::new(),
            locked: false,
            disks: None,
            install: None,
            written: "inventory.toml:1".to_owned(),
        };
        let own = ("02:00:00:00:00:07", [192, 0, 2, 11]);
        let other = ("02:00:00:00:00:08", [192, 0, 2, 100]);
        assert_eq!(address(&host(&[own.0], &[])), "192.0.2.11");
        assert_eq!(address(&host(&[own.0], &[own])), "192.0.2.11");
        let away = host(&[own.0], &[(own.0, [198, 51, 100, 100])]);
        assert_eq!(address(&away), "192.0.2.11 (has 198.51.100.100)");
        let both = host(&[own.0, other.0], &[own, other]);
        assert_eq!(address(&both), "192.0.2.11 (02:00:00:00:00:08 has 192.0.2.100)");
    }

    #[test]
    fn a_failed_install_is_shown_with_its_reason_and_where_it_was_seen_last() {
        let install = InstallStatus {
            state: "failed".to_owned(),
            last_step: Some("its installer began".to_owned()),
            reason: Some("its installer says: no disk".to_owned()),
            ..InstallStatus::default()
        };
        let shown = "failed (its installer says: no disk; last seen: its installer began)";
        assert_eq!(state(&install), shown);
        let under_way = InstallStatus {
            state: "installing".to_owned(),
            percent: Some(40),
            ..InstallStatus::default()
        };
        assert_eq!(state(&under_way), "installing (40 %)");
    }
}
