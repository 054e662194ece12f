//! A variable whose value nobody may read but the installer of an armed host.

use serde::{Serialize, Serializer};
use std::{fmt, path::PathBuf, sync::Arc};

/// Stands for a secret in texts that no machine gets. Plain letters: it stands wherever the secret would.
pub const BLACKED_OUT: &str = "blacked-out";

/// A secret of the inventory. Whatever shows it shows where it comes from, and never the value: that is written by
/// [`Secret::reveal`] alone, into the answer of an armed host that asks for it from its own address.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Where it comes from.
    pub source: SecretSource,
    value: Option<Arc<str>>,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file that its owner alone may read.
    File(PathBuf),
    /// A credential of systemd (`LoadCredential=`).
    Credential(String),
}

impl Secret {
    /// A secret; without its value where this process has no use for it, or it could not be read.
    pub fn new(source: SecretSource, value: Option<Arc<str>>) -> Secret {
        Secret { source, value }
    }

    /// The value, where it is known.
    pub fn reveal(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::File(path) => write!(f, "secret in {}", path.display()),
            SecretSource::Credential(name) => write!(f, "secret in credential {name}"),
        }
    }
}

/// Nothing of the value.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.source)
    }
}

/// Nothing of the value.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_made_for_people_has_its_value() {
        let source = SecretSource::File("/etc/bootwright/secrets/root".into());
        let secret = Secret::new(source, Some("hunter2".into()));
        let shown = format!("{secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert!(
            !shown.contains("hunter2") && shown.contains("/etc/bootwright/secrets/root"),
            "{shown}"
        );
        assert_eq!(secret.reveal(), Some("hunter2"));
    }
}
