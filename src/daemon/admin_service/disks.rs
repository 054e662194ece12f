//! What is known of the disks of hosts, and which one an install of each would erase: by the function that the deployer
//! chooses by.

use super::AdminService;
use super::hosts::at_this_clock;
use crate::admin::api::HostDisks;
use crate::boot::{
    arming::{DiskReport, Fingerprint},
    resource::order_without_pieces,
    snapshot::{Host, Snapshot},
};
use crate::model::{DiskSelector, Token};
use crate::state::Shared;
use crate::store::{Store, records::disks};
use std::sync::Arc;

/// The rule of a host's install, and how many bytes its image wants, as far as that is known.
struct DiskWish {
    rule: DiskSelector,
    needed: u64,
}

/// Where what is known of disks is asked after.
#[derive(Clone)]
pub(super) struct KnownDisks {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
}

impl KnownDisks {
    /// What is known of a host's disks. A store that can't be read knows nothing.
    pub(super) fn of(&self, snapshot: &Snapshot, host: &Host) -> HostDisks {
        let report = disks::get(&*self.store, Fingerprint::of(host)).ok().flatten();
        let told = report.as_ref().map(|report| at_this_clock(&self.shared, report.told));
        HostDisks {
            told,
            ..known(wish(snapshot, host).as_ref(), host, report)
        }
    }

    /// The same where its machine told of them: the store is asked for no other host.
    pub(super) fn told(&self, snapshot: &Snapshot, host: &Host) -> Option<HostDisks> {
        let has_told = self.shared.lease_table().arming().has_told_disks(host);
        has_told.then(|| self.of(snapshot, host))
    }
}

impl AdminService {
    /// What is known of hosts' disks.
    pub(super) fn disk_reports(&self) -> KnownDisks {
        KnownDisks {
            shared: Arc::clone(&self.shared),
            store: Arc::clone(&self.store),
        }
    }
}

/// What an install of the host chooses by. Without a rule in the inventory our own live system takes the only disk of a
/// machine; what another installer does then is its own affair.
fn wish(snapshot: &Snapshot, host: &Host) -> Option<DiskWish> {
    let order = order_without_pieces(snapshot, host, (Token::SAMPLE, "http://192.0.2.1")).ok();
    let needed = order.as_ref().and_then(|order| order.image.disk_bytes());
    let own = host.settings.disk.as_ref().map(|disk| disk.value.clone());
    let rule = own.or(order.map(|order| order.disk))?;
    Some(DiskWish {
        rule,
        needed: needed.unwrap_or_default(),
    })
}

fn known(wish: Option<&DiskWish>, host: &Host, report: Option<DiskReport>) -> HostDisks {
    let plain = HostDisks {
        host: host.name.to_string(),
        rule: wish.map(|wish| wish.rule.to_string()),
        ..HostDisks::default()
    };
    let Some(report) = report else { return plain };
    let (disks, is_whole) = (report.disks.disks, report.disks.is_whole);
    let choice = wish.map(|wish| wish.rule.choose(&disks, wish.needed));
    let (chosen, warning) = match choice {
        // Others, which nobody knows of, may fit as well; and whoever installs by no rule of ours may take one of them.
        _ if !is_whole => (None, Some("it told of more disks than are kept".into())),
        None => (None, None),
        Some(Ok(disk)) => (Some(disk.name.clone()), None),
        Some(Err(why)) => (None, Some(why.to_string())),
    };
    HostDisks {
        disks,
        is_whole,
        chosen,
        warning,
        ..plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use crate::model::{DiskInfo, Pick, ToldDisks, WallTime};

    fn disk(name: &str, gigabytes: u64) -> DiskInfo {
        DiskInfo {
            name: name.to_owned(),
            bytes: gigabytes * 1_000_000_000,
            ..DiskInfo::default()
        }
    }

    fn shown(rule: Option<DiskSelector>, needed: u64, told: ToldDisks) -> HostDisks {
        let wish = rule.map(|rule| DiskWish { rule, needed });
        let report = DiskReport {
            machine: Fingerprint(7),
            told: WallTime(1),
            disks: told,
        };
        known(wish.as_ref(), &fixtures::host("r1u07"), Some(report))
    }

    #[test]
    fn the_disk_is_marked_that_the_rule_chooses_and_else_it_is_said_why_none_is() {
        let two = || ToldDisks {
            disks: vec![disk("sda", 480), disk("sdb", 960)],
            is_whole: true,
        };
        let largest = || DiskSelector {
            pick: Some(Pick::Largest),
            ..DiskSelector::default()
        };
        let found = shown(Some(largest()), 0, two());
        assert_eq!((found.chosen.as_deref(), found.warning), (Some("sdb"), None));
        for (rule, needed, told) in [
            (DiskSelector::default(), 0, two()),
            (largest(), 2_000_000_000_000, two()),
            (
                largest(),
                0,
                ToldDisks {
                    is_whole: false,
                    ..two()
                },
            ),
            (
                largest(),
                0,
                ToldDisks {
                    disks: Vec::new(),
                    is_whole: true,
                },
            ),
        ] {
            let found = shown(Some(rule.clone()), needed, told.clone());
            assert!(found.chosen.is_none() && found.warning.is_some(), "{rule} {told:?}");
        }
        let by_its_own = shown(None, 0, two());
        assert_eq!(
            (by_its_own.chosen, by_its_own.warning, by_its_own.disks.len()),
            (None, None, 2)
        );
        let cut_off = ToldDisks {
            is_whole: false,
            ..two()
        };
        assert!(shown(None, 0, cut_off).warning.is_some());
        let unknown = known(None, &fixtures::host("r1u07"), None);
        assert_eq!((unknown.told, unknown.disks.len(), unknown.warning), (None, 0, None));
    }
}
