//! The one door for everything that happens to a machine: counted by its reason, logged, and handed
//! to whoever listens.
//!
//! Who listens has a queue of [`EVENTS_QUEUE_MAX`] events; who falls behind loses the oldest, and is told how
//! many. Nobody who serves machines waits for a listener, and no lock is held while a sentence is made. What a
//! listener does not want to hear costs nothing: most of what a room says are running systems that renew their
//! addresses, and they are of no boot.

use super::{
    Counter, Counters, Shared,
    followed::{Followed, FollowedMachines},
    log::{self, Budgets},
};
use crate::boot::{
    conflicts::ReservationConflicts,
    event::{Event, Machine, Reason, Stage, Step},
    loops::LoaderLoops,
};
use crate::model::limits::EVENTS_QUEUE_MAX;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

/// What happens, on its way to the log and to whoever listens.
#[derive(Debug, Default)]
pub struct Events {
    /// Machines that may be caught between their firmware and their loader.
    loops: Mutex<LoaderLoops>,
    /// Hosts that decline their own address again and again.
    conflicts: Mutex<ReservationConflicts>,
    budgets: Budgets,
    /// Who hears everything.
    listeners: Listeners,
    /// Who hears what is of a boot.
    followers: Listeners,
    followed: FollowedMachines,
}

impl Events {
    /// Everything that happens from now on.
    pub fn subscribe(&self) -> Subscription {
        self.listeners.subscribe()
    }

    /// What happens from now on to machines in their boot, and to those that are followed
    /// ([`Events::followed`]).
    pub fn subscribe_to_boots(&self) -> Subscription {
        self.followers.subscribe()
    }

    /// The machines whose boot is followed. Whoever is heard in its boot is one of them by that.
    pub fn followed(&self) -> &FollowedMachines {
        &self.followed
    }

    /// Whether an event is of a boot that somebody follows.
    pub(super) fn is_of_a_boot(&self, event: &Event) -> bool {
        let Some(machine) = Followed::of(&event.machine.key) else {
            return false;
        };
        if event.stage.is_in_boot() {
            self.followed.note(machine);
            return true;
        }
        self.followed.contains(machine)
    }

    /// Hosts that decline their own address, locked.
    pub(crate) fn conflicts(&self) -> MutexGuard<'_, ReservationConflicts> {
        self.conflicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The alarm, where a machine is going round in circles.
    fn alarm(&self, event: &Event) -> Option<Event> {
        LoaderLoops::concerns(event).then(|| {
            let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
            loops.observe(event.at, event)
        })?
    }

    fn publish(&self, counters: &Counters, event: Event) {
        if let Some(reason) = event.step.reason() {
            counters.count_reason(reason.code());
        }
        let is_repeated = self.conflicts().is_repeat(event.at, &event);
        log::log(&event, is_repeated, &self.budgets);
        let alarm = self.alarm(&event);
        let heard_by = [
            (&self.listeners, self.listeners.is_any()),
            (&self.followers, self.followers.is_any() && self.is_of_a_boot(&event)),
        ];
        if heard_by.iter().any(|(_, is_heard)| *is_heard) {
            let event = Arc::new(event);
            for (listeners, _) in heard_by.iter().filter(|(_, is_heard)| *is_heard) {
                listeners.send(&event);
            }
        }
        if let Some(alarm) = alarm {
            counters.count(Counter::LoaderLoops);
            self.publish(counters, alarm);
        }
    }
}

impl Shared {
    /// Says what happened to a machine.
    pub fn publish(&self, event: Event) {
        self.events.publish(&self.counters, event);
    }

    /// A request of a machine found no place.
    pub(crate) fn turned_away(&self, machine: Machine, reason: Reason) {
        self.of_connection(machine, Step::TurnedAway { reason });
    }

    /// What happened to a machine of which no more is known than where it asks from.
    pub(crate) fn of_connection(&self, machine: Machine, step: Step) {
        self.publish(Event {
            at: self.clock.now(),
            machine,
            stage: Stage::Unknown,
            quirks: Arc::default(),
            step,
        });
    }
}

/// Those that hear the same.
#[derive(Debug)]
struct Listeners {
    sender: broadcast::Sender<Arc<Event>>,
    /// The channel knows it too, behind a lock.
    count: Arc<AtomicUsize>,
}

