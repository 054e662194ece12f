//! The end of the process that tries files.

use std::{
    process::{Child, ExitStatus},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long the other process may take to go, once it was told to.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// Sees to it that the other process ends. One that hangs in a file system that does not answer can't even be
/// killed: the trials after it look whether it has gone.
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

/// Processes that could not be killed: each trial looks after those before it.
pub(super) fn left() -> MutexGuard<'static, Vec<Child>> {
    static LEFT: Mutex<Vec<Child>> = Mutex::new(Vec::new());
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}
