//! One request and its response.

use crate::boot::{
    event::Step,
    fetcher::{Manner, manner},
    resource::{Answered, Ask, Refusal, Resource, Transport},
    snapshot::FileStamp,
};
use crate::model::{
    limits::{HTTP_PROMPT_BYTES_MAX, HTTP_RETRY_AFTER_S, HTTP_RETRY_SPREAD_S, REQUEST_PATH_BYTES_MAX},
    text,
};
use crate::net::{
    Counter, Shared,
    files::{FileError, hot, open_elsewhere},
    http::{
        body::{Content, FileContent, Handing},
        conditional::{Validators, Weighed, weigh},
        held::{Hold, Settled},
        rooms::Rooms,
        wire::{Delivery, Held, Outbox},
    },
    places::{Place, Places},
};
use bytes::Bytes;
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{
        ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
        HeaderValue, LAST_MODIFIED, RETRY_AFTER, USER_AGENT,
    },
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
    pub client: Ipv4Addr,
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
struct Denied {
    status: StatusCode,
    reason: String,
    /// It will be otherwise by itself, soon.
    is_passing: bool,
}

impl Denied {
    fn new(status: StatusCode, reason: impl Into<String>) -> Denied {
        Denied {
            status,
            reason: reason.into(),
            is_passing: false,
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
    pub(super) async fn respond(self: &Arc<Self>, request: Request<Incoming>) -> Response<Content> {
        self.shared.counters.count(Counter::HttpRequests);
        let head = match *request.method() {
            Method::GET => false,
            Method::HEAD => true,
            _ => return self.wrong_method(&request),
        };
        let uri = request.uri();
        let path_bytes = uri.path().len() + uri.query().map_or(0, str::len);
        if path_bytes > REQUEST_PATH_BYTES_MAX {
            let reason = format!("the path has {path_bytes} bytes, and {REQUEST_PATH_BYTES_MAX} are served at most");
            return self.unread(StatusCode::URI_TOO_LONG, reason, head);
        }
        let said = request.headers().get(USER_AGENT);
        let mut hold = Hold::new(manner(said.map(HeaderValue::as_bytes)));
        let mut answered = self.answer(uri);
        loop {
            if let Err(Refusal::NotYet { reason, length }) = &answered.result {
                match self.not_yet(&answered, (reason, *length), (uri, head), hold).await {
                    Settled::Answered(later, still) => (answered, hold) = (*later, still),
                    Settled::Response(response) => return *response,
                }
            }
            match self.settle(&request, &mut answered, &mut hold).await {
                // Another file has its name by now: the next generation will know.
                Err(denied) if denied.is_passing && hold.begins(self, &answered) && !hold.is_over() => {
                    answered = self.later(uri, &hold).await;
                }
                settled => {
                    let has_waited = hold.ends();
                    return settled.unwrap_or_else(|denied| self.refuse(&answered, &denied, (head, has_waited)));
                }
            }
        }
    }

    /// The response to a request that need not be waited for any more.
    async fn settle(
        self: &Arc<Self>,
        request: &Request<Incoming>,
        answered: &mut Answered,
        hold: &mut Hold,
    ) -> Result<Response<Content>, Denied> {
        let head = request.method() == Method::HEAD;
        match std::mem::replace(&mut answered.result, Err(Refusal::BadPath { reason: "" })) {
            Err(refusal) => Err(Denied::from(refusal)),
            Ok(Resource::Text { body, content_type }) => Ok(self.text(answered, head, body, content_type)),
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
                let file = (opened?, is_bulk, content_type);
                Ok(self.file(answered, request, file, hold).await)
            }
        }
    }

    /// A refusal, said to the operator and to the client; who may come back is told to.
    fn refuse(&self, answered: &Answered, denied: &Denied, (head, has_waited): (bool, bool)) -> Response<Content> {
        if denied.status == StatusCode::SERVICE_UNAVAILABLE {
            match has_waited {
                true => self.in_vain(answered, &denied.reason),
                false => self.shared.counters.count(Counter::HttpUnverified),
            }
            return self.come_back(&denied.reason, head);
        }
        self.shared.report(&answered.refused(denied.reason.clone()));
        self.deny(denied, head)
    }

    /// What a request comes to now.
    pub(super) fn answer(&self, uri: &Uri) -> Answered {
        self.shared.answer(&Ask {
            transport: Transport::Http,
            path: uri.path().as_bytes(),
            query: uri.query(),
            peer: self.client,
            server: self.server,
        })
    }

    /// iPXE's `##params` POSTs, as some installers do; nothing here takes what they send.
    fn wrong_method(&self, request: &Request<Incoming>) -> Response<Content> {
        let method = text::escape(request.method().as_str().as_bytes());
        let what = text::escape(request.uri().path().as_bytes());
        let reason = format!("{method} {what}: only GET and HEAD are served");
        let mut response = self.unread(StatusCode::METHOD_NOT_ALLOWED, reason, false);
        put(&mut response, ALLOW, "GET, HEAD");
        response
    }

    /// A refusal of a request that nobody looks at any closer.
    fn unread(&self, status: StatusCode, reason: String, head: bool) -> Response<Content> {
        let refused = self
            .shared
            .unread("an HTTP request", self.client)
            .refused(reason.clone());
        self.shared.report(&refused);
        self.deny(&Denied::new(status, reason), head)
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

    async fn file(
        self: &Arc<Self>,
        answered: &Answered,
        request: &Request<Incoming>,
        (content, is_bulk, content_type): (hot::Content, bool, &'static str),
        hold: &mut Hold,
    ) -> Response<Content> {
        let length = content.stamp().length;
        let validators = validators(content.stamp());
        // A range of HEAD means nothing (RFC 9110 section 14.2): it gets the length of the whole.
        let head = request.method() == Method::HEAD;
        let wanted = |part| Wanted { content, part, is_bulk };
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
            Weighed::Whole | Weighed::Unsatisfiable => self.body(answered, wanted(None), hold).await,
            Weighed::Part(part) => self.body(answered, wanted(Some(part)), hold).await,
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
    async fn body(self: &Arc<Self>, answered: &Answered, wanted: Wanted, hold: &mut Hold) -> Response<Content> {
        let (length, size, part) = (wanted.content.stamp().length, wanted.size(), wanted.part.clone());
        let free = wanted.is_bulk.then(|| self.bulk.take(self.client)).flatten();
        let content = match free {
            place if place.is_some() || !wanted.is_bulk => {
                hold.ends();
                Content::File(self.content(answered, wanted, place))
            }
            _ => {
                self.say_busy(answered);
                if !hold.begins(self, answered) {
                    self.shared.counters.count(Counter::HttpBusy);
                    return self.come_back(BUSY, false);
                }
                if hold.manner == Manner::WaitsForBody && size > 0 {
                    self.promise_place(answered, wanted, hold.take())
                } else if let Some(place) = self.place_in_time(hold).await {
                    hold.ends();
                    Content::File(self.content(answered, wanted, Some(place)))
                } else {
                    hold.ends();
                    self.in_vain(answered, BUSY);
                    return self.come_back(BUSY, false);
                }
            }
        };
        let mut response = Response::new(content);
        set(&mut response, CONTENT_LENGTH, size);
        if let Some(part) = part {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            put(&mut response, CONTENT_RANGE, &range);
        }
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
        let to = (Transport::Http, self.client);
        let began = self.shared.clock.monotonic();
        let held = Held {
            place: place.map(Arc::new),
            under_way: Some(self.shared.transfers.begin(began, to, answered, size)),
        };
        let handing = self.handing(answered, what, size, held);
        FileContent::new(wanted.content, bytes, self.rooms.clone(), handing)
    }

    pub(super) fn come_back(&self, reason: &str, head: bool) -> Response<Content> {
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

/// Why an image file does not go out at once.
const BUSY: &str = "too many image files are on their way";

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
pub(super) fn headed(length: u64) -> Response<Content> {
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
pub(super) fn set(response: &mut Response<Content>, name: HeaderName, value: impl Into<HeaderValue>) {
    response.headers_mut().insert(name, value.into());
}
