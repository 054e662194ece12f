//! Bounds of what `bootwright doctor` looks at and asks for.

use std::time::Duration;

/// How long answers to its DISCOVERs are waited for: servers that look whether an address is in use take a second or
/// three.
pub const DHCP_SERVER_PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it asks in that time.
pub const DHCP_SERVER_PROBES: u32 = 2;
/// DHCP servers of one interface that are told apart.
pub const DHCP_SERVERS_FOUND_MAX: usize = 64;
/// Bytes of a loader that are read for its signatures, which stand at its end; a unified kernel image has 100 million.
pub const LOADER_SIGNATURES_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes that must be free on the disk of the state: leases and attempts are written there all the time.
pub const DOCTOR_STATE_FREE_BYTES: u64 = 32 * 1024 * 1024;
/// The same for each host: its leases, its attempts, what the journal keeps of them before it is folded.
pub const DOCTOR_STATE_BYTES_PER_HOST: u64 = 64 * 1024;
/// Relays and switches that are told apart for an operator who asks for them.
pub const RELAYS_KEPT_MAX: usize = 256;
/// Ports of each that are kept: two say that it tells them apart.
pub const RELAY_PORTS_KEPT_MAX: usize = 4;
/// Machines of each that are counted: a port that so many machines share is none.
pub const RELAY_MACHINES_KEPT_MAX: usize = 8;
/// How long a program may take that says what is asked of this machine.
pub const DOCTOR_PROGRAM_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that should be free where images are, for the next one.
pub const DOCTOR_IMAGES_FREE_BYTES: u64 = 1024 * 1024 * 1024;
