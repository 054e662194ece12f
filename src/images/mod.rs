//! Images: import, download and checksums.
//!
//! An image appears whole or not at all: it is made in a hidden folder beside its place, synced,
//! and moved. What judges an image is `config::images`; nothing here reads `image.toml`.

mod add;
pub mod catalogue;
pub mod checksum;
pub mod fetch;
mod remove;

pub use add::{Added, ImageError, NewImage, add};
pub use remove::remove;

/// The file in an image's folder that describes it.
pub const MANIFEST: &str = "image.toml";
