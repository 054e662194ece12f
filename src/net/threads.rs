//! HTTP's own threads.
//!
//! Image files keep every thread that sends them busy, and a thread that is busy looks at its other
//! sockets only now and then. Leases and loaders are small and in a hurry: they have threads that
//! are mostly idle, and so the kernel lets them run as soon as something comes in.

use tokio::runtime::{Builder, Handle, Runtime};
use tracing::warn;

/// How many turns of its tasks a thread takes before it looks at its sockets: a turn of a body is
/// long, and a script that was asked for meanwhile waits.
const TURNS: u32 = 8;

/// Threads of their own, or those of the caller where the system has no more.
pub(super) struct Threads {
    /// Taken out when it ends.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Threads {
    /// As many as there are processors. To be called on a runtime.
    pub(super) fn start(name: &str) -> Threads {
        let runtime = Builder::new_multi_thread()
            .thread_name(name)
            .event_interval(TURNS)
            .enable_all()
            .build()
            .inspect_err(|error| warn!("no threads for {name} alone, it shares the others': {error}"))
            .ok();
        Threads {
            handle: runtime
                .as_ref()
                .map_or_else(Handle::current, |own| own.handle().clone()),
            runtime,
        }
    }

    /// Where tasks are started.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    /// In the middle of a runtime, nobody may wait for another to end.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
