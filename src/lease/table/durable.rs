//! What the table knows of the disk: until when each lease stands there.
//!
//! A machine whose lease can't be prolonged keeps what is written of it.

use super::{HoldState, LeaseTable};
use crate::lease::{Lease, LeaseChange, LeaseRecord, LeaseState};
use crate::model::{HardwareAddr, Now, limits};
use std::{net::Ipv4Addr, time::Duration};

impl LeaseTable {
    /// Takes that addresses were given before this table began: there may be holders by reservation, who are on
    /// no disk.
    pub fn resume(&mut self, now: Now) {
        self.resumed = Some(now.monotonic);
    }

    /// Whether a machine may be in a boot that began before the restart, with an address that is reserved for it.
    pub fn may_be_in_boot_since_before(&self, now: Now) -> bool {
        let since = |resumed: Duration| now.monotonic.saturating_sub(resumed);
        self.resumed
            .is_some_and(|resumed| since(resumed) < limits::RESERVATION_TRUSTED)
    }

    /// Notes that `change` is on disk; changes are noted in the order in which they were made.
    pub fn committed(&mut self, now: Now, change: &LeaseChange) {
        let (address, record) = match change {
            LeaseChange::Put(record) => (record.address, Some(record)),
            LeaseChange::Remove(address) => (*address, None),
        };
        let date = self.date(now);
        let Some(entry) = self.entries.get_mut(&address) else {
            return;
        };
        let is_its = |record: &&LeaseRecord| entry.client == Some(record.client) && entry.holding == HoldState::Leased;
        let record = record.filter(is_its);
        entry.committed = record.map_or(Duration::ZERO, |record| entry.standing(now, date, record.expires));
    }

    /// The leases that run and were acknowledged: an offer was not, nor was what is not on disk.
    pub fn acknowledged(&self, now: Now) -> impl Iterator<Item = Lease> + '_ {
        let is_on_disk = |lease: &Lease| {
            let entry = self.entries.get(&lease.address);
            lease.state == LeaseState::Leased && entry.is_some_and(|entry| !entry.committed.is_zero())
        };
        self.iter(now).filter(is_on_disk)
    }

    /// How long `address` stays `client`'s by what is on disk, whatever could not be written since;
    /// a second less, because the calendar there has whole seconds.
    pub fn committed_remaining(&self, now: Now, client: HardwareAddr, address: Ipv4Addr) -> Option<Duration> {
        let entry = self.entries.get(&address)?;
        let is_its = entry.client == Some(client) && entry.holding == HoldState::Leased;
        let remaining = entry.committed.checked_sub(now.monotonic + Duration::from_secs(1));
        remaining.filter(|remaining| is_its && !remaining.is_zero())
    }
}
