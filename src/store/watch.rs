//! Who watches a prefix learns of every commit beneath it, in their order, or that some were missed.
//!
//! A slow watcher holds up neither the writer nor other watchers: its channel is bounded, the oldest writes drop out, and it is told
//! that it has to scan again. Whoever begins to watch and scans then misses nothing.

use super::{Revision, Write};
use crate::model::limits::STORE_WATCH_WRITES_MAX;
use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};

/// What a watcher learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// A write that is durable, and with which commit.
    Written {
        /// The commit; a scan of that revision or a later one has it already.
        revision: Revision,
        /// What was written.
        write: Write,
    },
    /// So many writes were missed: scan again.
    Lapsed {
        /// How many.
        writes: u64,
    },
}

/// The writes beneath one prefix, from the moment on at which it was asked for.
pub struct Watch(Receiver<(Revision, Write)>);

impl Watch {
    /// The next event; `None` once the store is closed and everything was told.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        match self.0.recv().await {
            Ok((revision, write)) => Some(WatchEvent::Written { revision, write }),
            Err(RecvError::Lagged(writes)) => Some(WatchEvent::Lapsed { writes }),
            Err(RecvError::Closed) => None,
        }
    }
}

/// Everybody who watches a store.
#[derive(Default)]
pub(super) struct Watchers(Vec<Watcher>);

/// A prefix, and where its writes go.
type Watcher = (Vec<u8>, Sender<(Revision, Write)>);

impl Watchers {
    pub(super) fn watch(&mut self, prefix: &[u8]) -> Watch {
        self.0.retain(|(_, sender)| sender.receiver_count() > 0);
        let (sender, receiver) = channel(STORE_WATCH_WRITES_MAX);
        self.0.push((prefix.to_vec(), sender));
        Watch(receiver)
    }

    /// Tells of a commit.
    pub(super) fn tell(&self, revision: Revision, writes: &[Write]) {
        for (prefix, sender) in &self.0 {
            for write in writes.iter().filter(|write| write.key().starts_with(prefix)) {
                // The receiver is dropped: the next one who comes clears it away.
                let _ = sender.send((revision, write.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str) -> Write {
        Write::Put {
            key: key.as_bytes().to_vec(),
            value: Vec::new(),
        }
    }

    fn next(watch: &mut Watch) -> Option<WatchEvent> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(watch.next())
    }

    #[test]
    fn who_is_slow_learns_that_it_missed_the_oldest_and_goes_on_with_the_rest() {
        let mut watchers = Watchers::default();
        let mut watch = watchers.watch(b"arm/");
        let more = 3;
        for number in 0..STORE_WATCH_WRITES_MAX + more {
            watchers.tell(Revision(number as u64), &[put("arm/1"), put("lease/1")]);
        }
        assert_eq!(next(&mut watch), Some(WatchEvent::Lapsed { writes: more as u64 }));
        for number in more..STORE_WATCH_WRITES_MAX + more {
            let (revision, write) = (Revision(number as u64), put("arm/1"));
            assert_eq!(next(&mut watch), Some(WatchEvent::Written { revision, write }));
        }
        drop(watchers);
        assert_eq!(next(&mut watch), None);
    }

    #[test]
    fn who_left_is_forgotten() {
        let mut watchers = Watchers::default();
        for _ in 0..10 {
            drop(watchers.watch(b"arm/"));
        }
        let _stays = watchers.watch(b"arm/");
        assert_eq!(watchers.0.len(), 1);
    }
}
