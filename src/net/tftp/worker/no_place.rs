//! What becomes of a request for which there is no place, and of a transfer that gave its place to another.

use super::Worker;
use crate::boot::event::{Reason, Step};
use crate::model::limits::TFTP_FULL_LOG_INTERVAL;
use crate::net::tftp::{prepare::turn_away, session::Session};
use crate::state::Counter;
use std::net::{Ipv4Addr, SocketAddrV4};
use tracing::warn;

impl Worker {
    /// There is no place for a transfer; `own` of them are the client's. It asks again by itself.
    pub(super) fn leave_alone(&self, client: SocketAddrV4, own: Option<usize>) {
        let reason = match own {
            Some(own) => Reason::TransfersFullForOne { own },
            None => Reason::TransfersFull,
        };
        turn_away(&self.shared, client, reason);
        self.warn_of_the_limit(*client.ip(), own);
    }

    pub(super) fn evict_silent(&self, session: Session) {
        self.shared.counters.count(Counter::TftpEvicted);
        let reason = Reason::NeverHeard;
        session.end_early(&self.shared, |file| Step::Evicted { file, reason });
    }

    pub(super) fn warn_of_the_limit(&self, address: Ipv4Addr, own: Option<usize>) {
        let notice = &self.shared.log_throttles.tftp_full;
        if !notice.is_due(&self.shared.clock, TFTP_FULL_LOG_INTERVAL) {
            return;
        }
        match own {
            Some(own) => warn!(
                event = "tftp_full", reason = "machines_per_address", address = %address,
                "TFTP requests of {address} wait: {own} transfers to it are under way, as many as one address may have; \
                 if many machines ask from it, say so by machines_per_address under [network]"
            ),
            None => warn!(
                event = "tftp_full", reason = "transfers", address = %address,
                "TFTP requests wait, one of {address} among them: no more transfers can be under way"
            ),
        }
    }
}
