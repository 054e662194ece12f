//! What happened to machines in their boots, and what happens.

use super::AdminService;
use crate::admin::{
    Answers, Caller, Lines,
    api::{AdminRefusal, EventFilter, EventLine, EventStatus, RefusalCode},
    routes::GetEvents,
};
use crate::attempt::AttemptOwner;
use crate::boot::event::{Event, MachineKey};
use crate::daemon::event_log::{EventBatch, EventLog};
use crate::model::limits::EVENTS_HEARTBEAT;
use std::{collections::VecDeque, sync::Arc};

impl Answers<GetEvents> for AdminService {
    fn answer(
        &self,
        EventFilter { machine, follow, last }: EventFilter,
        _: &Caller,
    ) -> Result<Lines<EventLine>, AdminRefusal> {
        let mut owners = Vec::new();
        for named in &machine {
            owners.extend(self.known_as(self.owner(named)?));
        }
        let last = match last.first() {
            None => usize::MAX,
            Some(count) => count.parse().map_err(|_| {
                AdminRefusal::new(RefusalCode::BadRequest, format!("last={count} is no number of events"))
            })?,
        };
        let log = Arc::clone(&self.events);
        let EventBatch { events, next, .. } = log.wait_for(0, std::time::Duration::ZERO);
        let mut lines = VecDeque::new();
        take(&mut lines, &owners, events);
        lines.drain(..lines.len().saturating_sub(last));
        let follows = follow.iter().any(|follow| follow == "true");
        let recent = Recent {
            log,
            owners,
            lines,
            next,
        };
        Ok(match follows {
            true => Lines::new(Following(recent)),
            false => Lines::new(recent.lines.into_iter()),
        })
    }
}

impl AdminService {
    /// A machine, and what it was known by before it was listed.
    fn known_as(&self, owner: AttemptOwner) -> Vec<AttemptOwner> {
        let snapshot = self.shared.snapshot.load();
        let listed = match &owner {
            AttemptOwner::Host(name) => snapshot.hosts.by_name(name.as_str()),
            AttemptOwner::Mac(_) => None,
        };
        let macs = listed.into_iter().flat_map(|host| &host.macs);
        let before: Vec<AttemptOwner> = macs.map(|mac| AttemptOwner::Mac(*mac)).collect();
        [vec![owner], before].concat()
    }
}

/// Events that were read from the log, and where to go on.
struct Recent {
    log: Arc<EventLog>,
    owners: Vec<AttemptOwner>,
    lines: VecDeque<EventLine>,
    next: u64,
}

/// Reads on for ever; whoever takes its lines ends it.
struct Following(Recent);

impl Iterator for Following {
    type Item = EventLine;

    fn next(&mut self) -> Option<EventLine> {
        let Recent {
            log,
            owners,
            lines,
            next,
        } = &mut self.0;
        if let Some(line) = lines.pop_front() {
            return Some(line);
        }
        let batch = log.wait_for(*next, EVENTS_HEARTBEAT);
        *next = batch.next;
        if batch.missed > 0 {
            lines.push_back(EventLine::Missed { count: batch.missed });
        }
        take(lines, owners, batch.events);
        Some(lines.pop_front().unwrap_or(EventLine::Alive))
    }
}

fn take(lines: &mut VecDeque<EventLine>, owners: &[AttemptOwner], events: Vec<(u64, Arc<Event>)>) {
    let wanted = events
        .into_iter()
        .filter(|(_, event)| owners.is_empty() || owners.iter().any(|owner| is_of(event, owner)));
    lines.extend(wanted.map(|(number, event)| EventLine::Event(EventStatus::new(number, &event))));
}

/// Whether an event is of a machine.
pub(super) fn is_of(event: &Event, owner: &AttemptOwner) -> bool {
    match (&event.machine.key, owner) {
        (MachineKey::Host(name), AttemptOwner::Host(owner)) => name == owner,
        (MachineKey::Hardware(hardware), AttemptOwner::Mac(owner)) => hardware.mac() == Some(*owner),
        (MachineKey::Host(_) | MachineKey::Hardware(_) | MachineKey::Address(_) | MachineKey::Unknown, _) => false,
    }
}
