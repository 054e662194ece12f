//! Bootwright: the daemon that racked servers meet when they power on.
//!
//! One process is the DHCP, TFTP and HTTP server of a provisioning network. From a TOML inventory
//! it hands each machine its own loader, script, kernel and answer file, and says what it did. Scripts are
//! iPXE's, GRUB's or PXELINUX's.
//!
//! # The map
//!
//! Modules stand above those they use: imports point down only.
//!
//! | module | what it owns |
//! |---|---|
//! | [`cli`] | the command line, one file a command |
//! | [`daemon`] | start, reload, stop, privileges, systemd, logs |
//! | [`net`] | sockets and the three servers: receive, ask `boot`, send, count; and the receiver of what machines log |
//! | [`state`] | what the servers know in common: the generation in force, leases, identities, relays, counters, packets; the one door for what happens to machines |
//! | [`admin`] | the operator's API over a Unix socket, and its client |
//! | [`stall`] | a connection that is given up when its client takes too little of what waits for it |
//! | [`config`] | the operator's files → a checked snapshot; the only place that validates an inventory |
//! | [`deploy`] | the machine's side of an install: the program that writes an image to its disk; knows only `model` |
//! | [`storm`] | a virtual fleet against one's own appliance; knows only `proto` and `model` |
//! | [`doctor`] | what keeps machines from booting here, judged from facts that `cli` gathers |
//! | [`store`] | what survives a restart: an ordered key-value contract, and in it who the store is and since when it forgot nothing, leases and the switch ports at which they were given, who is armed, which hosts were served and which disks machines told of, checksums, and what boots came to; beside it the operator's files as accepted last |
//! | [`images`] | import of images from files, folders and ISOs, their download, and reading their bytes |
//! | [`attempt`] | what each power-on of a machine came to: a fold of events, which ones are kept, the verdict on each, and a capture that is run through all of that |
//! | [`boot`] | decisions: who asks, what it boots, which bytes it gets, what a candidate inventory would change of that, and why a machine is told what it is told; the DHCP engine |
//! | [`proto`] | wire formats and protocol machines: DHCP, TFTP, syslog, captures, which files an iPXE script fetches, and as much of IPv6's router discovery as says that none is here |
//! | [`lease`] | address pools and the lease table |
//! | [`model`] | the vocabulary as types, and every limit |
//!
//! # Two flows
//!
//! `ARCHITECTURE.md` follows a DISCOVER, a GET, a reload and a callback from step to step. In short:
//!
//! A DHCP packet: `net::dhcp` receives bytes → `proto::dhcp` reads them leniently →
//! `boot::engine` decides from the [`boot::world::World`]: the time, the generation and the lease table → the
//! shell commits the lease change, sends the reply, counts, and publishes the event (`state::events`): the log
//! makes a sentence of it, and whoever listens gets the value.
//!
//! A file: a TFTP or HTTP request's path → `boot::resource` → a file beneath a root, or a rendered
//! text, or a refusal with its reason → bytes. Both servers share that function, and what it changes on disk is there
//! before they answer. Who would give up at a 503
//! waits for an image file in `net::http`, with its connection open. A text whose template is not plain
//! (`boot::render`) is rendered on a thread that may be given up (`state::rendering`), so that none holds up those
//! who are served.
//!
//! # Invariants
//!
//! - Whatever happens to a machine is a value, with its reason (`boot::event`), and goes through one door
//!   (`state::events`); its sentence is made there, under no lock.
//! - `model`, `proto`, `lease` and `boot` do no I/O and read no clock: time and addresses are
//!   arguments. Lints (`.clippy.toml`) and `tests/pure/architecture.rs` hold that.
//! - The operator's files are validated in another process (`config::validation`) before this one takes them: what
//!   breaks or stops that one is an error of its file.
//! - Refused files take nothing away: the last accepted version is served, over restarts too, and that is logged.
//! - A request is answered from one snapshot, never from half of two.
//! - A dynamic lease is on disk before its ACK is on the wire, and what a request for a file changes before its
//!   response is; of a client of TFTP before its second packet is, because nothing begins before it was heard.
//! - A lease ends when its machine was told, whatever is done to the host's clock (`lease::LeaseTable::observe_clock`).
//! - An artifact is served while its bytes are known to be those of its checksum (`boot::verification`): read
//!   before the first byte goes out, and again now and then. What the kernel sends by itself are copies that nobody
//!   can change, judged after they were sealed (`net::files::sealed`).
//! - Every boot asks `boot::gate`; there is no second way to a disk. An install is handed to an armed host alone, at its
//!   own address (`boot::arming`), and its token stands in no log.
//! - What clients say is data: escaped in logs, refused in templates, never a path unchecked.
//! - A disk that is written begins with zeros until all of it is there for good and was read back (`deploy`).
//! - Serving never waits for the log's reader or for systemd (`daemon::log`).
//! - Every queue, table, cache and timeout has its limit in `model::limits`.
//! - `unsafe` is in `net::socket`, and nowhere else.
//!
//! # Deliberately absent
//!
//! DNS, IPv6 on the provisioning network (but for the word that no router is there), HTTP/2, TLS on the
//! provisioning network (firmware can't check it), TFTP writes, memory-mapped files that anybody may truncate (that kills
//! the process; a sealed copy in memory nobody can).

pub mod admin;
pub mod attempt;
pub mod boot;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod deploy;
pub mod doctor;
pub mod images;
pub mod lease;
pub mod model;
pub mod net;
pub mod proto;
pub mod stall;
pub mod state;
pub mod store;
pub mod storm;

#[cfg(test)]
extern crate self as bootwright;
#[cfg(test)]
#[path = "../tests/shared/fixtures.rs"]
mod fixtures;
