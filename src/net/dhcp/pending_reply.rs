//! A request that was decided, on its way to be answered.

use crate::boot::{
    engine::{Outcome, OutgoingReply},
    event::{Event, Reason, RequestedFile, Step},
};
use crate::lease::LeaseChange;

/// A request that was decided.
pub(super) struct PendingReply {
    /// The reply, if there is one.
    pub sending: Option<OutgoingReply>,
    /// The lease change that the reply waits for.
    pub change: Option<LeaseChange>,
    /// What is logged of it.
    pub event: Event,
    /// It was answered already, by what is on disk.
    pub is_answered: bool,
}

impl PendingReply {
    pub(super) fn of(outcome: Outcome) -> PendingReply {
        PendingReply {
            sending: outcome.send,
            change: outcome.change,
            event: outcome.event,
            is_answered: false,
        }
    }
}

/// The event of a reply that was never sent.
pub(super) fn given_up(event: Event, reason: Reason) -> Event {
    Event {
        step: Step::Failed {
            file: RequestedFile::DhcpReply,
            part: None,
            reason,
        },
        ..event
    }
}
