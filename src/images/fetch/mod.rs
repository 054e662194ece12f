//! Images from elsewhere: what is to be fetched is resolved first, each file is fetched and checked,
//! and the image appears in one step.
//!
//! | file | what it owns |
//! |---|---|
//! | `request` | what an operator asks for, and is told |
//! | `url` | URLs as texts |
//! | `client` | one HTTP request, and its faults in words |
//! | `sums` | files of checksums in every form |
//! | `signature` | `gpgv` |
//! | `trust` | how each file is verified, and by whose checksum or signature |
//! | `partial_note` | what is known of a file whose download has not ended |
//! | `staging_dir` | the hidden folder in which a download grows |
//! | `download` | one file, resumed |
//!
//! Nothing is taken on faith: a file has a checksum that was written down, or a signature, or the
//! operator says that whatever comes will do, and is shown its checksum.

mod client;
mod download;
mod partial_note;
mod request;
mod signature;
mod staging_dir;
mod sums;
mod trust;
pub mod url;

pub use request::{FetchProgress, FetchRequest, FilesFrom, RetryPolicy};
pub use staging_dir::keep_resumable;

use super::{
    add,
    catalogue::{Package, Remote},
    checksum,
    content::ArtifactContent,
    copy_step::CopyStep,
    disk_sums::{DiskSums, disk_sums},
    error::{ImageError, failed},
    kernel::{cpu_of, kernel_of},
    place::{self, Added, ArtifactSummary, NewImage},
    reading::{self, ReadVia},
};
use crate::model::{Name, text};
use client::HttpClient;
use staging_dir::StagingDir;
use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    fs::{self, File},
    path::{self, Path, PathBuf},
    process::{Command, Stdio},
};
use trust::{Checked, ResolvedFile};

/// Fetches an image.
///
/// # Errors
/// When a file can't be had, is not what it should be, or no checksum says what it should be; when there
/// is an image of that name already; when the disk is full. What came is kept and taken up by the
/// next call, and no image has changed.
pub fn fetch(images: &Path, request: &FetchRequest, progress: &dyn FetchProgress) -> Result<Added, ImageError> {
    place::may_be_made(images, &request.name, request.replace)?;
    place::may_be_parameters(&request.entry.cmdline)?;
    let package = request.entry.package.as_ref();
    let on_a_server = request.entry.files().next().is_some();
    match (request.from, package) {
        (FilesFrom::Package, None) => Err(ImageError::new(format_args!(
            "no package is known that has `{}`; it can only come over the network",
            request.entry.name
        ))),
        (_, Some(package)) if !package.is_installed() && (request.from == FilesFrom::Package || !on_a_server) => {
            Err(ImageError::new(format_args!(
                "the files of `{}` are not on this machine; say `apt install {}`",
                request.entry.name, package.name
            )))
        }
        (FilesFrom::Package | FilesFrom::Either, Some(package)) if package.is_installed() => {
            from_package(images, request, package, progress)
        }
        (FilesFrom::Package | FilesFrom::Either | FilesFrom::Network, _) => from_network(images, request, progress)
            .map_err(|error| match package {
                Some(package) if package.is_installed() => ImageError::new(format_args!(
                    "{error}\nthe same files are in Debian's package {}, which is installed: --offline takes them",
                    package.name
                )),
                Some(package) => ImageError::new(format_args!(
                    "{error}\nthe same files are in a Debian package: `apt install {}`, and then --offline",
                    package.name
                )),
                None => error,
            }),
    }
}

