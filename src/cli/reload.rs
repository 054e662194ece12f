//! `bootwright reload`.

use super::ask::AdminArgs;
use crate::admin::{
    api::{ReloadAccepted, ReloadRefusal, counted},
    client,
};
use std::{error::Error, fmt::Write, process::ExitCode};

const EXAMPLES: &str = "\
Examples:
  bootwright reload
  bootwright reload --json | jq .generation

Exit code 0 when the new generation is in force, 1 when it is refused and the old one stays.";

/// Reads the configuration and the inventory again; refused as a whole when anything in them is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    ask: AdminArgs,
}

/// Asks for a reload and waits for what becomes of it.
pub(super) fn run(args: Args) -> ExitCode {
    let Args { ask } = args;
    super::finish(reload(&ask))
}

fn reload(ask: &AdminArgs) -> Result<(), Box<dyn Error>> {
    match client::reload(&ask.socket)? {
        Ok(accepted) => Ok(ask.show(&accepted, accepted_text)?),
        Err(refusal) => {
            ask.show(&refusal, refusal_text)?;
            let kept = refusal.generation;
            Err(format!("reload refused: generation {kept} stays in force").into())
        }
    }
}

fn accepted_text(accepted: &ReloadAccepted) -> String {
    let ReloadAccepted {
        generation,
        hosts,
        warnings,
        restart_needed_for,
    } = accepted;
    let mut text = String::new();
    for warning in warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    for setting in restart_needed_for {
        let _ = writeln!(
            text,
            "warning: `{setting}` changed and holds only after `systemctl restart bootwright`"
        );
    }
    let _ = writeln!(text, "generation {generation} is in force: {}", counted(*hosts, "host"));
    text
}

/// Every error on a line of its own.
pub(super) fn refusal_text(refusal: &ReloadRefusal) -> String {
    refusal.errors.iter().map(|error| format!("error: {error}\n")).collect()
}
