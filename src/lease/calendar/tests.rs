//! A host whose clock is set, whose daemon is killed, and that is rebooted with whatever clock it has then.

use super::*;
use crate::lease::{LeaseRecord, LeaseTable};
use crate::model::{HardwareAddr, MacAddr, limits};
use proptest::prelude::*;
use std::{collections::BTreeMap, net::Ipv4Addr};

const LASTING: Duration = Duration::from_secs(3600);
const DAY: i64 = 86_400;
/// A battery that is empty: the clock begins in 2000.
const EMPTY_BATTERY: i64 = -26 * 365 * DAY;
/// What whole seconds and a mark that is a little old may come to.
const SLACK: u64 = 120;

/// The world: what time it is, what the host believes, what is on its disk and in its daemon's memory.
struct Simulation {
    /// Seconds; what nobody in this world knows.
    truth: u64,
    /// The host's clock less that.
    error: i64,
    boot: u128,
    booted: u64,
    started: u64,
    table: LeaseTable,
    disk: BTreeMap<Ipv4Addr, LeaseRecord>,
    mark: Option<ClockMark>,
    /// Until when each address is its client's, by what that one was told.
    promised: BTreeMap<Ipv4Addr, (HardwareAddr, u64)>,
}

impl Simulation {
    fn new(error: i64) -> Simulation {
        let mut world = Simulation {
            truth: 1_764_000_000,
            error,
            boot: 1,
            booted: 1_764_000_000 - 500,
            started: 0,
            table: LeaseTable::default(),
            disk: BTreeMap::new(),
            mark: None,
            promised: BTreeMap::new(),
        };
        world.start();
        world
    }

    fn now(&self) -> Now {
        Now {
            monotonic: Duration::from_secs(self.truth - self.started),
            wall: self.wall(),
        }
    }

    fn wall(&self) -> WallTime {
        WallTime(self.truth.saturating_add_signed(self.error))
    }

    fn mark_of(&self, date: WallTime) -> ClockMark {
        ClockMark {
            date,
            boot: Some(self.boot),
            up: Duration::from_secs(self.truth - self.booted),
        }
    }

    /// As the daemon starts.
    fn start(&mut self) {
        self.started = self.truth;
        let here = self.mark_of(self.wall());
        let wall = self.mark.map_or(here.date, |mark| mark.resume(here));
        let now = Now { wall, ..self.now() };
        let records: Vec<LeaseRecord> = self.disk.values().cloned().collect();
        self.table = LeaseTable::default();
        if let Some(mark) = self.mark.filter(|mark| !mark.is_in_boot_of(&here)) {
            self.table.mark_uncertain(now, mark.date, &records);
        }
        assert!(self.table.restore(now, records).is_empty());
        self.observe();
        self.date();
    }

    /// As every decision begins.
    fn observe(&mut self) {
        let now = self.now();
        if self.table.observe_clock(now).is_some() {
            self.date();
        }
    }

    /// As it is done every minute.
    fn date(&mut self) {
        let now = self.now();
        let undated = self.table.redate(now);
        for record in undated.iter().flat_map(|(_, records)| records) {
            self.disk.insert(record.address, record.clone());
        }
        self.mark = Some(self.mark_of(self.table.date(now)));
        if let Some((leap, records)) = undated {
            self.table.redated(now, leap, &records);
        }
    }

    fn lease(&mut self, number: u8) {
        self.observe();
        let (now, address) = (self.now(), address(number));
        if let Some(record) = self.table.lease(now, client(number), address, LASTING) {
            self.table
                .committed(now, &crate::lease::LeaseChange::Put(record.clone()));
            self.disk.insert(address, record);
            self.promised
                .insert(address, (client(number), self.truth + LASTING.as_secs()));
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.truth += seconds;
    }

    fn reboot(&mut self, off: u64, error: i64) {
        self.truth += off;
        self.error = error;
        self.boot += 1;
        self.booted = self.truth;
        self.truth += 20;
        self.start();
    }

    /// Leases that run by what their clients know, and that the daemon would give to others.
    fn betrayed(&self) -> Vec<Ipv4Addr> {
        let (now, stranger) = (self.now(), client(255));
        let running = self.promised.iter().filter(|(_, (_, ends))| *ends > self.truth + SLACK);
        let lost = running.filter(|(address, _)| self.table.is_available(now, stranger, **address));
        lost.map(|(address, _)| *address).collect()
    }

    fn acknowledged(&self) -> usize {
        self.table.acknowledged(self.now()).count()
    }

    /// How much later than the truth the calendar on disk is.
    fn calendar_error(&self) -> i64 {
        let date = self.table.date(self.now()).0;
        date.cast_signed() - self.truth.cast_signed()
    }
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, number)
}

