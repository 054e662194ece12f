//! `bootwright why`.

mod follow;

use super::ask::{AdminArgs, show, table};
use crate::admin::{
    api::{AttemptFilter, AttemptStatus},
    routes::GetAttempts,
};
use crate::attempt::{
    AttemptLine, AttemptLog, AttemptOutcome, AttemptStep, Progress, StepKind,
    verdict::{BootCause, Confidence, Severity, Verdict, causes, causes_by_reason},
};
use crate::boot::event::StepCode;
use crate::model::{MachineFacts, text::escaped};
use indicatif::HumanBytes;
use std::{
    fmt::{self, Write},
    process::ExitCode,
    time::Duration,
};

const EXAMPLES: &str = "\
Examples:
  bootwright why r1u07
  bootwright why 52:54:00:00:00:07 --all
  bootwright why r1u07 --follow
  bootwright why --cause boot_loop
  bootwright why --json | jq -r '.[] | select(.verdict.severity == \"problem\") | .host'";

/// Says why a machine does not come up: what its last boot came to, step by step, and what to do
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct WhyArgs {
    /// The machines: their names, MACs, serial numbers or addresses; without one, all of them in a line each.
    #[arg(value_name = "MACHINE")]
    machine: Vec<String>,
    /// Every boot that is kept, not only the last.
    #[arg(long, requires = "machine")]
    all: bool,
    /// Show each step of the boot that goes on, or of the next one, and each line that its machine logs here, as it comes,
    /// and in the end what it came to; exit code 1 where that is a problem.
    #[arg(short, long, requires = "machine", conflicts_with = "all")]
    follow: bool,
    /// What lies behind a cause, by its name, or by the log's `reason`; `all` of them.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["machine", "json"])]
    cause: Option<String>,
    #[command(flatten)]
    ask: AdminArgs,
}

/// Asks for the attempts.
pub(super) fn run(args: WhyArgs) -> ExitCode {
    let WhyArgs {
        machine,
        all,
        follow,
        cause,
        ask,
    } = args;
    if let Some(name) = cause {
        return explain_cause(&name);
    }
    if follow {
        return match machine.as_slice() {
            [one] => follow::run(one, &ask),
            _ => {
                eprintln!("error: --follow follows one machine\nhelp: name one; `bootwright watch` shows all of them");
                ExitCode::from(2)
            }
        };
    }
    let is_each = !machine.is_empty();
    let filter = AttemptFilter {
        machine,
        all: if all { vec!["true".to_owned()] } else { Vec::new() },
    };
    ask.list::<GetAttempts, _>(&filter, |attempts| match (attempts, is_each) {
        ([], _) => "no boot of it was seen: nothing was heard from its firmware or its loader\n".to_owned(),
        (attempts, true) => attempts.iter().map(timeline).collect::<Vec<String>>().join("\n"),
        (attempts, false) => overview(attempts),
    })
}

