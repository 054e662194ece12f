//! `bootwright serve`.

use super::check::settings_file;
use crate::daemon::{
    self, ServeOptions,
    log::{self, LogFormat},
};
use std::{path::PathBuf, process::ExitCode};

const EXAMPLES: &str = "\
Examples:
  bootwright serve
  bootwright serve --config ./config/bootwright.toml --log-level debug
  BOOTWRIGHT_LOG=warn,boot=info bootwright serve --log-format json

Signals: SIGHUP reads the files again; SIGTERM or SIGINT stops it once running transfers have ended,
and a second one at once. As root it binds its ports and then becomes the user `bootwright`.";

/// Serves DHCP, TFTP and HTTP until it is told to stop.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeArgs {
    /// The appliance's settings: bootwright.toml, or the folder that has it.
    #[arg(long, value_name = "FILE", default_value = "/etc/bootwright/bootwright.toml")]
    config: PathBuf,
    /// The user to become after the start as root; `bootwright` if there is one.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Which log lines there are: a level or a filter; BOOTWRIGHT_LOG goes before it.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

/// Serves until it is told to stop.
pub(super) fn run(args: ServeArgs) -> ExitCode {
    let ServeArgs {
        config,
        user,
        log_format,
        log_level,
    } = args;
    let served = daemon::serve(&ServeOptions {
        config: settings_file(&config),
        user,
        log_format,
        log_level,
    });
    let ended = super::finish(served);
    log::flush();
    ended
}
