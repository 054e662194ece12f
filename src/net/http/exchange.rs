//! One request and its response.

use crate::boot::{
    event::{Event, Step},
    resource::{Answered, Ask, Refusal, Resource, Transport},
    snapshot::FileStamp,
};
use crate::model::limits::REQUEST_PATH_BYTES_MAX;
use crate::net::{
    Counter, Shared,
    files::{FileError, Opened, open_elsewhere},
    http::{
        body::{Content, FileContent, Handing},
        conditional::{Validators, Weighed, weigh},
        wire::{Delivery, Outbox},
    },
    report,
};
use bytes::Bytes;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{
        ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
        HeaderName, HeaderValue, LAST_MODIFIED,
    },
};
use std::{
    net::Ipv4Addr,
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// What answers the requests of one connection.
#[derive(Clone)]
pub(super) struct Exchange {
    pub shared: Arc<Shared>,
    pub outbox: Arc<Outbox>,
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
            Refusal::NotFound { reason } => Denied::new(StatusCode::NOT_FOUND, reason),
            Refusal::BadPath { reason } => Denied::new(StatusCode::BAD_REQUEST, reason),
            Refusal::Forbidden { reason } => Denied::new(StatusCode::FORBIDDEN, reason),
            Refusal::Broken { reason } => Denied::new(StatusCode::INTERNAL_SERVER_ERROR, reason),
        }
    }
}

impl From<FileError> for Denied {
    fn from(error: FileError) -> Denied {
        let status = match error {
            FileError::Missing => StatusCode::NOT_FOUND,
            FileError::Unsafe(_) => StatusCode::FORBIDDEN,
            FileError::Changed | FileError::ChangedMeanwhile | FileError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
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
            Err(refusal) => Err(Denied::from(refusal)),
            Ok(Resource::Text { body, content_type }) => Ok(self.text(&answered, head, body, content_type)),
            Ok(Resource::File {
                root,
                file,
                stamp,
                content_type,
            }) => match open_elsewhere(&root, &file, stamp).await {
                Ok(opened) => Ok(self.file(&answered, &request, opened, content_type)),
                Err(error) => Err(Denied::from(error)),
            },
        };
        response.unwrap_or_else(|denied| {
            let what = answered.what.clone();
            let reason = denied.reason.clone();
            report(&event(&answered, Step::Failed { what, reason }));
            self.deny(&denied, head)
        })
    }

    fn handing(&self, answered: &Answered, what: String, bytes: u64) -> Handing {
        let unsent = event(
            answered,
            Step::Sent {
                what: String::new(),
                bytes,
            },
        );
        Handing {
            delivery: Delivery::new(Arc::clone(&self.shared), unsent, what, bytes),
            outbox: Arc::clone(&self.outbox),
        }
    }

    /// A rendered text: for this machine and this moment, so never cached.
    fn text(&self, answered: &Answered, head: bool, body: String, content_type: &'static str) -> Response<Content> {
        let length = body.len() as u64;
        let content = if head {
            empty()
        } else {
            Content::Text {
                bytes: body.into(),
                handing: Some(self.handing(answered, answered.what.clone(), length)),
            }
        };
        let mut response = Response::new(content);
        put(&mut response, CONTENT_TYPE, content_type);
        put(&mut response, CACHE_CONTROL, "no-store");
        put(&mut response, CONTENT_LENGTH, &length.to_string());
        response
    }

    fn file(
        &self,
        answered: &Answered,
        request: &Request<Incoming>,
        opened: Opened,
        content_type: &'static str,
    ) -> Response<Content> {
        let length = opened.length();
        let validators = validators(opened.stamp());
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
            Weighed::Part(part) if !head => self.part(answered, opened, part),
            Weighed::Whole | Weighed::Part(_) | Weighed::Unsatisfiable => self.whole(answered, opened, head),
        };
        if response.status().is_success() {
            put(&mut response, CONTENT_TYPE, content_type);
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

    fn whole(&self, answered: &Answered, opened: Opened, head: bool) -> Response<Content> {
        let length = opened.length();
        let content = if head {
            empty()
        } else {
            let handing = self.handing(answered, answered.what.clone(), length);
            Content::File(FileContent::new(opened, 0..length, handing))
        };
        let mut response = Response::new(content);
        put(&mut response, CONTENT_LENGTH, &length.to_string());
        response
    }

    fn part(&self, answered: &Answered, opened: Opened, part: Range<u64>) -> Response<Content> {
        let (first, last, length) = (part.start, part.end - 1, opened.length());
        let what = format!("{} (bytes {first}-{last} of {length})", answered.what);
        let handing = self.handing(answered, what, part.end - part.start);
        let size = part.end - part.start;
        let mut response = Response::new(Content::File(FileContent::new(opened, part, handing)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        put(&mut response, CONTENT_LENGTH, &size.to_string());
        put(&mut response, CONTENT_RANGE, &format!("bytes {first}-{last}/{length}"));
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
        put(&mut response, CONTENT_LENGTH, &length.to_string());
        if denied.status == StatusCode::METHOD_NOT_ALLOWED || denied.status == StatusCode::URI_TOO_LONG {
            // Its body, if it has one, is never read.
            put(&mut response, CONNECTION, "close");
        }
        response
    }
}

fn event(answered: &Answered, step: Step) -> Event {
    Event {
        machine: answered.machine.clone(),
        hardware: answered.hardware,
        stage: answered.stage,
        quirks: Vec::new(),
        step,
    }
}

/// A strong tag: another length, time or inode is another file.
fn validators(stamp: FileStamp) -> Validators {
    let FileStamp {
        length,
        modified_ns,
        inode,
    } = stamp;
    let nanoseconds = u64::try_from(modified_ns).unwrap_or(0);
    Validators {
        etag: format!("\"{inode:x}-{length:x}-{modified_ns:x}\""),
        modified: SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds),
    }
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
    let headers: &mut HeaderMap = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
