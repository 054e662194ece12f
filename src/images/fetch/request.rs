//! A request to fetch an image, and the interface for its progress.

use crate::images::{CopyStep, catalogue::CatalogueEntry};
use crate::model::{
    Name,
    limits::{FETCH_BACKOFF_INITIAL, FETCH_CONNECT_TIMEOUT, FETCH_IDLE_TIMEOUT, FETCH_TRIES_MAX},
};
use std::{fmt, time::Duration};

/// What is told while it goes on.
pub trait FetchProgress {
    /// A line for people.
    fn say(&self, line: fmt::Arguments<'_>);
    /// A file comes: so many bytes of it are here, of so many if the server says.
    fn begin(&self, file: &str, here: u64, total: Option<u64>);
    /// More bytes of it came.
    fn advance(&self, bytes: u64);
    /// Files that are on this machine are copied into the image `name`.
    fn copy(&self, name: &str, step: CopyStep);
    /// No more of it comes now.
    fn end(&self);
    /// Whether the operator has stopped it.
    fn stopped(&self) -> bool;
}

/// Where the files may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesFrom {
    /// An installed package where the catalogue names one, else the network.
    Either,
    /// The installed package.
    Package,
    /// The network.
    Network,
}

/// What an operator asks for.
#[derive(Debug)]
pub struct FetchRequest {
    /// What is fetched.
    pub entry: CatalogueEntry,
    /// What the image will be called.
    pub name: Name,
    /// Replace an image of that name.
    pub replace: bool,
    /// Where the files may come from.
    pub from: FilesFrom,
    /// Files without a checksum or a signature will do.
    pub accept: bool,
    /// A file of checksums will do without its signature, if it comes over HTTPS.
    pub unsigned: bool,
    /// Read a disk image through, for what an install knows of it beside its checksum.
    pub disk_sums: bool,
    /// Waits and tries.
    pub retry_policy: RetryPolicy,
}

/// How long is waited, and how often tried.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// For a connection.
    pub connect: Duration,
    /// For the next bytes of a connection.
    pub silence: Duration,
    /// Tries in a row that bring nothing new.
    pub tries: u32,
    /// Before the second try; doubles.
    pub pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            connect: FETCH_CONNECT_TIMEOUT,
            silence: FETCH_IDLE_TIMEOUT,
            tries: FETCH_TRIES_MAX,
            pause: FETCH_BACKOFF_INITIAL,
        }
    }
}
