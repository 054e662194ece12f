//! `bootwright image add`: files into an image.

use super::{Place, complain, folder};
use crate::images::{self, NewImage, checksum};
use crate::model::{Cpu, Name};
use std::{path::PathBuf, process::ExitCode};

#[derive(Debug, clap::Args)]
pub(super) struct Add {
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

pub(super) fn cpu(said: &str) -> Result<Cpu, String> {
    Cpu::from_name(said).ok_or_else(|| "use x86, x86_64, arm32, arm64, riscv64 or loongarch64".to_owned())
}

pub(super) fn run(add: Add) -> ExitCode {
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
