//! Texts that may take a while are rendered on threads of their own, which are given up when one takes too long.
//!
//! Every template was rendered for every listed host when its inventory was tried, and yet what a machine says
//! of itself goes into it too. Whatever comes of that, the threads that serve go on: who waits for such a text
//! is told that it is broken, and it is left alone for a while. A task of its own watches each, because who asked
//! may be gone before its time is up, and of one machine one is under way at a time.
//!
//! Most templates are so plain that it is known how long they take (`boot::render`). To wake another thread and
//! be woken by it costs more than to render one, so these are rendered by whoever serves: while each text had a
//! thread, a fifth fewer scripts went out a second.

mod requests;

use crate::boot::event::MachineKey;
use crate::model::limits::{
    IDENTITY_CACHE_MAX, RENDER_QUEUE_MAX, RENDER_QUEUE_TIMEOUT, RENDER_RETRY_INTERVAL, RENDER_THREADS_MAX,
    RENDER_THREADS_STUCK_MAX, TEMPLATE_STACK_BYTES,
};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Mutex as TurnLock, OwnedMutexGuard, oneshot},
    time::timeout,
};

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
    /// Its thread counts as stuck.
    is_stuck: AtomicBool,
    /// Its thread came back.
    is_over: AtomicBool,
}

/// Somebody waits for a job. Once this is gone it is not begun any more.
struct JobWaiter(Arc<JobState>);

impl Drop for JobWaiter {
    fn drop(&mut self) {
        self.0.is_given_up.store(true, Ordering::Relaxed);
    }
}

/// The texts of one machine, with one generation.
type TextKey = (u64, MachineKey);

