//! `bootwright generations` and `bootwright rollback`.

use super::{
    ask::{AdminArgs, table},
    plan,
};
use crate::admin::{
    api::{ChangeCounts, FileChange, GenerationFilter, GenerationStatus, RollbackRequest, RolledBack},
    routes::{GetGenerations, PostRollback},
};
use crate::model::text::counted;
use std::{env, fmt::Write, process::ExitCode};

const EXAMPLES: &str = "\
Examples:
  bootwright generations
  bootwright generations 12                what changed against the one before
  bootwright generations --json | jq -r '.[] | select(.by == \"ada\") | .number'

A generation is one accepted version of the files: the settings, the inventory, scripts, answers and the descriptions
of images. The last 200 are kept with their text.";

const ROLLBACK_EXAMPLES: &str = "\
Examples:
  bootwright rollback 12
  bootwright rollback 12 --json | jq -r .folder

The files of that generation are tried like any others, and are in force at once by a new number. Nobody is armed by
it. The files on disk stay what they are: their next change, a reload and a restart of the daemon take what stands
there. So mend them too: the folder that is shown has the files of the generation.";

/// Lists the generations that were in force, or says what one of them changed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct GenerationsArgs {
    /// Only that one, and what it changed.
    #[arg(value_name = "N")]
    number: Option<u64>,
    #[command(flatten)]
    ask: AdminArgs,
}

/// Puts an earlier generation in force again, until the files on disk change.
#[derive(Debug, clap::Args)]
#[command(after_help = ROLLBACK_EXAMPLES)]
pub(super) struct RollbackArgs {
    /// Its number.
    #[arg(value_name = "N")]
    number: u64,
    /// Who asks, where that is not who runs this; the user is noted beside it.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    ask: AdminArgs,
}

/// Asks for the generations.
pub(super) fn list(args: GenerationsArgs) -> ExitCode {
    let GenerationsArgs { number, ask } = args;
    let request = GenerationFilter {
        number: number.iter().map(u64::to_string).collect(),
    };
    ask.list::<GetGenerations, _>(&request, |found| match (number, found) {
        (Some(_), [one]) => whole_text(one),
        (_, all) => list_text(all),
    })
}

/// Asks for one to be put in force again.
pub(super) fn roll_back(args: RollbackArgs) -> ExitCode {
    let RollbackArgs { number, by, ask } = args;
    let request = RollbackRequest {
        number: vec![number.to_string()],
        by: by.or_else(|| env::var("SUDO_USER").ok()).into_iter().collect(),
    };
    ask.document::<PostRollback, _>(&request, rolled_back_text)
}

fn counts_text(counts: Option<ChangeCounts>) -> String {
    counts.map_or_else(
        || "-".into(),
        |ChangeCounts {
             added,
             removed,
             changed,
             other,
         }| format!("+{added} -{removed} ~{changed}, {other} other"),
    )
}

fn list_text(all: &[GenerationStatus]) -> String {
    let rows: Vec<[String; 7]> = all
        .iter()
        .map(|one| {
            let by = one
                .rolled_back_to
                .map_or_else(|| one.by.clone(), |to| format!("{} (rollback to {to})", one.by));
            let in_force = if one.in_force { " (in force)" } else { "" };
            let digest = one.digest.get(..12).unwrap_or("-");
            [
                format!("{}{in_force}", one.number),
                one.at.to_string(),
                by,
                one.hosts.to_string(),
                counts_text(one.counts),
                if one.has_files { "kept" } else { "-" }.into(),
                digest.into(),
            ]
        })
        .collect();
    table(
        ["NUMBER", "SINCE", "BY", "HOSTS", "HOSTS CHANGED", "FILES", "DIGEST"],
        &rows,
    )
}

fn whole_text(one: &GenerationStatus) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "generation {} by {} at {}: {}",
        one.number,
        one.by,
        one.at,
        counted(one.hosts, "host")
    );
    for FileChange { file, kind } in one.files.iter().flatten() {
        let _ = writeln!(text, "{} {}", plan::verb(*kind), file.display());
    }
    match &one.changes {
        Some(changes) => text.push_str(&plan::changes_text(changes)),
        None => {
            let _ = writeln!(text, "hosts: {}", counts_text(one.counts));
        }
    }
    text
}

fn rolled_back_text(done: &RolledBack) -> String {
    let RolledBack {
        generation,
        rolled_back_to,
        hosts,
        folder,
        warnings,
        install_targets,
    } = done;
    let mut text = String::new();
    for warning in warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    for target in install_targets {
        let _ = writeln!(text, "warning: {target}");
    }
    let _ = writeln!(
        text,
        "generation {generation} is in force, with the files of generation {rolled_back_to}: {}\n\
         the files on disk are unchanged, and count again once they change, at a reload and at a restart: mend them \
         by those in {}",
        counted(*hosts, "host"),
        folder.display()
    );
    text
}
