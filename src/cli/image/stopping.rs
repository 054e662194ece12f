//! Ctrl-C and SIGTERM while an image is made: the work is asked to stop and cleans up, and the exit code
//! is that of the signal.

use super::complain;
use crate::images::ImageError;
use crate::model::limits::IMAGE_STOP_TIMEOUT;
use std::{
    io,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinError,
};

/// What a shell expects of a command that a signal ended: 128 and its number.
const SIGNALLED: i32 = 128;

/// Whether the work is to stop.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

type Done = Result<(), ImageError>;

/// How it ended.
enum WorkOutcome {
    ByItself(Result<Done, JoinError>),
    /// After this signal; whether the work had the time to tidy up.
    Stopped {
        signal: SignalKind,
        tidied: bool,
    },
}

/// Does the work on a thread of its own, until it is done or a signal comes. `last_good` says after a signal
/// what is left, and what to do.
pub(super) fn run(work: impl FnOnce(&Stop) -> Done + Send + 'static, kept: impl FnOnce(bool) -> String) -> ExitCode {
    match ended(work) {
        Ok(WorkOutcome::ByItself(Ok(done))) => crate::cli::finish(done),
        Ok(WorkOutcome::ByItself(Err(error))) => complain(error),
        Ok(WorkOutcome::Stopped { signal, tidied }) => {
            let word = match signal == SignalKind::interrupt() {
                true => "interrupted",
                false => "terminated",
            };
            complain(format_args!("{word}: {}", kept(tidied)));
            ExitCode::from(u8::try_from(SIGNALLED + signal.as_raw_value()).unwrap_or(u8::MAX))
        }
        Err(error) => complain(format_args!("can't start: {error}")),
    }
}

fn ended(work: impl FnOnce(&Stop) -> Done + Send + 'static) -> io::Result<WorkOutcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let stop = Stop::default();
        let asked = stop.clone();
        let mut working = tokio::task::spawn_blocking(move || work(&asked));
        let signal = tokio::select! {
            done = &mut working => return Ok(WorkOutcome::ByItself(done)),
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
        };
        stop.0.store(true, Ordering::Relaxed);
        // Its server or its disk may not answer; and who presses Ctrl-C twice does not want to wait.
        let tidied = tokio::select! {
            done = &mut working => Some(done),
            () = tokio::time::sleep(IMAGE_STOP_TIMEOUT) => None,
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        };
        match tidied {
            // The signal came when all was done.
            Some(Ok(Ok(()))) => Ok(WorkOutcome::ByItself(Ok(Ok(())))),
            Some(_) => Ok(WorkOutcome::Stopped { signal, tidied: true }),
            None => Ok(WorkOutcome::Stopped { signal, tidied: false }),
        }
    });
    runtime.shutdown_background();
    ended
}
