//! `bootwright plan`: what the files at a path would change, held against what is in force.

use super::{
    ask::{AdminArgs, show},
    check,
};
use crate::admin::{
    api::{AdminRefusal, NoParameters, PlanBasis, Problem, RefusalCode},
    client,
    routes::GetPlanBasis,
};
use crate::boot::plan::{
    ChangeKind, Difference, HostGroup, NextBoot, PartChange, PlannedChanges, Renaming, ValueChange, Wipe, WipeReason,
};
use crate::config::{Loaded, report};
use crate::daemon::log;
use crate::model::text::counted;
use std::{collections::BTreeMap, error::Error, fmt::Write, path::PathBuf, process::ExitCode};

const EXAMPLES: &str = "\
Examples:
  bootwright plan                          the files in /etc/bootwright, edited and not taken yet
  bootwright plan ~/room                   a working copy, before it is rolled out
  bootwright plan --json ~/room | jq -r '.wipes[].host'
  bootwright plan ~/room && echo nothing to do

The files are checked as `bootwright check` does it, and then held against the generation that the daemon has in force.
Who would be wiped stands first: hosts whose next boot from the network erases their disk once the files are in force.
A host that appears for the first time is armed by that.

Exit code: 0 nothing changes, 2 something changes, 3 something changes and the next boot of a host named under WIPES
erases its disk; 1 the files are unsound, or no daemon of this version answers.";

/// Hosts of a group that are named before the rest is counted; those that are wiped are all named.
const NAMED_MAX: usize = 8;

/// Shows what an inventory would change, and WHOM IT WOULD WIPE, before it is in force.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PlanArgs {
    /// bootwright.toml of the candidate, or the folder that has it.
    #[arg(default_value = check::DEFAULT_PATH)]
    path: PathBuf,
    #[command(flatten)]
    ask: AdminArgs,
}

/// Exit code where something changes.
const CHANGES: u8 = 2;
/// Exit code where somebody would be wiped.
const WIPES: u8 = 3;

/// Makes the plan and shows it.
pub(super) fn run(args: PlanArgs) -> ExitCode {
    match planned(&args) {
        Ok(Some(plan)) => match (plan.changes_nothing(), plan.wipes.is_empty()) {
            (true, _) => ExitCode::SUCCESS,
            (false, true) => ExitCode::from(CHANGES),
            (false, false) => ExitCode::from(WIPES),
        },
        Ok(None) => ExitCode::FAILURE,
        Err(error) => {
            log::last_words(&error);
            ExitCode::FAILURE
        }
    }
}

/// The plan, which has been shown; nothing where the files are unsound, which has been shown as well.
fn planned(args: &PlanArgs) -> Result<Option<PlannedChanges>, Box<dyn Error>> {
    let PlanArgs { path, ask } = args;
    let basis = match client::document::<GetPlanBasis, PlanBasis>(ask.socket(), &NoParameters {}) {
        Ok(basis) => basis,
        Err(error) => return refused(ask, lacking(error.refusal())),
    };
    if basis.version != OURS {
        return refused(ask, other_version(&basis.version));
    }
    let Loaded { mut snapshot, .. } = match check::load_candidate(path) {
        Ok(loaded) => loaded,
        Err(report) => {
            let unsound = AdminRefusal {
                errors: report.errors.iter().map(Problem::from).collect(),
                ..AdminRefusal::new(
                    RefusalCode::FilesRefused,
                    format!("{}: nothing was planned", counted(report.errors.len(), "error")),
                )
            };
            if ask.is_json() {
                show(true, &unsound, |_| String::new())?;
            } else {
                eprint!("{}", report.render(report::wants_colours()));
            }
            log::last_words(&unsound);
            return Ok(None);
        }
    };
    snapshot.ports = basis.ports;
    let plan = PlannedChanges::of(&basis, &snapshot);
    show(ask.is_json(), &plan, text)?;
    Ok(Some(plan))
}

const OURS: &str = env!("CARGO_PKG_VERSION");

fn refused(ask: &AdminArgs, refusal: AdminRefusal) -> Result<Option<PlannedChanges>, Box<dyn Error>> {
    if ask.is_json() {
        show(true, &refusal, |_| String::new())?;
    }
    Err(refusal.to_string().into())
}

/// A daemon of before there were plans knows no such path.
fn lacking(refusal: AdminRefusal) -> AdminRefusal {
    match refusal.code {
        RefusalCode::NotFound => AdminRefusal::new(
            RefusalCode::VersionMismatch,
            "the daemon is older than this command, and knows of no plans",
        )
        .with_help("`systemctl restart bootwright` starts the installed version"),
        _ => refusal,
    }
}

fn other_version(daemon: &str) -> AdminRefusal {
    let detail = format!(
        "the daemon is bootwright {daemon} and this is {OURS}: it may arm hosts by other rules than this command knows, \
         so that a wipe could be missing here"
    );
    AdminRefusal::new(RefusalCode::VersionMismatch, detail).with_help(
        "after an upgrade `systemctl restart bootwright`; before one, plan with the daemon's own `bootwright`",
    )
}

