//! The HTTP server of one interface: HTTP/1.1, `GET` and `HEAD`, and only that.
//!
//! A request takes this way: [`HttpServer`] accepts and holds the limits, and who is beyond them is
//! [`connection_queue`] a moment; [`connection`] drives the connection, scripts and loaders apart from large
//! files; [`exchange`] turns a request into a [`response`] by asking `boot::resource`; [`held`] are those for
//! image files that have to be waited for, and [`come_back`] says when to ask again; [`conditional`] weighs ranges and preconditions; [`body`] hands over
//! a file's pieces, which [`source`] has in memory or reads into [`buffer_pool`]; [`client_stream`] counts what goes
//! out, gives up clients that take nothing and says when a body is really gone, [`in_transit`] knows which of it the
//! kernel sends by itself, [`recording`] is what the flight recorder keeps of that, and [`malformed`] says what hyper
//! refuses by itself.
//!
//! Why a file is read and not sent by `sendfile(2)`, which saves a copy or two: the kernel would send
//! the file's own pages, after we looked whether it is still the same. A file that is written to
//! while it goes out would arrive as a mixture of two versions, unnoticed. So the kernel sends copies of image files
//! that nobody can write to (`net::files::sealed`), and all else is read.

mod body;
mod buffer_pool;
mod client_stream;
mod come_back;
mod conditional;
mod connection;
mod connection_queue;
mod exchange;
mod held;
mod in_transit;
mod malformed;
mod post;
mod recording;
mod response;
mod source;

pub use crate::net::neighbours::Links;
pub use buffer_pool::BufferPool;
pub use come_back::ComeBackTimes;
pub use connection::HttpThreads;

use crate::boot::event::Reason;
use crate::model::{
    SharedAddresses,
    limits::{
        HTTP_BULK_STREAMS_PER_CLIENT_MAX, HTTP_BUSY_LOG_INTERVAL, HTTP_CONNECTIONS_MAX,
        HTTP_CONNECTIONS_PER_CLIENT_MAX, HTTP_HELD_MAX, HTTP_HELD_PER_CLIENT_MAX, HTTP_IDLE_BUFFERS_MAX,
    },
};
use crate::net::{
    eviction::{EvictionNotice, class_of},
    files::{hot::HotFiles, sealed::SealedCopies},
    intake::recover,
    limiter::{FairLimiter, FdShare, NoPermit, Permit, PermitRequest, max_by_fds},
    tasks::TaskTracker,
};
use crate::state::{Counter, Shared};

use client_stream::DeliveryTracker;
use connection_queue::{ConnectionQueue, QueuedConnection};
use response::ConnectionContext;
use std::{net::SocketAddr, sync::Arc};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

/// The HTTP server of one interface.
pub struct HttpServer {
    /// What every server shares.
    pub shared: Arc<Shared>,
    /// Where connections come in.
    pub listener: TcpListener,
    /// The places of every interface's connections.
    pub places: FairLimiter,
    /// The places of image files on their way, of every interface too.
    pub bulk: FairLimiter,
    /// The places of those who wait for one of them.
    pub wait_slots: FairLimiter,
    /// When those come back who can't wait, to whatever interface.
    pub come_back: Arc<ComeBackTimes>,
    /// The loaders that machines fetch.
    pub hot_files: Arc<HotFiles>,
    /// The image files that machines fetch.
    pub sealed_copies: Arc<SealedCopies>,
    /// What pieces of files are read into, whatever interface they go to.
    pub buffers: BufferPool,
    /// Where connections are served.
    pub threads: HttpThreads,
    /// Who has which address on the wire.
    pub links: Links,
    /// What ends them.
    pub tasks: TaskTracker,
}

/// The places for connections, of all interfaces together.
pub fn connection_places(shared: &SharedAddresses) -> FairLimiter {
    FairLimiter::new(connections_max(), HTTP_CONNECTIONS_PER_CLIENT_MAX, shared)
}

fn connections_max() -> usize {
    max_by_fds(HTTP_CONNECTIONS_MAX, FdShare::HTTP)
}

/// The places for so many image files on their way, of all interfaces together.
pub fn bulk_places(streams: usize, shared: &SharedAddresses) -> FairLimiter {
    FairLimiter::new(streams, HTTP_BULK_STREAMS_PER_CLIENT_MAX, shared)
}

/// The places for those who wait for an image file, of all interfaces together: of few connections a third
/// too, however few the system allows.
pub fn wait_slots(shared: &SharedAddresses) -> FairLimiter {
    let few = (connections_max() / 3).max(1);
    FairLimiter::new(HTTP_HELD_MAX.min(few), HTTP_HELD_PER_CLIENT_MAX, shared)
}

