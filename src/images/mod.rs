//! Images: import, download, and reading their bytes to verify them.
//!
//! An image appears complete or not at all: it is made in a hidden folder beside its place, synced,
//! and moved. `config::images` validates an image; nothing here reads `image.toml`.
//!
//! [`found_in`] looks through a folder or an ISO for what an image needs: `tree` makes the two one
//! (`iso` reads ISO 9660), `candidates` asks every place that may name a kernel, and what is known of
//! distributions is a table in `distributions`. [`add`](mod@add) copies it into a hidden folder, [`fetch`]
//! downloads into one what a [`catalogue`] or an operator names, and `place` makes either an image.

mod add;
mod candidates;
pub mod catalogue;
pub mod checksum;
mod content;
mod copy_step;
mod disk_sums;
mod distributions;
mod error;
pub mod fetch;
mod found;
mod iso;
mod kernel;
mod menu;
mod packing;
mod partial;
mod place;
pub mod reading;
mod remove;
mod space;
pub mod sums;
mod tree;
mod tree_info;

pub use add::{add, add_watched};
pub use content::ArtifactContent;
pub use copy_step::{CopyCallback, CopyStep};
pub use error::ImageError;
pub use found::{DiskChoice, FoundImage, ImageChoice, Located, found_in};
pub use kernel::{Kernel, cpu_of, kernel_of};
pub use packing::disk_format;
pub use place::{Added, NewImage};
pub use remove::remove;

/// The file in an image's folder that describes it.
pub const MANIFEST: &str = "image.toml";
