//! One request and its response.

use super::{
    body::Content,
    conditional::{Weighed, weigh},
    held::{Hold, Settled, typed},
    response::{Denied, Exchange, Wanted, headed, put, set, status, validators},
};
use crate::boot::{
    fetcher::{Manner, manner},
    resource::{Answered, Refusal, Resource},
};
use crate::model::{limits::REQUEST_PATH_BYTES_MAX, text};
use crate::net::{
    Counter,
    files::{FileError, hot, open_elsewhere},
};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{
        ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED, USER_AGENT,
    },
};
use std::{path::PathBuf, sync::Arc};

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
        let mut known = self.shared.snapshot.load_full();
        let mut answered = self.answer(uri).await;
        loop {
            if let Err(Refusal::NotYet { reason, length }) = &answered.result {
                match self.not_yet(&answered, (reason, *length), (uri, head), hold).await {
                    Settled::Answered(later, still) => (answered, hold) = (*later, *still),
                    Settled::Response(response) => return *response,
                }
            }
            match self.settle(&request, &mut answered, &mut hold).await {
                // Another file has its name by now: the next generation will know.
                Err(Denied {
                    length_now: Some(length),
                    ..
                }) if head && hold.manner == Manner::WaitsForBody => {
                    return typed(headed(length), uri);
                }
                Err(denied) if denied.is_passing && hold.begins(self, &answered) && !hold.is_over() => {
                    // Whose patience for a head is short is told how long that file is.
                    if let (Manner::WaitsForBody, Some(length)) = (hold.manner, denied.length_now) {
                        return self.promised(uri, length, hold);
                    }
                    self.changes(&known, &hold).await;
                    known = self.shared.snapshot.load_full();
                    answered = self.answer(uri).await;
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
                    true => match open_elsewhere(root.clone(), file.clone(), seal).await {
                        Err(error) => {
                            let there = matches!(error, FileError::Changed).then_some((root, file));
                            return Err(Denied {
                                length_now: length_of(there).await,
                                ..Denied::from(error)
                            });
                        }
                        opened => opened.map(hot::Content::File),
                    },
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
            .unread("an HTTP request", self.claim.client)
            .refused(reason.clone());
        self.shared.report(&refused);
        self.deny(&Denied::new(status, reason), head)
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
        let free = wanted.is_bulk.then(|| self.bulk.take(&self.claim)).flatten();
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
}

/// The length of a file that is another than it was; `None` where it has no bytes.
async fn length_of(file: Option<(PathBuf, String)>) -> Option<u64> {
    let (root, file) = file?;
    let opened = open_elsewhere(root, file, None).await.ok()?;
    Some(opened.length()).filter(|length| *length > 0)
}

/// Why an image file does not go out at once.
const BUSY: &str = "too many image files are on their way";
