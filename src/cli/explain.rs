//! `bootwright explain`: asked of the daemon, or, where none runs, of the operator's files by the same function.

mod offline;
mod text;

use super::{
    ask::{AdminArgs, show},
    check,
};
use crate::admin::{
    api::{AdminRefusal, Explanation, Problem, QuestionWords, RefusalCode},
    client::{self, ClientError},
    routes::GetExplain,
};
use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

const EXAMPLES: &str = "\
Examples:
  bootwright explain r1u07                             what it would get if it powered on now
  bootwright explain 52:54:00:00:00:99                 a machine that nobody listed
  bootwright explain r1u07 --arch arm64                as other firmware
  bootwright explain r1u07 --stage ipxe                from its iPXE on
  bootwright explain r1u07 --armed                     what it would get if it were armed
  bootwright explain r1u07 --relay 198.51.100.1 --port Ethernet4
  bootwright explain r1u07 --config ~/room             by a working copy, without a daemon
  bootwright explain r1u07 --json | jq -r .script.text
  bootwright explain r1u07 --json | jq -r '.replies[0].packet' | xxd -r -p | od -A x -t x1

Nothing happens by it: the boot is played on copies of what the daemon knows, no address is taken, and no install is begun.
What is left out is what the machine told last, or else what its host lists, UEFI of its image's architecture, and the
relay of its reservation's subnet. Secrets are blacked out, and the token of an install is a sample.

Exit code: 0 it was explained, whatever it gets; 1 no such host, the files are unsound, or no daemon of this version answers.";

/// Says what a machine would be told now and why: its host or rule, every value's place, DHCP's options, the script, files
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExplainArgs {
    /// A host by name, or any MAC, listed or not.
    machine: String,
    /// An instruction set (x86_64, arm64, ...), or a number of DHCP option 93 (0 is a BIOS, 7 UEFI x64).
    #[arg(long)]
    arch: Option<String>,
    /// Where in its boot it asks first: bios-pxe, uefi-pxe, uefi-http, bare-ipxe, ipxe, pxelinux or system.
    #[arg(long)]
    stage: Option<String>,
    /// The switch port at which it stands (option 82's circuit-id), as the switch writes it.
    #[arg(long)]
    port: Option<String>,
    /// The relay that it is behind (giaddr), or none.
    #[arg(long, value_name = "ADDRESS")]
    relay: Option<String>,
    /// The UUID that it tells.
    #[arg(long)]
    uuid: Option<String>,
    /// The serial number that its iPXE tells.
    #[arg(long)]
    serial: Option<String>,
    /// As if it were armed.
    #[arg(long)]
    armed: bool,
    /// Ask no daemon: bootwright.toml, or the folder that has it. Nobody has a lease then, and nobody is armed.
    #[arg(long, value_name = "PATH", conflicts_with = "socket")]
    config: Option<PathBuf>,
    #[command(flatten)]
    ask: AdminArgs,
}

impl ExplainArgs {
    fn words(&self) -> QuestionWords {
        let list = |word: &Option<String>| word.iter().cloned().collect();
        QuestionWords {
            machine: vec![self.machine.clone()],
            arch: list(&self.arch),
            stage: list(&self.stage),
            port: list(&self.port),
            relay: list(&self.relay),
            uuid: list(&self.uuid),
            serial: list(&self.serial),
            armed: if self.armed { vec!["true".into()] } else { Vec::new() },
        }
    }
}

/// Asks, and shows the answer.
pub(super) fn run(args: ExplainArgs) -> ExitCode {
    let words = args.words();
    let explained = match &args.config {
        Some(path) => offline::explained(path, &words),
        None => match client::document::<GetExplain, Explanation>(args.ask.socket(), &words) {
            Err(ClientError::NoDaemon { source, .. }) if is_nobody(&source) && is_there(check::DEFAULT_PATH) => {
                eprintln!(
                    "no daemon answers at {}; by the files in /etc/bootwright:",
                    args.ask.socket().display()
                );
                offline::explained(Path::new(check::DEFAULT_PATH), &words)
            }
            answer => answer.map_err(|error| error.refusal()),
        },
    };
    super::finish(shown(&args.ask, explained))
}

/// Whether nobody listens, and not only nobody for us.
fn is_nobody(error: &std::io::Error) -> bool {
    error.kind() != std::io::ErrorKind::PermissionDenied
}

fn is_there(path: &str) -> bool {
    Path::new(path).exists()
}

fn shown(ask: &AdminArgs, explained: Result<Explanation, AdminRefusal>) -> Result<(), Box<dyn Error>> {
    match explained {
        Ok(explanation) => Ok(show(ask.is_json(), &explanation, text::text)?),
        Err(refusal) => {
            show(ask.is_json(), &refusal, |refusal| {
                super::ask::errors_text(&refusal.errors)
            })?;
            Err(refusal.to_string().into())
        }
    }
}

/// What is wrong with files, as the daemon would say it.
fn unsound(errors: &[crate::config::Diagnostic]) -> AdminRefusal {
    AdminRefusal {
        errors: errors.iter().map(Problem::from).collect(),
        ..AdminRefusal::new(
            RefusalCode::FilesRefused,
            "the files are unsound: nothing was explained",
        )
    }
}
