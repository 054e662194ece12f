//! The HTTP server of one interface: HTTP/1.1, `GET` and `HEAD`, and only that.
//!
//! A request takes this way: [`HttpServer`] accepts and holds the limits; [`exchange`] turns a
//! request into a response by asking `boot::resource`; [`conditional`] weighs ranges and
//! preconditions; [`body`] reads a file piece by piece into [`rooms`]; [`wire`] counts what goes out
//! and says when a body is really gone; [`patience`] gives up clients that take nothing.
//!
//! Why a file is read and not sent by `sendfile(2)`, which saves a copy or two: the kernel would send
//! the file's own pages, after we looked whether it is still the same. A file that somebody writes to
//! while it goes out would arrive as a mixture of two versions, and nobody would know.

mod body;
mod conditional;
mod exchange;
mod patience;
mod rooms;
mod wire;

pub use rooms::Rooms;

use crate::model::limits::{
    HTTP_BULK_STREAMS_PER_CLIENT_MAX, HTTP_CONNECTIONS_MAX, HTTP_CONNECTIONS_PER_CLIENT_MAX, HTTP_HEADER_TIMEOUT,
    HTTP_IDLE_ROOMS_MAX, REQUEST_PATH_BYTES_MAX,
};
use crate::net::{
    Counter, Shared,
    intake::recover,
    places::{Part, Place, Places, affordable},
    running::Running,
};
use exchange::Exchange;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tokio::net::{TcpListener, TcpStream};
use tracing::debug;
use wire::{Outbox, Wire};

/// Bytes of a request's head: the longest path, and room for headers.
const HEAD_BYTES_MAX: usize = REQUEST_PATH_BYTES_MAX + 14 * 1024;
/// Header lines of a request.
const HEADERS_MAX: usize = 64;

/// The HTTP server of one interface.
pub struct HttpServer {
    /// What every server shares.
    pub shared: Arc<Shared>,
    /// Where connections come in.
    pub listener: TcpListener,
    /// The places of every interface's connections.
    pub places: Places,
    /// The places of image files on their way, of every interface too.
    pub bulk: Places,
    /// What pieces of files are read into, whatever interface they go to.
    pub rooms: Rooms,
    /// Where connections are served.
    pub running: Running,
}

/// The places for connections, of all interfaces together.
pub fn connection_places() -> Places {
    Places::new(
        affordable(HTTP_CONNECTIONS_MAX, Part::HTTP),
        HTTP_CONNECTIONS_PER_CLIENT_MAX,
    )
}

/// The places for so many image files on their way, of all interfaces together.
pub fn bulk_places(streams: usize) -> Places {
    Places::new(streams, HTTP_BULK_STREAMS_PER_CLIENT_MAX)
}

/// What pieces of files are read into, for all interfaces together.
pub fn rooms() -> Rooms {
    Rooms::new(HTTP_IDLE_ROOMS_MAX)
}

impl HttpServer {
    /// Serves until it is dropped or no new work may begin.
    pub async fn run(self) {
        let stopped = self.running.clone();
        tokio::select! {
            () = stopped.stopped() => {}
            () = async {
                loop {
                    match self.listener.accept().await {
                        Ok((stream, peer)) => self.admit(stream, peer),
                        Err(error) => recover(&self.shared, "HTTP", &error).await,
                    }
                }
            } => {}
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let counters = &self.shared.counters;
        counters.count(Counter::HttpConnections);
        let IpAddr::V4(client) = peer.ip() else { return };
        let Some(place) = self.places.take(client) else {
            return counters.count(Counter::HttpFull);
        };
        let Ok(SocketAddr::V4(own)) = stream.local_addr() else {
            return counters.count(Counter::AcceptFailed);
        };
        let exchange = Exchange {
            shared: Arc::clone(&self.shared),
            outbox: Arc::new(Outbox::new(Arc::clone(&self.shared))),
            bulk: self.bulk.clone(),
            rooms: self.rooms.clone(),
            client,
            server: *own.ip(),
        };
        self.running.spawn(serve(exchange, self.running.clone(), stream, place));
    }
}

/// Serves one connection to its end.
async fn serve(exchange: Exchange, running: Running, stream: TcpStream, place: Place) {
    let (client, outbox) = (exchange.client, Arc::clone(&exchange.outbox));
    // Scripts are one small segment; waiting to fill it costs a delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%client, "TCP_NODELAY: {error}");
    }
    // Its own count: those of what all connections share go from one processor to another.
    let exchange = Arc::new(exchange);
    let service = service_fn(move |request| {
        let exchange = Arc::clone(&exchange);
        async move { Ok::<_, std::convert::Infallible>(exchange.respond(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_HEADER_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Wire::new(stream, outbox)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = running.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%client, "HTTP connection: {error}");
    }
    drop(place);
}
