//! What the board shows of each machine: its state, for how long, what is usual, and how far it is.

use crate::admin::api::{AttemptStatus, HostStatus, TransferStatus};
use crate::attempt::{AttemptOutcome, AttemptStep, FileKind, Progress, StepKind, verdict::Severity};
use crate::boot::event::Stage;
use crate::cli::why::standing;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

/// A machine that was not heard for so long rests, whatever it was at.
const RESTS_AFTER: Duration = Duration::from_secs(15 * 60);
/// So many times what is usual is worth a look.
const SLOW_FACTOR: u32 = 2;

/// How the machines are at one moment.
#[derive(Debug, Default)]
pub(super) struct RoomState {
    /// Seconds since 1970.
    pub(super) now: u64,
    pub(super) hosts: Vec<HostStatus>,
    pub(super) attempts: Vec<AttemptStatus>,
    pub(super) transfers: Vec<TransferStatus>,
}

/// How much a machine needs somebody, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// It does not come up.
    Problem,
    /// It takes longer than others did.
    Slow,
    /// It is on its way.
    Busy,
    /// Nothing goes on.
    Quiet,
}

/// A machine on the board.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) urgency: Urgency,
    pub(super) state: String,
    /// How long it is in that state.
    pub(super) since: Option<Duration>,
    /// How long that usually takes.
    pub(super) usual: Option<Duration>,
    /// How far what it is at has come, in percent.
    pub(super) percent: Option<u8>,
    /// What that is, or what the matter is.
    pub(super) note: String,
}

/// What a host is like in what it boots: those that are alike take as long.
pub(super) fn room_of(host: &HostStatus) -> String {
    let or_none = |part: &Option<String>| part.clone().unwrap_or_default();
    [host.boot.clone(), or_none(&host.image), or_none(&host.script)].join("/")
}

/// How long boots usually are in each state: the median, by what they boot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct UsualTimes(BTreeMap<(String, Progress), Duration>);

impl UsualTimes {
    /// Takes in the boots of machines of a kind.
    pub(super) fn add(&mut self, kind: String, attempts: &[AttemptStatus]) {
        let mut times: BTreeMap<Progress, Vec<u64>> = BTreeMap::new();
        for attempt in attempts {
            for (progress, took_ms) in times_of(attempt) {
                times.entry(progress).or_default().push(took_ms);
            }
        }
        for (progress, mut took) in times {
            took.sort_unstable();
            let median = Duration::from_millis(took[took.len() / 2]);
            self.0.insert((kind.clone(), progress), median);
        }
    }

    fn of(&self, kind: &str, progress: Progress) -> Option<Duration> {
        self.0.get(&(kind.to_owned(), progress)).copied()
    }
}

/// How far a step shows a boot to be.
fn progress(step: &AttemptStep) -> Progress {
    match (step.kind, step.file_kind) {
        (StepKind::Offered | StepKind::ProxyOffered, _) if step.stage.is_in_boot() => Progress::Offered,
        (StepKind::Acknowledged | StepKind::AckShortened, _) => match step.stage {
            Stage::System => Progress::System,
            _ => Progress::Addressed,
        },
        (StepKind::Sent, Some(FileKind::Loader)) => Progress::Loader,
        (StepKind::Sent, Some(FileKind::Script)) => Progress::Script,
        (StepKind::Sent, Some(FileKind::Artifact)) => Progress::Artifacts,
        (StepKind::Sent, Some(FileKind::Answer)) => Progress::Answer,
        (StepKind::InstallStarted | StepKind::InstallProgress | StepKind::Installed, _) => Progress::Installer,
        _ => Progress::Asked,
    }
}

/// When a boot came to each state that it was in, in ms since it began.
fn reached(attempt: &AttemptStatus) -> Vec<(Progress, u64)> {
    let mut reached = vec![(Progress::Asked, 0)];
    for step in &attempt.steps {
        let progress = progress(step);
        if reached.last().is_some_and(|(before, _)| progress > *before) {
            reached.push((progress, step.at_ms));
        }
    }
    reached
}

/// How long a boot was in each state that it left.
fn times_of(attempt: &AttemptStatus) -> Vec<(Progress, u64)> {
    let reached = reached(attempt);
    let left = reached
        .windows(2)
        .map(|pair| (pair[0].0, pair[1].1.saturating_sub(pair[0].1)));
    let ended = attempt.steps.iter().find(|step| step.kind == StepKind::Installed);
    let last = ended
        .zip(reached.last())
        .map(|(end, (progress, at))| (*progress, end.at_ms.saturating_sub(*at)));
    left.chain(last).collect()
}

