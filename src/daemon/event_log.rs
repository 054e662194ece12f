//! The last events of boots, in memory: for whoever asks what happened, and for whoever follows what happens.
//!
//! Nobody who serves machines waits for it. Who follows and reads too slowly misses the oldest, and is told how many.

use crate::boot::event::{Event, Step};
use crate::model::limits::{ATTEMPTS_GATHER_INTERVAL, EVENTS_KEPT_MAX, SYSLOG_EVENTS_KEPT_MAX};
use crate::state::Subscription;
use std::{
    collections::VecDeque,
    iter,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::sleep;

/// The last events, each with its number.
#[derive(Default)]
pub(super) struct EventLog {
    kept: Mutex<KeptEvents>,
    arrived: Condvar,
}

#[derive(Default)]
struct KeptEvents {
    /// In the order of their numbers.
    events: VecDeque<(u64, Arc<Event>)>,
    /// Below it there may be some that were dropped; above it, lines of machines' logs alone.
    first: u64,
    /// The number of the next.
    next: u64,
    /// How many of them are such lines.
    logged: usize,
}

impl KeptEvents {
    fn push(&mut self, event: Arc<Event>) {
        self.logged += usize::from(is_logged(&event));
        self.events.push_back((self.next, event));
        self.next += 1;
        // What machines log has its own share, and no more.
        if self.logged > SYSLOG_EVENTS_KEPT_MAX
            && let Some(oldest) = self.events.iter().position(|(_, event)| is_logged(event))
        {
            self.events.remove(oldest);
            self.logged -= 1;
        }
        if self.events.len() > EVENTS_KEPT_MAX
            && let Some((number, event)) = self.events.pop_front()
        {
            self.logged -= usize::from(is_logged(&event));
            self.first = number + 1;
        }
    }

    /// Events have their numbers though nobody has them.
    fn skip(&mut self, missed: u64) {
        if missed > 0 {
            self.next += missed;
            self.first = self.next;
            self.logged = 0;
            self.events.clear();
        }
    }
}

/// What a follower reads at once.
pub(super) struct EventBatch {
    /// Events that were dropped before it could read them.
    pub(super) missed: u64,
    /// The events, each with its number.
    pub(super) events: Vec<(u64, Arc<Event>)>,
    /// The number of the one after them.
    pub(super) next: u64,
}

fn is_logged(event: &Event) -> bool {
    matches!(event.step, Step::Logged(_))
}

impl EventLog {
    /// Takes in what happens, for as long as something may.
    pub(super) async fn follow(self: Arc<Self>, mut events: Subscription) {
        while let Some(event) = events.next().await {
            // As attempts are: whoever serves machines wakes this once for many events, and not for each.
            sleep(ATTEMPTS_GATHER_INTERVAL).await;
            let gathered: Vec<_> = iter::once(event).chain(iter::from_fn(|| events.try_next())).collect();
            let missed = events.take_missed();
            let mut kept = self.lock();
            kept.skip(missed);
            gathered.into_iter().for_each(|event| kept.push(event));
            drop(kept);
            self.arrived.notify_all();
        }
    }

    /// Everything that is kept.
    pub(super) fn all(&self) -> Vec<(u64, Arc<Event>)> {
        self.batch(&self.lock(), 0).events
    }

    /// The events from a number on; where there are none, whatever there is after so long. Blocks.
    pub(super) fn wait_for(&self, from: u64, longest: Duration) -> EventBatch {
        let kept = self.lock();
        let waited = self.arrived.wait_timeout_while(kept, longest, |kept| kept.next <= from);
        let (kept, _) = waited.unwrap_or_else(PoisonError::into_inner);
        self.batch(&kept, from)
    }

    fn batch(&self, kept: &KeptEvents, from: u64) -> EventBatch {
        let behind = kept.events.partition_point(|(number, _)| *number < from);
        let numbered = kept.events.iter().skip(behind);
        EventBatch {
            missed: kept.first.saturating_sub(from),
            events: numbered.cloned().collect(),
            next: kept.next.max(from),
        }
    }

    fn lock(&self) -> MutexGuard<'_, KeptEvents> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::event::{LoggedLines, Machine, Stage};
    use crate::model::Now;
    use std::thread;

    fn event() -> Arc<Event> {
        Arc::new(Event {
            at: Now::START,
            machine: Machine::default(),
            stage: Stage::UefiPxe,
            quirks: Arc::default(),
            step: Step::NoIpv6Router,
        })
    }

    fn numbers(batch: &EventBatch) -> Vec<u64> {
        batch.events.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn who_reads_too_slowly_misses_the_oldest_and_is_told_how_many() {
        let log = EventLog::default();
        let extra = 3;
        for _ in 0..EVENTS_KEPT_MAX + extra {
            log.lock().push(event());
        }
        let batch = log.wait_for(1, Duration::ZERO);
        assert_eq!((batch.missed, batch.events.len()), (extra as u64 - 1, EVENTS_KEPT_MAX));
        assert_eq!(numbers(&batch)[0], extra as u64);
        let up_to_date = log.wait_for(batch.next, Duration::ZERO);
        assert_eq!((up_to_date.missed, up_to_date.next), (0, batch.next));
        assert!(up_to_date.events.is_empty());
        // And so does the log itself, where too much happens at once.
        log.lock().skip(10);
        log.lock().push(event());
        let later = log.wait_for(batch.next, Duration::ZERO);
        assert_eq!((later.missed, numbers(&later)), (10, vec![batch.next + 10]));
    }

    #[test]
    fn what_machines_log_has_its_own_share_and_is_no_loss_to_others() {
        let log = EventLog::default();
        let logged = || {
            let mut logged = Event::clone(&event());
            logged.step = Step::Logged(LoggedLines::default());
            Arc::new(logged)
        };
        log.lock().push(event());
        for _ in 0..3 * EVENTS_KEPT_MAX {
            log.lock().push(logged());
        }
        log.lock().push(event());
        let batch = log.wait_for(0, Duration::ZERO);
        assert_eq!((batch.missed, batch.events.len()), (0, SYSLOG_EVENTS_KEPT_MAX + 2));
        let last = 3 * EVENTS_KEPT_MAX as u64 + 1;
        let numbers = numbers(&batch);
        assert_eq!(
            (numbers[0], numbers[1], batch.next),
            (0, last - SYSLOG_EVENTS_KEPT_MAX as u64, last + 1)
        );
        for _ in 0..EVENTS_KEPT_MAX {
            log.lock().push(event());
        }
        let later = log.wait_for(1, Duration::ZERO);
        assert_eq!((later.events.len(), later.missed), (EVENTS_KEPT_MAX, last));
        assert_eq!(log.lock().logged, 0);
    }

    #[test]
    fn a_follower_is_woken_by_the_next_event() {
        let log = Arc::new(EventLog::default());
        let follower = thread::spawn({
            let log = Arc::clone(&log);
            move || numbers(&log.wait_for(0, Duration::from_secs(60)))
        });
        log.lock().push(event());
        log.arrived.notify_all();
        assert_eq!(follower.join().unwrap(), [0]);
    }
}
