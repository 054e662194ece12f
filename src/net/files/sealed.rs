//! Copies of image files in memory that nobody can change: read once from the verified file, sealed, and only then held
//! against the checksum, so that what was judged is what is sent. The kernel sends such a copy by itself; of a file it
//! may not, because the file's own pages may be written to on their way.
//!
//! A copy is made for the second machine that asks for a file, or for a second transfer beside the first, by a thread
//! of its own; whoever is being sent the file meanwhile changes over once the copy is there. It is known by its
//! SHA-256 and by nothing else: images that share a kernel share its copy. Each transfer still looks at its own file
//! and its verification ([`OpenedFile::unchanged`]), and ends where that is another by now.
//!
//! All copies together have no more than `state::hot_images` says. What nobody was sent for a while goes, and the
//! longest unused goes first where another needs the room. What has no room is sent from its file.

use super::{FileError, OpenedFile};
use crate::model::limits::{
    HOT_IMAGE_IDLE, HOT_IMAGE_INTERVAL, HOT_IMAGE_RETRY_INTERVAL, HOT_IMAGES_KNOWN_MAX, HOT_IMAGES_POLL_INTERVAL,
    HTTP_PROMPT_BYTES_MAX, VERIFY_PIECE_BYTES,
};
use crate::net::socket::{SealedMemory, memory_file};
use crate::state::{Counter, Shared, hot_images::HotImageRoom};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    io::{self, Write},
    net::IpAddr,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};
use tokio::time::sleep;
use tracing::{debug, warn};

/// A SHA-256.
type Sha256Sum = [u8; 32];

/// A copy of a file.
#[derive(Debug)]
pub struct SealedCopy {
    memory: SealedMemory,
    /// The kernel does not send from it: whoever has a part of it writes that.
    is_copied: AtomicBool,
    _room: HotImageRoom,
}

impl SealedCopy {
    /// The bytes, and how the kernel sends them.
    pub fn memory(&self) -> &SealedMemory {
        &self.memory
    }

    /// Whether the kernel was found not to send from it.
    pub fn is_copied(&self) -> bool {
        self.is_copied.load(Ordering::Relaxed)
    }

    /// The kernel does not send from it.
    pub fn must_be_copied(&self, error: &io::Error) {
        if !self.is_copied.swap(true, Ordering::Relaxed) {
            debug!("sendfile: {error}; image files are copied to their connections");
        }
    }
}

/// What keeps a copy as long as some part of it is on its way.
struct CopyOwner(Arc<SealedCopy>);

impl AsRef<[u8]> for CopyOwner {
    fn as_ref(&self) -> &[u8] {
        self.0.memory.bytes()
    }
}

/// A copy that is there, or may come to be there. Every transfer of its file holds it.
#[derive(Debug, Default)]
pub struct CopySlot {
    copy: OnceLock<(Arc<SealedCopy>, Bytes)>,
    /// A thread makes it.
    is_filling: AtomicBool,
}

impl CopySlot {
    /// A part of the copy, where it is there, and that copy.
    pub fn part(&self, range: Range<usize>) -> Option<(Bytes, &Arc<SealedCopy>)> {
        let (copy, bytes) = self.copy.get()?;
        (range.end <= bytes.len()).then(|| (bytes.slice(range), copy))
    }

    fn is_filled(&self) -> bool {
        self.copy.get().is_some()
    }

    /// Bytes of the copy; none where it is not there.
    fn bytes(&self) -> u64 {
        self.copy.get().map_or(0, |(_, bytes)| bytes.len() as u64)
    }
}

/// A file that somebody asked for.
#[derive(Debug)]
struct KnownFile {
    slot: Arc<CopySlot>,
    /// Who asked last, and when.
    asked: (IpAddr, Instant),
    /// When it was looked last, and somebody was being sent it.
    used: Instant,
    /// Before this no copy is tried again.
    retry_at: Option<Instant>,
}

impl KnownFile {
    fn is_unused(&self) -> bool {
        Arc::strong_count(&self.slot) == 1
    }
}

