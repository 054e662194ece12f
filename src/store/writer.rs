//! The thread that makes lease changes durable, many to a commit.
//!
//! A commit waits for the disk, whatever it carries; so while one is under way the next changes
//! gather, and all of them share the following one. Commits keep a distance: one costs as much CPU as
//! several exchanges, and no client notices some milliseconds.

use super::{Store, StoreError, Write, calendar, leases, lost, ports};
use crate::lease::{ClockMark, LeaseChange, LeaseRecord, PortChange, PortRecord};
use crate::model::WallTime;
use crate::model::limits::{
    LEASE_COMMIT_INTERVAL, LEASE_COMMIT_SLOW, LEASE_COMMIT_SLOW_LOG_INTERVAL, LEASE_QUEUE_MAX, LEASES_PER_COMMIT_MAX,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Takes lease changes and says when each is on disk. Dropping it writes what still waits.
pub struct LeaseWriter {
    queue: Option<Sender<Pending>>,
    /// Changes in the queue.
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
    healthy: Arc<AtomicBool>,
}

/// Changes that were handed over together.
struct Pending {
    changes: Vec<LeaseChange>,
    ports: Vec<PortChange>,
    /// What date it is by them.
    mark: Option<ClockMark>,
    /// When it was found by that date that some were lost.
    lost: Option<WallTime>,
    done: oneshot::Sender<Result<(), String>>,
}

impl Pending {
    fn writes(&self) -> impl Iterator<Item = Write> + '_ {
        let changes = self.changes.iter().map(leases::write);
        let stands = self.ports.iter().map(ports::write);
        let lost = self.lost.map(|date| lost::put(lost::LossRecord::At(date)));
        changes
            .chain(stands)
            .chain(self.mark.as_ref().map(calendar::put))
            .chain(lost)
    }

    fn size(&self) -> usize {
        self.changes.len() + self.ports.len()
    }

    /// How many of them count as waiting. Those of a date do not: there is one such at a time, and no machine
    /// is refused a lease for it.
    fn counted(&self) -> usize {
        match self.mark {
            Some(_) => 0,
            None => self.size(),
        }
    }
}

impl LeaseWriter {
    /// Starts the thread that writes to `store`.
    ///
    /// # Errors
    ///
    /// The system refuses another thread.
    pub fn start(store: Arc<dyn Store>) -> Result<LeaseWriter, StoreError> {
        let (queue, pending) = channel();
        let waiting = Arc::<AtomicUsize>::default();
        let healthy = Arc::new(AtomicBool::new(true));
        let thread = std::thread::Builder::new()
            .name("lease-writer".to_owned())
            .spawn({
                let (waiting, healthy) = (Arc::clone(&waiting), Arc::clone(&healthy));
                move || write_until_closed(&*store, &pending, (&*waiting, &*healthy))
            })
            .map_err(|error| StoreError(format!("no thread for the lease writer: {error}")))?;
        Ok(LeaseWriter {
            queue: Some(queue),
            waiting,
            thread: Some(thread),
            healthy,
        })
    }

    /// Hands over changes, all or none; the future ends when they are durable, or with the reason why
    /// they are not. Changes become durable in the order of the calls, whether or not the futures are
    /// awaited.
    ///
    /// # Errors
    ///
    /// [`LEASE_QUEUE_MAX`] changes wait already, or the writer has ended.
    pub fn append(
        &self,
        changes: Vec<LeaseChange>,
    ) -> Result<impl Future<Output = Result<(), String>> + Send + use<>, String> {
        self.append_all(changes, Vec::new())
    }

    /// The same for the switch ports at which addresses were given.
    ///
    /// # Errors
    ///
    /// Those of [`LeaseWriter::append`].
    pub fn keep(
        &self,
        ports: Vec<PortChange>,
    ) -> Result<impl Future<Output = Result<(), String>> + Send + use<>, String> {
        self.append_all(Vec::new(), ports)
    }

    fn append_all(
        &self,
        changes: Vec<LeaseChange>,
        ports: Vec<PortChange>,
    ) -> Result<impl Future<Output = Result<(), String>> + Send + use<>, String> {
        let count = changes.len() + ports.len();
        if self.waiting.fetch_add(count, Ordering::Relaxed) + count > LEASE_QUEUE_MAX {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            return Err(format!("{LEASE_QUEUE_MAX} lease changes wait for the disk already"));
        }
        self.send((changes, ports), (None, None))
    }

