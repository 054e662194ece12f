//! Sees that the operator saved a file, and asks for a reload once it is quiet again.
//!
//! Folders are watched and not files, because editors write a new file and rename it over the old. A folder
//! that was replaced is a new one to the kernel, some file systems tell nothing, and the system may have no
//! watches left: so the folders are armed anew after each reload, and it is looked now and then whether they are
//! still those that are armed and whether anything changed in them.

use super::{
    reload::{Reloader, Trigger},
    watched::WatchSet,
};
use crate::admin::api::Problem;
use crate::model::limits::{
    RELOAD_DEBOUNCE, RELOAD_DEBOUNCE_MAX, UNWATCHED_NAMED_MAX, WATCH_POLL_INTERVAL, WATCHED_BEHIND_LINKS_MAX,
};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::AccessKind};
use std::{
    fmt::Display,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

/// Reloads whenever the files differ from those the last reload read; ends with its task.
pub(super) async fn watch(reloader: Arc<Reloader>) {
    let (changed, mut changes) = mpsc::channel(1);
    let mut armed = arm(&reloader, None, &changed).await;
    let mut look = interval(WATCH_POLL_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A file may have changed before the watcher was there.
    let _ = changed.try_send(());
    loop {
        tokio::select! {
            _ = changes.recv() => {
                settle(&mut changes).await;
                reloader.reload(Trigger::Watch).await;
                armed = arm(&reloader, None, &changed).await;
            }
            () = reloader.reloaded() => armed = arm(&reloader, None, &changed).await,
            _ = look.tick() => {
                armed = arm(&reloader, Some(armed), &changed).await;
                if have_changed(&reloader).await {
                    settle(&mut changes).await;
                    reloader.reload(Trigger::Watch).await;
                    armed = arm(&reloader, Some(armed), &changed).await;
                }
            }
        }
    }
}

/// Whether the files are others than those that were read last.
async fn have_changed(reloader: &Arc<Reloader>) -> bool {
    let reloader = Arc::clone(reloader);
    let looked = tokio::task::spawn_blocking(move || reloader.have_files_changed()).await;
    looked.unwrap_or_default()
}

/// Waits until nothing changed for a while, but not for ever.
async fn settle(changes: &mut mpsc::Receiver<()>) {
    let longest = Instant::now() + RELOAD_DEBOUNCE_MAX;
    while Instant::now() < longest {
        if tokio::time::timeout(RELOAD_DEBOUNCE, changes.recv()).await.is_err() {
            return;
        }
    }
}

/// A folder, and which one it is on its disk.
type WatchedFolder = (PathBuf, Option<(u64, u64)>);

/// Folders that are watched.
#[derive(Default)]
struct ActiveWatch {
    places: Vec<WatchedFolder>,
    /// Whether all of them are.
    is_complete: bool,
    /// Answers with more behind their links.
    left_out: Vec<PathBuf>,
    /// What watches, as long as it is there.
    _watcher: Option<RecommendedWatcher>,
}

/// [`arm_here`] where it may wait for a disk. Nothing is armed where that broke, and the next look sees to it.
async fn arm(reloader: &Arc<Reloader>, before: Option<ActiveWatch>, changed: &mpsc::Sender<()>) -> ActiveWatch {
    let (reloader, changed) = (Arc::clone(reloader), changed.clone());
    let armed = tokio::task::spawn_blocking(move || arm_here(&reloader, before, &changed)).await;
    armed.unwrap_or_default()
}

/// Watches the reloader's folders; those that were `before`, where they are still the same. What can't be
/// watched is reported to the reloader. Blocks.
fn arm_here(reloader: &Reloader, before: Option<ActiveWatch>, changed: &mpsc::Sender<()>) -> ActiveWatch {
    let WatchSet { folders, left_out, .. } = reloader.watched();
    let places: Vec<WatchedFolder> = folders.into_iter().map(watched_folder).collect();
    let is_same = |before: &ActiveWatch| before.is_complete && before.places == places && before.left_out == left_out;
    if let Some(before) = before.filter(is_same) {
        return before;
    }
    let folders = places.iter().map(|(folder, _)| folder.as_path());
    let (watcher, mut unwatched) = watcher(folders, changed);
    let armed = ActiveWatch {
        is_complete: unwatched.is_empty(),
        places,
        left_out,
        _watcher: watcher,
    };
    unwatched.extend(
        armed
            .left_out
            .iter()
            .take(UNWATCHED_NAMED_MAX)
            .map(|answer| unseen(answer)),
    );
    reloader.note_unwatched(unwatched);
    armed
}

fn watched_folder(folder: PathBuf) -> WatchedFolder {
    let which = folder.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    (folder, which)
}

/// What watches the folders, and those that it can't.
fn watcher<'p>(
    folders: impl Iterator<Item = &'p Path>,
    changed: &mpsc::Sender<()>,
) -> (Option<RecommendedWatcher>, Vec<Problem>) {
    let changed = changed.clone();
    let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_change(event.kind)) {
            // Full means that a change is on its way already.
            let _ = changed.try_send(());
        }
    });
    let mut watcher = match made {
        Ok(watcher) => watcher,
        Err(error) => return (None, vec![unwatched(&"the operator's files", &error)]),
    };
    let mut problems = Vec::new();
    for folder in folders {
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive)
            && problems.len() < UNWATCHED_NAMED_MAX
        {
            problems.push(unwatched(&folder.display(), &error));
        }
    }
    (Some(watcher), problems)
}

fn unwatched(what: &dyn Display, error: &notify::Error) -> Problem {
    let message = format_args!(
        "changes in {what} are not seen at once, but within {} s: {error}",
        WATCH_POLL_INTERVAL.as_secs()
    );
    Problem::new(message).with_help("say `bootwright reload` after an edit, or see fs.inotify.max_user_watches")
}

/// The warning about an answer whose links lead to too much.
fn unseen(answer: &Path) -> Problem {
    let message = format_args!(
        "not every change of {} is seen: its links lead to more than {WATCHED_BEHIND_LINKS_MAX} folders and links",
        answer.display()
    );
    Problem::new(message).with_help("say `bootwright reload` after an edit, or have the links lead to less")
}

/// Reading a file is no change of it; our own reload reads all of them.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(notify::event::AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_watched_is_named_and_the_others_are_watched() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        let (changed, mut changes) = mpsc::channel(1);
        let (watcher, problems) = watcher([&*gone, folder.path()].into_iter(), &changed);
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].message.contains(&gone.display().to_string()),
            "{problems:?}"
        );
        std::fs::write(folder.path().join("a.toml"), "").unwrap();
        assert_eq!(changes.blocking_recv(), Some(()));
        drop(watcher);
    }

    #[test]
    fn a_folder_that_was_replaced_is_another_place() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        std::fs::create_dir(&one).unwrap();
        std::fs::create_dir(&two).unwrap();
        let before = watched_folder(one.clone());
        assert_eq!(watched_folder(one.clone()), before);
        std::fs::remove_dir(&one).unwrap();
        assert_ne!(watched_folder(one.clone()), before);
        std::fs::rename(&two, &one).unwrap();
        assert_ne!(watched_folder(one), before);
    }
}
