//! A storm's time and its counts, which every machine shares.

use super::report::StormStage;
use std::{sync::atomic::AtomicU64, time::Duration};
use tokio::time::Instant;

/// A storm's time: since its beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct StormClock(Instant);

impl StormClock {
    /// Starts now.
    pub(super) fn started() -> StormClock {
        StormClock(Instant::now())
    }

    pub(super) fn now(self) -> Duration {
        self.0.elapsed()
    }

    pub(super) fn at(self, time: Duration) -> Instant {
        self.0 + time
    }
}

/// What a storm does at this moment, for whoever watches.
#[derive(Debug, Default)]
pub struct StormProgress {
    /// Machines that powered on.
    pub powered_on: AtomicU64,
    /// Times that machines finished each stage, by [`StormStage::ALL`].
    pub finished: [AtomicU64; StormStage::ALL.len()],
    /// Machines that are up.
    pub up: AtomicU64,
    /// Machines that failed for good.
    pub failed: AtomicU64,
    /// Times that a machine gave up and was powered on again.
    pub power_cycled: AtomicU64,
    /// Bytes of files.
    pub bytes: AtomicU64,
    /// 503s obeyed.
    pub http_busy: AtomicU64,
    /// Packets sent again.
    pub repeated: AtomicU64,
}
