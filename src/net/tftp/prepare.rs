//! From a request to what its transfer reads from, or to the ERROR it gets.

use crate::boot::resource::{FileRequest, Refusal, Resolved, Resource, Transport};
use crate::net::{
    Shared,
    files::{
        OpenedFile,
        hot::{FileSource, InMemoryFile},
    },
};
use crate::proto::tftp::{
    netascii,
    transfer::Transfer,
    wire::{self, ErrorCode, TransferMode},
};
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

/// One request as a session needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TransferRequest {
    /// The address of ours that was asked, and answers.
    pub(super) asked: Ipv4Addr,
    /// `None` is a request to write.
    pub(super) read: Option<wire::ReadRequest>,
}

/// A request that gets an ERROR.
pub(super) struct TftpRefusal {
    pub(super) code: ErrorCode,
    pub(super) message: String,
}

impl TftpRefusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> TftpRefusal {
        TftpRefusal {
            code,
            message: message.into(),
        }
    }
}

impl From<&Refusal> for TftpRefusal {
    fn from(refusal: &Refusal) -> TftpRefusal {
        match refusal {
            Refusal::NotFound { reason } | Refusal::OptionalMissing { reason } => {
                TftpRefusal::new(ErrorCode::NotFound, reason)
            }
            Refusal::BadPath { reason } => TftpRefusal::new(ErrorCode::AccessViolation, *reason),
            Refusal::Forbidden { reason } => TftpRefusal::new(ErrorCode::AccessViolation, reason),
            Refusal::ServerError { reason } | Refusal::NotReady { reason, .. } => {
                TftpRefusal::new(ErrorCode::Undefined, reason)
            }
        }
    }
}

/// What a transfer reads from.
pub(super) enum TransferSource {
    /// Bytes in memory: a rendered text, or a file that many fetch.
    Memory(InMemoryFile),
    File(OpenedFile),
}

impl TransferSource {
    pub(super) fn length(&self) -> u64 {
        match self {
            TransferSource::Memory(file) => file.bytes.len() as u64,
            TransferSource::File(opened) => opened.length(),
        }
    }
}

/// What a request comes to: who asked for what, and the transfer or why there is none.
pub(super) struct Prepared {
    /// Its result is taken out: the bytes are the source's.
    pub(super) resolved: Resolved,
    pub(super) begun: Result<(Transfer, TransferSource), TftpRefusal>,
}

/// Answers a request as far as that needs a template or a disk.
pub(super) async fn prepare(shared: &Arc<Shared>, client: SocketAddrV4, request: &TransferRequest) -> Prepared {
    let Some(read) = &request.read else {
        return Prepared {
            resolved: shared.unread("a TFTP request to write", *client.ip()),
            begun: Err(TftpRefusal::new(ErrorCode::AccessViolation, "this server is read-only")),
        };
    };
    let ask = FileRequest {
        transport: Transport::Tftp,
        path: &read.path,
        query: None,
        peer: *client.ip(),
        server: request.asked,
    };
    let mut resolved = shared.answer_in_time(&ask).await;
    let taken = std::mem::replace(&mut resolved.result, Err(Refusal::BadPath { reason: "" }));
    let begun = match in_mode(read.mode, taken) {
        Ok(result) => source(shared, result).await,
        Err(denied) => Err(denied),
    };
    let begun = begun.map(|source| {
        let mut options = read.options;
        if let Some(largest) = resolved.block_max {
            options.blksize = options.blksize.map(|asked| asked.min(largest));
        }
        let now = shared.clock.monotonic();
        (Transfer::begin(now, &options, source.length()), source)
    });
    Prepared { resolved, begun }
}

/// What is sent in the mode that was asked for. A text may be asked for as such; a loader would arrive as
/// another one at whoever takes the bytes as they come, and would have to be held in memory for each.
fn in_mode(mode: TransferMode, result: Result<Resource, Refusal>) -> Result<Result<Resource, Refusal>, TftpRefusal> {
    let denied = |message| Err(TftpRefusal::new(ErrorCode::IllegalOperation, message));
    match (mode, result) {
        (TransferMode::Octet, result) | (TransferMode::Netascii, result @ Err(_)) => Ok(result),
        (TransferMode::Netascii, Ok(Resource::Text { body, content_type })) => {
            // Two bytes that were one are ASCII, whatever stands beside them.
            let body = String::from_utf8(netascii(body.as_bytes()));
            let broken = |_| Refusal::BadPath { reason: "no text" };
            Ok(body.map(|body| Resource::Text { body, content_type }).map_err(broken))
        }
        (TransferMode::Netascii, Ok(Resource::File { .. })) => {
            denied("netascii is for texts; ask for a file in octet (binary) mode")
        }
        (TransferMode::Other, _) => denied("unknown mode; use octet (binary) mode"),
    }
}

async fn source(shared: &Shared, result: Result<Resource, Refusal>) -> Result<TransferSource, TftpRefusal> {
    match result {
        Err(refusal) => Err(TftpRefusal::from(&refusal)),
        Ok(Resource::Text { body, .. }) => Ok(TransferSource::Memory(InMemoryFile {
            bytes: body.into(),
            verified: None,
        })),
        Ok(Resource::File {
            root, file, verified, ..
        }) => match shared.hot_files.open_elsewhere(root, file, verified).await {
            Ok(FileSource::InMemoryFile { file, .. }) => Ok(TransferSource::Memory(file)),
            Ok(FileSource::File(opened)) => Ok(TransferSource::File(opened)),
            Err(error) => Err(TftpRefusal::new(
                match error.is_missing() {
                    true => ErrorCode::NotFound,
                    false => ErrorCode::AccessViolation,
                },
                error.to_string(),
            )),
        },
    }
}
