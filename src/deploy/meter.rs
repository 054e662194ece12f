//! How far an install is, for whoever asks.

use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

/// Counts the bytes of an install. All of its threads write to it.
pub(super) struct Meter {
    began: Instant,
    /// Bytes of the file.
    bytes: u64,
    fetched: AtomicU64,
    written: AtomicU64,
    /// Where it goes on that was broken off before; 0 where it began anew.
    resumed: AtomicU64,
    is_finishing: AtomicBool,
}

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MeterState {
    /// Of a hundred.
    pub(super) percent: u64,
    /// The image is written, and what comes after it is not done yet.
    pub(super) is_finishing: bool,
}

/// An image that is fetched and not yet all on the disk.
const PERCENT_FETCHED: u64 = 98;

impl Meter {
    pub(super) fn new(bytes: u64) -> Meter {
        Meter {
            began: Instant::now(),
            bytes,
            fetched: AtomicU64::new(0),
            written: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            is_finishing: AtomicBool::new(false),
        }
    }

    /// It goes on at this byte of the file.
    pub(super) fn resume(&self, byte: u64) {
        self.resumed.store(byte, Ordering::Relaxed);
    }

    /// So many more bytes of the file are here.
    pub(super) fn add_fetched(&self, bytes: usize) {
        self.fetched
            .fetch_add(u64::try_from(bytes).unwrap_or_default(), Ordering::Relaxed);
    }

    /// So many more bytes of the disk are what they should be.
    pub(super) fn add_written(&self, bytes: usize) {
        self.written
            .fetch_add(u64::try_from(bytes).unwrap_or_default(), Ordering::Relaxed);
    }

    /// The image is written.
    pub(super) fn finish(&self) {
        self.is_finishing.store(true, Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> MeterState {
        let is_finishing = self.is_finishing.load(Ordering::Relaxed);
        let fetched = u128::from(self.fetched.load(Ordering::Relaxed));
        let percent = fetched * u128::from(PERCENT_FETCHED) / u128::from(self.bytes.max(1));
        MeterState {
            percent: match is_finishing {
                true => PERCENT_FETCHED + 1,
                false => u64::try_from(percent).unwrap_or_default(),
            },
            is_finishing,
        }
    }

    /// What it is at, and how fast.
    pub(super) fn words(&self) -> MeterWords {
        MeterWords {
            written: self.written.load(Ordering::Relaxed),
            resumed: (self.resumed.load(Ordering::Relaxed), self.bytes),
            milliseconds: self.began.elapsed().as_millis().max(1),
            is_finishing: self.state().is_finishing,
        }
    }
}

/// A meter in words.
pub(super) struct MeterWords {
    written: u64,
    resumed: (u64, u64),
    milliseconds: u128,
    is_finishing: bool,
}

impl fmt::Display for MeterWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_finishing {
            return f.write_str("making it bootable");
        }
        let speed = u128::from(self.written) / 1000 / self.milliseconds;
        if let (at @ 1.., of) = self.resumed {
            write!(f, "resumed at {} of {} MB; ", at / 1_000_000, of / 1_000_000)?;
        }
        write!(f, "writing: {} MB, {speed} MB/s", self.written / 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_is_one_of_the_file_and_the_last_ones_come_after_it() {
        let meter = Meter::new(1000);
        meter.add_fetched(500);
        assert_eq!(meter.state().percent, 49);
        meter.add_fetched(500);
        meter.add_written(4_000_000);
        assert_eq!(meter.state().percent, 98);
        assert!(meter.words().to_string().starts_with("writing: 4 MB, "));
        meter.resume(2_500_000);
        assert!(
            meter
                .words()
                .to_string()
                .starts_with("resumed at 2 of 0 MB; writing: 4 MB, ")
        );
        meter.finish();
        assert_eq!((meter.state().percent, meter.state().is_finishing), (99, true));
    }
}
