//! What happened to a machine, as values: who, where in its boot, what, and why.
//!
//! Nothing here is a sentence: addresses, names and reasons are fields, so that an event can be counted by
//! its reason, kept, compared and sent on. [`words`] makes the sentences, at the edge, once for everybody.

mod boot;
mod code;
mod fault;
mod file;
mod install;
mod logged;
mod machine;
mod reason;
mod stage;
mod step;
mod subject;
mod words;

pub use boot::{BootAction, BootDecision, BootFile, Mismatch};
pub use code::{Circumstance, StepCode};
pub use fault::{
    Ago, DiskReason, Escaped, FileFault, HttpFault, Near, NoOrder, NoOwnAddress, NotGivenThere, NotStored, PathFault,
    PortDoubt, ReservationUnavailable, StoreFault, SubnetSource, WaitEnd,
};
pub use file::{FilePart, RequestedFile, ScriptChoice};
pub use install::InstallEvent;
pub use logged::{LoggedLine, LoggedLines, make_room};
pub use machine::{Machine, MachineKey};
pub use reason::{Reason, ReasonCode};
pub use stage::Stage;
pub use step::Step;
pub use subject::Subject;

use crate::model::Now;
use serde::Serialize;
use std::sync::Arc;

/// One step of one machine's boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The time at which it happened.
    pub at: Now,
    /// The machine that it happened to.
    pub machine: Machine,
    /// Where in its boot it stands.
    pub stage: Stage,
    /// The quirks that matched its request.
    pub quirks: Arc<[Arc<str>]>,
    /// What it did or got.
    pub step: Step,
}
