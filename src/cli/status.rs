//! `bootwright status`.

use super::{
    ask::{Ask, moment},
    reload::refusal_text,
};
use crate::admin::{
    answer::{Status, counted},
    client,
};
use std::{error::Error, fmt::Write, process::ExitCode};

const EXAMPLES: &str = "\
Examples:
  bootwright status
  bootwright status --json | jq .counters.dhcp_replied";

/// Says what the daemon serves and how the last reload went.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    ask: Ask,
}

/// Asks how the daemon is.
pub(super) fn run(args: Args) -> ExitCode {
    let Args { ask } = args;
    super::finish(status(&ask))
}

fn status(ask: &Ask) -> Result<(), Box<dyn Error>> {
    let status: Status = client::get(&ask.socket, "/status")?;
    Ok(ask.show(&status, text)?)
}

fn text(status: &Status) -> String {
    let Status {
        version,
        pid,
        config,
        generation,
        since,
        hosts,
        leases,
        leases_writable,
        interfaces,
        restart_needed_for,
        last_refusal,
        counters,
    } = status;
    let mut text = format!(
        "bootwright {version}, pid {pid}, {}\ngeneration {generation} since {}: {}\n{}\ninterfaces {}\n",
        config.display(),
        moment(*since),
        counted(*hosts, "host"),
        counted(*leases, "lease"),
        interfaces.join(", "),
    );
    if !leases_writable {
        text.push_str("LEASES CAN'T BE WRITTEN, so none is acknowledged: is the disk full? see the log\n");
    }
    for setting in restart_needed_for {
        let _ = writeln!(text, "needs a restart: `{setting}`");
    }
    if let Some(refusal) = last_refusal {
        let _ = writeln!(
            text,
            "the files as they are now were refused at {}:\n{}",
            moment(refusal.at),
            refusal_text(refusal).trim_end()
        );
    }
    for (name, count) in counters.iter().filter(|(_, count)| **count > 0) {
        let _ = writeln!(text, "{count:>12} {name}");
    }
    text
}
