//! Texts that may take a while are rendered on threads of their own, which are given up when one takes too long.
//!
//! Every template was rendered for every listed host when its inventory was tried, and yet what a machine says
//! of itself goes into it too. Whatever comes of that, the threads that serve go on: who waits for such a text
//! is told that it is broken, and it is left alone for a while.
//!
//! Most templates are so plain that it is known how long they take (`boot::render`). To wake another thread and
//! be woken by it costs more than to render one, so these are rendered by whoever serves: while each text had a
//! thread, a fifth fewer scripts went out a second.

use super::{Counter, Shared};
use crate::boot::{
    event::Reason,
    resource::{Decided, FileRequest, Refusal, Resolved, Resource, Text},
    snapshot::Snapshot,
};
use crate::model::limits::{
    IDENTITY_CACHE_MAX, RENDER_QUEUE_MAX, RENDER_QUEUE_TIMEOUT, RENDER_RETRY_INTERVAL, RENDER_STUCK_LOG_INTERVAL,
    RENDER_THREADS_MAX, RENDER_THREADS_STUCK_MAX, RENDER_TIMEOUT, TEMPLATE_STACK_BYTES,
};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::Ipv4Addr,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{sync::oneshot, time::timeout};
use tracing::error;

/// Something to be rendered.
struct Job {
    work: Box<dyn FnOnce() + Send>,
    state: Arc<JobState>,
}

/// How far it is. Each changes under the lock of the jobs, but that nobody waits.
#[derive(Default)]
struct JobState {
    /// Since when its thread is at it.
    began: OnceLock<Instant>,
    /// Nobody waits for it any more.
    is_given_up: AtomicBool,
    /// Another thread has taken the place of its own.
    is_replaced: AtomicBool,
    /// Its thread came back.
    is_over: AtomicBool,
}

/// Why a text is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RenderFailure {
    /// It came to no end in time, and another thread has taken the place of its own.
    TimedOut,
    /// It came to no end in time, and so many did already that its thread is not replaced.
    Stuck,
    /// It came to no end in time a little while ago.
    RecentlyTimedOut,
    /// No thread was free for it for long.
    QueueTimeout,
    /// It broke its thread's work.
    Panicked,
}

/// The threads, and what they are to do. They end with this.
#[derive(Default)]
pub(super) struct Rendering {
    pool: Arc<RenderPool>,
}

#[derive(Default)]
struct RenderPool {
    jobs: Mutex<JobQueue>,
    /// There is a job, or there will be none any more.
    came: Condvar,
}

#[derive(Default)]
struct JobQueue {
    waiting: VecDeque<Job>,
    is_closed: bool,
    /// Threads that take jobs.
    threads: usize,
    /// Those of them that sleep until one comes.
    idle: usize,
    /// Threads that were given up and replaced, and did not come back since.
    given_up: usize,
    /// For whom, and with which generation, and when it is tried again.
    overlong: BTreeMap<(u64, Ipv4Addr), Instant>,
}

impl Drop for Rendering {
    fn drop(&mut self) {
        let mut jobs = self.jobs();
        jobs.is_closed = true;
        jobs.waiting.clear();
        self.pool.came.notify_all();
    }
}

