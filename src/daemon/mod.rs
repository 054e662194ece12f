//! One process from start to stop, for the operator and for systemd.
//!
//! The order of the start is the point of this module: validate the files, raise limits, open the store,
//! bind the ports and the admin socket, drop privileges, and only then start threads (a thread
//! would keep the capabilities it was born with), serve, and say READY.
//!
//! - [`serve`](mod@serve) is that order; [`open_store`] says what became of the store.
//! - [`reload`] is the one place that swaps a generation; [`watch`] calls it when
//!   something in what is [`watched`] changes.
//! - [`last_good`] is the version that a start falls back to when the files on disk are refused.
//! - [`generations`] keeps what each generation was, who had it read, and what it changed.
//! - [`diagnostics_log`] logs what is wrong with the files.
//! - [`memory`] is how much of it the allocator keeps, and [`machine_memory`] how much there is.
//! - [`run`] is the life between READY and the end: signals, the shutdown.
//! - [`privileges`] gives up what is not needed; [`systemd`] and [`log`] talk to the world.
//! - [`verifier`] reads the artifacts of images in the background; [`artifacts`] says what is known of
//!   them.
//! - [`admin_service`] answers the admin socket; [`commit_log`] joins the servers to the store, and [`uptime`] is
//!   the clock that outlives this process.

mod admin_service;
mod artifacts;
mod attempts;
mod commit_log;
mod diagnostics_log;
mod event_log;
mod first_appearance;
mod generations;
mod last_good;
pub mod log;
mod machine_memory;
mod memory;
mod open_files;
mod open_store;
mod port_limits;
pub mod privileges;
mod reload;
mod restart;
mod run;
mod serve;
mod systemd;
mod uptime;
mod verifier;
mod watch;
mod watched;

pub use serve::{ServeOptions, StartError, serve};
