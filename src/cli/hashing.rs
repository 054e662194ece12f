//! Files read for their checksums by a command, with a bar on a terminal while that takes its time.

use crate::config::Appliance;
use crate::images::{
    reading::ReadVia,
    sums::{Hashing, KnownChecksums},
};
use crate::store::records::checksums;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::path::{Path, PathBuf};

/// Reads what `last_good` does not know.
pub(super) fn hashing(kept: KnownChecksums, from: ReadVia) -> Hashing<impl FnMut(&Path, u64, u64)> {
    // Without a terminal it draws nothing.
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let template = "{wide_msg} [{bar:30}] {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let mut current = PathBuf::new();
    let progress = move |path: &Path, done: u64, length: u64| {
        if current != path {
            current = path.to_owned();
            bar.reset();
            bar.set_message(path.display().to_string());
            bar.set_length(length);
        }
        bar.set_position(done);
        if done == length {
            bar.finish_and_clear();
        }
    };
    Hashing { kept, from, progress }
}

/// What the appliance's daemon has verified, as far as whoever runs this may read it.
pub(super) fn kept_by(appliance: &Appliance) -> KnownChecksums {
    KnownChecksums::of(checksums::beside_a_daemon(&appliance.state))
}
