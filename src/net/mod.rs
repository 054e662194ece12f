//! Sockets and the three servers: thin shells around `proto` and `boot`.
//!
//! A shell receives, asks a pure function, sends and counts; it decides nothing.
//!
//! - [`interface`] is the configured interfaces at one moment: they may appear late, lose their link, go
//!   away and change address. `link_events` is what the kernel tells of that.
//! - [`socket`] is the only module with `unsafe`: sockets of one interface, and frames to clients that can't
//!   answer an ARP question yet.
//! - [`holder`] names the process that holds a port we need.
//! - [`dhcp`], [`tftp`] and [`http`] are the servers of one interface; [`servers`] runs them on all.
//! - `syslog` takes what machines log.
//! - `threads` keeps HTTP away from everything that is in a hurry, and gives each interface's DHCP a thread.
//! - `probe` asks an address whether another machine uses it, before a machine is offered it.
//! - `solicitations` tells machines in their boot that no IPv6 router is here; `forwarding` knows whether this
//!   host is one.
//! - `neighbours` knows whom on our wires the kernel can send to at once.
//! - [`rogue`] detects rogue DHCP servers by their replies, and asks for them.
//! - [`uplink`] knows which interfaces lead to more than machines: no addresses are given there unless that is asked for.
//! - [`intake`] takes what comes in, and rests after an error.
//! - [`files`] opens files beneath a root, and notices when one changes under a transfer;
//!   [`files::hot`] keeps those completely in memory that many machines fetch at once, and [`files::sealed`] image files
//!   that nobody can change there.
//! - [`limiter`] holds the limits in all and per client, and the queue of those who wait; [`tasks`] drains what is
//!   under way;
//!   [`eviction`] decides whose permit is revoked when all are taken.
//!
//! Architecture invariant: every request is answered from one snapshot, loaded once; nothing is
//! dropped without a counter; the lease table's lock is never held across an `await`.

pub mod dhcp;
pub mod eviction;
pub mod files;
mod forwarding;
pub mod holder;
pub mod http;
mod intake;
pub mod interface;
pub mod limiter;
mod link_events;
mod neighbours;
mod probe;
pub mod rogue;
mod served;
mod servers;
pub mod socket;
mod solicitations;
mod syslog;
pub mod tasks;
pub mod tftp;
mod threads;
pub mod uplink;

pub use servers::{BindError, ListenConfig, Servers, Standings};
