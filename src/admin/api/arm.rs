//! `POST /arm` and `POST /disarm`: whose next boot may install.

use super::{AdminRefusal, HostDisks, RefusalCode, Timestamp};
use crate::model::limits::{ARMED_FOR_DEFAULT, ARMED_FOR_MAX};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Which hosts are to be armed, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmRequest {
    /// Their names or MACs.
    #[serde(default)]
    pub host: Vec<String>,
    /// For how many seconds; once, or not at all.
    #[serde(default)]
    pub lasts_s: Vec<String>,
    /// Who asks, where that is not who runs the command; once, or not at all.
    #[serde(default)]
    pub by: Vec<String>,
}

/// Which hosts are to be disarmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisarmRequest {
    /// Their names or MACs.
    #[serde(default)]
    pub host: Vec<String>,
    /// Who asks, where that is not who runs the command; once, or not at all.
    #[serde(default)]
    pub by: Vec<String>,
}

/// Hosts that were armed: on disk by the time this is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Armed {
    /// Their names.
    pub hosts: Vec<String>,
    /// Until when their next boot from the network installs.
    pub until: Timestamp,
    /// Who armed them.
    pub by: String,
    /// What is known of the disks of each.
    #[serde(default)]
    pub disks: Vec<HostDisks>,
}

/// Hosts that boot their disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disarmed {
    /// Those that were armed, or were installing.
    pub disarmed: Vec<String>,
    /// Those that were not.
    pub unarmed: Vec<String>,
}

impl ArmRequest {
    /// For how long.
    ///
    /// # Errors
    /// It is no number, or not one within the bounds.
    pub fn lasting(&self) -> Result<Duration, AdminRefusal> {
        let bounds = 1..=ARMED_FOR_MAX.as_secs();
        match &self.lasts_s[..] {
            [] => Ok(ARMED_FOR_DEFAULT),
            [seconds] => seconds
                .parse()
                .ok()
                .filter(|seconds| bounds.contains(seconds))
                .map(Duration::from_secs)
                .ok_or_else(|| {
                    let detail = format!("`{}` is not from 1 to {} seconds", seconds.escape_debug(), bounds.end());
                    AdminRefusal::new(RefusalCode::BadRequest, detail)
                }),
            _ => Err(AdminRefusal::new(RefusalCode::BadRequest, "`lasts_s` is there twice")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_armed_for_a_day_or_for_as_long_as_is_asked_for_within_bounds() {
        let asked = |lasts_s: &[&str]| ArmRequest {
            lasts_s: lasts_s.iter().map(|text| (*text).to_owned()).collect(),
            ..ArmRequest::default()
        };
        assert_eq!(asked(&[]).lasting(), Ok(ARMED_FOR_DEFAULT));
        assert_eq!(asked(&["7200"]).lasting(), Ok(Duration::from_secs(7200)));
        assert_eq!(asked(&["2592000"]).lasting(), Ok(ARMED_FOR_MAX));
        for wrong in [&["0"][..], &["2592001"], &["-1"], &["2h"], &[""], &["1", "2"]] {
            let refusal = asked(wrong).lasting().unwrap_err();
            assert_eq!(refusal.code, RefusalCode::BadRequest, "{wrong:?}");
        }
    }
}