/// The copies of all image files.
pub struct SealedCopies {
    shared: Arc<Shared>,
    known: Mutex<HashMap<Sha256Sum, KnownFile>>,
    /// A task looks now and then what is to go.
    is_tidied: AtomicBool,
}

impl SealedCopies {
    /// None yet.
    pub fn new(shared: Arc<Shared>) -> Arc<SealedCopies> {
        Arc::new(SealedCopies {
            shared,
            known: Mutex::default(),
            is_tidied: AtomicBool::new(false),
        })
    }

    /// A transfer of a file begins, to this client: where its copy is, or may come to be; `None` where there is none
    /// ever. To be called on a runtime.
    pub fn begin(self: &Arc<SealedCopies>, opened: &Arc<OpenedFile>, client: IpAddr) -> Option<Arc<CopySlot>> {
        let sum = opened.verified()?.sha256()?;
        let length = opened.length();
        if length <= HTTP_PROMPT_BYTES_MAX || self.shared.hot_images.most() == 0 {
            return None;
        }
        let now = Instant::now();
        let mut known = self.known();
        let is_known = known.contains_key(&sum);
        if !is_known && known.len() >= HOT_IMAGES_KNOWN_MAX {
            forget_one(&mut known);
        }
        let file = known.entry(sum).or_insert_with(|| KnownFile {
            slot: Arc::default(),
            asked: (client, now),
            used: now,
            retry_at: None,
        });
        let (by, at) = std::mem::replace(&mut file.asked, (client, now));
        file.used = now;
        let is_hot = is_known && (!file.is_unused() || by != client && now - at <= HOT_IMAGE_INTERVAL);
        let slot = Arc::clone(&file.slot);
        let is_there = slot.is_filled() || slot.is_filling.load(Ordering::Relaxed);
        let may_try = file.retry_at.is_none_or(|retry_at| retry_at <= now);
        if is_hot && !is_there && may_try {
            match self.room(&mut known, length) {
                Some(room) => {
                    slot.is_filling.store(true, Ordering::Relaxed);
                    drop(known);
                    self.fill((Arc::clone(opened), sum), Arc::clone(&slot), room);
                }
                None => self.shared.counters.count(Counter::HotImageNoRoom),
            }
        }
        Some(slot)
    }

    /// Room for a copy, which others may have to give way for; none of them does where that would not be enough.
    fn room(&self, known: &mut HashMap<Sha256Sum, KnownFile>, length: u64) -> Option<HotImageRoom> {
        let images = &self.shared.hot_images;
        let unused = known.values().filter(|file| file.is_unused());
        let unused: u64 = unused.map(|file| file.slot.bytes()).sum();
        if images.held().saturating_sub(unused).saturating_add(length) > images.most() {
            return None;
        }
        loop {
            if let Some(room) = images.reserve(length) {
                return Some(room);
            }
            let unused = known
                .iter()
                .filter(|(_, file)| file.is_unused() && file.slot.is_filled());
            let oldest = unused.min_by_key(|(_, file)| file.used).map(|(sum, _)| *sum)?;
            known.remove(&oldest);
        }
    }

    /// Has a thread make the copy.
    fn fill(
        self: &Arc<SealedCopies>,
        (opened, sum): (Arc<OpenedFile>, Sha256Sum),
        slot: Arc<CopySlot>,
        room: HotImageRoom,
    ) {
        if !self.is_tidied.swap(true, Ordering::Relaxed) {
            tokio::spawn(tidy(Arc::downgrade(self)));
        }
        let (copies, waiting) = (Arc::clone(self), Arc::clone(&slot));
        let fill = move || {
            match copy_of(&opened, sum, room) {
                Ok(copy) => {
                    let bytes = Bytes::from_owner(CopyOwner(Arc::clone(&copy)));
                    // It was empty: one at a time fills it.
                    drop(slot.copy.set((copy, bytes)));
                    copies.shared.counters.count(Counter::HotImageFilled);
                }
                Err(error) => copies.failed(&opened, sum, &error),
            }
            slot.is_filling.store(false, Ordering::Relaxed);
        };
        if let Err(error) = thread::Builder::new().name("image copy".to_owned()).spawn(fill) {
            debug!("no thread to copy an image file: {error}");
            self.retry_later(sum);
            waiting.is_filling.store(false, Ordering::Relaxed);
        }
    }

