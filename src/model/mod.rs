//! The vocabulary of network boot, as types that every other module uses.
//!
//! Owns: addresses of machines, architectures, boot targets, names, time as an argument, and the
//! named limits. Does not own: decisions (`boot`), wire formats (`proto`) or any I/O. std and serde
//! only, with its JSON for the one type that two programs exchange ([`DeployOrder`]).
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod arch;
mod cidr;
mod dialect;
mod disk;
mod disk_name;
mod facts;
mod hardware;
mod hex;
mod image_sum;
mod install;
pub mod limits;
mod mac_block;
mod mode;
mod name;
mod order;
mod probe;
mod serial;
mod shared_address;
mod target;
pub mod text;
mod time;
mod token;
mod told_disks;
mod uuid;

pub use arch::{Arch, Cpu, Firmware};
pub use cidr::{AddressRange, Cidr, CidrError, OwnAddress};
pub use dialect::Dialect;
pub use disk::{DiskInfo, DiskSelector, DiskSize, DiskSizeError, NoDisk, Pick};
pub use disk_name::{NO_DISK_NAMES, may_be_disk};
pub use facts::MachineFacts;
pub use hardware::{HardwareAddr, MacAddr, MacError};
pub use image_sum::{ImageSum, ImageSumError};
pub use install::{By, CallbackDoubt, CallbackWord, InstallFailure, InstallNews, InstallStep};
pub use mac_block::{MacBlock, MacBlockError};
pub use mode::{Mode, ServedInterface, Uplink};
pub use name::{Name, NameError};
pub use order::{
    AfterDeploy, BootEntry, DeployImage, DeployOrder, ImageFormat, ImagePieces, OrderError, OrderVersion, SeedContent,
    SeedFile, UnpackedImage,
};
pub use probe::Probe;
pub use serial::is_placeholder_serial;
pub use shared_address::SharedAddresses;
pub use target::BootTarget;
pub use time::{Now, WallTime};
pub use token::Token;
pub use told_disks::ToldDisks;
pub use uuid::{Uuid, UuidError};
