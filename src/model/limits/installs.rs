//! Bounds of what destroys disks: for how long hosts are armed, how long installs take, and what is kept of both.

use std::time::Duration;

/// For how long a person arms a host, where nothing else is asked for.
pub const ARMED_FOR_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// The longest that a host may be armed for.
pub const ARMED_FOR_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// For how long a host is armed that appears in the inventory for the first time: servers are listed days before
/// they are racked.
pub const ARMED_FOR_FIRST_APPEARANCE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long nothing may be heard of an install before it has failed, where its profile does not say. A slow
/// mirror keeps Debian's installer silent for half an hour.
pub const INSTALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2 * 3600);
/// The shortest and the longest that a profile may say.
pub const INSTALL_TIMEOUT_MIN: Duration = Duration::from_secs(60);
/// See above.
pub const INSTALL_TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often an install may be begun before its host has to be armed again: an installer that never says that it
/// is done would install at every boot.
pub const INSTALL_TRIES_MAX: u8 = 3;
/// How long the last word of an install may come again: whoever sent it may not have had its answer.
pub const CALLBACK_REPEAT_TTL: Duration = Duration::from_secs(600);
/// Hosts whose state is kept.
pub const HOST_RECORDS_MAX: usize = 65_536;
/// Bytes of an installer's own words, and of an operator's name, that are kept.
pub const INSTALL_WORDS_BYTES_MAX: usize = 200;
/// Names, interfaces, UUIDs, serial numbers and switch ports of hosts that were ever served, of which it is known.
pub const SERVED_KEYS_MAX: usize = 524_288;
/// Of them in one record.
pub const SERVED_KEYS_PER_RECORD_MAX: usize = 4096;
/// How often it is looked whose time is up.
pub const ARMING_POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Machines of which it is kept which disks they told of.
pub const DISK_REPORTS_MAX: usize = HOST_RECORDS_MAX;
/// Disks that a machine may tell of.
pub const TOLD_DISKS_MAX: usize = 128;
/// Bytes of a disk's serial number, model or name, as a machine tells it, that are kept.
pub const DISK_WORDS_BYTES_MAX: usize = 128;
/// Names below `/dev/disk/by-id` of such a disk.
pub const DISK_IDS_MAX: usize = 8;
