//! What a machine would be told now, and why: the boot is played on copies of the daemon's own tables.

use super::{AdminService, hosts::unknown};
use crate::admin::{
    Answers, Caller, Document,
    api::{AdminRefusal, Explanation, QuestionWords, RefusalCode},
    routes::GetExplain,
};
use crate::boot::explain::{BootQuestion, QuestionError, ServedWire, Sources, Surroundings, explain};
use crate::config::places::InventoryPlaces;
use crate::images::checksum;
use crate::net::interface::{InterfaceState, Presence};
use std::sync::Arc;

impl Answers<GetExplain> for AdminService {
    fn answer(&self, words: QuestionWords, _: &Caller) -> Result<Document<Explanation>, AdminRefusal> {
        let snapshot = self.shared.snapshot.load_full();
        let refused = |error: QuestionError| match &error {
            QuestionError::UnknownHost(name) => unknown(&snapshot.hosts, name),
            _ => AdminRefusal::new(RefusalCode::BadRequest, error.to_string()).with_help(error.help()),
        };
        let mac = BootQuestion::mac(&words, &snapshot).map_err(refused)?;
        let tables = self.shared.scratch_tables(mac);
        let wires: Vec<ServedWire> = self.standings.load().iter().filter_map(wire).collect();
        let question = BootQuestion::read(&words, (&snapshot, &tables.identities), &wires).map_err(refused)?;
        let surroundings = Surroundings {
            now: self.shared.clock.now(),
            snapshot: &snapshot,
            wires: &wires,
        };
        let state = self.reloader.state();
        let sources = Sources {
            places: &InventoryPlaces::read(&state.appliance.inventory, Some(&state.tried)),
            look: &checksum::stamp_of,
        };
        Ok(Document(explain(surroundings, tables, &question, sources)))
    }
}

/// An interface on which machines are answered.
fn wire(state: &InterfaceState) -> Option<ServedWire> {
    match &state.presence {
        Presence::Served(interface) if !interface.addresses.is_empty() => Some(ServedWire {
            name: Arc::clone(&interface.name),
            mode: state.mode,
            own: Arc::clone(&interface.addresses),
            elsewhere: Arc::clone(&interface.elsewhere),
        }),
        Presence::Served(_) | Presence::Missing { .. } | Presence::Unserved { .. } => None,
    }
}
