//! Wire formats and protocol machines; no I/O and no clock.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod capture;
pub mod dhcp;
pub mod ip;
pub mod ipxe;
pub mod ndp;
pub mod syslog;
pub mod tftp;
