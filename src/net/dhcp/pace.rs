//! How often DHCP's thread wakes up.
//!
//! What a packet costs where it comes alone is its wake-ups: that of this thread, of the writer's, and of this one again
//! for the reply. Where many come, those that come in a moment share them. Whoever asks alone waits for nothing.

use crate::model::limits::{DHCP_GATHER_PACKETS_MIN, DHCP_GATHER_TIME, DHCP_GATHER_WINDOW};
use std::time::Duration;

/// Whether so many packets come that the next ones are worth waiting for.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the window began.
    since: Duration,
    /// Packets of the window so far.
    packets: usize,
    /// Enough came in the window before, which ended when this one began.
    is_busy: bool,
}

impl Pace {
    /// How long to leave the next packets alone, when some were taken at a moment; `None` for not at all.
    pub(super) fn rest_after(&mut self, now: Duration, packets: usize) -> Option<Duration> {
        let open = now.saturating_sub(self.since);
        if open >= DHCP_GATHER_WINDOW {
            self.is_busy = open < 2 * DHCP_GATHER_WINDOW && self.packets >= DHCP_GATHER_PACKETS_MIN;
            (self.since, self.packets) = (now, 0);
        }
        self.packets += packets;
        (self.is_busy || self.packets >= DHCP_GATHER_PACKETS_MIN).then_some(DHCP_GATHER_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether each of so many packets, one after the other at this distance, has the next ones wait.
    fn rests(pace: &mut Pace, start: Duration, distance: Duration, packets: u32) -> Vec<bool> {
        let at = |number| start + distance * number;
        let rest = |number| pace.rest_after(at(number), 1).is_some();
        (0..packets).map(rest).collect()
    }

    #[test]
    fn no_machine_waits_that_asks_alone_nor_some_that_ask_at_their_leisure() {
        let mut pace = Pace::default();
        let (start, second) = (Duration::from_secs(7), Duration::from_secs(1));
        assert_eq!(rests(&mut pace, start, second, 50), [false; 50]);
        let leisure = 2 * DHCP_GATHER_WINDOW / DHCP_GATHER_PACKETS_MIN as u32;
        assert_eq!(rests(&mut pace, start + 100 * second, leisure, 1000), [false; 1000]);
    }

    #[test]
    fn where_many_come_the_next_are_gathered_until_few_do() {
        let mut pace = Pace::default();
        let start = Duration::from_secs(7);
        let often = DHCP_GATHER_WINDOW / (2 * DHCP_GATHER_PACKETS_MIN as u32);
        let rests = rests(&mut pace, start, often, 1000);
        assert!(
            !rests[0] && !rests[DHCP_GATHER_PACKETS_MIN - 2],
            "not before it is known"
        );
        assert!(rests[DHCP_GATHER_PACKETS_MIN..].iter().all(|rests| *rests));
        let later = start + often * 1000 + 3 * DHCP_GATHER_WINDOW;
        assert_eq!(pace.rest_after(later, 1), None, "they stopped coming");
    }
}
