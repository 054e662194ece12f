//! The thread that makes writes durable, many to a commit, leases first.
//!
//! A commit waits for the disk, whatever it carries; so while one is under way the next writes gather, and all of
//! them share the following one. Commits keep a distance: one costs as much CPU as several exchanges, and no client
//! notices some milliseconds.
//!
//! Machines wait for leases, and none for what is kept in the background (checksums): so leases never wait behind
//! more than the one commit that is under way, and that one is short. What is in the background has a turn when no
//! lease waits, or when it waited long. No commit carries both: one that a nearly full disk has no room for must
//! cost no machine its lease. Writes of one priority become durable in the order in which they were handed over;
//! those of different ones don't.

use super::{Precondition, Revision, Store, StoreError, Write};
use crate::model::limits::{
    LEASE_COMMIT_INTERVAL, LEASE_COMMIT_SLOW, LEASE_COMMIT_SLOW_LOG_INTERVAL, LEASE_QUEUE_MAX, LEASES_PER_COMMIT_MAX,
    STORE_BACKGROUND_BYTES_MAX, STORE_BACKGROUND_BYTES_PER_COMMIT, STORE_BACKGROUND_WAIT,
};
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    task::{Context, Poll},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Takes writes and says when each is on disk. Dropping it writes what still waits.
pub struct StoreWriter {
    queue: Option<Sender<Pending>>,
    waiting: Arc<Waiting>,
    thread: Option<JoinHandle<()>>,
    failure: Arc<Mutex<Option<StoreError>>>,
}

/// What is in the queue.
#[derive(Default)]
struct Waiting {
    /// Lease changes.
    leases: AtomicUsize,
    /// Bytes of what is kept in the background.
    background_bytes: AtomicUsize,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Priority {
    /// A machine waits for it.
    Lease,
    /// No machine waits for it.
    Background,
}

/// Writes that were handed over together.
struct Pending {
    priority: Priority,
    /// Changes of leases, or bytes.
    size: usize,
    /// How much of that counts as waiting.
    counted: usize,
    preconditions: Vec<Precondition>,
    /// They are put into bytes on the writer's thread, which is in less of a hurry than those that serve.
    writes: Box<dyn FnOnce() -> Vec<Write> + Send>,
    done: oneshot::Sender<Result<Revision, StoreError>>,
}

/// A commit on its way to the disk: ready when it is durable, or with why it never will be. Nothing is taken back
/// by dropping it.
#[derive(Debug)]
pub struct Committing(oneshot::Receiver<Result<Revision, StoreError>>);

impl Committing {
    /// Waits for it, on a thread that serves no machine.
    pub fn wait(self) -> Result<Revision, StoreError> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(ended_early()))
    }
}

impl Future for Committing {
    type Output = Result<Revision, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let done = Pin::new(&mut self.0).poll(context);
        done.map(|done| done.unwrap_or_else(|_| Err(ended_early())))
    }
}

fn ended_early() -> StoreError {
    StoreError::unavailable("the store's writer ended before the change was on disk")
}

impl StoreWriter {
    /// Starts the thread that writes to `store`.
    ///
    /// # Errors
    ///
    /// The system refuses another thread.
    pub fn start(store: Arc<dyn Store>) -> Result<StoreWriter, StoreError> {
        let (queue, pending) = channel();
        let waiting = Arc::<Waiting>::default();
        let failure = Arc::<Mutex<Option<StoreError>>>::default();
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn({
                let (waiting, failure) = (Arc::clone(&waiting), Arc::clone(&failure));
                move || write_until_closed(&*store, &mut Queue::new(pending), (&waiting, &failure))
            })
            .map_err(|error| StoreError::of_io("no thread for the store's writer", error))?;
        Ok(StoreWriter {
            queue: Some(queue),
            waiting,
            thread: Some(thread),
            failure,
        })
    }

    /// Hands over `count` changes of leases, all or none; `writes` puts them into bytes. They become durable in the
    /// order of the calls, whether or not anybody waits for it.
    ///
    /// # Errors
    ///
    /// [`LEASE_QUEUE_MAX`] changes wait already, or the writer has ended.
    pub fn leases(
        &self,
        count: usize,
        writes: impl FnOnce() -> Vec<Write> + Send + 'static,
    ) -> Result<Committing, StoreError> {
        reserve(&self.waiting.leases, count, (LEASE_QUEUE_MAX, "changes"))?;
        self.send(Priority::Lease, (count, count), Vec::new(), Box::new(writes))
    }

