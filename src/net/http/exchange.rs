//! One request and its response.

use crate::boot::{
    event::Step,
    resource::{Answered, Ask, Refusal, Resource, Transport},
    snapshot::FileStamp,
};
use crate::model::limits::{
    HTTP_BULK_STREAMS_PER_CLIENT_MAX, HTTP_BUSY_REMINDER, HTTP_PROMPT_BYTES_MAX, HTTP_RETRY_AFTER_S,
    HTTP_RETRY_SPREAD_S, REQUEST_PATH_BYTES_MAX,
};
use crate::net::{
    Counter, Shared,
    files::{FileError, hot, open_elsewhere},
    http::{
        body::{Content, FileContent, Handing},
        conditional::{Validators, Weighed, weigh},
        rooms::Rooms,
        wire::{Delivery, Held, Outbox},
    },
    places::Places,
    report,
};
use bytes::Bytes;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{
        ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
        HeaderValue, LAST_MODIFIED, RETRY_AFTER,
    },
};
use std::{
    net::Ipv4Addr,
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tracing::{debug, warn};

/// What answers the requests of one connection.
pub(super) struct Exchange {
    pub shared: Arc<Shared>,
    pub outbox: Arc<Outbox>,
    /// The places of image files on their way.
    pub bulk: Places,
    /// What pieces of files are read into.
    pub rooms: Rooms,
    pub client: Ipv4Addr,
    pub server: Ipv4Addr,
}

/// What refusals are: a status and a line of text.
struct Denied {
    status: StatusCode,
    reason: String,
}

impl Denied {
    fn new(status: StatusCode, reason: impl Into<String>) -> Denied {
        Denied {
            status,
            reason: reason.into(),
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
            Refusal::NotYet { reason } => Denied::new(StatusCode::SERVICE_UNAVAILABLE, reason),
        }
    }
}

impl From<FileError> for Denied {
    fn from(error: FileError) -> Denied {
        let status = match error {
            FileError::Missing => StatusCode::NOT_FOUND,
            FileError::Unsafe(_) => StatusCode::FORBIDDEN,
            FileError::Changed | FileError::Rotten | FileError::ChangedMeanwhile | FileError::Io(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Denied::new(status, error.to_string())
    }
}

impl Exchange {
    pub(super) async fn respond(&self, request: Request<Incoming>) -> Response<Content> {
        self.shared.counters.count(Counter::HttpRequests);
        let head = match *request.method() {
            Method::GET => false,
            Method::HEAD => true,
            _ => {
                let denied = Denied::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served");
                let mut response = self.deny(&denied, false);
                put(&mut response, ALLOW, "GET, HEAD");
                return response;
            }
        };
        let uri = request.uri();
        let path_bytes = uri.path().len() + uri.query().map_or(0, str::len);
        if path_bytes > REQUEST_PATH_BYTES_MAX {
            return self.deny(&Denied::new(StatusCode::URI_TOO_LONG, "the path is too long"), head);
        }
        let mut answered = self.shared.answer(&Ask {
            transport: Transport::Http,
            path: uri.path().as_bytes(),
            query: uri.query(),
            peer: self.client,
            server: self.server,
        });
        let result = std::mem::replace(&mut answered.result, Err(Refusal::BadPath { reason: "" }));
        let response = match result {
            Err(Refusal::NotYet { reason }) => return self.not_yet(&answered, &reason, head),
            Err(refusal) => Err(Denied::from(refusal)),
            Ok(Resource::Text { body, content_type }) => Ok(self.text(&answered, head, body, content_type)),
            Ok(Resource::File {
                root,
                file,
                seal,
                is_bulk,
                content_type,
            }) => {
                let opened = match is_bulk {
                    true => open_elsewhere(root, file, seal).await.map(hot::Content::File),
                    // A loader is kept beside images that take its pages from the page cache.
                    false => self.shared.hot_files.open_elsewhere(root, file, seal).await,
                };
                opened
                    .map(|content| self.file(&answered, &request, (content, is_bulk), content_type))
                    .map_err(Denied::from)
            }
        };
        response.unwrap_or_else(|denied| {
            report(&answered.refused(denied.reason.clone()));
            self.deny(&denied, head)
        })
    }

    fn handing(&self, answered: &Answered, what: String, bytes: u64, held: Held) -> Handing {
        let unsent = answered.event(Step::Sent {
            what: String::new(),
            bytes,
        });
        Handing {
            delivery: Delivery::new(Arc::clone(&self.shared), unsent, what, bytes, held),
            outbox: Arc::clone(&self.outbox),
        }
    }

    /// A rendered text: for this machine and this moment, so never cached.
    fn text(&self, answered: &Answered, head: bool, body: String, content_type: &'static str) -> Response<Content> {
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

    fn file(
        &self,
        answered: &Answered,
        request: &Request<Incoming>,
        (content, is_bulk): (hot::Content, bool),
        content_type: &'static str,
    ) -> Response<Content> {
        let length = content.stamp().length;
        let validators = validators(content.stamp());
        // A range of HEAD means nothing (RFC 9110 section 14.2): it gets the length of the whole.
        let head = request.method() == Method::HEAD;
        let mut response = match weigh(request.headers(), &validators, length) {
            Weighed::NotModified => status(StatusCode::NOT_MODIFIED),
            Weighed::Failed => self.deny(
                &Denied::new(StatusCode::PRECONDITION_FAILED, "the file is another"),
                head,
            ),
            Weighed::Unsatisfiable if !head => {
                let denied = Denied::new(StatusCode::RANGE_NOT_SATISFIABLE, "the file has no such bytes");
                let mut response = self.deny(&denied, head);
                put(&mut response, CONTENT_RANGE, &format!("bytes */{length}"));
                response
            }
            Weighed::Whole | Weighed::Part(_) | Weighed::Unsatisfiable if head => headed(length),
            Weighed::Whole | Weighed::Unsatisfiable => self.body(answered, (content, is_bulk), None),
            Weighed::Part(part) => self.body(answered, (content, is_bulk), Some(part)),
        };
        if response.status().is_success() {
            set(&mut response, CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        put(&mut response, ACCEPT_RANGES, "bytes");
        put(&mut response, ETAG, &validators.etag);
        put(
            &mut response,
            LAST_MODIFIED,
            &httpdate::fmt_http_date(validators.modified),
        );
        response
    }

    /// The whole file or a part of it, once there is a place for it.
    fn body(
        &self,
        answered: &Answered,
        (content, is_bulk): (hot::Content, bool),
        part: Option<Range<u64>>,
    ) -> Response<Content> {
        let place = is_bulk.then(|| self.bulk.take(self.client)).flatten();
        if is_bulk && place.is_none() {
            return self.busy(answered);
        }
        let length = content.stamp().length;
        let what = match &part {
            Some(part) => format!("{} (bytes {}-{} of {length})", answered.what, part.start, part.end - 1),
            None => answered.what.clone(),
        };
        let bytes = part.clone().unwrap_or(0..length);
        let size = bytes.end - bytes.start;
        if length > HTTP_PROMPT_BYTES_MAX {
            self.outbox.takes_bulk();
        }
        let to = (Transport::Http, self.client);
        let began = self.shared.clock.monotonic();
        let held = Held {
            place: place.map(Arc::new),
            under_way: Some(self.shared.transfers.begin(began, to, answered, size)),
        };
        let handing = self.handing(answered, what, size, held);
        let content = FileContent::new(content, bytes, self.rooms.clone(), handing);
        let mut response = Response::new(Content::File(content));
        set(&mut response, CONTENT_LENGTH, size);
        if let Some(part) = part {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            put(&mut response, CONTENT_RANGE, &range);
        }
        response
    }

    /// Too many image files are on their way: the machine is told when to come back.
    fn busy(&self, answered: &Answered) -> Response<Content> {
        let counters = &self.shared.counters;
        counters.count(Counter::HttpBusy);
        if self.shared.busy.is_due(&self.shared.clock, HTTP_BUSY_REMINDER) {
            warn!(
                "machines wait for image files, {} among them: bulk_streams under [http] are all under way, or its own \
                 {HTTP_BULK_STREAMS_PER_CLIENT_MAX}",
                answered.machine
            );
        }
        debug!(client = %self.client, what = answered.what, "told to come back");
        self.come_back("too many image files are on their way", false)
    }

    /// The file's bytes are still being verified: the machine is told when to come back.
    fn not_yet(&self, answered: &Answered, reason: &str, head: bool) -> Response<Content> {
        self.shared.counters.count(Counter::HttpUnverified);
        if self.shared.unverified.is_due(&self.shared.clock, HTTP_BUSY_REMINDER) {
            warn!("machines wait, {} among them: {reason}", answered.machine);
        }
        debug!(client = %self.client, what = answered.what, "told to come back: {reason}");
        self.come_back(reason, head)
    }

    fn come_back(&self, reason: &str, head: bool) -> Response<Content> {
        let mut response = self.deny(&Denied::new(StatusCode::SERVICE_UNAVAILABLE, reason), head);
        // Spread by the client's address, so that a rack that was turned away comes back in turns.
        let after_s = HTTP_RETRY_AFTER_S + self.client.to_bits() % HTTP_RETRY_SPREAD_S;
        put(&mut response, RETRY_AFTER, &after_s.to_string());
        response
    }

    /// A refusal as a line of text.
    fn deny(&self, denied: &Denied, head: bool) -> Response<Content> {
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
fn validators(stamp: FileStamp) -> Validators {
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
fn headed(length: u64) -> Response<Content> {
    let mut response = Response::new(empty());
    set(&mut response, CONTENT_LENGTH, length);
    response
}

fn empty() -> Content {
    Content::Text {
        bytes: Bytes::new(),
        handing: None,
    }
}

fn status(status: StatusCode) -> Response<Content> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    response
}

/// Sets a header to a text of ours; one that could not be a header is left out.
fn put(response: &mut Response<Content>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        set(response, name, value);
    }
}

/// Sets a header to a number, or to a text that was looked at before.
fn set(response: &mut Response<Content>, name: HeaderName, value: impl Into<HeaderValue>) {
    response.headers_mut().insert(name, value.into());
}
