//! One attempt: its steps in their order, how far it came, and whether an event begins the next one.

use super::{
    lines::AttemptLog,
    step::{AttemptStep, StepKind},
};
use crate::boot::event::{BootAction, Event, InstallEvent, RequestedFile, ScriptChoice, Stage, Step};
use crate::model::{
    InstallNews, MacAddr, MachineFacts, Name, Now, WallTime,
    limits::{ATTEMPT_DISK_SILENCE, ATTEMPT_SILENCE, ATTEMPT_STEP_WINDOW, ATTEMPT_STEPS_MAX},
};
use serde::{Deserialize, Serialize};
use std::{fmt, net::Ipv4Addr, time::Duration};

/// An attempt's number: milliseconds since 1970-01-01 UTC when it began, or the next one that was free. Later ones
/// have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptId(pub u64);

/// Eleven hexadecimal digits, of a date between 2004 and 2527.
impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:011x}", self.0)
    }
}

/// Whose an attempt is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOwner {
    /// A host of the inventory.
    Host(Name),
    /// An unlisted machine.
    Mac(MacAddr),
}

impl fmt::Display for AttemptOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttemptOwner::Host(name) => name.fmt(f),
            AttemptOwner::Mac(mac) => mac.fmt(f),
        }
    }
}

/// How far a boot came: what was there last of what a boot needs, in its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// It asked.
    #[default]
    Asked,
    /// It was offered an address, or a boot file beside another server.
    Offered,
    /// It has an address.
    Addressed,
    /// It has its loader.
    Loader,
    /// It has its script.
    Script,
    /// It has files of an image: a kernel, an initrd.
    Artifacts,
    /// A system or an installer asked for an address.
    System,
    /// An installer has its answer.
    Answer,
    /// An installer said that it began, or how far it is.
    Installer,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Progress::Asked => "asked",
            Progress::Offered => "was offered an address",
            Progress::Addressed => "has an address",
            Progress::Loader => "has its loader",
            Progress::Script => "has its script",
            Progress::Artifacts => "has files of its image",
            Progress::System => "a system asked for an address",
            Progress::Answer => "its installer has its answer",
            Progress::Installer => "its installer is at work",
        })
    }
}

/// What an attempt came to, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// It was told to boot its disk.
    Disk,
    /// Its operating system is installed.
    Installed,
    /// Its install failed.
    InstallFailed,
}

/// One power-on of one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number.
    pub id: AttemptId,
    /// Whose it is.
    pub owner: AttemptOwner,
    /// The link-layer address that it was heard from last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The address that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// The generation of the inventory that it began with.
    pub generation: u64,
    /// When it began.
    pub began: WallTime,
    /// When it was heard last, in ms since it began.
    pub last_ms: u64,
    /// How far it came.
    pub progress: Progress,
    /// What it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AttemptOutcome>,
    /// What its iPXE told of the machine.
    #[serde(default, skip_serializing_if = "MachineFacts::is_empty")]
    pub facts: MachineFacts,
    /// Its steps, at most [`ATTEMPT_STEPS_MAX`].
    pub steps: Vec<AttemptStep>,
    /// Steps that found no room: those between the first and the last ones.
    #[serde(default)]
    pub omitted: u32,
    /// What its machine logged to us. That is no step, and no sign that the boot goes on.
    #[serde(default, skip_serializing_if = "AttemptLog::is_empty")]
    pub log: AttemptLog,
    /// What `began` is on the monotonic clock of this process; before the process began it is negative.
    #[serde(skip)]
    epoch_ms: i128,
}

/// What is in memory of every attempt: whose it is, and when it was heard. Its steps are on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptHead {
    /// Its number.
    pub id: AttemptId,
    /// Whose it is.
    pub owner: AttemptOwner,
    /// When it began.
    pub began: WallTime,
    /// When it was heard last, in ms since it began.
    pub last_ms: u64,
}

impl AttemptHead {
    /// How long it was not heard, by the clock on the wall: the process that heard it is gone. A clock that is behind
    /// (of a host without a battery, before it asked for the time) does not say that all of them were heard just now.
    pub(super) fn silence(&self, now: Now) -> Duration {
        let heard = self.began.0.saturating_mul(1000).saturating_add(self.last_ms);
        Duration::from_millis(now.wall.0.saturating_mul(1000).abs_diff(heard))
    }
}

fn ms(time: Duration) -> i128 {
    i128::try_from(time.as_millis()).unwrap_or(i128::MAX)
}

impl Attempt {
    /// What a start needs of it.
    pub fn head(&self) -> AttemptHead {
        AttemptHead {
            id: self.id,
            owner: self.owner.clone(),
            began: self.began,
            last_ms: self.last_ms,
        }
    }

