//! `GET /events`: what happened to machines in their boots, and what happens.

use super::Timestamp;
use crate::boot::event::{Event, Stage, StepCode};
use crate::model::MacAddr;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Which events are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventFilter {
    /// Of these machines, by name, MAC, serial number or address; none of them asks for all machines.
    #[serde(default)]
    pub machine: Vec<String>,
    /// With `true`, what happens from now on too, for as long as it is read.
    #[serde(default)]
    pub follow: Vec<String>,
    /// How many of the last ones; all that are kept where it does not say.
    #[serde(default)]
    pub last: Vec<String>,
}

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum EventLine {
    /// An event.
    Event(EventStatus),
    /// Events were dropped, because they were not read in time.
    Missed {
        /// How many.
        count: u64,
    },
    /// Nothing happened for a moment.
    Alive,
    /// One of a newer version.
    #[serde(other)]
    Other,
}

/// One step of one machine's boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventStatus {
    /// Its number: each has the one after that of the event before, of whatever machine.
    pub number: u64,
    /// When it happened.
    pub at: Timestamp,
    /// The machine: a host's name, or a MAC with hyphens.
    pub machine: String,
    /// The MAC that it was heard from.
    pub mac: Option<MacAddr>,
    /// The address that it is about.
    pub address: Option<Ipv4Addr>,
    /// Where in its boot the machine stands.
    pub stage: Stage,
    /// What happened, in a word.
    pub event: String,
    /// Why, in a word, where there is a reason.
    pub reason: Option<StepCode>,
    /// The same in a sentence.
    pub sentence: String,
}

impl EventStatus {
    /// An event of that number.
    pub fn new(number: u64, event: &Event) -> EventStatus {
        let step = &event.step;
        EventStatus {
            number,
            at: event.at.wall.into(),
            machine: event.machine.key.to_string(),
            mac: event.machine.hardware.and_then(|hardware| hardware.mac()),
            address: step.address(),
            stage: event.stage,
            event: step.name().to_owned(),
            reason: step.reason().map(|reason| reason.code().into()),
            sentence: step.to_string(),
        }
    }
}
