//! One request and its response.

use super::{
    body::ResponseBody,
    conditional::{ConditionalOutcome, evaluate_conditions},
    held::{Hold, HoldOutcome},
    response::{ConnectionContext, FileToSend, HttpRefusal, headed, put, set, status, typed, validators},
};
use crate::boot::{
    event::{Reason, RequestedFile, Subject},
    method::{Method, Methods},
    paths,
    resource::{Refusal, Resolved, Resource},
    user_agent::{RetryBehaviour, retry_behaviour},
};
use crate::model::{limits::REQUEST_PATH_BYTES_MAX, text};
use crate::net::files::{FileError, hot, open_elsewhere};
use crate::state::Counter;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{
        ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED, USER_AGENT,
    },
};
use std::{path::PathBuf, sync::Arc};

impl ConnectionContext {
    pub(super) async fn respond(self: &Arc<Self>, request: Request<Incoming>) -> Response<ResponseBody> {
        self.shared.counters.count(Counter::HttpRequests);
        let uri = request.uri();
        let taken = self.shared.resources.methods(uri.path().as_bytes());
        let Some(method) = method_of(&request).filter(|method| taken.has(*method)) else {
            return self.wrong_method(&request, taken);
        };
        let head = method == Method::Head;
        let path_bytes = uri.path().len() + uri.query().map_or(0, str::len);
        if path_bytes > REQUEST_PATH_BYTES_MAX {
            let reason = Reason::PathTooLong { bytes: path_bytes };
            return self.unread(StatusCode::URI_TOO_LONG, reason, head);
        }
        if method == Method::Post {
            // Boxed, so that all others stay as small as they are.
            return Box::pin(self.post(request)).await;
        }
        let user_agent = request.headers().get(USER_AGENT);
        let mut hold = Hold::new(retry_behaviour(user_agent.map(HeaderValue::as_bytes)));
        let mut known = self.shared.snapshot.load_full();
        let mut resolved = self.answer(uri, method).await;
        loop {
            if let Err(Refusal::NotReady { reason, length }) = &resolved.result {
                match self
                    .not_yet(&resolved.subject, (reason, *length), (uri, head), hold)
                    .await
                {
                    HoldOutcome::Resolved(later, still) => (resolved, hold) = (*later, *still),
                    HoldOutcome::Response(response) => return *response,
                }
            }
            let Resolved { subject, result, .. } = resolved;
            match self.settle(&request, (&subject, result), &mut hold).await {
                // Another file has its name by now: the next generation will know.
                Err(HttpRefusal {
                    length_now: Some(length),
                    ..
                }) if head && hold.retry_behaviour == RetryBehaviour::WaitsForBody => {
                    return typed(headed(length), uri);
                }
                Err(denied)
                    if denied.is_temporary && hold.begins(self, &subject, &denied.reason) && !hold.is_over() =>
                {
                    // Whose patience for a head is short is told how long that file is.
                    if let (RetryBehaviour::WaitsForBody, Some(length)) = (hold.retry_behaviour, denied.length_now) {
                        return self.promised(uri, length, hold);
                    }
                    self.changes(&known, &hold).await;
                    known = self.shared.snapshot.load_full();
                    resolved = self.answer(uri, method).await;
                }
                settled => {
                    let has_waited = hold.ends();
                    return settled.unwrap_or_else(|denied| self.refuse(&subject, denied, (head, has_waited)));
                }
            }
        }
    }

