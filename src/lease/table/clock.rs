//! What a step of the host's clock means for the leases on disk.

use super::{HoldState, LeaseEntry, LeaseTable};
use crate::lease::{ClockStep, LeaseRecord, PortRecord};
use crate::model::{HardwareAddr, Now, WallTime, limits};
use std::{net::Ipv4Addr, time::Duration};

/// A lease that had ended at the start by a clock that may have been wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct UncertainLease {
    address: Ipv4Addr,
    client: HardwareAddr,
    /// Its end by the calendar of when it was given.
    expires: WallTime,
    /// Monotonic; it has ended by then, however long the host was off.
    ended: Duration,
}

impl LeaseTable {
    /// The date by the ends on disk.
    pub fn date(&self, now: Now) -> WallTime {
        self.calendar.date(now)
    }

    /// When it was found that the disk lost leases, by the ends on it; `None` where none of those can run still.
    /// It goes to disk with every date: a calendar that leaps takes it along.
    pub fn lost_at(&self, now: Now) -> Option<WallTime> {
        let passed = self.since_loss(now).filter(|passed| *passed < limits::LEASE_MAX)?;
        Some(WallTime(self.date(now).0.saturating_sub(passed.as_secs())))
    }

    /// `now` with the date by the ends on disk for its wall clock.
    pub fn dated(&self, now: Now) -> Now {
        let wall = self.date(now);
        Now { wall, ..now }
    }

    /// At which switch ports addresses were given, as it is to stand on disk: to be written anew together with
    /// [`LeaseTable::redate`].
    pub fn port_records(&self, now: Now) -> Vec<PortRecord> {
        self.ports.records(self.dated(now))
    }

    /// How the end of a lease that lasts so long from now is written.
    pub(super) fn end_on_disk(&self, now: Now, lasting: Duration) -> WallTime {
        WallTime(self.date(now).0.saturating_add(lasting.as_secs()))
    }

    /// Notices that the host's clock was set. Every decision begins with it, so that no end is written by a
    /// clock that moved unseen. After a step that leaps, [`LeaseTable::redate`] has what is to be written.
    pub fn observe_clock(&mut self, now: Now) -> Option<ClockStep> {
        let step = self.calendar.observe(now)?;
        let (leases, ports) = match step.by < 0 {
            true => (self.revive(now), self.ports.revive(now)),
            false => (false, false),
        };
        if step.leaps || leases || ports {
            self.leap();
        }
        Some(step)
    }

    fn leap(&mut self) {
        self.leaps += 1;
        self.is_undated = true;
    }

    /// Whether what is on disk is dated by another calendar.
    pub fn is_undated(&self) -> bool {
        self.is_undated
    }

    /// The leases whose ends are to be written anew, in one commit with the date; and the number of the leap.
    /// Then [`LeaseTable::redated`] or [`LeaseTable::not_redated`] is to be told what became of it. `None` where
    /// what is on disk is right, and until then: a disk that hangs is given all leases once.
    pub fn redate(&mut self, now: Now) -> Option<(u64, Vec<LeaseRecord>)> {
        if !self.is_undated || self.is_being_redated {
            return None;
        }
        self.is_being_redated = true;
        Some((self.leaps, self.records(now)))
    }

    /// Takes that `records` are on disk since that leap. Machines were served meanwhile: what is known of a later
    /// record, or of another client's, stays.
    pub fn redated(&mut self, now: Now, leap: u64, records: &[LeaseRecord]) {
        self.is_being_redated = false;
        if leap == self.leaps {
            self.is_undated = false;
        }
        let date = self.date(now);
        for record in records {
            let Some(entry) = self.entries.get_mut(&record.address) else {
                continue;
            };
            if entry.client == Some(record.client) && entry.holding == HoldState::Leased {
                entry.committed = entry.committed.max(entry.standing(now, date, record.expires));
            }
        }
    }

    /// Takes that they could not be written.
    pub fn not_redated(&mut self) {
        self.is_being_redated = false;
    }

    /// The leases that run, as they are to stand on disk.
    fn records(&self, now: Now) -> Vec<LeaseRecord> {
        let running = self.entries.iter().filter(|(_, entry)| entry.is_leased(now));
        let records = running.filter_map(|(address, entry)| {
            Some(LeaseRecord {
                address: *address,
                client: entry.client?,
                expires: self.end_on_disk(now, entry.ends - now.monotonic),
            })
        });
        records.collect()
    }

    /// Takes that the clock at the start, by which `records` were restored `now`, may have been wrong: all that
    /// is sure is that it was `at_least` that late by their calendar. Those that ended between the two may run
    /// still. Should the clock be set back, they do.
    pub fn mark_uncertain(&mut self, now: Now, at_least: WallTime, records: &[LeaseRecord]) {
        let ended_meanwhile = records
            .iter()
            .filter(|record| at_least < record.expires && record.expires <= now.wall);
        self.uncertain = ended_meanwhile
            .map(|record| {
                let remaining = Duration::from_secs(record.expires.0 - at_least.0).min(limits::LEASE_MAX);
                UncertainLease {
                    address: record.address,
                    client: record.client,
                    expires: record.expires,
                    ended: now.monotonic + remaining,
                }
            })
            .collect();
    }

    /// Lets the doubted leases run that have not ended by the clock as it was set, and that no other client was
    /// given meanwhile; whether there are any.
    fn revive(&mut self, now: Now) -> bool {
        let mut is_any = false;
        for uncertain in std::mem::take(&mut self.uncertain) {
            let remaining = Duration::from_secs(uncertain.expires.0.saturating_sub(now.wall.0));
            let ends = uncertain.ended.min(now.monotonic + remaining.min(limits::LEASE_MAX));
            let Some(entry) = self.entries.get(&uncertain.address).copied() else {
                continue;
            };
            let is_its = entry.client == Some(uncertain.client) && entry.holding == HoldState::Leased;
            if !is_its || entry.is_running(now) {
                continue;
            }
            if ends <= now.monotonic {
                // It may be set back further.
                self.uncertain
                    .extend((uncertain.ended > now.monotonic).then_some(uncertain));
            } else {
                let committed = ends;
                self.put(
                    uncertain.address,
                    LeaseEntry {
                        ends,
                        committed,
                        ..entry
                    },
                );
                is_any = true;
            }
        }
        is_any
    }
}

impl LeaseEntry {
    /// Until when it is its client's by a record on disk that ends at `expires`, where it is `date` now.
    pub(super) fn standing(&self, now: Now, date: WallTime, expires: WallTime) -> Duration {
        let remaining = Duration::from_secs(expires.0.saturating_sub(date.0));
        self.ends.min(now.monotonic + remaining.min(limits::LEASE_MAX))
    }

    fn is_leased(&self, now: Now) -> bool {
        self.holding == HoldState::Leased && self.is_running(now)
    }
}
