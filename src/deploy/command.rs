//! The command line of `bootwright-deploy`.

use super::{
    disks,
    install::{self, DeploySettings},
};
use crate::model::limits::{DEPLOY_DISKS_SETTLE, DEPLOY_PATIENCE, DEPLOY_TELL_PATIENCE};
use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode, time::Duration};

/// Writes a disk image to this machine's own disk, as its Bootwright server orders. It runs in Bootwright's live
/// system, as root.
#[derive(Parser)]
#[command(name = "bootwright-deploy", version)]
struct Arguments {
    #[command(subcommand)]
    command: DeployCommand,
}

#[derive(Subcommand)]
enum DeployCommand {
    /// Carry out the order at a URL, and tell the server how it goes
    ///
    /// THE DISK THAT THE ORDER NAMES IS OVERWRITTEN. What is to be done then stands on standard output, as one word:
    /// `reboot`, `poweroff` or `wait`; it is not done. What happens stands on standard error. Exit code: 0 done, 1 failed.
    ///
    /// Its URL is the kernel's parameter `bootwright.order`. For the firmware's boot menu efivarfs must be mounted.
    #[command(after_help = "Example, as /init does it:
  then=$(bootwright-deploy install \"$url\") && [ \"$then\" != wait ] && $then -f")]
    Install {
        /// Where the order is, by plain HTTP
        url: String,
        /// The folder that has /sys and /dev in it
        #[arg(long, value_name = "FOLDER", default_value = "/")]
        root: PathBuf,
        /// How long the server may be gone before the install has failed [default: 10m]
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        patience: Option<Duration>,
        /// How long no other disk must turn up before one is taken that the order does not call by its serial number or
        /// its by-id: controllers show their disks one after another [default: 5s]
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        settle: Option<Duration>,
    },
    /// Tell a URL which disks this machine has: `bootwright arm` shows them. Nothing is written to any
    #[command(after_help = "Example, as /init does it in rescue:
  bootwright-deploy tell http://192.0.2.1/disks/r1u07")]
    Tell {
        /// Where the server takes it, by plain HTTP
        url: String,
        /// The folder that has /sys and /dev in it
        #[arg(long, value_name = "FOLDER", default_value = "/")]
        root: PathBuf,
    },
    /// List this machine's disks, in the words of a rule `disk = { ... }`
    #[command(after_help = "Example:
  bootwright-deploy disks
  sda, 480GB, model \"SAMSUNG MZ7LH480HAHQ0D3\", serial \"S45NNE0M123456\"")]
    Disks {
        /// The folder that has /sys and /dev in it
        #[arg(long, value_name = "FOLDER", default_value = "/")]
        root: PathBuf,
    },
}

/// Runs the program.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        DeployCommand::Disks { root } => {
            for disk in disks::found(&root) {
                println!("{}", disk.info);
                disk.info.by_id.iter().for_each(|id| println!("    by-id {id}"));
            }
            ExitCode::SUCCESS
        }
        DeployCommand::Tell { url, root } => {
            let settings = DeploySettings {
                root,
                patience: DEPLOY_TELL_PATIENCE,
                settle: DEPLOY_DISKS_SETTLE,
            };
            match install::tell_disks(&url, &settings) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => {
                    eprintln!("bootwright-deploy: the server does not hear of the disks: {failure}");
                    ExitCode::FAILURE
                }
            }
        }
        DeployCommand::Install {
            url,
            root,
            patience,
            settle,
        } => {
            let settings = DeploySettings {
                root,
                patience: patience.unwrap_or(DEPLOY_PATIENCE),
                settle: settle.unwrap_or(DEPLOY_DISKS_SETTLE),
            };
            match install::install(&url, &settings) {
                Ok(then) => {
                    println!("{then}");
                    ExitCode::SUCCESS
                }
                Err(failure) => {
                    eprintln!("bootwright-deploy: failed: {failure}");
                    ExitCode::FAILURE
                }
            }
        }
    }
}
