//! `GET /attempts`: what boots came to.

use super::{HostDisks, Timestamp};
use crate::attempt::{Attempt, AttemptLog, AttemptOutcome, AttemptOwner, AttemptStep, Progress, verdict::Verdict};
use crate::model::{MacAddr, MachineFacts};
use serde::{Deserialize, Serialize};
use std::{net::Ipv4Addr, time::Duration};

/// Which attempts are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptFilter {
    /// Of these machines, by name, MAC, serial number or address; none of them asks for all machines.
    #[serde(default)]
    pub machine: Vec<String>,
    /// With `true`, every attempt that is kept; otherwise the last of each machine.
    #[serde(default)]
    pub all: Vec<String>,
}

/// One power-on of one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptStatus {
    /// Its number, in hexadecimal digits.
    pub id: String,
    /// The host of the inventory, if it is one.
    pub host: Option<String>,
    /// The MAC that it was heard from last.
    pub mac: Option<MacAddr>,
    /// The address that it has.
    pub address: Option<Ipv4Addr>,
    /// The generation of the inventory that it began with.
    pub generation: u64,
    /// When it began.
    pub began: Timestamp,
    /// When it was heard last, in ms since it began.
    pub last_ms: u64,
    /// How far it came.
    pub progress: Progress,
    /// What it came to, where that is known.
    pub outcome: Option<AttemptOutcome>,
    /// What its iPXE told of the machine.
    #[serde(default, skip_serializing_if = "MachineFacts::is_empty")]
    pub facts: MachineFacts,
    /// The disks that the host's machine told of last, in this boot or in one before; none where it told of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disks: Option<HostDisks>,
    /// What keeps its machine from coming up, and what to do; `None` where it is up, or on its way.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// Its steps, in the order in which each happened first.
    pub steps: Vec<AttemptStep>,
    /// Steps between the first and the last ones that are not kept.
    pub omitted: u32,
    /// The last lines of its machine's own log.
    #[serde(default, skip_serializing_if = "AttemptLog::is_empty")]
    pub log: AttemptLog,
}

impl AttemptStatus {
    /// What people call the machine.
    pub fn machine(&self) -> String {
        let mac = || self.mac.map(|mac| mac.to_string());
        self.host.clone().or_else(mac).unwrap_or_else(|| "-".to_owned())
    }

    /// When it was heard last.
    pub fn last(&self) -> Timestamp {
        let passed = Duration::from_millis(self.last_ms).as_secs();
        crate::model::WallTime(self.began.wall().0.saturating_add(passed)).into()
    }
}

impl AttemptStatus {
    /// An attempt whose machine was not heard for so long.
    pub fn new(attempt: Attempt, silence: Duration) -> AttemptStatus {
        let verdict = Verdict::of(&attempt, silence);
        let (host, mac) = match &attempt.owner {
            AttemptOwner::Host(name) => (Some(name.to_string()), attempt.mac),
            AttemptOwner::Mac(mac) => (None, Some(*mac)),
        };
        AttemptStatus {
            id: attempt.id.to_string(),
            host,
            mac,
            address: attempt.address,
            generation: attempt.generation,
            began: attempt.began.into(),
            last_ms: attempt.last_ms,
            progress: attempt.progress,
            outcome: attempt.outcome,
            facts: attempt.facts,
            disks: None,
            verdict,
            steps: attempt.steps,
            omitted: attempt.omitted,
            log: attempt.log,
        }
    }
}
