//! An image that is being made, as a person sees it: a bar on a terminal, and Ctrl-C that tidies up.

use super::bar::bar;
use crate::images::{self, Added, ImageError, NewImage, Step};
use std::{
    io::{self, IsTerminal},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use tokio::signal::unix::{SignalKind, signal};

/// What is copied in the blink of an eye needs no bar.
const BAR_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// Makes the image; a bar shows how far it is, and an interrupted one leaves nothing behind.
///
/// # Errors
/// As of [`images::add`].
pub(super) fn watched(folder: &Path, new: &NewImage) -> Result<Added, ImageError> {
    let stop = stopped_by_signal();
    let mut shown = None;
    let watch = &mut |step| {
        match step {
            Step::Begins(bytes) if bytes >= BAR_BYTES_MIN && io::stderr().is_terminal() => {
                shown = Some(bar(new.name.as_str(), Some(bytes)));
            }
            Step::Begins(_) => {}
            Step::Copied(bytes) => shown.iter().for_each(|bar| bar.inc(bytes)),
        }
        !stop.load(Ordering::Relaxed)
    };
    let added = images::add_watched(folder, new, watch);
    shown.iter().for_each(|bar| bar.finish_and_clear());
    added
}

/// Becomes true when the operator or the system asks to stop.
fn stopped_by_signal() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let (ours, (ready, is_ready)) = (Arc::clone(&stop), std::sync::mpsc::channel());
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else {
            return;
        };
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            // Nobody listens any more only where the process ends.
            let _ = ready.send(());
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            ours.store(true, Ordering::Relaxed);
        });
    });
    // Without the thread a signal kills, and the next import sweeps.
    let _ = is_ready.recv();
    stop
}
