//! `bootwright image verify`: every byte, read again.

use super::{Choice, complain, folder, shown};
use crate::boot::snapshot::Image;
use crate::config::{self, Report, report};
use crate::model::Name;
use serde_json::json;
use std::{path::Path, process::ExitCode};

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The image; all of them where none is named
    name: Option<Name>,
    #[command(flatten)]
    choice: Choice,
}

pub(super) fn run(verify: &Verify) -> ExitCode {
    let folder = match folder(&verify.choice.place) {
        Ok(folder) => folder,
        Err(code) => return code,
    };
    let (mut images, mut report) = config::images(&folder);
    if let Some(name) = &verify.name {
        images.retain(|found, _| found == name);
        let own = folder.join(name.as_str());
        let is_own = |file: &str| Path::new(file).starts_with(&own);
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

fn show_verified(images: &[Image], report: &Report, as_json: bool) {
    if as_json {
        let sound: Vec<_> = images.iter().map(shown::in_json).collect();
        println!(
            "{}",
            json!({ "sound": sound, "errors": report.errors, "warnings": report.warnings })
        );
        return;
    }
    eprint!("{}", report.render(report::wants_colours()));
    for image in images {
        println!("{}: every byte is as it should be", shown::in_words(image));
    }
}