    /// One that begins with an event.
    pub(super) fn begin(id: AttemptId, owner: AttemptOwner, generation: u64, event: &Event) -> Attempt {
        let mut attempt = Attempt {
            id,
            owner,
            mac: None,
            address: None,
            generation,
            began: event.at.wall,
            last_ms: 0,
            progress: Progress::Asked,
            outcome: None,
            facts: MachineFacts::default(),
            steps: Vec::new(),
            omitted: 0,
            log: AttemptLog::default(),
            epoch_ms: ms(event.at.monotonic),
        };
        attempt.observe(event);
        attempt
    }

    /// Puts one that was read from disk onto this process's clock.
    pub fn resume(&mut self, now: Now) {
        let passed = u64::saturating_sub(now.wall.0, self.began.0).saturating_mul(1000);
        // What was heard lies behind, whatever was done to the host's clock meanwhile.
        self.epoch_ms = ms(now.monotonic) - i128::from(passed.max(self.last_ms));
    }

    fn at_ms(&self, now: Now) -> u64 {
        u64::try_from(ms(now.monotonic) - self.epoch_ms).unwrap_or(0)
    }

    /// How long it was not heard.
    pub fn silence(&self, now: Now) -> Duration {
        Duration::from_millis(self.at_ms(now).saturating_sub(self.last_ms))
    }

    /// How long nothing came that is kept of it: no line of its log either.
    pub(super) fn rest(&self, now: Now) -> Duration {
        let last_ms = self.log.last_ms().max(self.last_ms);
        Duration::from_millis(self.at_ms(now).saturating_sub(last_ms))
    }

    /// How long it was not heard before its machine's next attempt began.
    pub fn silence_before(&self, next: AttemptId) -> Duration {
        let last = self.id.0.saturating_add(self.last_ms);
        Duration::from_millis(next.0.saturating_sub(last))
    }

    /// Whether an event of its machine is the first of the next attempt.
    pub(super) fn is_over_at(&self, event: &Event) -> bool {
        if !event.stage.is_in_boot() {
            return false;
        }
        let silence = self.silence(event.at);
        let is_asking = StepKind::from(&event.step).is_dhcp();
        silence >= ATTEMPT_SILENCE
            || (is_asking && event.stage.is_firmware() && self.progress >= Progress::Script)
            || (is_asking && self.progress >= Progress::Artifacts)
            || (is_asking && self.outcome == Some(AttemptOutcome::Disk) && silence >= ATTEMPT_DISK_SILENCE)
    }

    /// Takes an event of its machine in.
    pub(super) fn observe(&mut self, event: &Event) {
        if let Step::Logged(said) = &event.step {
            self.log.take_in(said, self.at_ms(event.at));
            return;
        }
        let at_ms = self.at_ms(event.at).max(self.last_ms);
        self.last_ms = at_ms;
        self.mac = event.machine.hardware.and_then(|hardware| hardware.mac()).or(self.mac);
        if matches!(event.step, Step::Acknowledged { .. } | Step::AckShortened { .. }) {
            self.address = event.step.address().or(self.address);
        }
        self.progress = self.progress.max(progress(event));
        if let Some(RequestedFile::Script { facts: Some(facts), .. }) = event.step.file() {
            self.facts.update(facts);
        }
        if let Some(outcome) = outcome(event) {
            self.outcome = outcome;
        }
        self.keep(AttemptStep::new(event, at_ms));
    }

    /// A step that repeats one of the last is counted there: firmware alternates between a few.
    fn keep(&mut self, step: AttemptStep) {
        let last = self.steps.iter_mut().rev().take(ATTEMPT_STEP_WINDOW);
        for earlier in last {
            if earlier.is_repeated_by(&step) {
                return earlier.repeat(step);
            }
        }
        if self.steps.len() >= ATTEMPT_STEPS_MAX {
            // How it began says most, and how it stands; what is dropped lies between.
            self.steps.remove(ATTEMPT_STEPS_MAX / 2);
            self.omitted = self.omitted.saturating_add(1);
        }
        self.steps.push(step);
    }
}

/// How far an event shows a boot to be.
fn progress(event: &Event) -> Progress {
    match &event.step {
        Step::Offered { .. } | Step::ProxyOffered { .. } if event.stage.is_in_boot() => Progress::Offered,
        Step::Acknowledged { .. } | Step::AckShortened { .. } => match event.stage {
            Stage::System => Progress::System,
            _ => Progress::Addressed,
        },
        Step::Sent { file, bytes: 1.., .. } => match file {
            RequestedFile::Loader { .. } => Progress::Loader,
            RequestedFile::Script { .. } => Progress::Script,
            RequestedFile::Answer { .. } | RequestedFile::Metadata { .. } | RequestedFile::Order => Progress::Answer,
            RequestedFile::Artifact { .. } => Progress::Artifacts,
            _ => Progress::Asked,
        },
        Step::Install(InstallEvent {
            news: InstallNews::Started | InstallNews::Progressed | InstallNews::Done,
            ..
        }) => Progress::Installer,
        _ => Progress::Asked,
    }
}

