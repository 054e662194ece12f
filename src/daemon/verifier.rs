//! Verifies artifacts in the background: what is new before it is served, everything again now and then.
//!
//! One thread of lowest priority for processor and disk reads the files that `boot::verification` asks for, and records
//! the results. It reads a piece at a time and looks up between two, so
//! that a new kernel goes before the rest of a disk image. What it found is kept in the store; a
//! restart reads only what changed since.

use super::artifacts;
use crate::boot::{
    snapshot::{FileStamp, Snapshot},
    verification::{ChecksumRecord, HashResult, NextRead, ReadReason, VerificationState},
};
use crate::images::{
    checksum,
    reading::{HashingReader, ReadVia},
};
use crate::model::{
    limits::{
        RECHECK_BYTES_PER_S, VERIFY_DEBOUNCE, VERIFY_LOG_INTERVAL, VERIFY_PIECE_BYTES, VERIFY_POLL_INTERVAL,
        VERIFY_STOP_TIMEOUT,
    },
    text::counted,
};
use crate::state::{Counter, Shared};
use crate::store::{
    Store, StoreError, Write,
    records::checksums,
    writer::{Committing, StoreWriter},
};
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
    writer: Arc<StoreWriter>,
    requests: Mutex<VerifierRequests>,
    ordered: Condvar,
    /// Says nothing, and is closed once the thread has let go of everything.
    running: Mutex<Receiver<()>>,
}

/// What the thread is told.
struct VerifierRequests {
    /// How often everything is read again; `None` is never.
    recheck: Option<Duration>,
    /// There is a new generation to look at.
    look: bool,
    /// Bytes of an artifact were read that are not its own.
    is_doubted: bool,
    stop: bool,
}

/// Files that were begun and had to wait for something more urgent.
type PausedReads = HashMap<PathBuf, HashingReader>;

impl Verifier {
    /// Takes what was kept over the restart, and starts the thread.
    ///
    /// # Errors
    ///
    /// The system refuses another thread.
    pub(super) fn start(
        shared: Arc<Shared>,
        (store, writer): (&dyn Store, Arc<StoreWriter>),
        recheck: Option<Duration>,
    ) -> Result<Arc<Verifier>, StoreError> {
        let (alive, running) = channel::<()>();
        let verifier = Arc::new(Verifier {
            shared,
            writer,
            running: Mutex::new(running),
            requests: Mutex::new(VerifierRequests {
                recheck,
                look: true,
                is_doubted: false,
                stop: false,
            }),
            ordered: Condvar::new(),
        });
        verifier.remember(store);
        let doubter = Arc::downgrade(&verifier);
        verifier.shared.when_doubted(move || {
            if let Some(verifier) = doubter.upgrade() {
                verifier.requests().is_doubted = true;
                verifier.ordered.notify_all();
            }
        });
        let thread = Arc::clone(&verifier);
        std::thread::Builder::new()
            .name("verifier".to_owned())
            .spawn(move || {
                thread.run();
                drop(thread);
                drop(alive);
            })
            .map_err(|error| StoreError::of_io("no thread to verify images", error))?;
        Ok(verifier)
    }

    /// Looks at the generation that is in force now.
    pub(super) fn look(&self, recheck: Option<Duration>) {
        let mut requests = self.requests();
        requests.recheck = recheck;
        requests.look = true;
        self.ordered.notify_all();
    }

    /// Ends the thread after the piece it is at, so that the store can be closed. A disk that hangs does
    /// not hold up the end of the process: it is waited for, but not for long.
    pub(super) fn stop(&self) {
        self.requests().stop = true;
        self.ordered.notify_all();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.recv_timeout(VERIFY_STOP_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("an image is still being read, and its disk does not answer; it is not waited for");
        }
    }

    fn requests(&self) -> MutexGuard<'_, VerifierRequests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the kept checksums into the ledger. What can't be read is read from the files again.
    fn remember(&self, store: &dyn Store) {
        match checksums::load(store) {
            Ok((records, unreadable)) => {
                if unreadable > 0 {
                    tracing::warn!(
                        "{} on disk can't be read; their files are verified again",
                        counted(unreadable, "checksum")
                    );
                }
                let known = (self.shared.clock.now(), records);
                self.shared
                    .verification(known, |verification, (now, records)| verification.restore(now, records));
            }
            Err(error) => tracing::warn!("every image is verified again: {error}"),
        }
    }

