//! Files beneath a root: opened with no symlink on the way, and watched while they are read.
//!
//! Only regular files are opened, never a device or a pipe that would hang. Files are read with
//! `pread`, never mapped: a mapped file that is truncated kills the process.
//!
//! [`hot`] keeps small files completely in memory that many machines fetch at once, and [`sealed`] copies of image
//! files.

pub mod hot;
pub mod sealed;

use crate::boot::{
    event::{FileFault, Reason},
    snapshot::FileStamp,
    verification::VerifiedStamp,
};
use crate::images::checksum;
use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2},
    sys::stat::Mode,
};
use rustix::io::{Errno as Waiting, ReadWriteFlags, preadv2};
use std::{
    fmt,
    fs::File,
    io::{self, IoSliceMut},
    os::{
        fd::OwnedFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::{Component, Path, PathBuf},
};

/// A regular file, open for reading.
#[derive(Debug)]
pub struct OpenedFile {
    file: File,
    stamp: FileStamp,
    verified: Option<VerifiedStamp>,
}

/// Why a file can't be had.
#[derive(Debug)]
pub enum FileError {
    /// There is none of that name.
    Missing,
    /// The name leads through a symlink, out of the root, or to something that is no regular file.
    Unsafe(FileFault),
    /// The file is not the one whose checksum was verified.
    Changed,
    /// The file was found to have other bytes than it should.
    Corrupt,
    /// The file changed while it was read.
    ChangedWhileReading,
    /// It had to be waited for, and for too long.
    WaitTimedOut,
    /// The system failed.
    Io(io::Error),
}

impl FileError {
    /// Whether there is simply no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, FileError::Missing)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Reason::from(self).fmt(f)
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FileError::Io(error) => Some(error),
            FileError::Missing
            | FileError::Unsafe(_)
            | FileError::Changed
            | FileError::Corrupt
            | FileError::ChangedWhileReading
            | FileError::WaitTimedOut => None,
        }
    }
}

impl From<&FileError> for Reason {
    fn from(error: &FileError) -> Reason {
        match error {
            FileError::Missing => Reason::FileMissing,
            FileError::Unsafe(fault) => Reason::FileUnsafe { fault: *fault },
            FileError::Changed => Reason::FileChanged,
            FileError::Corrupt => Reason::FileWrong,
            FileError::ChangedWhileReading => Reason::FileChangedMeanwhile,
            FileError::WaitTimedOut => Reason::FileNotInTime,
            FileError::Io(error) => Reason::FileUnreadable {
                error: error.to_string().into(),
            },
        }
    }
}

/// Opens `file` (components between `/`, none empty, `.` or `..`) beneath `root`; with a `verified` only
/// if the file is still what was sealed, and read only as long as the seal is unbroken.
pub fn open_beneath(root: &Path, file: &str, verified: Option<VerifiedStamp>) -> Result<OpenedFile, FileError> {
    let path = Path::new(file);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || file.is_empty() {
        return Err(FileError::Unsafe(FileFault::Outside));
    }
    // The root itself is the operator's word and may be a symlink.
    let folder = open(root, FOLDER, Mode::empty()).map_err(refused)?;
    let how = OpenHow::new()
        .flags(REGULAR)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let descriptor = match openat2(&folder, path, how) {
        // Kernels before 5.6, and sandboxes that do not know the call.
        Err(Errno::ENOSYS | Errno::EPERM) => walk(folder, path),
        other => other,
    };
    check(File::from(descriptor.map_err(refused)?), verified)
}

/// [`open_beneath`], away from the event loop: a folder may be on a slow disk.
pub async fn open_elsewhere(
    root: PathBuf,
    file: String,
    verified: Option<VerifiedStamp>,
) -> Result<OpenedFile, FileError> {
    tokio::task::spawn_blocking(move || open_beneath(&root, &file, verified))
        .await
        .unwrap_or_else(|error| Err(FileError::Io(io::Error::other(error))))
}

const FOLDER: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
const REGULAR: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

/// `openat2` by hand: one component after the other, none of them a symlink.
fn walk(mut folder: OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let name = path.file_name().ok_or(Errno::ENOENT)?;
    for part in path.parent().into_iter().flat_map(Path::components) {
        folder = openat(&folder, part.as_os_str(), FOLDER | OFlag::O_NOFOLLOW, Mode::empty())?;
    }
    openat(&folder, name, REGULAR, Mode::empty())
}

fn refused(errno: Errno) -> FileError {
    match errno {
        Errno::ENOENT => FileError::Missing,
        // A file where a folder is needed; with O_NOFOLLOW a symlink to a folder says the same.
        Errno::ENOTDIR => FileError::Missing,
        Errno::ELOOP => FileError::Unsafe(FileFault::Link),
        Errno::EXDEV => FileError::Unsafe(FileFault::Outside),
        // A socket, or a device that is not there.
        Errno::ENXIO => FileError::Unsafe(FileFault::NotRegular),
        other => FileError::Io(other.into()),
    }
}