fn text(plan: &PlannedChanges) -> String {
    let mut text = changes_text(plan);
    match plan.changes_nothing() {
        true => {
            let _ = writeln!(text, "nothing changes against generation {}", plan.generation);
        }
        false => {
            let hosts: usize = plan.hosts.iter().map(|group| group.hosts.len()).sum();
            let _ = writeln!(
                text,
                "against generation {}: {}, {}, {}",
                plan.generation,
                counted(hosts, "host"),
                counted(plan.appliance.len(), "other thing"),
                counted(plan.wipes.len(), "wipe")
            );
        }
    }
    text
}

/// Everything that changes, those who are wiped first.
pub(super) fn changes_text(plan: &PlannedChanges) -> String {
    let mut text = String::new();
    wipes_text(&plan.wipes, &mut text);
    for host in &plan.disarmed {
        let _ = writeln!(
            text,
            "disarms {host}: it is not that machine any more, or not set to install"
        );
    }
    for host in &plan.interrupted {
        let _ = writeln!(
            text,
            "INTERRUPTS the install of {host}: its installer is refused from then on, and its disk may be half written; wait \
             until `bootwright hosts {host}` says that it is done"
        );
    }
    for Renaming { from, to } in &plan.renamed {
        let _ = writeln!(text, "renames {from} to {to}: the same machine by another name");
    }
    for group in &plan.hosts {
        group_text(group, &mut text);
    }
    for part in &plan.appliance {
        part_text(part, &mut text);
    }
    text
}

/// Who is wiped, everybody by name, together where it is for the same reason.
fn wipes_text(wipes: &[Wipe], text: &mut String) {
    let mut grouped: BTreeMap<(bool, WipeReason, Option<&str>), Vec<&str>> = BTreeMap::new();
    for wipe in wipes {
        let said = (wipe.already, wipe.why, wipe.image.as_deref());
        grouped.entry(said).or_default().push(&wipe.host);
    }
    for ((already, why, image), hosts) in grouped {
        let image = image.map_or(String::new(), |image| format!(" {image}"));
        let _ = write!(
            text,
            "WIPES {}: the next boot from the network installs{image} and ERASES THE DISK; ",
            hosts.join(" ")
        );
        text.push_str(match why {
            WipeReason::FirstAppearance => "armed by appearing for the first time",
            WipeReason::Armed => "armed already",
            WipeReason::Installing => "the install is under way",
            WipeReason::LiveInstaller => "boots an unattended installer at EVERY power-on",
        });
        text.push_str(if already {
            ", with or without this change\n"
        } else {
            "\n"
        });
    }
}

fn group_text(group: &HostGroup, text: &mut String) {
    let HostGroup {
        kind,
        hosts,
        difference,
        boots_now,
        boots_then,
    } = group;
    let verb = verb(*kind);
    let _ = write!(text, "{verb} ");
    names_text(hosts, text);
    match (kind, boots_now, boots_then) {
        (ChangeKind::Removed, Some(now), _) => {
            let _ = write!(text, "; booted {}", boot_text(now));
        }
        (_, Some(now), Some(then)) if now != then => {
            let _ = write!(text, "; next boot: {} in place of {}", boot_text(then), boot_text(now));
        }
        (_, _, Some(then)) => {
            let _ = write!(text, "; next boot: {}", boot_text(then));
        }
        (_, _, None) => {}
    }
    text.push('\n');
    difference_text(difference, text);
}

fn names_text(hosts: &[String], text: &mut String) {
    if hosts.len() > 1 {
        let _ = write!(text, "{}: ", counted(hosts.len(), "host"));
    }
    text.push_str(&hosts[..hosts.len().min(NAMED_MAX)].join(" "));
    if hosts.len() > NAMED_MAX {
        let _ = write!(text, " and {} more", hosts.len() - NAMED_MAX);
    }
}

pub(super) fn verb(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Added => "adds",
        ChangeKind::Removed => "removes",
        ChangeKind::Changed => "changes",
    }
}

fn boot_text(NextBoot { target, image, why }: &NextBoot) -> String {
    let image = image.as_deref().map_or(String::new(), |image| format!(" {image}"));
    match why {
        Some(why) => format!("{target}{image} ({why})"),
        None => format!("{target}{image}"),
    }
}

fn difference_text(Difference { values, texts }: &Difference, text: &mut String) {
    for ValueChange { key, old, new } in values {
        let _ = match (old, new) {
            (Some(old), Some(new)) => writeln!(text, "    {key}: {old} -> {new}"),
            (None, Some(new)) => writeln!(text, "    {key}: none -> {new}"),
            (Some(old), None) => writeln!(text, "    {key}: {old} -> none"),
            (None, None) => Ok(()),
        };
    }
    if !texts.is_empty() {
        let _ = writeln!(text, "    reads differently: {}", texts.join(", "));
    }
}

fn part_text(part: &PartChange, text: &mut String) {
    let PartChange {
        what,
        kind,
        difference,
        hosts,
    } = part;
    let _ = write!(text, "{} {what}", verb(*kind));
    if !hosts.is_empty() {
        text.push_str("; for ");
        names_text(hosts, text);
    }
    text.push('\n');
    difference_text(difference, text);
}
