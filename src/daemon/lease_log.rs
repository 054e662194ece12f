//! The servers' lease log is the store's writer.

use crate::lease::LeaseChange;
use crate::net::{Durable, LeaseLog};
use crate::store::writer::LeaseWriter;
use std::sync::Arc;

/// The writer, shared with whoever asks after its health.
pub(super) struct WrittenLeases(pub(super) Arc<LeaseWriter>);

impl LeaseLog for WrittenLeases {
    fn append(&self, changes: Vec<LeaseChange>) -> Result<Durable, String> {
        self.0.append(changes).map(|durable| Box::pin(durable) as Durable)
    }
}
