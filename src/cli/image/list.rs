//! `bootwright image list`: the images that are sound.

use super::{Choice, complain, folder, shown};
use crate::config;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(choice: &Choice) -> ExitCode {
    let folder = match folder(&choice.place) {
        Ok(folder) => folder,
        Err(code) => return code,
    };
    if !folder.is_dir() {
        return complain(format_args!(
            "there is no folder {}; `bootwright image add` makes it, and --images DIR names another",
            folder.display()
        ));
    }
    let (images, report) = config::images(&folder);
    match choice.json {
        true => println!("{}", json!(images.values().map(shown::in_json).collect::<Vec<_>>())),
        false => images.values().for_each(|image| println!("{}", shown::in_words(image))),
    }
    let unsound = report.errors.len() + report.warnings.len();
    if unsound > 0 {
        eprintln!(
            "bootwright: more is in {} and not sound: see `bootwright image verify`",
            folder.display()
        );
    }
    ExitCode::SUCCESS
}