    fn run(&self) {
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!("images are verified at the priority of everything else: {error}");
        }
        let mut begun = PausedReads::new();
        let mut snapshot = self.shared.snapshot.load_full();
        loop {
            let (look, recheck) = {
                let mut requests = self.requests();
                if requests.stop {
                    return;
                }
                requests.is_doubted = false;
                (std::mem::take(&mut requests.look), requests.recheck)
            };
            if look {
                snapshot = self.shared.snapshot.load_full();
                self.begin(&snapshot, &mut begun);
            }
            let next_to_read = {
                let now = self.shared.clock.now();
                let asked = (now, &snapshot.images, recheck);
                self.shared.verification(asked, |verification, (now, images, recheck)| {
                    verification.next_to_read(now, images, recheck)
                })
            };
            match next_to_read {
                Some(next_to_read) => self.read(next_to_read, &mut begun),
                None => self.rest(recheck.map_or(VERIFY_POLL_INTERVAL, |recheck| recheck.min(VERIFY_POLL_INTERVAL))),
            }
        }
    }

    /// A new generation: what is no longer in it is forgotten, and what is new is logged.
    fn begin(&self, snapshot: &Snapshot, begun: &mut PausedReads) {
        let gone = self.shared.verification(&snapshot.images, |verification, images| {
            verification.forget_unlisted(images)
        });
        let current = artifacts::all(snapshot).map(|(image, artifact)| (image.path(artifact), artifact.stamp));
        let current: HashMap<PathBuf, FileStamp> = current.collect();
        begun.retain(|path, reading| current.get(path) == Some(&reading.stamp()));
        let forgotten: Vec<Write> = gone.iter().map(|path| checksums::forget(path)).collect();
        if !forgotten.is_empty() {
            self.keep(forgotten);
        }
        let unserved = artifacts::known(&self.shared, snapshot).unserved;
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
    fn read(&self, next_to_read: NextRead<'_>, begun: &mut PausedReads) {
        let (path, stamp) = (
            next_to_read.image.path(next_to_read.artifact),
            next_to_read.artifact.stamp,
        );
        let resumed = begun.remove(&path).filter(|reading| reading.stamp() == stamp);
        let mut reading = match resumed.map_or_else(|| open(&path, stamp, next_to_read.why), Ok) {
            Ok(reading) => reading,
            Err(error) => return self.failed(next_to_read, &path, &error),
        };
        let mut logged_at = Instant::now();
        loop {
            let (began, before) = (Instant::now(), reading.done());
            let stepped = reading.step();
            let count = reading.done() - before;
            self.shared.counters.add(Counter::ArtifactBytesRead, count);
            match stepped {
                Ok(None) => {}
                Ok(Some(sum)) => return self.found(next_to_read, &path, HashResult::Sum(sum)),
                Err(error) => return self.failed(next_to_read, &path, &error),
            }
            match next_to_read.why {
                ReadReason::New => {
                    let read = (&path, stamp, reading.done());
                    self.shared.verification(read, |verification, (path, stamp, done)| {
                        verification.record_progress(path, stamp, done);
                    });
                    if logged_at.elapsed() >= VERIFY_LOG_INTERVAL {
                        logged_at = Instant::now();
                        tracing::info!(
                            event = "artifact_progress",
                            file = name(next_to_read),
                            "{} is being verified, {} of {} bytes",
                            name(next_to_read),
                            reading.done(),
                            stamp.length
                        );
                    }
                }
                ReadReason::Recheck => self.rest(time_for(count).saturating_sub(began.elapsed())),
            }
            if self.has_orders() {
                begun.insert(path, reading);
                return;
            }
        }
    }

    /// A file that can't be read is not served; one that this process has no means to read just now
    /// is no worse for it.
    fn failed(&self, next_to_read: NextRead<'_>, path: &Path, error: &io::Error) {
        let is_passing = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::EINTR]
            .iter()
            .any(|passing| error.raw_os_error() == Some(*passing as i32));
        if is_passing {
            tracing::debug!("{} can't be read just now: {error}", name(next_to_read));
            return self.rest(VERIFY_POLL_INTERVAL);
        }
        self.found(next_to_read, path, HashResult::Unreadable(error.to_string()));
    }

    /// Enters what a file came to, says it and keeps it.
    fn found(&self, next_to_read: NextRead<'_>, path: &Path, finding: HashResult) {
        let NextRead { image, artifact, why } = next_to_read;
        let finding = match finding {
            HashResult::Unreadable(_) if is_another(next_to_read) => HashResult::Replaced,
            other => other,
        };
        let now = self.shared.clock.now();
        let found = (now, path, finding.clone(), (image, artifact));
        let (was_right, was_doubted, after) =
            self.shared
                .verification(found, |verification, (now, path, finding, (image, artifact))| {
                    let before = verification.state(image, artifact);
                    let was_doubted = verification.is_doubted(image, artifact);
                    verification.record(now, path, artifact.stamp, finding);
                    let was_right = matches!(before, VerificationState::Verified { .. });
                    (was_right, was_doubted, verification.state(image, artifact))
                });
        self.shared.verified.notify_waiters();
        if let HashResult::Sum(sha256) = finding {
            self.shared.counters.count(Counter::ArtifactsRead);
            let record = ChecksumRecord {
                path: path.to_owned(),
                stamp: artifact.stamp,
                sha256,
                at: now.wall,
            };
            self.keep(checksums::put(&record).into_iter().collect());
        }
        let Some(problem) = artifacts::problem(image, artifact, &after) else {
            if let VerificationState::Pending { .. } = after {
                return tracing::info!(
                    "{} changed while it was read; the next reload begins anew",
                    name(next_to_read)
                );
            }
            match (why, was_right) {
                (ReadReason::New, _) if !was_doubted => {
                    tracing::info!(
                        event = "artifact_verified",
                        file = name(next_to_read),
                        bytes = artifact.stamp.length,
                        "{} is verified, {} bytes",
                        name(next_to_read),
                        artifact.stamp.length
                    )
                }
                (ReadReason::Recheck, true) => {
                    tracing::debug!("{} is verified again", name(next_to_read))
                }
                (ReadReason::New | ReadReason::Recheck, _) => {
                    tracing::warn!("{} reads as it should again, and is served", name(next_to_read))
                }
            }
            return;
        };
        if is_another(next_to_read) {
            return tracing::info!(
                "{} changed while it was read; the next reload begins anew",
                name(next_to_read)
            );
        }
        self.shared.counters.count(Counter::ArtifactsMismatched);
        let has_rotted = (was_right || was_doubted) && matches!(after, VerificationState::Mismatch { .. });
        artifacts::log_wrong(&name(next_to_read), &problem, has_rotted);
    }

    /// Keeps what was found behind every lease that waits.
    fn keep(&self, writes: Vec<Write>) {
        let kept = self.writer.background(writes).and_then(Committing::wait);
        if let Err(error) = kept {
            tracing::warn!("what was verified is not kept and is verified again after a restart: {error}");
        }
    }

    fn has_orders(&self) -> bool {
        let requests = self.requests();
        requests.look || requests.is_doubted || requests.stop
    }

    /// Waits, but not longer than until there are orders.
    fn rest(&self, time: Duration) {
        let requests = self.requests();
        let idle = |requests: &mut VerifierRequests| !requests.look && !requests.is_doubted && !requests.stop;
        // How the wait ended is seen in the orders.
        drop(self.ordered.wait_timeout_while(requests, time, idle));
    }
}

