//! Time as an argument.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The moment a decision is made. Life runs on the monotonic part, which no operator and no time
/// server can move; the wall part is only for what is written to disk and shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Now {
    /// Time since the process began.
    pub monotonic: Duration,
    /// What the calendar says.
    pub wall: WallTime,
}

impl Now {
    /// The beginning of both, for what is decided while nothing is served.
    pub const START: Now = Now {
        monotonic: Duration::ZERO,
        wall: WallTime(0),
    };

    /// The same moment, `later` on: for scripted clocks.
    #[must_use]
    pub fn after(self, later: Duration) -> Now {
        Now {
            monotonic: self.monotonic + later,
            wall: WallTime(self.wall.0 + later.as_secs()),
        }
    }
}

/// Seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub u64);