    /// Hands over the date by the calendar of all that is on disk, with those leases and switch ports whose ends
    /// were written by another one, and with when it was found that leases were lost: all of it in one commit.
    /// However many wait, it is taken: without it a restart would end these leases. Whoever calls hands over no
    /// others before it is known what became of them.
    ///
    /// # Errors
    ///
    /// The writer has ended.
    pub fn redate(
        &self,
        mark: ClockMark,
        (records, ports): (Vec<LeaseRecord>, Vec<PortRecord>),
        lost: Option<WallTime>,
    ) -> Result<impl Future<Output = Result<(), String>> + Send + use<>, String> {
        let changes = records.into_iter().map(LeaseChange::Put).collect();
        let ports = ports.into_iter().map(PortChange::Put).collect();
        self.send((changes, ports), (Some(mark), lost))
    }

    fn send(
        &self,
        (changes, ports): (Vec<LeaseChange>, Vec<PortChange>),
        (mark, lost): (Option<ClockMark>, Option<WallTime>),
    ) -> Result<impl Future<Output = Result<(), String>> + Send + use<>, String> {
        let ended = || "the lease writer has ended".to_owned();
        let (done, durable) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(ended)?;
        let pending = Pending {
            changes,
            ports,
            mark,
            lost,
            done,
        };
        queue.send(pending).map_err(|_| ended())?;
        Ok(async move {
            durable
                .await
                .unwrap_or_else(|_| Err("the lease writer ended before the change was on disk".to_owned()))
        })
    }

    /// Whether the last commit reached the disk.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }
}

impl Drop for LeaseWriter {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // It ends when the queue is empty; a panic there was reported where it happened.
            let _ = thread.join();
        }
    }
}

fn write_until_closed(store: &dyn Store, queue: &Receiver<Pending>, (waiting, healthy): (&AtomicUsize, &AtomicBool)) {
    let mut last: Option<Instant> = None;
    let mut slow_said: Option<Instant> = None;
    while let Ok(first) = queue.recv() {
        let rest = last.map(|last| LEASE_COMMIT_INTERVAL.saturating_sub(last.elapsed()));
        std::thread::sleep(rest.unwrap_or_default());
        let began = Instant::now();
        last = Some(began);
        let batch = gather(first, queue);
        let count = batch.iter().map(Pending::counted).sum();
        waiting.fetch_sub(count, Ordering::Relaxed);
        let writes: Vec<Write> = batch.iter().flat_map(Pending::writes).collect();
        let written = store.commit(&writes);
        report(&written, healthy);
        if is_slow_news(began.elapsed(), slow_said) {
            slow_said = Some(Instant::now());
        }
        for pending in batch {
            // A machine that no longer waits is no reason to stop.
            let _ = pending.done.send(written.clone().map_err(|error| error.0));
        }
    }
}

/// The changes of one commit: `first`, and what waits behind it until there are enough.
fn gather(first: Pending, queue: &Receiver<Pending>) -> Vec<Pending> {
    let mut count = first.size();
    let mut batch = vec![first];
    while count < LEASES_PER_COMMIT_MAX {
        let Ok(next) = queue.try_recv() else { break };
        count += next.size();
        batch.push(next);
    }
    batch
}