impl Rendering {
    fn jobs(&self) -> MutexGuard<'_, JobQueue> {
        self.pool.jobs()
    }

    /// Does a piece of work on one of the threads, once one is free.
    async fn run<T: Send + 'static>(
        &self,
        longest: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RenderFailure> {
        let (done, mut result) = oneshot::channel();
        let state = Arc::<JobState>::default();
        let job = Job {
            // Nobody waits any more where it can't be said.
            work: Box::new(move || drop(done.send(work()))),
            state: Arc::clone(&state),
        };
        self.submit(job)?;
        let asked = Instant::now();
        let mut wait = longest;
        loop {
            if let Ok(result) = timeout(wait, &mut result).await {
                return result.map_err(|_| RenderFailure::Panicked);
            }
            let (took, most) = match state.began.get() {
                Some(began) => (began.elapsed(), longest),
                None => (asked.elapsed(), RENDER_QUEUE_TIMEOUT),
            };
            wait = most.saturating_sub(took).min(longest);
            if !wait.is_zero() {
                continue;
            }
            if state.began.get().is_some() {
                return Err(self.jobs().give_up(&state));
            }
            state.is_given_up.store(true, Ordering::Relaxed);
            return Err(RenderFailure::QueueTimeout);
        }
    }

    fn submit(&self, job: Job) -> Result<(), RenderFailure> {
        let mut jobs = self.jobs();
        if jobs.threads < wanted() {
            match start(Arc::clone(&self.pool)) {
                Ok(()) => jobs.threads += 1,
                // Those that are there do it later.
                Err(_) if jobs.threads > 0 => {}
                Err(_) => return Err(RenderFailure::QueueTimeout),
            }
        }
        if jobs.waiting.len() >= RENDER_QUEUE_MAX {
            return Err(RenderFailure::QueueTimeout);
        }
        jobs.waiting.push_back(job);
        let wakes = jobs.idle > 0;
        drop(jobs);
        if wakes {
            self.pool.came.notify_one();
        }
        Ok(())
    }

    fn is_overlong(&self, generation: u64, machine: Ipv4Addr) -> bool {
        let jobs = self.jobs();
        let again = jobs.overlong.get(&(generation, machine));
        again.is_some_and(|again| Instant::now() < *again)
    }

    fn note_overlong(&self, generation: u64, machine: Ipv4Addr) {
        let mut jobs = self.jobs();
        jobs.overlong.retain(|(of, _), _| *of == generation);
        if jobs.overlong.len() < IDENTITY_CACHE_MAX {
            jobs.overlong
                .insert((generation, machine), Instant::now() + RENDER_RETRY_INTERVAL);
        }
    }
}

impl RenderPool {
    fn jobs(&self) -> MutexGuard<'_, JobQueue> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job, as soon as there is one; `None` at the end.
    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs();
        loop {
            if jobs.is_closed {
                return None;
            }
            if let Some(job) = jobs.waiting.pop_front() {
                return Some(job);
            }
            jobs.idle += 1;
            jobs = self.came.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            jobs.idle -= 1;
        }
    }
}

impl JobQueue {
    /// The thread of a job may never come back, and another takes its place; only so many at once, because each
    /// may keep a processor busy.
    fn give_up(&mut self, state: &JobState) -> RenderFailure {
        if state.is_over.load(Ordering::Relaxed) {
            // It came back in this moment.
            return RenderFailure::TimedOut;
        }
        if self.given_up >= RENDER_THREADS_STUCK_MAX {
            return RenderFailure::Stuck;
        }
        state.is_replaced.store(true, Ordering::Relaxed);
        self.given_up += 1;
        self.threads = self.threads.saturating_sub(1);
        RenderFailure::TimedOut
    }

    /// The thread of a job has done it; whether there is a place for it still.
    fn come_back(&mut self, state: &JobState) -> bool {
        state.is_over.store(true, Ordering::Relaxed);
        if !state.is_replaced.load(Ordering::Relaxed) {
            return true;
        }
        self.given_up = self.given_up.saturating_sub(1);
        let is_place = self.threads < wanted();
        self.threads += usize::from(is_place);
        is_place
    }
}

/// How many threads are to take jobs. The system is asked once: it reads files for its answer.
fn wanted() -> usize {
    static WANTED: OnceLock<usize> = OnceLock::new();
    *WANTED.get_or_init(|| {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        processors.min(RENDER_THREADS_MAX)
    })
}

/// A thread that takes one job after the other, with a stack for any template.
fn start(pool: Arc<RenderPool>) -> io::Result<()> {
    let take = move || {
        while let Some(Job { work, state }) = pool.next() {
            if state.is_given_up.load(Ordering::Relaxed) {
                continue;
            }
            let _ = state.began.set(Instant::now());
            // Who waits hears of it by what is dropped.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            if !pool.jobs().come_back(&state) {
                return;
            }
        }
    };
    let builder = thread::Builder::new().name("render".to_owned());
    builder.stack_size(TEMPLATE_STACK_BYTES).spawn(take).map(drop)
}

