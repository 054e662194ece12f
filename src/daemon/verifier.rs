//! Verifies artifacts in the background: what is new before it is served, everything again now and then.
//!
//! One thread, behind everything else in its claim to the processor and the disk, reads what the
//! ledger wants and enters what it finds. It reads a piece at a time and looks up between two, so
//! that a new kernel goes before the rest of a disk image. What it found is kept in the store; a
//! restart reads only what changed since.

use super::artifacts;
use crate::admin::answer::counted;
use crate::boot::{
    ledger::{ChecksumRecord, Finding, Standing, Wanted, Why},
    snapshot::{FileStamp, Snapshot},
};
use crate::images::{
    checksum,
    reading::{From, Reading},
};
use crate::model::limits::{
    VERIFY_AGAIN_BYTES_PER_S, VERIFY_LOOK, VERIFY_PIECE_BYTES, VERIFY_REMINDER, VERIFY_SETTLED, VERIFY_STOP,
};
use crate::net::{Counter, Shared};
use crate::store::{Store, StoreError, Write, checksums};
use nix::errno::Errno;
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Behind everything else, and still a tenth of a processor that everything else wants: machines may
/// be waiting. A disk's scheduler goes by it too.
const NICE: i32 = 10;

/// The thread that verifies, as others see it. It ends with the process, or at [`Verifier::stop`].
pub(super) struct Verifier {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    orders: Mutex<Orders>,
    ordered: Condvar,
    /// Says nothing, and is closed once the thread has let go of everything.
    running: Mutex<Receiver<()>>,
}

/// What the thread is told.
struct Orders {
    /// How often everything is read again; `None` is never.
    recheck: Option<Duration>,
    /// There is a new generation to look at.
    look: bool,
    stop: bool,
}

/// Files that were begun and had to wait for something more urgent.
type Begun = HashMap<PathBuf, Reading>;

impl Verifier {
    /// Takes what was kept over the restart, and starts the thread.
    ///
    /// # Errors
    ///
    /// The system refuses another thread.
    pub(super) fn start(
        shared: Arc<Shared>,
        store: Arc<dyn Store>,
        recheck: Option<Duration>,
    ) -> Result<Arc<Verifier>, StoreError> {
        let (alive, running) = channel::<()>();
        let verifier = Arc::new(Verifier {
            shared,
            store,
            running: Mutex::new(running),
            orders: Mutex::new(Orders {
                recheck,
                look: true,
                stop: false,
            }),
            ordered: Condvar::new(),
        });
        verifier.remember();
        let thread = Arc::clone(&verifier);
        std::thread::Builder::new()
            .name("verifier".to_owned())
            .spawn(move || {
                thread.run();
                drop(thread);
                drop(alive);
            })
            .map_err(|error| StoreError(format!("no thread to verify images: {error}")))?;
        Ok(verifier)
    }

    /// Looks at the generation that is in force now.
    pub(super) fn look(&self, recheck: Option<Duration>) {
        let mut orders = self.orders();
        orders.recheck = recheck;
        orders.look = true;
        self.ordered.notify_all();
    }

    /// Ends the thread after the piece it is at, so that the store can be closed. A disk that hangs does
    /// not hold up the end of the process: it is waited for, but not for long.
    pub(super) fn stop(&self) {
        self.orders().stop = true;
        self.ordered.notify_all();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.recv_timeout(VERIFY_STOP) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("an image is still being read, and its disk does not answer; it is not waited for");
        }
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the kept checksums into the ledger. What can't be read is read from the files again.
    fn remember(&self) {
        match checksums::load(&*self.store) {
            Ok((records, unreadable)) => {
                if unreadable > 0 {
                    tracing::warn!(
                        "{} on disk can't be read; their files are verified again",
                        counted(unreadable, "checksum")
                    );
                }
                self.shared.ledger().restore(self.shared.clock.now(), records);
            }
            Err(error) => tracing::warn!("every image is verified again: {error}"),
        }
    }

