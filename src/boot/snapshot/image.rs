//! An image, its files, and what tells a file from the one that was read.

use super::Origin;
use crate::model::{Cpu, ImageFormat, ImagePieces, Name, UnpackedImage};
use std::path::PathBuf;

/// A named set of artifacts. What the bytes of their files are found to be stands in `boot::verification`.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name: the folder's.
    pub name: Name,
    /// The instruction set its kernel is for.
    pub cpu: Option<Cpu>,
    /// The folder that every artifact lies beneath.
    pub root: PathBuf,
    /// The kernel, for scripts that boot one.
    pub kernel: Option<Artifact>,
    /// Initial RAM disks in the order the kernel must see them.
    pub initrds: Vec<Artifact>,
    /// A disk image.
    pub disk: Option<Artifact>,
    /// What is in that, where it can be written to a disk.
    pub deployable: Option<DeployableDisk>,
    /// Kernel parameters that every boot of it needs.
    pub cmdline: Vec<String>,
}

impl Image {
    /// Every artifact: kernel, initrds, disk image.
    pub fn artifacts(&self) -> impl Iterator<Item = &Artifact> {
        self.kernel.iter().chain(&self.initrds).chain(&self.disk)
    }

    /// Where the file of one of its artifacts is.
    pub fn path(&self, artifact: &Artifact) -> PathBuf {
        self.root.join(&artifact.file)
    }
}

/// What is known of a disk image that can be written to a disk, beside its file and that one's checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployableDisk {
    /// How it is packed.
    pub format: ImageFormat,
    /// What it is unpacked.
    pub unpacked: Option<UnpackedImage>,
    /// The checksums of the file's pieces.
    pub pieces: Option<ImagePieces>,
}

/// One file of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Path beneath the image's folder, `/` between components, none of them `.` or `..`.
    pub file: String,
    /// The SHA-256 that the file must have.
    pub sha256: [u8; 32],
    /// Where that is written.
    pub declared_at: Origin,
    /// What the file was when the inventory was read; one that differs is not served.
    pub stamp: FileStamp,
}

/// What tells a file from the one that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileStamp {
    /// Length in bytes.
    pub length: u64,
    /// Modification time in nanoseconds since 1970. Anybody who may write the file may set it back.
    pub modified_ns: i128,
    /// Time of the last change of anything about the file, in nanoseconds since 1970. Only the
    /// system sets it, so it tells of bytes that were written and whose time was put back.
    pub changed_ns: i128,
    /// Inode number.
    pub inode: u64,
}

impl FileStamp {
    /// That of a file which was not there: no file has it.
    pub const NO_FILE: FileStamp = FileStamp {
        length: 0,
        modified_ns: 0,
        changed_ns: 0,
        inode: 0,
    };
}