/// What pieces of files are read into, for all interfaces together.
pub fn buffers() -> BufferPool {
    BufferPool::new(HTTP_IDLE_BUFFERS_MAX)
}

impl HttpServer {
    /// Serves until it is dropped or no new work may begin.
    pub async fn run(self) {
        let stopped = self.tasks.clone();
        let mut waiting = ConnectionQueue::new(self.places.clone());
        tokio::select! {
            () = stopped.stopped() => {}
            () = async {
                loop {
                    tokio::select! {
                        accepted = self.listener.accept() => match accepted {
                            Ok((stream, peer)) => self.admit(stream, peer, &mut waiting),
                            Err(error) => recover(&self.shared, "HTTP", &error).await,
                        },
                        waited = waiting.next() => self.admit_queued(waited),
                    }
                }
            } => {}
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, waiting: &mut ConnectionQueue) {
        self.shared.counters.count(Counter::HttpConnections);
        let client = peer.ip().to_canonical();
        let permit_request = PermitRequest {
            client,
            class: class_of(&self.shared, client),
            is_heard: false,
            eviction: EvictionNotice::default(),
        };
        match self.places.take(&permit_request) {
            Some(permit) => self.serve(stream, permit_request, permit),
            None => {
                if let Some(permit_request) = waiting.add(stream, permit_request) {
                    self.close(&permit_request);
                }
            }
        }
    }

    fn admit_queued(&self, waited: QueuedConnection) {
        match waited.permit {
            Some(permit) => self.serve(waited.stream, waited.permit_request, permit),
            None => self.close(&waited.permit_request),
        }
    }

    /// A connection finds no place, and is closed without a word.
    fn close(&self, permit_request: &PermitRequest) {
        let client = permit_request.client;
        self.shared.counters.count(Counter::HttpFull);
        let no_permit = self.places.no_permit(permit_request);
        let reason = match no_permit {
            Some(NoPermit::Client(own)) => Reason::ConnectionsFullForOne { own },
            Some(NoPermit::UnknownClients) => Reason::ConnectionsFullForUnknown,
            Some(NoPermit::All) | None => Reason::ConnectionsFull,
        };
        self.shared.turned_away(self.shared.machine_at(client), reason);
        if !self
            .shared
            .log_throttles
            .http_full
            .is_due(&self.shared.clock, HTTP_BUSY_LOG_INTERVAL)
        {
            return;
        }
        match no_permit {
            Some(NoPermit::Client(own)) => warn!(
                event = "http_full", reason = "machines_per_address", address = %client,
                "an HTTP connection of {client} is closed: it has {own} already, as many as one address may have; if many \
                 machines ask from it, say so by machines_per_address under [network]"
            ),
            Some(NoPermit::UnknownClients) => warn!(
                event = "http_full", reason = "unknown_clients", address = %client,
                "an HTTP connection of {client} is closed: connections from addresses that DHCP did not assign are at \
                 their limit; if machines of yours ask from it, name it by machines_per_address under [network]"
            ),
            Some(NoPermit::All) | None => {
                warn!(
                    event = "http_full", reason = "connections", address = %client,
                    "an HTTP connection of {client} is closed: no more can be open at once"
                )
            }
        }
    }

    fn serve(&self, stream: TcpStream, permit_request: PermitRequest, permit: Permit) {
        let client = permit_request.client;
        // Scripts are one small segment; waiting to fill it costs a delayed acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%client, "TCP_NODELAY: {error}");
        }
        // It is another thread's from here on.
        let peer = stream.peer_addr();
        let (Ok(own), Ok(stream)) = (stream.local_addr(), stream.into_std()) else {
            return self.shared.counters.count(Counter::AcceptFailed);
        };
        let context = ConnectionContext {
            shared: Arc::clone(&self.shared),
            tracker: Arc::new(DeliveryTracker::new(Arc::clone(&self.shared), peer.ok(), own)),
            bulk: self.bulk.clone(),
            wait_slots: self.wait_slots.clone(),
            come_back: Arc::clone(&self.come_back),
            hot_files: Arc::clone(&self.hot_files),
            sealed_copies: Arc::clone(&self.sealed_copies),
            buffers: self.buffers.clone(),
            abort: self.tasks.abort(),
            permit_request: PermitRequest {
                is_heard: true,
                ..permit_request
            },
            permit,
            links: self.links.clone(),
            server: own.ip().to_canonical(),
        };
        self.threads.serve(context, &self.tasks, stream);
    }
}