    /// Hands over `count` changes of leases in one commit, however many wait: without them a restart would take the
    /// others for wrong. They take no other lease's place in the queue. Whoever calls hands over no others before it
    /// is known what became of them.
    ///
    /// # Errors
    ///
    /// The writer has ended.
    pub fn leases_whatever_waits(
        &self,
        count: usize,
        writes: impl FnOnce() -> Vec<Write> + Send + 'static,
    ) -> Result<Committing, StoreError> {
        self.send(Priority::Lease, (count, 0), Vec::new(), Box::new(writes))
    }

    /// Hands over writes that a machine waits for, to be made if all preconditions hold at that moment, in a commit
    /// of their own.
    ///
    /// # Errors
    ///
    /// [`LEASE_QUEUE_MAX`] changes wait already, or the writer has ended.
    pub fn if_holds(&self, preconditions: Vec<Precondition>, writes: Vec<Write>) -> Result<Committing, StoreError> {
        let count = writes.len();
        reserve(&self.waiting.leases, count, (LEASE_QUEUE_MAX, "changes"))?;
        self.send(Priority::Lease, (count, count), preconditions, Box::new(move || writes))
    }

    /// Hands over what no machine waits for, all or none.
    ///
    /// # Errors
    ///
    /// [`STORE_BACKGROUND_BYTES_MAX`] wait already, or the writer has ended.
    pub fn background(&self, writes: Vec<Write>) -> Result<Committing, StoreError> {
        let bytes = writes.iter().map(Write::bytes).sum();
        let limit = (STORE_BACKGROUND_BYTES_MAX, "bytes");
        reserve(&self.waiting.background_bytes, bytes, limit)?;
        let size = (bytes, bytes);
        self.send(Priority::Background, size, Vec::new(), Box::new(move || writes))
    }

    fn send(
        &self,
        priority: Priority,
        (size, counted): (usize, usize),
        preconditions: Vec<Precondition>,
        writes: Box<dyn FnOnce() -> Vec<Write> + Send>,
    ) -> Result<Committing, StoreError> {
        let ended = || StoreError::unavailable("the store's writer has ended");
        let (done, durable) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(ended)?;
        let pending = Pending {
            priority,
            size,
            counted,
            preconditions,
            writes,
            done,
        };
        queue.send(pending).map_err(|_| ended())?;
        Ok(Committing(durable))
    }

    /// Why the last commit of leases did not reach the disk; nothing if it did.
    pub fn failure(&self) -> Option<StoreError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Takes room in the queue, or says that there is none.
fn reserve(waiting: &AtomicUsize, size: usize, (limit, unit): (usize, &str)) -> Result<(), StoreError> {
    if waiting.fetch_add(size, Ordering::Relaxed) + size <= limit {
        return Ok(());
    }
    waiting.fetch_sub(size, Ordering::Relaxed);
    Err(StoreError::unavailable(format!(
        "{limit} {unit} wait for the disk already"
    )))
}

impl Drop for StoreWriter {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // It ends when the queue is empty; a panic there was reported where it happened.
            let _ = thread.join();
        }
    }
}

/// What waits, by its priority.
struct Queue {
    channel: Receiver<Pending>,
    leases: VecDeque<Pending>,
    background: VecDeque<Pending>,
    /// When something in the background had its last turn.
    background_turn: Option<Instant>,
}

impl Queue {
    fn new(channel: Receiver<Pending>) -> Queue {
        Queue {
            channel,
            leases: VecDeque::new(),
            background: VecDeque::new(),
            background_turn: None,
        }
    }

    /// Waits until there is something; whether there is, or nothing will come any more.
    fn wait(&mut self) -> bool {
        if self.leases.is_empty() && self.background.is_empty() {
            match self.channel.recv() {
                Ok(pending) => self.sort(pending),
                Err(_) => return false,
            }
        }
        true
    }

    fn sort(&mut self, pending: Pending) {
        match pending.priority {
            Priority::Lease => self.leases.push_back(pending),
            Priority::Background => self.background.push_back(pending),
        }
    }

