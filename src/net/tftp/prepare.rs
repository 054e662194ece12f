//! From a request to what its transfer reads from, or to the ERROR it gets.

use crate::boot::{
    event::{PathFault, Reason, RequestedFile, Subject},
    resource::{FileRequest, Hearing, Promise, Refusal, Resolved, Resource, Transport},
};
use crate::net::files::{
    OpenedFile,
    hot::{FileSource, HotFiles, InMemoryFile},
};
use crate::proto::tftp::{
    netascii,
    transfer::Transfer,
    wire::{self, ErrorCode, TransferMode},
};
use crate::state::Shared;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
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
    pub(super) reason: Reason,
    /// Who asks goes on without it.
    pub(super) is_optional: bool,
}

impl TftpRefusal {
    fn new(code: ErrorCode, reason: Reason) -> TftpRefusal {
        TftpRefusal {
            code,
            reason,
            is_optional: false,
        }
    }
}

impl From<Refusal> for TftpRefusal {
    fn from(refusal: Refusal) -> TftpRefusal {
        let code = match refusal {
            Refusal::NotFound(_) | Refusal::OptionalMissing(_) => ErrorCode::NotFound,
            Refusal::BadPath(_) | Refusal::Forbidden(_) => ErrorCode::AccessViolation,
            Refusal::ServerError(_) | Refusal::NotStored(_) | Refusal::NotReady { .. } => ErrorCode::Undefined,
        };
        TftpRefusal {
            code,
            is_optional: refusal.is_optional(),
            reason: refusal.into_reason(),
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
    pub(super) subject: Subject,
    /// What begins once the client acknowledges what it is sent.
    pub(super) promise: Option<Promise>,
    pub(super) begun: Result<(Transfer, TransferSource), TftpRefusal>,
}

/// Answers a request as far as that needs a template or a disk.
pub(super) async fn prepare(
    (shared, hot_files): (&Arc<Shared>, &Arc<HotFiles>),
    client: SocketAddrV4,
    (request, hearing): (&TransferRequest, Hearing),
) -> Prepared {
    let peer = IpAddr::V4(*client.ip());
    let Some(read) = &request.read else {
        return Prepared {
            subject: shared.unread(RequestedFile::TftpWrite { peer }, peer),
            promise: None,
            begun: Err(TftpRefusal::new(ErrorCode::AccessViolation, Reason::ReadOnly)),
        };
    };
    let ask = FileRequest {
        hearing,
        ..FileRequest::get(Transport::Tftp, &read.path, peer, request.asked)
    };
    let Resolved {
        subject,
        block_max,
        promise,
        result,
        ..
    } = shared.answer_in_time(&ask).await;
    let begun = match in_mode(read.mode, result) {
        Ok(result) => source(hot_files, result).await,
        Err(denied) => Err(denied),
    };
    let begun = begun.map(|source| {
        let mut options = read.options;
        if let Some(largest) = block_max {
            options.blksize = options.blksize.map(|asked| asked.min(largest));
        }
        let now = shared.clock.monotonic();
        (Transfer::begin(now, &options, source.length()), source)
    });
    Prepared {
        subject,
        promise,
        begun,
    }
}

/// What is sent in the mode that was asked for. A text may be asked for as such; a loader would arrive as
/// another one at whoever takes the bytes as they come, and would have to be held in memory for each.
fn in_mode(mode: TransferMode, result: Result<Resource, Refusal>) -> Result<Result<Resource, Refusal>, TftpRefusal> {
    let denied = |reason| Err(TftpRefusal::new(ErrorCode::IllegalOperation, reason));
    match (mode, result) {
        (TransferMode::Octet, result) | (TransferMode::Netascii, result @ Err(_)) => Ok(result),
        (TransferMode::Netascii, Ok(Resource::Text { body, content_type })) => {
            // Two bytes that were one are ASCII, whatever stands beside them.
            let body = String::from_utf8(netascii(body.as_bytes()));
            let broken = |_| Refusal::BadPath(PathFault::NotText);
            Ok(body.map(|body| Resource::Text { body, content_type }).map_err(broken))
        }
        (TransferMode::Netascii, Ok(Resource::File { .. })) => denied(Reason::NetasciiFile),
        (TransferMode::Other, _) => denied(Reason::UnknownMode),
    }
}

async fn source(hot_files: &Arc<HotFiles>, result: Result<Resource, Refusal>) -> Result<TransferSource, TftpRefusal> {
    match result {
        Err(refusal) => Err(TftpRefusal::from(refusal)),
        Ok(Resource::Text { body, .. }) => Ok(TransferSource::Memory(InMemoryFile {
            bytes: body.into(),
            verified: None,
        })),
        Ok(Resource::File {
            root, file, verified, ..
        }) => match hot_files.open_elsewhere(root, file, verified).await {
            Ok(FileSource::InMemoryFile { file, .. }) => Ok(TransferSource::Memory(file)),
            Ok(FileSource::File(opened)) => Ok(TransferSource::File(opened)),
            Err(error) => Err(TftpRefusal::new(
                match error.is_missing() {
                    true => ErrorCode::NotFound,
                    false => ErrorCode::AccessViolation,
                },
                Reason::from(&error),
            )),
        },
    }
}
