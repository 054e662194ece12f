//! Bootwright: the daemon that racked servers meet when they power on.

pub mod boot;
pub mod lease;
pub mod model;
pub mod proto;
