//! Attempts: what one power-on of one machine came to, from its first packet to its end.
//!
//! An attempt is a fold of events ([`Attempt::observe`]), and [`Attempts`] finds the one that an event belongs to.
//! Both are pure: time is the event's own, and what is on disk is handed in and out as values.
//!
//! | file | what it owns |
//! |---|---|
//! | `step` | an event as an attempt keeps it |
//! | `timeline` | one attempt: its steps, how far it came, and when the next one begins |
//! | `lines` | the last lines of the machine's own log |
//! | `verdict` | what keeps its machine from coming up, and what to do |
//! | `ring` | the packets of each machine's boots that are kept |
//! | [`replay`] | a capture, run through the decisions |
//! | `attempts` | which attempt an event belongs to, which are in memory, and which are dropped |
//!
//! # When an attempt begins
//!
//! A machine does not say that it was switched on. Firmware that asks again although a script was sent, or any loader
//! that asks again although a kernel was, was started anew, and so was a machine in its boot that was silent for long
//! ([`crate::model::limits::ATTEMPT_SILENCE`]). Firmware that asks again before that repeats itself: it tries its next
//! boot entry, or the loader did not start, and all of that is one attempt.
//!
//! What a running system asks for belongs to the attempt that started it, and begins none.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod attempts;
mod lines;
pub mod replay;
mod ring;
mod step;
mod timeline;
pub mod verdict;

pub use attempts::{Attempts, Load, Unwritten};
pub use lines::{AttemptLine, AttemptLog};
pub use ring::{PacketKind, PacketRings, RecordedPacket};
pub use step::{AttemptStep, FileKind, StepKind, StepReason};
pub use timeline::{Attempt, AttemptHead, AttemptId, AttemptOutcome, AttemptOwner, Progress};

#[cfg(test)]
mod events;
