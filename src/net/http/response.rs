//! What answers the requests of one connection, and what responses are made of: texts, files and refusals,
//! with their headers. Which of them a request comes to is [`super::exchange`]'s.

use super::{
    body::{DeliveryHandle, FileContent, ResponseBody},
    buffer_pool::BufferPool,
    client_stream::{Delivery, DeliveryGuards, DeliveryTracker},
    come_back::ComeBackTimes,
    conditional::Validators,
};
use crate::boot::{
    event::{FilePart, Reason, Step, Subject},
    method::Method,
    resource::{FileRequest, Hearing, Promise, Refusal, Resolved, Transport, content_type},
    snapshot::FileStamp,
};
use crate::model::limits::{HTTP_PROMPT_BYTES_MAX, HTTP_RETRY_AFTER_S, HTTP_RETRY_SPREAD_S};
use crate::net::{
    files::{
        FileError,
        hot::{self, HotFiles},
        sealed::SealedCopies,
    },
    limiter::{FairLimiter, Permit, PermitRequest},
    neighbours::Links,
    tasks::AbortSignal,
};
use crate::state::{Counter, Shared};
use bytes::Bytes;
use hyper::{
    Response, StatusCode, Uri,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};
use std::{
    net::IpAddr,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// What answers the requests of one connection.
pub(super) struct ConnectionContext {
    pub shared: Arc<Shared>,
    pub tracker: Arc<DeliveryTracker>,
    /// The places of image files on their way.
    pub bulk: FairLimiter,
    /// The places of those who wait for one of them.
    pub wait_slots: FairLimiter,
    /// When those come back who can't.
    pub come_back: Arc<ComeBackTimes>,
    /// The loaders that machines fetch.
    pub hot_files: Arc<HotFiles>,
    /// The image files that many machines fetch.
    pub sealed_copies: Arc<SealedCopies>,
    /// What pieces of files are read into.
    pub buffers: BufferPool,
    /// Whether it is us who end what is under way.
    pub abort: AbortSignal,
    /// Who asks, for whatever it needs a place for.
    pub permit_request: PermitRequest,
    /// Its connection's place.
    pub permit: Permit,
    /// Who has which address on the wire.
    pub links: Links,
    pub server: IpAddr,
}

/// A file, or a part of one, that is to be sent.
pub(super) struct FileToSend {
    pub content: hot::FileSource,
    pub part: Option<Range<u64>>,
    pub is_bulk: bool,
}

impl FileToSend {
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
pub(super) struct HttpRefusal {
    pub status: StatusCode,
    pub reason: Reason,
    /// Who asks goes on without it.
    pub is_optional: bool,
    /// It will be otherwise by itself, soon.
    pub is_temporary: bool,
    /// Bytes of the file that has its name by now.
    pub length_now: Option<u64>,
}

impl HttpRefusal {
    pub(super) fn new(status: StatusCode, reason: Reason) -> HttpRefusal {
        HttpRefusal {
            status,
            reason,
            is_optional: false,
            is_temporary: false,
            length_now: None,
        }
    }
}

impl From<Refusal> for HttpRefusal {
    fn from(refusal: Refusal) -> HttpRefusal {
        let status = match refusal {
            Refusal::NotFound(_) | Refusal::OptionalMissing(_) => StatusCode::NOT_FOUND,
            Refusal::BadPath(_) => StatusCode::BAD_REQUEST,
            Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
            Refusal::ServerError(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::NotStored(_) | Refusal::NotReady { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        HttpRefusal {
            is_optional: refusal.is_optional(),
            ..HttpRefusal::new(status, refusal.into_reason())
        }
    }
}

impl From<FileError> for HttpRefusal {
    fn from(error: FileError) -> HttpRefusal {
        let status = match error {
            FileError::Missing => StatusCode::NOT_FOUND,
            FileError::Unsafe(_) => StatusCode::FORBIDDEN,
            FileError::Corrupt | FileError::ChangedWhileReading | FileError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
            FileError::Changed | FileError::WaitTimedOut => StatusCode::SERVICE_UNAVAILABLE,
        };
        HttpRefusal {
            is_temporary: matches!(error, FileError::Changed),
            ..HttpRefusal::new(status, Reason::from(&error))
        }
    }
}

/// With the media type of the file that is asked for: UEFI HTTP boot may know a loader by nothing else.
pub(super) fn typed(mut response: Response<ResponseBody>, uri: &Uri) -> Response<ResponseBody> {
    let content_type = HeaderValue::from_static(content_type(uri.path()));
    set(&mut response, CONTENT_TYPE, content_type);
    response
}

/// The last 32 bits of an address: all of an IPv4 one.
fn last_bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            u32::from_be_bytes([a, b, c, d])
        }
    }
}

impl ConnectionContext {
    /// What a request comes to now that brings nothing.
    pub(super) async fn answer(&self, uri: &Uri, method: Method) -> Resolved {
        self.ask(uri, method, (None, &[])).await
    }

    /// What a request comes to now.
    pub(super) async fn ask(&self, uri: &Uri, method: Method, (accept, body): (Option<&str>, &[u8])) -> Resolved {
        let (path, client) = (uri.path().as_bytes(), self.permit_request.client);
        let ask = FileRequest {
            method,
            query: uri.query(),
            body,
            accept,
            ..FileRequest::get(Transport::Http, path, client, self.server)
        };
        let resolved = self.shared.answer_in_time(&ask).await;
        let Some(Promise { token }) = resolved.promise else {
            return resolved;
        };
        let hearing = Hearing::Acknowledged {
            token,
            link: self.links.mac_of(client),
        };
        self.shared.answer_in_time(&FileRequest { hearing, ..ask }).await
    }

    pub(super) fn delivery_handle(
        &self,
        subject: &Subject,
        body: (Option<FilePart>, u64),
        held: DeliveryGuards,
    ) -> DeliveryHandle {
        let held = DeliveryGuards {
            eviction: self.permit_request.eviction.clone(),
            tracker: Arc::downgrade(&self.tracker),
            ..held
        };
        DeliveryHandle {
            delivery: Delivery::new(Arc::clone(&self.shared), subject.clone(), body, held),
            tracker: Arc::clone(&self.tracker),
        }
    }

    /// A rendered text: for this machine and this moment, so never cached.
    pub(super) fn text(
        &self,
        subject: &Subject,
        head: bool,
        body: String,
        content_type: &'static str,
    ) -> Response<ResponseBody> {
        let length = body.len() as u64;
        let content = if head {
            empty()
        } else {
            let delivery_handle = self.delivery_handle(subject, (None, length), DeliveryGuards::default());
            ResponseBody::text(body.into(), delivery_handle)
        };
        let mut response = Response::new(content);
        set(&mut response, CONTENT_TYPE, HeaderValue::from_static(content_type));
        set(&mut response, CACHE_CONTROL, HeaderValue::from_static("no-store"));
        set(&mut response, CONTENT_LENGTH, length);
        response
    }

    /// The body of a file, or of a part of one, which has its place.
    pub(super) fn content(&self, subject: &Subject, wanted: FileToSend, permit: Option<Permit>) -> FileContent {
        let length = wanted.content.stamp().length;
        let part = wanted.part.as_ref().map(|part| FilePart {
            start: part.start,
            end: part.end,
            of: length,
        });
        let (bytes, size) = (wanted.bytes(), wanted.size());
        if length > HTTP_PROMPT_BYTES_MAX {
            self.tracker.takes_bulk();
        }
        let to = (Transport::Http, self.permit_request.client);
        let began = self.shared.clock.monotonic();
        let held = DeliveryGuards {
            permit: permit.map(Arc::new),
            handle: Some(self.shared.transfers.begin(began, to, subject, size)),
            ..DeliveryGuards::default()
        };
        let delivery_handle = self.delivery_handle(subject, (part, size), held);
        let copies = (&self.sealed_copies, self.permit_request.client);
        FileContent::new((wanted.content, bytes), self.buffers.clone(), copies, delivery_handle)
    }

    /// The client gets a 503 with Retry-After, and that is logged.
    pub(super) fn retry_later(&self, subject: &Subject, reason: Reason, head: bool) -> Response<ResponseBody> {
        let is_for_a_place = matches!(reason, Reason::TooManyUnderWay);
        let step = Step::ComeBack {
            file: subject.file.clone(),
            reason: reason.clone(),
        };
        self.shared.publish(subject.event(self.shared.clock.now(), step));
        let mut response = self.refuse_transfer(&HttpRefusal::new(StatusCode::SERVICE_UNAVAILABLE, reason), head);
        // Spread by the client's address, so that a rack that was turned away comes back in turns.
        let mixed = last_bits(self.permit_request.client);
        let after_s = match is_for_a_place {
            true => self.come_back.seconds(Instant::now(), self.bulk.taken(), mixed),
            false => HTTP_RETRY_AFTER_S + mixed % HTTP_RETRY_SPREAD_S,
        };
        put(&mut response, RETRY_AFTER, &after_s.to_string());
        response
    }

    /// A refusal as a line of text.
    pub(super) fn refuse_transfer(&self, denied: &HttpRefusal, head: bool) -> Response<ResponseBody> {
        self.shared.counters.count(Counter::HttpRefused);
        let line = denied.reason.to_client() + "\n";
        let length = line.len();
        let mut response = Response::new(if head {
            empty()
        } else {
            ResponseBody::Text {
                bytes: Bytes::from(line),
                delivery_handle: None,
            }
        });
        *response.status_mut() = denied.status;
        put(&mut response, CONTENT_TYPE, "text/plain; charset=utf-8");
        set(&mut response, CONTENT_LENGTH, length);
        let leaves_body = matches!(
            denied.status,
            StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::URI_TOO_LONG
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::REQUEST_TIMEOUT
        );
        if leaves_body {
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
pub(super) fn headed(length: u64) -> Response<ResponseBody> {
    let mut response = Response::new(empty());
    set(&mut response, CONTENT_LENGTH, length);
    response
}

pub(super) fn empty() -> ResponseBody {
    ResponseBody::Text {
        bytes: Bytes::new(),
        delivery_handle: None,
    }
}

pub(super) fn status(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    response
}

/// Sets a header to a text of ours; one that could not be a header is left out.
pub(super) fn put(response: &mut Response<ResponseBody>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        set(response, name, value);
    }
}

/// Sets a header to a number, or to a text that was looked at before.
pub(super) fn set(response: &mut Response<ResponseBody>, name: HeaderName, value: impl Into<HeaderValue>) {
    response.headers_mut().insert(name, value.into());
}
