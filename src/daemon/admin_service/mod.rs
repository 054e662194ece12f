//! What the daemon answers on the admin socket, one file an endpoint.

mod arm;
mod attempts;
mod disks;
mod events;
mod explain;
mod generations;
mod hosts;
mod leases;
mod packets;
mod plan;
mod reload;
mod render;
mod status;

use super::{attempts::AttemptRecorder, event_log::EventLog, reload::Reloader};
use crate::net::Standings;
use crate::state::Shared;
use crate::store::{Store, writer::StoreWriter};
use std::sync::Arc;

/// Everything an operator can ask after.
pub(super) struct AdminService {
    pub(super) reloader: Arc<Reloader>,
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Arc<StoreWriter>,
    /// What is asked for by people alone, and so is in no memory.
    pub(super) store: Arc<dyn Store>,
    pub(super) standings: Standings,
    pub(super) attempts: Arc<AttemptRecorder>,
    pub(super) events: Arc<EventLog>,
}