fn check(file: File, verified: Option<VerifiedStamp>) -> Result<OpenedFile, FileError> {
    let metadata = file.metadata().map_err(FileError::Io)?;
    if !metadata.is_file() {
        return Err(FileError::Unsafe(FileFault::NotRegular));
    }
    let stamp = checksum::stamp(&metadata);
    match &verified {
        Some(verified) if verified.stamp() != stamp => Err(FileError::Changed),
        Some(_) | None => Ok(OpenedFile { file, stamp, verified }),
    }
}

impl OpenedFile {
    /// What the file was when it was opened.
    pub fn stamp(&self) -> FileStamp {
        self.stamp
    }

    /// What vouches for its bytes, where something does.
    pub fn verified(&self) -> Option<&VerifiedStamp> {
        self.verified.as_ref()
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.stamp.length
    }

    /// Fills `buffer` from `offset` on if that takes no waiting for the disk; whether it did. What was
    /// read counts only once [`OpenedFile::unchanged`] has confirmed it.
    pub fn read_now(&self, buffer: &mut [u8], offset: u64) -> Result<bool, FileError> {
        let read = preadv2(
            &self.file,
            &mut [IoSliceMut::new(buffer)],
            offset,
            ReadWriteFlags::NOWAIT,
        );
        match read {
            Ok(count) => Ok(count == buffer.len()),
            // Not in memory, or a file system that can't tell.
            Err(Waiting::AGAIN | Waiting::OPNOTSUPP | Waiting::INTR | Waiting::NOSYS) => Ok(false),
            Err(error) => Err(FileError::Io(error.into())),
        }
    }

    /// Whether the file is still the one that was opened, and its seal unbroken: to be asked after its
    /// bytes were read and before they are sent.
    pub fn unchanged(&self) -> Result<(), FileError> {
        if self.verified.as_ref().is_some_and(VerifiedStamp::is_revoked) {
            return Err(FileError::Corrupt);
        }
        let metadata = self.file.metadata().map_err(FileError::Io)?;
        let mut stamp = checksum::stamp(&metadata);
        if metadata.nlink() == 0 {
            // Another file took its name, or none has it any more. That is a change of the inode and not
            // of its bytes: whoever is being sent the old version gets all of it.
            stamp.changed_ns = self.stamp.changed_ns;
        }
        match stamp == self.stamp {
            true => Ok(()),
            false => Err(FileError::ChangedWhileReading),
        }
    }