/// What an event says of what its machine boots: `None` says nothing, and `Some(None)` that it is not its disk.
#[expect(clippy::option_option, reason = "each level has its own meaning")]
fn outcome(event: &Event) -> Option<Option<AttemptOutcome>> {
    let disk = Some(AttemptOutcome::Disk);
    match (&event.step, event.step.boot()) {
        (_, Some(BootAction::Disk { .. })) if event.stage.is_in_boot() => Some(disk),
        (_, Some(BootAction::Loader { .. } | BootAction::Script { .. })) => Some(None),
        (
            Step::Sent {
                file: RequestedFile::Script { choice, .. },
                ..
            },
            _,
        ) => Some(disk.filter(|_| matches!(choice, ScriptChoice::Disk(_)))),
        (Step::Install(InstallEvent { news, .. }), _) => match news {
            InstallNews::Done => Some(Some(AttemptOutcome::Installed)),
            InstallNews::Failed => Some(Some(AttemptOutcome::InstallFailed)),
            InstallNews::Begun | InstallNews::Started | InstallNews::Progressed => Some(None),
            InstallNews::Armed | InstallNews::Disarmed | InstallNews::Expired => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::events::{
        acknowledged, at, install, logged, offered, sent_artifact, sent_script, told_its_disk,
    };
    use crate::model::limits::SYSLOG_LINES_KEPT_MAX;

    fn begun() -> Attempt {
        let owner = AttemptOwner::Host("r1u07".parse().unwrap());
        Attempt::begin(AttemptId(7), owner, 3, &offered(at(100), Stage::UefiPxe))
    }

    fn heard(events: &[Event]) -> Attempt {
        let mut attempt = begun();
        for event in events {
            assert!(!attempt.is_over_at(event), "{event:?}");
            attempt.observe(event);
        }
        attempt
    }

    #[test]
    fn a_boot_is_followed_through_its_stages() {
        let attempt = heard(&[
            acknowledged(at(101), Stage::UefiPxe),
            offered(at(110), Stage::Ipxe),
            acknowledged(at(111), Stage::Ipxe),
            sent_script(at(112)),
            sent_artifact(at(120), "linux", 10),
            sent_artifact(at(130), "initrd", 20),
            offered(at(150), Stage::System),
            acknowledged(at(151), Stage::System),
        ]);
        assert_eq!(attempt.progress, Progress::System);
        assert_eq!(attempt.last_ms, 51_000);
        assert_eq!(attempt.address, Some(Ipv4Addr::new(192, 0, 2, 11)));
        let seen: Vec<(u64, StepKind)> = attempt.steps.iter().map(|step| (step.at_ms, step.kind)).collect();
        assert_eq!(seen[4], (12_000, StepKind::Sent));
        assert_eq!(attempt.steps.iter().map(|step| step.bytes).sum::<u64>(), 31);
        assert_eq!(attempt.steps.len(), 9);
    }

    #[test]
    fn firmware_that_repeats_itself_is_one_attempt_and_counted() {
        let mut attempt = begun();
        for second in 101..160 {
            let event = match second % 2 {
                0 => offered(at(second), Stage::UefiPxe),
                _ => acknowledged(at(second), Stage::UefiPxe),
            };
            assert!(!attempt.is_over_at(&event));
            attempt.observe(&event);
        }
        let times: Vec<u32> = attempt.steps.iter().map(|step| step.times).collect();
        assert_eq!(times, [30, 30]);
        assert_eq!(attempt.steps[0].until_ms, 58_000);
    }

    #[test]
    fn the_next_attempt_begins_where_a_machine_was_started_anew() {
        let scripted = heard(&[sent_script(at(110))]);
        assert!(scripted.is_over_at(&offered(at(111), Stage::BiosPxe)));
        // iPXE asks again, and its user may.
        assert!(!scripted.is_over_at(&offered(at(111), Stage::Ipxe)));
        let booted = heard(&[sent_script(at(110)), sent_artifact(at(111), "linux", 1)]);
        assert!(booted.is_over_at(&offered(at(112), Stage::Ipxe)));
        assert!(!booted.is_over_at(&sent_artifact(at(113), "initrd", 1)));
        assert!(!booted.is_over_at(&acknowledged(at(100_000), Stage::System)));
        let silent = begun();
        let silence = ATTEMPT_SILENCE.as_secs();
        assert!(!silent.is_over_at(&offered(at(99 + silence), Stage::UefiPxe)));
        assert!(silent.is_over_at(&offered(at(100 + silence), Stage::UefiPxe)));
    }

    #[test]
    fn a_machine_that_was_sent_to_its_disk_begins_anew_after_a_shorter_silence() {
        let told = heard(&[told_its_disk(at(101))]);
        assert_eq!(told.outcome, Some(AttemptOutcome::Disk));
        // An operator changed that, and was quick.
        let changed = heard(&[told_its_disk(at(101)), sent_script(at(130))]);
        assert_eq!(changed.outcome, None);
        let silence = ATTEMPT_DISK_SILENCE.as_secs();
        assert!(!told.is_over_at(&offered(at(100 + silence), Stage::UefiPxe)));
        assert!(told.is_over_at(&offered(at(101 + silence), Stage::UefiPxe)));
    }

    #[test]
    fn an_install_is_followed_to_its_end() {
        let mut attempt = heard(&[sent_script(at(110)), install(at(120), InstallNews::Progressed)]);
        assert_eq!((attempt.progress, attempt.outcome), (Progress::Installer, None));
        attempt.observe(&install(at(130), InstallNews::Done));
        assert_eq!(attempt.outcome, Some(AttemptOutcome::Installed));
        let failed = heard(&[install(at(120), InstallNews::Failed)]);
        assert_eq!(failed.outcome, Some(AttemptOutcome::InstallFailed));
        assert_eq!(failed.steps.last().unwrap().kind, StepKind::InstallFailed);
    }

    #[test]
    fn steps_are_bounded_and_the_first_and_the_last_stay() {
        let mut attempt = begun();
        for number in 0..3 * ATTEMPT_STEPS_MAX {
            attempt.observe(&sent_artifact(at(101), &format!("file-{number}"), 1));
        }
        assert_eq!(attempt.steps.len(), ATTEMPT_STEPS_MAX);
        assert_eq!(attempt.omitted as usize, 2 * ATTEMPT_STEPS_MAX + 1);
        assert_eq!(attempt.steps[0].kind, StepKind::Offered);
        assert_eq!(attempt.steps[1].file.as_deref(), Some("image debian/file-0"));
        let last = format!("image debian/file-{}", 3 * ATTEMPT_STEPS_MAX - 1);
        assert_eq!(attempt.steps.last().unwrap().file.as_deref(), Some(&*last));
    }

    #[test]
    fn a_flood_of_its_own_log_leaves_its_steps_and_the_last_lines_of_it() {
        let mut attempt = heard(&[sent_script(at(110))]);
        let steps = attempt.steps.clone();
        for second in 0..1000 {
            let lines: Vec<String> = (0..20).map(|line| format!("<6>line {second}.{line}")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let event = logged(at(111 + second), &lines);
            assert!(!attempt.is_over_at(&event));
            attempt.observe(&event);
        }
        assert_eq!(
            (&attempt.steps, attempt.last_ms, attempt.progress),
            (&steps, 10_000, Progress::Script)
        );
        assert_eq!(
            (attempt.log.lines.len(), attempt.log.count()),
            (SYSLOG_LINES_KEPT_MAX, 20_000)
        );
        let last = attempt.log.lines.last().unwrap();
        assert_eq!((last.at_ms, &*last.line.text), (1_010_000, "line 999.19"));
        // It may be silent as a boot, and is kept in memory while it logs.
        assert_eq!(attempt.silence(at(1120)), Duration::from_secs(1010));
        assert_eq!(attempt.rest(at(1120)), Duration::from_secs(10));
        let read: Attempt = serde_json::from_slice(&serde_json::to_vec(&attempt).unwrap()).unwrap();
        assert_eq!(read.log, attempt.log);
        let bytes = serde_json::to_vec(&attempt.log).unwrap().len();
        assert!(bytes < SYSLOG_LINES_KEPT_MAX * 400, "{bytes}");
    }

    #[test]
    fn one_from_disk_goes_on_where_it_was() {
        let attempt = heard(&[sent_script(at(110))]);
        let mut read: Attempt = serde_json::from_slice(&serde_json::to_vec(&attempt).unwrap()).unwrap();
        // Another process, whose monotonic clock began anew.
        let now = Now {
            monotonic: Duration::from_secs(1),
            wall: at(125).wall,
        };
        read.resume(now);
        assert_eq!(read.silence(now), Duration::from_secs(15));
        let later = Event {
            at: now.after(Duration::from_secs(5)),
            ..sent_artifact(now, "linux", 9)
        };
        read.observe(&later);
        assert_eq!(read.last_ms, 30_000);
        assert_eq!(read.steps.last().unwrap().at_ms, 30_000);
        // A clock that was set back takes nothing back.
        read.resume(Now {
            monotonic: Duration::from_secs(2),
            wall: WallTime(5),
        });
        assert_eq!(
            read.silence(Now {
                monotonic: Duration::from_secs(3),
                wall: WallTime(6)
            }),
            Duration::from_secs(1)
        );
    }
}
