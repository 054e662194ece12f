//! `bootwright image fetch`: an image of the catalogue, or files behind URLs.

use super::{ImagesFolder, add::cpu, artifacts, bar::Shown, complain, folder, stopping};
use crate::config::{self, report};
use crate::images::{
    Added,
    catalogue::{CatalogueEntry, Remote, Signature, SumFile},
    checksum,
    fetch::{self, FetchRequest, FilesFrom, RetryPolicy},
};
use crate::model::{Cpu, Name, limits::FETCH_TRIES_MAX};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The operator's catalogue, beside bootwright.toml.
const CATALOGUE_FILE: &str = "catalogue.toml";

#[derive(Debug, clap::Args)]
pub(super) struct FetchArgs {
    /// An image of the catalogue; with URLs, what the inventory will call it
    name: Name,
    /// What the inventory will call an image of the catalogue, instead of its own name
    #[arg(long = "as", value_name = "NAME")]
    called: Option<Name>,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    checks: ChecksumArgs,
    /// Take the files of an installed Debian package, and ask no server
    #[arg(long, conflicts_with = "online")]
    offline: bool,
    /// Ask the server although a Debian package with the files is installed
    #[arg(long)]
    online: bool,
    /// Do not read a disk image through once it is here: no `unpacked` and no `pieces` in its image.toml, by which an
    /// install stops at the first wrong byte, and goes on after a power cut
    #[arg(long)]
    no_disk_sums: bool,
    /// How often a download is tried without getting further
    #[arg(long, value_name = "N", default_value_t = FETCH_TRIES_MAX, value_parser = clap::value_parser!(u32).range(1..))]
    tries: u32,
    /// Replace an image of the same name
    #[arg(long)]
    force: bool,
    /// A catalogue of your own; without it catalogue.toml beside bootwright.toml, where there is one
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: ImagesFolder,
}

/// Files behind URLs.
#[derive(Debug, clap::Args)]
struct FileArgs {
    /// The kernel's URL
    #[arg(long, value_name = "URL")]
    kernel: Option<String>,
    /// An initial RAM disk's URL; again for more, in their order
    #[arg(long = "initrd", value_name = "URL")]
    initrds: Vec<String>,
    /// A disk or ISO image's URL
    #[arg(long, value_name = "URL")]
    disk: Option<String>,
    /// The architecture, such as x86_64 or arm64; without it, what the kernel's header says
    #[arg(long, value_parser = cpu)]
    arch: Option<Cpu>,
    /// A kernel parameter of every boot; again for more
    #[arg(long, value_name = "PARAMETER", allow_hyphen_values = true)]
    cmdline: Vec<String>,
}

/// What the files are checked by.
#[derive(Debug, clap::Args)]
struct ChecksumArgs {
    /// Each file's checksum in the order kernel, initrds, disk; or `accept`: whatever comes will do
    #[arg(long, value_name = "HEX|accept")]
    sha256: Vec<String>,
    /// The URL of a file of checksums, such as SHA256SUMS or .treeinfo
    #[arg(long, value_name = "URL", conflicts_with = "sha256")]
    sums: Option<String>,
    /// The URL of its signature, where it does not carry one
    #[arg(long, value_name = "URL", requires = "sums", requires = "keyring")]
    signature: Option<String>,
    /// The keyring of those who may sign it
    #[arg(long, value_name = "FILE", requires = "sums")]
    keyring: Option<PathBuf>,
    /// A file of checksums will do without its signature, if it comes over HTTPS
    #[arg(long)]
    unsigned: bool,
}

pub(super) fn run(asked: FetchArgs) -> ExitCode {
    let folder = match folder(&asked.place) {
        Ok(folder) => folder,
        Err(code) => return code,
    };
    let as_json = asked.json;
    let order = match request(asked) {
        Ok(order) => order,
        Err(code) => return code,
    };
    let (images, name) = (folder.clone(), order.name.clone());
    stopping::run(
        move |stop| {
            let added = fetch::fetch(&folder, &order, &Shown::new(stop.clone()))?;
            match as_json {
                true => println!("{}", in_json(&order.name, &added)),
                false => println!("image `{}` is in {}", order.name, added.folder.display()),
            }
            Ok(())
        },
        |_| match fetch::keep_resumable(&images, &name) {
            0 => "nothing had come yet, and no image has changed; the same command begins anew".to_owned(),
            bytes => format!("{bytes} bytes of `{name}` are kept; the same command goes on from there"),
        },
    )
}

fn in_json(name: &Name, added: &Added) -> serde_json::Value {
    json!({
        "name": name,
        "folder": added.folder,
        "artifacts": artifacts(added),
    })
}