fn client(number: u8) -> HardwareAddr {
    MacAddr([2, 0, 0, 0, 0, number]).into()
}

fn with_three_leases(error: i64) -> Simulation {
    let mut world = Simulation::new(error);
    (1..=3).for_each(|number| world.lease(number));
    world
}

#[test]
fn a_clock_that_is_set_forwards_ends_nothing_now_nor_after_a_restart() {
    let mut world = with_three_leases(EMPTY_BATTERY);
    world.pass(600);
    world.error = 0;
    assert_eq!(world.acknowledged(), 3, "before anybody noticed");
    world.observe();
    assert_eq!((world.acknowledged(), world.betrayed()), (3, vec![]));
    let ends: Vec<u64> = world.disk.values().map(|record| record.expires.0).collect();
    assert_eq!(ends, [world.truth + 3000; 3], "by the clock as it is now");
    world.reboot(60, 0);
    assert_eq!((world.acknowledged(), world.betrayed()), (3, vec![]));
    world.pass(3600);
    assert_eq!(world.acknowledged(), 0, "and they end");
}

#[test]
fn a_clock_that_is_set_back_neither_ends_nor_prolongs_anything() {
    let mut world = with_three_leases(0);
    world.error = -9000 * DAY;
    world.lease(4);
    let ends = world.disk[&address(4)].expires.0;
    assert_eq!(ends, world.truth + 3600, "later than those before");
    world.pass(1800);
    world.date();
    world.reboot(60, -9000 * DAY);
    assert_eq!((world.acknowledged(), world.betrayed()), (4, vec![]));
    world.pass(1900);
    assert_eq!(world.acknowledged(), 0);
}

#[test]
fn a_kill_in_the_moment_of_a_step_is_no_harm_within_one_boot() {
    for error in [0, 9000 * DAY, -9000 * DAY] {
        let mut world = with_three_leases(EMPTY_BATTERY);
        world.pass(600);
        world.error = error;
        world.start();
        assert_eq!((world.acknowledged(), world.betrayed()), (3, vec![]), "{error}");
        let ends = world.disk[&address(1)].expires.0;
        world.reboot(60, error);
        assert_eq!((world.acknowledged(), world.betrayed()), (3, vec![]), "{error}: {ends}");
    }
}

#[test]
fn a_reboot_without_a_battery_keeps_leases_until_the_time_server_speaks_and_then() {
    let mut world = with_three_leases(0);
    world.pass(60);
    world.date();
    world.reboot(600, EMPTY_BATTERY);
    assert_eq!((world.acknowledged(), world.betrayed()), (3, vec![]));
    world.lease(4);
    world.error = 0;
    world.lease(5);
    assert_eq!((world.acknowledged(), world.betrayed()), (5, vec![]));
    world.reboot(600, 0);
    assert_eq!((world.acknowledged(), world.betrayed()), (5, vec![]));
}

#[test]
fn a_clock_that_was_ahead_at_the_start_and_is_set_back_gives_leases_their_life_again() {
    let mut world = with_three_leases(0);
    world.pass(600);
    world.date();
    world.reboot(60, 9000 * DAY);
    assert_eq!(world.acknowledged(), 0, "by the clock they ended");
    // Somebody else was given one of them meanwhile.
    let now = world.now();
    assert!(world.table.lease(now, client(9), address(2), LASTING).is_some());
    world.error = 8999 * DAY;
    world.observe();
    assert_eq!(world.acknowledged(), 0, "a first step, that is not the whole way");
    world.error = 0;
    world.observe();
    assert_eq!(world.table.client_at(world.now(), address(1)), Some(client(1)));
    assert_eq!(world.table.client_at(world.now(), address(2)), Some(client(9)));
    world.reboot(60, 0);
    assert_eq!(world.table.client_at(world.now(), address(3)), Some(client(3)));
    world.pass(3600);
    assert_eq!(world.table.client_at(world.now(), address(1)), None, "not for longer");
}

#[test]
fn a_clock_that_drifts_by_seconds_is_no_step() {
    let mut world = with_three_leases(0);
    let disk = world.disk.clone();
    for error in [1, 2, 0, -1, -2] {
        world.error = error;
        let now = world.now();
        assert_eq!(world.table.observe_clock(now), None, "{error}");
    }
    world.error = 3;
    let now = world.now();
    assert_eq!(world.table.observe_clock(now), Some(ClockStep { by: 3, leaps: true }));
    assert_eq!(world.disk, disk);
}

