//! The steps of loading the operator's files, and how the validating subprocess reports them: to its parent, on
//! standard output, a line of JSON each.

use super::{Diagnostic, LoadReport};
use crate::model::limits::{TEMPLATE_STACK_BYTES, VALIDATION_STACK_BYTES, VALIDATION_STEP_TIMEOUT, VALIDATION_TIMEOUT};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::HashSet,
    fmt,
    io::{self, Write},
    mem::ManuallyDrop,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// The bytes of files, by their SHA-256.
pub(super) type FileHashes = HashSet<[u8; 32]>;

/// What the other process says, a line each.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ChildMessage {
    /// It has read a file with this sum.
    Read([u8; 32]),
    /// It tried what everybody is sent, with loaders and images that have this sum.
    Rehearsed([u8; 32]),
    /// What it does next.
    Next(ValidationStep),
    /// It is done.
    Done(Vec<WireDiagnostic>, Vec<WireDiagnostic>),
}

/// One thing that takes as long as the operator's file makes it take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ValidationStep {
    /// A file is read.
    Read(String),
    /// What lies in a folder is looked at.
    Look(String),
    /// A template is compiled.
    Compile(String),
    /// A template is rendered: its file, and for whom.
    Render(String, String),
    /// What is there by now is looked at.
    Validate,
}

impl ValidationStep {
    /// How long it may take. Only what is one file's has a bound of its own.
    pub(super) fn longest(&self) -> Duration {
        match self {
            ValidationStep::Read(_) | ValidationStep::Compile(_) | ValidationStep::Render(..) => {
                VALIDATION_STEP_TIMEOUT
            }
            // It may have any number of files.
            ValidationStep::Look(_) | ValidationStep::Validate => VALIDATION_TIMEOUT,
        }
    }

    pub(super) fn file(&self) -> Option<&str> {
        match self {
            ValidationStep::Read(file)
            | ValidationStep::Look(file)
            | ValidationStep::Compile(file)
            | ValidationStep::Render(file, _) => Some(file),
            ValidationStep::Validate => None,
        }
    }

    /// What to do where it takes too much of anything.
    pub(super) fn help(&self) -> &'static str {
        match self {
            ValidationStep::Read(_) => {
                "see whether the disk or the file server that it lies on answers, and whether the file is what it should be"
            }
            ValidationStep::Look(_) => "see whether the disk or the file server that it lies on answers",
            ValidationStep::Compile(_) | ValidationStep::Render(..) => {
                "look for a list or a text that grows with itself, and for what calls itself"
            }
            ValidationStep::Validate => {
                "see whether the disks of loaders and images answer, and whether this machine has much else to do"
            }
        }
    }
}

impl fmt::Display for ValidationStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValidationStep::Read(_) => f.write_str("reading it"),
            ValidationStep::Look(_) => f.write_str("looking at what lies in it"),
            ValidationStep::Compile(_) => f.write_str("template: compiling it"),
            ValidationStep::Render(_, whose) => write!(f, "template: rendering it for {whose}"),
            ValidationStep::Validate => f.write_str("judging these files"),
        }
    }
}

/// A diagnostic on its way: message, help, file, line and column.
pub(super) type WireDiagnostic = (String, Option<String>, String, Option<(u32, u32)>);

fn to_wire(diagnostics: Vec<Diagnostic>) -> Vec<WireDiagnostic> {
    let to_wire = |one: Diagnostic| (one.message, one.help, one.file, one.place);
    diagnostics.into_iter().map(to_wire).collect()
}

pub(super) fn from_wire(diagnostics: Vec<WireDiagnostic>) -> Vec<Diagnostic> {
    let from_wire = |(message, help, file, place)| Diagnostic {
        message,
        help,
        file,
        place,
    };
    diagnostics.into_iter().map(from_wire).collect()
}

/// Whether this is the process that tries files.
static TRIES: AtomicBool = AtomicBool::new(false);

/// From here on, this process tries files.
pub(super) fn begin_validation() {
    TRIES.store(true, Ordering::Relaxed);
}

/// Says what comes of the trial.
pub(super) fn say_report(report: LoadReport) {
    say(&ChildMessage::Done(to_wire(report.errors), to_wire(report.warnings)));
}

/// Says what comes next, where this process tries files.
pub(super) fn next(step: impl FnOnce() -> ValidationStep) {
    if TRIES.load(Ordering::Relaxed) {
        say(&ChildMessage::Next(step()));
    }
}

/// Says that a file was read, where this process tries files.
pub(super) fn was_read(bytes: &[u8]) {
    if TRIES.load(Ordering::Relaxed) {
        say(&ChildMessage::Read(sum(bytes)));
    }
}

/// Says that what everybody is sent was tried, where this process tries files.
pub(super) fn was_rehearsed(outside: [u8; 32]) {
    if TRIES.load(Ordering::Relaxed) {
        say(&ChildMessage::Rehearsed(outside));
    }
}

/// What tells the bytes of a file from all others.
pub(super) fn sum(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// One line. Who started this and does not read it any more has no use for the rest either.
fn say(word: &ChildMessage) {
    let Ok(mut line) = serde_json::to_vec(word) else {
        return;
    };
    line.push(b'\n');
    if io::stdout().lock().write_all(&line).is_err() {
        std::process::exit(1);
    }
}

/// How much whoever judges stands behind whoever serves.
const NICE: i32 = 10;

/// Frees memory, where this process lives on.
pub(super) fn let_go<T>(of: T) {
    let of = ManuallyDrop::new(of);
    if !TRIES.load(Ordering::Relaxed) {
        drop(ManuallyDrop::into_inner(of));
    }
}

/// Judges on a thread with a stack for any template.
///
/// # Errors
/// The system has no thread for it.
pub(super) fn on_stack<T: Send>(validate: impl FnOnce() -> T + Send) -> io::Result<T> {
    let stack_bytes = match TRIES.load(Ordering::Relaxed) {
        true => VALIDATION_STACK_BYTES,
        false => TEMPLATE_STACK_BYTES,
    };
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("judge".to_owned()).stack_size(stack_bytes);
        let judge = || {
            // Machines are served meanwhile, and come first. Where the system refuses that, all are alike.
            let _ = rustix::process::setpriority_process(None, NICE);
            validate()
        };
        let validated = builder.spawn_scoped(scope, judge)?.join();
        Ok(validated.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
