//! Installs that came to nothing.

use super::super::{
    BootCause,
    Confidence::{Certain, Likely},
    Severity::Problem,
};
use crate::attempt::timeline::Progress;
use crate::boot::event::{Circumstance, ReasonCode};

/// Seconds after which an installer that says nothing is looked after.
const INSTALLER_QUIET_S: u64 = 1800;

/// The causes of that kind.
pub(super) static INSTALLS: &[BootCause] = &[
    BootCause {
        name: "installer_failed",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let failed = trace.install_failure(Circumstance::InstallReported)?;
            let logged = trace
                .logged_error()
                .map(|error| format!("; its log's last error: {}", error.line));
            Some(format!(
                "its install failed: {}{}",
                failed.sentence(),
                logged.unwrap_or_default()
            ))
        },
        action: "see the installer's own log on the machine's console, then arm it again: `bootwright arm HOST`",
        page: "The installer called `failed` with its own words, which the sentence repeats; where the machine logs to us, so is the last error of its log. The host boots its disk, and is not handed another install before somebody arms it.",
    },
    BootCause {
        name: "install_interrupted",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let failed = trace.install_failure(Circumstance::InstallInterrupted)?;
            Some(format!("its install failed: {}", failed.sentence()))
        },
        action: "find out why it was switched off or crashed (power, memory, the installer's console), then arm it again",
        page: "An installer that had said that it began was not done when its machine asked by DHCP as firmware does. It is not handed the install again by itself: what it wrote is half of a system, and a person decides.",
    },
    BootCause {
        name: "install_too_often",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let failed = trace.install_failure(Circumstance::InstallTooOften)?;
            Some(format!("its install failed: {}", failed.sentence()))
        },
        action: "look at its console while it boots: the installer ends before it says anything; then arm it again",
        page: "The install was handed out as often as it may be, and each time the machine came back without a word of its installer. The kernel may crash, the answer may be refused, or the script boots something that is no installer.",
    },
    BootCause {
        name: "callback_never_came",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let is_quiet = trace.is_install() && trace.attempt.outcome.is_none();
            // One that logs is at work still, however long it takes.
            let is_silent = trace.is_silent(INSTALLER_QUIET_S) && trace.is_log_silent(INSTALLER_QUIET_S);
            let is_late = is_quiet && trace.progress() >= Progress::Answer && is_silent;
            let is_over = trace.install_failure(Circumstance::InstallSilent).is_some();
            let seconds = trace.silence.as_secs();
            let logged = trace
                .logged_last()
                .map(|last| format!("; its log's last line: {}", last.line));
            (is_late || is_over).then(|| {
                format!(
                    "its install never ended: {}, and then nothing for {seconds} s{}",
                    trace.progress(),
                    logged.unwrap_or_default()
                )
            })
        },
        action: "look at its console: the installer waits for an answer, or its last step (`callback.done`) is missing in its answer",
        page: "An install is over when its installer calls `done`. Where that never comes, it waits for somebody at the console, it hangs, or its answer has no callback in it. Where the machine logs to us, the sentence has the last line of that. After the profile's `install_timeout` the host has failed.",
    },
    BootCause {
        name: "token_refused",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let refused = trace.stuck(&[ReasonCode::CallbackRefused, ReasonCode::OrderRefused])?;
            Some(format!("an installer's word was not believed: {}", refused.sentence()))
        },
        action: "see which machine has that address; an installer of an earlier attempt that runs still is refused as well",
        page: "A token is good for one install of one host, from that host's own address, until it is done. Whoever shows another one is told nothing of why; the log has the reason. A machine that copies a MAC is seen here.",
    },
    BootCause {
        name: "install_of_another",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let refused = trace.stuck(&[ReasonCode::InstallOfAnother])?;
            Some(format!("its install was asked for by another: {}", refused.sentence()))
        },
        action: "see which machine asks with its MAC or name, and whether another DHCP server gave the host its address",
        page: "The script of an armed host goes to that host at the address that it has from here, and to nobody else: it erases a disk.",
    },
    BootCause {
        name: "other_hardware",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let refused = trace.stuck(&[ReasonCode::OtherHardware])?;
            Some(format!("its install is for another machine: {}", refused.sentence()))
        },
        action: "see whether its NIC or its board was moved, and have the inventory list what the machine reports",
        page: "The inventory lists a UUID or a serial number beside the MAC of this host, and the machine that boots with that MAC reports another: a NIC that was moved to another server, a board that was replaced, or a mistake. It erases no disk until the two fit.",
    },
];
