//! A folder of images, and orders for it.

use bootwright::config;
use bootwright::images::{
    Added, CopyStep, ImageError,
    catalogue::{CatalogueEntry, Remote},
    fetch::{FetchProgress, FetchRequest, FilesFrom, RetryPolicy, fetch},
    sums::{Hashing, Sums},
};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};
use tempfile::TempDir;

pub struct Place(pub TempDir);

/// Every file is read: what was fetched must be what its image says.
pub fn sums() -> impl Sums {
    Hashing::silent()
}

/// What was told.
#[derive(Default)]
pub struct ProgressLines(pub Mutex<Vec<String>>);

impl FetchProgress for ProgressLines {
    fn say(&self, line: std::fmt::Arguments<'_>) {
        self.0.lock().unwrap().push(line.to_string());
    }
    fn begin(&self, _file: &str, _here: u64, _total: Option<u64>) {}
    fn copy(&self, _name: &str, _step: CopyStep) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
    fn stopped(&self) -> bool {
        false
    }
}

impl ProgressLines {
    pub fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl Place {
    pub fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    pub fn images(&self) -> PathBuf {
        self.0.path().join("images")
    }

    /// What is in the folder of images, hidden or not.
    pub fn names(&self) -> Vec<String> {
        names(&self.images())
    }

    /// What is there of an unfinished download.
    pub fn kept(&self, name: &str) -> Vec<String> {
        names(&self.images().join(format!(".fetch-{name}")))
    }

    pub fn fetch(&self, order: &FetchRequest) -> (Result<Added, ImageError>, String) {
        let told = ProgressLines::default();
        let done = fetch(&self.images(), order, &told);
        (done, told.all())
    }

    /// The image is there whole, sound, and with this kernel; nothing else is.
    pub fn holds(&self, name: &str, kernel: &[u8]) {
        assert_eq!(self.names(), [name]);
        let (images, report) = config::images(&self.images(), &mut sums());
        assert!(report.errors.is_empty(), "{}", report.render(false));
        let image = &images[name];
        let file = image.root.join(&image.kernel.as_ref().unwrap().file);
        assert!(fs::read(file).unwrap() == kernel, "another kernel than was served");
    }

    /// There is no image, and the servers would see none.
    pub fn holds_nothing(&self) {
        let (images, report) = config::images(&self.images(), &mut sums());
        assert!(images.is_empty() && report.errors.is_empty() && report.warnings.is_empty());
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub fn hex(bytes: &[u8]) -> String {
    sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that no two parts of are alike.
pub fn noise(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}

/// An order for one kernel; the tests add what they are about.
pub fn request(url: String, sha256: Option<[u8; 32]>) -> FetchRequest {
    let entry = CatalogueEntry {
        name: "rescue".parse().unwrap(),
        about: String::new(),
        cpu: None,
        script: None,
        kernel: Some(Remote {
            url,
            sha256,
            ..Remote::default()
        }),
        initrds: Vec::new(),
        disk: None,
        cmdline: vec!["quiet".to_owned()],
        sums: Vec::new(),
        package: None,
    };
    FetchRequest {
        name: entry.name.clone(),
        entry,
        replace: false,
        from: FilesFrom::Either,
        accept: false,
        unsigned: false,
        disk_sums: true,
        retry_policy: RetryPolicy {
            connect: Duration::from_secs(20),
            silence: Duration::from_secs(20),
            tries: 3,
            pause: Duration::from_millis(1),
        },
    }
}
