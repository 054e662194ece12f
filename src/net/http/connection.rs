//! One connection, from its first request to its end, and on which threads it is.
//!
//! It begins among scripts, loaders and answers. Once it is to send a large file, or a part of one, it is
//! moved to the threads for those before a byte of it is read, and stays there: what a machine asks for
//! next on it waits with the bulk.

use crate::boot::{
    event::{Reason, RequestedFile, Step},
    paths,
};
use crate::model::limits::{HTTP_BUSY_LOG_INTERVAL, HTTP_HEAD_BYTES_MAX, HTTP_HEADER_TIMEOUT, HTTP_HEADERS_MAX};
use crate::net::{
    eviction::EvictionNotice,
    http::{
        body::ResponseBody,
        client_stream::{ClientStream, DeliveryTracker},
        response::{ConnectionContext, status},
    },
    tasks::TaskTracker,
    threads::ThreadPool,
};
use crate::state::Counter;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::{IpAddr, TcpStream},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};
use tokio::{runtime::Handle, sync::oneshot, task::yield_now};
use tracing::{debug, warn};

/// The threads that connections are served on.
#[derive(Clone)]
pub struct HttpThreads {
    /// For what is small and in a hurry.
    prompt: ThreadPool,
    /// For kernels, initrds and disk images.
    bulk: ThreadPool,
}

impl HttpThreads {
    /// To be called on a runtime.
    pub fn start() -> HttpThreads {
        HttpThreads {
            prompt: ThreadPool::start("http"),
            bulk: ThreadPool::start("bulk"),
        }
    }

    /// Where connections are accepted.
    pub fn prompt(&self) -> Handle {
        self.prompt.first()
    }

    /// Serves a connection to its end.
    pub(super) fn serve(&self, context: ConnectionContext, tasks: &TaskTracker, stream: TcpStream) {
        let (bulk, tasks) = (self.bulk.clone(), tasks.clone());
        self.prompt.spawn(tasks.clone().tracked(async move {
            let Some(mut conversation) = Connection::begin(context, tasks.clone(), stream) else {
                return;
            };
            if conversation.run_until(DeliveryTracker::wants_bulk_threads).await == Exit::Migrate {
                conversation.tracker.moves();
                let rest = async move {
                    conversation.run_until(|_| false).await;
                };
                bulk.spawn(tasks.tracked(rest));
            }
        }));
    }
}

/// How a conversation went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Closed,
    Migrate,
    /// Its place is another's.
    Evicted,
}

/// A connection and what it holds.
struct Connection {
    connection: Pin<Box<http1::Connection<TokioIo<ClientStream>, RequestService>>>,
    tracker: Arc<DeliveryTracker>,
    tasks: TaskTracker,
    client: IpAddr,
    eviction: EvictionNotice,
}

/// Answers each request. Its own count of the exchange: those of what all connections share go from one
/// processor to another.
struct RequestService {
    context: Arc<ConnectionContext>,
    tasks: TaskTracker,
}

impl RequestService {
    /// The response to what an installer has to say, which is heard whatever becomes of its connection: hyper drops a
    /// request, and looks at none that its client closed behind, and a machine may be off a moment after its `done`.
    fn heard(&self, request: Request<Incoming>) -> <RequestService as Service<Request<Incoming>>>::Future {
        let (context, (answers, answer)) = (Arc::clone(&self.context), oneshot::channel());
        self.tasks.spawn(async move {
            // Nobody is there any more where it can't be sent.
            drop(answers.send(context.respond(request).await));
        });
        // It was cut by the drain, as its connection is.
        let cut = |_| status(StatusCode::SERVICE_UNAVAILABLE);
        Box::pin(async move { Ok(answer.await.unwrap_or_else(cut)) })
    }
}

