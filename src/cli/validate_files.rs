//! The hidden command that tries the operator's files in a process of its own: see [`validation`].

use crate::config::{
    SecretsAre,
    validation::{self, FilesToValidate},
};
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
    /// Secrets need not be readable.
    #[arg(long)]
    look_at_secrets: bool,
    /// Look at no secret.
    #[arg(long)]
    without_secrets: bool,
}

/// Says on standard output what it reads and finds; no people read that.
pub(super) fn run(args: ValidateFilesArgs) -> ExitCode {
    let ValidateFilesArgs {
        config,
        kept,
        without_images,
        look_at_secrets,
        without_secrets,
    } = args;
    validation::run(FilesToValidate {
        config: &config,
        kept: kept.as_deref(),
        without_images,
        secrets: match (without_secrets, look_at_secrets) {
            (true, _) => SecretsAre::Elsewhere,
            (false, true) => SecretsAre::LookedAt,
            (false, false) => SecretsAre::Served,
        },
    });
    ExitCode::SUCCESS
}