    /// Fills `buffer` from `offset` on. The bytes are of the file as it was opened, or this fails:
    /// the stamp is compared after the bytes were read. Blocks on the disk.
    pub fn read_exactly(&self, buffer: &mut [u8], offset: u64) -> Result<(), FileError> {
        let read = self.file.read_exact_at(buffer, offset);
        self.unchanged()?;
        read.map_err(FileError::Io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{
        snapshot::Image,
        verification::{HashResult, Verification, VerificationState},
    };
    use crate::fixtures;
    use crate::model::{Now, WallTime};
    use std::{fs, os::unix::fs::symlink};

    /// An image whose kernel is the file `secret`.
    pub(super) fn image_of(root: &Path, stamp: FileStamp) -> Image {
        Image {
            kernel: Some(fixtures::artifact("secret", [1; 32], stamp)),
            ..fixtures::image("deb", root.to_str().unwrap())
        }
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("images/deb")).unwrap();
        fs::write(folder.path().join("images/deb/kernel"), "kernel").unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        folder
    }

    #[test]
    fn a_file_beneath_the_root_is_read() {
        let folder = folder();
        let opened = open_beneath(&folder.path().join("images"), "deb/kernel", None).unwrap();
        let mut bytes = [0; 6];
        opened.read_exactly(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"kernel");
        bytes = [0; 6];
        // A file that was just written is in memory, unless the file system can't tell.
        if opened.read_now(&mut bytes, 0).unwrap() {
            assert_eq!(&bytes, b"kernel");
        }
        assert!(!opened.read_now(&mut bytes, 3).unwrap(), "three bytes are no six");
        opened.unchanged().unwrap();
    }

    #[test]
    fn no_path_and_no_symlink_leads_out_of_the_root() {
        let folder = folder();
        let root = folder.path().join("images");
        symlink(folder.path().join("secret"), root.join("link")).unwrap();
        symlink(folder.path(), root.join("up")).unwrap();
        symlink("deb", root.join("inside")).unwrap();
        let absolute = folder.path().join("secret");
        let tried = [
            "../secret",
            "deb/../../secret",
            "link",
            "up/secret",
            "inside/kernel",
            "deb",
            "",
            ".",
        ];
        for file in tried.into_iter().chain(absolute.to_str()) {
            assert!(open_beneath(&root, file, None).is_err(), "{file}");
        }
    }

    #[test]
    fn walking_by_hand_refuses_the_same_symlinks() {
        let folder = folder();
        let root = folder.path().join("images");
        symlink(folder.path().join("secret"), root.join("link")).unwrap();
        symlink(folder.path(), root.join("up")).unwrap();
        let walked = |file: &str| walk(open(&root, FOLDER, Mode::empty()).unwrap(), Path::new(file));
        assert!(walked("deb/kernel").is_ok());
        assert!(walked("link").is_err());
        assert!(walked("up/secret").is_err());
    }

    #[test]
    fn a_pipe_is_refused_and_hangs_nobody() {
        let folder = folder();
        nix::unistd::mkfifo(&folder.path().join("pipe"), Mode::S_IRWXU).unwrap();
        let refused = open_beneath(folder.path(), "pipe", None);
        assert!(matches!(refused, Err(FileError::Unsafe(_))), "{refused:?}");
    }

    #[test]
    fn a_file_that_is_not_the_verified_one_is_refused() {
        let folder = folder();
        let stamp = open_beneath(folder.path(), "secret", None).unwrap().stamp();
        assert!(open_beneath(folder.path(), "secret", Some(VerifiedStamp::of(stamp))).is_ok());
        fs::write(folder.path().join("secret"), "longer than it was").unwrap();
        let refused = open_beneath(folder.path(), "secret", Some(VerifiedStamp::of(stamp)));
        assert!(matches!(refused, Err(FileError::Changed)), "{refused:?}");
    }

    #[test]
    fn other_bytes_are_noticed_though_their_time_was_put_back() {
        let folder = folder();
        let path = folder.path().join("secret");
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        let opened = open_beneath(folder.path(), "secret", None).unwrap();
        // The system's times tell two writes apart that are some milliseconds from each other: as often as
        // it takes.
        while open_beneath(folder.path(), "secret", None).unwrap().stamp() == opened.stamp() {
            fs::write(&path, "s3cret").unwrap();
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(before)
                .unwrap();
        }
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
        let read = opened.read_exactly(&mut [0; 6], 0);
        assert!(matches!(read, Err(FileError::ChangedWhileReading)), "{read:?}");
        let refused = open_beneath(folder.path(), "secret", Some(VerifiedStamp::of(opened.stamp())));
        assert!(matches!(refused, Err(FileError::Changed)), "{refused:?}");
    }

    #[test]
    fn a_file_whose_name_another_took_is_read_to_its_end_and_not_opened_again() {
        let folder = folder();
        let path = folder.path().join("secret");
        let opened = open_beneath(folder.path(), "secret", None).unwrap();
        let new = folder.path().join("new");
        // The system's times tell two changes apart that are some milliseconds from each other: as often as
        // it takes.
        fs::write(&new, "secret too").unwrap();
        while checksum::stamp(&fs::metadata(&new).unwrap()).changed_ns == opened.stamp().changed_ns {
            fs::write(&new, "secret too").unwrap();
        }
        fs::rename(new, path).unwrap();
        let mut bytes = [0; 6];
        opened.read_exactly(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"secret");
        let refused = open_beneath(folder.path(), "secret", Some(VerifiedStamp::of(opened.stamp())));
        assert!(matches!(refused, Err(FileError::Changed)), "{refused:?}");
    }

    #[test]
    fn a_reader_stops_when_the_seal_of_its_file_is_broken() {
        let folder = folder();
        let mut verification = Verification::default();
        let stamp = open_beneath(folder.path(), "secret", None).unwrap().stamp();
        let image = image_of(folder.path(), stamp);
        let kernel = image.kernel.as_ref().unwrap();
        let now = Now {
            monotonic: std::time::Duration::ZERO,
            wall: WallTime(0),
        };
        verification.record(now, &image.path(kernel), stamp, HashResult::Sum(kernel.sha256));
        let VerificationState::Verified { verified, .. } = verification.state(&image, kernel) else {
            panic!("it was read and found right");
        };
        let opened = open_beneath(folder.path(), "secret", Some(verified)).unwrap();
        opened.read_exactly(&mut [0; 6], 0).unwrap();
        verification.record(now, &image.path(kernel), stamp, HashResult::Sum([9; 32]));
        let read = opened.read_exactly(&mut [0; 6], 0);
        assert!(matches!(read, Err(FileError::Corrupt)), "{read:?}");
    }

    #[test]
    fn a_file_that_changes_under_a_reader_is_an_error_and_not_a_mixture() {
        let folder = folder();
        let opened = open_beneath(folder.path(), "secret", None).unwrap();
        fs::write(folder.path().join("secret"), "s").unwrap();
        let read = opened.read_exactly(&mut [0; 6], 0);
        assert!(matches!(read, Err(FileError::ChangedWhileReading)), "{read:?}");
        let unchanged = opened.unchanged();
        assert!(
            matches!(unchanged, Err(FileError::ChangedWhileReading)),
            "{unchanged:?}"
        );
    }
}
