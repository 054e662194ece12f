//! Names of hosts, profiles, images, scripts and answers: safe in a path, a URL and a log line.

use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// A name of 1 to 63 letters, digits, `.`, `_` and `-` that starts with a letter or digit, so that
/// it can stand as one component of a path or URL without a second look.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Name(Arc<str>);

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError(String);

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NameError {}

/// A DNS label's length (RFC 1035), so that every host name can become one.
const NAME_BYTES_MAX: usize = 63;

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shaped = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !shaped || !starts || text.len() > NAME_BYTES_MAX {
            return Err(NameError(format!(
                "`{}` is not a name; use 1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` or `-`, a letter or digit first",
                crate::model::text::escape(text.as_bytes())
            )));
        }
        Ok(Name(text.into()))
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_could_leave_a_folder_is_a_name() {
        for text in ["", ".", "..", "a/b", "-rf", "a b", "a\n", "ü", &"a".repeat(64)] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
        assert!("r1u07.rack-1_b".parse::<Name>().is_ok());
    }
}