/// What the image is made of, wherever its files are. What is no kernel is taken all the same: scripts
/// may boot other things.
///
/// # Errors
/// When the kernel is for another instruction set than was declared.
fn new_image(
    request: &FetchRequest,
    kernel: Option<PathBuf>,
    initrds: Vec<PathBuf>,
    disk: Option<PathBuf>,
    progress: &dyn FetchProgress,
) -> Result<NewImage, ImageError> {
    let kernel = kernel.map(ArtifactContent::from);
    let cpu = match &kernel {
        Some(kernel) => {
            let header = kernel_of(kernel).map_err(|error| failed("read", kernel, error))?;
            if header.is_none() {
                progress.say(format_args!("{} does not have the header of a kernel", kernel.name()));
            }
            cpu_of(kernel, header, request.entry.cpu)?
        }
        None => request.entry.cpu,
    };
    Ok(NewImage {
        name: request.name.clone(),
        cpu,
        kernel,
        initrds: initrds.into_iter().map(ArtifactContent::from).collect(),
        disk: disk.map(ArtifactContent::from),
        cmdline: request.entry.cmdline.clone(),
        replace: request.replace,
        disk_sums: request.disk_sums,
    })
}

/// The line that says how an image was made.
struct MadeBy<'a>(&'a Name);

impl fmt::Display for MadeBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Made by `bootwright image fetch {}`.", self.0)
    }
}

fn from_package(
    images: &Path,
    request: &FetchRequest,
    package: &Package,
    progress: &dyn FetchProgress,
) -> Result<Added, ImageError> {
    let newest = match request.from {
        FilesFrom::Either => "; --online fetches what is newest",
        FilesFrom::Package | FilesFrom::Network => "",
    };
    progress.say(format_args!(
        "the files come from Debian's package {}, which is installed{newest}",
        package.name
    ));
    let new = new_image(request, package.kernel.clone(), package.initrds.clone(), None, progress)?;
    let made_by = MadeBy(&request.entry.name);
    let from = format_args!("From Debian's package {}.", package.name);
    let added = add::add_from(images, &new, &[&made_by, &from], &mut |step| {
        progress.copy(request.name.as_str(), step);
        !progress.stopped()
    });
    progress.end();
    added
}

fn from_network(images: &Path, request: &FetchRequest, progress: &dyn FetchProgress) -> Result<Added, ImageError> {
    trust::preflight(request)?;
    fs::create_dir_all(images).map_err(|error| failed("make the folder", images.display(), error))?;
    staging_dir::remove_stale(images, &request.name, progress);
    let client = HttpClient::new(request.retry_policy);
    let kept = StagingDir::open(images, &request.name)?;
    let sums = trust::sums(&client, request, &kept, progress)?;
    let settled = trust::resolve(request, &sums)?;
    kept.keep_only(&settled.iter().map(|one| one.wanted.file.clone()).collect::<Vec<Name>>())?;
    let mut checks = Vec::new();
    let mut sums = HashMap::new();
    for one in &settled {
        go_on(progress)?;
        let known = download::download(&client, &one.wanted, &kept, progress)?;
        let path = kept.path(&one.wanted.file);
        let checked = trust::check(&client, one, &path, &kept, progress)?;
        progress.say(format_args!(
            "{}: sha256 {}, {checked}",
            one.wanted.file,
            checksum::hex(&known.1)
        ));
        checks.push(FileCheck {
            url: url::public(&one.wanted.url),
            checked,
        });
        sums.insert(path, known);
    }
    let place = |remote: &Remote| unpacked(remote, &settled, &kept);
    let entry = &request.entry;
    let new = new_image(
        request,
        entry.kernel.as_ref().map(place).transpose()?,
        entry.initrds.iter().map(place).collect::<Result<_, _>>()?,
        entry.disk.as_ref().map(place).transpose()?,
        progress,
    )?;
    let artifacts = add::contents(&new).filter_map(ArtifactContent::file);
    let artifacts = artifacts.map(|path| artifact(path, &sums));
    let artifacts = artifacts.collect::<Result<Vec<ArtifactSummary>, ImageError>>()?;
    go_on(progress)?;
    let made_by = MadeBy(&request.entry.name);
    let mut comments: Vec<&dyn fmt::Display> = vec![&made_by];
    comments.extend(checks.iter().map(|check| check as &dyn fmt::Display));
    let disk = sums_of_disk(&new, progress)?;
    kept.become_image(images, &new, (artifacts, disk), &comments)
}

