//! Whether hosts appeared in the inventory while the store did not take it: who appears at the next start may be one of
//! them, and was installed by hand since.
//!
//! The store's disk is full then, most likely, so this stands in a file of its own that is as long as it ever gets from
//! its first moment on: one byte is written over another.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

/// The file's name in the store's folder.
const NAME: &str = "hosts-not-learned";
const LEARNED: &[u8; 2] = b"0\n";
const UNLEARNED: &[u8; 2] = b"1\n";

/// Whether hosts appeared that the store does not know of, durable even where its disk is full.
#[derive(Debug)]
pub struct UnlearnedMark {
    file: Option<File>,
    is_set: bool,
}

impl UnlearnedMark {
    /// What a start finds.
    ///
    /// # Errors
    /// The file can't be made or read.
    pub fn open(folder: &Path) -> io::Result<UnlearnedMark> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .open(folder.join(NAME))?;
        let mut found = [0; 1];
        let is_new = file.read_at(&mut found, 0)? == 0;
        if is_new {
            file.write_all_at(LEARNED, 0)?;
            file.sync_all()?;
            File::open(folder)?.sync_all()?;
        }
        // What nobody wrote there is no reason to arm anybody.
        let is_set = !is_new && found[0] != LEARNED[0];
        Ok(UnlearnedMark {
            file: Some(file),
            is_set,
        })
    }

    /// Where there is no file, nobody knows.
    pub fn unknown() -> UnlearnedMark {
        UnlearnedMark {
            file: None,
            is_set: true,
        }
    }

    /// Whether hosts appeared that the store does not know of.
    pub fn is_set(&self) -> bool {
        self.is_set
    }

    /// Says so from now on, or that it knows of all again. It is on disk when this returns.
    ///
    /// # Errors
    /// It is not on disk; it counts all the same until the process ends.
    pub fn set(&mut self, is_set: bool) -> io::Result<()> {
        if self.is_set == is_set {
            return Ok(());
        }
        self.is_set = is_set;
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        file.write_all_at(if is_set { UNLEARNED } else { LEARNED }, 0)?;
        file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_was_not_learned_is_known_to_the_next_start_until_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let open = || UnlearnedMark::open(folder.path()).unwrap();
        assert!(!open().is_set());
        assert!(!open().is_set(), "nothing happened since");
        let length = || fs::metadata(folder.path().join(NAME)).unwrap().len();
        let before = length();
        open().set(true).unwrap();
        assert_eq!(length(), before, "a full disk has no room for more");
        assert!(open().is_set());
        open().set(false).unwrap();
        assert!(!open().is_set());
        fs::write(folder.path().join(NAME), "?").unwrap();
        assert!(open().is_set());
    }
}
