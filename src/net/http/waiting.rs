//! Connections that found no place, and wait a moment for one.
//!
//! A client that closes its connections and opens others has both for a while: how long is up to how soon
//! this process sees the end of the old ones. The new ones would be refused for what is over.

use crate::model::limits::{HTTP_PLACE_TIMEOUT, HTTP_WAITING_MAX};
use crate::net::places::{Claim, Place, Places, Rank};
use std::future::pending;
use tokio::{net::TcpStream, task::JoinSet};

/// The connections that wait; they are closed when it is dropped.
pub(super) struct Waiting {
    places: Places,
    connections: JoinSet<Waited>,
}

/// A connection that waited.
pub(super) struct Waited {
    pub(super) stream: TcpStream,
    pub(super) claim: Claim,
    /// `None` where none became free in time.
    pub(super) place: Option<Place>,
}

impl Waiting {
    pub(super) fn new(places: Places) -> Waiting {
        Waiting {
            places,
            connections: JoinSet::new(),
        }
    }

    /// Has a connection wait; whose it was where too many do, and it is closed.
    pub(super) fn add(&mut self, stream: TcpStream, claim: Claim) -> Option<Claim> {
        if self.connections.len() >= HTTP_WAITING_MAX {
            return Some(claim);
        }
        let places = self.places.clone();
        self.connections.spawn(async move {
            let place = places.take_within(HTTP_PLACE_TIMEOUT, &claim, Rank::Second).await;
            Waited { stream, claim, place }
        });
        None
    }

    /// The next one that has waited to the end.
    pub(super) async fn next(&mut self) -> Waited {
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
