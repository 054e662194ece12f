//! `bootwright reload`.

use super::ask::AdminArgs;
use crate::admin::{
    api::{NoParameters, ReloadAccepted},
    routes::PostReload,
};
use crate::model::text::counted;
use std::{fmt::Write, process::ExitCode};

const EXAMPLES: &str = "\
Examples:
  bootwright reload
  bootwright reload --json | jq .generation
  bootwright reload --json | jq -r '.errors[]? | \"\\(.file):\\(.line): \\(.message)\"'

Exit code 0 when the new generation is in force, 1 when it is refused and the old one stays.";

/// Reads the configuration and the inventory again; refused as a whole when anything in them is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    ask: AdminArgs,
}

/// Asks for a reload and waits for what becomes of it.
pub(super) fn run(args: ReloadArgs) -> ExitCode {
    args.ask.document::<PostReload, _>(&NoParameters {}, accepted_text)
}

fn accepted_text(accepted: &ReloadAccepted) -> String {
    let ReloadAccepted {
        generation,
        hosts,
        warnings,
        restart_needed_for,
        install_targets,
    } = accepted;
    let mut text = String::new();
    for warning in warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    for target in install_targets {
        let _ = writeln!(text, "warning: {target}");
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
