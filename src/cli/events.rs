//! `bootwright events`.

use super::ask::AdminArgs;
use crate::admin::{
    api::{EventFilter, EventLine, EventStatus},
    client,
    routes::GetEvents,
};
use std::{
    io::{self, Write},
    ops::ControlFlow,
    process::ExitCode,
};

/// Lists what happened to machines in their boots, the last events of all that are in the daemon's memory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bootwright events
  bootwright events -f
  bootwright events -f --host r1u07 --host r1u08
  bootwright events -n 20
  bootwright events -f --json | jq -r 'select(.event == \"failed\") | .machine + \": \" + .sentence'

The log has more: running systems, too, and what was before the last start. `bootwright why` has what a boot came to.")]
pub(super) struct EventsArgs {
    /// Go on with what happens from now on, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only of these machines: their names, MACs, serial numbers or addresses
    #[arg(long, value_name = "MACHINE")]
    host: Vec<String>,
    /// Only the last so many of those that happened already
    #[arg(short = 'n', long, value_name = "NUMBER")]
    last: Option<usize>,
    #[command(flatten)]
    ask: AdminArgs,
}

/// Asks for the events, and prints each as it comes: with --json an object a line.
pub(super) fn run(args: EventsArgs) -> ExitCode {
    let EventsArgs {
        follow,
        host,
        last,
        ask,
    } = args;
    let filter = EventFilter {
        machine: host,
        follow: if follow { vec!["true".to_owned()] } else { Vec::new() },
        last: last.map(|last| last.to_string()).into_iter().collect(),
    };
    let mut written = Ok(());
    let read = client::each::<GetEvents, EventLine>(ask.socket(), &filter, |line| {
        written = print(&line, ask.is_json());
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => super::finish(Err(error)),
        // `bootwright events | head` has read enough.
        _ => super::finish(read),
    }
}

fn print(line: &EventLine, is_json: bool) -> io::Result<()> {
    let shown = match (line, is_json) {
        (EventLine::Event(event), false) => text(event),
        (EventLine::Missed { count }, false) => {
            format!("... {count} events were dropped: they were not read in time\n")
        }
        (EventLine::Event(event), true) => serde_json::to_string(event)? + "\n",
        (EventLine::Missed { .. }, true) => serde_json::to_string(line)? + "\n",
        (EventLine::Alive | EventLine::Other, _) => return Ok(()),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(shown.as_bytes())?;
    stdout.flush()
}

fn text(event: &EventStatus) -> String {
    let EventStatus {
        at,
        machine,
        stage,
        sentence,
        ..
    } = event;
    format!("{at}  {machine:17}  {:12}  {sentence}\n", stage.name())
}
