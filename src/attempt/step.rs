//! An event as an attempt keeps it: small, bounded, and to be read back by later versions.

use crate::boot::event::{BootAction, Event, InstallEvent, Reason, RequestedFile, ScriptChoice, Stage, Step, StepCode};
use crate::model::{InstallNews, limits::ATTEMPT_TEXT_BYTES_MAX, text::prefix};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, net::Ipv4Addr};

macro_rules! step_kinds {
    ($($variant:ident $pattern:pat,)*) => {
        /// What happened, without its details. On disk and in JSON it is [`Step::name`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[expect(missing_docs, reason = "each is the step of that name")]
        pub enum StepKind {
            $($variant,)*
            /// One of a newer version.
            #[serde(other)]
            Other,
        }

        impl From<&Step> for StepKind {
            fn from(step: &Step) -> StepKind {
                match step {
                    $($pattern => StepKind::$variant,)*
                }
            }
        }
    };
}

step_kinds! {
    Offered Step::Offered { .. },
    ProxyOffered Step::ProxyOffered { .. },
    Acknowledged Step::Acknowledged { .. },
    ReservationUnavailable Step::ReservationUnavailable { .. },
    AckShortened Step::AckShortened { .. },
    Refused Step::Refused { .. },
    Released Step::Released { .. },
    Declined Step::Declined { .. },
    ReservationConflict Step::ReservationConflict { .. },
    AddressInUse Step::AddressInUse { .. },
    NoIpv6Router Step::NoIpv6Router,
    Sent Step::Sent { .. },
    Failed Step::Failed { .. },
    OptionalMissing Step::OptionalMissing { .. },
    Waits Step::Waits { .. },
    ComeBack Step::ComeBack { .. },
    SizeAsked Step::SizeAsked { .. },
    StartedOver Step::StartedOver { .. },
    Evicted Step::Evicted { .. },
    TurnedAway Step::TurnedAway { .. },
    WrongPort Step::WrongPort { .. },
    LoaderLoop Step::LoaderLoop { .. },
    ChoseOtherServer Step::ChoseOtherServer { .. },
    PoolExhausted Step::PoolExhausted { .. },
    Ignored Step::Ignored { .. },
    Logged Step::Logged(_),
    Armed Step::Install(InstallEvent { news: InstallNews::Armed, .. }),
    Disarmed Step::Install(InstallEvent { news: InstallNews::Disarmed, .. }),
    ArmingExpired Step::Install(InstallEvent { news: InstallNews::Expired, .. }),
    InstallBegun Step::Install(InstallEvent { news: InstallNews::Begun, .. }),
    InstallStarted Step::Install(InstallEvent { news: InstallNews::Started, .. }),
    InstallProgress Step::Install(InstallEvent { news: InstallNews::Progressed, .. }),
    Installed Step::Install(InstallEvent { news: InstallNews::Done, .. }),
    InstallFailed Step::Install(InstallEvent { news: InstallNews::Failed, .. }),
}

impl StepKind {
    /// Whether it is a DHCP request's, and no file's.
    pub fn is_dhcp(self) -> bool {
        match self {
            StepKind::Offered
            | StepKind::ProxyOffered
            | StepKind::Acknowledged
            | StepKind::ReservationUnavailable
            | StepKind::AckShortened
            | StepKind::Refused
            | StepKind::Released
            | StepKind::Declined
            | StepKind::ReservationConflict
            | StepKind::AddressInUse
            | StepKind::WrongPort
            | StepKind::ChoseOtherServer
            | StepKind::PoolExhausted
            | StepKind::Ignored => true,
            StepKind::NoIpv6Router
            | StepKind::Sent
            | StepKind::Failed
            | StepKind::OptionalMissing
            | StepKind::Waits
            | StepKind::ComeBack
            | StepKind::SizeAsked
            | StepKind::StartedOver
            | StepKind::Evicted
            | StepKind::TurnedAway
            | StepKind::LoaderLoop
            | StepKind::Logged
            | StepKind::Armed
            | StepKind::Disarmed
            | StepKind::ArmingExpired
            | StepKind::InstallBegun
            | StepKind::InstallStarted
            | StepKind::InstallProgress
            | StepKind::Installed
            | StepKind::InstallFailed
            | StepKind::Other => false,
        }
    }
}

/// What a file is for, in the order in which a boot asks for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A loader.
    Loader,
    /// What leads an iPXE to its script.
    Autoexec,
    /// A script.
    Script,
    /// A file of an image: a kernel, an initrd.
    Artifact,
    /// A file of an installer's answer, or a deployer's order.
    Answer,
    /// What an installer sends back.
    Callback,
    /// Anything else, or what a newer version knows.
    #[serde(other)]
    Other,
}

impl From<&RequestedFile> for FileKind {
    fn from(file: &RequestedFile) -> FileKind {
        match file {
            RequestedFile::Loader { .. } => FileKind::Loader,
            RequestedFile::Autoexec => FileKind::Autoexec,
            RequestedFile::Script { .. } => FileKind::Script,
            RequestedFile::Artifact { .. } => FileKind::Artifact,
            RequestedFile::Answer { .. } | RequestedFile::Metadata { .. } | RequestedFile::Order => FileKind::Answer,
            RequestedFile::Callback { .. } => FileKind::Callback,
            RequestedFile::SshKeys
            | RequestedFile::Disks
            | RequestedFile::Path { .. }
            | RequestedFile::HttpRequest { .. }
            | RequestedFile::TftpWrite { .. }
            | RequestedFile::DhcpReply => FileKind::Other,
        }
    }
}

