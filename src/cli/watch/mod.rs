//! `bootwright watch`: the room on a whole screen, until somebody quits.
//!
//! [`poll`] asks the daemon every second on a thread of its own; [`board`] makes rows of what it says; [`view`] is what
//! the keys change; [`draw`] is a pure function of that. Whatever ends the command (a key, a signal, a panic) leaves the
//! terminal as it was.

mod board;
mod draw;
mod poll;
mod view;

use super::ask::AdminArgs;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout},
    sys::signal::{SigSet, Signal},
};
use poll::News;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use std::{
    io::{self, IsTerminal},
    os::fd::AsFd,
    process::{self, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};
use view::{Keyed, View};

/// How long a key is waited for before it is looked for news and signals.
const KEY_WAIT: Duration = Duration::from_millis(100);
/// What a process ends with that a signal ended.
const SIGNALLED: i32 = 128;

/// Shows every machine's boot on the whole screen as it goes on: problems first
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys: arrows or j k to move, / to filter, s to sort, Enter to open a machine, Esc back, q to quit.

Examples:
  bootwright watch
  ssh -t appliance bootwright watch

USUAL is the median of what the last boots of machines with the same image and script took in that state. What is not for
a person: bootwright events -f, bootwright hosts --json, bootwright why --json.")]
pub(super) struct WatchArgs {
    /// The daemon's socket
    #[command(flatten)]
    ask: AdminArgs,
}

/// Shows the room until it is told to end.
pub(super) fn run(args: WatchArgs) -> ExitCode {
    let WatchArgs { ask } = args;
    if ask.is_json() || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        eprintln!(
            "error: this is for a terminal\nhelp: `bootwright events -f` shows what happens line by line, and `bootwright \
             hosts` and `bootwright why` how it stands; all of them have --json"
        );
        return ExitCode::from(2);
    }
    let signal = match signals() {
        Ok(signal) => signal,
        Err(error) => return super::finish(Err(error)),
    };
    thread::spawn(end_with_terminal);
    let (sender, news) = mpsc::channel();
    let socket = ask.socket().to_owned();
    // It ends with the process.
    thread::spawn(move || poll::poll(&socket, &sender));
    let ended = match ratatui::try_init() {
        Ok(mut terminal) => watch(&mut terminal, &news, &signal),
        Err(error) => Err(error),
    };
    ratatui::restore();
    match (ended, signal.load(Ordering::Relaxed)) {
        (Err(error), _) => super::finish(Err(error)),
        (Ok(()), 0) => ExitCode::SUCCESS,
        (Ok(()), signal) => ExitCode::from(u8::try_from(SIGNALLED + signal).unwrap_or(1)),
    }
}

/// The number of the signal that tells the process to end, once one does.
fn signals() -> io::Result<Arc<AtomicI32>> {
    let ending = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    // Threads that are begun later have them blocked too, so that the one that waits gets them.
    ending.thread_block()?;
    let told = Arc::new(AtomicI32::new(0));
    let tells = Arc::clone(&told);
    thread::spawn(move || {
        if let Ok(signal) = ending.wait() {
            tells.store(signal as i32, Ordering::Relaxed);
        }
    });
    Ok(told)
}

/// Ends the process when its terminal is gone: whoever reads keys of one that is gone reads nothing for ever, without a
/// pause, and looks for no signal.
fn end_with_terminal() {
    let terminal = io::stdin();
    let mut watched = [PollFd::new(terminal.as_fd(), PollFlags::empty())];
    // A hangup is told without being asked for (poll(2)), and nothing else is.
    while let Err(Errno::EINTR) = nix::poll::poll(&mut watched, PollTimeout::NONE) {}
    process::exit(SIGNALLED + Signal::SIGHUP as i32);
}

fn watch(terminal: &mut ratatui::DefaultTerminal, news: &Receiver<News>, signal: &AtomicI32) -> io::Result<()> {
    let mut view = View::default();
    while signal.load(Ordering::Relaxed) == 0 {
        for news in news.try_iter() {
            view.take(news);
        }
        terminal.draw(|frame| draw::draw(frame, &mut view))?;
        if !event::poll(KEY_WAIT)? {
            continue;
        }
        if let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
            && view.key(key) == Keyed::Quit
        {
            break;
        }
    }
    Ok(())
}
