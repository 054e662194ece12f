//! `bootwright image add`: files, a folder or an ISO into an image.

use super::{
    ImagesFolder, artifacts,
    bar::Shown,
    folder,
    stopping::{self, Stop},
};
use crate::images::{
    self, Added, ArtifactContent, DiskChoice, FoundImage, ImageChoice, ImageError, NewImage, checksum, found_in,
};
use crate::model::{Cpu, Name, text};
use serde_json::{Value, json};
use std::{
    fmt::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    /// What the inventory will call it
    name: Name,
    /// A folder or an ISO in which kernel, initrds and parameters are found; paths are inside it then
    #[arg(value_name = "FOLDER|ISO")]
    source: Option<PathBuf>,
    /// The kernel
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// An initial RAM disk; again for more, in their order
    #[arg(long = "initrd", value_name = "FILE")]
    initrds: Vec<PathBuf>,
    /// A disk, squashfs or ISO image
    #[arg(long, value_name = "FILE")]
    disk: Option<PathBuf>,
    /// Keep the ISO itself as the disk, for systems that fetch it by URL
    #[arg(long, requires = "source", conflicts_with_all = ["disk", "no_disk"])]
    keep_iso: bool,
    /// No disk, even where the system on the ISO fetches one by URL
    #[arg(long, requires = "source", conflicts_with = "disk")]
    no_disk: bool,
    /// Do not read a disk image through once it is copied: no `unpacked` and no `pieces` in its image.toml, by which
    /// an install stops at the first wrong byte
    #[arg(long)]
    no_disk_sums: bool,
    /// The architecture, such as x86_64 or arm64; without it, what the kernel's header says
    #[arg(long, value_parser = cpu)]
    arch: Option<Cpu>,
    /// A kernel parameter of every boot; again for more
    #[arg(long, value_name = "PARAMETER", allow_hyphen_values = true)]
    cmdline: Vec<String>,
    /// Replace an image of the same name
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: ImagesFolder,
}

pub(super) fn cpu(name: &str) -> Result<Cpu, String> {
    Cpu::from_name(name).ok_or_else(|| "use x86, x86_64, arm32, arm64, riscv64, loongarch64, ppc64 or s390x".to_owned())
}

pub(super) fn run(add: AddArgs) -> ExitCode {
    let folder = match folder(&add.place) {
        Ok(folder) => folder,
        Err(code) => return code,
    };
    stopping::run(
        move |stop| make(&add, &folder, stop),
        |tidied| {
            let kept = match tidied {
                true => "nothing is kept of what was copied",
                false => "what was copied goes with the next `bootwright image add`",
            };
            format!("{kept}, and no image has changed; the same command begins anew")
        },
    )
}

fn make(add: &AddArgs, folder: &Path, stop: &Stop) -> Result<(), ImageError> {
    let found = add.source.as_deref().map(|source| found_in(source, &add.choice()));
    let found = found.transpose()?;
    let new = match &found {
        Some(found) => add.of_found(found),
        None => add.of_files()?,
    };
    if let (Some(found), false) = (&found, add.json) {
        print!("{}", in_words(found, &new));
    }
    let shown = Shown::new(stop.clone());
    let added = images::add_watched(folder, &new, &mut |step| shown.step(new.name.as_str(), step));
    shown.clear();
    match (added?, add.json) {
        (added, true) => println!("{}", in_json(&new, &added, found.as_ref())),
        (added, false) => show(&new, &added),
    }
    Ok(())
}

impl AddArgs {
    fn choice(&self) -> ImageChoice {
        let inside = |path: &Path| path.to_string_lossy().into_owned();
        ImageChoice {
            kernel: self.kernel.as_deref().map(inside),
            initrds: self.initrds.iter().map(|path| inside(path)).collect(),
            disk: match &self.disk {
                Some(path) => DiskChoice::Inside(inside(path)),
                None if self.keep_iso => DiskChoice::Iso,
                None if self.no_disk => DiskChoice::None,
                None => DiskChoice::Usual,
            },
            cpu: self.arch,
        }
    }

    fn of_found(&self, found: &FoundImage) -> NewImage {
        NewImage {
            name: self.name.clone(),
            cpu: found.cpu,
            kernel: Some(found.kernel.content.clone()),
            initrds: found.initrds.iter().map(|initrd| initrd.content.clone()).collect(),
            disk: found.disk.as_ref().map(|disk| disk.content.clone()),
            cmdline: [&found.cmdline[..], &self.cmdline].concat(),
            replace: self.force,
            disk_sums: !self.no_disk_sums,
        }
    }

    /// What is no kernel is taken all the same: scripts may boot other things.
    fn of_files(&self) -> Result<NewImage, ImageError> {
        let kernel = self.kernel.clone().map(ArtifactContent::from);
        let cpu = match &kernel {
            Some(kernel) => {
                // One that can't be read is refused when it is copied.
                let header = images::kernel_of(kernel);
                if matches!(header, Ok(None)) {
                    eprintln!("bootwright: {kernel} does not have the header of a kernel");
                }
                images::cpu_of(kernel, header.ok().flatten(), self.arch)?
            }
            None => self.arch,
        };
        Ok(NewImage {
            name: self.name.clone(),
            cpu,
            kernel,
            initrds: self.initrds.iter().map(|initrd| initrd.as_path().into()).collect(),
            disk: self.disk.clone().map(ArtifactContent::from),
            cmdline: self.cmdline.clone(),
            replace: self.force,
            disk_sums: !self.no_disk_sums,
        })
    }
}

/// What was found, one thing a line; paths of an ISO are data.
fn in_words(found: &FoundImage, new: &NewImage) -> String {
    let mut lines = found.what.clone() + "\n";
    let mut line = |what: &str, value: &dyn fmt::Display| {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "  {what:<9}{}", text::escaped(value));
    };
    let kernel = &found.kernel.path;
    match found.cpu {
        Some(cpu) => line("kernel", &format_args!("{kernel} ({cpu})")),
        None => line("kernel", kernel),
    }
    found.initrds.iter().for_each(|initrd| line("initrd", &initrd.path));
    found.disk.iter().for_each(|disk| line("disk", &disk.path));
    if !new.cmdline.is_empty() {
        line("cmdline", &new.cmdline.join(" "));
    }
    found.entry.iter().for_each(|entry| line("by entry", entry));
    if !found.dropped.is_empty() {
        let dropped = found.dropped.join(" ");
        line("dropped", &format_args!("{dropped} (of the medium or its screen)"));
    }
    found.script.iter().for_each(|script| line("script", script));
    for note in &found.notes {
        let _ = writeln!(lines, "note: {note}");
    }
    lines
}

fn show(new: &NewImage, added: &Added) {
    for (file, bytes, sum) in &added.artifacts {
        println!("{}  {bytes:>12} bytes  {file}", checksum::hex(sum));
    }
    println!("image `{}` is in {}", new.name, added.folder.display());
}

fn in_json(new: &NewImage, added: &Added, found: Option<&FoundImage>) -> Value {
    json!({
        "name": new.name,
        "folder": added.folder,
        "arch": new.cpu.map(Cpu::name),
        "cmdline": new.cmdline,
        "artifacts": artifacts(added),
        "found": found.map(|found| json!({
            "what": found.what,
            "kernel": found.kernel.path,
            "initrds": found.initrds.iter().map(|initrd| &initrd.path).collect::<Vec<_>>(),
            "disk": found.disk.as_ref().map(|disk| &disk.path),
            "entry": found.entry,
            "dropped": found.dropped,
            "script": found.script,
            "notes": found.notes,
        })),
    })
}