    /// What the next commit carries, of one priority.
    fn take(&mut self, now: Instant) -> (Priority, Vec<Pending>) {
        while let Ok(pending) = self.channel.try_recv() {
            self.sort(pending);
        }
        let turn = self.background_turn.get_or_insert(now);
        let is_due = !self.background.is_empty() && now.duration_since(*turn) >= STORE_BACKGROUND_WAIT;
        if self.background.is_empty() {
            *turn = now;
        }
        if self.leases.is_empty() || is_due {
            *turn = now;
            return (
                Priority::Background,
                gather(&mut self.background, STORE_BACKGROUND_BYTES_PER_COMMIT),
            );
        }
        (Priority::Lease, gather(&mut self.leases, LEASES_PER_COMMIT_MAX))
    }
}

/// The first ones until they are enough. What has a precondition is alone: it fails for itself.
fn gather(queue: &mut VecDeque<Pending>, enough: usize) -> Vec<Pending> {
    let mut batch: Vec<Pending> = Vec::new();
    let mut size = 0;
    while let Some(next) = queue.front() {
        let is_alone = !next.preconditions.is_empty();
        if size >= enough || (is_alone && !batch.is_empty()) {
            break;
        }
        size += next.size;
        batch.extend(queue.pop_front());
        if is_alone {
            break;
        }
    }
    batch
}

fn write_until_closed(
    store: &dyn Store,
    queue: &mut Queue,
    (waiting, failure): (&Waiting, &Mutex<Option<StoreError>>),
) {
    let mut last: Option<Instant> = None;
    let mut slow_logged_at: Option<Instant> = None;
    while queue.wait() {
        let rest = last.map(|last| LEASE_COMMIT_INTERVAL.saturating_sub(last.elapsed()));
        std::thread::sleep(rest.unwrap_or_default());
        let began = Instant::now();
        last = Some(began);
        let (priority, batch) = queue.take(began);
        let counted = batch.iter().map(|pending| pending.counted).sum();
        match priority {
            Priority::Lease => waiting.leases.fetch_sub(counted, Ordering::Relaxed),
            Priority::Background => waiting.background_bytes.fetch_sub(counted, Ordering::Relaxed),
        };
        let (written, waiters) = commit(store, batch);
        if priority == Priority::Lease {
            report(&written, failure);
        }
        for waiter in waiters {
            // A machine that no longer waits is no reason to stop.
            let _ = waiter.send(written.clone());
        }
        if is_slow_news(began.elapsed(), slow_logged_at) {
            slow_logged_at = Some(Instant::now());
        }
    }
}

type Written = Result<Revision, StoreError>;

/// Commits a batch; what came of it, and who waits for that.
fn commit(store: &dyn Store, batch: Vec<Pending>) -> (Written, Vec<oneshot::Sender<Written>>) {
    let (mut preconditions, mut writes, mut waiters) = (Vec::new(), Vec::new(), Vec::new());
    for pending in batch {
        preconditions.extend(pending.preconditions);
        writes.extend((pending.writes)());
        waiters.push(pending.done);
    }
    (store.commit_if(&preconditions, &writes), waiters)
}

/// Says that a commit took too long, now and then; whether it did.
fn is_slow_news(took: Duration, logged_at: Option<Instant>) -> bool {
    let is_news = took > LEASE_COMMIT_SLOW
        && logged_at.is_none_or(|logged_at| logged_at.elapsed() >= LEASE_COMMIT_SLOW_LOG_INTERVAL);
    if is_news {
        tracing::warn!(
            "the disk took {:.1} s for one write of leases, and machines wait that long for a new one; look at what \
             else uses the disk of [state] path",
            took.as_secs_f64()
        );
    }
    is_news
}