/// Prints the page of a cause.
fn explain_cause(name: &str) -> ExitCode {
    let reason = match StepCode::named(name) {
        StepCode::Reason(reason) => Some(reason),
        StepCode::Circumstance(_) | StepCode::Unknown(_) => None,
    };
    // Where a cause and a reason have one name, the cause is meant.
    let by_reason = reason.map_or(&[][..], causes_by_reason);
    let is_named = |cause: &&BootCause| name == "all" || cause.name == name;
    let is_cause = causes().any(|cause| is_named(&cause));
    let known: Vec<String> = causes()
        .filter(|cause| is_named(cause) || (!is_cause && by_reason.contains(&cause.name)))
        .map(BootCause::to_string)
        .collect();
    if known.is_empty() && reason.is_some() {
        eprintln!(
            "error: no cause goes by the reason `{name}` alone\nhelp: `bootwright why MACHINE` says what its boot came to"
        );
        return ExitCode::FAILURE;
    }
    if known.is_empty() {
        let names: Vec<&str> = causes().map(|cause| cause.name).collect();
        eprintln!(
            "error: no cause is called `{name}`\nhelp: one of {}, or all",
            names.join(", ")
        );
        return ExitCode::FAILURE;
    }
    let head = match name {
        "all" => "# What keeps machines from coming up: every cause that `bootwright why` names\n\n",
        _ => "",
    };
    match show(false, &(), |()| format!("{head}{}", known.join("\n"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn overview(attempts: &[AttemptStatus]) -> String {
    let rows: Vec<[String; 4]> = attempts
        .iter()
        .map(|attempt| {
            [
                attempt.machine(),
                attempt.began.to_string(),
                attempt.last().to_string(),
                match &attempt.verdict {
                    Some(verdict) if verdict.severity == Severity::Problem => verdict.sentence.clone(),
                    _ => standing(attempt).to_owned(),
                },
            ]
        })
        .collect();
    table(["MACHINE", "BEGAN", "HEARD LAST", "CAME TO"], &rows)
}

/// How far it came, in a few words.
pub(super) fn standing(attempt: &AttemptStatus) -> &'static str {
    match (attempt.outcome, attempt.progress) {
        (Some(AttemptOutcome::Installed), _) => "installed",
        (Some(AttemptOutcome::InstallFailed), _) => "its install failed",
        (_, Progress::Installer) => "its installer is at work",
        (_, Progress::System) => "a system runs: it asked for an address",
        (_, Progress::Answer) => "its installer has its answer",
        (Some(AttemptOutcome::Disk), _) => "told to boot its disk",
        (None, Progress::Asked) => "asked, and got nothing",
        (None, Progress::Offered) => "was offered an address",
        (None, Progress::Addressed) => "has an address",
        (None, Progress::Loader) => "has its loader",
        (None, Progress::Script) => "has its script",
        (None, Progress::Artifacts) => "has files of its image",
    }
}

pub(super) fn timeline(attempt: &AttemptStatus) -> String {
    let rows: Vec<[String; 4]> = attempt
        .steps
        .iter()
        .map(|step| [moment(step), step.stage.name().to_owned(), what(step), times(step)])
        .collect();
    let mut text = attempt.machine();
    if let Some(address) = attempt.address {
        let _ = write!(text, ", {address}");
    }
    let (began, last) = (attempt.began, attempt.last());
    let standing = standing(attempt);
    match &attempt.verdict {
        None => {
            let _ = writeln!(text, ": {standing}; it was switched on {began} and heard last {last}");
        }
        Some(verdict) => {
            let _ = writeln!(text, ": {}", verdict.sentence);
            let _ = writeln!(text, "What to do: {}", verdict.action);
            let sure = sureness(verdict);
            let _ = writeln!(
                text,
                "{sure}; it was switched on {began} and heard last {last} ({standing})"
            );
        }
    }
    if !attempt.facts.is_empty() {
        let _ = writeln!(text, "Its iPXE tells: {}", facts_text(&attempt.facts));
    }
    text.push_str(&table(["AFTER", "STAGE", "STEP", "TIMES"], &rows));
    if attempt.omitted > 0 {
        let count = attempt.omitted;
        let _ = writeln!(text, "{count} steps between the first and the last are not kept");
    }
    text.push_str(&log_text(&attempt.log));
    text
}

/// What the machine logged itself, beneath what was seen of it.
fn log_text(log: &AttemptLog) -> String {
    if log.is_empty() {
        return String::new();
    }
    let rows: Vec<[String; 3]> = log
        .lines
        .iter()
        .map(|AttemptLine { at_ms, line }| [after(*at_ms), line.severity.to_string(), line.to_string()])
        .collect();
    let mut text = format!(
        "The last lines of its own log:\n{}",
        table(["AFTER", "SEVERITY", "LINE"], &rows)
    );
    if log.omitted > 0 {
        let _ = writeln!(text, "{} lines before and between them are not kept", log.omitted);
    }
    text
}

/// Seconds since the boot began.
fn after(ms: u64) -> String {
    format!("{:.1} s", Duration::from_millis(ms).as_secs_f64())
}

fn facts_text(facts: &MachineFacts) -> String {
    let MachineFacts {
        secure_boot,
        memory_mib,
        chip,
    } = facts;
    let secure_boot = secure_boot.map(|is_on| {
        if is_on {
            "Secure Boot is on"
        } else {
            "Secure Boot is off"
        }
    });
    let memory = memory_mib.map(|mib| format!("{mib} MiB of memory"));
    let chip = chip.as_ref().map(|chip| format!("network card {}", escaped(chip)));
    let told = [memory, chip, secure_boot.map(str::to_owned)];
    told.into_iter().flatten().collect::<Vec<String>>().join(", ")
}

fn sureness(verdict: &Verdict) -> String {
    let sure = match (verdict.severity, verdict.confidence) {
        (Severity::AsConfigured, _) => "As the inventory says",
        (Severity::Problem, Confidence::Certain) => "Seen",
        (Severity::Problem, Confidence::Likely) => "Likely",
        (Severity::Problem, Confidence::Possible) => "Possible",
    };
    format!("{sure} (bootwright why --cause {})", verdict.cause)
}

fn moment(step: &AttemptStep) -> String {
    let seconds = |ms| Duration::from_millis(ms).as_secs_f64();
    match step.times {
        1 => after(step.at_ms),
        _ => format!("{:.1} to {:.1} s", seconds(step.at_ms), seconds(step.until_ms)),
    }
}

fn times(step: &AttemptStep) -> String {
    match step.times {
        1 => String::new(),
        times => times.to_string(),
    }
}

fn what(step: &AttemptStep) -> String {
    let name = match step.kind {
        StepKind::Offered => "offered",
        StepKind::ProxyOffered => "proxyDHCP offer",
        StepKind::Acknowledged => "acknowledged",
        StepKind::ReservationUnavailable => "another address than its own",
        StepKind::AckShortened => "acknowledged, lease shortened",
        StepKind::Refused => "refused",
        StepKind::Released => "released",
        StepKind::Declined => "declined",
        StepKind::ReservationConflict => "another machine has its address",
        StepKind::AddressInUse => "address in use",
        StepKind::NoIpv6Router => "told that no IPv6 router is here",
        StepKind::Sent => "sent",
        StepKind::Failed => "failed",
        StepKind::OptionalMissing => "optional file not found:",
        StepKind::Waits => "waits for",
        StepKind::ComeBack => "told to come back for",
        StepKind::SizeAsked => "asked for the size of",
        StepKind::StartedOver => "started over",
        StepKind::Evicted => "evicted",
        StepKind::TurnedAway => "turned away",
        StepKind::WrongPort => "wrong switch port",
        StepKind::LoaderLoop => "loaded its loader again and again",
        StepKind::ChoseOtherServer => "took another DHCP server's offer",
        StepKind::PoolExhausted => "no address is free",
        StepKind::Ignored => "ignored",
        StepKind::Armed => "armed",
        StepKind::Disarmed => "disarmed",
        StepKind::ArmingExpired => "armed no longer: its time is up",
        StepKind::InstallBegun => "handed its install",
        StepKind::InstallStarted => "its installer began",
        StepKind::InstallProgress => "its installer goes on",
        StepKind::Logged => "its own log",
        StepKind::Installed => "installed",
        StepKind::InstallFailed => "its install failed",
        StepKind::Other => "a step of a newer bootwright",
    };
    let mut words = name.to_owned();
    // Writing to a String cannot fail.
    let mut add = |before: &str, part: &dyn fmt::Display| {
        let _ = write!(words, "{before}{part}");
    };
    if let Some(file) = &step.file {
        add(" ", file);
    }
    if let Some(address) = &step.address {
        add(" ", address);
    }
    if step.bytes > 0 {
        add(", ", &HumanBytes(step.bytes));
    }
    if let Some(boot) = &step.boot {
        add(": ", boot);
    }
    if let Some(reason) = &step.reason {
        add(": ", &reason.sentence);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_has_a_row_a_step_and_says_what_is_missing() {
        let attempt: AttemptStatus = serde_json::from_value(serde_json::json!({
            "id": "19ab65b2c00", "host": "r1u07", "mac": null, "address": "192.0.2.11", "generation": 3,
            "began": "2025-11-24T16:00:00Z", "last_ms": 20_500, "progress": "script", "outcome": null, "omitted": 4,
            "steps": [
                {"at_ms": 0, "until_ms": 9000, "times": 2, "stage": "uefi-pxe", "event": "offered",
                 "address": "192.0.2.11", "boot": "loader"},
                {"at_ms": 20_500, "until_ms": 20_500, "times": 1, "stage": "ipxe", "event": "failed",
                 "file": "image debian/linux", "reason": {"code": "file_missing", "sentence": "no such file"}},
            ],
        }))
        .unwrap();
        let text = timeline(&attempt);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[0].contains("heard last 2025-11-24T16:00:20Z"), "{text}");
        let row: Vec<&str> = lines[2]
            .split("  ")
            .filter(|cell| !cell.is_empty())
            .map(str::trim)
            .collect();
        assert_eq!(row, ["0.0 to 9.0 s", "uefi-pxe", "offered 192.0.2.11: loader", "2"]);
        assert!(lines[3].ends_with("failed image debian/linux: no such file"), "{text}");
        assert!(lines[4].starts_with("4 steps"), "{text}");
    }

    #[test]
    fn the_machines_own_log_stands_beneath() {
        let log = serde_json::from_value(serde_json::json!({
            "lines": [{"at_ms": 61_000, "severity": "err", "tag": "netcfg", "text": "no link"},
                      {"at_ms": 62_500, "severity": "info", "text": "bye"}],
            "omitted": 7,
        }));
        let text = log_text(&log.unwrap());
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| {
                line.split("  ")
                    .filter(|cell| !cell.is_empty())
                    .map(str::trim)
                    .collect()
            })
            .collect();
        assert_eq!(rows[2], ["61.0 s", "err", "netcfg: no link"]);
        assert_eq!(rows[3], ["62.5 s", "info", "bye"]);
        assert_eq!(rows[4], ["7 lines before and between them are not kept"]);
        assert_eq!(log_text(&AttemptLog::default()), "");
    }
}
