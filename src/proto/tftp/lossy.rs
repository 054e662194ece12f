//! A wire for tests that drops, doubles and delays by a seed: the same seed, the same wire. Time is
//! scripted, so no test waits.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

/// How long a packet is on the way when nothing happens to it.
pub(super) const LATENCY: Duration = Duration::from_millis(1);

/// A seeded source of chance (an LCG by Knuth).
struct Chance(u64);

impl Chance {
    fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// How bad the wire is: one packet in so many suffers; 0 is never.
#[derive(Clone, Copy)]
pub(super) struct LossRates {
    pub dropped: u64,
    pub doubled: u64,
    /// Late enough to be overtaken.
    pub late: u64,
}

/// Nothing is lost.
pub(super) const CALM: LossRates = LossRates {
    dropped: 0,
    doubled: 0,
    late: 0,
};

/// A wire that carries `C` both ways.
pub(super) struct LossyLink<C: Ord> {
    chance: Chance,
    rates: LossRates,
    sent: u64,
    on_the_way: BinaryHeap<Reverse<(Duration, u64, C)>>,
}

impl<C: Ord + Clone> LossyLink<C> {
    pub(super) fn new(rates: LossRates, seed: u64) -> LossyLink<C> {
        LossyLink {
            chance: Chance(seed),
            rates,
            sent: 0,
            on_the_way: BinaryHeap::new(),
        }
    }

    pub(super) fn send(&mut self, now: Duration, cargo: &C) {
        let copies = 1 + u64::from(self.chance.one_in(self.rates.doubled));
        for _ in 0..copies {
            if self.chance.one_in(self.rates.dropped) {
                continue;
            }
            let late = if self.chance.one_in(self.rates.late) { 3 } else { 1 };
            self.sent += 1;
            let arrival = now + LATENCY * late;
            self.on_the_way.push(Reverse((arrival, self.sent, cargo.clone())));
        }
    }

    /// When the next packet arrives.
    pub(super) fn arrival(&self) -> Option<Duration> {
        self.on_the_way.peek().map(|Reverse((at, _, _))| *at)
    }

    /// The packet that arrives by `now`.
    pub(super) fn arrived(&mut self, now: Duration) -> Option<C> {
        (self.arrival()? <= now).then(|| self.on_the_way.pop().map(|Reverse((_, _, cargo))| cargo))?
    }
}