/// Says once that the store began to fail and once that it works again: a full disk in a storm
/// must not fill it further with log lines.
fn report(written: &Written, failure: &Mutex<Option<StoreError>>) {
    // That somebody else was faster says nothing of the disk.
    let now = match written {
        Ok(_) | Err(StoreError::Conflict { .. }) => None,
        Err(error) => Some(error.clone()),
    };
    let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
    match (&*failure, &now) {
        (None, Some(error)) => {
            tracing::error!(
                reason = error.fault().name(),
                "no lease can be written: until this is mended no new one is acknowledged, and those that run end when \
                 the disk says: {}",
                error.with_advice()
            );
        }
        (Some(_), None) => tracing::info!("leases can be written again"),
        (Some(_), Some(_)) | (None, None) => {}
    }
    *failure = now;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Expected, KeyValue, StorePage, Watch};

    /// Commits wait until the test lets one go, with the result it is to have.
    struct Gated {
        results: Mutex<Receiver<Result<Revision, StoreError>>>,
        commits: Sender<(usize, Vec<Write>)>,
    }

    impl Store for Gated {
        fn scan_at(&self, _: &[u8]) -> Result<(Revision, Vec<KeyValue>), StoreError> {
            Ok((Revision(0), Vec::new()))
        }

        fn page(&self, _: &[u8], _: Option<Vec<u8>>) -> Result<StorePage, StoreError> {
            Ok(StorePage::default())
        }

        fn get(&self, _: &[u8]) -> Result<Option<(Vec<u8>, Revision)>, StoreError> {
            Ok(None)
        }

        fn commit_if(&self, preconditions: &[Precondition], writes: &[Write]) -> Result<Revision, StoreError> {
            self.commits.send((preconditions.len(), writes.to_vec())).unwrap();
            self.results.lock().unwrap().recv().unwrap()
        }

        fn watch(&self, _: &[u8]) -> Watch {
            panic!("a writer watches nothing")
        }
    }

    /// A writer, what lets its commits go, and what they carry.
    struct Bench {
        writer: StoreWriter,
        go: Sender<Result<Revision, StoreError>>,
        commits: Receiver<(usize, Vec<Write>)>,
    }

    impl Bench {
        fn new() -> Bench {
            let (go, results) = channel();
            let (commits, seen) = channel();
            let results = Mutex::new(results);
            Bench {
                writer: StoreWriter::start(Arc::new(Gated { results, commits })).unwrap(),
                go,
                commits: seen,
            }
        }

        fn lease(&self) -> Committing {
            self.writer.leases(1, || vec![delete(b"lease/")]).unwrap()
        }

        fn let_go(&self, commits: usize) {
            for _ in 0..commits {
                self.go.send(Ok(Revision(7))).unwrap();
            }
        }

        /// How many writes the next commit carries.
        fn size(&self) -> usize {
            self.commits.recv().unwrap().1.len()
        }
    }

    fn delete(key: &[u8]) -> Write {
        Write::Delete { key: key.to_vec() }
    }

    fn full() -> StoreError {
        StoreError::of_io("the journal", std::io::ErrorKind::StorageFull.into())
    }

    #[test]
    fn changes_that_come_during_a_commit_share_the_next_one() {
        let bench = Bench::new();
        let first = bench.lease();
        assert_eq!(bench.size(), 1);
        let rest: Vec<_> = (0..100).map(|_| bench.lease()).collect();
        bench.let_go(2);
        assert!(matches!(first.wait(), Ok(Revision(7))));
        assert_eq!(bench.size(), 100);
        for durable in rest {
            assert!(durable.wait().is_ok());
        }
    }

    #[test]
    fn a_failed_commit_fails_its_own_changes_and_no_later_ones() {
        let bench = Bench::new();
        bench.go.send(Err(full())).unwrap();
        assert!(matches!(bench.lease().wait(), Err(StoreError::Full(_))));
        assert!(matches!(bench.writer.failure(), Some(StoreError::Full(_))));
        bench.let_go(1);
        assert!(bench.lease().wait().is_ok());
        assert!(bench.writer.failure().is_none());
    }

    #[test]
    fn leases_go_before_what_waited_longer_in_the_background() {
        let bench = Bench::new();
        let first = bench.lease();
        assert_eq!(bench.size(), 1);
        let background = bench.writer.background(vec![delete(b"checksum/1")]).unwrap();
        let lease = bench.lease();
        bench.let_go(3);
        assert_eq!(bench.commits.recv().unwrap().1, [delete(b"lease/")]);
        assert_eq!(bench.commits.recv().unwrap().1, [delete(b"checksum/1")]);
        for durable in [first, background, lease] {
            assert!(durable.wait().is_ok());
        }
    }

    #[test]
    fn what_is_in_the_background_has_its_turn_though_leases_always_wait() {
        let (send, channel) = channel();
        let mut queue = Queue::new(channel);
        let put = |priority| {
            let (done, _) = oneshot::channel();
            let pending = Pending {
                priority,
                size: 1,
                counted: 1,
                preconditions: Vec::new(),
                writes: Box::new(Vec::new),
                done,
            };
            send.send(pending).unwrap();
        };
        let start = Instant::now();
        let mut turns = Vec::new();
        for step in 0..8 {
            put(Priority::Lease);
            put(Priority::Background);
            turns.push(queue.take(start + STORE_BACKGROUND_WAIT / 4 * step).0);
        }
        let due: Vec<usize> = (0..8).filter(|step| turns[*step] == Priority::Background).collect();
        assert_eq!(due, [4], "and then the leases go on");
    }

    #[test]
    fn a_commit_of_what_nobody_waits_for_is_short() {
        let bench = Bench::new();
        let first = bench.lease();
        assert_eq!(bench.size(), 1);
        let value = vec![7; STORE_BACKGROUND_BYTES_PER_COMMIT / 4];
        let large = || Write::Put {
            key: b"attempt/1".to_vec(),
            value: value.clone(),
        };
        let rest: Vec<_> = (0..6)
            .map(|_| bench.writer.background(vec![large()]).unwrap())
            .collect();
        bench.let_go(3);
        assert_eq!((bench.size(), bench.size()), (4, 2));
        for durable in rest.into_iter().chain([first]) {
            assert!(durable.wait().is_ok());
        }
    }

    #[test]
    fn what_has_a_precondition_is_a_commit_of_its_own_in_its_place() {
        let bench = Bench::new();
        let first = bench.lease();
        assert_eq!(bench.size(), 1);
        let before = bench.lease();
        let absent = Precondition {
            key: b"arm/7".to_vec(),
            expected: Expected::Absent,
        };
        let conditional = bench.writer.if_holds(vec![absent], vec![delete(b"arm/7")]).unwrap();
        let behind = bench.lease();
        bench.let_go(2);
        bench
            .go
            .send(Err(StoreError::Conflict { key: b"arm/7".to_vec() }))
            .unwrap();
        bench.let_go(1);
        let sizes: Vec<(usize, usize)> = (0..3)
            .map(|_| bench.commits.recv().unwrap())
            .map(|(preconditions, writes)| (preconditions, writes.len()))
            .collect();
        assert_eq!(sizes, [(0, 1), (1, 1), (0, 1)]);
        assert!(matches!(conditional.wait(), Err(StoreError::Conflict { key }) if key == b"arm/7"));
        for durable in [first, before, behind] {
            assert!(durable.wait().is_ok());
        }
        assert!(bench.writer.failure().is_none(), "the disk took what it was given");
    }

    #[test]
    fn a_slow_commit_is_logged_and_not_again_at_once() {
        assert!(!is_slow_news(LEASE_COMMIT_SLOW, None));
        assert!(is_slow_news(LEASE_COMMIT_SLOW * 2, None));
        assert!(!is_slow_news(LEASE_COMMIT_SLOW * 2, Some(Instant::now())));
    }

    #[test]
    fn the_ends_that_are_written_anew_take_no_other_leases_place() {
        let bench = Bench::new();
        let first = bench.lease();
        assert_eq!(bench.size(), 1);
        let all = || vec![delete(b"lease/"); LEASE_QUEUE_MAX];
        let redated = bench.writer.leases_whatever_waits(LEASE_QUEUE_MAX, all).unwrap();
        let next = bench.lease();
        bench.let_go(3);
        assert!(first.wait().is_ok());
        assert_eq!(bench.size(), LEASE_QUEUE_MAX, "in one commit");
        assert!(redated.wait().is_ok() && next.wait().is_ok());
    }

    #[test]
    fn a_full_queue_refuses_at_once() {
        let bench = Bench::new();
        let _under_way = bench.lease();
        assert_eq!(bench.size(), 1);
        let waiting: Vec<_> = (0..LEASE_QUEUE_MAX).map(|_| bench.lease()).collect();
        let refused = bench.writer.leases(1, Vec::new);
        assert!(matches!(refused, Err(StoreError::Unavailable(_))));
        let large = || Write::Put {
            key: Vec::new(),
            value: vec![7; STORE_BACKGROUND_BYTES_MAX],
        };
        let background = bench.writer.background(vec![large()]).unwrap();
        assert!(bench.writer.background(vec![large()]).is_err());
        bench.let_go(2 + LEASE_QUEUE_MAX.div_ceil(LEASES_PER_COMMIT_MAX));
        assert!(waiting.into_iter().all(|durable| durable.wait().is_ok()));
        assert!(background.wait().is_ok());
        bench.let_go(1);
        assert!(bench.lease().wait().is_ok(), "there is room again");
    }
}
