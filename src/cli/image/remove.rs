//! `bootwright image remove`: an image that nothing names.

use super::complain;
use crate::cli::check::settings_file;
use crate::config::{self, report};
use crate::images;
use crate::model::Name;
use std::{path::PathBuf, process::ExitCode};

#[derive(Debug, clap::Args)]
pub(super) struct RemoveArgs {
    /// The image
    name: Name,
    /// The bootwright.toml whose inventory must not name it
    #[arg(long, value_name = "FILE", default_value = "/etc/bootwright/bootwright.toml")]
    config: PathBuf,
}

pub(super) fn run(remove: &RemoveArgs) -> ExitCode {
    let settings = settings_file(&remove.config);
    let read = config::appliance(&settings).and_then(|appliance| {
        let users = config::users_of_image(&settings, &remove.name)?;
        Ok((appliance, users))
    });
    let (appliance, users) = match read {
        Ok(read) => read,
        Err(report) => {
            eprint!("{}", report.render(report::wants_colours()));
            return complain("the image stays: whether something needs it can't be told until that is mended");
        }
    };
    if !users.is_empty() {
        for (who, at) in &users {
            eprintln!("{}:{}:{}: {who} boots it", at.file, at.line, at.column);
        }
        return complain(format_args!(
            "image `{}` is in use; give those another image first",
            remove.name
        ));
    }
    match images::remove(&appliance.images, &remove.name) {
        Ok(()) => {
            println!("image `{}` is gone from {}", remove.name, appliance.images.display());
            ExitCode::SUCCESS
        }
        Err(error) => complain(error),
    }
}
