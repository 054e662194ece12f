//! `GET /render`: what a host would get for a script or a file of its answer.

use serde::{Deserialize, Serialize};

/// Which text is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenderRequest {
    /// The host, by name or MAC; once.
    #[serde(default)]
    pub host: Vec<String>,
    /// Its script, or a file of its answer; once.
    #[serde(default)]
    pub name: Vec<String>,
}

/// A text as its host would get it, with its secrets blacked out and a sample for its install's token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenderedText {
    /// The host.
    pub host: String,
    /// What was asked for.
    pub name: String,
    /// The text.
    pub text: String,
}