#[test]
fn a_leap_that_could_not_be_written_is_tried_until_it_is() {
    let mut world = with_three_leases(EMPTY_BATTERY);
    world.error = 0;
    let now = world.now();
    world.table.observe_clock(now);
    assert_eq!(world.table.redate(now).unwrap().1.len(), 3);
    assert_eq!(world.table.redate(now), None, "it is under way");
    world.table.not_redated();
    let (first, records) = world.table.redate(now).unwrap();
    assert_eq!(records.len(), 3);
    world.error = 2 * DAY;
    let now = world.now();
    world.table.observe_clock(now);
    assert_eq!(world.table.redate(now), None, "the leap before is under way still");
    world.table.redated(now, first, &records);
    assert!(world.table.is_undated(), "that was the leap before");
    world.date();
    assert!(!world.table.is_undated());
}

#[test]
fn what_was_written_while_the_ends_were_stays_as_it_is_known() {
    let mut world = with_three_leases(EMPTY_BATTERY);
    world.pass(600);
    world.error = 0;
    let now = world.now();
    world.table.observe_clock(now);
    let (leap, records) = world.table.redate(now).unwrap();
    world.pass(60);
    world.lease(1);
    let now = world.now();
    // The second address is another client's by the time the commit is told.
    assert!(world.table.release(now, client(2), address(2)));
    let record = world.table.lease(now, client(9), address(2), LASTING).unwrap();
    world.table.committed(now, &crate::lease::LeaseChange::Put(record));
    world.table.redated(now, leap, &records);
    let committed_remaining = |number, of| {
        world
            .table
            .committed_remaining(now, client(of), address(number))
            .unwrap_or_default()
    };
    assert_eq!(committed_remaining(1, 1), LASTING - Duration::from_secs(1));
    assert_eq!(committed_remaining(2, 9), LASTING - Duration::from_secs(1));
    assert_eq!(committed_remaining(3, 3), LASTING - Duration::from_secs(661));
    assert_eq!(world.acknowledged(), 3);
}

#[test]
fn a_calendar_that_leaps_takes_the_date_of_a_loss_along() {
    let mut world = with_three_leases(EMPTY_BATTERY);
    let now = world.now();
    assert_eq!(world.table.lost_at(now), None);
    world.table.lose(now, Duration::from_secs(600));
    world.pass(60);
    world.error = 0;
    world.observe();
    let now = world.now();
    assert_eq!(world.table.lost_at(now), Some(WallTime(world.truth - 660)));
    assert!(world.table.may_have_lost(now, Duration::from_secs(661)));
    assert!(!world.table.may_have_lost(now, Duration::from_secs(660)));
    world.pass(limits::LEASE_MAX.as_secs());
    assert_eq!(world.table.lost_at(world.now()), None, "no lease lasts longer");
}

#[derive(Clone, Debug)]
enum Happening {
    Pass(u64),
    Lease(u8),
    /// The clock is set; whether the daemon lives to notice it.
    Set(i64, bool),
    Kill,
    Reboot(u64, i64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let clock = prop_oneof![Just(0), Just(EMPTY_BATTERY), -400 * DAY..400 * DAY, -7200..7200_i64];
    let behind = prop_oneof![Just(0), Just(EMPTY_BATTERY), -400 * DAY..0, -7200..0_i64];
    prop_oneof![
        (0..1200_u64).prop_map(Happening::Pass),
        (1..20_u8).prop_map(Happening::Lease),
        (clock, any::<bool>()).prop_map(|(error, noticed)| Happening::Set(error, noticed)),
        Just(Happening::Kill),
        (0..1200_u64, behind).prop_map(|(off, error)| Happening::Reboot(off, error)),
    ]
}

proptest! {
    #[test]
    fn no_lease_is_given_to_others_whatever_is_done_to_the_clock(happenings in prop::collection::vec(happening(), 1..40)) {
        let mut world = Simulation::new(0);
        for happening in happenings {
            match happening {
                Happening::Pass(seconds) => world.pass(seconds),
                Happening::Lease(number) => world.lease(number),
                Happening::Set(error, noticed) => {
                    world.error = error;
                    if noticed { world.observe() } else { world.start() }
                }
                Happening::Kill => world.start(),
                Happening::Reboot(off, error) => {
                    world.observe();
                    world.date();
                    // Time that the host was off under a clock that was behind is told by none until that
                    // is set while it runs.
                    let is_behind = world.calendar_error() < -(SLACK.cast_signed() / 2);
                    world.reboot(off, if is_behind { EMPTY_BATTERY } else { error });
                }
            }
            prop_assert_eq!(world.betrayed(), Vec::<Ipv4Addr>::new());
        }
    }
}
