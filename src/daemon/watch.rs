//! Sees that the operator saved a file, and asks for a reload once it is quiet again.
//!
//! Folders are watched and not files, because editors write a new file and rename it over the old.

use super::reload::{Reloader, Trigger};
use crate::model::limits::{RELOAD_SETTLE, RELOAD_SETTLE_LONGEST};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::AccessKind};
use std::{path::PathBuf, sync::Arc};
use tokio::{sync::mpsc, time::Instant};

/// Reloads whenever the files differ from those the last reload read; ends with its task.
pub(super) async fn watch(reloader: Arc<Reloader>) {
    let (changed, mut changes) = mpsc::channel(1);
    let mut watcher = watcher(&reloader.watched().folders, &changed);
    // A file may have changed before the watcher was there.
    let _ = changed.try_send(());
    while changes.recv().await.is_some() {
        settle(&mut changes).await;
        reloader.reload(Trigger::Watch).await;
        // A folder that was replaced is a new one to the kernel, so all are watched anew each time.
        watcher = self::watcher(&reloader.watched().folders, &changed).or(watcher);
    }
    drop(watcher);
}

/// Waits until nothing changed for a while, but not for ever.
async fn settle(changes: &mut mpsc::Receiver<()>) {
    let longest = Instant::now() + RELOAD_SETTLE_LONGEST;
    while Instant::now() < longest {
        if tokio::time::timeout(RELOAD_SETTLE, changes.recv()).await.is_err() {
            return;
        }
    }
}

fn watcher(folders: &[PathBuf], changed: &mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let changed = changed.clone();
    let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_change(event.kind)) {
            // Full means that somebody else's news is on its way already.
            let _ = changed.try_send(());
        }
    });
    let mut watcher = match made {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!("changed files are not seen ({error}); say `bootwright reload` after an edit");
            return None;
        }
    };
    for folder in folders {
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            tracing::warn!(
                "changes in {} are not seen ({error}); say `bootwright reload` after an edit there",
                folder.display()
            );
        }
    }
    Some(watcher)
}

/// Reading a file is no change of it; our own reload reads all of them.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(notify::event::AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}
