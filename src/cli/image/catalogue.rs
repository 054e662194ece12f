//! `bootwright image catalogue`: what can be fetched by its name.

use super::{complain, fetch::catalogue_file};
use crate::config::{self, report};
use crate::images::{catalogue::CatalogueEntry, checksum};
use crate::model::Cpu;
use serde_json::json;
use std::{path::PathBuf, process::ExitCode};

#[derive(Debug, clap::Args)]
pub(super) struct CatalogueArgs {
    /// A catalogue of your own; without it catalogue.toml beside bootwright.toml, where there is one
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// The bootwright.toml
    #[arg(long, value_name = "FILE", default_value = "/etc/bootwright/bootwright.toml")]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(asked: &CatalogueArgs) -> ExitCode {
    let own = catalogue_file(asked.catalogue.as_ref(), &asked.config);
    let mut entries = match config::fetchable(own.as_deref()) {
        Ok(entries) => entries,
        Err(report) => {
            eprint!("{}", report.render(report::wants_colours()));
            return complain("the catalogue can't be used until that is mended");
        }
    };
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    match asked.json {
        true => println!("{}", json!(entries.iter().map(in_json).collect::<Vec<_>>())),
        false => {
            let rows: Vec<[String; 4]> = entries.iter().map(in_words).collect();
            print!("{}", crate::cli::ask::table(["NAME", "ARCH", "SCRIPT", "WHAT"], &rows));
        }
    }
    ExitCode::SUCCESS
}

fn in_words(entry: &CatalogueEntry) -> [String; 4] {
    [
        entry.name.to_string(),
        entry.cpu.map_or("any", Cpu::name).to_owned(),
        entry.script.clone().unwrap_or_default(),
        match &entry.package {
            Some(package) => format!("{}; also in package {}", entry.about, package.name),
            None => entry.about.clone(),
        },
    ]
}

fn in_json(entry: &CatalogueEntry) -> serde_json::Value {
    let file = |file: &crate::images::catalogue::Remote| json!({ "url": file.url, "member": file.member, "sha256": file.sha256.as_ref().map(checksum::hex) });
    json!({
        "name": entry.name,
        "about": entry.about,
        "arch": entry.cpu.map(Cpu::name),
        "script": entry.script,
        "kernel": entry.kernel.as_ref().map(file),
        "initrds": entry.initrds.iter().map(file).collect::<Vec<_>>(),
        "disk": entry.disk.as_ref().map(file),
        "cmdline": entry.cmdline,
        "sums": entry.sums.iter().map(|sums| sums.url.as_str()).collect::<Vec<_>>(),
        "package": entry.package.as_ref().map(|package| package.name.as_str()),
    })
}
