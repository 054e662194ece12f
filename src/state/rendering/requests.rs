//! A request's text: rendered at once, or elsewhere and watched, whoever leaves meanwhile.

use super::{JobState, JobWaiter, RenderFailure, TextKey};
use crate::boot::{
    arming::ArmingChange,
    event::{Machine, Reason},
    resource::{Decided, FileRequest, Refusal, Resolved, Resource, Text},
    snapshot::Snapshot,
};
use crate::model::limits::{
    FILE_CHANGE_WRITE_TIMEOUT, RENDER_RETRY_INTERVAL, RENDER_STUCK_LOG_INTERVAL, RENDER_TIMEOUT,
};
use crate::state::{Counter, Shared, tables::HandedOver};
use crate::store::StoreError;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tracing::error;

impl Shared {
    /// Resolves one request for a file, from one snapshot. Whoever else is served does not wait for its text. What
    /// it changes is durable by then; who asked may leave meanwhile, and its change is carried to its end all the same.
    pub async fn answer_in_time(self: &Arc<Self>, ask: &FileRequest<'_>) -> Resolved {
        let snapshot = self.snapshot.load_full();
        let (decided, handed_over) = self.decide(&snapshot, ask);
        let stored = handed_over.map(|(change, durable)| tokio::spawn(Arc::clone(self).carried(change, durable)));
        let resolved = match decided {
            Decided::Resolved(resolved) => resolved,
            // On this thread, where it takes less than to wake another: for nearly every machine.
            Decided::Unrendered(unanswered, text) => match text.render_at_once(&snapshot) {
                Some(text) => unanswered.with(Ok(text)),
                None => {
                    let machine = unanswered.subject.machine.clone().or_at(ask.peer);
                    let rendered = self.rendered(machine, snapshot, text).await;
                    unanswered.with(rendered)
                }
            },
        };
        let Some(stored) = stored else { return resolved };
        let ended = |_| Err(StoreError::unavailable("the daemon ends"));
        match stored.await.unwrap_or_else(ended) {
            Ok(()) => resolved,
            Err(error) => Resolved {
                result: Err(Refusal::NotStored(Reason::ChangeNotStored { error: error.into() })),
                ..resolved
            },
        }
    }

    /// Carries a change to its end, whoever waits for that: once it is on disk it is said, and what the disk does not
    /// take is counted and written again.
    async fn carried(self: Arc<Self>, change: Option<ArmingChange>, handed_over: HandedOver) -> Result<(), StoreError> {
        let written = match handed_over {
            Ok(durable) => timeout(FILE_CHANGE_WRITE_TIMEOUT, durable).await.unwrap_or_else(|_| {
                let waited_s = FILE_CHANGE_WRITE_TIMEOUT.as_secs();
                let why = format!("the disk has not taken it within {waited_s} s");
                Err(StoreError::unavailable(why))
            }),
            Err(error) => Err(error),
        };
        match (&written, &change) {
            (Ok(()), Some(change)) => self.publish_arming(change),
            (Err(_), Some(change)) => self.not_written(std::slice::from_ref(change)),
            (_, None) => {}
        }
        if written.is_err() {
            self.counters.count(Counter::FileChangeNotStored);
        }
        written
    }

    /// The text of a machine, rendered on another thread.
    async fn rendered(
        self: &Arc<Self>,
        machine: Machine,
        snapshot: Arc<Snapshot>,
        text: Text,
    ) -> Result<Resource, Refusal> {
        let key = (snapshot.generation, machine.key);
        let rendered = self
            .render_elsewhere(RENDER_TIMEOUT, key, move || text.render(&snapshot.templates))
            .await;
        rendered.unwrap_or_else(|why| Err(Refusal::ServerError(reason(why))))
    }

    /// Threads that render what was given up, and have not come back.
    pub fn render_threads_stuck(&self) -> u64 {
        self.rendering.jobs().stuck as u64
    }

    /// Whoever asks may leave meanwhile: what was begun is watched, noted and counted all the same.
    pub(super) async fn render_elsewhere<T: Send + 'static>(
        self: &Arc<Self>,
        longest: Duration,
        key: TextKey,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RenderFailure> {
        let turn = self.rendering.turn(key.clone()).await?;
        if self.rendering.is_overlong(&key) {
            return Err(RenderFailure::RecentlyTimedOut);
        }
        let state = Arc::<JobState>::default();
        let _waiter = JobWaiter(Arc::clone(&state));
        let shared = Arc::clone(self);
        let watched = tokio::spawn(async move {
            let _turn = turn;
            let rendered = shared.rendering.run(longest, state, work).await;
            if let Err(why) = &rendered {
                if matches!(why, RenderFailure::TimedOut | RenderFailure::Stuck) {
                    shared.rendering.note_overlong(key);
                }
                shared.count_unrendered(*why);
            }
            rendered
        });
        watched.await.unwrap_or(Err(RenderFailure::Panicked))
    }

    pub(super) fn count_unrendered(&self, why: RenderFailure) {
        if matches!(why, RenderFailure::TimedOut | RenderFailure::Stuck) {
            self.counters.count(Counter::RenderTimeout);
        }
        let throttle = &self.log_throttles.render_thread_stuck;
        if self.is_outage(why) && throttle.is_due(&self.clock, RENDER_STUCK_LOG_INTERVAL) {
            let (stuck, left) = {
                let jobs = self.rendering.jobs();
                (jobs.stuck, jobs.threads)
            };
            error!(
                "{stuck} threads render texts that came to no end, which is more than are replaced, and {left} are left: \
                 without any no machine gets a script or an answer whose template takes longer, until they come back \
                 or bootwright is restarted; mend the templates of the machines whose texts came to no end"
            );
        }
    }

    /// Threads are missing for good. It goes on while texts find no thread, although none gets stuck any more.
    pub(super) fn is_outage(&self, why: RenderFailure) -> bool {
        match why {
            RenderFailure::Stuck => true,
            RenderFailure::QueueTimeout => self.rendering.jobs().is_all_stuck(),
            RenderFailure::TimedOut | RenderFailure::RecentlyTimedOut | RenderFailure::Panicked => false,
        }
    }
}

fn reason(why: RenderFailure) -> Reason {
    match why {
        RenderFailure::TimedOut | RenderFailure::Stuck | RenderFailure::RecentlyTimedOut => Reason::RenderOverlong {
            within_s: RENDER_TIMEOUT.as_secs(),
            pause_s: RENDER_RETRY_INTERVAL.as_secs(),
        },
        RenderFailure::QueueTimeout => Reason::RenderNoThread,
        RenderFailure::Panicked => Reason::RenderBroke,
    }
}
