//! Keeps the attempts: takes events in as they happen, and writes what changed.
//!
//! Nobody who serves machines waits for it. Events are gathered for a moment and taken in together, on a thread that
//! may block: an attempt that rests is read from disk when its machine is heard again.

use crate::attempt::{Attempt, AttemptId, AttemptOwner, Attempts};
use crate::boot::event::Event;
use crate::model::limits::{
    ATTEMPTS_COMMIT_INTERVAL, ATTEMPTS_END_TIMEOUT, ATTEMPTS_GATHER_INTERVAL, ATTEMPTS_LOG_INTERVAL,
};
use crate::model::text::counted;
use crate::state::{Counter, LogThrottle, Shared, Subscription, followed::Followed};
use crate::store::{
    Store, StoreError,
    records::attempts,
    writer::{Committing, StoreWriter},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

/// Every attempt, in memory and on disk.
pub(super) struct AttemptRecorder {
    attempts: Mutex<Attempts>,
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    writer: Arc<StoreWriter>,
    /// When it is logged again that they can't be written.
    unwritten: LogThrottle,
}

impl AttemptRecorder {
    /// Takes back what is on disk.
    ///
    /// # Errors
    ///
    /// The store can't be read.
    pub(super) fn load(
        shared: Arc<Shared>,
        store: Arc<dyn Store>,
        writer: Arc<StoreWriter>,
    ) -> Result<AttemptRecorder, StoreError> {
        let (now, mut attempts) = (shared.clock.now(), Attempts::default());
        let unreadable = attempts::each(&*store, |head, whole| attempts.restore(now, head, whole))?;
        if unreadable > 0 {
            tracing::warn!(
                "{} of earlier boots can't be read and left out",
                counted(unreadable, "record")
            );
        }
        let recorder = AttemptRecorder {
            attempts: Mutex::new(attempts),
            shared,
            store,
            writer,
            unwritten: LogThrottle::default(),
        };
        recorder.tidy();
        Ok(recorder)
    }

    /// Follows what happens until `end` says that no more will; then the last of it is written.
    pub(super) async fn follow(self: Arc<Self>, mut events: Subscription, mut end: watch::Receiver<bool>) {
        let mut due: Option<Instant> = None;
        let mut is_last = false;
        while !is_last {
            let mut gathered = Vec::new();
            tokio::select! {
                event = events.next() => gathered.extend(event),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                _ = end.wait_for(|ended| *ended) => is_last = true,
            }
            if !is_last && !gathered.is_empty() {
                sleep(ATTEMPTS_GATHER_INTERVAL).await;
            }
            gathered.extend(std::iter::from_fn(|| events.try_next()));
            let missed = events.take_missed();
            self.shared.counters.add(Counter::AttemptEventsMissed, missed);
            let due_at = *due.get_or_insert_with(|| Instant::now() + ATTEMPTS_COMMIT_INTERVAL);
            let is_due = is_last || due_at <= Instant::now();
            if is_due {
                due = None;
            }
            let recorder = Arc::clone(&self);
            // It ends early only where the process does.
            let _ = tokio::task::spawn_blocking(move || {
                recorder.take_in(&gathered);
                if is_due {
                    recorder.write();
                }
            })
            .await;
        }
    }

    fn take_in(&self, events: &[Arc<Event>]) {
        let generation = self.shared.snapshot.load().generation;
        let mut attempts = self.lock();
        for event in events {
            attempts.observe(event, generation, &mut |id| self.on_disk(id));
        }
    }

    /// Writes what changed. What can't be written is tried again with the next change.
    fn write(&self) {
        loop {
            let unwritten = self.lock().take_unwritten();
            if unwritten.changed.is_empty() && unwritten.dropped.is_empty() {
                break;
            }
            let mut writes = attempts::puts(&unwritten.changed);
            writes.extend(unwritten.dropped.iter().map(|id| attempts::remove(*id)));
            let written = self.writer.background(writes);
            if let Err(error) = written.and_then(Committing::wait) {
                self.lock().not_written(unwritten);
                if self.unwritten.is_due(&self.shared.clock, ATTEMPTS_LOG_INTERVAL) {
                    tracing::warn!("what boots came to can't be written, and a restart may forget the last: {error}");
                }
                break;
            }
        }
        self.tidy();
    }

    /// Drops what is too old, and says whose boots are followed.
    fn tidy(&self) {
        let now = self.shared.clock.now();
        let mut attempts = self.lock();
        attempts.tidy(now);
        let followed = attempts.followed(now).map(|owner| match owner {
            AttemptOwner::Host(name) => Followed::Host(name),
            AttemptOwner::Mac(mac) => Followed::Mac(*mac),
        });
        self.shared.events.followed().renew(followed);
    }

    fn on_disk(&self, id: AttemptId) -> Option<Attempt> {
        let mut attempt = attempts::get(&*self.store, id).ok().flatten()?;
        attempt.resume(self.shared.clock.now());
        Some(attempt)
    }

    /// The attempts of one machine, the latest first; of all machines the last of each.
    pub(super) fn ids(&self, owner: Option<&AttemptOwner>) -> Vec<AttemptId> {
        let attempts = self.lock();
        match owner {
            Some(owner) => attempts.of(owner),
            None => attempts.latest_of_all(),
        }
    }

    /// An attempt, wherever it is; `None` if it was dropped meanwhile. Blocks.
    pub(super) fn attempt(&self, id: AttemptId) -> Option<Attempt> {
        let in_memory = self.lock().in_memory(id).cloned();
        in_memory.or_else(|| self.on_disk(id))
    }

    fn lock(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until the last of it is written, but not long: a disk that hangs keeps nobody from ending.
pub(super) async fn ended(end: &watch::Sender<bool>, following: tokio::task::JoinHandle<()>) {
    let _ = end.send(true);
    let _ = timeout(ATTEMPTS_END_TIMEOUT, following).await;
}