    /// The response to a request that need not be waited for any more.
    pub(super) async fn settle(
        self: &Arc<Self>,
        request: &Request<Incoming>,
        (subject, result): (&Subject, Result<Resource, Refusal>),
        hold: &mut Hold,
    ) -> Result<Response<ResponseBody>, HttpRefusal> {
        let head = request.method() == hyper::Method::HEAD;
        match result {
            Err(refusal) => Err(HttpRefusal::from(refusal)),
            Ok(Resource::Text { body, content_type }) => Ok(self.text(subject, head, body, content_type)),
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
                    false => self.hot_files.open_elsewhere(root, file, verified).await,
                };
                let file = (opened?, is_bulk, content_type);
                Ok(self.file(subject, request, file, hold).await)
            }
        }
    }

    /// A refusal, logged for the operator and sent to the client; who may come back is told to.
    pub(super) fn refuse(
        &self,
        subject: &Subject,
        denied: HttpRefusal,
        (head, has_waited): (bool, bool),
    ) -> Response<ResponseBody> {
        if denied.status == StatusCode::SERVICE_UNAVAILABLE {
            match (has_waited, &denied.reason) {
                (true, reason) => self.timed_out(subject, reason),
                // Counted where it was refused.
                (false, Reason::ChangeNotStored { .. }) => {}
                (false, _) => self.shared.counters.count(Counter::HttpUnverified),
            }
            return self.retry_later(subject, denied.reason, head);
        }
        let now = self.shared.clock.now();
        let failed = subject.failed(now, denied.reason.clone(), denied.is_optional);
        self.shared.publish(failed);
        self.refuse_transfer(&denied, head)
    }

    /// iPXE's `##params` POSTs, as some installers do; nothing here takes what they send.
    fn wrong_method(&self, request: &Request<Incoming>, taken: Methods) -> Response<ResponseBody> {
        let reason = Reason::WrongMethod {
            method: text::escape(request.method().as_str().as_bytes()).into(),
            path: path_shown(request.uri().path()),
            taken,
        };
        let mut response = self.unread(StatusCode::METHOD_NOT_ALLOWED, reason, false);
        put(&mut response, ALLOW, taken.allow());
        response
    }

    /// A refusal of a request before its path is looked up.
    pub(super) fn unread(&self, status: StatusCode, reason: Reason, head: bool) -> Response<ResponseBody> {
        let peer = self.permit_request.client;
        let subject = self.shared.unread(RequestedFile::HttpRequest { peer }, peer);
        let now = self.shared.clock.now();
        self.shared.publish(subject.failed(now, reason.clone(), false));
        self.refuse_transfer(&HttpRefusal::new(status, reason), head)
    }

    async fn file(
        self: &Arc<Self>,
        subject: &Subject,
        request: &Request<Incoming>,
        (content, is_bulk, content_type): (hot::FileSource, bool, &'static str),
        hold: &mut Hold,
    ) -> Response<ResponseBody> {
        let length = content.stamp().length;
        let validators = validators(content.stamp());
        // A range of HEAD means nothing (RFC 9110 section 14.2): it gets the length of the whole.
        let head = request.method() == hyper::Method::HEAD;
        let wanted = |part| FileToSend { content, part, is_bulk };
        let mut response = match evaluate_conditions(request.headers(), &validators, length) {
            ConditionalOutcome::NotModified => status(StatusCode::NOT_MODIFIED),
            ConditionalOutcome::Failed => self.refuse_transfer(
                &HttpRefusal::new(StatusCode::PRECONDITION_FAILED, Reason::FileIsAnother),
                head,
            ),
            ConditionalOutcome::Unsatisfiable if !head => {
                let denied = HttpRefusal::new(StatusCode::RANGE_NOT_SATISFIABLE, Reason::NoSuchBytes);
                let mut response = self.refuse_transfer(&denied, head);
                put(&mut response, CONTENT_RANGE, &format!("bytes */{length}"));
                response
            }
            ConditionalOutcome::Full | ConditionalOutcome::FdShare(_) | ConditionalOutcome::Unsatisfiable if head => {
                headed(length)
            }
            ConditionalOutcome::Full | ConditionalOutcome::Unsatisfiable => {
                self.body(subject, wanted(None), hold).await
            }
            ConditionalOutcome::FdShare(part) => self.body(subject, wanted(Some(part)), hold).await,
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
    async fn body(self: &Arc<Self>, subject: &Subject, wanted: FileToSend, hold: &mut Hold) -> Response<ResponseBody> {
        let (length, size, part) = (wanted.content.stamp().length, wanted.size(), wanted.part.clone());
        let free = wanted.is_bulk.then(|| self.bulk.take(&self.permit_request)).flatten();
        let content = match free {
            permit if permit.is_some() || !wanted.is_bulk => {
                hold.ends();
                ResponseBody::File(self.content(subject, wanted, permit))
            }
            _ => {
                self.log_busy(subject);
                if !hold.begins(self, subject, &Reason::TooManyUnderWay) {
                    self.shared.counters.count(Counter::HttpBusy);
                    return self.retry_later(subject, Reason::TooManyUnderWay, false);
                }
                if hold.retry_behaviour == RetryBehaviour::WaitsForBody && size > 0 {
                    self.defer_until_permit(subject, wanted, hold.take())
                } else if let Some(permit) = self.permit_in_time(hold).await {
                    hold.ends();
                    ResponseBody::File(self.content(subject, wanted, Some(permit)))
                } else {
                    hold.ends();
                    self.timed_out(subject, &Reason::TooManyUnderWay);
                    return self.retry_later(subject, Reason::TooManyUnderWay, false);
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

/// A path for the log. One of a callback or an order has a token in it.
fn path_shown(path: &str) -> Arc<str> {
    match path.as_bytes() {
        callback if paths::may_be_callback(callback) => paths::CALLBACK.into(),
        order if paths::may_have_token(order) => paths::ORDER.into(),
        other => paths::refused(other).into(),
    }
}

/// What is asked of the path; `None` where no path takes that.
fn method_of(request: &Request<Incoming>) -> Option<Method> {
    match *request.method() {
        hyper::Method::GET => Some(Method::Get),
        hyper::Method::HEAD => Some(Method::Head),
        hyper::Method::POST => Some(Method::Post),
        _ => None,
    }
}

/// The length of a file that is another than it was; `None` where it has no bytes.
async fn length_of(file: Option<(PathBuf, String)>) -> Option<u64> {
    let (root, file) = file?;
    let opened = open_elsewhere(root, file, None).await.ok()?;
    Some(opened.length()).filter(|length| *length > 0)
}