    fn run(&self) {
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!("images are verified at the priority of everything else: {error}");
        }
        let mut begun = Begun::new();
        let mut snapshot = self.shared.snapshot.load_full();
        loop {
            let (look, recheck) = {
                let mut orders = self.orders();
                if orders.stop {
                    return;
                }
                (std::mem::take(&mut orders.look), orders.recheck)
            };
            if look {
                snapshot = self.shared.snapshot.load_full();
                self.begin(&snapshot, &mut begun);
            }
            let wanted = {
                let now = self.shared.clock.now();
                self.shared.ledger().wanted(now, &snapshot.images, recheck)
            };
            match wanted {
                Some(wanted) => self.read(wanted, &mut begun),
                None => self.rest(recheck.map_or(VERIFY_LOOK, |recheck| recheck.min(VERIFY_LOOK))),
            }
        }
    }

    /// A new generation: what is no longer in it is forgotten, and what is new is said.
    fn begin(&self, snapshot: &Snapshot, begun: &mut Begun) {
        let gone = self.shared.ledger().forget_others(&snapshot.images);
        let current = artifacts::all(snapshot).map(|(image, artifact)| (image.path(artifact), artifact.stamp));
        let current: HashMap<PathBuf, FileStamp> = current.collect();
        begun.retain(|path, reading| current.get(path) == Some(&reading.stamp()));
        let forgotten: Vec<Write> = gone.iter().map(|path| checksums::forget(path)).collect();
        if !forgotten.is_empty() {
            self.keep(&forgotten);
        }
        let unserved = artifacts::known(snapshot, &self.shared.ledger()).unserved;
        let new = unserved.iter().filter(|one| one.problem.is_none());
        let (files, bytes) = new.fold((0, 0), |(files, bytes), one| (files + 1, bytes + one.bytes));
        if files > 0 {
            tracing::info!(
                "{}, {bytes} bytes, new or changed: verified first, and served then",
                counted(files, "artifact")
            );
        }
    }

    /// Reads a file until it is known, or until there is something else to look at.
    fn read(&self, wanted: Wanted<'_>, begun: &mut Begun) {
        let (path, stamp) = (wanted.image.path(wanted.artifact), wanted.artifact.stamp);
        let resumed = begun.remove(&path).filter(|reading| reading.stamp() == stamp);
        let mut reading = match resumed.map_or_else(|| open(&path, stamp, wanted.why), Ok) {
            Ok(reading) => reading,
            Err(error) => return self.failed(wanted, &path, &error),
        };
        let mut said = Instant::now();
        loop {
            let (began, before) = (Instant::now(), reading.done());
            let stepped = reading.step();
            let count = reading.done() - before;
            self.shared.counters.add(Counter::ImagesBytesRead, count);
            match stepped {
                Ok(None) => {}
                Ok(Some(sum)) => return self.found(wanted, &path, Finding::Sum(sum)),
                Err(error) => return self.failed(wanted, &path, &error),
            }
            match wanted.why {
                Why::New => {
                    self.shared.ledger().read_so_far(&path, stamp, reading.done());
                    if said.elapsed() >= VERIFY_REMINDER {
                        said = Instant::now();
                        tracing::info!(
                            "{} is being verified, {} of {} bytes",
                            name(wanted),
                            reading.done(),
                            stamp.length
                        );
                    }
                }
                Why::Again => self.rest(time_for(count).saturating_sub(began.elapsed())),
            }
            if self.has_orders() {
                begun.insert(path, reading);
                return;
            }
        }
    }

    /// A file that can't be read is not served; one that this process has no means to read just now
    /// is no worse for it.
    fn failed(&self, wanted: Wanted<'_>, path: &Path, error: &io::Error) {
        let is_passing = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::EINTR]
            .iter()
            .any(|passing| error.raw_os_error() == Some(*passing as i32));
        if is_passing {
            tracing::debug!("{} can't be read just now: {error}", name(wanted));
            return self.rest(VERIFY_LOOK);
        }
        self.found(wanted, path, Finding::Unreadable(error.to_string()));
    }

    /// Enters what a file came to, says it and keeps it.
    fn found(&self, wanted: Wanted<'_>, path: &Path, finding: Finding) {
        let Wanted { image, artifact, why } = wanted;
        let finding = match finding {
            Finding::Unreadable(_) if is_another(wanted) => Finding::Another,
            other => other,
        };
        let now = self.shared.clock.now();
        let (before, after) = {
            let mut ledger = self.shared.ledger();
            let before = ledger.standing(image, artifact);
            ledger.enter(now, path, artifact.stamp, finding.clone());
            (before, ledger.standing(image, artifact))
        };
        self.shared.verified.notify_waiters();
        if let Finding::Sum(sha256) = finding {
            self.shared.counters.count(Counter::ImagesRead);
            let record = ChecksumRecord {
                path: path.to_owned(),
                stamp: artifact.stamp,
                sha256,
                at: now.wall,
            };
            self.keep(&checksums::put(&record).into_iter().collect::<Vec<Write>>());
        }
        let Some(problem) = artifacts::problem(image, artifact, &after) else {
            if let Standing::Unread { .. } = after {
                return tracing::info!(
                    "{} changed while it was read; the next reload begins anew",
                    name(wanted)
                );
            }
            match (why, before) {
                (Why::New, _) => tracing::info!("{} is verified, {} bytes", name(wanted), artifact.stamp.length),
                (Why::Again, Standing::Sound { .. }) => tracing::debug!("{} is verified again", name(wanted)),
                (Why::Again, _) => tracing::warn!("{} reads as it should again, and is served", name(wanted)),
            }
            return;
        };
        if is_another(wanted) {
            return tracing::info!(
                "{} changed while it was read; the next reload begins anew",
                name(wanted)
            );
        }
        self.shared.counters.count(Counter::ImagesWrong);
        tracing::error!("{} is not served: {problem}", name(wanted));
        if let (Standing::Sound { .. }, Standing::Wrong { .. }) = (before, after) {
            tracing::error!(
                "{} was right when it was read last, and nobody wrote to it since: its disk or this machine's memory \
                 fails; see `dmesg` and `smartctl -a`, and put the file there again",
                name(wanted)
            );
        }
    }

    fn keep(&self, writes: &[Write]) {
        if let Err(error) = self.store.commit(writes) {
            tracing::warn!("what was verified is not kept and is verified again after a restart: {error}");
        }
    }

    fn has_orders(&self) -> bool {
        let orders = self.orders();
        orders.look || orders.stop
    }

    /// Waits, but not longer than until there are orders.
    fn rest(&self, time: Duration) {
        let orders = self.orders();
        let idle = |orders: &mut Orders| !orders.look && !orders.stop;
        // How the wait ended is seen in the orders.
        drop(self.ordered.wait_timeout_while(orders, time, idle));
    }
}

