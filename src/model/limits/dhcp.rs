//! The bounds of how DHCP's packets and the lease changes that come of them are gathered.

use std::time::Duration;

/// How long packets are gathered before they are decided together, while more keep coming: each wake-up of a thread
/// costs as much as an exchange. No packet is gathered that comes alone.
pub const DHCP_GATHER_TIME: Duration = Duration::from_millis(2);
/// The time in which so many packets have to come for that.
pub const DHCP_GATHER_WINDOW: Duration = Duration::from_millis(20);
/// As many: more than a rack whose machines all ask at once sends in that time by chance.
pub const DHCP_GATHER_PACKETS_MIN: usize = 16;
/// Threads that wait for disks on behalf of an interface's DHCP, which has nothing to read there.
pub const DHCP_DISK_THREADS_MAX: usize = 1;
