//! `bootwright hosts`.

use super::ask::{Ask, table};
use crate::admin::{answer::Host, client};
use std::{error::Error, process::ExitCode};

const EXAMPLES: &str = "\
Examples:
  bootwright hosts
  bootwright hosts --json | jq -r '.[] | select(.boot == \"live\") | .name'";

/// Lists the hosts of the inventory in force.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    ask: Ask,
}

/// Asks for the hosts.
pub(super) fn run(args: Args) -> ExitCode {
    let Args { ask } = args;
    super::finish(hosts(&ask))
}

fn hosts(ask: &Ask) -> Result<(), Box<dyn Error>> {
    let hosts: Vec<Host> = client::get(&ask.socket, "/hosts")?;
    Ok(ask.show(&hosts, |hosts| text(hosts))?)
}

fn text(hosts: &[Host]) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows: Vec<[String; 7]> = hosts
        .iter()
        .map(|host| {
            let locked = if host.locked { " (locked)" } else { "" };
            [
                host.name.clone(),
                or_dash(host.macs.first().cloned()),
                or_dash(host.address.map(|address| address.to_string())),
                format!("{}{locked}", host.boot),
                or_dash(host.image.clone()),
                or_dash((!host.loaders.is_empty()).then(|| host.loaders.join(", "))),
                host.written.clone(),
            ]
        })
        .collect();
    table(["HOST", "MAC", "ADDRESS", "BOOT", "IMAGE", "LOADER", "WRITTEN"], &rows)
}
