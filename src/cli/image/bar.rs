//! What a person sees of an image that is being made, on standard error: a bar on a terminal, and lines.

use super::stopping::Stop;
use crate::images::{CopyStep, fetch::FetchProgress};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    cell::RefCell,
    fmt,
    io::{self, IsTerminal},
};

/// A bar, or a count where the server does not say how many bytes there are.
fn bar(what: &str, total: Option<u64>) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = match total {
        Some(_) => "{msg} [{bar:30}] {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
        None => "{msg} {bytes}  {bytes_per_sec}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}

/// What is shown at this moment.
pub(super) struct Shown {
    bar: RefCell<Option<ProgressBar>>,
    stop: Stop,
}

impl Shown {
    pub(super) fn new(stop: Stop) -> Shown {
        Shown {
            bar: RefCell::new(None),
            stop,
        }
    }

    /// A step of copying; says whether to go on.
    pub(super) fn step(&self, name: &str, step: CopyStep) -> bool {
        match step {
            CopyStep::Begins(bytes) => self.show(name, 0, Some(bytes)),
            CopyStep::Copied(bytes) => self.advance(bytes),
        }
        !self.stopped()
    }

    fn show(&self, what: &str, here: u64, total: Option<u64>) {
        if !io::stderr().is_terminal() {
            return;
        }
        let bar = bar(what, total);
        bar.set_position(here);
        // What was here before says nothing of the speed.
        bar.reset_eta();
        *self.bar.borrow_mut() = Some(bar);
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}

impl FetchProgress for Shown {
    fn say(&self, line: fmt::Arguments<'_>) {
        match &*self.bar.borrow() {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    fn begin(&self, file: &str, here: u64, total: Option<u64>) {
        match total {
            _ if io::stderr().is_terminal() => self.show(file, here, total),
            Some(total) => eprintln!("{file}: {total} bytes, {here} of them are here"),
            None => eprintln!("{file}"),
        }
    }

    fn copy(&self, name: &str, step: CopyStep) {
        self.step(name, step);
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &*self.bar.borrow() {
            bar.inc(bytes);
        }
    }

    fn end(&self) {
        self.clear();
    }

    fn stopped(&self) -> bool {
        self.stop.is_asked()
    }
}
