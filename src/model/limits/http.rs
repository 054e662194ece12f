//! The bounds of HTTP: connections, image files, and clients that are slow.

use std::time::Duration;

/// HTTP connections at once.
pub const HTTP_CONNECTIONS_MAX: usize = 12_000;
/// HTTP connections at once from one client address: one machine can't take all places.
pub const HTTP_CONNECTIONS_PER_CLIENT_MAX: usize = 64;
/// How long a connection beyond these waits for another to end before it is closed.
pub const HTTP_QUEUE_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections of one interface that wait so.
pub const HTTP_QUEUE_MAX: usize = 64;
/// Bytes of a request's head: the longest path, and room for headers.
pub const HTTP_HEAD_BYTES_MAX: usize = REQUEST_PATH_BYTES_MAX + 18 * 1024;
/// Header lines of a request: anaconda sends one for each interface of its machine
/// (`X-RHN-Provisioning-MAC-0`), virtual ones too.
pub const HTTP_HEADERS_MAX: usize = 256;
/// How long a client may take to send a request's headers.
pub const HTTP_HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of what a request may bring: a word of an installer that is done, or the end of its log.
pub const HTTP_BODY_BYTES_MAX: usize = 16 * 1024;
/// Bytes of what a callback may bring: beyond what is kept they are read and thrown away. cloud-init posts its logs
/// behind an event, and Proxmox's webhook has all that udev knows of every disk.
pub const HTTP_BODY_DISCARDED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a client may take to send them.
pub const HTTP_BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a file's response waits for the disk to take the change that it tells of: longer than a disk takes
/// that works, and shorter than clients wait for a response.
pub const FILE_CHANGE_WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take for so much of what waits for it: one that takes less is no machine
/// that boots.
pub const HTTP_WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes that a client must take in that time.
pub const HTTP_WRITE_STALL_BYTES: usize = 64 * 1024;
/// How fast a client reads at least, in bytes a second, what its own kernel took for it at once: that long it
/// may take no more. A kernel with much room says that there is some again when a sixteenth of all is free.
pub const HTTP_BUFFERED_BYTES_PER_S: u64 = 64 * 1024;
/// The longest that a client may take nothing, however much its kernel took before.
pub const HTTP_WRITE_STALL_TIMEOUT_MAX: Duration = Duration::from_secs(180);
/// How long a client that bytes wait for may acknowledge nothing: as long as a silent one is asked. Its kernel does
/// that by itself however slowly it reads, so it was switched off or cut off. No loader waits longer for a server:
/// GRUB gives up after 30 s, EDK2 sooner.
pub const HTTP_UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(40);
/// Segments that must have been sent again in vain meanwhile: to a full buffer hardly anything is sent, and one segment
/// may be lost.
pub const HTTP_UNACKNOWLEDGED_ATTEMPTS_MIN: u32 = 2;
/// How often it is looked after that whether one acknowledges anything.
pub const HTTP_UNACKNOWLEDGED_POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Image files on their way at once where `bulk_streams` does not say: on a 10 Gbit/s network each
/// has more than a megabyte a second, and no firmware gives up.
pub const HTTP_BULK_STREAMS_DEFAULT: usize = 1024;
/// Image files on their way at once to one client address.
pub const HTTP_BULK_STREAMS_PER_CLIENT_MAX: usize = 8;
/// Requests for image files that wait with their connection open: a third of all connections, so that
/// scripts and loaders find theirs.
pub const HTTP_HELD_MAX: usize = HTTP_CONNECTIONS_MAX / 3;
/// Such requests of one machine.
pub const HTTP_HELD_PER_CLIENT_MAX: usize = 32;
/// How long such a request waits: wget and busybox give up after 15 minutes without a byte.
pub const HTTP_HELD_TIMEOUT: Duration = Duration::from_secs(14 * 60);
/// How often who waits for an image to be verified looks whether there is another inventory by now.
pub const HTTP_HELD_POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How often it asks anew without having been notified.
pub const HTTP_HELD_RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// A connection that is silent so long is asked whether its machine is still there, and so often again:
/// one that was switched off while it waited holds nothing for long.
pub const HTTP_KEEPALIVE_IDLE: Duration = Duration::from_secs(20);
/// From one such question to the next.
pub const HTTP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Such questions without an answer, after which the connection is closed.
pub const HTTP_KEEPALIVE_PROBES_MAX: u32 = 4;
/// The shortest time after which a machine that found no place for an image file comes back.
pub const HTTP_RETRY_AFTER_S: u32 = 2;
/// The longest: places become free faster once loaders are no longer fetched beside, and half a minute of a storm of ten
/// thousand went by with most of them free.
pub const HTTP_RETRY_AFTER_MAX_S: u32 = 8;
/// Over how long it is counted how many places become free, which says when the others come back.
pub const HTTP_RETRY_RATE_INTERVAL: Duration = Duration::from_secs(1);
/// So many different times are given while that is not known, so that machines that were turned away together do not come
/// back together.
pub const HTTP_RETRY_SPREAD_S: u32 = 4;
/// How often it is logged that machines are told to wait.
pub const HTTP_BUSY_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Bytes of a file in memory for one response.
pub const HTTP_PIECE_BYTES: usize = 64 * 1024;
/// Bytes of a copy in memory that are handed to the kernel in one go, and before everybody else has a turn.
pub const HTTP_SEALED_PIECE_BYTES: usize = 1024 * 1024;
/// Bytes of copies of image files in memory where `hot_images` does not say: a kernel and an initrd of each of three
/// or four distributions.
pub const HOT_IMAGES_BYTES_DEFAULT: u64 = 512 << 20;
/// Of the memory that the daemon may have, one of so many parts is the most where `hot_images` does not say.
pub const HOT_IMAGES_MEMORY_DIVISOR: u64 = 4;
/// The most that `hot_images` may say: 16 TiB.
pub const HOT_IMAGES_BYTES_MAX: u64 = 16 << 40;
/// A copy of an image file is made for a machine that asks within so long after another.
pub const HOT_IMAGE_INTERVAL: Duration = Duration::from_secs(60);
/// How long a copy is kept that nobody is sent.
pub const HOT_IMAGE_IDLE: Duration = Duration::from_secs(120);
/// How often it is looked whether some copy is to go, while there is one.
pub const HOT_IMAGES_POLL_INTERVAL: Duration = Duration::from_secs(15);
/// When a copy is tried again that could not be made.
pub const HOT_IMAGE_RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// Image files of which it is remembered who asked for them last.
pub const HOT_IMAGES_KNOWN_MAX: usize = 256;
/// Threads for scripts and loaders, and as many more for image files; no more than there are processors.
pub const HTTP_THREADS_MAX: usize = 16;
/// Threads that wait for a disk so that those for scripts and loaders need not, and as many more for those
/// of image files: as long a queue as fast disks want, however many machines there are.
pub const HTTP_DISK_THREADS_MAX: usize = 256;
/// Bytes of a file that goes out beside scripts and loaders. Larger ones have threads of their own, and so
/// has every part of them: less of them is in memory, and who waits for a disk waits there.
pub const HTTP_PROMPT_BYTES_MAX: u64 = 2 << 20;
/// Rooms for such pieces that are kept while no response needs them.
pub const HTTP_IDLE_BUFFERS_MAX: usize = 64;
/// Bytes that a body hands over before everybody else has a turn.
pub const HTTP_YIELD_BYTES: usize = 64 * 1024;
/// The longest path, with its query, that either server looks at.
pub const REQUEST_PATH_BYTES_MAX: usize = 2048;
