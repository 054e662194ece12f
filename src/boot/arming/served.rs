//! Which hosts this store has been serving: whoever appears after that, appears for the first time.
//!
//! A host is new by everything that it is known by: one that was renamed, or whose MAC, UUID, serial number or switch
//! port stood in the inventory before, is not. A store that never served any inventory, or forgot what it served,
//! knows nobody, and so nobody is new to it: the first inventory is only learned.

use super::fingerprint::{HostKey, keys};
use crate::boot::snapshot::{Host, Snapshot};
use crate::model::limits::{SERVED_KEYS_MAX, SERVED_KEYS_PER_RECORD_MAX};
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, sync::Arc};

/// Everything that hosts were known by in the inventories that this store has been serving.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServedHosts {
    keys: HashSet<HostKey>,
    /// The same of hosts that appeared when the disk did not take it: they are new no more, and on no disk yet.
    missed: HashSet<HostKey>,
    /// Records on disk, or on their way there; none where no inventory was served.
    records: u32,
}

/// Keys as they are kept on disk, together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedRecord {
    /// Its place among all: a record is never written anew.
    pub number: u32,
    /// The keys.
    pub keys: Vec<HostKey>,
}

/// What an inventory has that was not served before.
#[derive(Debug, Default)]
pub struct Newcomers {
    /// The hosts that appear for the first time; none where no inventory was served before.
    pub hosts: Vec<Arc<Host>>,
    /// What is to be kept of it.
    pub records: Vec<ServedRecord>,
    /// There is no room for what is new, and nobody counts as new any more.
    pub is_full: bool,
}

impl ServedHosts {
    /// What the disk has.
    pub fn restored(records: impl IntoIterator<Item = ServedRecord>) -> ServedHosts {
        let mut served = ServedHosts::default();
        for record in records {
            served.note(&record);
        }
        served
    }

    /// What is new in an inventory. Nothing of it counts as served before it was noted.
    pub fn newcomers(&self, snapshot: &Snapshot) -> Newcomers {
        let is_known = |host: &Arc<Host>| keys(host).any(|key| self.keys.contains(&key) || self.missed.contains(&key));
        let unseen: HashSet<HostKey> = snapshot
            .hosts
            .iter()
            .flat_map(|host| keys(host))
            .filter(|key| !self.keys.contains(key))
            .collect();
        if self.keys.len() + unseen.len() > SERVED_KEYS_MAX {
            return Newcomers {
                is_full: true,
                ..Newcomers::default()
            };
        }
        let hosts = match self.records {
            0 => Vec::new(),
            _ => snapshot
                .hosts
                .iter()
                .filter(|host| !is_known(host))
                .map(Arc::clone)
                .collect(),
        };
        Newcomers {
            hosts,
            records: self.records_of(unseen),
            is_full: false,
        }
    }

    /// Counts a record as served.
    pub fn note(&mut self, record: &ServedRecord) {
        self.keys.extend(&record.keys);
        self.records = self.records.max(record.number.saturating_add(1));
    }

    /// Hosts appeared, and it could not be kept: whoever arms one by hand since, or has it boot its disk, is not to find
    /// it armed once the disk works again.
    pub fn miss(&mut self, hosts: &[Arc<Host>]) {
        self.missed.extend(hosts.iter().flat_map(|host| keys(host)));
    }

    /// The first inventory is a record, even if nobody is in it: it was served without whoever comes later.
    fn records_of(&self, unseen: HashSet<HostKey>) -> Vec<ServedRecord> {
        let mut unseen: Vec<HostKey> = unseen.into_iter().collect();
        unseen.sort_unstable();
        let numbered = |(keys, number): (&[HostKey], u32)| ServedRecord {
            number,
            keys: keys.to_vec(),
        };
        if unseen.is_empty() && self.records == 0 {
            return vec![numbered((&[], 0))];
        }
        unseen
            .chunks(SERVED_KEYS_PER_RECORD_MAX)
            .zip(self.records..)
            .map(numbered)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::snapshot::Hosts;
    use crate::fixtures::{host, snapshot};

    fn room(hosts: Vec<Host>) -> Snapshot {
        Snapshot {
            hosts: Hosts::new(hosts),
            ..snapshot()
        }
    }

    fn with_mac(name: &str, last: u8) -> Host {
        Host {
            macs: vec![crate::model::MacAddr([2, 0, 0, 0, 0, last])],
            ..host(name)
        }
    }

    /// The names of those who are new in an inventory, which is served from then on.
    fn serve(served: &mut ServedHosts, hosts: Vec<Host>) -> Vec<String> {
        let newcomers = served.newcomers(&room(hosts));
        for record in &newcomers.records {
            served.note(record);
        }
        newcomers.hosts.iter().map(|host| host.name.to_string()).collect()
    }

    #[test]
    fn the_first_inventory_of_a_store_is_only_learned() {
        let mut served = ServedHosts::default();
        assert!(serve(&mut served, vec![with_mac("r1u01", 1), with_mac("r1u02", 2)]).is_empty());
        assert_eq!(
            serve(&mut served, vec![with_mac("r1u01", 1), with_mac("r1u03", 3)]),
            ["r1u03"]
        );
        assert!(serve(&mut served, vec![with_mac("r1u03", 3)]).is_empty());
    }

    #[test]
    fn an_empty_room_was_served_without_those_who_come_later() {
        let mut served = ServedHosts::default();
        assert!(serve(&mut served, vec![]).is_empty());
        assert_eq!(serve(&mut served, vec![with_mac("r1u01", 1)]), ["r1u01"]);
    }

    #[test]
    fn who_was_renamed_given_away_edited_or_away_for_a_while_is_not_new() {
        let mut served = ServedHosts::default();
        let uuid = "b5a1c6b2-1111-2222-3333-445566778899".parse().unwrap();
        let first = Host {
            uuid: Some(uuid),
            serial: Some("SN-7".to_owned()),
            port: Some("sw1/7".to_owned()),
            ..with_mac("r1u01", 1)
        };
        serve(&mut served, vec![first]);
        serve(&mut served, vec![]);
        let others = [
            with_mac("renamed", 1),
            Host {
                uuid: Some(uuid),
                ..host("other")
            },
            Host {
                serial: Some("sn-7".to_owned()),
                ..host("third")
            },
            Host {
                port: Some("SW1/7".to_owned()),
                ..host("fourth")
            },
            with_mac("r1u01", 9),
        ];
        for other in others {
            let newcomers = served.newcomers(&room(vec![other.clone()]));
            assert!(newcomers.hosts.is_empty(), "{other:?}");
        }
    }

    #[test]
    fn what_is_kept_is_what_was_served_whoever_restarts() {
        let mut served = ServedHosts::default();
        let many: Vec<Host> = (0..200).map(|number| with_mac(&format!("h{number}"), number)).collect();
        let newcomers = served.newcomers(&room(many.clone()));
        for record in &newcomers.records {
            served.note(record);
        }
        let kept = served.newcomers(&room(vec![with_mac("late", 250)]));
        assert_eq!(kept.records[0].number, u32::try_from(newcomers.records.len()).unwrap());
        let mut restarted = ServedHosts::restored(newcomers.records);
        assert!(restarted.newcomers(&room(many)).records.is_empty());
        assert_eq!(serve(&mut restarted, vec![with_mac("late", 250)]), ["late"]);
    }
}
