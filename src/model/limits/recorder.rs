//! The bounds of the flight recorder, of captures that are read, and of the events that are kept.

use std::time::Duration;

/// Bytes that packets of all machines take where `[recorder]` does not say: those of a thousand boots.
pub const RECORDER_BYTES_DEFAULT: usize = 8 * 1024 * 1024;
/// The most that may be said.
pub const RECORDER_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// The least that is of any use, apart from 0, which switches it off.
pub const RECORDER_BYTES_MIN: usize = 64 * 1024;
/// Bytes of the packets of one machine: one that goes round in circles pushes out no other's. Never more than an eighth
/// of all.
pub const RECORDER_MACHINE_BYTES_MAX: usize = 256 * 1024;
/// What a packet takes beside its bytes.
pub const RECORDER_PACKET_BYTES: usize = 160;
/// Places where servers lay down packets without waiting for each other; one each for the threads of two processors, and
/// as many again.
pub const RECORDER_TRAYS: usize = 4;
/// Bytes that one of them holds until they are filed: more than a storm of a thousand machines sends in the time. What
/// finds no room is counted (`recorder_dropped`).
pub const RECORDER_TRAY_BYTES: usize = 256 * 1024;
/// Packets that one of them holds.
pub const RECORDER_TRAY_PACKETS: usize = 1024;
/// How long after the first of them they are filed under their machines.
pub const RECORDER_FILE_INTERVAL: Duration = Duration::from_millis(200);
/// Bytes of one DHCP or TFTP packet that are kept: longer ones are cut.
pub const RECORDED_PACKET_BYTES_MAX: usize = 1536;
/// Bytes of the head of an HTTP request or response that are kept.
pub const RECORDED_HEAD_BYTES_MAX: usize = 1024;
/// HTTP exchanges of one connection whose heads are kept within a second; those beyond are counted
/// (`recorder_dropped`).
pub const RECORDED_EXCHANGES_PER_S_MAX: u32 = 16;
/// Acknowledgements of one TFTP transfer that are kept, beside the last one: of its options and of its first block.
pub const RECORDED_TFTP_ACKS_MAX: u8 = 2;

/// Bytes of a capture that is read: it is read whole.
pub const CAPTURE_FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Interfaces of one capture, and addresses of them.
pub const CAPTURE_INTERFACES_MAX: usize = 4096;
/// Bytes of an HTTP request that a replay waits for the rest of.
pub const REPLAY_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Connections and transfers that a replay follows at once; the oldest is given up first.
pub const REPLAY_STREAMS_MAX: usize = 4096;
/// A TFTP client that a capture shows nothing more of for so long had given up.
pub const REPLAY_TFTP_SILENCE: Duration = Duration::from_secs(20);
/// The same packet within so short a time was captured twice: at two interfaces of one bridge.
pub const REPLAY_TWICE: Duration = Duration::from_millis(5);

/// Events that are kept in memory for whoever asks what happened last.
pub const EVENTS_KEPT_MAX: usize = 4096;
/// How often whoever follows events is told that there were none: so it is noticed on both ends that the other is gone.
pub const EVENTS_HEARTBEAT: Duration = Duration::from_secs(2);
