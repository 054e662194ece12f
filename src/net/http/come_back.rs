//! When those come back who found no place for an image file: iPXE does when Retry-After says.
//!
//! Told the same few seconds each, ten thousand machines ask for a thousand places eight times each, and each time is
//! a connection, a request and an event. So they are told to come one after the other, as places became free of late;
//! twice as many as that, so that none stays empty because one that was told has left.

use crate::model::limits::{HTTP_RETRY_AFTER_MAX_S, HTTP_RETRY_AFTER_S, HTTP_RETRY_RATE_INTERVAL, HTTP_RETRY_SPREAD_S};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The times that are still to be given.
#[derive(Debug, Default)]
pub struct ComeBackTimes(Mutex<Schedule>);

#[derive(Debug, Default)]
struct Schedule {
    /// When it was looked last how many places had ever been taken, and how many those were.
    looked: Option<(Instant, u64)>,
    /// Places that are taken in a second, of late.
    rate: f64,
    /// When the next may come.
    next: Option<Instant>,
}

impl ComeBackTimes {
    /// In how many seconds a machine is to ask again, while so many places were ever `taken`; `mixed` spreads those
    /// that come in the same second where it is not known how fast places become free.
    pub(super) fn seconds(&self, now: Instant, taken: u64, mixed: u32) -> u32 {
        let mut schedule = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        schedule.look(now, taken);
        schedule
            .seconds(now)
            .unwrap_or(HTTP_RETRY_AFTER_S + mixed % HTTP_RETRY_SPREAD_S)
    }
}

impl Schedule {
    fn look(&mut self, now: Instant, taken: u64) {
        let (at, before) = *self.looked.get_or_insert((now, taken));
        let passed = now.saturating_duration_since(at);
        if passed >= HTTP_RETRY_RATE_INTERVAL {
            let rate = taken.saturating_sub(before) as f64 / passed.as_secs_f64();
            self.rate = if self.rate > 0.0 {
                (self.rate + rate) / 2.0
            } else {
                rate
            };
            self.looked = Some((now, taken));
        }
    }

    /// `None` where hardly any place became free.
    fn seconds(&mut self, now: Instant) -> Option<u32> {
        if self.rate < 1.0 {
            return None;
        }
        let after = |seconds: u32| now + Duration::from_secs(seconds.into());
        let (soonest, latest) = (after(HTTP_RETRY_AFTER_S), after(HTTP_RETRY_AFTER_MAX_S));
        let at = self.next.map_or(soonest, |next| next.clamp(soonest, latest));
        self.next = Some(at + Duration::from_secs_f64(0.5 / self.rate));
        let seconds = (at - now).as_secs_f64().ceil();
        Some((seconds as u32).clamp(HTTP_RETRY_AFTER_S, HTTP_RETRY_AFTER_MAX_S))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// How many of so many machines are told how many seconds, all at once.
    fn told(times: &ComeBackTimes, now: Instant, (machines, taken): (u32, u64)) -> BTreeMap<u32, u32> {
        let mut told = BTreeMap::new();
        for machine in 0..machines {
            *told.entry(times.seconds(now, taken, machine)).or_default() += 1;
        }
        told
    }

    #[test]
    fn machines_come_back_as_places_become_free_and_no_faster() {
        let (times, start) = (ComeBackTimes::default(), Instant::now());
        let second = Duration::from_secs(1);
        // Nothing is known yet: spread over a few seconds.
        let first = told(&times, start, (400, 1000));
        assert_eq!(first.keys().copied().collect::<Vec<_>>(), [2, 3, 4, 5]);
        // A hundred places a second: two hundred machines are told each second.
        let then = told(&times, start + second, (1000, 1100));
        let each: Vec<u32> = (3..=6).map(|seconds| then[&seconds]).collect();
        assert!(each.iter().all(|machines| (199..=201).contains(machines)), "{then:?}");
        // More than may be waited for come at the end of that.
        let late = told(&times, start + second, (20_000, 1100));
        assert_eq!(late.keys().last(), Some(&HTTP_RETRY_AFTER_MAX_S));
        // Who comes much later finds nobody before it.
        let alone = told(&times, start + 100 * second, (1, 11_000));
        assert_eq!(alone.keys().copied().collect::<Vec<_>>(), [HTTP_RETRY_AFTER_S]);
    }

    #[test]
    fn where_no_place_becomes_free_the_times_are_spread_as_at_first() {
        let (times, start) = (ComeBackTimes::default(), Instant::now());
        told(&times, start, (1, 5));
        let stuck = told(&times, start + Duration::from_secs(20), (100, 5));
        assert_eq!(stuck.keys().copied().collect::<Vec<_>>(), [2, 3, 4, 5]);
    }
}
