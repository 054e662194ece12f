//! Decisions, and no I/O: who is this machine, what does it boot, which bytes does it get.
//!
//! The DHCP, TFTP and HTTP servers and `explain` all ask the functions here, so what the operator
//! is told is what the machine gets, by construction.
//!
//! Architecture invariant: nothing here names tokio, hyper, the file system, a socket, a clock or
//! a random source. Time and addresses are arguments.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod arming;
pub mod callback;
pub mod change;
pub mod conflicts;
pub mod engine;
pub mod event;
pub mod explain;
pub mod gate;
pub mod identity_cache;
pub mod kept_texts;
pub mod loader;
pub mod loops;
mod mac_typo;
pub mod machine;
pub mod metadata;
pub mod method;
pub mod paths;
pub mod plan;
pub mod preview;
pub mod program;
pub mod proxmox;
pub mod quirks;
pub mod render;
pub mod request_path;
pub mod resource;
pub mod routers;
pub mod scene;
pub mod script_path;
pub mod snapshot;
pub mod unattended;
pub mod user_agent;
pub mod verification;
pub mod world;
pub mod written;
