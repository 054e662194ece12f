//! The clock behind `Now`: the only place of the servers that reads one.

use crate::model::{Now, WallTime};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time since the start, and the calendar.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic part begins now.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// This moment. A calendar before 1970 counts as 1970.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now {
            monotonic: self.monotonic(),
            wall: WallTime(wall.as_secs()),
        }
    }

    /// Time since the start.
    pub fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    /// The runtime's instant for a moment of this clock.
    pub fn instant(&self, monotonic: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + monotonic)
    }
}
