//! What machines told of their disks: whoever arms a host is shown which one it would lose.
//!
//! It is kept by machine, whatever its host is called, and is no more than a help for people: which disk is written to,
//! the machine itself decides by what it sees then.

use super::{Arming, Fingerprint};
use crate::boot::snapshot::Host;
use crate::model::{ToldDisks, WallTime, limits::DISK_REPORTS_MAX};
use std::{collections::HashMap, sync::Arc};

/// What a machine told of its disks last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskReport {
    /// Which machine: the record's key.
    pub machine: Fingerprint,
    /// When, by the calendar on disk.
    pub told: WallTime,
    /// What it told.
    pub disks: ToldDisks,
}

/// What the store is to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskReportChange {
    /// Keep it, in place of the one before.
    Put(Arc<DiskReport>),
    /// Drop that of a machine.
    Forget(Fingerprint),
}

/// When each machine told of its disks; the disks themselves are on disk alone.
#[derive(Clone, Debug, Default)]
pub(super) struct DiskReports {
    told: HashMap<Fingerprint, WallTime>,
}

impl Arming {
    /// The same, with what is on disk of machines' disks.
    #[must_use]
    pub fn with_disk_reports(self, told: impl IntoIterator<Item = (Fingerprint, WallTime)>) -> Arming {
        Arming {
            disk_reports: DiskReports {
                told: told.into_iter().collect(),
            },
            ..self
        }
    }

    /// Whether a host's machine told of its disks.
    pub fn has_told_disks(&self, host: &Host) -> bool {
        self.disk_reports.told.contains_key(&Fingerprint::of(host))
    }

    /// A host tells of its disks. Where as many are known as are kept, the machine is forgotten that told of its own
    /// the longest time ago.
    pub fn tell_disks(&mut self, now: WallTime, host: &Host, disks: ToldDisks) -> Vec<DiskReportChange> {
        let (machine, told) = (Fingerprint::of(host), &mut self.disk_reports.told);
        let is_full = told.len() >= DISK_REPORTS_MAX && !told.contains_key(&machine);
        let oldest = || told.iter().min_by_key(|(_, told)| **told).map(|(machine, _)| *machine);
        let oldest = if is_full { oldest() } else { None };
        if let Some(oldest) = oldest {
            told.remove(&oldest);
        }
        told.insert(machine, now);
        let report = DiskReport {
            machine,
            told: now,
            disks,
        };
        let forgotten = oldest.map(DiskReportChange::Forget);
        forgotten
            .into_iter()
            .chain([DiskReportChange::Put(Arc::new(report))])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use crate::model::MacAddr;

    fn host(last: u8) -> Host {
        Host {
            macs: vec![MacAddr([2, 0, 0, 0, 0, last])],
            ..fixtures::host("r1u07")
        }
    }

    #[test]
    fn the_one_that_told_the_longest_time_ago_gives_way_when_there_is_no_room() {
        let known = (0..DISK_REPORTS_MAX as u64).map(|number| (Fingerprint(number), WallTime(1000 - number % 7)));
        let mut arming = Arming::default().with_disk_reports(known.chain([(Fingerprint(3), WallTime(1))]));
        let tell = |arming: &mut Arming, last| arming.tell_disks(WallTime(2000), &host(last), ToldDisks::default());
        let changes = tell(&mut arming, 7);
        assert_eq!(changes[0], DiskReportChange::Forget(Fingerprint(3)));
        assert!(matches!(&changes[1], DiskReportChange::Put(report) if report.machine == Fingerprint::of(&host(7))));
        // Who is known takes nobody's place.
        assert_eq!(tell(&mut arming, 7).len(), 1);
        assert_eq!(arming.disk_reports.told.len(), DISK_REPORTS_MAX);
    }
}
