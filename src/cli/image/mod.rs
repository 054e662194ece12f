//! `bootwright image`: what is done with images, one file an action.

mod add;
mod bar;
mod catalogue;
mod fetch;
mod list;
mod remove;
mod shown;
mod stopping;
mod verify;

use super::{check::settings_file, hashing::kept_by};
use crate::config::{self, report};
use crate::images::{Added, checksum, sums::KnownChecksums};
use serde_json::{Value, json};
use std::{fmt::Display, path::PathBuf, process::ExitCode};

/// Adds, fetches, lists, verifies and removes images
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bootwright image fetch debian-13
  bootwright image add rocky-9 Rocky-9.4-x86_64-minimal.iso
  bootwright image add rescue --kernel vmlinuz --initrd initrd.img
  bootwright image list
  bootwright image verify debian-13
  bootwright image remove debian-11")]
pub(super) struct ImageArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Makes an image of an ISO, a folder or files, with checksums; it appears complete, or not at all
    #[command(after_help = "\
From an ISO or a folder, kernel, initrds and the parameters of the boot entry are found, and printed.
Where there are several kernels, --kernel PATH chooses one by its path inside. ISOs are read, not
mounted: it needs no root.

Examples:
  bootwright image add rocky-9 Rocky-9.4-x86_64-minimal.iso
  bootwright image add noble ubuntu-24.04-live-server-amd64.iso
  bootwright image add noble-hwe ubuntu-24.04-live-server-amd64.iso --kernel casper/hwe-vmlinuz
  bootwright image add debian-13 /usr/lib/debian-installer/images/13/amd64/text
  bootwright image add debian-13 --force --kernel linux --initrd initrd.gz --cmdline quiet
  bootwright image add --images ./images rescue --kernel vmlinuz --initrd initrd.img --disk rescue.squashfs")]
    Add(add::AddArgs),
    /// Downloads an image of the catalogue, or files behind URLs; checks them, and goes on where it was interrupted
    #[command(after_help = "\
Examples:
  bootwright image catalogue
  bootwright image fetch debian-13
  bootwright image fetch debian-13 --offline
  bootwright image fetch rocky-9 --as rocky --cmdline console=ttyS0,115200
  bootwright image fetch rescue --kernel https://mirror.example/vmlinuz --initrd https://mirror.example/initrd \\
      --sums https://mirror.example/SHA256SUMS
  bootwright image fetch rescue --kernel http://mirror.example/vmlinuz --sha256 64-HEXADECIMAL-DIGITS

A file must have the checksum that is named for it: --sha256, a file of --sums that is signed (--keyring, and
--signature where it does not carry its own) or comes over HTTPS. `--sha256 accept` takes whatever comes
and shows its checksum.

The system's certificate authorities count, and SSL_CERT_FILE; https_proxy and no_proxy are obeyed.")]
    Fetch(fetch::FetchArgs),
    /// Shows what can be fetched by its name
    Catalogue(catalogue::CatalogueArgs),
    /// Lists the images, and whether the daemon has verified them; reads none of them
    List(ListArgs),
    /// Reads every byte of one or all images again; exit code 1 when one is not what it should be
    Verify(verify::VerifyArgs),
    /// Removes an image that nothing in the inventory names
    Remove(remove::RemoveArgs),
}

/// Where the images are.
#[derive(Debug, clap::Args)]
struct ImagesFolder {
    /// The folder of images
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    images: Option<PathBuf>,
    /// The bootwright.toml that names the folder
    #[arg(long, value_name = "FILE", default_value = "/etc/bootwright/bootwright.toml")]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    place: ImagesFolder,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: ImageArgs) -> ExitCode {
    match args.action {
        Action::Add(add) => add::run(add),
        Action::Fetch(fetch) => fetch::run(fetch),
        Action::Catalogue(catalogue) => catalogue::run(&catalogue),
        Action::List(choice) => list::run(&choice),
        Action::Verify(verify) => verify::run(&verify),
        Action::Remove(remove) => remove::run(&remove),
    }
}

/// The folder of images; a wrong bootwright.toml is shown as `check` would.
fn folder(place: &ImagesFolder) -> Result<PathBuf, ExitCode> {
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

/// An image's artifacts, as JSON says them.
fn artifacts(added: &Added) -> Vec<Value> {
    let artifact = |(file, bytes, sum): &(String, u64, [u8; 32])| json!({ "file": file, "bytes": bytes, "sha256": checksum::hex(sum) });
    added.artifacts.iter().map(artifact).collect()
}

/// What the daemon has verified; nothing where `--images` names a folder that no daemon may serve.
fn known_checksums(place: &ImagesFolder) -> KnownChecksums {
    let appliance = config::appliance(&settings_file(&place.config));
    let appliance = appliance.ok().filter(|_| place.images.is_none());
    appliance.map_or_else(KnownChecksums::default, |appliance| kept_by(&appliance))
}

fn complain(what: impl Display) -> ExitCode {
    eprintln!("bootwright: {what}");
    ExitCode::FAILURE
}
