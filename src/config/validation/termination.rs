//! How the validating subprocess ends: by itself, killed, or left behind; and the error that is reported for it.

use crate::config::validation_protocol::ValidationStep;
use crate::model::{
    limits::{VALIDATION_MEMORY_BYTES_MAX, VALIDATION_STEP_TIMEOUT, VALIDATION_TIMEOUT},
    text,
};
use nix::sys::signal::Signal;
use std::{
    borrow::Cow,
    os::unix::process::ExitStatusExt,
    process::{Child, ExitStatus},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long the subprocess may take to end after it was killed.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// How a validation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChildExit {
    /// The subprocess sends nothing more.
    Died,
    /// It reported that it is done.
    Done,
    /// One step took too long.
    StepTooLong,
    /// All steps together did.
    TooLong,
}

/// Ends the subprocess. One that hangs in a file system that does not answer can't even be killed: later validations
/// reap it.
pub(super) fn end(mut child: Child) -> Option<ExitStatus> {
    // It may be on its way out by itself, and then it is known of what it died.
    if let Some(ended) = ended_soon(&mut child) {
        return Some(ended);
    }
    let _ = child.kill();
    if let Some(ended) = ended_soon(&mut child) {
        return Some(ended);
    }
    left().push(child);
    None
}

/// How it ended, where it does so within [`GONE_WITHIN`].
fn ended_soon(child: &mut Child) -> Option<ExitStatus> {
    let until = Instant::now() + GONE_WITHIN;
    while Instant::now() < until {
        match child.try_wait() {
            Ok(None) => thread::sleep(Duration::from_millis(2)),
            Ok(status) => return status,
            Err(_) => return None,
        }
    }
    None
}

/// Processes that could not be killed: each validation reaps those before it.
pub(super) fn left() -> MutexGuard<'static, Vec<Child>> {
    static LEFT: Mutex<Vec<Child>> = Mutex::new(Vec::new());
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) const KILLED_HELP: &str =
    "see in the kernel's log (dmesg) whether this machine had no memory left, and try again";

/// What to do where it took all of its stack or its memory: no disk is to blame for that.
pub(super) fn help_with_size(step: &ValidationStep) -> &'static str {
    match step {
        ValidationStep::Compile(_) | ValidationStep::Render(..) => step.help(),
        ValidationStep::Read(_) => "see whether the file is what it should be: it is large, or nests deeply",
        ValidationStep::Look(_) => "see how many files and folders lie in it, and take away what is not served",
        ValidationStep::Validate => "see which files of the inventory, the loaders and the images are large or many",
    }
}

/// What became of the subprocess, and what to do about it.
pub(super) fn reason(
    ended: ChildExit,
    status: Option<ExitStatus>,
    words: &str,
    step: &ValidationStep,
) -> (Cow<'static, str>, &'static str) {
    let help = step.help();
    let signal = status.and_then(|status| status.signal());
    match ended {
        ChildExit::StepTooLong => (
            format!(
                "took more than {} s, and was given up",
                VALIDATION_STEP_TIMEOUT.as_secs()
            )
            .into(),
            help,
        ),
        ChildExit::TooLong => (
            format!(
                "was where the files were given up, after {} s in all",
                VALIDATION_TIMEOUT.as_secs()
            )
            .into(),
            match step {
                ValidationStep::Look(_) => help,
                _ => "see which templates take long, or whether a disk or this machine has much else to do",
            },
        ),
        ChildExit::Died | ChildExit::Done if words.contains("overflowed its stack") => (
            "nests deeper than can be served: it took all of its stack".into(),
            help_with_size(step),
        ),
        ChildExit::Died | ChildExit::Done if words.contains("memory allocation") => (
            format!("took more than {} MiB of memory", VALIDATION_MEMORY_BYTES_MAX >> 20).into(),
            help_with_size(step),
        ),
        ChildExit::Died | ChildExit::Done => {
            let how = match signal.and_then(|signal| Signal::try_from(signal).ok()) {
                Some(signal) => format!("ended by {signal}"),
                None => text::escape(words.lines().next().unwrap_or("without a word").as_bytes()),
            };
            let is_killed = signal == Some(Signal::SIGKILL as i32);
            let help = if is_killed { KILLED_HELP } else { help };
            (format!("broke the process that tried it: {how}").into(), help)
        }
    }
}
