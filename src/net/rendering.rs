//! Texts are rendered on threads of their own, which are given up when a text takes too long.
//!
//! Every template was rendered for every listed host when its inventory was tried, and yet what a machine says
//! of itself goes into it too. Whatever comes of that, the threads that serve go on: who waits for such a text
//! is told that it is broken, and it is left alone for a while.

use super::Shared;
use crate::boot::resource::{Answered, Ask, Refusal, Transport};
use crate::model::limits::{
    RENDER_LONGEST, RENDER_PAUSE, RENDER_QUEUE_MAX, RENDER_THREADS_MAX, RENDER_TURN_LONGEST, RENDERS_GIVEN_UP_MAX,
    SIGHTINGS_MAX, TEMPLATE_STACK_BYTES,
};
use std::{
    collections::BTreeMap,
    io,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{sync::oneshot, time::timeout};

/// Something to be rendered, and whether anybody still waits for it.
struct Job {
    work: Box<dyn FnOnce() + Send>,
    is_given_up: Arc<AtomicBool>,
}

/// Why a text is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unrendered {
    /// It came to no end in time.
    Overlong,
    /// No thread was free for it for long.
    NoTurn,
    /// It broke its thread's work.
    Broke,
}

/// The threads, and what they are to do. They end with the last sender.
pub struct Rendering {
    jobs: Mutex<Jobs>,
    queue: Arc<Mutex<Receiver<Job>>>,
}

struct Jobs {
    sender: SyncSender<Job>,
    /// Threads that take jobs.
    threads: usize,
    /// Threads that were given up, since the start.
    given_up: usize,
    /// For whom, and with which generation, and when it is tried again.
    overlong: BTreeMap<(u64, Ipv4Addr), Instant>,
}

impl Default for Rendering {
    fn default() -> Rendering {
        let (sender, queue) = mpsc::sync_channel(RENDER_QUEUE_MAX);
        Rendering {
            jobs: Mutex::new(Jobs {
                sender,
                threads: 0,
                given_up: 0,
                overlong: BTreeMap::new(),
            }),
            queue: Arc::new(Mutex::new(queue)),
        }
    }
}

impl Rendering {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a piece of work on one of the threads, once one is free.
    async fn run<T: Send + 'static>(
        &self,
        longest: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unrendered> {
        let (begin, begun) = oneshot::channel();
        let (done, result) = oneshot::channel();
        let is_given_up = Arc::new(AtomicBool::new(false));
        let job = Job {
            // Nobody waits any more where it can't be said.
            work: Box::new(move || {
                let _ = begin.send(());
                let _ = done.send(work());
            }),
            is_given_up: Arc::clone(&is_given_up),
        };
        self.submit(job)?;
        if !matches!(timeout(RENDER_TURN_LONGEST, begun).await, Ok(Ok(()))) {
            is_given_up.store(true, Ordering::Relaxed);
            return Err(Unrendered::NoTurn);
        }
        match timeout(longest, result).await {
            Ok(result) => result.map_err(|_| Unrendered::Broke),
            Err(_) => {
                self.give_one_up();
                Err(Unrendered::Overlong)
            }
        }
    }

    fn submit(&self, job: Job) -> Result<(), Unrendered> {
        let mut jobs = self.jobs();
        let wanted = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(RENDER_THREADS_MAX);
        if jobs.threads < wanted {
            match start(Arc::clone(&self.queue)) {
                Ok(()) => jobs.threads += 1,
                // Those that are there do it later.
                Err(_) if jobs.threads > 0 => {}
                Err(_) => return Err(Unrendered::NoTurn),
            }
        }
        jobs.sender.try_send(job).map_err(|_| Unrendered::NoTurn)
    }

    /// One of the threads may never come back, and another takes its place; so many times, because each may
    /// keep a processor busy.
    fn give_one_up(&self) {
        let mut jobs = self.jobs();
        if jobs.given_up < RENDERS_GIVEN_UP_MAX {
            jobs.given_up += 1;
            jobs.threads = jobs.threads.saturating_sub(1);
        }
    }

    fn is_overlong(&self, generation: u64, machine: Ipv4Addr) -> bool {
        let jobs = self.jobs();
        let again = jobs.overlong.get(&(generation, machine));
        again.is_some_and(|again| Instant::now() < *again)
    }

