//! Wire formats and protocol machines; no I/O and no clock.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod dhcp;
pub mod ndp;
pub mod tftp;
