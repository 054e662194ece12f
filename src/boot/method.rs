//! What is asked of a path: that what it stands for is sent, or that what the client sends is taken.

use serde::Serialize;
use std::fmt;

/// What is asked of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Send it: HTTP's GET, and every request that TFTP serves.
    Get,
    /// Say what would be sent.
    Head,
    /// Take what comes with the request.
    Post,
}

/// What may be asked of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Methods {
    /// To send it.
    Read,
    /// To take something.
    Post,
    /// To take something, by either.
    Callback,
    /// To send it, to whoever says something of itself first as well.
    Answer,
}

impl Methods {
    /// Whether that may be asked.
    pub fn has(self, method: Method) -> bool {
        match (self, method) {
            (Methods::Read, Method::Get | Method::Head)
            | (Methods::Post, Method::Post)
            | (Methods::Callback, Method::Get | Method::Post)
            | (Methods::Answer, Method::Get | Method::Head | Method::Post) => true,
            (Methods::Read, Method::Post)
            | (Methods::Post, Method::Get | Method::Head)
            | (Methods::Callback, Method::Head) => false,
        }
    }

    /// HTTP's header `Allow`.
    pub fn allow(self) -> &'static str {
        match self {
            Methods::Read => "GET, HEAD",
            Methods::Post => "POST",
            Methods::Callback => "GET, POST",
            Methods::Answer => "GET, HEAD, POST",
        }
    }
}

impl fmt::Display for Methods {
    /// As a sentence says it that ends in "served".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Methods::Read => "GET and HEAD are",
            Methods::Post => "POST is",
            Methods::Callback => "GET and POST are",
            Methods::Answer => "GET, HEAD and POST are",
        })
    }
}
