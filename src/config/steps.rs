//! What is done with the operator's files step by step, and that it is said where they are tried: to the process
//! that waits for it, on standard output, a line of JSON each.

use super::{Diagnostic, Report};
use crate::model::limits::{TEMPLATE_STACK_BYTES, TRIAL_LONGEST, TRIAL_STACK_BYTES, TRIAL_STEP_LONGEST};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::HashSet,
    fmt,
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// The bytes of files, by their SHA-256.
pub(super) type Sums256 = HashSet<[u8; 32]>;

/// What the other process says, a line each.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// It has read a file with this sum.
    Read([u8; 32]),
    /// What it does next.
    Next(Step),
    /// It is done.
    Done(Vec<Said>, Vec<Said>),
}

/// One thing that takes as long as somebody's file wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    /// A file is read.
    Read(String),
    /// What lies in a folder is looked at.
    Look(String),
    /// A template is compiled.
    Compile(String),
    /// A template is rendered: its file, and for whom.
    Render(String, String),
    /// What is there by now is looked at.
    Judge,
}

impl Step {
    /// How long it may take. Only what is one file's has a bound of its own.
    pub(super) fn longest(&self) -> Duration {
        match self {
            Step::Read(_) | Step::Compile(_) | Step::Render(..) => TRIAL_STEP_LONGEST,
            // It may have any number of files.
            Step::Look(_) | Step::Judge => TRIAL_LONGEST,
        }
    }

    pub(super) fn file(&self) -> Option<&str> {
        match self {
            Step::Read(file) | Step::Look(file) | Step::Compile(file) | Step::Render(file, _) => Some(file),
            Step::Judge => None,
        }
    }

    /// What to do where it takes too much of anything.
    pub(super) fn help(&self) -> &'static str {
        match self {
            Step::Read(_) => {
                "see whether the disk or the file server that it lies on answers, and whether the file is what it should be"
            }
            Step::Look(_) => "see whether the disk or the file server that it lies on answers",
            Step::Compile(_) | Step::Render(..) => {
                "look for a list or a text that grows with itself, and for what calls itself"
            }
            Step::Judge => {
                "see whether the disks of loaders and images answer, and whether this machine has much else to do"
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Read(_) => f.write_str("reading it"),
            Step::Look(_) => f.write_str("looking at what lies in it"),
            Step::Compile(_) => f.write_str("template: compiling it"),
            Step::Render(_, whose) => write!(f, "template: rendering it for {whose}"),
            Step::Judge => f.write_str("judging these files"),
        }
    }
}

/// A diagnostic on its way: message, help, file, line and column.
pub(super) type Said = (String, Option<String>, String, Option<(u32, u32)>);

fn said(diagnostics: Vec<Diagnostic>) -> Vec<Said> {
    let said = |one: Diagnostic| (one.message, one.help, one.file, one.place);
    diagnostics.into_iter().map(said).collect()
}

pub(super) fn heard(said: Vec<Said>) -> Vec<Diagnostic> {
    let heard = |(message, help, file, place)| Diagnostic {
        message,
        help,
        file,
        place,
    };
    said.into_iter().map(heard).collect()
}

/// Whether this is the process that tries files.
static TRIES: AtomicBool = AtomicBool::new(false);

/// From here on, this process tries files.
pub(super) fn begin_trial() {
    TRIES.store(true, Ordering::Relaxed);
}

/// Says what comes of the trial.
pub(super) fn say_report(report: Report) {
    say(&Word::Done(said(report.errors), said(report.warnings)));
}

/// Says what comes next, where this process tries files.
pub(super) fn next(step: impl FnOnce() -> Step) {
    if TRIES.load(Ordering::Relaxed) {
        say(&Word::Next(step()));
    }
}

/// Says that a file was read, where this process tries files.
pub(super) fn was_read(bytes: &[u8]) {
    if TRIES.load(Ordering::Relaxed) {
        say(&Word::Read(sum(bytes)));
    }
}

/// What tells the bytes of a file from all others.
pub(super) fn sum(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// One line. Who started this and does not read it any more has no use for the rest either.
fn say(word: &Word) {
    let Ok(mut line) = serde_json::to_vec(word) else {
        return;
    };
    line.push(b'\n');
    if std::io::stdout().lock().write_all(&line).is_err() {
        std::process::exit(1);
    }
}

/// Judges on a thread with a stack for any template.
///
/// # Errors
/// The system has no thread for it.
pub(super) fn on_stack<T: Send>(judge: impl FnOnce() -> T + Send) -> io::Result<T> {
    let stack_bytes = match TRIES.load(Ordering::Relaxed) {
        true => TRIAL_STACK_BYTES,
        false => TEMPLATE_STACK_BYTES,
    };
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("judge".to_owned()).stack_size(stack_bytes);
        let judged = builder.spawn_scoped(scope, judge)?.join();
        Ok(judged.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
