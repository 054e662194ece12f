//! The servers' lease log is the store's writer.

use super::uptime;
use crate::lease::{LeaseChange, LeaseRecord, PortChange, PortRecord};
use crate::model::WallTime;
use crate::state::{Durable, LeaseLog};
use crate::store::writer::LeaseWriter;
use std::sync::Arc;

/// The writer, shared with whoever asks after its health.
pub(super) struct WrittenLeases {
    pub(super) writer: Arc<LeaseWriter>,
    /// This host's boot.
    pub(super) boot: Option<u128>,
}

impl LeaseLog for WrittenLeases {
    fn append(&self, changes: Vec<LeaseChange>) -> Result<Durable, String> {
        self.writer.append(changes).map(|durable| Box::pin(durable) as Durable)
    }

    fn redate(
        &self,
        date: WallTime,
        (records, ports): (Vec<LeaseRecord>, Vec<PortRecord>),
        lost: Option<WallTime>,
    ) -> Result<Durable, String> {
        let mark = uptime::mark(date, self.boot);
        self.writer
            .redate(mark, (records, ports), lost)
            .map(|durable| Box::pin(durable) as Durable)
    }

    fn keep(&self, ports: Vec<PortChange>) -> Result<Durable, String> {
        self.writer.keep(ports).map(|durable| Box::pin(durable) as Durable)
    }
}