fn open(path: &Path, stamp: FileStamp, why: Why) -> io::Result<Reading> {
    let from = match why {
        Why::New => From::Memory,
        Why::Again => From::Disk,
    };
    std::thread::sleep(unsettled(stamp));
    Reading::open(path, stamp, from)
}

/// How long until the last change of a file is long enough ago. A change in the future is a clock's that
/// was put back, and is not waited for.
fn unsettled(stamp: FileStamp) -> Duration {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age_ns = i128::try_from(since_1970.as_nanos()).unwrap_or(i128::MAX) - stamp.changed_ns;
    match u64::try_from(age_ns) {
        Ok(age_ns) => VERIFY_SETTLED.saturating_sub(Duration::from_nanos(age_ns)),
        Err(_) => Duration::ZERO,
    }
}

/// How long the reading of so many bytes of a known file is to take.
fn time_for(bytes: u64) -> Duration {
    const { assert!(VERIFY_AGAIN_BYTES_PER_S >= VERIFY_PIECE_BYTES as u64) };
    Duration::from_secs_f64(bytes as f64 / VERIFY_AGAIN_BYTES_PER_S as f64)
}

/// Whether there is another file by now than the one the inventory was read with.
fn is_another(wanted: Wanted<'_>) -> bool {
    let Wanted { image, artifact, .. } = wanted;
    checksum::regular_beneath(&image.root, &artifact.file).is_ok_and(|there| there != artifact.stamp)
}

fn name(wanted: Wanted<'_>) -> String {
    format!("image {}/{}", wanted.image.name, wanted.artifact.file)
}
