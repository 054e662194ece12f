//! From a request to what its transfer reads from, or to the ERROR it gets.

use crate::boot::resource::{Answered, Ask, Refusal, Resource, Transport};
use crate::net::{
    Shared,
    files::{
        Opened,
        hot::{Content, Whole},
    },
};
use crate::proto::tftp::{
    netascii,
    transfer::Transfer,
    wire::{self, ErrorCode, Mode},
};
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

/// One request as a session needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The address of ours that was asked, and answers.
    pub(super) asked: Ipv4Addr,
    /// `None` is a request to write.
    pub(super) read: Option<wire::Request>,
}

/// A request that gets an ERROR.
pub(super) struct Denied {
    pub(super) code: ErrorCode,
    pub(super) message: String,
}

impl Denied {
    fn new(code: ErrorCode, message: impl Into<String>) -> Denied {
        Denied {
            code,
            message: message.into(),
        }
    }
}

impl From<&Refusal> for Denied {
    fn from(refusal: &Refusal) -> Denied {
        match refusal {
            Refusal::NotFound { reason } | Refusal::Spared { reason } => Denied::new(ErrorCode::NotFound, reason),
            Refusal::BadPath { reason } => Denied::new(ErrorCode::AccessViolation, *reason),
            Refusal::Forbidden { reason } => Denied::new(ErrorCode::AccessViolation, reason),
            Refusal::Broken { reason } | Refusal::NotYet { reason, .. } => Denied::new(ErrorCode::Undefined, reason),
        }
    }
}

/// What a transfer reads from.
pub(super) enum Source {
    /// Bytes in memory: a rendered text, or a file that many fetch.
    Memory(Whole),
    File(Opened),
}

impl Source {
    pub(super) fn length(&self) -> u64 {
        match self {
            Source::Memory(whole) => whole.bytes.len() as u64,
            Source::File(opened) => opened.length(),
        }
    }
}

/// What a request comes to: who asked for what, and the transfer or why there is none.
pub(super) struct Prepared {
    /// Its result is taken out: the bytes are the source's.
    pub(super) answered: Answered,
    pub(super) begun: Result<(Transfer, Source), Denied>,
}

/// Answers a request as far as that needs a template or a disk.
pub(super) async fn prepare(shared: &Arc<Shared>, client: SocketAddrV4, request: &Request) -> Prepared {
    let Some(read) = &request.read else {
        return Prepared {
            answered: shared.unread("a TFTP request to write", *client.ip()),
            begun: Err(Denied::new(ErrorCode::AccessViolation, "this server is read-only")),
        };
    };
    let ask = Ask {
        transport: Transport::Tftp,
        path: &read.path,
        query: None,
        peer: *client.ip(),
        server: request.asked,
    };
    let mut answered = shared.answer_in_time(&ask).await;
    let taken = std::mem::replace(&mut answered.result, Err(Refusal::BadPath { reason: "" }));
    let begun = match in_mode(read.mode, taken) {
        Ok(result) => source(shared, result).await,
        Err(denied) => Err(denied),
    };
    let begun = begun.map(|source| {
        let mut options = read.options;
        if let Some(largest) = answered.block_max {
            options.blksize = options.blksize.map(|asked| asked.min(largest));
        }
        let now = shared.clock.monotonic();
        (Transfer::begin(now, &options, source.length()), source)
    });
    Prepared { answered, begun }
}

/// What is sent in the mode that was asked for. A text may be asked for as such; a loader would arrive as
/// another one at whoever takes the bytes as they come, and would have to be held in memory for each.
fn in_mode(mode: Mode, result: Result<Resource, Refusal>) -> Result<Result<Resource, Refusal>, Denied> {
    let denied = |message| Err(Denied::new(ErrorCode::IllegalOperation, message));
    match (mode, result) {
        (Mode::Octet, result) | (Mode::Netascii, result @ Err(_)) => Ok(result),
        (Mode::Netascii, Ok(Resource::Text { body, content_type })) => {
            // Two bytes that were one are ASCII, whatever stands beside them.
            let body = String::from_utf8(netascii(body.as_bytes()));
            let broken = |_| Refusal::BadPath { reason: "no text" };
            Ok(body.map(|body| Resource::Text { body, content_type }).map_err(broken))
        }
        (Mode::Netascii, Ok(Resource::File { .. })) => {
            denied("netascii is for texts; ask for a file in octet (binary) mode")
        }
        (Mode::Other, _) => denied("unknown mode; use octet (binary) mode"),
    }
}

async fn source(shared: &Shared, result: Result<Resource, Refusal>) -> Result<Source, Denied> {
    match result {
        Err(refusal) => Err(Denied::from(&refusal)),
        Ok(Resource::Text { body, .. }) => Ok(Source::Memory(Whole {
            bytes: body.into(),
            seal: None,
        })),
        Ok(Resource::File { root, file, seal, .. }) => match shared.hot_files.open_elsewhere(root, file, seal).await {
            Ok(Content::Whole { whole, .. }) => Ok(Source::Memory(whole)),
            Ok(Content::File(opened)) => Ok(Source::File(opened)),
            Err(error) => Err(Denied::new(
                match error.is_missing() {
                    true => ErrorCode::NotFound,
                    false => ErrorCode::AccessViolation,
                },
                error.to_string(),
            )),
        },
    }
}