/// Why it came to a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReason {
    /// The same in a word.
    pub code: StepCode,
    /// Its sentence, at most [`ATTEMPT_TEXT_BYTES_MAX`] bytes.
    pub sentence: Box<str>,
}

/// One step, and how often it was repeated without anything new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptStep {
    /// When it happened first, in ms since the attempt began.
    pub at_ms: u64,
    /// When it happened last, the same.
    pub until_ms: u64,
    /// How often.
    pub times: u32,
    /// Where in its boot the machine stood.
    pub stage: Stage,
    /// What happened.
    #[serde(rename = "event")]
    pub kind: StepKind,
    /// The file that it is about, at most [`ATTEMPT_TEXT_BYTES_MAX`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Box<str>>,
    /// What kind of file that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_kind: Option<FileKind>,
    /// The address that it is about; the other DHCP server's, where its offer was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// What the machine was told to load, in a word ([`crate::boot::event::BootAction::name`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Cow<'static, str>>,
    /// Bytes that went out, of all repetitions; of a transfer that was cut, those that its client had the last time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// Bytes of the whole file, where its transfer was cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub of: u64,
    /// How long the machine had done nothing about it by the last time, in ms: what a wait finds out is told late.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub silent_ms: u64,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<StepReason>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

impl AttemptStep {
    /// The event as a step, `at_ms` after the attempt began.
    pub fn new(event: &Event, at_ms: u64) -> AttemptStep {
        let step = &event.step;
        let cut = cut(step);
        AttemptStep {
            at_ms,
            until_ms: at_ms,
            times: 1,
            stage: event.stage,
            kind: StepKind::from(step),
            file: step.file().map(|file| bounded(&file.short())),
            file_kind: step.file().map(FileKind::from),
            address: match step {
                Step::ChoseOtherServer { server } => Some(*server),
                _ => step.address(),
            },
            boot: step.boot().map(|boot| Cow::Borrowed(boot.name())),
            bytes: step.bytes().or(cut.map(|(had, _)| had)).unwrap_or(0),
            of: cut.map_or(0, |(_, length)| length),
            silent_ms: match step.reason() {
                Some(Reason::ClientSilent { ago, .. }) => ago.0,
                _ => 0,
            },
            reason: reason(step),
        }
    }

    /// Whether `later` is the same once more: only when, how many bytes and the words of the reason may differ.
    pub fn is_repeated_by(&self, later: &AttemptStep) -> bool {
        self.kind == later.kind
            && self.stage == later.stage
            && self.file == later.file
            && self.address == later.address
            && self.boot == later.boot
            && self.code() == later.code()
    }

    /// Why, in a word.
    pub fn code(&self) -> Option<&StepCode> {
        self.reason.as_ref().map(|reason| &reason.code)
    }

    /// Takes a repetition in. The last words count.
    pub(super) fn repeat(&mut self, later: AttemptStep) {
        self.until_ms = self.until_ms.max(later.until_ms);
        self.times = self.times.saturating_add(later.times);
        self.bytes = match later.of {
            0 => self.bytes.saturating_add(later.bytes),
            _ => later.bytes,
        };
        self.of = later.of;
        self.silent_ms = later.silent_ms;
        self.reason = later.reason;
    }
}

/// Why it came to a step: also why a machine boots its disk, why its install failed, and what does not fit between its
/// own words and the inventory.
fn reason(step: &Step) -> Option<StepReason> {
    let because = |circumstance, sentence: &dyn fmt::Display| StepReason {
        code: StepCode::Circumstance(circumstance),
        sentence: bounded(sentence),
    };
    match (step, step.boot()) {
        (_, Some(BootAction::Disk { why })) => Some(because((*why).into(), why)),
        (
            Step::Sent {
                file:
                    RequestedFile::Script {
                        choice: ScriptChoice::Disk(why),
                        ..
                    },
                ..
            },
            _,
        ) => Some(because((*why).into(), why)),
        (Step::Install(InstallEvent { failure: Some(why), .. }), _) => Some(because(why.into(), why)),
        (Step::ReservationUnavailable { own, why, .. }, _) => {
            Some(because(why.into(), &format_args!("its own address {own} {why}")))
        }
        _ => {
            let mismatch = || step.mismatch().map(|mismatch| because(mismatch.into(), mismatch));
            let reason = step.reason().map(|reason| StepReason {
                code: StepCode::Reason(reason.code()),
                sentence: bounded(reason),
            });
            reason.or_else(mismatch)
        }
    }
}

/// How far a transfer came that was cut, and of how much, in bytes.
fn cut(step: &Step) -> Option<(u64, u64)> {
    match step.reason()? {
        Reason::ClientGaveUp { had, length, .. }
        | Reason::ClientSilent { had, length, .. }
        | Reason::ConnectionEnded { had, length }
        | Reason::ClientGone { had, length }
        | Reason::ClientStalled { had, length } => Some((*had, *length)),
        _ => None,
    }
}

/// A text as it is kept: what machines say of themselves may be long.
fn bounded(shown: &dyn fmt::Display) -> Box<str> {
    let shown = shown.to_string();
    prefix(&shown, ATTEMPT_TEXT_BYTES_MAX).into()
}
