//! What is under way: started here, told to stop, awaited with a deadline.
//!
//! Not tokio-util, which would save thirty lines here: its `CancellationToken` takes one lock of all whenever it is
//! cloned, which every connection and transfer does, and its `TaskTracker` brings four packages to count tasks.

use std::{future::Future, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

/// A handle that starts tasks which a drain waits for.
#[derive(Clone, Debug)]
pub struct TaskTracker {
    stop: watch::Receiver<bool>,
    abort: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
}

/// Whether the drain has ended what was under way; unlike a [`TaskTracker`] nothing waits for who has it.
#[derive(Clone, Debug)]
pub struct AbortSignal(watch::Receiver<bool>);

impl AbortSignal {
    /// Whether it is so.
    pub fn is_set(&self) -> bool {
        // An error means that the drain itself is gone, which cuts as well.
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// The other end: waits for every task of a [`TaskTracker`].
#[derive(Debug)]
pub struct Shutdown {
    abort: watch::Sender<bool>,
    alive: mpsc::Receiver<()>,
}

impl TaskTracker {
    /// Both ends; tasks see `stop`.
    pub fn new(stop: watch::Receiver<bool>) -> (TaskTracker, Shutdown) {
        let (abort_sender, abort) = watch::channel(false);
        let (alive, alive_receiver) = mpsc::channel(1);
        let shutdown = Shutdown {
            abort: abort_sender,
            alive: alive_receiver,
        };
        (TaskTracker { stop, abort, alive }, shutdown)
    }

    /// Starts a task that ends at the latest with the drain.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.tracked(task));
    }

    /// A task that ends at the latest with the drain, which waits for it from now on.
    pub fn tracked(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (mut abort, alive) = (self.abort.clone(), self.alive.clone());
        async move {
            tokio::select! {
                () = task => {}
                // An error means that the drain itself is gone, which cuts as well.
                _ = abort.wait_for(|abort| *abort) => {}
            }
            drop(alive);
        }
    }

    /// To tell later whether a task was cut by the drain.
    pub fn abort(&self) -> AbortSignal {
        AbortSignal(self.abort.clone())
    }

    /// Ready when no new work may begin.
    pub async fn stopped(&self) {
        // An error means that no sender is left to say stop, which is a stop.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }
}

impl Shutdown {
    /// Waits for every task whose [`TaskTracker`] is dropped too, at most until `deadline`; then cuts
    /// the rest. Whether all ended by themselves.
    pub async fn wait(mut self, deadline: Duration) -> bool {
        let ended = timeout(deadline, self.alive.recv()).await.is_ok();
        // No receiver is left when all have ended.
        let _ = self.abort.send(true);
        if !ended {
            // Cut tasks drop at their next turn; their last log lines are worth a moment.
            let _ = timeout(ABORT_GRACE, self.alive.recv()).await;
        }
        ended
    }
}

/// How long cut tasks may take to be dropped.
const ABORT_GRACE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_what_ends_and_cuts_what_does_not() {
        let (stop, seen) = watch::channel(false);
        let (tasks, shutdown) = TaskTracker::new(seen.clone());
        tasks.spawn(async {});
        drop(tasks);
        assert!(shutdown.wait(Duration::from_secs(60)).await);

        let (tasks, shutdown) = TaskTracker::new(seen);
        tasks.spawn(std::future::pending());
        let watcher = tasks.clone();
        stop.send(true).unwrap();
        watcher.stopped().await;
        drop((tasks, watcher));
        let began = Instant::now();
        assert!(!shutdown.wait(Duration::from_secs(60)).await);
        assert_eq!(began.elapsed(), Duration::from_secs(60), "what was cut is gone at once");
    }
}