/// Who has or awaits a machine's turn. Nobody knows before its time is up whether a text ends, and whoever asks for
/// it again and again would take a thread each time.
struct Turn {
    pool: Arc<RenderPool>,
    key: TextKey,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut jobs = self.pool.jobs();
        if let Some((awaited, _)) = jobs.turns.get_mut(&self.key) {
            *awaited -= 1;
            if *awaited == 0 {
                jobs.turns.remove(&self.key);
            }
        }
    }
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
    /// Threads that take jobs, and are not stuck.
    threads: usize,
    /// Those of them that sleep until one comes.
    idle: usize,
    /// Threads that are at a job that was given up.
    stuck: usize,
    /// For which machine, and with which generation, and when it is tried again.
    overlong: BTreeMap<TextKey, Instant>,
    /// Of which machines texts are under way, and for how many requests.
    turns: BTreeMap<TextKey, (usize, Arc<TurnLock<()>>)>,
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

    /// Waits until no other text of this machine is under way.
    async fn turn(&self, key: TextKey) -> Result<(OwnedMutexGuard<()>, Turn), RenderFailure> {
        let lock = {
            let mut jobs = self.jobs();
            let (awaited, lock) = jobs.turns.entry(key.clone()).or_default();
            *awaited += 1;
            Arc::clone(lock)
        };
        let pool = Arc::clone(&self.pool);
        let turn = Turn { pool, key };
        match timeout(RENDER_QUEUE_TIMEOUT, lock.lock_owned()).await {
            Ok(guard) => Ok((guard, turn)),
            Err(_) => Err(RenderFailure::QueueTimeout),
        }
    }

    /// Does a piece of work on one of the threads, once one is free.
    async fn run<T: Send + 'static>(
        &self,
        longest: Duration,
        state: Arc<JobState>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RenderFailure> {
        let (done, mut result) = oneshot::channel();
        let job = Job {
            // Nobody waits any more where it can't be sent.
            work: Box::new(move || drop(done.send(work()))),
            state: Arc::clone(&state),
        };
        self.submit(job)?;
        let asked = Instant::now();
        let mut wait = longest;
        loop {
            match timeout(wait, &mut result).await {
                Ok(Ok(result)) => return Ok(result),
                Ok(Err(_)) if state.began.get().is_some() => return Err(RenderFailure::Panicked),
                Ok(Err(_)) => return Err(RenderFailure::QueueTimeout),
                Err(_) => wait = self.look(&state, asked, longest)?,
            }
        }
    }

    /// How long a job may still take until it is looked at again. Whether it has begun does not change meanwhile.
    fn look(&self, state: &JobState, asked: Instant, longest: Duration) -> Result<Duration, RenderFailure> {
        let mut jobs = self.jobs();
        let (took, most) = match state.began.get() {
            Some(began) => (began.elapsed(), longest),
            None => (asked.elapsed(), RENDER_QUEUE_TIMEOUT),
        };
        let wait = most.saturating_sub(took).min(longest);
        if !wait.is_zero() {
            return Ok(wait);
        }
        if state.began.get().is_none() {
            state.is_given_up.store(true, Ordering::Relaxed);
            return Err(RenderFailure::QueueTimeout);
        }
        let why = jobs.give_up(state);
        if !jobs.waiting.is_empty() {
            // Those that wait may be the last that ask. Where no thread is to be had, the next that asks tries again.
            let _ = self.start_wanted(&mut jobs);
        }
        Err(why)
    }

    fn start_wanted(&self, jobs: &mut JobQueue) -> io::Result<()> {
        // Each that is stuck may keep a processor busy: only so many are replaced.
        if jobs.threads < wanted() && jobs.threads + jobs.stuck < wanted() + RENDER_THREADS_STUCK_MAX {
            start(Arc::clone(&self.pool))?;
            jobs.threads += 1;
        }
        Ok(())
    }

    fn submit(&self, job: Job) -> Result<(), RenderFailure> {
        let mut jobs = self.jobs();
        // Those that are there do it later.
        if self.start_wanted(&mut jobs).is_err() && jobs.threads == 0 {
            return Err(RenderFailure::QueueTimeout);
        }
        if jobs.waiting.len() >= RENDER_QUEUE_MAX {
            jobs.waiting
                .retain(|job| !job.state.is_given_up.load(Ordering::Relaxed));
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

    fn is_overlong(&self, key: &TextKey) -> bool {
        let jobs = self.jobs();
        let again = jobs.overlong.get(key);
        again.is_some_and(|again| Instant::now() < *again)
    }

    fn note_overlong(&self, key: TextKey) {
        let mut jobs = self.jobs();
        let now = Instant::now();
        let newest = jobs.overlong.last_key_value().map(|((of, _), _)| *of);
        if newest.is_some_and(|newest| newest > key.0) {
            // Asked for before a reload: nobody asks for this one any more.
            return;
        }
        jobs.overlong.retain(|(of, _), again| *of >= key.0 && now < *again);
        if jobs.overlong.len() < IDENTITY_CACHE_MAX {
            jobs.overlong.insert(key, now + RENDER_RETRY_INTERVAL);
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
                if job.state.is_given_up.load(Ordering::Relaxed) {
                    continue;
                }
                let _ = job.state.began.set(Instant::now());
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
        state.is_stuck.store(true, Ordering::Relaxed);
        self.stuck += 1;
        self.threads = self.threads.saturating_sub(1);
        match self.stuck > RENDER_THREADS_STUCK_MAX {
            true => RenderFailure::Stuck,
            false => RenderFailure::TimedOut,
        }
    }

    /// The thread of a job has done it; whether there is a place for it still.
    fn come_back(&mut self, state: &JobState) -> bool {
        state.is_over.store(true, Ordering::Relaxed);
        if !state.is_stuck.load(Ordering::Relaxed) {
            return true;
        }
        self.stuck = self.stuck.saturating_sub(1);
        let is_place = self.threads < wanted();
        self.threads += usize::from(is_place);
        is_place
    }

    /// No thread renders, and none may be started.
    fn is_all_stuck(&self) -> bool {
        self.threads == 0 && self.stuck > 0
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{
        event::{Near, Reason, RequestedFile, ScriptChoice},
        resource::{FileRequest, Refusal, Resource, Transport},
    };
    use crate::fixtures::{file_request, snapshot};
    use crate::model::{
        Dialect,
        limits::{RENDER_TIMEOUT, TEXT_AT_ONCE_FUEL},
    };
    use crate::state::{Counter, Shared};
    use crate::store::StoreError;
    use std::{net::Ipv4Addr, sync::mpsc};

    #[tokio::test]
    async fn what_never_ends_is_given_up_and_the_next_is_done() {
        let rendering = Rendering::default();
        let (_open, never) = mpsc::channel::<()>();
        let never = Mutex::new(never);
        let wait = move || never.lock().is_ok_and(|never| never.recv().is_ok());
        let stuck = rendering.run(Duration::from_millis(20), Arc::default(), wait).await;
        assert_eq!(stuck, Err(RenderFailure::TimedOut));
        for number in 0..20 {
            assert_eq!(
                rendering.run(RENDER_TIMEOUT, Arc::default(), move || number).await,
                Ok(number)
            );
        }
        assert_eq!(rendering.jobs().stuck, 1);
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
                let stuck = rendering.run(Duration::from_millis(20), Arc::default(), wait).await;
                assert_eq!(stuck, Err(expected), "{number}");
            }
            drop(gates);
            let began = Instant::now();
            while rendering.jobs().stuck > 0 && began.elapsed() < RENDER_TIMEOUT {
                tokio::task::yield_now().await;
            }
            assert_eq!(rendering.jobs().stuck, 0);
            // Whoever was not replaced takes the next one.
            assert_eq!(rendering.run(RENDER_TIMEOUT, Arc::default(), || 7).await, Ok(7));
            assert!(rendering.jobs().threads <= wanted());
        }
    }

    #[tokio::test]
    async fn what_can_not_be_rendered_keeps_its_name_and_is_counted() {
        let machine = Ipv4Addr::new(192, 0, 2, 7);
        let shared = shared_with_unknown("{{ name ~ mac }}");
        let generation = shared.snapshot.load().generation;
        shared
            .rendering
            .note_overlong((generation, MachineKey::Address(machine.into())));
        let resolved = shared.answer_in_time(&script_for(machine)).await;
        let file = RequestedFile::Script {
            script: "unknown".parse().unwrap(),
            dialect: Dialect::Ipxe,
            choice: ScriptChoice::Unlisted(Near(None)),
            mismatch: None,
            facts: None,
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
        assert_eq!(shared.counters.value(Counter::RenderTimeout), 1);
    }

    /// What the servers of a room share in which nobody is listed, and the script of everybody is this one.
    fn shared_with_unknown(script: &str) -> Arc<Shared> {
        let shared = super::super::tests::shared_with(Box::new(NoLog));
        let mut snapshot = Arc::into_inner(shared.snapshot.swap(Arc::new(snapshot()))).unwrap();
        let name = "unknown".parse().unwrap();
        let added = snapshot
            .templates
            .add_script(&name, Dialect::Ipxe, "unknown.ipxe", script);
        added.unwrap();
        shared.snapshot.store(Arc::new(snapshot));
        shared
    }

    fn script_for(machine: Ipv4Addr) -> FileRequest<'static> {
        file_request(Transport::Http, machine, "/boot.ipxe")
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

    impl crate::state::CommitLog for NoLog {
        fn append(&self, _: Vec<crate::boot::change::Change>) -> Result<crate::state::Durable, StoreError> {
            Err(StoreError::unavailable("no test gives leases here"))
        }
    }

    #[tokio::test]
    async fn what_breaks_takes_no_thread_along() {
        let rendering = Rendering::default();
        assert_eq!(
            rendering
                .run(RENDER_TIMEOUT, Arc::default(), || -> u8 {
                    panic!("a test breaks its work")
                })
                .await,
            Err(RenderFailure::Panicked)
        );
        assert_eq!(rendering.run(RENDER_TIMEOUT, Arc::default(), || 7).await, Ok(7));
    }

    fn key(generation: u64, name: &str) -> TextKey {
        (generation, MachineKey::Host(name.parse().unwrap()))
    }

    #[test]
    fn who_was_overlong_is_tried_again_with_the_next_generation() {
        let rendering = Rendering::default();
        rendering.note_overlong(key(3, "n7"));
        assert!(rendering.is_overlong(&key(3, "n7")) && !rendering.is_overlong(&key(4, "n7")));
        rendering.note_overlong(key(4, "n8"));
        assert!(!rendering.is_overlong(&key(3, "n7")));
        // Begun before the reload, and noted after it.
        rendering.note_overlong(key(3, "n9"));
        assert!(rendering.is_overlong(&key(4, "n8")) && !rendering.is_overlong(&key(3, "n9")));
    }

    const SHORT: Duration = Duration::from_millis(20);

    fn room() -> Arc<Shared> {
        super::super::tests::shared_with(Box::new(NoLog))
    }

    async fn until(is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < RENDER_TIMEOUT, "it did not come to that");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn who_leaves_takes_no_thread_along_uncounted() {
        let shared = room();
        let (open, never) = mpsc::channel::<()>();
        let (begins, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let asks = shared.render_elsewhere(SHORT, key(1, "n7"), move || {
            let _ = begins.send(());
            never.recv().is_ok()
        });
        tokio::select! {
            biased;
            _ = begun.recv() => {}
            result = asks => panic!("{result:?} before it began"),
        }
        until(|| shared.render_threads_stuck() == 1).await;
        until(|| shared.counters.value(Counter::RenderTimeout) == 1).await;
        let again = shared.render_elsewhere(SHORT, key(1, "n7"), || true).await;
        assert_eq!(again, Err(RenderFailure::RecentlyTimedOut));
        // The pause is the machine's own.
        let other = shared.render_elsewhere(RENDER_TIMEOUT, key(1, "n8"), || 7).await;
        assert_eq!(other, Ok(7));
        drop(open);
        until(|| shared.render_threads_stuck() == 0).await;
    }

    #[tokio::test]
    async fn one_text_under_way_takes_one_thread_however_often_it_is_asked_for() {
        let shared = room();
        let gates: Vec<_> = (0..8).map(|_| mpsc::channel::<()>()).collect();
        let (_open, never): (Vec<_>, Vec<_>) = gates.into_iter().unzip();
        let mut asked = tokio::task::JoinSet::new();
        for never in never {
            let shared = Arc::clone(&shared);
            asked.spawn(async move {
                let wait = move || never.recv().is_ok();
                shared.render_elsewhere(SHORT, key(1, "n7"), wait).await
            });
        }
        let mut results = asked.join_all().await;
        results.sort_by_key(|result| *result == Err(RenderFailure::RecentlyTimedOut));
        assert_eq!(results[0], Err(RenderFailure::TimedOut));
        assert_eq!(results[1..], [Err(RenderFailure::RecentlyTimedOut); 7]);
        assert_eq!(shared.render_threads_stuck(), 1);
        until(|| shared.rendering.jobs().turns.is_empty()).await;
    }

    #[tokio::test]
    async fn what_waits_behind_a_stuck_text_is_done_by_the_thread_that_replaces_its() {
        let rendering = Rendering::default();
        // All threads but one are held, and that one gets stuck.
        let gates: Vec<_> = (0..wanted()).map(|_| mpsc::channel::<()>()).collect();
        let (_open, never): (Vec<_>, Vec<_>) = gates.into_iter().unzip();
        let states: Vec<Arc<JobState>> = never.iter().map(|_| Arc::default()).collect();
        for (never, state) in never.into_iter().zip(&states) {
            let state = Arc::clone(state);
            let work = Box::new(move || assert!(never.recv().is_err()));
            rendering.submit(Job { work, state }).unwrap();
        }
        until(|| states.iter().all(|state| state.began.get().is_some())).await;
        let (done, mut result) = oneshot::channel();
        let work = Box::new(move || assert!(done.send(7).is_ok()));
        let state = Arc::default();
        rendering.submit(Job { work, state }).unwrap();
        assert!(result.try_recv().is_err());
        let gone = rendering.look(&states[0], Instant::now(), Duration::ZERO);
        assert_eq!(gone, Err(RenderFailure::TimedOut));
        assert_eq!(timeout(RENDER_TIMEOUT, result).await.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_begun() {
        let rendering = Rendering::default();
        let state = Arc::<JobState>::default();
        drop(JobWaiter(Arc::clone(&state)));
        let left = rendering.run(RENDER_TIMEOUT, Arc::clone(&state), || 7).await;
        assert_eq!(left, Err(RenderFailure::QueueTimeout));
        assert_eq!(state.began.get(), None);
    }

    #[tokio::test]
    async fn that_every_thread_is_stuck_is_logged_while_it_lasts() {
        let shared = room();
        assert!(!shared.is_outage(RenderFailure::QueueTimeout));
        shared.rendering.jobs().stuck = wanted() + RENDER_THREADS_STUCK_MAX;
        assert!(shared.is_outage(RenderFailure::QueueTimeout));
        // None is started any more, and the first that comes back takes what comes.
        assert!(shared.rendering.start_wanted(&mut shared.rendering.jobs()).is_ok());
        assert_eq!(shared.rendering.jobs().threads, 0);
        let state = JobState::default();
        state.is_stuck.store(true, Ordering::Relaxed);
        assert!(shared.rendering.jobs().come_back(&state));
        assert!(!shared.is_outage(RenderFailure::QueueTimeout));
    }
}