impl Shared {
    /// Resolves one request for a file, from one snapshot. Whoever else is served does not wait for its text.
    pub async fn answer_in_time(&self, ask: &FileRequest<'_>) -> Resolved {
        let snapshot = self.snapshot.load_full();
        let decided = self.inquiry(&snapshot, ask).decide();
        let (subject, text) = match decided {
            Decided::Resolved(resolved) => return resolved,
            Decided::Unrendered(subject, text) => (subject, text),
        };
        // On this thread, where it takes less than to wake another: for nearly every machine.
        if let Some(text) = text.render_at_once(&snapshot.templates) {
            return subject.with(Ok(text));
        }
        let rendered = self.render_elsewhere(snapshot, text, ask.peer).await;
        subject.with(rendered.unwrap_or_else(|why| {
            self.count_unrendered(why);
            Err(Refusal::ServerError(reason(why)))
        }))
    }

    async fn render_elsewhere(
        &self,
        snapshot: Arc<Snapshot>,
        text: Text,
        machine: Ipv4Addr,
    ) -> Result<Result<Resource, Refusal>, RenderFailure> {
        let generation = snapshot.generation;
        if self.rendering.is_overlong(generation, machine) {
            return Err(RenderFailure::RecentlyTimedOut);
        }
        let rendered = self
            .rendering
            .run(RENDER_TIMEOUT, move || text.render(&snapshot.templates))
            .await;
        if matches!(rendered, Err(RenderFailure::TimedOut | RenderFailure::Stuck)) {
            self.rendering.note_overlong(generation, machine);
        }
        rendered
    }

