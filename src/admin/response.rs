//! What an endpoint answers: one JSON object, or a stream of them, a line each; and refusals.
//!
//! A stream is made on a thread that may block, a few lines ahead of its reader: a list of any length takes the
//! same memory, and a line that is not followed by another is sent at once.

use super::api::{API_VERSION, API_VERSION_HEADER, AdminRefusal, RefusalCode};
use crate::model::limits::{ADMIN_STREAM_BATCH_MAX, ADMIN_STREAM_QUEUE_MAX};
use bytes::{Bytes, BytesMut};
use hyper::{
    StatusCode,
    body::{Body, Frame},
    header::{CONTENT_TYPE, HeaderName, HeaderValue, SERVER},
};
use serde::Serialize;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::sync::{mpsc, oneshot};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const JSON_LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const BOOTWRIGHT: HeaderValue = HeaderValue::from_static(concat!("bootwright/", env!("CARGO_PKG_VERSION")));

/// One of the two shapes of an answer.
pub trait Response {
    /// Gives it.
    fn give(self, responder: Responder);
}

/// One JSON object.
#[derive(Debug)]
pub struct Document<T>(pub T);

/// A JSON object a line.
pub struct Lines<T>(Box<dyn Iterator<Item = T> + Send>);

impl<T> Lines<T> {
    /// The lines that `items` makes, which may block before each of them.
    pub fn new(items: impl Iterator<Item = T> + Send + 'static) -> Lines<T> {
        Lines(Box::new(items))
    }
}

impl<T: Serialize> Response for Document<T> {
    fn give(self, responder: Responder) {
        match line(&self.0) {
            Ok(body) => responder.send(StatusCode::OK, JSON, AdminBody::whole(body)),
            Err(error) => responder.refuse(&unwritten(&error)),
        }
    }
}

impl<T: Serialize> Response for Lines<T> {
    fn give(self, responder: Responder) {
        let (queue, lines) = mpsc::channel(ADMIN_STREAM_QUEUE_MAX);
        responder.send(StatusCode::OK, JSON_LINES, AdminBody::lines(lines));
        for item in self.0 {
            let sent = line(&item).map(|line| queue.blocking_send(Queued::Line(line)));
            // Nobody reads on; or the stream ends without its end, which its reader sees.
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
        let _ = queue.blocking_send(Queued::End);
    }
}

fn line(item: &impl Serialize) -> serde_json::Result<Bytes> {
    let mut line = serde_json::to_vec(item)?;
    line.push(b'\n');
    Ok(line.into())
}

fn unwritten(error: &serde_json::Error) -> AdminRefusal {
    AdminRefusal::new(
        RefusalCode::Internal,
        format!("the answer can't be written as JSON ({error}); this is a bug of bootwright"),
    )
}

/// Gives one response.
#[derive(Debug)]
pub struct Responder(oneshot::Sender<hyper::Response<AdminBody>>);

impl Responder {
    /// A responder, and the response that it will give.
    pub(super) fn new() -> (Responder, oneshot::Receiver<hyper::Response<AdminBody>>) {
        let (sender, response) = oneshot::channel();
        (Responder(sender), response)
    }

    /// Gives a refusal.
    pub(super) fn refuse(self, refusal: &AdminRefusal) {
        let _ = self.0.send(refused(refusal));
    }

    fn send(self, status: StatusCode, content_type: HeaderValue, body: AdminBody) {
        // Whoever asked may have left.
        let _ = self.0.send(response(status, content_type, body));
    }
}

/// A refusal as a response.
pub(super) fn refused(refusal: &AdminRefusal) -> hyper::Response<AdminBody> {
    problem(refusal, refusal)
}

/// A response with the status of `refusal` and the body of `shape`.
pub(super) fn problem(refusal: &AdminRefusal, shape: &impl Serialize) -> hyper::Response<AdminBody> {
    let status = refusal.status.and_then(|status| StatusCode::from_u16(status).ok());
    let body = line(shape).unwrap_or_default();
    response(
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        PROBLEM,
        AdminBody::whole(body),
    )
}

fn response(status: StatusCode, content_type: HeaderValue, body: AdminBody) -> hyper::Response<AdminBody> {
    let mut response = hyper::Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(SERVER, BOOTWRIGHT);
    headers.insert(HeaderName::from_static(API_VERSION_HEADER), API_VERSION.into());
    response
}

/// What waits to be sent of a stream.
#[derive(Debug)]
pub(super) enum Queued {
    Line(Bytes),
    /// That was all. Without it a reader is told that the stream broke off.
    End,
}

/// The body of a response.
#[derive(Debug)]
pub(super) struct AdminBody {
    /// What is there already.
    ready: Option<Bytes>,
    /// What comes yet.
    coming: Option<mpsc::Receiver<Queued>>,
}

impl AdminBody {
    fn whole(bytes: Bytes) -> AdminBody {
        AdminBody {
            ready: Some(bytes),
            coming: None,
        }
    }

    fn lines(lines: mpsc::Receiver<Queued>) -> AdminBody {
        AdminBody {
            ready: None,
            coming: Some(lines),
        }
    }
}

impl Body for AdminBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(bytes) = self.ready.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let Some(coming) = &mut self.coming else {
            return Poll::Ready(None);
        };
        let mut queued = Vec::with_capacity(ADMIN_STREAM_BATCH_MAX);
        let count = ready!(coming.poll_recv_many(context, &mut queued, ADMIN_STREAM_BATCH_MAX));
        let is_end = matches!(queued.last(), Some(Queued::End));
        let mut batch = BytesMut::new();
        for one in queued {
            match one {
                Queued::Line(line) => batch.extend_from_slice(&line),
                Queued::End => {}
            }
        }
        if is_end {
            self.coming = None;
        }
        Poll::Ready(match (count, batch.is_empty()) {
            (0, _) => Some(Err(io::ErrorKind::BrokenPipe.into())),
            (_, true) => None,
            (_, false) => Some(Ok(Frame::data(batch.freeze()))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_none() && self.coming.is_none()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match (&self.coming, &self.ready) {
            (None, ready) => hyper::body::SizeHint::with_exact(ready.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            (Some(_), _) => hyper::body::SizeHint::default(),
        }
    }
}
