//! One connection, from its first request to its end, and on which threads it is.
//!
//! It begins among scripts, loaders and answers. Once it is to send a large file, or a part of one, it is
//! moved to the threads for those before a byte of it is read, and stays there: what a machine asks for
//! next on it waits with the bulk.

use crate::model::limits::{HTTP_BUSY_REMINDER, HTTP_HEAD_BYTES_MAX, HTTP_HEADER_TIMEOUT, HTTP_HEADERS_MAX};
use crate::net::{
    Counter,
    http::{
        body::Content,
        response::Exchange,
        wire::{Outbox, Wire},
    },
    running::Running,
    threads::Threads,
    yielding::Leave,
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
use tracing::{debug, warn};

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

    /// Serves a connection to its end.
    pub(super) fn serve(&self, exchange: Exchange, running: &Running, stream: TcpStream) {
        let (bulk, running) = (self.bulk.clone(), running.clone());
        self.prompt.spawn(running.clone().drained(async move {
            let Some(mut conversation) = Conversation::begin(exchange, running.clone(), stream) else {
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
    /// Its place is another's.
    Displaced,
}

/// A connection and what it holds.
struct Conversation {
    connection: Pin<Box<http1::Connection<TokioIo<Wire>, Answering>>>,
    outbox: Arc<Outbox>,
    running: Running,
    client: Ipv4Addr,
    leave: Leave,
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
        exchange.place.hear();
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
    fn begin(exchange: Exchange, running: Running, stream: TcpStream) -> Option<Conversation> {
        let (client, outbox) = (exchange.claim.client, Arc::clone(&exchange.outbox));
        let leave = exchange.claim.leave.clone();
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
            leave,
        })
    }

    /// Goes on to the end, or until `is_to_be_moved`. When no new work may begin, the response that is
    /// on its way is the last.
    async fn until(&mut self, is_to_be_moved: impl Fn(&Outbox) -> bool) -> Went {
        let (connection, outbox) = (&mut self.connection, &self.outbox);
        let mut displaced = pin!(self.leave.told());
        let mut stopped = pin!(self.running.stopped());
        let mut is_stopping = false;
        let ended = poll_fn(|context| {
            if displaced.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
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
            None if self.leave.is_told() => {
                self.say_displaced();
                Went::Displaced
            }
            None => Went::ToBeMoved,
        }
    }

    /// Says now and then that strangers give way.
    fn say_displaced(&self) {
        let shared = self.outbox.shared();
        shared.counters.count(Counter::HttpDisplaced);
        if shared.notices.http_displaced.is_due(&shared.clock, HTTP_BUSY_REMINDER) {
            warn!(
                "an HTTP connection of {} is closed: nobody was given its address by DHCP, and others need the \
                 place; if machines of yours ask from it, name it by machines_per_address under [network]",
                self.client
            );
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
