//! A moment in JSON: RFC 3339, in UTC, to the second.

use crate::model::WallTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The last second of the year 9999, beyond which RFC 3339 has no years.
const LAST_S: u64 = 253_402_300_799;

/// `2026-11-28T05:19:22Z`. What lies beyond the year 9999 is its last second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(WallTime);

impl Timestamp {
    /// The moment, by the calendar.
    pub fn wall(self) -> WallTime {
        self.0
    }
}

impl From<WallTime> for Timestamp {
    fn from(time: WallTime) -> Timestamp {
        Timestamp(WallTime(time.0.min(LAST_S)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = UNIX_EPOCH
            .checked_add(Duration::from_secs(self.0.0))
            .ok_or(fmt::Error)?;
        humantime::format_rfc3339_seconds(moment).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        let moment = humantime::parse_rfc3339(&text).map_err(D::Error::custom)?;
        Ok(Timestamp(WallTime(seconds(moment))))
    }
}

fn seconds(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_rfc_3339_there_and_back() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_764_307_162, "2025-11-28T05:19:22Z"),
            (LAST_S, "9999-12-31T23:59:59Z"),
        ] {
            let moment = Timestamp::from(WallTime(seconds));
            assert_eq!(serde_json::to_value(moment).unwrap(), text);
            assert_eq!(serde_json::from_value::<Timestamp>(text.into()).unwrap(), moment);
        }
    }

    #[test]
    fn beyond_the_calendar_is_its_end() {
        let beyond = Timestamp::from(WallTime(u64::MAX));
        assert_eq!(beyond.to_string(), "9999-12-31T23:59:59Z");
        assert!(
            serde_json::from_value::<Timestamp>(7.into()).is_err(),
            "seconds are the store's"
        );
    }
}
