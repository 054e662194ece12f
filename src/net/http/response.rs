//! What answers the requests of one connection, and what responses are made of: texts, files and refusals,
//! with their headers. Which of them a request comes to is [`super::exchange`]'s.

use super::{
    body::{Content, FileContent, Handing},
    conditional::Validators,
    rooms::Rooms,
    wire::{Delivery, Held, Outbox},
};
use crate::boot::{
    event::Step,
    resource::{Answered, Ask, Refusal, Transport},
    snapshot::FileStamp,
};
use crate::model::limits::{HTTP_PROMPT_BYTES_MAX, HTTP_RETRY_AFTER_S, HTTP_RETRY_SPREAD_S};
use crate::net::{
    Counter, Shared,
    files::{FileError, hot},
    places::{Claim, Place, Places},
    running::Cut,
};
use bytes::Bytes;
use hyper::{
    Response, StatusCode, Uri,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};
use std::{
    net::Ipv4Addr,
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// What answers the requests of one connection.
pub(super) struct Exchange {
    pub shared: Arc<Shared>,
    pub outbox: Arc<Outbox>,
    /// The places of image files on their way.
    pub bulk: Places,
    /// The places of those who wait for one of them.
    pub seats: Places,
    /// What pieces of files are read into.
    pub rooms: Rooms,
    /// Whether it is us who end what is under way.
    pub cut: Cut,
    /// Who asks, for whatever it needs a place for.
    pub claim: Claim,
    /// Its connection's place.
    pub place: Place,
    pub server: Ipv4Addr,
}

/// A file, or a part of one, that is to be sent.
pub(super) struct Wanted {
    pub content: hot::Content,
    pub part: Option<Range<u64>>,
    pub is_bulk: bool,
}

impl Wanted {
    fn bytes(&self) -> Range<u64> {
        self.part.clone().unwrap_or(0..self.content.stamp().length)
    }

    /// How many bytes of it are to be sent.
    pub(super) fn size(&self) -> u64 {
        let bytes = self.bytes();
        bytes.end - bytes.start
    }
}

/// What refusals are: a status and a line of text.
pub(super) struct Denied {
    pub status: StatusCode,
    pub reason: String,
    /// It will be otherwise by itself, soon.
    pub is_passing: bool,
    /// Bytes of the file that has its name by now.
    pub length_now: Option<u64>,
}

impl Denied {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Denied {
        Denied {
            status,
            reason: reason.into(),
            is_passing: false,
            length_now: None,
        }
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Denied {
        match refusal {
            Refusal::NotFound { reason } | Refusal::Spared { reason } => Denied::new(StatusCode::NOT_FOUND, reason),
            Refusal::BadPath { reason } => Denied::new(StatusCode::BAD_REQUEST, reason),
            Refusal::Forbidden { reason } => Denied::new(StatusCode::FORBIDDEN, reason),
            Refusal::Broken { reason } => Denied::new(StatusCode::INTERNAL_SERVER_ERROR, reason),
            Refusal::NotYet { reason, .. } => Denied::new(StatusCode::SERVICE_UNAVAILABLE, reason),
        }
    }
}

impl From<FileError> for Denied {
    fn from(error: FileError) -> Denied {
        let status = match error {
            FileError::Missing => StatusCode::NOT_FOUND,
            FileError::Unsafe(_) => StatusCode::FORBIDDEN,
            FileError::Rotten | FileError::ChangedMeanwhile | FileError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
            FileError::Changed | FileError::NotInTime => StatusCode::SERVICE_UNAVAILABLE,
        };
        Denied {
            is_passing: matches!(error, FileError::Changed),
            ..Denied::new(status, error.to_string())
        }
    }
}

impl Exchange {
    /// What a request comes to now.
    pub(super) async fn answer(&self, uri: &Uri) -> Answered {
        let ask = Ask {
            transport: Transport::Http,
            path: uri.path().as_bytes(),
            query: uri.query(),
            peer: self.claim.client,
            server: self.server,
        };
        self.shared.answer_in_time(&ask).await
    }

    pub(super) fn handing(&self, answered: &Answered, what: String, bytes: u64, held: Held) -> Handing {
        let unsent = answered.event(Step::Sent {
            what: String::new(),
            bytes,
        });
        let held = Held {
            leave: self.claim.leave.clone(),
            ..held
        };
        Handing {
            delivery: Delivery::new(Arc::clone(&self.shared), unsent, what, bytes, held),
            outbox: Arc::clone(&self.outbox),
        }
    }

    /// A rendered text: for this machine and this moment, so never cached.
    pub(super) fn text(
        &self,
        answered: &Answered,
        head: bool,
        body: String,
        content_type: &'static str,
    ) -> Response<Content> {
        let length = body.len() as u64;
        let content = if head {
            empty()
        } else {
            let handing = self.handing(answered, answered.what.clone(), length, Held::default());
            Content::text(body.into(), handing)
        };
        let mut response = Response::new(content);
        set(&mut response, CONTENT_TYPE, HeaderValue::from_static(content_type));
        set(&mut response, CACHE_CONTROL, HeaderValue::from_static("no-store"));
        set(&mut response, CONTENT_LENGTH, length);
        response
    }

    /// The body of a file, or of a part of one, which has its place.
    pub(super) fn content(&self, answered: &Answered, wanted: Wanted, place: Option<Place>) -> FileContent {
        let length = wanted.content.stamp().length;
        let what = match &wanted.part {
            Some(part) => format!("{} (bytes {}-{} of {length})", answered.what, part.start, part.end - 1),
            None => answered.what.clone(),
        };
        let (bytes, size) = (wanted.bytes(), wanted.size());
        if length > HTTP_PROMPT_BYTES_MAX {
            self.outbox.takes_bulk();
        }
        let to = (Transport::Http, self.claim.client);
        let began = self.shared.clock.monotonic();
        let held = Held {
            place: place.map(Arc::new),
            under_way: Some(self.shared.transfers.begin(began, to, answered, size)),
            ..Held::default()
        };
        let handing = self.handing(answered, what, size, held);
        FileContent::new(wanted.content, bytes, self.rooms.clone(), handing)
    }

    pub(super) fn come_back(&self, reason: &str, head: bool) -> Response<Content> {
        let mut response = self.deny(&Denied::new(StatusCode::SERVICE_UNAVAILABLE, reason), head);
        // Spread by the client's address, so that a rack that was turned away comes back in turns.
        let after_s = HTTP_RETRY_AFTER_S + self.claim.client.to_bits() % HTTP_RETRY_SPREAD_S;
        put(&mut response, RETRY_AFTER, &after_s.to_string());
        response
    }

    /// A refusal as a line of text.
    pub(super) fn deny(&self, denied: &Denied, head: bool) -> Response<Content> {
        self.shared.counters.count(Counter::HttpRefused);
        let line = format!("{}\n", denied.reason);
        let length = line.len();
        let mut response = Response::new(if head {
            empty()
        } else {
            Content::Text {
                bytes: Bytes::from(line),
                handing: None,
            }
        });
        *response.status_mut() = denied.status;
        put(&mut response, CONTENT_TYPE, "text/plain; charset=utf-8");
        set(&mut response, CONTENT_LENGTH, length);
        if denied.status == StatusCode::METHOD_NOT_ALLOWED || denied.status == StatusCode::URI_TOO_LONG {
            // Its body, if it has one, is never read.
            put(&mut response, CONNECTION, "close");
        }
        response
    }
}

/// A strong tag: another length, time or inode is another file.
pub(super) fn validators(stamp: FileStamp) -> Validators {
    let FileStamp {
        length,
        modified_ns,
        changed_ns,
        inode,
    } = stamp;
    let nanoseconds = u64::try_from(modified_ns).unwrap_or(0);
    Validators {
        etag: format!("\"{inode:x}-{length:x}-{modified_ns:x}-{changed_ns:x}\""),
        modified: SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds),
    }
}

/// The answer to HEAD: the length of the whole, and no byte of it.
pub(super) fn headed(length: u64) -> Response<Content> {
    let mut response = Response::new(empty());
    set(&mut response, CONTENT_LENGTH, length);
    response
}

pub(super) fn empty() -> Content {
    Content::Text {
        bytes: Bytes::new(),
        handing: None,
    }
}

pub(super) fn status(status: StatusCode) -> Response<Content> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    response
}

/// Sets a header to a text of ours; one that could not be a header is left out.
pub(super) fn put(response: &mut Response<Content>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        set(response, name, value);
    }
}

/// Sets a header to a number, or to a text that was looked at before.
pub(super) fn set(response: &mut Response<Content>, name: HeaderName, value: impl Into<HeaderValue>) {
    response.headers_mut().insert(name, value.into());
}