    fn note_overlong(&self, generation: u64, machine: Ipv4Addr) {
        let mut jobs = self.jobs();
        jobs.overlong.retain(|(of, _), _| *of == generation);
        if jobs.overlong.len() < SIGHTINGS_MAX {
            jobs.overlong
                .insert((generation, machine), Instant::now() + RENDER_PAUSE);
        }
    }
}

/// A thread that takes one job after the other, with a stack for any template.
fn start(queue: Arc<Mutex<Receiver<Job>>>) -> io::Result<()> {
    let take = move || {
        loop {
            let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { work, is_given_up }) = job else {
                return;
            };
            if is_given_up.load(Ordering::Relaxed) {
                continue;
            }
            // Who waits hears of it by what is dropped.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        }
    };
    let builder = thread::Builder::new().name("render".to_owned());
    builder.stack_size(TEMPLATE_STACK_BYTES).spawn(take).map(drop)
}

/// A request that outlives the packet it came in.
struct Kept {
    transport: Transport,
    path: Vec<u8>,
    query: Option<String>,
    peer: Ipv4Addr,
    server: Ipv4Addr,
}

impl Kept {
    fn ask(&self) -> Ask<'_> {
        Ask {
            transport: self.transport,
            path: &self.path,
            query: self.query.as_deref(),
            peer: self.peer,
            server: self.server,
        }
    }
}

impl Shared {
    /// Resolves one request for a file, from one snapshot. Whoever else is served does not wait for its text.
    pub async fn answer_in_time(self: &Arc<Self>, ask: &Ask<'_>) -> Answered {
        let snapshot = self.snapshot.load_full();
        let generation = snapshot.generation;
        {
            let inquiry = self.inquiry(&snapshot, ask);
            if !inquiry.renders() {
                return inquiry.answer();
            }
        }
        drop(snapshot);
        let kept = Kept {
            transport: ask.transport,
            path: ask.path.to_owned(),
            query: ask.query.map(str::to_owned),
            peer: ask.peer,
            server: ask.server,
        };
        let rendered = match self.rendering.is_overlong(generation, ask.peer) {
            true => Err(Unrendered::Overlong),
            false => {
                let shared = Arc::clone(self);
                let rendered = self.rendering.run(RENDER_LONGEST, move || shared.answer(&kept.ask()));
                let rendered = rendered.await;
                if matches!(rendered, Err(Unrendered::Overlong)) {
                    self.rendering.note_overlong(generation, ask.peer);
                }
                rendered
            }
        };
        rendered.unwrap_or_else(|why| Answered {
            result: Err(Refusal::Broken { reason: reason(why) }),
            ..self.unread("a text", ask.peer)
        })
    }
}

fn reason(why: Unrendered) -> String {
    match why {
        Unrendered::Overlong => format!(
            "rendering it came to no end within {} s, and it is left alone for {} s",
            RENDER_LONGEST.as_secs(),
            RENDER_PAUSE.as_secs()
        ),
        Unrendered::NoTurn => "no thread was free to render it".to_owned(),
        Unrendered::Broke => "rendering it broke; this is a bug of bootwright".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_never_ends_is_given_up_and_the_next_is_done() {
        let rendering = Rendering::default();
        let (_open, never) = mpsc::channel::<()>();
        let never = Mutex::new(never);
        let wait = move || never.lock().is_ok_and(|never| never.recv().is_ok());
        let stuck = rendering.run(Duration::from_millis(20), wait).await;
        assert_eq!(stuck, Err(Unrendered::Overlong));
        for number in 0..20 {
            assert_eq!(rendering.run(RENDER_LONGEST, move || number).await, Ok(number));
        }
        assert_eq!(rendering.jobs().given_up, 1);
    }

    #[tokio::test]
    async fn what_breaks_takes_no_thread_along() {
        let rendering = Rendering::default();
        assert_eq!(
            rendering
                .run(RENDER_LONGEST, || -> u8 { panic!("a test breaks its work") })
                .await,
            Err(Unrendered::Broke)
        );
        assert_eq!(rendering.run(RENDER_LONGEST, || 7).await, Ok(7));
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
