//! What is under way: started here, told to stop, awaited with a deadline.

use std::{future::Future, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

/// A handle that starts tasks which a drain waits for.
#[derive(Clone, Debug)]
pub struct Running {
    stop: watch::Receiver<bool>,
    cut: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
}

/// Whether the drain has ended what was under way; unlike a [`Running`] nothing waits for who has it.
#[derive(Clone, Debug)]
pub struct Cut(watch::Receiver<bool>);

impl Cut {
    /// Whether it is so.
    pub fn is_made(&self) -> bool {
        // An error means that the drain itself is gone, which cuts as well.
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// The other end: waits for every task of a [`Running`].
#[derive(Debug)]
pub struct Drain {
    cut: watch::Sender<bool>,
    alive: mpsc::Receiver<()>,
}

impl Running {
    /// Both ends; tasks see `stop`.
    pub fn new(stop: watch::Receiver<bool>) -> (Running, Drain) {
        let (cut_sender, cut) = watch::channel(false);
        let (alive, alive_receiver) = mpsc::channel(1);
        let drain = Drain {
            cut: cut_sender,
            alive: alive_receiver,
        };
        (Running { stop, cut, alive }, drain)
    }

    /// Starts a task that ends at the latest with the drain.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.drained(task));
    }

    /// A task that ends at the latest with the drain, which waits for it from now on.
    pub fn drained(
        &self,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (mut cut, alive) = (self.cut.clone(), self.alive.clone());
        async move {
            tokio::select! {
                () = task => {}
                // An error means that the drain itself is gone, which cuts as well.
                _ = cut.wait_for(|cut| *cut) => {}
            }
            drop(alive);
        }
    }

    /// To tell later whether a task was cut by the drain.
    pub fn cut(&self) -> Cut {
        Cut(self.cut.clone())
    }

    /// Ready when no new work may begin.
    pub async fn stopped(&self) {
        // An error means that nobody is left to say stop, which is one.
        let _ = self.stop.clone().wait_for(|stop| *stop).await;
    }
}

impl Drain {
    /// Waits for every task whose [`Running`] is dropped too, at most until `deadline`; then cuts
    /// the rest. Whether all ended by themselves.
    pub async fn wait(mut self, deadline: Duration) -> bool {
        let ended = timeout(deadline, self.alive.recv()).await.is_ok();
        // Nobody listens when all have ended.
        let _ = self.cut.send(true);
        if !ended {
            // Cut tasks drop at their next turn; their last log lines are worth a moment.
            let _ = timeout(CUT_GRACE, self.alive.recv()).await;
        }
        ended
    }
}

/// How long cut tasks may take to be dropped.
const CUT_GRACE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drain_waits_for_what_ends_and_cuts_what_does_not() {
        let (stop, seen) = watch::channel(false);
        let (running, drain) = Running::new(seen.clone());
        running.spawn(async {});
        drop(running);
        assert!(drain.wait(Duration::from_secs(60)).await);

        let (running, drain) = Running::new(seen);
        running.spawn(std::future::pending());
        let watcher = running.clone();
        stop.send(true).unwrap();
        watcher.stopped().await;
        drop((running, watcher));
        assert!(!drain.wait(Duration::from_millis(10)).await);
    }
}
