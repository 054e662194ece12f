//! The machines that one life of the daemon has met, and what it may remember of them: a lease that is over is kept
//! for its machine, and so is what firmware said, until the address or the place in the table is needed.

use super::acts::Storm;
use std::collections::HashSet;

/// Memory that a daemon at rest may have more than when its life began, in KiB, however few machines came: rooms for
/// pieces of files, which are kept (`HTTP_IDLE_BUFFERS_MAX`, 4 MiB), the boots of unlisted machines
/// (`ATTEMPTS_UNLISTED_MAX`, 5 MiB with their pages on disk), the flight recorder (1 MiB), the largest batches that TFTP's lanes sent (1 MiB), the
/// stacks of a burst of threads that is just over (12 KiB each, 217 were seen), and what the allocator keeps of reloads
/// and bursts between pieces in use (4 MiB).
pub const BESIDE_KIB_MAX: f64 = 18.0 * 1024.0;
/// The same since a quarter of its life was over, when the first of these are there.
pub const BESIDE_WHEN_WARM_KIB_MAX: f64 = 5.0 * 1024.0;
/// Memory for each machine that it booted first since then: its lease, what its firmware and its loader said of it,
/// where it stands in its boot, and its share of redb's pages. 1.8 were in use with 4,000 machines.
const BOOTED_KIB_MAX: f64 = 2.2;
/// The same for each that only asked for an address: its lease. 0.6 were in use with 2,000.
const LEASED_KIB_MAX: f64 = 0.7;

/// How many there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Some that the fleet booted, each once.
    pub booted: u64,
    /// Others that asked for an address alone.
    pub leased: u64,
}

/// Each of them.
#[derive(Default)]
pub struct Machines {
    booted: HashSet<u32>,
    leased: HashSet<String>,
}

impl Machines {
    pub fn boot(&mut self, storm: &Storm) {
        self.booted.extend(storm.first..storm.first + storm.machines);
    }

    pub fn lease(&mut self, mac: &str) {
        self.leased.insert(mac.to_owned());
    }

    pub fn met(&self) -> Met {
        Met {
            booted: self.booted.len() as u64,
            leased: self.leased.len() as u64,
        }
    }
}

/// How much more memory one process may have for the machines that it met since `before`, in KiB.
pub fn memory_of_machines_kib_max(before: Met, now: Met) -> f64 {
    let more = |of: fn(Met) -> u64| of(now).saturating_sub(of(before)) as f64;
    BOOTED_KIB_MAX * more(|met| met.booted) + LEASED_KIB_MAX * more(|met| met.leased)
}
