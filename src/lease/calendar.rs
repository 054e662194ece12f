//! The calendar by which the ends of leases are written to disk, and what becomes of it when the host's
//! clock is set.
//!
//! While the process lives, leases run on monotonic time, which can't be set, so a step of the clock changes nothing for a
//! machine. On disk an end can only stand by the calendar, and there a step would end leases early or late at
//! the next restart. So the calendar on disk is the host's, but it never goes back:
//!
//! - A clock that was set forwards (a host without a battery hears from its time server) takes the calendar
//!   along, and every end on disk is written anew, in one commit with the date.
//! - One that was set back leaves it where it is, ahead of the clock until that has caught up. Nothing on disk
//!   has to change, and whichever of the two clocks was wrong, no lease ends early for it.
//!
//! Beside the ends stands a [`ClockMark`]: what date it was by them, and how long the host had been up then. A
//! process that starts again in the same boot of its host knows from that how much time has passed, whatever
//! the clock says. After a reboot the clock counts, but never as earlier than the mark.

use crate::model::{Now, WallTime, limits::CLOCK_STEP_MIN};
use std::time::Duration;

/// The calendar of one life of the daemon.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Calendar {
    /// The host's clock, when it was last right by what we know.
    seen: Option<Now>,
    /// How many seconds the calendar is ahead of the host's clock.
    ahead: u64,
}

/// The host's clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// By so many seconds; below zero where it was set back.
    pub by: i64,
    /// The calendar went along: what is on disk is dated by another one.
    pub leaps: bool,
}

impl Calendar {
    /// The calendar by which it is `now` for what is on disk, whatever the host's clock says.
    pub(super) fn resumed(now: Now) -> Calendar {
        Calendar {
            seen: Some(now),
            ahead: 0,
        }
    }

    /// The date by which ends are written.
    pub(super) fn date(&self, now: Now) -> WallTime {
        WallTime(now.wall.0.saturating_add(self.ahead))
    }

    /// Notices a clock that was set since the last look.
    pub(super) fn observe(&mut self, now: Now) -> Option<ClockStep> {
        let Some(seen) = self.seen else {
            *self = Calendar::resumed(now);
            return None;
        };
        let expected = seen.after(now.monotonic.saturating_sub(seen.monotonic));
        let by = now.wall.0.cast_signed().wrapping_sub(expected.wall.0.cast_signed());
        if by.unsigned_abs() <= CLOCK_STEP_MIN.as_secs() {
            return None;
        }
        let date = self.date(expected);
        self.seen = Some(now);
        self.ahead = date.0.saturating_sub(now.wall.0);
        Some(ClockStep {
            by,
            leaps: now.wall > date,
        })
    }
}

/// What date it was by the ends on disk, and when that was by a clock that can't be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockMark {
    /// The date.
    pub date: WallTime,
    /// Which boot of which host it was in, if that is known.
    pub boot: Option<u128>,
    /// How long that host had been up.
    pub up: Duration,
}

impl ClockMark {
    /// The date by the ends on disk, where `here` is a mark of this host's own clock.
    pub fn resume(&self, here: ClockMark) -> WallTime {
        match here.up.checked_sub(self.up) {
            Some(passed) if here.is_in_boot_of(self) => WallTime(self.date.0.saturating_add(passed.as_secs())),
            // The host was off for an unknown time.
            Some(_) | None => here.date.max(self.date),
        }
    }

    /// Whether both are of the same boot of the same host.
    pub fn is_in_boot_of(&self, other: &ClockMark) -> bool {
        self.boot.is_some() && self.boot == other.boot
    }
}

#[cfg(test)]
mod tests;
