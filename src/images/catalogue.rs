//! What a catalogue says of an image: where its files are, and what they are checked by.
//!
//! The shipped catalogue and the operator's are read by `config::catalogue`; nothing here reads TOML.

use crate::model::{Cpu, Name};
use std::path::PathBuf;

/// One image that can be fetched by its name.
#[derive(Clone, Debug)]
pub struct CatalogueEntry {
    /// Its name, and the image's unless another is given.
    pub name: Name,
    /// What it is, for people.
    pub about: String,
    /// The instruction set its kernel is for.
    pub cpu: Option<Cpu>,
    /// The shipped script that boots it.
    pub script: Option<String>,
    /// The kernel.
    pub kernel: Option<Remote>,
    /// Initial RAM disks in the order the kernel must see them.
    pub initrds: Vec<Remote>,
    /// A disk image.
    pub disk: Option<Remote>,
    /// Kernel parameters that every boot of it needs.
    pub cmdline: Vec<String>,
    /// Files of checksums. The first is signed, or comes over HTTPS; each may vouch for the next.
    pub sums: Vec<SumFile>,
    /// Where the same files lie on a machine that has a Debian package of them.
    pub package: Option<Package>,
}

impl CatalogueEntry {
    /// Its files in the order in which people name them.
    pub fn files(&self) -> impl Iterator<Item = &Remote> {
        self.kernel.iter().chain(&self.initrds).chain(&self.disk)
    }
}

/// One file on a server.
#[derive(Clone, Debug, Default)]
pub struct Remote {
    /// Its URL. A `*` in it stands for a version, and the file of checksums knows which.
    pub url: String,
    /// The URL is a tar archive's, and this the file in it.
    pub member: Option<String>,
    /// What it must be, where that is written down.
    pub sha256: Option<[u8; 32]>,
    /// A signature of this one file.
    pub signature: Option<Signature>,
}

/// A file that says what others must be.
#[derive(Clone, Debug)]
pub struct SumFile {
    /// Its URL.
    pub url: String,
    /// What it is checked by; `None` where HTTPS must do.
    pub signature: Option<Signature>,
}

/// A signature, and the keys that may have made it.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The URL of the signature; `None` where the text carries it.
    pub url: Option<String>,
    /// The keyring's file.
    pub keyring: PathBuf,
    /// How the keyring comes to this machine: a package, or words.
    pub keyring_from: Option<String>,
}

/// Files that a Debian package installs.
#[derive(Clone, Debug)]
pub struct Package {
    /// The package.
    pub name: String,
    /// Its kernel.
    pub kernel: Option<PathBuf>,
    /// Its initial RAM disks.
    pub initrds: Vec<PathBuf>,
}

impl Package {
    /// Whether every file of it is there.
    pub fn is_installed(&self) -> bool {
        self.kernel.iter().chain(&self.initrds).all(|file| file.is_file())
    }
}