impl Service<Request<Incoming>> for RequestService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.context.permit.hear();
        let brings_something =
            *request.method() == Method::POST || paths::may_be_callback(request.uri().path().as_bytes());
        if brings_something {
            return self.heard(request);
        }
        let context = Arc::clone(&self.context);
        Box::pin(async move {
            let response = context.respond(request).await;
            if context.tracker.wants_bulk_threads() {
                // That is the moment to be moved: a disk that is slow to give the first byte would keep
                // others' loaders waiting here.
                yield_now().await;
            }
            Ok(response)
        })
    }
}

impl Connection {
    /// To be called on the thread that goes on with it.
    fn begin(context: ConnectionContext, tasks: TaskTracker, stream: TcpStream) -> Option<Connection> {
        let (client, tracker) = (context.permit_request.client, Arc::clone(&context.tracker));
        let eviction = context.permit_request.eviction.clone();
        let stream = tokio::net::TcpStream::from_std(stream).inspect_err(|error| {
            context.shared.counters.count(Counter::AcceptFailed);
            debug!(%client, "HTTP connection: {error}");
        });
        let wire = ClientStream::new(stream.ok()?, Arc::clone(&tracker));
        let service = RequestService {
            context: Arc::new(context),
            tasks: tasks.clone(),
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HTTP_HEADER_TIMEOUT)
            .max_buf_size(HTTP_HEAD_BYTES_MAX)
            .max_headers(HTTP_HEADERS_MAX)
            // GRUB 2.06 knows a `ResponseBody-Length` by its capitals, and loads no file of unknown length.
            .title_case_headers(true)
            .serve_connection(TokioIo::new(wire), service);
        Some(Connection {
            connection: Box::pin(connection),
            tracker,
            tasks,
            client,
            eviction,
        })
    }

    /// Goes on to the end, or until `is_to_be_moved`. When no new work may begin, the response that is
    /// on its way is the last.
    async fn run_until(&mut self, is_to_be_moved: impl Fn(&DeliveryTracker) -> bool) -> Exit {
        let (connection, tracker) = (&mut self.connection, &self.tracker);
        let mut evicted_from = pin!(self.eviction.evicted());
        let mut stopped = pin!(self.tasks.stopped());
        let mut is_stopping = false;
        let ended = poll_fn(|context| {
            if evicted_from.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            if !is_stopping && stopped.as_mut().poll(context).is_ready() {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            match connection.as_mut().poll(context) {
                Poll::Ready(ended) => Poll::Ready(Some(ended)),
                Poll::Pending if is_to_be_moved(tracker) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        match ended {
            Some(Ok(())) => Exit::Closed,
            Some(Err(error)) => {
                debug!(client = %self.client, "HTTP connection: {error}");
                self.log_malformed(&error);
                Exit::Closed
            }
            None if self.eviction.is_evicted() => {
                self.log_evicted();
                Exit::Evicted
            }
            None => Exit::Migrate,
        }
    }

    /// Says now and then that strangers give way.
    fn log_evicted(&self) {
        let shared = self.tracker.shared();
        shared.counters.count(Counter::HttpEvicted);
        let reason = Reason::GaveWay;
        shared.of_connection(shared.machine_at(self.client), Step::Evicted { file: None, reason });
        if shared
            .log_throttles
            .http_evicted
            .is_due(&shared.clock, HTTP_BUSY_LOG_INTERVAL)
        {
            warn!(
                "an HTTP connection of {} is closed: DHCP did not assign its address, and others need the \
                 place; if machines of yours ask from it, name it by machines_per_address under [network]",
                self.client
            );
        }
    }

    /// hyper answers what it can't read (400, 431) and closes the connection; only its error tells.
    fn log_malformed(&self, error: &hyper::Error) {
        let Some(reason) = self.tracker.heard().refused(error) else {
            return;
        };
        let shared = self.tracker.shared();
        shared.counters.count(Counter::HttpMalformed);
        let subject = shared.unread(RequestedFile::HttpRequest { peer: self.client }, self.client);
        shared.publish(subject.failed(shared.clock.now(), reason, false));
    }
}
