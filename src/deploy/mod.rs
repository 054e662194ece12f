//! The machine's side of an install: writes an image to the machine's disk, and tells how it goes.
//!
//! `bootwright-deploy` runs in the live system, as root of a machine whose disk is to be written. It knows of the
//! daemon what `model` has, and nothing else: the order ([`crate::model::DeployOrder`]) says the rest.
//!
//! Bytes go through threads, each of which does one thing (`pipeline`): one reads the wire (`wire`), one checks the
//! file's sum, one unpacks, one checks the unpacked image's sum, one writes, and one reads back what is durable and
//! compares it with what was to be written. So an install takes as long as the slowest of them, and that is the wire
//! or the disk. They share a fixed number of blocks (`blocks`): who has none waits.
//!
//! # What holds
//!
//! - Nothing is written before the disk is known to be the one that the order names, to be large enough as far as
//!   that is known, and to be nobody else's; and not before the daemon has heard `started`.
//! - The first [`DEPLOY_HEAD_BYTES`](crate::model::limits::DEPLOY_HEAD_BYTES) of a disk, which hold its partition table, are zeros until everything else
//!   is written, durable and read back: an install that was broken off leaves no disk that looks like a system.
//! - An install that is made again goes on behind what the one before it wrote (`resume`), where that was read from the
//!   disk and is what the order's pieces say.
//! - Where an image has zeros the disk has zeros: it is told to forget what is there where it answers for that, and
//!   they are written otherwise.
//! - `done` is said once everything is durable, and never before.
//! - It switches no machine off: it says on its output what is to be done, and the live system's `init` does it.

mod blocks;
mod boot_entry;
mod callbacks;
mod command;
mod disks;
mod failure;
mod gpt;
mod install;
mod meter;
mod pipeline;
mod resume;
mod seed;
mod stages;
mod sysfs;
mod target_disk;
mod wire;
mod zeros;

pub use command::main;
pub use disks::disks_of;
