//! From a request to what its transfer reads from, or to the ERROR it gets.

use crate::boot::{
    event::{PathFault, Reason, RequestedFile, Subject},
    resource::{FileRequest, Hearing, Promise, Refusal, Resolved, Resource, Transport},
};
use crate::model::limits::TFTP_TRANSFERS_MAX;
use crate::net::{
    files::{
        OpenedFile,
        hot::{FileSource, HotFiles, InMemoryFile},
    },
    limiter::{FdShare, max_by_fds},
};
use crate::proto::tftp::{
    netascii,
    transfer::Transfer,
    wire::{self, ErrorCode, TransferMode},
};
use crate::state::{Counter, Shared};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    sync::Arc,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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

/// A request finds no place; its client is told nothing, and asks again by itself.
pub(super) fn turn_away(shared: &Shared, client: SocketAddrV4, reason: Reason) {
    shared.counters.count(Counter::TftpFull);
    shared.turned_away(shared.machine_at(*client.ip()), reason);
}

/// What a transfer reads from.
pub(super) enum TransferSource {
    /// Bytes in memory: a rendered text, or a file that many fetch.
    Memory(InMemoryFile),
    /// A file, and its place among those that are open.
    File(OpenedFile, OwnedSemaphorePermit),
}

/// Where transfers read from.
#[derive(Clone, Debug)]
pub struct TransferFiles {
    /// The loaders that machines fetch: those take no descriptor, however many are fetching them.
    pub hot: Arc<HotFiles>,
    /// A place for each file that is open for a transfer of its own.
    pub descriptors: Arc<Semaphore>,
}

impl TransferFiles {
    /// With as many descriptors as are TFTP's part.
    pub fn new(hot: Arc<HotFiles>) -> TransferFiles {
        let descriptors = max_by_fds(TFTP_TRANSFERS_MAX, FdShare::TFTP);
        TransferFiles {
            hot,
            descriptors: Arc::new(Semaphore::new(descriptors)),
        }
    }

    async fn source(&self, result: Result<Resource, Refusal>) -> Result<TransferSource, TftpRefusal> {
        match result {
            Err(refusal) => Err(TftpRefusal::from(refusal)),
            Ok(Resource::Text { body, .. }) => Ok(TransferSource::Memory(InMemoryFile {
                bytes: body.into(),
                verified: None,
            })),
            Ok(Resource::File {
                root, file, verified, ..
            }) => match self.hot.open_elsewhere(root, file, verified).await {
                Ok(FileSource::InMemoryFile { file, .. }) => Ok(TransferSource::Memory(file)),
                Ok(FileSource::File(opened)) => match Arc::clone(&self.descriptors).try_acquire_owned() {
                    Ok(place) => Ok(TransferSource::File(opened, place)),
                    Err(_) => Err(TftpRefusal::new(ErrorCode::Undefined, Reason::TransfersFull)),
                },
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
}

impl TransferSource {
    pub(super) fn length(&self) -> u64 {
        match self {
            TransferSource::Memory(file) => file.bytes.len() as u64,
            TransferSource::File(opened, _) => opened.length(),
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
    (shared, files): (&Arc<Shared>, &TransferFiles),
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
        Ok(result) => files.source(result).await,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::limits::HOT_FILE_BYTES_MAX;
    use std::fs::{self, File};

    #[tokio::test]
    async fn a_file_of_its_own_takes_a_descriptor_and_a_loader_that_all_fetch_takes_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("loader"), "loader").unwrap();
        let large = File::create(folder.path().join("kernel")).unwrap();
        large.set_len(HOT_FILE_BYTES_MAX as u64 + 1).unwrap();
        let files = TransferFiles {
            hot: Arc::default(),
            descriptors: Arc::new(Semaphore::new(1)),
        };
        let source = async |file: &str| {
            let file = Resource::File {
                root: folder.path().to_owned(),
                file: file.to_owned(),
                verified: None,
                is_bulk: false,
                content_type: "application/octet-stream",
            };
            files.source(Ok(file)).await
        };
        let first = source("kernel").await;
        assert!(matches!(first, Ok(TransferSource::File(..))));
        let second = source("kernel").await;
        assert!(matches!(second, Err(denied) if matches!(denied.reason, Reason::TransfersFull)));
        let loaders = [source("loader").await, source("loader").await];
        assert!(
            loaders
                .iter()
                .all(|loader| matches!(loader, Ok(TransferSource::Memory(_))))
        );
        drop(first);
        assert!(matches!(source("kernel").await, Ok(TransferSource::File(..))));
    }
}
