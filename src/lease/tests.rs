//! The lease table on its public surface, under a scripted clock.

use super::{AddressRequest, LeaseChange, LeaseRecord, LeaseState, LeaseTable};
use crate::model::{AddressRange, HardwareAddr, MacAddr, Now, WallTime, limits};
use proptest::prelude::*;
use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
    time::Duration,
};

const START: Now = Now {
    monotonic: Duration::from_secs(50),
    wall: WallTime(1_700_000_000),
};
const HOUR: Duration = Duration::from_secs(3600);

fn client(number: u32) -> HardwareAddr {
    let [a, b, c, d] = number.to_be_bytes();
    HardwareAddr::from(MacAddr([2, 0, a, b, c, d]))
}

fn pool(text: &str) -> Vec<AddressRange> {
    vec![text.parse().unwrap()]
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

fn offer(table: &mut LeaseTable, now: Now, pool: &[AddressRange], number: u32) -> Option<Ipv4Addr> {
    wanting(table, now, pool, (number, None))
}

/// An offer to a listed host, which may name an address.
fn wanting(
    table: &mut LeaseTable,
    now: Now,
    pool: &[AddressRange],
    (number, wanted): (u32, Option<Ipv4Addr>),
) -> Option<Ipv4Addr> {
    let seeker = AddressRequest {
        client: client(number),
        wanted,
        unlisted_at: None,
    };
    table.offer(now, pool, seeker, |_| true).ok().map(|offer| offer.address)
}

/// Offer and lease at once.
fn take(table: &mut LeaseTable, now: Now, pool: &[AddressRange], number: u32) -> Option<Ipv4Addr> {
    let address = offer(table, now, pool, number)?;
    table
        .lease(now, client(number), address, HOUR)
        .map(|record| record.address)
}

#[test]
fn a_pool_is_given_out_once_and_then_used_up() {
    let (mut table, pool) = (LeaseTable::default(), pool("192.0.2.10-192.0.2.12"));
    let given: BTreeSet<_> = (0..3).map(|n| take(&mut table, START, &pool, n)).collect();
    assert_eq!(given, [10, 11, 12].map(|last| Some(address(last))).into());
    assert_eq!(take(&mut table, START, &pool, 3), None);
}

#[test]
fn an_offer_that_a_restart_forgot_is_made_again_and_others_are_offered_other_addresses() {
    let pool = pool("198.18.0.1-198.18.3.232");
    let mut before = LeaseTable::default();
    let promised: Vec<_> = (0..10).map(|n| offer(&mut before, START, &pool, n).unwrap()).collect();
    // Others ask first, and then those take what they were offered.
    let mut table = LeaseTable::default();
    for other in 10..20 {
        offer(&mut table, START, &pool, other).unwrap();
    }
    for (number, address) in (0..).zip(&promised) {
        assert!(
            table.lease(START, client(number), *address, HOUR).is_some(),
            "{address}"
        );
    }
    for (number, address) in (0..).zip(promised) {
        let mut anew = LeaseTable::default();
        assert_eq!(offer(&mut anew, START, &pool, number), Some(address));
    }
}

#[test]
fn an_offer_is_held_and_then_free_for_others() {
    let (mut table, pool) = (LeaseTable::default(), pool("192.0.2.10"));
    assert_eq!(offer(&mut table, START, &pool, 1), Some(address(10)));
    assert_eq!(offer(&mut table, START, &pool, 2), None);
    let later = START.after(limits::OFFER_TTL);
    assert_eq!(offer(&mut table, later, &pool, 2), Some(address(10)));
    assert!(table.lease(later, client(1), address(10), HOUR).is_none());
}

#[test]
fn a_returning_client_gets_its_address_even_after_it_expired() {
    let (mut table, pool) = (LeaseTable::default(), pool("192.0.2.10-192.0.2.20"));
    let given: Vec<_> = (0..5).map(|number| take(&mut table, START, &pool, number)).collect();
    assert_eq!(offer(&mut table, START.after(HOUR * 9), &pool, 3), given[3]);
}

#[test]
fn what_expired_first_is_used_again_first_and_offers_before_leases() {
    let (mut table, pool) = (LeaseTable::default(), pool("192.0.2.10-192.0.2.12"));
    let late = take(&mut table, START.after(Duration::from_secs(9)), &pool, 0);
    let early = take(&mut table, START, &pool, 1);
    let offered = offer(&mut table, START.after(Duration::from_secs(30)), &pool, 2);
    let later = START.after(HOUR * 2);
    let again: Vec<_> = (7..11).map(|n| take(&mut table, later, &pool, n)).collect();
    assert_eq!(again, [offered, early, late, None]);
}

#[test]
fn a_wanted_address_is_honoured_when_it_is_free_and_in_the_pool() {
    let (mut table, pool) = (LeaseTable::default(), pool("192.0.2.10-192.0.2.20"));
    let mut wants = |number, last| wanting(&mut table, START, &pool, (number, Some(address(last))));
    assert_eq!(wants(1, 15), Some(address(15)));
    for (number, last) in [(2, 15), (3, 99)] {
        let other = wants(number, last).unwrap();
        assert!(pool[0].contains(other) && other != address(15), "{other}");
    }
}

#[test]
fn an_address_that_may_not_be_used_is_never_chosen() {
    let (mut table, pool) = (LeaseTable::default(), pool("192.0.2.10-192.0.2.11"));
    let mut offer = |number, wanted| {
        let seeker = AddressRequest {
            client: client(number),
            wanted,
            unlisted_at: None,
        };
        let offer = table.offer(START, &pool, seeker, |each| each != address(10));
        offer.map(|offer| offer.address)
    };
    assert_eq!(offer(1, Some(address(10))), Ok(address(11)));
    assert_eq!(offer(2, None), Err(None));
}

#[test]
fn a_running_lease_outlives_a_new_offer_of_it() {
    let (mut table, pool) = (LeaseTable::default(), pool("192.0.2.10"));
    take(&mut table, START, &pool, 1);
    let later = START.after(Duration::from_secs(60));
    assert_eq!(offer(&mut table, later, &pool, 1), Some(address(10)));
    let after_the_offer = later.after(limits::OFFER_TTL * 2);
    assert_eq!(table.client_at(after_the_offer, address(10)), Some(client(1)));
}

#[test]
fn a_jump_of_the_calendar_moves_no_lease() {
    let (mut table, pool) = (LeaseTable::default(), pool("192.0.2.10"));
    take(&mut table, START, &pool, 1);
    let jumped = Now {
        monotonic: START.monotonic + Duration::from_secs(1),
        wall: WallTime(START.wall.0 + 10 * 365 * 24 * 3600),
    };
    assert_eq!(table.client_at(jumped, address(10)), Some(client(1)));
}

#[test]
fn a_redrawn_pool_gives_no_address_twice() {
    let mut table = LeaseTable::default();
    let narrow = pool("192.0.2.10-192.0.2.12");
    let given: BTreeSet<_> = (0..3).map(|n| take(&mut table, START, &narrow, n).unwrap()).collect();
    let wide = pool("192.0.2.9-192.0.2.14");
    let more: BTreeSet<_> = (3..6).map(|n| take(&mut table, START, &wide, n).unwrap()).collect();
    assert_eq!(given, [10, 11, 12].map(address).into());
    assert_eq!(more, [9, 13, 14].map(address).into());
    assert_eq!(take(&mut table, START, &wide, 6), None);
}

#[test]
fn a_restored_lease_runs_for_what_the_calendar_left_of_it() {
    let mut table = LeaseTable::default();
    let record = LeaseRecord {
        address: address(10),
        client: client(1),
        expires: WallTime(START.wall.0 + 100),
    };
    assert!(table.restore(START, vec![record]).is_empty());
    let left = |seconds| START.after(Duration::from_secs(seconds));
    assert_eq!(table.client_at(left(99), address(10)), Some(client(1)));
    assert_eq!(table.client_at(left(100), address(10)), None);
    assert_eq!(
        offer(&mut table, left(500), &pool("192.0.2.9-192.0.2.20"), 1),
        Some(address(10))
    );
}

#[test]
fn a_restored_lease_never_runs_longer_than_a_year() {
    let mut table = LeaseTable::default();
    let record = LeaseRecord {
        address: address(10),
        client: client(1),
        expires: WallTime(u64::MAX),
    };
    table.restore(START, vec![record]);
    assert_eq!(table.iter(START).next().unwrap().remaining, limits::LEASE_MAX);
}

#[test]
fn senseless_records_come_back_with_a_reason_and_the_rest_is_kept() {
    let mut table = LeaseTable::default();
    let record = |address: Ipv4Addr, client| LeaseRecord {
        address,
        client,
        expires: WallTime(START.wall.0 + 100),
    };
    let nobody = HardwareAddr::from_wire(1, 0, [0; 16]);
    let refused = table.restore(
        START,
        vec![
            record(Ipv4Addr::UNSPECIFIED, client(1)),
            record(address(10), nobody),
            record(address(11), client(1)),
            record(address(11), client(2)),
        ],
    );
    assert_eq!(refused.len(), 3);
    assert_eq!(table.client_at(START, address(11)), Some(client(1)));
}

#[test]
fn people_see_every_address_and_what_it_is_doing() {
    let (mut table, pool) = (LeaseTable::default(), pool("192.0.2.10-192.0.2.20"));
    let leased = take(&mut table, START, &pool, 0).unwrap();
    let offered = offer(&mut table, START, &pool, 1).unwrap();
    let declined = take(&mut table, START, &pool, 2).unwrap();
    table.decline(START, client(2), declined);
    let released = take(&mut table, START, &pool, 3).unwrap();
    table.release(START, client(3), released);
    let states: HashMap<_, _> = table.iter(START).map(|lease| (lease.address, lease.state)).collect();
    let expected = [
        (leased, LeaseState::Leased),
        (offered, LeaseState::Offered),
        (declined, LeaseState::Quarantined),
        (released, LeaseState::Ended),
    ];
    assert_eq!(states, expected.into());
}

#[test]
fn twenty_thousand_leases_take_no_search() {
    let (mut table, pool) = (LeaseTable::default(), pool("198.18.0.1-198.18.78.32"));
    for number in 0..20_000 {
        assert!(take(&mut table, START, &pool, number).is_some());
    }
    assert_eq!(offer(&mut table, START, &pool, 20_000), None);
    // All expired: every one is taken over by another client, the oldest first.
    let later = START.after(HOUR * 2);
    for number in 20_000..40_000 {
        assert!(take(&mut table, later, &pool, number).is_some());
    }
    assert_eq!(offer(&mut table, later, &pool, 1), None);
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Offer(u32),
    Want(u32, u8),
    Lease(u32, u8),
    Release(u32, u8),
    Decline(u32, u8),
    Withdraw(u32),
    Wait(u64),
    Restart,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let (who, which) = (0..6u32, 10..15u8);
    let one = prop_oneof![
        who.clone().prop_map(Move::Offer),
        (who.clone(), which.clone()).prop_map(|(who, which)| Move::Want(who, which)),
        (who.clone(), which.clone()).prop_map(|(who, which)| Move::Lease(who, which)),
        (who.clone(), which.clone()).prop_map(|(who, which)| Move::Release(who, which)),
        (who.clone(), which).prop_map(|(who, which)| Move::Decline(who, which)),
        who.prop_map(Move::Withdraw),
        (1..90u64).prop_map(Move::Wait),
        Just(Move::Restart),
    ];
    proptest::collection::vec(one, 0..80)
}

/// What the clients themselves believe, from the ACKs they got.
#[derive(Default)]
struct Beliefs(HashMap<Ipv4Addr, (HardwareAddr, Duration)>);

impl Beliefs {
    fn acknowledged(&mut self, now: Now, address: Ipv4Addr, client: HardwareAddr, lasting: Duration) {
        if let Some((holder, ends)) = self.0.get(&address) {
            assert!(
                *holder == client || *ends <= now.monotonic,
                "{address} went to two clients"
            );
        }
        self.0.insert(address, (client, now.monotonic + lasting));
    }
}

fn restarted(table: &LeaseTable, now: Now) -> LeaseTable {
    let records = table
        .iter(now)
        .filter(|lease| lease.state == LeaseState::Leased)
        .map(|lease| LeaseRecord {
            address: lease.address,
            client: lease.client.unwrap(),
            expires: WallTime(now.wall.0 + lease.remaining.as_secs()),
        })
        .collect();
    let mut fresh = LeaseTable::default();
    assert!(fresh.restore(now, records).is_empty());
    fresh
}

proptest! {
    #[test]
    fn no_address_is_ever_held_by_two_clients(moves in moves()) {
        let pool = pool("192.0.2.10-192.0.2.13");
        let lasting = Duration::from_secs(60);
        let (mut table, mut now, mut beliefs) = (LeaseTable::default(), START, Beliefs::default());
        for step in moves {
            match step {
                Move::Offer(who) => {
                    if let Some(given) = offer(&mut table, now, &pool, who) {
                        prop_assert!(pool[0].contains(given));
                        prop_assert!(table.is_available(now, client(who), given));
                    }
                }
                Move::Want(who, which) => {
                    wanting(&mut table, now, &pool, (who, Some(address(which))));
                }
                Move::Lease(who, which) => {
                    if table.lease(now, client(who), address(which), lasting).is_some() {
                        beliefs.acknowledged(now, address(which), client(who), lasting);
                        prop_assert_eq!(table.client_at(now, address(which)), Some(client(who)));
                    }
                }
                Move::Release(who, which) | Move::Decline(who, which) => {
                    let ended = match step {
                        Move::Release(..) => table.release(now, client(who), address(which)),
                        _ => table.decline(now, client(who), address(which)),
                    };
                    if ended {
                        beliefs.0.remove(&address(which));
                    }
                }
                Move::Withdraw(who) => table.withdraw_offers(now, client(who)),
                Move::Wait(seconds) => now = now.after(Duration::from_secs(seconds)),
                Move::Restart => table = restarted(&table, now),
            }
        }
    }
}

#[test]
fn leases_that_ended_while_the_daemon_was_down_are_reused_oldest_first() {
    let mut table = LeaseTable::default();
    let ended = |last: u8, ago_s: u64| LeaseRecord {
        address: address(last),
        client: client(last.into()),
        expires: WallTime(START.wall.0 - ago_s),
    };
    table.restore(START, vec![ended(100, 10), ended(101, 3000), ended(102, 200)]);
    let pool = pool("192.0.2.100-192.0.2.102");
    let given: Vec<_> = (1..=3).map(|number| take(&mut table, START, &pool, number)).collect();
    assert_eq!(given, [Some(address(101)), Some(address(102)), Some(address(100))]);
}

#[test]
fn what_the_disk_has_not_taken_assures_nothing() {
    let (mut table, pool) = (LeaseTable::default(), pool("192.0.2.10"));
    offer(&mut table, START, &pool, 1);
    let record = table.lease(START, client(1), address(10), HOUR).unwrap();
    assert_eq!(table.committed_remaining(START, client(1), address(10)), None);
    table.committed(START, &LeaseChange::Put(record));
    let second = Duration::from_secs(1);
    assert_eq!(
        table.committed_remaining(START, client(1), address(10)),
        Some(HOUR - second)
    );
    assert_eq!(table.committed_remaining(START, client(2), address(10)), None);
}

#[test]
fn a_renewal_that_was_not_written_leaves_the_end_that_is_on_disk() {
    let (mut table, pool) = (LeaseTable::default(), pool("192.0.2.10"));
    offer(&mut table, START, &pool, 1);
    let record = table.lease(START, client(1), address(10), HOUR).unwrap();
    table.committed(START, &LeaseChange::Put(record));
    let half = START.after(HOUR / 2);
    table.lease(half, client(1), address(10), HOUR).unwrap();
    let rest = HOUR / 2 - Duration::from_secs(1);
    assert_eq!(table.committed_remaining(half, client(1), address(10)), Some(rest));
    assert_eq!(
        table.committed_remaining(START.after(HOUR), client(1), address(10)),
        None
    );
}

#[test]
fn a_lease_that_came_from_the_disk_is_assured_and_one_that_was_given_back_is_not() {
    let mut table = LeaseTable::default();
    let record = LeaseRecord {
        address: address(10),
        client: client(1),
        expires: WallTime(START.wall.0 + 600),
    };
    table.restore(START, vec![record.clone()]);
    assert_eq!(
        table.committed_remaining(START, client(1), address(10)),
        Some(Duration::from_secs(599))
    );
    table.release(START, client(1), address(10));
    table.lease(START, client(1), address(10), HOUR).unwrap();
    assert_eq!(table.committed_remaining(START, client(1), address(10)), None);
    // The old record's own news comes late, and then that of its removal.
    table.committed(START, &LeaseChange::Put(record));
    table.committed(START, &LeaseChange::Remove(address(10)));
    assert_eq!(table.committed_remaining(START, client(1), address(10)), None);
}
