//! The bounds of TFTP: of what we send, and of our own client.

use std::time::Duration;

/// The largest TFTP block we agree to: fits an Ethernet frame, so that nothing fragments.
pub const TFTP_BLOCK_BYTES_MAX: u16 = 1468;
/// The largest TFTP window we agree to, in blocks (RFC 7440).
pub const TFTP_WINDOW_BLOCKS_MAX: u16 = 64;
/// Packets a silent client gets for one request before its transfer ends.
pub const TFTP_SILENT_PACKETS_MAX: u32 = 6;
/// Shortest wait before an unacknowledged window is sent again, however fast the client: firmware
/// pauses to write or to draw.
pub const TFTP_RETRANSMIT_MIN: Duration = Duration::from_millis(200);
/// First wait before anything unacknowledged is sent again, while a client's speed is not known;
/// every wait doubles up to the next limit.
pub const TFTP_RETRANSMIT_INITIAL: Duration = Duration::from_millis(500);
/// Longest wait between two retransmissions.
pub const TFTP_RETRANSMIT_MAX: Duration = Duration::from_secs(8);
/// Transfers under way at once; interfaces share them evenly. Twice as many as machines are switched on at once:
/// firmware that asks for its loader's size first has two for a moment, and whoever was not heard yet gives way.
pub const TFTP_TRANSFERS_MAX: usize = 24_000;
/// Transfers under way at once for one client address.
pub const TFTP_TRANSFERS_PER_CLIENT_MAX: usize = 8;
/// How often it is logged that TFTP requests find no place.
pub const TFTP_FULL_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// First wait of our own TFTP client before it repeats its last word; doubles up to
/// `TFTP_RETRANSMIT_MAX`. Longer than a server's, which is the one that should repeat.
pub const TFTP_FETCH_RETRY_INITIAL: Duration = Duration::from_secs(1);
/// Times that our own TFTP client says the same word to a silent server before it gives up.
pub const TFTP_FETCH_TRIES_MAX: u32 = 6;
/// How long a lane waits for room in the kernel while that takes nothing: what is for addresses that no host answers
/// for stays there for three seconds.
pub const TFTP_SEND_STALL_TIMEOUT: Duration = Duration::from_millis(50);
/// How often it is looked meanwhile whether there is some: a kernel that is half full does not tell.
pub const TFTP_SEND_POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Sockets that the transfers of one interface go over, and tasks that carry them: one a processor
/// up to this.
pub const TFTP_WORKERS_MAX: usize = 8;
/// TFTP requests that may wait for one lane.
pub const TFTP_REQUEST_QUEUE_MAX: usize = 4096;
/// Bytes of a file that one transfer holds in memory, where the page cache does not have them.
pub const TFTP_READ_AHEAD_BYTES: usize = 16 * 1024;
/// Such reads that one lane has under way at once; the others wait for their turn, and the system's
/// threads are there for whatever else has to be read.
pub const TFTP_READS_PER_WORKER_MAX: usize = 32;
/// The longest TFTP request we read (RFC 2347).
pub const TFTP_REQUEST_BYTES_MAX: usize = 512;