/// The rows of a room, the most urgent first, then by name.
pub(super) fn rows(room: &RoomState, usual: &UsualTimes) -> Vec<Row> {
    let of_host: HashMap<&str, &AttemptStatus> = room
        .attempts
        .iter()
        .filter_map(|attempt| Some((attempt.host.as_deref()?, attempt)))
        .collect();
    let listed = room
        .hosts
        .iter()
        .map(|host| row(room, Some(host), of_host.get(&*host.name).copied(), usual));
    let unlisted = room.attempts.iter().filter(|attempt| attempt.host.is_none());
    let mut rows: Vec<Row> = listed
        .chain(unlisted.map(|attempt| row(room, None, Some(attempt), usual)))
        .collect();
    rows.sort_by(|one, other| (one.urgency, &one.name).cmp(&(other.urgency, &other.name)));
    rows
}

fn row(room: &RoomState, host: Option<&HostStatus>, attempt: Option<&AttemptStatus>, usual: &UsualTimes) -> Row {
    let name = match (host, attempt) {
        (Some(host), _) => host.name.clone(),
        (None, Some(attempt)) => attempt.machine(),
        (None, None) => String::new(),
    };
    let kind = host.map(room_of).unwrap_or_default();
    let install = host.and_then(|host| host.install.as_ref());
    let since = attempt.map(|attempt| in_state(room.now, attempt));
    let usual = attempt.and_then(|attempt| usual.of(&kind, attempt.progress));
    let problem = attempt.and_then(|attempt| attempt.verdict.as_ref());
    let problem = problem.filter(|verdict| verdict.severity == Severity::Problem);
    let has_failed = install.is_some_and(|install| install.state == "failed");
    let is_busy = attempt.is_some_and(|attempt| is_busy(room.now, attempt));
    let is_slow = since
        .zip(usual)
        .is_some_and(|(since, usual)| since > usual * SLOW_FACTOR && is_busy);
    let urgency = match (problem.is_some() || has_failed, is_slow, is_busy) {
        (true, ..) => Urgency::Problem,
        (false, true, _) => Urgency::Slow,
        (false, false, true) => Urgency::Busy,
        (false, false, false) => Urgency::Quiet,
    };
    let (percent, at) = transfer(room, &name).unwrap_or((install.and_then(|install| install.percent), String::new()));
    let state = match attempt {
        Some(attempt) => standing(attempt).to_owned(),
        None => "not seen".to_owned(),
    };
    let reason = install
        .and_then(|install| install.reason.clone())
        .filter(|_| has_failed);
    Row {
        name,
        urgency,
        state,
        since,
        usual,
        percent,
        note: problem.map(|verdict| verdict.sentence.clone()).or(reason).unwrap_or(at),
    }
}

/// The file that is on its way to a machine, and how far it is.
fn transfer(room: &RoomState, machine: &str) -> Option<(Option<u8>, String)> {
    let transfer = room
        .transfers
        .iter()
        .rev()
        .find(|transfer| transfer.machine == machine)?;
    let percent = match transfer.length_bytes {
        0 => 0,
        length => u128::from(transfer.sent_bytes) * 100 / u128::from(length),
    };
    Some((u8::try_from(percent).ok(), transfer.what.clone()))
}

/// How long a boot is where it stands.
fn in_state(now: u64, attempt: &AttemptStatus) -> Duration {
    let reached_ms = reached(attempt).last().map_or(0, |(_, at)| *at);
    let since = attempt.began.wall().0.saturating_add(reached_ms / 1000);
    Duration::from_secs(now.saturating_sub(since))
}

fn is_busy(now: u64, attempt: &AttemptStatus) -> bool {
    let silence = Duration::from_secs(now.saturating_sub(attempt.last().wall().0));
    let installs = attempt.steps.iter().any(|step| step.kind == StepKind::InstallBegun);
    let is_over = match attempt.outcome {
        Some(AttemptOutcome::Disk | AttemptOutcome::Installed | AttemptOutcome::InstallFailed) => true,
        None => attempt.progress >= Progress::System && !installs,
    };
    !is_over && silence < RESTS_AFTER
}