    fn count_unrendered(&self, why: RenderFailure) {
        match why {
            RenderFailure::TimedOut => self.counters.count(Counter::RenderTimeout),
            RenderFailure::Stuck => {
                self.counters.count(Counter::RenderTimeout);
                self.counters.count(Counter::RenderThreadStuck);
                if self
                    .log_throttles
                    .render_thread_stuck
                    .is_due(&self.clock, RENDER_STUCK_LOG_INTERVAL)
                {
                    error!(
                        "{RENDER_THREADS_STUCK_MAX} texts that came to no end are still being rendered, and another is: its \
                         thread is not replaced, and once all {} are stuck no machine gets a script or an answer \
                         until they come back or bootwright is restarted; mend the templates of the machines whose \
                         texts came to no end",
                        wanted()
                    );
                }
            }
            RenderFailure::RecentlyTimedOut | RenderFailure::QueueTimeout | RenderFailure::Panicked => {}
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{
        event::{Near, RequestedFile, ScriptChoice},
        resource::Transport,
    };
    use crate::model::{Dialect, limits::TEXT_AT_ONCE_FUEL};
    use std::sync::mpsc;

    #[tokio::test]
    async fn what_never_ends_is_given_up_and_the_next_is_done() {
        let rendering = Rendering::default();
        let (_open, never) = mpsc::channel::<()>();
        let never = Mutex::new(never);
        let wait = move || never.lock().is_ok_and(|never| never.recv().is_ok());
        let stuck = rendering.run(Duration::from_millis(20), wait).await;
        assert_eq!(stuck, Err(RenderFailure::TimedOut));
        for number in 0..20 {
            assert_eq!(rendering.run(RENDER_TIMEOUT, move || number).await, Ok(number));
        }
        assert_eq!(rendering.jobs().given_up, 1);
    }

    #[tokio::test]
    async fn threads_that_come_back_late_are_no_longer_given_up() {
        let rendering = Rendering::default();
        // More than once as many as may be given up.
        for _ in 0..=2 {
            let mut gates = Vec::new();
            for number in 0..=RENDER_THREADS_STUCK_MAX {
                let (open, closed) = mpsc::channel::<()>();
                gates.push(open);
                let wait = move || closed.recv().is_ok();
                let expected = match number {
                    RENDER_THREADS_STUCK_MAX => RenderFailure::Stuck,
                    _ => RenderFailure::TimedOut,
                };
                let stuck = rendering.run(Duration::from_millis(20), wait).await;
                assert_eq!(stuck, Err(expected), "{number}");
            }
            drop(gates);
            let began = Instant::now();
            while rendering.jobs().given_up > 0 && began.elapsed() < RENDER_TIMEOUT {
                tokio::task::yield_now().await;
            }
            assert_eq!(rendering.jobs().given_up, 0);
            // Whoever was not replaced takes the next one.
            assert_eq!(rendering.run(RENDER_TIMEOUT, || 7).await, Ok(7));
            assert!(rendering.jobs().threads <= wanted());
        }
    }

    #[tokio::test]
    async fn what_can_not_be_rendered_keeps_its_name_and_is_counted() {
        let machine = Ipv4Addr::new(192, 0, 2, 7);
        let shared = shared_with_unknown("{{ name ~ mac }}");
        shared.rendering.note_overlong(1, machine);
        let resolved = shared.answer_in_time(&script_for(machine)).await;
        let file = RequestedFile::Script {
            script: "unknown".parse().unwrap(),
            dialect: Dialect::Ipxe,
            choice: ScriptChoice::Unlisted(Near(None)),
            mismatch: None,
        };
        assert_eq!(resolved.subject.file, file);
        assert!(
            matches!(
                resolved.result,
                Err(Refusal::ServerError(Reason::RenderOverlong { .. }))
            ),
            "{:?}",
            resolved.result
        );
        shared.count_unrendered(RenderFailure::Stuck);
        let count = |counter| shared.counters.value(counter);
        assert_eq!(
            (count(Counter::RenderTimeout), count(Counter::RenderThreadStuck)),
            (1, 1)
        );
    }

    /// What the servers of a room share in which nobody is listed, and the script of everybody is this one.
    fn shared_with_unknown(script: &str) -> Arc<Shared> {
        let shared = super::super::tests::shared_with(Box::new(NoLog));
        let mut snapshot = Arc::into_inner(shared.snapshot.swap(Arc::new(super::super::tests::snapshot()))).unwrap();
        let name = "unknown".parse().unwrap();
        let added = snapshot
            .templates
            .add_script(&name, Dialect::Ipxe, "unknown.ipxe", script);
        added.unwrap();
        shared.snapshot.store(Arc::new(snapshot));
        shared
    }

    fn script_for(machine: Ipv4Addr) -> FileRequest<'static> {
        FileRequest {
            transport: Transport::Http,
            path: b"/boot.ipxe",
            query: None,
            peer: machine,
            server: Ipv4Addr::new(192, 0, 2, 1),
        }
    }

    #[tokio::test]
    async fn plain_texts_wake_no_thread_and_others_never_stall_this_one() {
        let machine = Ipv4Addr::new(192, 0, 2, 7);
        let threads_after = async |script: &str| {
            let shared = shared_with_unknown(script);
            let resolved = shared.answer_in_time(&script_for(machine)).await;
            let Ok(Resource::Text { body, .. }) = resolved.result else {
                panic!("{script}: {:?}", resolved.result);
            };
            let threads = shared.rendering.jobs().threads;
            (body, threads)
        };
        let many = "{{ name }}".repeat(TEXT_AT_ONCE_FUEL as usize);
        assert_eq!(threads_after("{{ name }}").await, ("unknown".to_owned(), 0));
        assert_eq!(threads_after("{{ name ~ 1 }}").await, ("unknown1".to_owned(), 1));
        // Plain, and more than is done here: all of it is done elsewhere.
        assert_eq!(
            threads_after(&many).await,
            ("unknown".repeat(TEXT_AT_ONCE_FUEL as usize), 1)
        );
    }

    struct NoLog;

    impl crate::state::LeaseLog for NoLog {
        fn append(&self, _: Vec<crate::lease::LeaseChange>) -> Result<crate::state::Durable, String> {
            Err("no test gives leases here".to_owned())
        }
    }

    #[tokio::test]
    async fn what_breaks_takes_no_thread_along() {
        let rendering = Rendering::default();
        assert_eq!(
            rendering
                .run(RENDER_TIMEOUT, || -> u8 { panic!("a test breaks its work") })
                .await,
            Err(RenderFailure::Panicked)
        );
        assert_eq!(rendering.run(RENDER_TIMEOUT, || 7).await, Ok(7));
    }

    #[test]
    fn who_was_overlong_is_tried_again_with_the_next_generation() {
        let rendering = Rendering::default();
        let machine = Ipv4Addr::new(192, 0, 2, 7);
        rendering.note_overlong(3, machine);
        assert!(rendering.is_overlong(3, machine) && !rendering.is_overlong(4, machine));
        rendering.note_overlong(4, Ipv4Addr::new(192, 0, 2, 8));
        assert!(!rendering.is_overlong(3, machine));
    }
}
