//! `bootwright image`: add, list, verify and remove images.

use super::check::settings_file;
use crate::boot::snapshot::{Artifact, Image};
use crate::config::{self, Report, report};
use crate::images::checksum;
use crate::images::{self, NewImage};
use crate::model::{Cpu, Name};
use serde_json::json;
use std::{
    fmt::Display,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Adds, lists, verifies and removes images
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bootwright image add debian-12 --arch x86_64 --kernel linux --initrd initrd.gz
  bootwright image list
  bootwright image verify debian-12
  bootwright image remove debian-11")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Copies files into an image, with their checksums; it appears whole or not at all
    #[command(after_help = "\
Examples:
  bootwright image add debian-12 --arch x86_64 --kernel linux --initrd initrd.gz
  bootwright image add --images ./images rescue --kernel vmlinuz --initrd initrd.img --disk rescue.squashfs
  bootwright image add debian-12 --force --kernel linux --initrd initrd.gz --cmdline quiet")]
    Add(Add),
    /// Lists the images that are sound
    List(Choice),
    /// Reads every byte of one or all images again; exit code 1 when one is not what it should be
    Verify(Verify),
    /// Removes an image that nothing in the inventory names
    Remove(Remove),
}

/// Where the images are.
#[derive(Debug, clap::Args)]
struct Place {
    /// The folder of images
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    images: Option<PathBuf>,
    /// The bootwright.toml that names the folder
    #[arg(long, value_name = "FILE", default_value = "/etc/bootwright/bootwright.toml")]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Choice {
    #[command(flatten)]
    place: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The image; all of them where none is named
    name: Option<Name>,
    #[command(flatten)]
    choice: Choice,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// What the inventory will call it
    name: Name,
    /// The kernel
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// An initial RAM disk; again for more, in their order
    #[arg(long = "initrd", value_name = "FILE")]
    initrds: Vec<PathBuf>,
    /// A disk or ISO image
    #[arg(long, value_name = "FILE")]
    disk: Option<PathBuf>,
    /// The architecture, such as x86_64 or arm64
    #[arg(long, value_parser = cpu)]
    arch: Option<Cpu>,
    /// A kernel parameter of every boot; again for more
    #[arg(long, value_name = "PARAMETER", allow_hyphen_values = true)]
    cmdline: Vec<String>,
    /// Replace an image of the same name
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Remove {
    /// The image
    name: Name,
    /// The bootwright.toml whose inventory must not name it
    #[arg(long, value_name = "FILE", default_value = "/etc/bootwright/bootwright.toml")]
    config: PathBuf,
}

fn cpu(said: &str) -> Result<Cpu, String> {
    Cpu::from_name(said).ok_or_else(|| "use x86, x86_64, arm32, arm64, riscv64 or loongarch64".to_owned())
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    match args.action {
        Action::Add(add) => run_add(add),
        Action::List(choice) => run_list(&choice),
        Action::Verify(verify) => run_verify(&verify),
        Action::Remove(remove) => run_remove(&remove),
    }
}

/// The folder of images; a wrong bootwright.toml is shown as `check` would.
fn folder(place: &Place) -> Result<PathBuf, ExitCode> {
    if let Some(folder) = &place.images {
        return Ok(folder.clone());
    }
    match config::appliance(&settings_file(&place.config)) {
        Ok(appliance) => Ok(appliance.images),
        Err(report) => {
            eprint!("{}", report.render(report::wants_colours()));
            Err(complain("the folder of images is unknown; name it with --images DIR"))
        }
    }
}

fn complain(what: impl Display) -> ExitCode {
    eprintln!("bootwright: {what}");
    ExitCode::FAILURE
}

fn run_add(add: Add) -> ExitCode {
    let folder = match folder(&add.place) {
        Ok(folder) => folder,
        Err(code) => return code,
    };
    let new = NewImage {
        name: add.name,
        cpu: add.arch,
        kernel: add.kernel,
        initrds: add.initrds,
        disk: add.disk,
        cmdline: add.cmdline,
        replace: add.force,
    };
    match images::add(&folder, &new) {
        Ok(added) => {
            for (file, bytes, sum) in &added.artifacts {
                println!("{}  {bytes:>12} bytes  {file}", checksum::hex(sum));
            }
            println!("image `{}` is in {}", new.name, added.folder.display());
            ExitCode::SUCCESS
        }
        Err(error) => complain(error),
    }
}

fn run_list(choice: &Choice) -> ExitCode {
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
        true => println!("{}", json!(images.values().map(in_json).collect::<Vec<_>>())),
        false => images.values().for_each(|image| println!("{}", in_words(image))),
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

fn run_verify(verify: &Verify) -> ExitCode {
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

fn run_remove(remove: &Remove) -> ExitCode {
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

fn show_verified(images: &[Image], report: &Report, as_json: bool) {
    if as_json {
        let sound: Vec<_> = images.iter().map(in_json).collect();
        println!(
            "{}",
            json!({ "sound": sound, "errors": report.errors, "warnings": report.warnings })
        );
        return;
    }
    eprint!("{}", report.render(report::wants_colours()));
    for image in images {
        println!("{}: every byte is as it should be", in_words(image));
    }
}

fn in_words(image: &Image) -> String {
    let bytes: u64 = image.artifacts().map(|artifact| artifact.stamp.length).sum();
    let files: Vec<&str> = image.artifacts().map(|artifact| artifact.file.as_str()).collect();
    let cpu = image.cpu.map_or("any", Cpu::name);
    format!(
        "{}  {cpu}  {} KiB  {}",
        image.name,
        bytes.div_ceil(1024),
        files.join(" ")
    )
}

fn in_json(image: &Image) -> serde_json::Value {
    let artifact = |artifact: &Artifact| {
        json!({
            "file": artifact.file,
            "sha256": checksum::hex(&artifact.sha256),
            "bytes": artifact.stamp.length,
        })
    };
    json!({
        "name": image.name,
        "arch": image.cpu.map(Cpu::name),
        "kernel": image.kernel.as_ref().map(artifact),
        "initrds": image.initrds.iter().map(artifact).collect::<Vec<_>>(),
        "disk": image.disk.as_ref().map(artifact),
        "cmdline": image.cmdline,
    })
}
