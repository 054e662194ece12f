//! Connections that found no place, and wait a moment for one.
//!
//! A client that closes its connections and opens others has both for a while: how long is up to how soon
//! this process sees the end of the old ones. The new ones would be refused for what is over.

use crate::model::limits::{HTTP_QUEUE_MAX, HTTP_QUEUE_TIMEOUT};
use crate::net::limiter::{FairLimiter, Permit, PermitRequest, Rank};
use std::future::pending;
use tokio::{net::TcpStream, task::JoinSet};

/// The connections that wait; they are closed when it is dropped.
pub(super) struct ConnectionQueue {
    places: FairLimiter,
    connections: JoinSet<QueuedConnection>,
}

/// A connection that waited.
pub(super) struct QueuedConnection {
    pub(super) stream: TcpStream,
    pub(super) permit_request: PermitRequest,
    /// `None` where none became free in time.
    pub(super) permit: Option<Permit>,
}

impl ConnectionQueue {
    pub(super) fn new(places: FairLimiter) -> ConnectionQueue {
        ConnectionQueue {
            places,
            connections: JoinSet::new(),
        }
    }

    /// Has a connection wait; whose it was where too many do, and it is closed.
    pub(super) fn add(&mut self, stream: TcpStream, permit_request: PermitRequest) -> Option<PermitRequest> {
        if self.connections.len() >= HTTP_QUEUE_MAX {
            return Some(permit_request);
        }
        let places = self.places.clone();
        self.connections.spawn(async move {
            let permit = places
                .take_within(HTTP_QUEUE_TIMEOUT, &permit_request, Rank::Second)
                .await;
            QueuedConnection {
                stream,
                permit_request,
                permit,
            }
        });
        None
    }

    /// The next one that has waited to the end.
    pub(super) async fn next(&mut self) -> QueuedConnection {
        loop {
            match self.connections.join_next().await {
                Some(Ok(waited)) => return waited,
                // It broke, and is closed.
                Some(Err(_)) => {}
                None => pending().await,
            }
        }
    }
}
