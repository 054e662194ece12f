//! Bootwright: the daemon that racked servers meet when they power on.

pub mod boot;
pub mod config;
pub mod images;
pub mod lease;
pub mod model;
pub mod net;
pub mod proto;
pub mod store;
