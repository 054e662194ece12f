//! `bootwright image list`: the images there are, and what the daemon knows of their bytes.

use super::{ListArgs, complain, folder, known_checksums, shown};
use crate::config;
use crate::images::sums::Deferred;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(choice: &ListArgs) -> ExitCode {
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
    let (images, report) = config::images(&folder, &mut Deferred);
    let known = known_checksums(&choice.place);
    match choice.json {
        true => println!(
            "{}",
            json!(
                images
                    .values()
                    .map(|image| shown::in_json(image, Some(&known)))
                    .collect::<Vec<_>>()
            )
        ),
        false => images
            .values()
            .for_each(|image| println!("{}  {}", shown::in_words(image), shown::known_in_words(image, &known))),
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