    fn failed(&self, opened: &OpenedFile, sum: Sha256Sum, error: &FileError) {
        self.retry_later(sum);
        match (error, opened.verified()) {
            (FileError::Corrupt, Some(verified)) if !verified.is_revoked() => {
                self.shared.counters.count(Counter::HotImageWrong);
                warn!(
                    event = "hot_image_wrong",
                    "the copy in memory of an image file has other bytes than its checksum says: none of it was sent; \
                     the file is verified again, and not served meanwhile"
                );
                self.shared.doubt(verified);
            }
            _ => {
                self.shared.counters.count(Counter::HotImageFailed);
                debug!("no copy of an image file: {error}");
            }
        }
    }

    fn retry_later(&self, sum: Sha256Sum) {
        if let Some(file) = self.known().get_mut(&sum) {
            file.retry_at = Some(Instant::now() + HOT_IMAGE_RETRY_INTERVAL);
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Sha256Sum, KnownFile>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of what nobody was sent for a while, and of what is more than may be; whether some is left. Where none
    /// is, the next copy has a task look again.
    fn let_go(&self, now: Instant) -> bool {
        let images = &self.shared.hot_images;
        let mut known = self.known();
        for file in known.values_mut().filter(|file| !file.is_unused()) {
            file.used = now;
        }
        known.retain(|_, file| !file.is_unused() || now - file.used < HOT_IMAGE_IDLE);
        while images.held() > images.most() {
            let unused = known
                .iter()
                .filter(|(_, file)| file.is_unused() && file.slot.is_filled());
            let Some(oldest) = unused.min_by_key(|(_, file)| file.used).map(|(sum, _)| *sum) else {
                break;
            };
            known.remove(&oldest);
        }
        // Under the lock: whoever is entered after this sees it.
        self.is_tidied.store(!known.is_empty(), Ordering::Relaxed);
        !known.is_empty()
    }
}

/// The file that nobody is sent and that was asked for the longest ago makes room for another's name.
fn forget_one(known: &mut HashMap<Sha256Sum, KnownFile>) {
    let unused = known.iter().filter(|(_, file)| file.is_unused());
    if let Some(oldest) = unused.min_by_key(|(_, file)| file.used).map(|(sum, _)| *sum) {
        known.remove(&oldest);
    }
}

/// Looks now and then what is to go, until there is nothing.
async fn tidy(copies: Weak<SealedCopies>) {
    loop {
        sleep(HOT_IMAGES_POLL_INTERVAL).await;
        let Some(copies) = copies.upgrade() else { return };
        if !copies.let_go(Instant::now()) {
            return;
        }
    }
}

/// Reads a file into memory, seals that, and holds what is sealed against the checksum.
fn copy_of(opened: &OpenedFile, sum: Sha256Sum, room: HotImageRoom) -> Result<Arc<SealedCopy>, FileError> {
    let mut file = memory_file().map_err(FileError::Io)?;
    let mut buffer = vec![0; VERIFY_PIECE_BYTES];
    let mut done = 0;
    while done < opened.length() {
        let left = usize::try_from(opened.length() - done).unwrap_or(usize::MAX);
        let piece = &mut buffer[..left.min(VERIFY_PIECE_BYTES)];
        opened.read_exactly(piece, done)?;
        file.write_all(piece).map_err(FileError::Io)?;
        done += piece.len() as u64;
    }
    let memory = SealedMemory::seal(file).map_err(FileError::Io)?;
    let found: Sha256Sum = Sha256::digest(memory.bytes()).into();
    // A file that was written to meanwhile has other bytes by right.
    opened.unchanged()?;
    match found == sum {
        true => Ok(Arc::new(SealedCopy {
            memory,
            is_copied: AtomicBool::new(false),
            _room: room,
        })),
        false => Err(FileError::Corrupt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{
        change::Change,
        verification::{HashResult, Verification, VerificationState},
    };
    use crate::fixtures;
    use crate::lease::LeaseTable;
    use crate::model::{Now, WallTime};
    use crate::net::files::{open_beneath, tests::image_of};
    use crate::state::{Clock, CommitLog, Durable};
    use crate::store::StoreError;
    use std::{fs, time::Duration};

    const BYTES: usize = HTTP_PROMPT_BYTES_MAX as usize + 4097;
    const FIRST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
    const SECOND: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 8));

    struct NoLeases;

    impl CommitLog for NoLeases {
        fn append(&self, _: Vec<Change>) -> Result<Durable, StoreError> {
            Err(StoreError::unavailable("no test gives leases here"))
        }
    }

    /// A folder of files, and copies of so many of them at once.
    struct Site {
        copies: Arc<SealedCopies>,
        folder: tempfile::TempDir,
    }

    impl Site {
        fn with_room_for(copies: u64) -> Site {
            let shared = Shared::new(
                Clock::start(),
                fixtures::snapshot(),
                LeaseTable::default(),
                Box::new(NoLeases),
            );
            shared.hot_images.resize(copies * BYTES as u64);
            Site {
                copies: SealedCopies::new(Arc::new(shared)),
                folder: tempfile::tempdir().unwrap(),
            }
        }

        /// A file of this byte, verified as `found` says where that is not the truth.
        fn file(&self, byte: u8, found: Option<Sha256Sum>) -> Arc<OpenedFile> {
            let path = self.folder.path().join("secret");
            // Another inode each time.
            let _ = fs::remove_file(&path);
            let bytes = vec![byte; BYTES];
            fs::write(&path, &bytes).unwrap();
            let stamp = open_beneath(self.folder.path(), "secret", None).unwrap().stamp();
            let sum = found.unwrap_or_else(|| Sha256::digest(&bytes).into());
            let mut image = image_of(self.folder.path(), stamp);
            let kernel = image.kernel.as_mut().unwrap();
            kernel.sha256 = sum;
            let now = Now {
                monotonic: Duration::ZERO,
                wall: WallTime(0),
            };
            let mut verification = Verification::default();
            let kernel = image.kernel.as_ref().unwrap();
            verification.record(now, &image.path(kernel), stamp, HashResult::Sum(sum));
            let VerificationState::Verified { verified, .. } = verification.state(&image, kernel) else {
                panic!("it was read and found right");
            };
            Arc::new(open_beneath(self.folder.path(), "secret", Some(verified)).unwrap())
        }

        fn count(&self, counter: Counter) -> u64 {
            self.copies.shared.counters.value(counter)
        }

        fn held(&self) -> u64 {
            self.copies.shared.hot_images.held()
        }
    }

    /// Waits until the thread that makes the copy is done; whether it is there.
    async fn is_filled(slot: &CopySlot) -> bool {
        while slot.is_filling.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        slot.is_filled()
    }

    #[tokio::test]
    async fn a_copy_is_made_for_the_second_machine_or_the_second_transfer_and_for_nobody_alone() {
        let site = Site::with_room_for(9);
        let begin = |opened: &Arc<OpenedFile>, client| site.copies.begin(opened, client).unwrap();
        let alone = site.file(1, None);
        for _ in 0..3 {
            assert!(!is_filled(&begin(&alone, FIRST)).await, "one after the other");
        }
        assert!(is_filled(&begin(&alone, SECOND)).await);
        let beside = site.file(2, None);
        let under_way = begin(&beside, FIRST);
        assert!(is_filled(&begin(&beside, FIRST)).await);
        let (bytes, copy) = under_way.part(5..BYTES).unwrap();
        assert_eq!(copy.memory().offset_of(&bytes), Some(5));
        assert!(bytes.len() == BYTES - 5 && bytes.iter().all(|byte| *byte == 2));
        assert!(under_way.part(5..BYTES + 1).is_none());
        assert_eq!(
            (site.count(Counter::HotImageFilled), site.held()),
            (2, 2 * BYTES as u64)
        );
    }

    #[tokio::test]
    async fn what_has_no_room_is_counted_and_the_longest_unused_gives_way() {
        let site = Site::with_room_for(1);
        let (first, second) = (site.file(1, None), site.file(2, None));
        let _ = site.copies.begin(&first, FIRST);
        let sent = site.copies.begin(&first, SECOND).unwrap();
        assert!(is_filled(&sent).await);
        let _ = site.copies.begin(&second, FIRST);
        assert!(!is_filled(&site.copies.begin(&second, SECOND).unwrap()).await);
        assert_eq!((site.count(Counter::HotImageNoRoom), site.held()), (1, BYTES as u64));
        drop(sent);
        assert!(is_filled(&site.copies.begin(&second, FIRST).unwrap()).await);
        assert_eq!(site.held(), BYTES as u64, "the other's copy is gone");
    }

    #[tokio::test]
    async fn no_copy_gives_way_where_that_would_not_be_enough() {
        let site = Site::with_room_for(2);
        let (sent, unused, third) = (site.file(1, None), site.file(2, None), site.file(3, None));
        let begin = |opened: &Arc<OpenedFile>, client| site.copies.begin(opened, client).unwrap();
        drop(begin(&sent, FIRST));
        let under_way = begin(&sent, SECOND);
        assert!(is_filled(&under_way).await);
        drop(begin(&unused, FIRST));
        assert!(is_filled(&begin(&unused, SECOND)).await);
        site.copies.shared.hot_images.resize(2 * BYTES as u64 - 1);
        drop(begin(&third, FIRST));
        assert!(!is_filled(&begin(&third, SECOND)).await);
        assert_eq!(site.held(), 2 * BYTES as u64, "one was thrown away for nothing");
    }

    #[tokio::test]
    async fn what_nobody_is_sent_goes_after_a_while_and_what_somebody_is_stays() {
        let site = Site::with_room_for(2);
        let (first, second) = (site.file(1, None), site.file(2, None));
        for opened in [&first, &second] {
            let _ = site.copies.begin(opened, FIRST);
            assert!(is_filled(&site.copies.begin(opened, SECOND).unwrap()).await);
        }
        let sent = site.copies.begin(&second, FIRST).unwrap();
        let (part, _) = sent.part(0..10).unwrap();
        let later = Instant::now() + HOT_IMAGE_IDLE;
        assert!(site.copies.let_go(later));
        assert_eq!(site.held(), BYTES as u64);
        drop(sent);
        assert!(!site.copies.let_go(later + HOT_IMAGE_IDLE));
        assert_eq!(site.held(), BYTES as u64, "the kernel may have to send of it still");
        drop(part);
        assert_eq!(site.held(), 0);
        // Less is allowed than there is.
        let _ = site.copies.begin(&first, FIRST);
        assert!(is_filled(&site.copies.begin(&first, SECOND).unwrap()).await);
        site.copies.shared.hot_images.resize(1);
        site.copies.let_go(Instant::now());
        assert_eq!(site.held(), 0);
    }

    #[tokio::test]
    async fn a_copy_of_other_bytes_than_its_checksum_says_is_none_and_its_file_is_doubted() {
        let site = Site::with_room_for(1);
        let wrong = site.file(1, Some([9; 32]));
        let _ = site.copies.begin(&wrong, FIRST);
        let slot = site.copies.begin(&wrong, SECOND).unwrap();
        assert!(!is_filled(&slot).await && slot.part(0..1).is_none());
        assert_eq!((site.count(Counter::HotImageWrong), site.held()), (1, 0));
        assert!(matches!(wrong.unchanged(), Err(FileError::Corrupt)), "transfers go on");
        // Not again and again.
        assert!(!is_filled(&site.copies.begin(&wrong, FIRST).unwrap()).await);
        assert_eq!(site.count(Counter::HotImageWrong), 1);
    }

    #[tokio::test]
    async fn a_file_that_changes_while_it_is_copied_is_not_doubted() {
        let site = Site::with_room_for(1);
        let changed = site.file(1, None);
        fs::write(site.folder.path().join("secret"), "short").unwrap();
        let _ = site.copies.begin(&changed, FIRST);
        assert!(!is_filled(&site.copies.begin(&changed, SECOND).unwrap()).await);
        assert_eq!(
            (site.count(Counter::HotImageFailed), site.count(Counter::HotImageWrong)),
            (1, 0)
        );
        assert!(!changed.verified().unwrap().is_revoked());
    }
}
