//! `bootwright hosts`.

use super::ask::{AdminArgs, table};
use crate::admin::{
    api::{HeldAddress, HostFilter, HostStatus},
    routes::GetHosts,
};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bootwright hosts
  bootwright hosts r1u07 52:54:00:00:00:08
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

fn text(hosts: &[HostStatus]) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows: Vec<[String; 7]> = hosts
        .iter()
        .map(|host| {
            let locked = if host.locked { " (locked)" } else { "" };
            [
                host.name.clone(),
                or_dash(host.macs.first().cloned()),
                address(host),
                format!("{}{locked}", host.boot),
                or_dash(host.image.clone()),
                or_dash((!host.loaders.is_empty()).then(|| host.loaders.join(", "))),
                host.written.clone(),
            ]
        })
        .collect();
    table(["HOST", "MAC", "ADDRESS", "BOOT", "IMAGE", "LOADER", "WRITTEN"], &rows)
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
}
