//! Files that a machine asked for and did not get, or not whole.

use super::super::{
    BootCause,
    Confidence::{Certain, Likely, Possible},
    Severity::Problem,
};
use crate::attempt::{
    step::{FileKind, StepKind},
    timeline::Progress,
};
use crate::boot::event::ReasonCode;

/// Seconds after which a machine is taken for gone.
const GONE_S: u64 = 120;
/// A transfer that its client did not take to its end.
const CUT: &[ReasonCode] = &[
    ReasonCode::ConnectionEnded,
    ReasonCode::ClientGone,
    ReasonCode::ClientStalled,
    ReasonCode::ClientGaveUp,
    ReasonCode::ClientSilent,
];
/// A text that could not be rendered.
const UNRENDERED: &[ReasonCode] = &[
    ReasonCode::TemplateFailed,
    ReasonCode::RenderOverlong,
    ReasonCode::RenderBroke,
    ReasonCode::RenderNoThread,
];

/// The causes of that kind.
pub(super) static REFUSED: &[BootCause] = &[
    BootCause {
        name: "loader_missing",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace.stuck_file(
                FileKind::Loader,
                &[
                    ReasonCode::LoaderMissing,
                    ReasonCode::LinkUnfollowed,
                    ReasonCode::FileMissing,
                    ReasonCode::FileUnsafe,
                ],
            )?;
            Some(format!("{} is not to be had: {}", step.file_name(), step.sentence()))
        },
        action: "put the file into a folder of `paths.loaders`, then run `bootwright check`",
        page: "The loader that the machine asks for is in no folder of `paths.loaders`. Another server may have named it.",
    },
    BootCause {
        name: "boot_loop",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let looped = trace
                .last(StepKind::LoaderLoop)
                .filter(|_| trace.progress() <= Progress::Loader)?;
            Some(format!(
                "it fetches its loader again and again, the last time {} s after it was switched on, and never comes for its script",
                looped.until_ms / 1000
            ))
        },
        action: "see its console: Secure Boot may refuse the loader, or the loader finds no network; try another `loader`",
        page: "Each time the firmware has its loader whole and starts it, and then the firmware asks again. The loader does not run, or does not know its network card.",
    },
    BootCause {
        name: "tftp_first_block_lost",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let step = trace.stuck_file(FileKind::Loader, &[ReasonCode::ClientSilent, ReasonCode::NeverHeard])?;
            (step.bytes == 0).then(|| {
                format!(
                    "it asked for {} and never acknowledged the first block of it",
                    step.file_name()
                )
            })
        },
        action: "let UDP pass between the machine and this server on every port above 1023, and look for a smaller MTU on the way",
        page: "A transfer goes on between other ports than the one that was asked. A firewall that knows port 69 alone drops that, and a path whose MTU is smaller than 1500 bytes drops large blocks.",
    },
    BootCause {
        name: "tftp_stalled",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let step = trace.stuck_file(FileKind::Loader, &[ReasonCode::ClientSilent])?;
            Some(format!(
                "its transfer of {} stood still after {} of {} bytes",
                step.file_name(),
                step.bytes,
                step.of
            ))
        },
        action: "look at the cable, the switch port's errors and its duplex setting",
        page: "The machine acknowledged so much and then nothing more: it was switched off, or its network loses packets.",
    },
    BootCause {
        name: "loader_given_up",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let step = trace.stuck_file(FileKind::Loader, &[ReasonCode::ClientGaveUp])?;
            Some(format!(
                "its firmware gave up {}: {}",
                step.file_name(),
                step.sentence()
            ))
        },
        action: "see its console; firmware with little memory or an odd TFTP wants a smaller or another loader",
        page: "The firmware ended the transfer itself, with the words that stand in the sentence.",
    },
    BootCause {
        name: "script_not_written_for_loader",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace.stuck(&[ReasonCode::ScriptForm])?;
            Some(format!("its loader can't read its script: {}", step.sentence()))
        },
        action: "write that script for its loader too, or give the host another `loader`",
        page: "A script is written for iPXE, GRUB or PXELINUX, by its ending. The machine asked with a loader that has none.",
    },
    BootCause {
        name: "script_template_failed",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace.stuck_file(FileKind::Script, UNRENDERED)?;
            Some(format!("its script can't be rendered: {}", step.sentence()))
        },
        action: "`bootwright check` shows the line; mend it and reload",
        page: "The script's template fails for this machine: a variable that only it has, or does not have.",
    },
    BootCause {
        name: "artifact_corrupt",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let codes = [
                ReasonCode::ArtifactWrong,
                ReasonCode::ArtifactUnreadable,
                ReasonCode::FileWrong,
                ReasonCode::FileChanged,
                ReasonCode::FileChangedMeanwhile,
                ReasonCode::FileUnreadable,
                ReasonCode::FileUnsafe,
            ];
            let step = trace.stuck_file(FileKind::Artifact, &codes)?;
            // The sentences of these name the file.
            let is_named = step.has_code(&[ReasonCode::ArtifactWrong, ReasonCode::ArtifactUnreadable]);
            Some(match is_named {
                true => step.sentence().to_owned(),
                false => format!("{} is not served: {}", step.file_name(), step.sentence()),
            })
        },
        action: "fetch or import the image again; `bootwright image verify` names what is wrong",
        page: "The file is not what its sha256 in image.toml says, or the disk does not give it back. It is served to nobody.",
    },
    BootCause {
        name: "artifact_missing",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace.stuck_file(
                FileKind::Artifact,
                &[
                    ReasonCode::ArtifactMissing,
                    ReasonCode::ImageMissing,
                    ReasonCode::FileMissing,
                ],
            )?;
            Some(format!("its script asks for {}: {}", step.file_name(), step.sentence()))
        },
        action: "see the image's name and files (`bootwright image list`), and the script's own URLs",
        page: "The script names a file that no image has. `check` finds that in what it renders; a script may also build a URL on the machine.",
    },
    BootCause {
        name: "image_being_verified",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace
                .stuck(&[ReasonCode::Unverified])
                .filter(|_| !trace.is_silent(GONE_S))?;
            Some(format!("it waits: {}", step.sentence()))
        },
        action: "wait: the image is read once after it changed, and then served",
        page: "A file is served when its bytes are known to be those of its checksum. After a change of the file, or with a new store, that takes as long as reading it.",
    },
    BootCause {
        name: "server_full",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace.stuck(&[
                ReasonCode::TransfersFull,
                ReasonCode::TransfersFullForOne,
                ReasonCode::RequestQueueFull,
                ReasonCode::ConnectionsFull,
                ReasonCode::ConnectionsFullForOne,
                ReasonCode::ConnectionsFullForUnknown,
                ReasonCode::TooManyUnderWay,
                ReasonCode::TooManyWait,
                ReasonCode::GaveWay,
            ])?;
            Some(format!("it found no place: {}", step.sentence()))
        },
        action: "let fewer machines boot at once, or see in `bootwright status` what holds the places",
        page: "Every table of this server has a limit, so that a crowd can't take it down. Machines come again by themselves.",
    },
    BootCause {
        name: "too_little_memory",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let cut = trace.stuck_file(FileKind::Artifact, CUT)?;
            match trace.memory_mib().filter(|_| trace.is_short_of_memory()) {
                Some(memory) => Some(format!(
                    "{} was cut: it has {memory} MiB of memory, and its image's files have {} MiB",
                    cut.file_name(),
                    trace.image_mib()
                )),
                None => (cut.times >= 2).then(|| {
                    format!(
                        "{} was cut {} times and never fetched whole: {}",
                        cut.file_name(),
                        cut.times,
                        cut.sentence()
                    )
                }),
            }
        },
        action: "see its console; a machine with too little memory for the initrd ends its transfer at the same byte each time",
        page: "The loader keeps the kernel and the initrd in memory, and the kernel unpacks it beside that. Where it is too much, loaders stop in the middle. iPXE tells how much memory its machine has where SMBIOS tells it, and `why` shows it.",
    },
    BootCause {
        name: "artifact_cut",
        severity: Problem,
        confidence: Possible,
        find: |trace| {
            let cut = trace.stuck_file(FileKind::Artifact, CUT)?;
            Some(format!(
                "it was gone in the middle of {}: {}",
                cut.file_name(),
                cut.sentence()
            ))
        },
        action: "see whether it was switched off, and its cable",
        page: "The transfer ended before the file did, once. A machine that is switched off in the middle looks like this.",
    },
    BootCause {
        name: "nothing_to_deploy",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace.stuck(&[ReasonCode::NoOrder])?;
            Some(format!("the deployer has no order: {}", step.sentence()))
        },
        action: "give the host an image whose `disk` is a disk image, and run `bootwright check`",
        page: "The deployer asks what to write to which disk. The host's image has no disk image, or what is said of it can't be done.",
    },
    BootCause {
        name: "answer_refused",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace.stuck(&[
                ReasonCode::AnswerOfAnother,
                ReasonCode::AnswerToNobody,
                ReasonCode::AnswerNotNow,
                ReasonCode::AnswerAddressFamily,
                ReasonCode::AnswerUnlisted,
                ReasonCode::AnswerUnnamed,
                ReasonCode::FactsOfAnother,
            ])?;
            Some(format!("its installer got no answer: {}", step.sentence()))
        },
        action: "the machine must ask from the address that it has from here, over IPv4, and be listed with an `answer`",
        page: "An answer may hold secrets, so that it goes to the machine that it is for, at its own address, and while that boots from the network.",
    },
    BootCause {
        name: "answer_file_missing",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace.stuck(&[ReasonCode::AnswerFileMissing])?;
            Some(format!(
                "its installer asks for a file that its answer does not have: {}",
                step.sentence()
            ))
        },
        action: "see the answer's folder, and which name the installer's parameters give",
        page: "An answer that is a folder has several files, and the installer asked for one that is not among them.",
    },
    BootCause {
        name: "answer_template_failed",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace.stuck_file(FileKind::Answer, UNRENDERED)?;
            Some(format!("its answer can't be rendered: {}", step.sentence()))
        },
        action: "`bootwright check` shows the line; mend it and reload",
        page: "The answer's template fails for this machine: a variable that only it has, or does not have.",
    },
];
