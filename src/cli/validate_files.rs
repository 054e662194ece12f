//! The hidden command that tries the operator's files in a process of its own: see [`validation`].

use crate::config::validation::{self, FilesToValidate};
use std::{path::PathBuf, process::ExitCode};

/// Tries files, for this program itself.
#[derive(Debug, clap::Args)]
pub(super) struct ValidateFilesArgs {
    /// bootwright.toml
    #[arg(long)]
    config: PathBuf,
    /// The folder of kept files to try in its place.
    #[arg(long)]
    kept: Option<PathBuf>,
    /// Look at no image.
    #[arg(long)]
    without_images: bool,
}

/// Says on standard output what it reads and finds; no people read that.
pub(super) fn run(args: ValidateFilesArgs) -> ExitCode {
    let ValidateFilesArgs {
        config,
        kept,
        without_images,
    } = args;
    validation::run(FilesToValidate {
        config: &config,
        kept: kept.as_deref(),
        without_images,
    });
    ExitCode::SUCCESS
}
