//! Why an install failed, each in a sentence for the person who reads it beside the host's name.

use crate::model::{NoDisk, OrderError};
use std::{fmt, io, time::Duration};

/// Why an install failed.
#[derive(Debug)]
pub(super) enum DeployFailure {
    /// The order is none.
    Order(OrderError),
    /// The server is gone for longer than an install waits.
    ServerGone { waited: Duration, last: WireFault },
    /// The server does not give it, and will not.
    Refused { what: &'static str, status: u16 },
    /// What the server sends is too long to be what it should be.
    TooLong { what: &'static str },
    /// The file at the server is another one than at the beginning.
    ImageChanged,
    /// The file has another length than the order says.
    ImageLength { found: u64, wanted: u64 },
    /// The whole file, or the image unpacked, has another SHA-256.
    WrongChecksum { of: &'static str },
    /// A piece of the file has another SHA-256.
    WrongPiece { byte: u64 },
    /// It can't be unpacked.
    NotUnpacked { byte: u64, error: io::Error },
    /// No disk fits.
    NoDisk(Box<NoDisk>),
    /// The image has more bytes than the disk.
    DiskTooSmall { bytes: u64 },
    /// Somebody uses the disk.
    DiskBusy { name: String },
    /// The disk can't be used.
    Disk { name: String, error: io::Error },
    /// A write failed.
    Write { byte: u64, error: io::Error },
    /// The disk could not keep what was written.
    Sync { error: io::Error },
    /// A read failed, of what had been written.
    Read { byte: u64, error: io::Error },
    /// What is read back is not what was written.
    ReadBack { byte: u64 },
    /// The image is for disks with other sectors.
    SectorSize { image: u32, disk: u32 },
    /// The image has no partition table, or none that is sound.
    Table(TableFault),
    /// The files of the seed do not fit into its file system.
    Seed(io::Error),
}

/// Why a partition table can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableFault {
    /// There is none of GPT's kind.
    None,
    /// Its checksum is wrong.
    Checksum,
    /// What it says can't be.
    Shape,
    /// No entry of it is free.
    Full,
    /// There is no room behind its last partition.
    NoRoom,
}

/// Why one request brought nothing.
#[derive(Debug)]
pub(super) enum WireFault {
    /// The connection, or what came by it.
    Connection(Box<ureq::Error>),
    /// The connection ended too early, or broke.
    Broken(io::Error),
    /// The server says to come again.
    Busy { status: u16 },
}

impl fmt::Display for WireFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireFault::Connection(error) => error.fmt(f),
            WireFault::Broken(error) => error.fmt(f),
            WireFault::Busy { status } => write!(f, "it answers {status}"),
        }
    }
}

impl fmt::Display for TableFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TableFault::None => "the image has no GPT partition table, so there is no place for the seed",
            TableFault::Checksum => "the image's partition table is damaged: its checksum is wrong",
            TableFault::Shape => "the image's partition table says what can't be",
            TableFault::Full => "the image's partition table has no free entry for the seed",
            TableFault::NoRoom => "there is no room for the seed behind the image's last partition",
        })
    }
}

impl fmt::Display for DeployFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeployFailure::Order(error) => error.fmt(f),
            DeployFailure::ServerGone { waited, last } => {
                write!(
                    f,
                    "server gone: nothing came from it for {} s: {last}",
                    waited.as_secs()
                )
            }
            DeployFailure::Refused { what, status } => {
                write!(
                    f,
                    "the server does not give {what} to this machine (it answers {status})"
                )
            }
            DeployFailure::TooLong { what } => write!(f, "the server sends more than {what} may have"),
            DeployFailure::ImageChanged => {
                f.write_str("the image was replaced on the server while it was fetched: arm the host again")
            }
            DeployFailure::ImageLength { found, wanted } if found < wanted => {
                write!(f, "short image: it has {found} bytes and should have {wanted}")
            }
            DeployFailure::ImageLength { found, wanted } => {
                write!(f, "wrong image: it has {found} bytes and should have {wanted}")
            }
            DeployFailure::WrongChecksum { of } => write!(f, "wrong checksum: {of} is not the one that was ordered"),
            DeployFailure::WrongPiece { byte } => {
                write!(f, "wrong checksum: the image's piece at byte {byte} is damaged")
            }
            DeployFailure::NotUnpacked { byte, error } => {
                write!(f, "the image can't be unpacked behind byte {byte}: {error}")
            }
            DeployFailure::NoDisk(why) => why.fmt(f),
            DeployFailure::DiskTooSmall { bytes } => {
                write!(f, "the disk is too small: the image goes on behind its {bytes} bytes")
            }
            DeployFailure::DiskBusy { name } => {
                write!(
                    f,
                    "disk is busy: {name} is mounted, or part of a RAID, a volume group or a swap area"
                )
            }
            DeployFailure::Disk { name, error } => write!(f, "the disk {name} can't be opened: {error}"),
            DeployFailure::Write { byte, error } => write!(f, "write error at byte {byte}: {error}"),
            DeployFailure::Sync { error } => {
                write!(f, "write error: the disk did not keep what was written to it: {error}")
            }
            DeployFailure::Read { byte, error } => write!(f, "read error at byte {byte}: {error}"),
            DeployFailure::ReadBack { byte } => {
                write!(
                    f,
                    "read-back differs at byte {byte}: the disk does not hold what was written to it"
                )
            }
            DeployFailure::SectorSize { image, disk } => write!(
                f,
                "the image's partition table is for sectors of {image} bytes, and the disk's have {disk}"
            ),
            DeployFailure::Table(fault) => fault.fmt(f),
            DeployFailure::Seed(error) => write!(f, "the seed can't be made: {error}"),
        }
    }
}

impl std::error::Error for DeployFailure {}
