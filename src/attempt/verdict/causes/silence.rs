//! What a silence tells, by how far the machine came before it.

use super::super::{
    BootCause,
    Confidence::{Likely, Possible},
    Severity::Problem,
};
use crate::attempt::{
    step::{FileKind, StepKind},
    timeline::Progress,
};

/// Seconds in which firmware that has an address asks for its loader.
const FETCH_S: u64 = 15;
/// Seconds after which a loader that was not heard waits for its link.
const LINK_S: u64 = 10;
/// Seconds after which a loader that was not heard does not run: spanning tree takes 30, and its DHCP some more.
const LOADER_S: u64 = 60;
/// Seconds in which iPXE asks for its script.
const SCRIPT_S: u64 = 20;
/// Seconds in which a script asks for something.
const SCRIPT_RUN_S: u64 = 60;
/// Seconds in which a kernel asks for an address: a server's kernel unpacks its initrd and waits for its disks before.
const KERNEL_S: u64 = 120;
/// Seconds in which an installer asks for its answer.
const INSTALLER_START_S: u64 = 180;
/// Seconds after which a machine is taken for gone.
const GONE_S: u64 = 120;

/// The causes of that kind.
pub(super) static SILENCE: &[BootCause] = &[
    BootCause {
        name: "script_unfetched",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            trace.last_boot("script")?;
            let is_met = trace.progress() <= Progress::Loader && trace.is_silent(SCRIPT_S);
            is_met.then(|| {
                format!(
                    "iPXE was told its script and has not asked for it for {} s",
                    trace.silence.as_secs()
                )
            })
        },
        action: "let TCP port 80 pass from the machine to this server",
        page: "iPXE has an address and the script's URL. Its request does not come here: a firewall, or a route that leads elsewhere.",
    },
    BootCause {
        name: "nic_closed_in_ipxe",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let autoexec = trace.sent(FileKind::Autoexec)?;
            let is_met = trace.progress() <= Progress::Loader && trace.is_silent(SCRIPT_S);
            let seconds = trace.silence.as_secs();
            is_met.then(|| {
                format!(
                    "iPXE fetched {} and has not come for its script for {seconds} s: it can't open its network card",
                    autoexec.file_name()
                )
            })
        },
        action: "give it another build: `snponly.efi` uses the firmware's own driver; or a newer iPXE",
        page: "iPXE runs, and its first file came over the firmware's network, but its own DHCP was never heard. Its driver does not work with this card.",
    },
    BootCause {
        name: "loader_refused",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let loader = trace.unheard_loader().filter(|_| trace.is_uefi())?;
            let is_met = trace.is_silent(LOADER_S) || trace.asked_after(loader);
            is_met.then(|| {
                format!(
                    "it fetched {} whole and did not run it: Secure Boot refuses it, or it crashed",
                    loader.file_name()
                )
            })
        },
        action: "see its console for \"Access Denied\" or \"Security Violation\"; use a signed loader (shim), or switch Secure Boot off",
        page: "With Secure Boot on, firmware starts only programs that are signed by a key that it knows. It fetches them first, so that all seems well from here.",
    },
    BootCause {
        name: "loader_hangs",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let loader = trace.unheard_loader().filter(|_| trace.is_silent(LOADER_S))?;
            Some(format!(
                "it fetched {} whole, and nothing was heard of it for {} s",
                loader.file_name(),
                trace.silence.as_secs()
            ))
        },
        action: "see its console; try another loader (`undionly.kpxe` beside `ipxe.pxe`, or a newer one)",
        page: "The loader started and hangs, or it waits at a prompt. Old BIOSes and some network cards need another build.",
    },
    BootCause {
        name: "link_slow",
        severity: Problem,
        confidence: Possible,
        find: |trace| {
            let loader = trace.unheard_loader().filter(|_| trace.is_silent(LINK_S))?;
            Some(format!(
                "{} was sent, and no second DISCOVER came for {} s: its switch port is likely in spanning-tree learning",
                loader.file_name(),
                trace.silence.as_secs()
            ))
        },
        action: "set the switch port to edge (portfast), or wait: it comes by itself within a minute",
        page: "A loader resets the network card, and a switch that runs spanning tree keeps a port shut for 30 s after its link comes up.",
    },
    BootCause {
        name: "loader_unfetched",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let told = trace
                .last_boot("loader")
                .filter(|_| trace.is_at(Progress::Addressed) && trace.is_silent(FETCH_S))?;
            Some(match trace.last(StepKind::SizeAsked) {
                Some(asked) => format!("it asked how large {} is, and never for the file", asked.file_name()),
                None => format!(
                    "it was told its loader in {} acknowledgements and never asked for it",
                    told.times
                ),
            })
        },
        action: "let UDP port 69 (and TCP port 80 for HTTP boot) pass from the machine to this server",
        page: "The address came from here, and the request for the file does not come: a firewall drops TFTP, or the firmware asks another server for it.",
    },
    BootCause {
        name: "script_fails",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let script = trace
                .sent(FileKind::Script)
                .filter(|_| trace.is_at(Progress::Script) && !trace.is_told_its_disk())?;
            (script.times >= 3).then(|| {
                format!(
                    "it fetched {} {} times and nothing of its image: the script fails at once",
                    script.file_name(),
                    script.times
                )
            })
        },
        action: "see its console: iPXE says which command failed (https://ipxe.org/err/...)",
        page: "The script ends with an error and asks again, as `retry` does. Usually it has a command that this build of iPXE lacks.",
    },
    BootCause {
        name: "script_stopped",
        severity: Problem,
        confidence: Possible,
        find: |trace| {
            let script = trace
                .sent(FileKind::Script)
                .filter(|_| trace.is_at(Progress::Script) && !trace.is_told_its_disk())?;
            trace.is_silent(SCRIPT_RUN_S).then(|| {
                format!(
                    "it has {} and fetched nothing of its image for {} s",
                    script.file_name(),
                    trace.silence.as_secs()
                )
            })
        },
        action: "see its console: the script waits at a prompt, or hangs",
        page: "The script ran and asked for nothing here: it shows a menu, sleeps, or fetches its files from another server.",
    },
    BootCause {
        name: "kernel_short_of_memory",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let memory = trace.memory_mib().filter(|_| trace.is_short_of_memory())?;
            let is_met = trace.is_at(Progress::Artifacts) && trace.is_silent(KERNEL_S);
            is_met.then(|| {
                format!(
                    "its kernel was not heard in {} s: it has {memory} MiB of memory, and its image's files have {} MiB",
                    trace.silence.as_secs(),
                    trace.image_mib()
                )
            })
        },
        action: "give it more memory, or a smaller initrd; its console says \"out of memory\" or \"Initramfs unpacking failed\"",
        page: "The kernel unpacks its initrd into memory beside the packed one, to twice its length or more. Where that does not fit, it panics before it has a network.",
    },
    BootCause {
        name: "kernel_no_network",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let is_met = trace.is_at(Progress::Artifacts) && trace.is_silent(KERNEL_S);
            is_met.then(|| {
                format!(
                    "it has its kernel and initrd, and its kernel asked for no address in {} s",
                    trace.silence.as_secs()
                )
            })
        },
        action: "see its console: the kernel has no driver for the network card, or it does not start; `console=` must name its serial port",
        page: "The loader's work is done. What comes next is the kernel's own DHCP, for which its initrd must have the card's driver. Systems that need no network look like this too.",
    },
    BootCause {
        name: "answer_unfetched",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let is_met = trace.is_install() && trace.is_at(Progress::System) && trace.attempt.outcome.is_none();
            let seconds = trace.silence.as_secs();
            (is_met && trace.is_silent(INSTALLER_START_S))
                .then(|| format!("its installer has an address and fetched no answer for {seconds} s"))
        },
        action: "see its console; the kernel's parameters must name the answer's URL",
        page: "The installer runs and has the network, but was not told where its answer is, or waits for somebody at the console.",
    },
    BootCause {
        name: "installer_waits_for_optional_file",
        severity: Problem,
        confidence: Possible,
        find: |trace| {
            let missing = trace
                .last(StepKind::OptionalMissing)
                .filter(|step| step.times >= 3 && step.file_kind == Some(FileKind::Answer))?;
            (missing.until_ms == trace.attempt.last_ms).then(|| {
                format!(
                    "its installer asked {} times for {}, which is not there",
                    missing.times,
                    missing.file_name()
                )
            })
        },
        action: "put an empty file of that name into the answer's folder",
        page: "Some installers go on without a file only after they asked for it many times.",
    },
    BootCause {
        name: "gone_after_address",
        severity: Problem,
        confidence: Possible,
        find: |trace| {
            let is_met = trace.is_at(Progress::Addressed) && trace.attempt.outcome.is_none() && trace.is_silent(GONE_S);
            is_met.then(|| format!("it has an address and was not heard for {} s", trace.silence.as_secs()))
        },
        action: "see its console: it was switched off, or boots something else",
        page: "The machine asked for an address as firmware does, and nothing else came of it.",
    },
    BootCause {
        name: "unanswered",
        severity: Problem,
        confidence: Possible,
        find: |trace| {
            let ignored = trace.last(StepKind::Ignored).filter(|_| trace.is_at(Progress::Asked))?;
            Some(format!(
                "it asked {} times and got no answer: {}",
                ignored.times,
                ignored.sentence()
            ))
        },
        action: "see the reason, and what `bootwright check` says",
        page: "A packet is passed over only for a reason, which the sentence names.",
    },
];
