//! `bootwright replay`.

use super::{
    ask::{show, table},
    check::{DEFAULT_PATH, settings_file},
    why::{standing, timeline},
};
use crate::admin::api::AttemptStatus;
use crate::attempt::{
    replay::{ReplayReport, ReplaySettings, ReplayedAnswer, replay, server_in},
    verdict::Severity,
};
use crate::boot::event::{Event, Stage};
use crate::boot::snapshot::Snapshot;
use crate::config::{self, Appliance, Loaded, report, validation};
use crate::images::sums::Deferred;
use crate::model::{Mode, Name, OwnAddress, limits::CAPTURE_FILE_BYTES_MAX, text::counted};
use crate::proto::capture::{self, CaptureFile};
use serde::Serialize;
use std::{
    error::Error,
    fmt::Write,
    fs::{self, File},
    io::Read,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, UNIX_EPOCH},
};

/// Says what this configuration would answer to the requests in a capture, and what its boots would come to
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bootwright replay r1u07.pcapng                    a file of `bootwright capture`
  bootwright replay boot.pcap --config ~/room       tcpdump's, over files that are not in force
  bootwright replay boot.pcap --armed r1u07
  bootwright replay boot.pcap --json | jq '.attempts[].verdict'

Every DHCP request, TFTP request and head of an HTTP request goes through the decisions of the daemon, at the times of the
capture, and no daemon is asked. CAPTURE says whether the server in the capture answered the same: for DHCP to the byte,
for a file whether it was sent. Artifacts are taken to be intact, and nobody is armed unless --armed says so.")]
pub(super) struct ReplayArgs {
    /// The capture: pcapng or pcap, of Ethernet or of Linux's `any` interface
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// bootwright.toml, or the folder that has it
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// The address of the server in the capture that is played, where the capture does not show it
    #[arg(long, value_name = "ADDRESS")]
    server: Option<Ipv4Addr>,
    /// A host that is armed when the capture begins; can be given more than once
    #[arg(long, value_name = "HOST")]
    armed: Vec<Name>,
    /// How long nothing was heard after the end of the capture, such as 5m
    #[arg(long, value_name = "TIME", value_parser = length)]
    silence: Option<Duration>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn length(written: &str) -> Result<Duration, String> {
    config::length_of_time(written).ok_or_else(|| format!("`{written}` is not a length of time; write it as 30s or 5m"))
}

/// Runs the capture through the decisions.
pub(super) fn run(args: ReplayArgs) -> ExitCode {
    super::finish(replay_file(&args))
}

fn replay_file(args: &ReplayArgs) -> Result<(), Box<dyn Error>> {
    let bytes = read(&args.file)?;
    let wrong = |error| format!("{}: {error}", args.file.display());
    let capture = capture::read(&bytes).map_err(wrong)?;
    if capture.is_cut {
        eprintln!("warning: {} breaks off; what is there is replayed", args.file.display());
    }
    let Loaded {
        appliance, snapshot, ..
    } = loaded(&args.config)?;
    for name in &args.armed {
        if snapshot.hosts.by_name(name.as_str()).is_none() {
            return Err(format!("--armed: the inventory has no host `{name}`").into());
        }
    }
    let server = server(args, &snapshot, &capture)?;
    let (interface, mode) = interface(&appliance);
    let settings = ReplaySettings {
        snapshot: &snapshot,
        server,
        mode,
        interface,
        armed: args.armed.clone(),
        length_of: &|root, file| Some(fs::metadata(root.join(file)).ok()?.len()),
    };
    let report = replay(&settings, &capture, args.silence.unwrap_or_default());
    let shown = ReplayShown::new(server, report);
    show(args.json, &shown, text)?;
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let wrong = |error| format!("{}: {error}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(wrong)?;
    file.take(CAPTURE_FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(wrong)?;
    if bytes.len() as u64 > CAPTURE_FILE_BYTES_MAX {
        let max = CAPTURE_FILE_BYTES_MAX / 1024 / 1024;
        let help = "cut out what is of interest: tcpdump -r FILE -w SMALLER 'port 67 or port 69 or port 80'";
        return Err(format!(
            "{}: a capture of more than {max} MiB is not read; {help}",
            path.display()
        )
        .into());
    }
    Ok(bytes)
}

fn loaded(config: &Path) -> Result<Loaded, Box<dyn Error>> {
    let settings = settings_file(config);
    match validation::try_and_load(validation::on_disk(&settings), 1, &mut Deferred) {
        Ok((loaded, _)) => Ok(loaded),
        Err(found) => Err(format!(
            "{}the configuration is unsound: nothing is replayed",
            found.render(report::wants_colours())
        )
        .into()),
    }
}

fn server(args: &ReplayArgs, snapshot: &Snapshot, capture: &CaptureFile<'_>) -> Result<OwnAddress, Box<dyn Error>> {
    let named = args.server.map(|address| {
        let subnet = snapshot.subnet_of(address);
        let cidr = subnet.map(|subnet| subnet.cidr);
        cidr.map(|cidr| OwnAddress { address, cidr })
            .ok_or_else(|| format!("--server: {address} is in no [[subnet]] of the inventory"))
    });
    match named {
        Some(named) => Ok(named?),
        None => server_in(snapshot, capture)
            .ok_or_else(|| "the capture does not show which address the server has: say so by --server ADDRESS".into()),
    }
}

/// The first interface that is served: a capture does not say which of them it is of.
fn interface(appliance: &Appliance) -> (std::sync::Arc<str>, Mode) {
    let first = appliance.interfaces.first();
    first.map_or(("".into(), Mode::Dhcp), |first| {
        (first.name.as_str().into(), first.mode)
    })
}

/// What `--json` prints.
#[derive(Serialize)]
struct ReplayShown {
    /// The address that was played.
    server: Ipv4Addr,
    answers: Vec<AnswerShown>,
    attempts: Vec<AttemptStatus>,
}

/// One answer.
#[derive(Serialize)]
struct AnswerShown {
    /// When, to the millisecond.
    at: String,
    /// Milliseconds since the first answer.
    after_ms: u64,
    machine: String,
    asked: String,
    /// `None` where the capture has not enough of the request, or of its transfer's end.
    stage: Option<Stage>,
    event: Option<&'static str>,
    reason: Option<&'static str>,
    boot: Option<&'static str>,
    address: Option<Ipv4Addr>,
    bytes: Option<u64>,
    answer: Option<String>,
    same_as_captured: Option<bool>,
}

impl ReplayShown {
    fn new(server: OwnAddress, ReplayReport { answers, attempts }: ReplayReport) -> ReplayShown {
        let began = answers.first().map_or(Duration::ZERO, |first| first.at);
        ReplayShown {
            server: server.address,
            answers: answers
                .into_iter()
                .map(|answer| AnswerShown::new(began, answer))
                .collect(),
            attempts: attempts
                .into_iter()
                .map(|(attempt, silence)| AttemptStatus::new(attempt, silence))
                .collect(),
        }
    }
}

impl AnswerShown {
    fn new(began: Duration, answer: ReplayedAnswer) -> AnswerShown {
        let event: Option<&Event> = answer.event.as_ref();
        let step = event.map(|event| &event.step);
        let at = UNIX_EPOCH.checked_add(answer.at).unwrap_or(UNIX_EPOCH);
        AnswerShown {
            at: humantime::format_rfc3339_millis(at).to_string(),
            after_ms: u64::try_from(answer.at.saturating_sub(began).as_millis()).unwrap_or(u64::MAX),
            machine: answer.machine.to_string(),
            asked: answer.asked,
            stage: event.map(|event| event.stage),
            event: step.map(|step| step.name()),
            reason: step.and_then(|step| step.reason()).map(|reason| reason.code().name()),
            boot: step.and_then(|step| step.boot()).map(|boot| boot.name()),
            address: step.and_then(|step| step.address()),
            bytes: step.and_then(|step| step.bytes()),
            answer: step.map(|step| step.to_string()),
            same_as_captured: answer.is_same,
        }
    }

    fn same(&self) -> &'static str {
        match self.same_as_captured {
            Some(true) => "same",
            Some(false) => "DIFFERS",
            None => "",
        }
    }
}

fn text(shown: &ReplayShown) -> String {
    let mut machines: Vec<&str> = shown.answers.iter().map(|answer| &*answer.machine).collect();
    machines.sort_unstable();
    machines.dedup();
    let requests = counted(shown.answers.len(), "request");
    let mut text = format!(
        "{requests} to {}, of {}\n",
        shown.server,
        counted(machines.len(), "machine")
    );
    for machine in machines {
        let of_machine: Vec<&AnswerShown> = shown
            .answers
            .iter()
            .filter(|answer| answer.machine == machine)
            .collect();
        let rows: Vec<[String; 4]> = of_machine.iter().map(|answer| row(answer)).collect();
        let _ = write!(
            text,
            "\n{machine}\n{}",
            table(["AFTER", "ASKED", "CAPTURE", "ANSWER"], &rows)
        );
    }
    for attempt in &shown.attempts {
        let verdict = attempt.verdict.as_ref();
        let is_problem = verdict.is_some_and(|verdict| verdict.severity == Severity::Problem);
        // Writing to a String cannot fail.
        let _ = match is_problem {
            true => write!(text, "\n{}", timeline(attempt)),
            false => writeln!(text, "\n{}: {}", attempt.machine(), standing(attempt)),
        };
    }
    text
}

fn row(answer: &AnswerShown) -> [String; 4] {
    [
        format!("{:.3} s", Duration::from_millis(answer.after_ms).as_secs_f64()),
        answer.asked.clone(),
        answer.same().to_owned(),
        answer
            .answer
            .clone()
            .unwrap_or_else(|| "(the capture has not enough of it)".to_owned()),
    ]
}