impl Default for Listeners {
    fn default() -> Self {
        Listeners {
            sender: broadcast::Sender::new(EVENTS_QUEUE_MAX),
            count: Arc::default(),
        }
    }
}

impl Listeners {
    fn subscribe(&self) -> Subscription {
        let events = self.sender.subscribe();
        self.count.fetch_add(1, Ordering::Relaxed);
        Subscription {
            events,
            missed: 0,
            count: Arc::clone(&self.count),
        }
    }

    fn is_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    fn send(&self, event: &Arc<Event>) {
        // There may be none any more; then nobody misses it.
        let _ = self.sender.send(Arc::clone(event));
    }
}

/// What happens, for one listener.
#[derive(Debug)]
pub struct Subscription {
    events: broadcast::Receiver<Arc<Event>>,
    missed: u64,
    /// How many listen with it.
    count: Arc<AtomicUsize>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Subscription {
    /// The next event; `None` when there will be none any more.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            match self.events.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(missed)) => self.missed += missed,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// The next event, if it has happened already.
    pub fn try_next(&mut self) -> Option<Arc<Event>> {
        loop {
            match self.events.try_recv() {
                Ok(event) => return Some(event),
                Err(TryRecvError::Lagged(missed)) => self.missed += missed,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }

    /// The same, which are counted anew from now on.
    pub fn take_missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }

    /// Events that this listener was too slow for.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::event::{MachineKey, ReasonCode};
    use crate::model::{Now, WallTime};
    use std::time::Duration;

    fn ignored(kind: u8) -> Event {
        Event {
            at: Now {
                monotonic: Duration::from_secs(1),
                wall: WallTime(1_700_000_000),
            },
            machine: Machine::default(),
            stage: Stage::Unknown,
            quirks: Arc::default(),
            step: Step::Ignored {
                reason: Reason::MessageType { kind },
            },
        }
    }

    #[test]
    fn a_listener_gets_what_happens_from_then_on_in_its_order() {
        let (events, counters) = (Events::default(), Counters::default());
        events.publish(&counters, ignored(1));
        let mut listener = events.subscribe();
        events.publish(&counters, ignored(2));
        events.publish(&counters, ignored(3));
        let heard: Vec<Event> = std::iter::from_fn(|| listener.try_next())
            .map(|event| (*event).clone())
            .collect();
        assert_eq!(heard, [ignored(2), ignored(3)]);
        assert_eq!(listener.missed(), 0);
        assert_eq!(counters.reason(ReasonCode::MessageType), 3);
        assert_eq!(counters.reason(ReasonCode::Malformed), 0);
    }

    #[test]
    fn who_follows_boots_hears_a_running_system_where_its_boot_is_followed() {
        let (events, counters) = (Events::default(), Counters::default());
        let mut listener = events.subscribe_to_boots();
        let of = |host: &str, stage: Stage| Event {
            machine: Machine {
                key: MachineKey::Host(host.parse().unwrap()),
                ..Machine::default()
            },
            stage,
            ..ignored(1)
        };
        for (host, stage) in [
            ("runs", Stage::System),
            ("boots", Stage::UefiPxe),
            ("boots", Stage::System),
            ("boots", Stage::Unknown),
        ] {
            events.publish(&counters, of(host, stage));
        }
        events.publish(&counters, ignored(1));
        let heard: Vec<Stage> = std::iter::from_fn(|| listener.try_next())
            .map(|event| event.stage)
            .collect();
        assert_eq!(heard, [Stage::UefiPxe, Stage::System, Stage::Unknown]);
        let runs = "runs".parse().unwrap();
        events.followed().renew([Followed::Host(&runs)].into_iter());
        events.publish(&counters, of("runs", Stage::System));
        assert!(listener.try_next().is_some());
        drop(listener);
        assert!(!events.followers.is_any());
    }

    #[test]
    fn a_listener_that_is_too_slow_loses_the_oldest_and_is_told_how_many() {
        let (events, counters) = (Events::default(), Counters::default());
        let mut listener = events.subscribe();
        let capacity = u64::try_from(EVENTS_QUEUE_MAX.next_power_of_two()).unwrap();
        for number in 0..capacity + 3 {
            events.publish(&counters, ignored((number % 251) as u8));
        }
        let first = listener.try_next().map(|event| (*event).clone());
        assert_eq!(first, Some(ignored(3)));
        assert_eq!(listener.missed(), 3);
    }
}
