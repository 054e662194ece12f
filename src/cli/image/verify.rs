//! `bootwright image verify`: every byte, read again.

use super::{ListArgs, complain, folder, shown};
use crate::boot::snapshot::{FileStamp, Image};
use crate::cli::hashing::hashing;
use crate::config::{self, LoadReport, report};
use crate::images::{
    reading::ReadVia,
    sums::{KnownChecksums, Sums},
};
use crate::model::Name;
use serde_json::json;
use std::{io, path::Path, process::ExitCode};

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// The image; all of them where none is named
    name: Option<Name>,
    #[command(flatten)]
    choice: ListArgs,
}

pub(super) fn run(verify: &VerifyArgs) -> ExitCode {
    let folder = match folder(&verify.choice.place) {
        Ok(folder) => folder,
        Err(code) => return code,
    };
    let own = verify.name.as_ref().map(|name| folder.join(name.as_str()));
    let (mut images, mut report) = config::images(
        &folder,
        &mut Of(own.as_deref(), hashing(KnownChecksums::default(), ReadVia::Disk)),
    );
    if let (Some(name), Some(own)) = (&verify.name, &own) {
        images.retain(|found, _| found == name);
        let is_own = |file: &str| Path::new(file).starts_with(own);
        report.errors.retain(|one| is_own(&one.file));
        report.warnings.retain(|one| is_own(&one.file));
        if images.is_empty() && report.errors.is_empty() && report.warnings.is_empty() {
            return complain(format_args!(
                "there is no image `{name}` in {}; see `bootwright image list`",
                folder.display()
            ));
        }
    }
    show_verified(
        &images.into_values().collect::<Vec<Image>>(),
        &report,
        verify.choice.json,
    );
    match report.errors.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Reads what lies in one folder, and nothing else.
struct Of<'a, S>(Option<&'a Path>, S);

impl<S: Sums> Sums for Of<'_, S> {
    fn sum(&mut self, path: &Path, stamp: FileStamp) -> io::Result<Option<[u8; 32]>> {
        let is_meant = self
            .0
            .is_none_or(|folder| std::path::absolute(folder).is_ok_and(|folder| path.starts_with(folder)));
        match is_meant {
            true => self.1.sum(path, stamp),
            false => Ok(None),
        }
    }
}

fn show_verified(images: &[Image], report: &LoadReport, as_json: bool) {
    if as_json {
        let compiled: Vec<_> = images.iter().map(|image| shown::in_json(image, None)).collect();
        println!(
            "{}",
            json!({ "sound": compiled, "errors": report.errors, "warnings": report.warnings })
        );
        return;
    }
    eprint!("{}", report.render(report::wants_colours()));
    for image in images {
        println!("{}: every byte is as it should be", shown::in_words(image));
    }
}