fn open(path: &Path, stamp: FileStamp, why: ReadReason) -> io::Result<HashingReader> {
    let from = match why {
        ReadReason::New => ReadVia::Memory,
        ReadReason::Recheck => ReadVia::Disk,
    };
    std::thread::sleep(unsettled(stamp));
    HashingReader::open(path, stamp, from)
}

/// How long until the last change of a file is long enough ago. A change in the future is a clock's that
/// was put back, and is not waited for.
fn unsettled(stamp: FileStamp) -> Duration {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age_ns = i128::try_from(since_1970.as_nanos()).unwrap_or(i128::MAX) - stamp.changed_ns;
    match u64::try_from(age_ns) {
        Ok(age_ns) => VERIFY_DEBOUNCE.saturating_sub(Duration::from_nanos(age_ns)),
        Err(_) => Duration::ZERO,
    }
}

/// How long the reading of so many bytes of a known file is to take.
fn time_for(bytes: u64) -> Duration {
    const { assert!(RECHECK_BYTES_PER_S >= VERIFY_PIECE_BYTES as u64) };
    Duration::from_secs_f64(bytes as f64 / RECHECK_BYTES_PER_S as f64)
}

/// Whether there is another file by now than the one the inventory was read with.
fn is_another(next_to_read: NextRead<'_>) -> bool {
    let NextRead { image, artifact, .. } = next_to_read;
    checksum::regular_beneath(&image.root, &artifact.file).is_ok_and(|there| there != artifact.stamp)
}

fn name(next_to_read: NextRead<'_>) -> String {
    format!("image {}/{}", next_to_read.image.name, next_to_read.artifact.file)
}
