//! The HTTP server of one interface: HTTP/1.1, `GET` and `HEAD`, and only that.
//!
//! A request takes this way: [`HttpServer`] accepts and holds the limits, and who is beyond them is
//! [`waiting`] a moment; [`conversation`] drives the connection, scripts and loaders apart from large
//! files; [`exchange`] turns a request into a [`response`] by asking `boot::resource`; [`held`] are those for
//! image files that have to be waited for; [`conditional`] weighs ranges and preconditions; [`body`] hands over a file's pieces, which [`source`] has in memory or reads
//! into [`rooms`]; [`wire`] counts what goes out and says when a body is really gone; [`patience`] gives
//! up clients that take nothing, and [`unread`] says what hyper refuses by itself.
//!
//! Why a file is read and not sent by `sendfile(2)`, which saves a copy or two: the kernel would send
//! the file's own pages, after we looked whether it is still the same. A file that somebody writes to
//! while it goes out would arrive as a mixture of two versions, and nobody would know.

mod body;
mod conditional;
mod conversation;
mod exchange;
mod held;
mod patience;
mod response;
mod rooms;
mod source;
mod unread;
mod waiting;
mod wire;

pub use conversation::HttpThreads;
pub use rooms::Rooms;

use crate::model::{
    SharedAddresses,
    limits::{
        HTTP_BULK_STREAMS_PER_CLIENT_MAX, HTTP_BUSY_REMINDER, HTTP_CONNECTIONS_MAX, HTTP_CONNECTIONS_PER_CLIENT_MAX,
        HTTP_HELD_MAX, HTTP_HELD_PER_CLIENT_MAX, HTTP_IDLE_ROOMS_MAX,
    },
};
use crate::net::{
    Counter, Shared,
    intake::recover,
    places::{Claim, Lack, Part, Place, Places, affordable},
    running::Running,
    yielding::Leave,
};

use response::Exchange;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};
use waiting::{Waited, Waiting};
use wire::Outbox;

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
    /// The places of those who wait for one of them.
    pub seats: Places,
    /// What pieces of files are read into, whatever interface they go to.
    pub rooms: Rooms,
    /// Where connections are served.
    pub threads: HttpThreads,
    /// What ends them.
    pub running: Running,
}

/// The places for connections, of all interfaces together.
pub fn connection_places(shared: &SharedAddresses) -> Places {
    Places::new(connections_max(), HTTP_CONNECTIONS_PER_CLIENT_MAX, shared)
}

fn connections_max() -> usize {
    affordable(HTTP_CONNECTIONS_MAX, Part::HTTP)
}

/// The places for so many image files on their way, of all interfaces together.
pub fn bulk_places(streams: usize, shared: &SharedAddresses) -> Places {
    Places::new(streams, HTTP_BULK_STREAMS_PER_CLIENT_MAX, shared)
}

/// The places for those who wait for an image file, of all interfaces together: of few connections a third
/// too, however few the system allows.
pub fn seats(shared: &SharedAddresses) -> Places {
    let few = (connections_max() / 3).max(1);
    Places::new(HTTP_HELD_MAX.min(few), HTTP_HELD_PER_CLIENT_MAX, shared)
}

/// What pieces of files are read into, for all interfaces together.
pub fn rooms() -> Rooms {
    Rooms::new(HTTP_IDLE_ROOMS_MAX)
}

impl HttpServer {
    /// Serves until it is dropped or no new work may begin.
    pub async fn run(self) {
        let stopped = self.running.clone();
        let mut waiting = Waiting::new(self.places.clone());
        tokio::select! {
            () = stopped.stopped() => {}
            () = async {
                loop {
                    tokio::select! {
                        accepted = self.listener.accept() => match accepted {
                            Ok((stream, peer)) => self.admit(stream, peer, &mut waiting),
                            Err(error) => recover(&self.shared, "HTTP", &error).await,
                        },
                        waited = waiting.next() => self.admit_late(waited),
                    }
                }
            } => {}
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, waiting: &mut Waiting) {
        self.shared.counters.count(Counter::HttpConnections);
        let IpAddr::V4(client) = peer.ip() else { return };
        let claim = Claim {
            client,
            standing: self.shared.standing(client),
            is_heard: false,
            leave: Leave::default(),
        };
        match self.places.take(&claim) {
            Some(place) => self.serve(stream, claim, place),
            None => {
                if let Some(claim) = waiting.add(stream, claim) {
                    self.close(&claim);
                }
            }
        }
    }

    fn admit_late(&self, waited: Waited) {
        match waited.place {
            Some(place) => self.serve(waited.stream, waited.claim, place),
            None => self.close(&waited.claim),
        }
    }

    /// A connection finds no place, and is closed without a word.
    fn close(&self, claim: &Claim) {
        let client = claim.client;
        self.shared.counters.count(Counter::HttpFull);
        if !self
            .shared
            .notices
            .http_full
            .is_due(&self.shared.clock, HTTP_BUSY_REMINDER)
        {
            return;
        }
        match self.places.lack(claim) {
            Some(Lack::Own(own)) => warn!(
                "an HTTP connection of {client} is closed: it has {own} already, as many as one address may have; if many \
                 machines ask from it, say so by machines_per_address under [network]"
            ),
            Some(Lack::Strangers) => warn!(
                "an HTTP connection of {client} is closed: as many are open as addresses may have that nobody was \
                 given by DHCP; if machines of yours ask from it, name it by machines_per_address under [network]"
            ),
            Some(Lack::All) | None => warn!("an HTTP connection of {client} is closed: no more can be open at once"),
        }
    }

    fn serve(&self, stream: TcpStream, claim: Claim, place: Place) {
        let client = claim.client;
        // Scripts are one small segment; waiting to fill it costs a delayed acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%client, "TCP_NODELAY: {error}");
        }
        // It is another thread's from here on.
        let (Ok(SocketAddr::V4(own)), Ok(stream)) = (stream.local_addr(), stream.into_std()) else {
            return self.shared.counters.count(Counter::AcceptFailed);
        };
        let exchange = Exchange {
            shared: Arc::clone(&self.shared),
            outbox: Arc::new(Outbox::new(Arc::clone(&self.shared))),
            bulk: self.bulk.clone(),
            seats: self.seats.clone(),
            rooms: self.rooms.clone(),
            cut: self.running.cut(),
            claim: Claim {
                is_heard: true,
                ..claim
            },
            place,
            server: *own.ip(),
        };
        self.threads.serve(exchange, &self.running, stream);
    }
}