/// Says that a commit took too long, now and then; whether it did.
fn is_slow_news(took: Duration, said: Option<Instant>) -> bool {
    let is_news = took > LEASE_COMMIT_SLOW && said.is_none_or(|said| said.elapsed() >= LEASE_COMMIT_SLOW_LOG_INTERVAL);
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
fn report(written: &Result<(), StoreError>, healthy: &AtomicBool) {
    let was_healthy = healthy.swap(written.is_ok(), Ordering::Relaxed);
    match written {
        Err(error) if was_healthy => {
            tracing::error!(
                "no lease can be written: until this is mended no new one is acknowledged, and those that run end when \
                 the disk says: {error}"
            );
        }
        Ok(()) if !was_healthy => tracing::info!("leases can be written again"),
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::PortId;
    use crate::model::MacAddr;
    use crate::store::KeyValue;
    use std::{
        net::Ipv4Addr,
        sync::{Mutex, mpsc},
    };

    /// Commits wait until the test lets one go, with the result it is to have.
    struct Gated {
        results: Mutex<mpsc::Receiver<Result<(), StoreError>>>,
        sizes: mpsc::Sender<usize>,
    }

    impl Store for Gated {
        fn scan(&self, _: &[u8]) -> Result<Vec<KeyValue>, StoreError> {
            Ok(Vec::new())
        }

        fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
            self.sizes.send(writes.len()).unwrap();
            self.results.lock().unwrap().recv().unwrap()
        }
    }

    fn gated() -> (LeaseWriter, mpsc::Sender<Result<(), StoreError>>, mpsc::Receiver<usize>) {
        let (go, results) = mpsc::channel();
        let (sizes, seen) = mpsc::channel();
        let results = Mutex::new(results);
        (
            LeaseWriter::start(Arc::new(Gated { results, sizes })).unwrap(),
            go,
            seen,
        )
    }

    fn append(writer: &LeaseWriter) -> impl Future<Output = Result<(), String>> + use<> {
        let change = LeaseChange::Remove(Ipv4Addr::new(192, 0, 2, 7));
        writer.append(vec![change]).unwrap()
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn changes_that_come_during_a_commit_share_the_next_one() {
        let (writer, go, sizes) = gated();
        let first = append(&writer);
        assert_eq!(sizes.recv(), Ok(1));
        let rest: Vec<_> = (0..100).map(|_| append(&writer)).collect();
        go.send(Ok(())).unwrap();
        assert_eq!(wait(first), Ok(()));
        assert_eq!(sizes.recv(), Ok(100));
        go.send(Ok(())).unwrap();
        for durable in rest {
            assert_eq!(wait(durable), Ok(()));
        }
    }

    #[test]
    fn a_failed_commit_fails_its_own_changes_and_no_later_ones() {
        let (writer, go, _sizes) = gated();
        go.send(Err(StoreError("disk full".to_owned()))).unwrap();
        assert_eq!(wait(append(&writer)), Err("disk full".to_owned()));
        assert!(!writer.is_healthy());
        go.send(Ok(())).unwrap();
        assert_eq!(wait(append(&writer)), Ok(()));
        assert!(writer.is_healthy());
    }

    #[test]
    fn the_date_and_all_that_is_dated_by_it_are_one_commit() {
        let (writer, go, sizes) = gated();
        let address = Ipv4Addr::new(192, 0, 2, 7);
        let (client, expires) = (MacAddr([2, 0, 0, 0, 0, 1]).into(), WallTime(1_800_000_000));
        let lease = LeaseRecord {
            address,
            client,
            expires,
        };
        let stand = PortRecord {
            address,
            client,
            port: PortId(7),
            expires,
        };
        let mark = ClockMark {
            date: expires,
            boot: None,
            up: Duration::ZERO,
        };
        let durable = writer.redate(mark, (vec![lease], vec![stand]), None).unwrap();
        assert_eq!(sizes.recv(), Ok(3));
        go.send(Ok(())).unwrap();
        assert_eq!(wait(durable), Ok(()));
    }

    #[test]
    fn a_slow_commit_is_said_and_not_again_at_once() {
        assert!(!is_slow_news(LEASE_COMMIT_SLOW, None));
        assert!(is_slow_news(LEASE_COMMIT_SLOW * 2, None));
        assert!(!is_slow_news(LEASE_COMMIT_SLOW * 2, Some(Instant::now())));
    }

    #[test]
    fn the_ends_that_are_written_anew_take_no_other_leases_place() {
        let (writer, go, sizes) = gated();
        let first = append(&writer);
        assert_eq!(sizes.recv(), Ok(1));
        let record = LeaseRecord {
            address: Ipv4Addr::new(192, 0, 2, 7),
            client: crate::model::MacAddr([2, 0, 0, 0, 0, 7]).into(),
            expires: crate::model::WallTime(1_700_000_000),
        };
        let mark = ClockMark {
            date: record.expires,
            boot: None,
            up: Duration::ZERO,
        };
        let redated = writer
            .redate(mark, (vec![record; LEASE_QUEUE_MAX], Vec::new()), None)
            .unwrap();
        let next = append(&writer);
        for _ in 0..3 {
            go.send(Ok(())).unwrap();
        }
        assert_eq!(wait(first), Ok(()));
        assert_eq!(sizes.recv(), Ok(LEASE_QUEUE_MAX + 1), "with its date");
        assert_eq!((wait(redated), wait(next)), (Ok(()), Ok(())));
    }

    #[test]
    fn a_full_queue_refuses_at_once() {
        let (writer, go, sizes) = gated();
        let _under_way = append(&writer);
        assert_eq!(sizes.recv(), Ok(1));
        let _waiting: Vec<_> = (0..LEASE_QUEUE_MAX).map(|_| append(&writer)).collect();
        let change = LeaseChange::Remove(Ipv4Addr::new(192, 0, 2, 7));
        let refused = writer.append(vec![change]).err().unwrap();
        assert!(refused.contains("wait for the disk"), "{refused}");
        for _ in 0..=LEASE_QUEUE_MAX.div_ceil(LEASES_PER_COMMIT_MAX) {
            go.send(Ok(())).unwrap();
        }
    }
}
