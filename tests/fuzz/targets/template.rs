//! libFuzzer's way into the judging and rendering of templates.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a panic is what is looked for")]

#[path = "../../shared/fixtures.rs"]
mod fixtures;
#[path = "../room.rs"]
#[allow(dead_code, reason = "not every target takes all of it")]
mod room;
#[path = "../template.rs"]
mod template;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

static ROOM: OnceLock<room::Room> = OnceLock::new();
/// The template engine gave up on a template. That ends the process that tries it (`config::validation`) and not the
/// daemon, and is no finding here, where nothing is tried apart.
static IS_ENGINES: AtomicBool = AtomicBool::new(false);

/// The room, once the engine's own panics are told from ours.
fn begin() -> room::Room {
    let ours = take_hook();
    set_hook(Box::new(move |panic| {
        let is_engines = panic.location().is_some_and(|at| at.file().contains("minijinja"));
        match is_engines {
            true => IS_ENGINES.store(true, Ordering::Relaxed),
            false => ours(panic),
        }
    }));
    template::room()
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let room = ROOM.get_or_init(begin);
    let judged = catch_unwind(AssertUnwindSafe(|| template::judge(room, input)));
    if let Err(panic) = judged
        && !IS_ENGINES.swap(false, Ordering::Relaxed)
    {
        resume_unwind(panic);
    }
});
