//! Threads of their own: HTTP's and DHCP's.
//!
//! Large files keep every thread that sends them busy, and a busy thread looks at its other sockets only
//! now and then, and waits for its next share of a processor. Leases, loaders and scripts are small and
//! in a hurry: they have threads that are mostly idle, and so the kernel lets them run as soon as
//! something comes in. A connection is moved to the threads for large files when it is to send one.
//!
//! Each thread has its own connections. Threads that take tasks from each other wake each other all the
//! time: on two processors one runtime gave 70,000 scripts a second, at 1.74 s of CPU for 100,000, and two of a
//! thread each give 79,000, at 1.54. Beside 32 initrds a script waited 3 ms for its share of their threads;
//! beside 64 of them it takes 0.4 ms from threads of its own (`tests/bench/http.sh`).

use crate::model::limits::{HTTP_DISK_THREADS_MAX, HTTP_THREADS_MAX, TEMPLATE_STACK_BYTES};
use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};
use tracing::warn;

/// How many turns of its tasks a thread takes before it looks at its sockets: a turn of a body is
/// long, and a script that was asked for meanwhile waits. tokio-util's pool of local threads has no such setting.
const TURNS: u32 = 8;

/// Threads of their own, or those of the caller where the system has no more. They end with the last
/// clone of this.
#[derive(Clone)]
pub(super) struct ThreadPool(Arc<[WorkerThread]>);

/// One of them.
struct WorkerThread {
    handle: Handle,
    /// The tasks that are on it.
    tasks: Arc<AtomicUsize>,
    /// Its thread waits for this to be dropped.
    _alive: Option<oneshot::Sender<()>>,
}

/// One task on a thread, until it is dropped.
struct TaskCount(Arc<AtomicUsize>);

impl ThreadPool {
    /// As many as there are processors, at most `HTTP_THREADS_MAX`. To be called on a runtime.
    pub(super) fn start(name: &str) -> ThreadPool {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let processors = processors.min(HTTP_THREADS_MAX);
        let threads: io::Result<Arc<[WorkerThread]>> = (0..processors)
            .map(|number| WorkerThread::start(&format!("{name}-{number}"), HTTP_DISK_THREADS_MAX / processors))
            .collect();
        ThreadPool(threads.unwrap_or_else(|error| {
            warn!("no threads for {name} alone, it shares the others': {error}");
            Arc::new([WorkerThread::shared()])
        }))
    }

    /// A single one, which may start so many that wait for disks. To be called on a runtime.
    pub(super) fn single(name: &str, disk_threads_max: usize) -> ThreadPool {
        let thread = WorkerThread::start(name, disk_threads_max).unwrap_or_else(|error| {
            warn!("no thread for {name} alone, it shares the others': {error}");
            WorkerThread::shared()
        });
        ThreadPool(Arc::new([thread]))
    }

    /// One of them, always the same.
    pub(super) fn first(&self) -> Handle {
        self.0
            .first()
            .map_or_else(Handle::current, |thread| thread.handle.clone())
    }

    /// Starts a task on the thread that has the fewest.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let least_busy = self.0.iter().min_by_key(|thread| thread.tasks.load(Ordering::Relaxed));
        if let Some(thread) = least_busy {
            let counted = TaskCount::new(&thread.tasks);
            thread.handle.spawn(async move {
                task.await;
                drop(counted);
            });
        }
    }
}

impl WorkerThread {
    /// A thread, and as many as `disk_threads_max` to wait for disks on its behalf.
    fn start(name: &str, disk_threads_max: usize) -> io::Result<WorkerThread> {
        let runtime = Builder::new_current_thread()
            .event_interval(TURNS)
            .max_blocking_threads(disk_threads_max)
            .thread_name(format!("{name} disk"))
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel();
        let thread = thread::Builder::new().name(name.to_owned());
        // Templates are rendered here.
        thread.stack_size(TEMPLATE_STACK_BYTES).spawn(move || {
            // Nothing is ever sent: an error means that the other end is dropped.
            let _: Result<(), _> = runtime.block_on(ended);
            // A file may be read from a slow disk; no client waits for it any more.
            runtime.shutdown_background();
        })?;
        Ok(WorkerThread {
            handle,
            tasks: Arc::default(),
            _alive: Some(alive),
        })
    }

    /// The caller's.
    fn shared() -> WorkerThread {
        WorkerThread {
            handle: Handle::current(),
            tasks: Arc::default(),
            _alive: None,
        }
    }
}

impl TaskCount {
    fn new(tasks: &Arc<AtomicUsize>) -> TaskCount {
        tasks.fetch_add(1, Ordering::Relaxed);
        TaskCount(Arc::clone(tasks))
    }
}

impl Drop for TaskCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn tasks_go_where_the_fewest_are() {
        let thread = || WorkerThread::start("test", 1).unwrap();
        let threads = ThreadPool(Arc::new([thread(), thread()]));
        let (named, names) = mpsc::channel();
        let (_open, never) = tokio::sync::watch::channel(());
        for _ in 0..4 {
            let (named, mut never) = (named.clone(), never.clone());
            threads.spawn(async move {
                named.send(thread::current().id()).unwrap();
                let _ = never.changed().await;
            });
        }
        let mut ran: Vec<_> = names.iter().take(4).collect();
        assert_eq!(
            threads
                .0
                .iter()
                .map(|thread| thread.tasks.load(Ordering::Relaxed))
                .collect::<Vec<_>>(),
            [2, 2]
        );
        ran.sort_by_key(|id| format!("{id:?}"));
        assert!(ran[0] == ran[1] && ran[1] != ran[2] && ran[2] == ran[3], "{ran:?}");
    }

    #[tokio::test]
    async fn a_task_that_ends_or_breaks_is_counted_no_more_and_its_thread_goes_on() {
        let threads = ThreadPool(Arc::new([WorkerThread::start("test", 1).unwrap()]));
        let (done, ended) = mpsc::channel();
        threads.spawn(async { panic!("a test breaks its task") });
        threads.spawn(async move {
            done.send(()).unwrap();
        });
        ended.recv().unwrap();
        while threads.0.iter().any(|thread| thread.tasks.load(Ordering::Relaxed) > 0) {
            tokio::task::yield_now().await;
        }
    }
}
