//! Limits of the deployer: of the order that it is given, of the wire and of the disk.

use std::time::Duration;

/// Bytes of an order: its pieces' checksums are most of it.
pub const DEPLOY_ORDER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The smallest piece of an image that has a checksum of its own, in bytes.
pub const DEPLOY_PIECE_BYTES_MIN: u64 = 64 * 1024;
/// The largest: the machine holds a piece in memory until its checksum is known.
pub const DEPLOY_PIECE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Files of a seed.
pub const DEPLOY_SEED_FILES_MAX: usize = 16;
/// Bytes of a name of such a file.
pub const DEPLOY_SEED_NAME_BYTES_MAX: usize = 64;
/// Bytes of such a file.
pub const DEPLOY_SEED_FILE_BYTES_MAX: usize = 1024 * 1024;
/// How long a server may be silent or refuse connections, with no byte between, before an install has failed: a
/// switch that starts anew takes minutes.
pub const DEPLOY_PATIENCE: Duration = Duration::from_secs(600);
/// The same where a machine in rescue tells of its disks: it goes on without.
pub const DEPLOY_TELL_PATIENCE: Duration = Duration::from_secs(30);
/// The same where the end of an install is told, or its failure: then nothing else is left to do.
pub const DEPLOY_LAST_WORD_PATIENCE: Duration = Duration::from_secs(1800);
/// How long no other disk must turn up before one is chosen by what it is like: drivers are loaded by then, and what
/// they scan turns up by itself.
pub const DEPLOY_DISKS_SETTLE: Duration = Duration::from_secs(5);
/// From one look at the disks to the next.
pub const DEPLOY_DISKS_LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long disks that come and go are looked at.
pub const DEPLOY_DISKS_LOOK_MAX: Duration = Duration::from_secs(120);
/// From a failed request to the next, at first; it doubles.
pub const DEPLOY_PAUSE_MIN: Duration = Duration::from_millis(250);
/// See above, at most.
pub const DEPLOY_PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long a connection may take to be made.
pub const DEPLOY_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server that is connected may say nothing.
pub const DEPLOY_SILENCE: Duration = Duration::from_secs(30);
/// How long a word about progress may take: the next one says more.
pub const DEPLOY_PROGRESS_TIMEOUT: Duration = Duration::from_secs(5);
/// From one word about progress to the next, at least.
pub const DEPLOY_PROGRESS_INTERVAL: Duration = Duration::from_secs(2);
/// After so long it is told that the work goes on, where not another percent is done.
pub const DEPLOY_HEARTBEAT: Duration = Duration::from_secs(30);
/// Bytes that are read from the wire at a time, where the image has no pieces.
pub const DEPLOY_CHUNK_BYTES: usize = 1024 * 1024;
/// Such chunks, or pieces, that are in memory at once.
pub const DEPLOY_CHUNKS_MAX: usize = 4;
/// Bytes that are written at a time.
pub const DEPLOY_BLOCK_BYTES: usize = 4 * 1024 * 1024;
/// Such blocks that are in memory at once: those that wait to be written, and those that wait to be read back.
pub const DEPLOY_BLOCKS_MAX: usize = 20;
/// Blocks that are written, made durable, and read back together.
pub const DEPLOY_READ_BACK_BLOCKS: usize = 8;
/// Zeros in a row for which it is worth to ask the disk to forget what is there, in bytes.
pub const DEPLOY_ZEROS_BYTES_MIN: usize = 256 * 1024;
/// The beginning of a disk that is written last, with the partition table in it: until then no firmware takes the
/// disk for one with a system on it.
pub const DEPLOY_HEAD_BYTES: usize = 1024 * 1024;
/// The end of a disk that is made zeros before anything is written: older tables and labels of RAID lie there.
pub const DEPLOY_TAIL_BYTES: u64 = 1024 * 1024;
/// The largest window of zstd that is unpacked, as a power of two: all of them.
pub const DEPLOY_ZSTD_WINDOW_LOG_MAX: u32 = 31;
