//! The command line: one file a command, each with its arguments and a `run`.
//!
//! Exit codes: 0 done · 1 refused, unsound, unreachable, or red by `doctor` · 2 the arguments make no sense, or `plan` found changes ·
//! 3 `plan` found a wipe · 130 and 143
//! stopped by Ctrl-C or SIGTERM while an image was made.

mod arm;
mod ask;
mod capture;
mod check;
mod doctor;
mod events;
mod explain;
mod generations;
mod hashing;
mod hosts;
mod image;
mod leases;
mod plan;
mod reload;
mod render;
mod replay;
mod serve;
mod status;
mod storm;
mod validate_files;
mod watch;
mod why;

use crate::{config::validation, daemon::log};
use clap::{Parser, Subcommand};
use std::{fmt::Display, process::ExitCode};

/// Boots the machines of an inventory over the network: DHCP, TFTP and HTTP in one daemon.
#[derive(Debug, Parser)]
#[command(name = "bootwright", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  bootwright check /etc/bootwright
  bootwright serve --config /etc/bootwright/bootwright.toml
  bootwright plan ~/room
  bootwright doctor --probe
  bootwright reload && bootwright status
  bootwright explain r1u07
  bootwright arm r1u07 --for 2h
  bootwright why r1u07 && bootwright events -f
  bootwright leases --json";

/// One variant a command; the file of that name has the rest.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Doctor(doctor::DoctorArgs),
    Plan(plan::PlanArgs),
    // Boxed: it has more arguments than most.
    Explain(Box<explain::ExplainArgs>),
    Reload(reload::ReloadArgs),
    Generations(generations::GenerationsArgs),
    Rollback(generations::RollbackArgs),
    Status(status::StatusArgs),
    Hosts(hosts::HostsArgs),
    Arm(arm::ArmArgs),
    Disarm(arm::DisarmArgs),
    Leases(leases::LeasesArgs),
    Why(why::WhyArgs),
    Events(events::EventsArgs),
    Watch(watch::WatchArgs),
    Capture(capture::CaptureArgs),
    Replay(replay::ReplayArgs),
    Render(render::RenderArgs),
    // Boxed: its actions have more arguments than all other commands.
    Image(Box<image::ImageArgs>),
    Storm(storm::StormArgs),
    #[command(name = validation::COMMAND, hide = true)]
    ValidateFiles(validate_files::ValidateFilesArgs),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return unread(&error),
    };
    match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Explain(args) => explain::run(*args),
        Command::Reload(args) => reload::run(args),
        Command::Generations(args) => generations::list(args),
        Command::Rollback(args) => generations::roll_back(args),
        Command::Status(args) => status::run(args),
        Command::Hosts(args) => hosts::run(args),
        Command::Arm(args) => arm::arm(args),
        Command::Disarm(args) => arm::disarm(args),
        Command::Leases(args) => leases::run(args),
        Command::Why(args) => why::run(args),
        Command::Events(args) => events::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Capture(args) => capture::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Render(args) => render::run(args),
        Command::Image(args) => image::run(*args),
        Command::Storm(args) => storm::run(args),
        Command::ValidateFiles(args) => validate_files::run(args),
    }
}

/// Arguments that make no sense; or help, which is no error and goes to standard output.
fn unread(error: &clap::Error) -> ExitCode {
    match error.use_stderr() && log::journald_reads() {
        // Such a line in a unit is an error in the journal too.
        true => log::last_words(error),
        // A reader that went away needs no help.
        false => drop(error.print()),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// The exit code of a command that is done; why it is not goes to standard error.
fn finish<E: Display>(done: Result<(), E>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::last_words(&error);
            ExitCode::FAILURE
        }
    }
}
