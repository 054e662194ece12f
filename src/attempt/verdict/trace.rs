//! What the causes ask an attempt.

use crate::attempt::{
    lines::AttemptLine,
    step::{AttemptStep, FileKind, StepKind},
    timeline::{Attempt, AttemptOutcome, AttemptOwner, Progress},
};
use crate::boot::event::{Circumstance, ReasonCode, Stage, StepCode};
use std::time::Duration;

/// An attempt whose machine is silent for some time.
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    /// The attempt.
    pub attempt: &'a Attempt,
    /// How long its machine was not heard.
    pub silence: Duration,
}

impl<'a> Trace<'a> {
    /// How far it came.
    pub fn progress(&self) -> Progress {
        self.attempt.progress
    }

    /// Whether it came so far, and no farther.
    pub fn is_at(&self, progress: Progress) -> bool {
        self.attempt.progress == progress
    }

    /// Whether nothing was heard for so many seconds.
    pub fn is_silent(&self, seconds: u64) -> bool {
        self.silence >= Duration::from_secs(seconds)
    }

    /// Whether it was told to boot its disk.
    pub fn is_told_its_disk(&self) -> bool {
        self.attempt.outcome == Some(AttemptOutcome::Disk)
    }

    /// Whether it is, or was, to install.
    pub fn is_install(&self) -> bool {
        self.last(StepKind::InstallBegun).is_some() || self.attempt.progress >= Progress::Installer
    }

    /// Its steps of that kind, in the order in which each happened first.
    pub fn of(&self, kind: StepKind) -> impl Iterator<Item = &'a AttemptStep> + use<'a> {
        self.attempt.steps.iter().filter(move |step| step.kind == kind)
    }

    /// The last of that kind.
    pub fn last(&self, kind: StepKind) -> Option<&'a AttemptStep> {
        self.of(kind).max_by_key(|step| step.until_ms)
    }

    /// How often that happened.
    pub fn times(&self, kind: StepKind) -> u32 {
        self.of(kind).map(|step| step.times).fold(0, u32::saturating_add)
    }

    /// Memory in MiB, where its iPXE told it.
    pub fn memory_mib(&self) -> Option<u64> {
        self.attempt.facts.memory_mib.map(u64::from)
    }

    /// MiB of the files of its image that it has, each once, and of the one that was cut.
    pub fn image_mib(&self) -> u64 {
        let artifacts = self
            .attempt
            .steps
            .iter()
            .filter(|step| step.file_kind == Some(FileKind::Artifact));
        let bytes = artifacts.map(|step| match step.of {
            0 => step.bytes / u64::from(step.times.max(1)),
            whole => whole,
        });
        bytes.fold(0, u64::saturating_add) / (1024 * 1024)
    }

    /// Whether its iPXE's files and what the kernel unpacks of them find no room: the loader keeps them once, and the
    /// kernel unpacks them to twice that or more beside.
    pub fn is_short_of_memory(&self) -> bool {
        self.memory_mib()
            .is_some_and(|memory| self.image_mib().saturating_mul(3) > memory)
    }

    /// Whether its firmware is UEFI's.
    pub fn is_uefi(&self) -> bool {
        let mut steps = self.attempt.steps.iter();
        steps.any(|step| matches!(step.stage, Stage::UefiPxe | Stage::UefiHttp))
    }

    /// The last step that told it to boot its disk for one of these reasons, where it is told so still.
    pub fn told_disk(&self, codes: &[Circumstance]) -> Option<&'a AttemptStep> {
        let told = self.attempt.steps.iter().filter(|step| step.has_code(codes));
        told.max_by_key(|step| step.until_ms)
            .filter(|_| self.is_told_its_disk())
    }

    /// The step with which its install failed, for that reason.
    pub fn install_failure(&self, code: Circumstance) -> Option<&'a AttemptStep> {
        let failed = self.last(StepKind::InstallFailed).filter(|step| step.has_code(&[code]));
        failed.filter(|_| self.attempt.outcome == Some(AttemptOutcome::InstallFailed))
    }

    /// The last error in its machine's own log.
    pub fn logged_error(&self) -> Option<&'a AttemptLine> {
        let lines = self.attempt.log.lines.iter();
        lines.rev().find(|line| line.line.is_error())
    }

    /// Whether its machine logged nothing for so many seconds either.
    pub fn is_log_silent(&self, seconds: u64) -> bool {
        let silence_ms = u64::try_from(self.silence.as_millis()).unwrap_or(u64::MAX);
        let now_ms = self.attempt.last_ms.saturating_add(silence_ms);
        now_ms.saturating_sub(self.attempt.log.last_ms()) >= seconds.saturating_mul(1000)
    }

    /// The last line of its machine's own log.
    pub fn logged_last(&self) -> Option<&'a AttemptLine> {
        self.attempt.log.lines.last()
    }

    /// The last step that told it to load that.
    pub fn last_boot(&self, boot: &str) -> Option<&'a AttemptStep> {
        let told = self
            .attempt
            .steps
            .iter()
            .filter(|step| step.boot.as_deref() == Some(boot));
        told.filter(|step| step.kind == StepKind::Acknowledged)
            .max_by_key(|step| step.until_ms)
    }

    /// The loader that was sent whole and not heard since.
    pub fn unheard_loader(&self) -> Option<&'a AttemptStep> {
        let loader = self.sent(FileKind::Loader).filter(|_| self.is_at(Progress::Loader))?;
        self.last_boot("script").is_none().then_some(loader)
    }

    /// The last step with one of these reasons.
    pub fn last_with(&self, codes: &[Circumstance]) -> Option<&'a AttemptStep> {
        let steps = self.attempt.steps.iter().filter(|step| step.has_code(codes));
        steps.max_by_key(|step| step.until_ms)
    }

    /// Whether its machine is no host of the inventory.
    pub fn is_unlisted(&self) -> bool {
        matches!(self.attempt.owner, AttemptOwner::Mac(_))
    }

    /// Whether its firmware asked by DHCP after that.
    pub fn asked_after(&self, step: &AttemptStep) -> bool {
        let mut later = self.attempt.steps.iter().filter(|other| other.until_ms > step.until_ms);
        later.any(|other| other.kind.is_dhcp() && other.stage.is_firmware())
    }

    /// A step with one of these reasons that stands in the way still: nothing that its machine needs was had after it.
    pub fn stuck(&self, codes: &[ReasonCode]) -> Option<&'a AttemptStep> {
        let steps = self.attempt.steps.iter().filter(|step| step.has_code(codes));
        let last = steps.max_by_key(|step| step.until_ms)?;
        let is_past = self.attempt.steps.iter().any(|other| is_progress(other, last));
        (!is_past).then_some(last)
    }

    /// The same of a file of that kind.
    pub fn stuck_file(&self, kind: FileKind, codes: &[ReasonCode]) -> Option<&'a AttemptStep> {
        self.stuck(codes).filter(|step| step.file_kind == Some(kind))
    }

    /// The last file of that kind that was sent whole.
    pub fn sent(&self, kind: FileKind) -> Option<&'a AttemptStep> {
        let sent = self
            .of(StepKind::Sent)
            .filter(|step| step.file_kind == Some(kind) && step.bytes > 0);
        sent.max_by_key(|step| step.until_ms)
    }
}

