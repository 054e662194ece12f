//! Has no switch port that was restored from disk count for longer than it would if it were noted now: an older
//! version wrote those of addresses that another server gives with a year, and what a subnet's leases last may be
//! less than it was.

use crate::lease::LeaseTable;
use crate::model::{Mode, Now, ServedInterface, limits::PORT_BINDING_TTL};
use crate::store::{Store, Write, records::ports};
use std::{net::Ipv4Addr, time::Duration};

/// Shortens what counts for too long in `leases`, and in the store, by whose calendar it is `now`.
pub(super) fn shorten(now: Now, store: &dyn Store, leases: &mut LeaseTable, longest: impl Fn(Ipv4Addr) -> Duration) {
    let changes = leases.ports.shorten(now, longest);
    let writes: Vec<Write> = changes.iter().map(ports::write).collect();
    if !writes.is_empty()
        && let Err(error) = store.commit(&writes)
    {
        tracing::warn!("where addresses were given stays on disk for longer than it counts: {error}");
        leases.ports.not_written(&changes);
    }
}

/// For how long it can count at which port an address was given, where leases of its subnet last for `lease`.
pub(super) fn longest(interfaces: &[ServedInterface], lease: Option<Duration>) -> Duration {
    let gives_leases = interfaces.iter().any(|interface| interface.mode == Mode::Dhcp);
    let lease = lease.filter(|_| gives_leases).unwrap_or_default();
    lease.max(PORT_BINDING_TTL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{PortId, PortRecord};
    use crate::model::{MacAddr, WallTime};

    #[test]
    fn a_record_of_a_year_counts_as_long_as_one_that_is_noted_now() {
        const YEAR: Duration = Duration::from_secs(365 * 86_400);
        const DAY: Duration = Duration::from_secs(86_400);
        let served = |mode| ServedInterface {
            name: "eno2".to_owned(),
            mode,
            allow_default_route: false,
        };
        let now = Now {
            monotonic: Duration::from_secs(5),
            wall: WallTime(1_764_000_000),
        };
        let address = Ipv4Addr::new(192, 0, 2, 11);
        let record = PortRecord {
            address,
            client: MacAddr([2, 0, 0, 0, 0, 1]).into(),
            port: PortId::of("sw7/Gi1/7"),
            expires: WallTime(now.wall.0 + YEAR.as_secs()),
        };
        let folder = tempfile::tempdir().unwrap();
        let store = crate::store::open(folder.path()).unwrap().store;
        let mut leases = LeaseTable::default();
        leases.ports.restore(now, [record]);
        let proxy = [served(Mode::Proxy)];
        let both = [served(Mode::Proxy), served(Mode::Dhcp)];
        for (interfaces, lease, expected) in [
            (&both[..], YEAR, YEAR),
            (&both, DAY, DAY),
            (&both, DAY, DAY),
            (&proxy, DAY, PORT_BINDING_TTL),
        ] {
            shorten(now, &*store, &mut leases, |_| longest(interfaces, Some(lease)));
            let ends = WallTime(now.wall.0 + expected.as_secs());
            let ends_at: Vec<WallTime> = leases.ports.records(now).iter().map(|record| record.expires).collect();
            assert_eq!(ends_at, [ends], "{lease:?} {interfaces:?}");
            let (on_disk, _) = ports::load(&*store).unwrap();
            // What was right already is not written.
            let expected = (expected < YEAR).then_some(ends);
            assert!(on_disk.iter().map(|record| record.expires).eq(expected), "{on_disk:?}");
        }
        assert_eq!(longest(&both, None), PORT_BINDING_TTL, "of no subnet any more");
    }
}
