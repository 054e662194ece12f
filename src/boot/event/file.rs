//! What a machine asks for by TFTP or HTTP, and for whom: what an event says of it, whatever comes of it.

use super::{DiskReason, Event, Machine, Mismatch, Near, Reason, Stage, Step};
use crate::model::{CallbackWord, Dialect, Name, Now};
use serde::Serialize;
use std::{net::Ipv4Addr, sync::Arc};

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RequestedFile {
    /// A file of a folder of loaders.
    Loader {
        /// Its path there.
        file: Arc<str>,
    },
    /// A script, rendered for a machine.
    Script {
        /// Its name.
        script: Name,
        /// Its language.
        dialect: Dialect,
        /// Why it is this one.
        choice: ScriptChoice,
        /// What the machine says of itself that does not fit the inventory.
        mismatch: Option<Mismatch>,
    },
    /// A file of a machine's answer.
    Answer {
        /// Its name.
        file: Arc<str>,
        /// Its folder has none, and it is as good as empty.
        is_empty: bool,
    },
    /// A file of an image.
    Artifact {
        /// The image, as it was asked for.
        image: Arc<str>,
        /// The file.
        file: Arc<str>,
    },
    /// What an installer sends back. Its path has a token, and is nowhere.
    Callback {
        /// What it says, where that can be read.
        word: Option<CallbackWord>,
    },
    /// What leads an iPXE to its script.
    Autoexec,
    /// A path that stands for nothing.
    Path {
        /// As it was asked for, escaped.
        path: Arc<str>,
    },
    /// An HTTP request whose path nobody looked at.
    HttpRequest {
        /// Who asks.
        peer: Ipv4Addr,
    },
    /// A TFTP request to write.
    TftpWrite {
        /// Who asks.
        peer: Ipv4Addr,
    },
    /// The reply to a DHCP request.
    DhcpReply,
}

/// Why a machine gets the script that it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptChoice {
    /// It is named for the machine.
    Named,
    /// It boots its disk.
    Disk(DiskReason),
    /// Nobody listed the machine; the host whose MAC differs in one digit.
    Unlisted(Near),
}

/// A part of a file: the bytes from `start` to before `end`, of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FilePart {
    /// The first byte.
    pub start: u64,
    /// The one behind the last.
    pub end: u64,
    /// Bytes of the whole file.
    pub of: u64,
}

/// Whom a request for a file is about, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// The machine.
    pub machine: Machine,
    /// Where in its boot a machine asks for such a thing.
    pub stage: Stage,
    /// What was asked for.
    pub file: RequestedFile,
}

impl Subject {
    /// What became of it, as an event of its machine.
    pub fn event(&self, at: Now, step: Step) -> Event {
        Event {
            at,
            machine: self.machine.clone(),
            stage: self.stage,
            quirks: Arc::default(),
            step,
        }
    }

    /// That it was not to be had. Who asks goes on without it, where it `is_optional`.
    pub fn failed(&self, at: Now, reason: Reason, is_optional: bool) -> Event {
        let file = self.file.clone();
        let step = match is_optional {
            true => Step::OptionalMissing { file },
            false => Step::Failed {
                file,
                part: None,
                reason,
            },
        };
        self.event(at, step)
    }
}
