//! One connection, from its first request to its end, and on which threads it is.
//!
//! It begins among scripts, loaders and answers. Once it is to send a large file, or a part of one, it is
//! moved to the threads for those before a byte of it is read, and stays there: what a machine asks for
//! next on it waits with the bulk.

use crate::model::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADER_TIMEOUT, HTTP_HEADERS_MAX};
use crate::net::{
    Counter,
    http::{
        body::Content,
        response::Exchange,
        wire::{Outbox, Wire},
    },
    places::Place,
    running::Running,
    threads::Threads,
};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::{Ipv4Addr, TcpStream},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};
use tokio::{runtime::Handle, task::yield_now};
use tracing::debug;

/// The threads that connections are served on.
#[derive(Clone)]
pub struct HttpThreads {
    /// For what is small and in a hurry.
    prompt: Threads,
    /// For kernels, initrds and disk images.
    bulk: Threads,
}

impl HttpThreads {
    /// To be called on a runtime.
    pub fn start() -> HttpThreads {
        HttpThreads {
            prompt: Threads::start("http"),
            bulk: Threads::start("bulk"),
        }
    }

    /// Where connections are accepted.
    pub fn prompt(&self) -> Handle {
        self.prompt.first()
    }

    /// Serves a connection, which has `place`, to its end.
    pub(super) fn serve(&self, exchange: Exchange, running: &Running, stream: TcpStream, place: Place) {
        let (bulk, running) = (self.bulk.clone(), running.clone());
        self.prompt.spawn(running.clone().drained(async move {
            let Some(mut conversation) = Conversation::begin(exchange, running.clone(), stream, place) else {
                return;
            };
            if conversation.until(Outbox::wants_bulk_threads).await == Went::ToBeMoved {
                conversation.outbox.moves();
                let rest = async move {
                    conversation.until(|_| false).await;
                };
                bulk.spawn(running.drained(rest));
            }
        }));
    }
}

/// How a conversation went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Went {
    ToItsEnd,
    ToBeMoved,
}

/// A connection and what it holds.
struct Conversation {
    connection: Pin<Box<http1::Connection<TokioIo<Wire>, Answering>>>,
    outbox: Arc<Outbox>,
    running: Running,
    client: Ipv4Addr,
    _place: Place,
}

/// Answers each request. Its own count of the exchange: those of what all connections share go from one
/// processor to another.
struct Answering(Arc<Exchange>);

impl Service<Request<Incoming>> for Answering {
    type Response = Response<Content>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Content>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let exchange = Arc::clone(&self.0);
        Box::pin(async move {
            let response = exchange.respond(request).await;
            if exchange.outbox.wants_bulk_threads() {
                // That is the moment to be moved: a disk that is slow to give the first byte would keep
                // others' loaders waiting here.
                yield_now().await;
            }
            Ok(response)
        })
    }
}

impl Conversation {
    /// To be called on the thread that goes on with it.
    fn begin(exchange: Exchange, running: Running, stream: TcpStream, place: Place) -> Option<Conversation> {
        let (client, outbox) = (exchange.client, Arc::clone(&exchange.outbox));
        let stream = tokio::net::TcpStream::from_std(stream).inspect_err(|error| {
            exchange.shared.counters.count(Counter::AcceptFailed);
            debug!(%client, "HTTP connection: {error}");
        });
        let wire = Wire::new(stream.ok()?, Arc::clone(&outbox));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HTTP_HEADER_TIMEOUT)
            .max_buf_size(HTTP_HEAD_BYTES_MAX)
            .max_headers(HTTP_HEADERS_MAX)
            // GRUB 2.06 knows a `Content-Length` by its capitals, and loads no file of unknown length.
            .title_case_headers(true)
            .serve_connection(TokioIo::new(wire), Answering(Arc::new(exchange)));
        Some(Conversation {
            connection: Box::pin(connection),
            outbox,
            running,
            client,
            _place: place,
        })
    }

    /// Goes on to the end, or until `is_to_be_moved`. When no new work may begin, the response that is
    /// on its way is the last.
    async fn until(&mut self, is_to_be_moved: impl Fn(&Outbox) -> bool) -> Went {
        let (connection, outbox) = (&mut self.connection, &self.outbox);
        let mut stopped = pin!(self.running.stopped());
        let mut is_stopping = false;
        let ended = poll_fn(|context| {
            if !is_stopping && stopped.as_mut().poll(context).is_ready() {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            match connection.as_mut().poll(context) {
                Poll::Ready(ended) => Poll::Ready(Some(ended)),
                Poll::Pending if is_to_be_moved(outbox) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        match ended {
            Some(Ok(())) => Went::ToItsEnd,
            Some(Err(error)) => {
                debug!(client = %self.client, "HTTP connection: {error}");
                self.say_refused(&error);
                Went::ToItsEnd
            }
            None => Went::ToBeMoved,
        }
    }

    /// hyper answers what it can't read (400, 431) and closes the connection; only its error tells.
    fn say_refused(&self, error: &hyper::Error) {
        let Some(reason) = self.outbox.heard().refused(error) else {
            return;
        };
        let shared = self.outbox.shared();
        shared.counters.count(Counter::HttpMalformed);
        shared.report(&shared.unread("an HTTP request", self.client).refused(reason));
    }
}
