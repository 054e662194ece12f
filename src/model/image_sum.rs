//! The SHA-256 of what an order names, as it stands in JSON.

use super::hex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// A SHA-256, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ImageSum(pub [u8; 32]);

/// A text is no SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSumError;

impl fmt::Display for ImageSumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a SHA-256 is written as 64 hexadecimal digits")
    }
}

impl std::error::Error for ImageSumError {}

impl FromStr for ImageSum {
    type Err = ImageSumError;

    fn from_str(text: &str) -> Result<ImageSum, ImageSumError> {
        hex::bytes(text, b'-', &[]).map(ImageSum).ok_or(ImageSumError)
    }
}

impl fmt::Display for ImageSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ImageSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageSum({self})")
    }
}

impl Serialize for ImageSum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageSum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ImageSum, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
