//! The bounds of commands that make images: downloads, folders and ISOs, and the boot configurations in them.

use std::time::Duration;

/// How long a server of images may take to let a connection in.
pub const FETCH_CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a server of images may be silent before the connection is given up.
pub const FETCH_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often one download is tried in a row without getting further.
pub const FETCH_TRIES_MAX: u32 = 5;
/// A try that brought so many bytes got further.
pub const FETCH_PROGRESS_BYTES_MIN: u64 = 1024 * 1024;
/// The first pause before a download is tried again; doubles up to the next limit.
pub const FETCH_BACKOFF_INITIAL: Duration = Duration::from_secs(1);
/// The longest pause, whatever a server's Retry-After says.
pub const FETCH_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How often it is looked in a pause whether anybody still wants the download, and whether its folder is
/// free.
pub const FETCH_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How often a download's folder is tried to be locked, before it is taken for another run's.
pub const FETCH_LOCK_TRIES: u32 = 10;
/// Redirects that one request follows.
pub const FETCH_REDIRECTS_MAX: u32 = 10;
/// The largest file of one image: larger than any installer's, smaller than a server's disk.
pub const FETCH_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// The largest file of checksums, or signature: Debian's and Fedora CoreOS's are under 1 MiB.
pub const FETCH_SUMS_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// An unfinished download that was not resumed for so long is removed.
pub const FETCH_STAGING_TTL: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long a command that makes an image and was told to stop may take to tidy up.
pub const IMAGE_STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// Entries that a catalogue of images may have.
pub const CATALOGUE_ENTRIES_MAX: usize = 1000;

/// Files and folders that are looked at in a folder or an ISO that is to become an image.
pub const IMAGE_SOURCE_ENTRIES_MAX: usize = 100_000;
/// Folders within one another that are looked at there.
pub const IMAGE_SOURCE_DEPTH_MAX: usize = 16;
/// The longest path within a folder or an ISO; what lies deeper is not seen.
pub const IMAGE_SOURCE_PATH_BYTES_MAX: usize = 512;
/// Bytes of an ISO's directories in all: a hundred times what a distribution's DVD has.
pub const ISO_DIRECTORIES_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Volume descriptors of an ISO that are looked at.
pub const ISO_DESCRIPTORS_MAX: u64 = 64;
/// Pieces of one file in an ISO; each holds up to 4 GiB.
pub const ISO_EXTENTS_MAX: usize = 1024;
/// Continuation areas of one directory record in an ISO.
pub const ISO_CONTINUATIONS_MAX: usize = 8;
/// The largest boot configuration of an ISO or a folder that is read.
pub const BOOT_MENU_BYTES_MAX: u64 = 256 * 1024;
/// Boot configurations of one ISO or folder that are read.
pub const BOOT_MENUS_MAX: usize = 256;
/// Entries of all of them that are kept.
pub const BOOT_ENTRIES_MAX: usize = 2048;
/// Bytes of a piece of a disk image that has a checksum of its own, where there need not be larger ones.
pub const DISK_PIECE_BYTES: u64 = 4 * 1024 * 1024;
/// Pieces of a disk image: their checksums are in its description, and in every order.
pub const DISK_PIECES_MAX: u64 = 4096;
