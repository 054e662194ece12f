//! The operator's files, what machines load first, and the files of images.

use super::{
    CheckName, Diagnoses, DoctorFacts,
    facts::{LoaderFacts, LoaderState},
    signature::{MicrosoftCa, Signatures},
};
use crate::model::{Arch, Cpu};

pub(super) fn judge_files(facts: &DoctorFacts, found: &mut Diagnoses) {
    let files = &facts.files;
    for (message, help) in &files.errors {
        let help = help.as_deref().unwrap_or("`bootwright check` shows the line");
        found.red(CheckName::Files, "inventory", format_args!("{message}"), help);
    }
    match files.warnings {
        _ if !files.errors.is_empty() => {}
        0 => found.green(
            CheckName::Files,
            "inventory",
            format_args!("`bootwright check` finds nothing wrong"),
        ),
        count => found.green(
            CheckName::Files,
            "inventory",
            format_args!("sound; `bootwright check` warns of {count} things"),
        ),
    }
    let Some(daemon) = &facts.daemon else { return };
    let subject = format_args!("process {}", daemon.pid);
    if let Some(why) = &daemon.unwritable {
        found.red(
            CheckName::Daemon,
            subject,
            format_args!("it can't write leases, so it acknowledges none: {why}"),
            "make room on the disk of [state], or mend it",
        );
    }
    if daemon.has_refused {
        found.amber(
            CheckName::Daemon,
            subject,
            format_args!("it refused the files as they are now and serves those before"),
            "`bootwright check` shows what is wrong with them; then `bootwright reload`",
        );
    }
    for setting in &daemon.restart_needed_for {
        found.amber(
            CheckName::Daemon,
            subject,
            format_args!("the setting `{setting}` was changed and holds only after a restart"),
            "systemctl restart bootwright",
        );
    }
    if daemon.unwritable.is_none() && !daemon.has_refused && daemon.restart_needed_for.is_empty() {
        let (version, generation) = (&daemon.version, daemon.generation);
        found.green(
            CheckName::Daemon,
            subject,
            format_args!("bootwright {version} serves generation {generation}"),
        );
    }
}

pub(super) fn judge_loaders(facts: &DoctorFacts, found: &mut Diagnoses) {
    for LoaderFacts { arch, file, state } in &facts.loaders {
        let name = file.as_deref().unwrap_or("-");
        match state {
            LoaderState::Missing => found.red(
                CheckName::Loader,
                arch,
                format_args!("there is no loader for {arch}, and machines of the inventory have that firmware"),
                "install the package `ipxe`, or name the folder that has one in `loaders` under [paths]",
            ),
            LoaderState::Unreadable(why) => found.red(
                CheckName::Loader,
                arch,
                format_args!("its loader {name} can't be read: {why}"),
                "let the daemon's user read it, and every folder on the way",
            ),
            LoaderState::Unsignable => found.green(CheckName::Loader, arch, format_args!("{name} is there")),
            LoaderState::Efi(signatures) => {
                found.green(CheckName::Loader, arch, format_args!("{name} is there"));
                judge_signatures((*arch, name), signatures, found);
            }
        }
    }
}

const BOTH: &str = "use a shim that has both signatures (Debian's of 16.1 and later), or see that every machine's firmware \
                    knows this one (`mokutil --db`)";

/// Firmware looks at no date: a program goes on booting wherever its authority is known.
fn judge_signatures((arch, name): (Arch, &str), signatures: &Signatures, found: &mut Diagnoses) {
    let signers = &signatures.signers;
    if let Some(why) = &signatures.unreadable {
        let remedy = "get the file anew: a signature that can't be read is one that firmware refuses";
        let sentence = format_args!("the signature of {name} can't be read: {why}");
        return found.amber(CheckName::Signature, arch, sentence, remedy);
    }
    let has = |ca| signers.iter().any(|signer| signer.ca == Some(ca));
    match (has(MicrosoftCa::Uefi2011), has(MicrosoftCa::Uefi2023)) {
        _ if signers.is_empty() => found.green(
            CheckName::Signature,
            arch,
            format_args!("{name} is not signed: it boots where Secure Boot is off"),
        ),
        (true, true) => found.green(
            CheckName::Signature,
            arch,
            format_args!("{name} is {signatures}: firmware of either age takes it"),
        ),
        (true, false) => found.amber(
            CheckName::Signature,
            arch,
            format_args!(
                "{name} is {signatures}: with Secure Boot on, machines that know only the Microsoft UEFI CA 2023 refuse it"
            ),
            BOTH,
        ),
        (false, true) => found.amber(
            CheckName::Signature,
            arch,
            format_args!(
                "{name} is {signatures}: with Secure Boot on, machines that know only the Microsoft UEFI CA 2011 refuse it"
            ),
            BOTH,
        ),
        (false, false) if matches!(arch.cpu, Cpu::X86_64 | Cpu::Arm64) => found.amber(
            CheckName::Signature,
            arch,
            format_args!("{name} is {signatures}: with Secure Boot on, only machines that were given that key run it"),
            "enrol that key in each machine, or use a shim that Microsoft signed",
        ),
        (false, false) => found.green(CheckName::Signature, arch, format_args!("{name} is {signatures}")),
    }
}

pub(super) fn judge_images(facts: &DoctorFacts, found: &mut Diagnoses) {
    let Some(images) = &facts.images else { return };
    for (file, why) in &images.unserved {
        match why {
            Some(why) => found.red(
                CheckName::Image,
                file,
                format_args!("it is not served: {why}"),
                "fetch or copy it anew, and see `bootwright image verify`",
            ),
            None => found.amber(
                CheckName::Image,
                file,
                format_args!("it is not served yet: it is being verified"),
                "wait: `bootwright status` says how far it is",
            ),
        }
    }
    if images.unserved.is_empty() {
        let (sound, read) = (images.sound, images.read);
        let sentence =
            format_args!("{sound} files are there with the right size; of {read} every byte is known to be right");
        found.green(CheckName::Image, "images", sentence);
    }
}
