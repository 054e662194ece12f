//! One request and its response.

use super::{
    body::ResponseBody,
    conditional::{ConditionalOutcome, evaluate_conditions},
    held::{Hold, HoldOutcome, typed},
    response::{ConnectionContext, FileToSend, HttpRefusal, headed, put, set, status, validators},
};
use crate::boot::{
    resource::{Refusal, Resolved, Resource},
    user_agent::{RetryBehaviour, retry_behaviour},
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

impl ConnectionContext {
    pub(super) async fn respond(self: &Arc<Self>, request: Request<Incoming>) -> Response<ResponseBody> {
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
        let mut hold = Hold::new(retry_behaviour(said.map(HeaderValue::as_bytes)));
        let mut known = self.shared.snapshot.load_full();
        let mut resolved = self.answer(uri).await;
        loop {
            if let Err(Refusal::NotReady { reason, length }) = &resolved.result {
                match self.not_yet(&resolved, (reason, *length), (uri, head), hold).await {
                    HoldOutcome::Resolved(later, still) => (resolved, hold) = (*later, *still),
                    HoldOutcome::Response(response) => return *response,
                }
            }
            match self.settle(&request, &mut resolved, &mut hold).await {
                // Another file has its name by now: the next generation will know.
                Err(HttpRefusal {
                    length_now: Some(length),
                    ..
                }) if head && hold.retry_behaviour == RetryBehaviour::WaitsForBody => {
                    return typed(headed(length), uri);
                }
                Err(denied) if denied.is_temporary && hold.begins(self, &resolved) && !hold.is_over() => {
                    // Whose patience for a head is short is told how long that file is.
                    if let (RetryBehaviour::WaitsForBody, Some(length)) = (hold.retry_behaviour, denied.length_now) {
                        return self.promised(uri, length, hold);
                    }
                    self.changes(&known, &hold).await;
                    known = self.shared.snapshot.load_full();
                    resolved = self.answer(uri).await;
                }
                settled => {
                    let has_waited = hold.ends();
                    return settled.unwrap_or_else(|denied| self.refuse(&resolved, &denied, (head, has_waited)));
                }
            }
        }
    }

    /// The response to a request that need not be waited for any more.
    async fn settle(
        self: &Arc<Self>,
        request: &Request<Incoming>,
        resolved: &mut Resolved,
        hold: &mut Hold,
    ) -> Result<Response<ResponseBody>, HttpRefusal> {
        let head = request.method() == Method::HEAD;
        match std::mem::replace(&mut resolved.result, Err(Refusal::BadPath { reason: "" })) {
            Err(refusal) => Err(HttpRefusal::from(refusal)),
            Ok(Resource::Text { body, content_type }) => Ok(self.text(resolved, head, body, content_type)),
            Ok(Resource::File {
                root,
                file,
                verified,
                is_bulk,
                content_type,
            }) => {
                let opened = match is_bulk {
                    true => match open_elsewhere(root.clone(), file.clone(), verified).await {
                        Err(error) => {
                            let there = matches!(error, FileError::Changed).then_some((root, file));
                            return Err(HttpRefusal {
                                length_now: length_of(there).await,
                                ..HttpRefusal::from(error)
                            });
                        }
                        opened => opened.map(hot::FileSource::File),
                    },
                    // A loader is kept beside images that take its pages from the page cache.
                    false => self.shared.hot_files.open_elsewhere(root, file, verified).await,
                };
                let file = (opened?, is_bulk, content_type);
                Ok(self.file(resolved, request, file, hold).await)
            }
        }
    }

    /// A refusal, said to the operator and to the client; who may come back is told to.
    fn refuse(
        &self,
        resolved: &Resolved,
        denied: &HttpRefusal,
        (head, has_waited): (bool, bool),
    ) -> Response<ResponseBody> {
        if denied.status == StatusCode::SERVICE_UNAVAILABLE {
            match has_waited {
                true => self.timed_out(resolved, &denied.reason),
                false => self.shared.counters.count(Counter::HttpUnverified),
            }
            return self.retry_later(&denied.reason, head);
        }
        self.shared.report(&resolved.refused(denied.reason.clone()));
        self.refuse_transfer(denied, head)
    }

    /// iPXE's `##params` POSTs, as some installers do; nothing here takes what they send.
    fn wrong_method(&self, request: &Request<Incoming>) -> Response<ResponseBody> {
        let method = text::escape(request.method().as_str().as_bytes());
        let what = text::escape(request.uri().path().as_bytes());
        let reason = format!("{method} {what}: only GET and HEAD are served");
        let mut response = self.unread(StatusCode::METHOD_NOT_ALLOWED, reason, false);
        put(&mut response, ALLOW, "GET, HEAD");
        response
    }

    /// A refusal of a request that nobody looks at any closer.
    fn unread(&self, status: StatusCode, reason: String, head: bool) -> Response<ResponseBody> {
        let refused = self
            .shared
            .unread("an HTTP request", self.permit_request.client)
            .refused(reason.clone());
        self.shared.report(&refused);
        self.refuse_transfer(&HttpRefusal::new(status, reason), head)
    }

    async fn file(
        self: &Arc<Self>,
        resolved: &Resolved,
        request: &Request<Incoming>,
        (content, is_bulk, content_type): (hot::FileSource, bool, &'static str),
        hold: &mut Hold,
    ) -> Response<ResponseBody> {
        let length = content.stamp().length;
        let validators = validators(content.stamp());
        // A range of HEAD means nothing (RFC 9110 section 14.2): it gets the length of the whole.
        let head = request.method() == Method::HEAD;
        let wanted = |part| FileToSend { content, part, is_bulk };
        let mut response = match evaluate_conditions(request.headers(), &validators, length) {
            ConditionalOutcome::NotModified => status(StatusCode::NOT_MODIFIED),
            ConditionalOutcome::Failed => self.refuse_transfer(
                &HttpRefusal::new(StatusCode::PRECONDITION_FAILED, "the file is another"),
                head,
            ),
            ConditionalOutcome::Unsatisfiable if !head => {
                let denied = HttpRefusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "the file has no such bytes");
                let mut response = self.refuse_transfer(&denied, head);
                put(&mut response, CONTENT_RANGE, &format!("bytes */{length}"));
                response
            }
            ConditionalOutcome::Full | ConditionalOutcome::FdShare(_) | ConditionalOutcome::Unsatisfiable if head => {
                headed(length)
            }
            ConditionalOutcome::Full | ConditionalOutcome::Unsatisfiable => {
                self.body(resolved, wanted(None), hold).await
            }
            ConditionalOutcome::FdShare(part) => self.body(resolved, wanted(Some(part)), hold).await,
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
    async fn body(
        self: &Arc<Self>,
        resolved: &Resolved,
        wanted: FileToSend,
        hold: &mut Hold,
    ) -> Response<ResponseBody> {
        let (length, size, part) = (wanted.content.stamp().length, wanted.size(), wanted.part.clone());
        let free = wanted.is_bulk.then(|| self.bulk.take(&self.permit_request)).flatten();
        let content = match free {
            permit if permit.is_some() || !wanted.is_bulk => {
                hold.ends();
                ResponseBody::File(self.content(resolved, wanted, permit))
            }
            _ => {
                self.log_busy(resolved);
                if !hold.begins(self, resolved) {
                    self.shared.counters.count(Counter::HttpBusy);
                    return self.retry_later(BUSY, false);
                }
                if hold.retry_behaviour == RetryBehaviour::WaitsForBody && size > 0 {
                    self.defer_until_permit(resolved, wanted, hold.take())
                } else if let Some(permit) = self.permit_in_time(hold).await {
                    hold.ends();
                    ResponseBody::File(self.content(resolved, wanted, Some(permit)))
                } else {
                    hold.ends();
                    self.timed_out(resolved, BUSY);
                    return self.retry_later(BUSY, false);
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
