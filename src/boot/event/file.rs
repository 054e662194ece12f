//! What a machine asks for by TFTP or HTTP: what an event says of it, whatever comes of it.

use super::{DiskReason, Mismatch, Near};
use crate::model::{CallbackWord, Dialect, MachineFacts, Name};
use serde::Serialize;
use std::{net::IpAddr, sync::Arc};

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
        /// What its iPXE tells of it besides, where the machine itself asks.
        facts: Option<Box<MachineFacts>>,
    },
    /// A file of a machine's answer.
    Answer {
        /// Its name.
        file: Arc<str>,
        /// Its folder has none, and it is as good as empty.
        is_empty: bool,
    },
    /// A part of a machine's metadata.
    Metadata {
        /// Its path.
        path: Arc<str>,
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
    /// What a host that installs is to write. Its path has a token, and is nowhere.
    Order,
    /// The keys that may enter a machine in rescue.
    SshKeys,
    /// Which disks a machine has, as it tells.
    Disks,
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
        peer: IpAddr,
    },
    /// A TFTP request to write.
    TftpWrite {
        /// Who asks.
        peer: IpAddr,
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
