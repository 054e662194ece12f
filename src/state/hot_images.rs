//! The memory that copies of image files may take, and take: the servers make the copies, an operator sets the bound
//! and asks.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// How many bytes such copies may have in all, and have.
#[derive(Clone, Debug, Default)]
pub struct HotImages(Arc<HotImageBytes>);

#[derive(Debug, Default)]
struct HotImageBytes {
    most: AtomicU64,
    held: AtomicU64,
}

/// Bytes that a copy has; they are free again when this is dropped.
#[derive(Debug)]
pub struct HotImageRoom {
    bytes: u64,
    of: HotImages,
}

impl HotImages {
    /// From now on copies may have so many bytes in all; 0 makes none. Those that are being sent stay.
    pub fn resize(&self, most: u64) {
        self.0.most.store(most, Ordering::Relaxed);
    }

    /// The most bytes that they may have.
    pub fn most(&self) -> u64 {
        self.0.most.load(Ordering::Relaxed)
    }

    /// The bytes that they have.
    pub fn held(&self) -> u64 {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Room for a copy of so many bytes, where there is some.
    pub fn reserve(&self, bytes: u64) -> Option<HotImageRoom> {
        let most = self.most();
        let fits = |held: u64| held.checked_add(bytes).filter(|held| *held <= most);
        let reserved = self.0.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        reserved.ok().map(|_| HotImageRoom {
            bytes,
            of: self.clone(),
        })
    }
}

impl Drop for HotImageRoom {
    fn drop(&mut self) {
        self.of.0.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_have_no_more_than_they_may_and_what_one_had_is_free_when_it_is_gone() {
        let images = HotImages::default();
        assert!(images.reserve(1).is_none(), "nothing was said yet");
        images.resize(100);
        let first = images.reserve(60).unwrap();
        assert!(images.reserve(41).is_none() && images.reserve(u64::MAX).is_none());
        let second = images.reserve(40).unwrap();
        assert_eq!(images.held(), 100);
        drop(first);
        assert_eq!(images.held(), 40);
        images.resize(10);
        assert!(images.reserve(1).is_none());
        drop(second);
        assert!(images.reserve(10).is_some());
        assert_eq!(images.held(), 0);
    }
}