/// What an install knows of the image's disk beside its checksum; `None` where that is not wanted, or the disk is none
/// that could be written as it is.
fn sums_of_disk(new: &NewImage, progress: &dyn FetchProgress) -> Result<Option<DiskSums>, ImageError> {
    let disk = new.disk.as_ref().filter(|_| new.disk_sums);
    let Some(file) = disk.and_then(ArtifactContent::file) else {
        return Ok(None);
    };
    let bytes = fs::metadata(file)
        .map_err(|error| failed("read", file.display(), error))?
        .len();
    progress.copy(new.name.as_str(), CopyStep::Begins(bytes));
    let sums = disk_sums(file, &mut |step| {
        progress.copy(new.name.as_str(), step);
        !progress.stopped()
    });
    progress.end();
    sums
}

/// The line that says by what a file was checked.
struct FileCheck<'a> {
    url: &'a str,
    checked: Checked<'a>,
}

impl fmt::Display for FileCheck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}.", self.url, self.checked)
    }
}

/// # Errors
/// When the operator stopped it.
fn go_on(progress: &dyn FetchProgress) -> Result<(), ImageError> {
    match progress.stopped() {
        true => Err(ImageError::Stopped),
        false => Ok(()),
    }
}

/// A file of the hidden folder, readable for everybody and on disk. What came out of an archive is not
/// among the `sums`.
fn artifact(path: &Path, sums: &HashMap<PathBuf, (u64, [u8; 32])>) -> Result<ArtifactSummary, ImageError> {
    let settled = || {
        let file = File::open(path)?;
        place::settle(&file)?;
        match sums.get(path) {
            Some(known) => Ok(*known),
            None => {
                let stamp = checksum::stamp(&file.metadata()?);
                Ok((stamp.length, reading::sum(path, stamp, ReadVia::Memory)?))
            }
        }
    };
    let (length, sha256) = settled().map_err(|error| failed("read", path.display(), error))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((name, length, sha256))
}

/// Where a file lies after the download: itself, or taken out of its archive.
fn unpacked(remote: &Remote, settled: &[ResolvedFile], kept: &StagingDir) -> Result<PathBuf, ImageError> {
    let of = settled.iter().find(|one| one.asked == remote.url);
    let Some(archive) = of.map(|one| kept.path(&one.wanted.file)) else {
        return Err(ImageError::new(format_args!("{} was not fetched", remote.url)));
    };
    let Some(member) = &remote.member else {
        return Ok(archive);
    };
    let name = url::kept_as(url::file_name(member)).map_err(ImageError::new)?;
    let out = kept.path(&name);
    // Archives are made with and without `./` in front.
    let mut why = Cow::Borrowed("");
    for inside in [member.as_str(), &format!("./{member}")] {
        match take_out(&archive, inside, &out)? {
            Ok(()) => return Ok(out),
            Err(reason) => why = reason,
        }
    }
    Err(ImageError::new(format_args!(
        "can't take {member} out of {}: {why}",
        remote.url
    )))
}

/// Takes one file out of an archive; else what tar says of it.
fn take_out(archive: &Path, member: &str, out: &Path) -> Result<Result<(), Cow<'static, str>>, ImageError> {
    let file = File::create(out).map_err(|error| failed("make", out.display(), error))?;
    // A colon would make a relative path one on another machine.
    let archive = &path::absolute(archive).map_err(|error| failed("unpack", archive.display(), error))?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--to-stdout", "--file"])
        .arg(archive)
        .arg("--")
        .arg(member);
    let done = tar.env("LC_ALL", "C").stdin(Stdio::null()).stdout(file).output();
    let done =
        done.map_err(|error| ImageError::about(format_args!("can't unpack {}: tar", archive.display()), error))?;
    let length = fs::metadata(out).map_or(0, |file| file.len());
    Ok(match (done.status.success(), length) {
        (true, 1..) => Ok(()),
        (true, 0) => Err("it is empty there, or no file".into()),
        (false, _) => Err(first_line(&done.stderr).into()),
    })
}

fn first_line(output: &[u8]) -> String {
    let output = String::from_utf8_lossy(output);
    let line = output.lines().find(|line| !line.trim().is_empty());
    text::escape(line.unwrap_or("tar failed without a message").as_bytes())
}
