//! Bootwright: the daemon that racked servers meet when they power on.

pub mod lease;
pub mod model;
pub mod proto;