/// Whether a step shows that its machine got past another.
fn is_progress(step: &AttemptStep, past: &AttemptStep) -> bool {
    let is_later = step.until_ms > past.until_ms.saturating_sub(past.silent_ms);
    let is_same_file = step.file.is_some() && step.file == past.file;
    match step.kind {
        StepKind::Sent if step.bytes > 0 => is_later && (past.file.is_none() || is_same_file || is_next(step, past)),
        StepKind::Acknowledged => is_later && past.kind.is_dhcp(),
        StepKind::InstallStarted | StepKind::InstallProgress | StepKind::Installed => is_later,
        _ => false,
    }
}

/// Whether a file is one that a machine asks for once it has the other.
fn is_next(step: &AttemptStep, past: &AttemptStep) -> bool {
    matches!((step.file_kind, past.file_kind), (Some(step), Some(past)) if step > past && past != FileKind::Callback)
}

impl AttemptStep {
    /// Whether its reason is one of these.
    pub(super) fn has_code<C: Copy + Into<StepCode>>(&self, codes: &[C]) -> bool {
        self.code()
            .is_some_and(|own| codes.iter().any(|code| (*code).into() == *own))
    }

    /// Its reason's sentence.
    pub(super) fn sentence(&self) -> &str {
        self.reason.as_ref().map_or("", |reason| &reason.sentence)
    }

    /// Its file's name.
    pub(super) fn file_name(&self) -> &str {
        self.file.as_deref().unwrap_or("a file")
    }

    /// From when it happened first to when it happened last, in whole seconds.
    pub(super) fn span_s(&self) -> u64 {
        (self.until_ms - self.at_ms.min(self.until_ms)) / 1000
    }
}