/// The operator's catalogue: the one that is named, or the one beside bootwright.toml.
pub(super) fn catalogue_file(named: Option<&PathBuf>, config: &Path) -> Option<PathBuf> {
    let beside = || {
        let folder = if config.is_dir() { config } else { config.parent()? };
        Some(folder.join(CATALOGUE_FILE)).filter(|file| file.exists())
    };
    named.cloned().or_else(beside)
}

fn request(asked: FetchArgs) -> Result<FetchRequest, ExitCode> {
    let by_url = asked.files.kernel.is_some() || asked.files.disk.is_some();
    let accept = asked.checks.sha256.iter().any(|sum| sum == "accept");
    let unsigned = asked.checks.unsigned;
    let disk_sums = !asked.no_disk_sums;
    let name = asked.called.clone().unwrap_or_else(|| asked.name.clone());
    let from = match (asked.offline, asked.online) {
        (true, _) => FilesFrom::Package,
        (false, true) => FilesFrom::Network,
        (false, false) => FilesFrom::Either,
    };
    let retry_policy = RetryPolicy {
        tries: asked.tries,
        ..RetryPolicy::default()
    };
    let replace = asked.force;
    let entry = match by_url {
        true => from_urls(asked)?,
        false => from_catalogue(asked, accept)?,
    };
    Ok(FetchRequest {
        entry,
        name,
        replace,
        from,
        accept,
        unsigned,
        disk_sums,
        retry_policy,
    })
}

fn from_catalogue(asked: FetchArgs, accept: bool) -> Result<CatalogueEntry, ExitCode> {
    let own = catalogue_file(asked.catalogue.as_ref(), &asked.place.config);
    let entries = config::fetchable(own.as_deref()).map_err(|report| {
        eprint!("{}", report.render(report::wants_colours()));
        complain("the catalogue can't be used until that is mended")
    })?;
    let known = entries.iter().map(|entry| entry.name.as_str());
    let near = config::nearest(asked.name.as_str(), known).map(str::to_owned);
    let found = entries.into_iter().find(|entry| entry.name == asked.name);
    let mut entry = found.ok_or_else(|| {
        let name = &asked.name;
        match &near {
            Some(near) => complain(format_args!("the catalogue has no `{name}`; did you mean `{near}`?")),
            None => complain(format_args!(
                "the catalogue has no `{name}`; see `bootwright image catalogue`, or name --kernel URL"
            )),
        }
    })?;
    let files = &asked.files;
    if !files.initrds.is_empty() || files.arch.is_some() {
        return Err(complain(
            "--initrd and --arch go with --kernel URL; an image of the catalogue has its own",
        ));
    }
    if asked.checks.sums.is_some() || (!asked.checks.sha256.is_empty() && !accept) {
        return Err(complain(
            "an image of the catalogue has its own checks; an entry in a catalogue.toml of your own may have others",
        ));
    }
    entry.cmdline.extend(asked.files.cmdline);
    Ok(entry)
}

fn from_urls(asked: FetchArgs) -> Result<CatalogueEntry, ExitCode> {
    let remote = |url: String| Remote {
        url,
        ..Remote::default()
    };
    let checks = asked.checks;
    let signature = checks.keyring.map(|keyring| Signature {
        url: checks.signature,
        keyring,
        keyring_from: None,
    });
    let mut entry = CatalogueEntry {
        name: asked.name,
        about: String::new(),
        cpu: asked.files.arch,
        script: None,
        kernel: asked.files.kernel.map(remote),
        initrds: asked.files.initrds.into_iter().map(remote).collect(),
        disk: asked.files.disk.map(remote),
        cmdline: asked.files.cmdline,
        sums: checks.sums.map(|url| SumFile { url, signature }).into_iter().collect(),
        package: None,
    };
    pin(&mut entry, &checks.sha256)?;
    Ok(entry)
}

/// Writes the checksums of the command line to the files they are of.
fn pin(entry: &mut CatalogueEntry, sums: &[String]) -> Result<(), ExitCode> {
    let count = entry.files().count();
    if sums.is_empty() || sums == ["accept"] {
        return Ok(());
    }
    if sums.len() != count {
        return Err(complain(format_args!(
            "{count} files and {} checksums: give one --sha256 a file, in the order kernel, initrds, disk",
            sums.len()
        )));
    }
    let files = entry.kernel.iter_mut().chain(&mut entry.initrds).chain(&mut entry.disk);
    for (file, digits) in files.zip(sums) {
        file.sha256 = Some(checksum::from_hex(digits).ok_or_else(|| {
            complain(format_args!(
                "`{digits}` is not a sha256: it is the 64 hexadecimal digits that `sha256sum FILE` prints"
            ))
        })?);
    }
    Ok(())
}
