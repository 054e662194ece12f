//! One file from its server to its place in the hidden folder, however often the way breaks off.
//!
//! A part is taken up again where it ended, if the server still has the same version (`If-Range`).
//! Where it can't say so, the checksum tells in the end, and then the file is fetched once more from
//! its start.

use super::{
    client::{Fault, HttpClient, RequestOptions},
    partial_note::PartialNote,
    request::FetchProgress,
    staging_dir::StagingDir,
    url,
};
use crate::images::{
    checksum,
    error::{ImageError, failed},
    reading::{self, ReadVia},
    space,
};
use crate::model::{
    Name,
    limits::{FETCH_BACKOFF_MAX, FETCH_FILE_BYTES_MAX, FETCH_POLL_INTERVAL, FETCH_PROGRESS_BYTES_MIN},
};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use ureq::{
    Body,
    http::{Response, StatusCode, header},
};

const CHUNK_BYTES: usize = 256 * 1024;

/// What is to be fetched.
pub(super) struct Download {
    pub(super) url: String,
    pub(super) file: Name,
    /// What it must be, where anybody says.
    pub(super) sha256: Option<[u8; 32]>,
}

/// Counts tries and waits between them.
pub(super) struct RetryBudget {
    left: u32,
    pause: Duration,
}

impl RetryBudget {
    pub(super) fn new(client: &HttpClient) -> RetryBudget {
        RetryBudget {
            left: client.retry_policy.tries.max(1),
            pause: client.retry_policy.pause,
        }
    }

    /// Waits before the next try, or says why there is none.
    pub(super) fn after(&mut self, fault: Fault, progress: &dyn FetchProgress) -> Result<(), ImageError> {
        let (error, not_before) = match fault {
            Fault::Lasting(error) => return Err(error),
            Fault::Passing { error, not_before } => (error, not_before),
        };
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            return Err(ImageError::new(format_args!("{error}; it was tried often enough")).with_source(error));
        }
        let pause = self.pause.max(not_before.unwrap_or_default()).min(FETCH_BACKOFF_MAX);
        progress.say(format_args!("{error}; trying again in {:.1} s", pause.as_secs_f32()));
        let until = Instant::now() + pause;
        while Instant::now() < until {
            std::thread::sleep(FETCH_POLL_INTERVAL.min(until.saturating_duration_since(Instant::now())));
            super::go_on(progress)?;
        }
        self.pause = (self.pause * 2).min(FETCH_BACKOFF_MAX);
        Ok(())
    }
}

/// Fetches a file into the folder; its length and checksum.
pub(super) fn download(
    client: &HttpClient,
    wanted: &Download,
    kept: &StagingDir,
    progress: &dyn FetchProgress,
) -> Result<(u64, [u8; 32]), ImageError> {
    let done = kept.path(&wanted.file);
    if let Some(found) = already_there(&done, wanted) {
        progress.say(format_args!("{} is here from an earlier run", wanted.file));
        return Ok(found);
    }
    let mut part = PartialDownload::take_up(wanted, kept)?;
    let mut tries = RetryBudget::new(client);
    loop {
        let before = part.length;
        match part.go_on(client, wanted, progress) {
            Ok(()) => match part.judge(wanted)? {
                Some(sha256) => return part.finish(wanted, &done, sha256),
                None => progress.say(format_args!(
                    "{} does not fit together; once more from its start",
                    wanted.file
                )),
            },
            Err(fault) => {
                if part.length.saturating_sub(before) >= FETCH_PROGRESS_BYTES_MIN {
                    tries = RetryBudget::new(client);
                }
                let given_up = tries.after(fault, progress);
                given_up.map_err(|error| part.with_what_is_kept(wanted, error))?;
            }
        }
    }
}

/// A file that an earlier run finished. Read again: it may have changed meanwhile.
fn already_there(done: &Path, wanted: &Download) -> Option<(u64, [u8; 32])> {
    let stamp = checksum::stamp(&fs::symlink_metadata(done).ok().filter(fs::Metadata::is_file)?);
    let found = reading::sum(done, stamp, ReadVia::Memory).ok()?;
    (wanted.sha256 == Some(found)).then_some((stamp.length, found))
}

/// The beginning of a file.
struct PartialDownload {
    path: PathBuf,
    note_path: PathBuf,
    file: File,
    hasher: Sha256,
    length: u64,
    note: PartialNote,
    /// It was put together from more than one answer.
    pieced: bool,
    /// A pieced one did not fit together, and this is the one after it.
    second: bool,
}

impl PartialDownload {
    fn take_up(wanted: &Download, kept: &StagingDir) -> Result<PartialDownload, ImageError> {
        let path = kept.part(&wanted.file);
        let note_path = kept.note(&wanted.file);
        let opened = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = opened.map_err(|error| failed("open", path.display(), error))?;
        let note = PartialNote::read(&note_path).unwrap_or_default();
        let note = note.with_checksum(wanted.sha256.is_some());
        let known = note.url == wanted.url && note.is_resumable();
        let mut part = PartialDownload {
            path,
            note_path,
            file,
            hasher: Sha256::new(),
            length: 0,
            note,
            pieced: false,
            second: false,
        };
        match known {
            true => part.read_again()?,
            false => part.begin_anew(wanted)?,
        }
        Ok(part)
    }

    fn read_again(&mut self) -> Result<(), ImageError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match self
                .file
                .read(&mut chunk)
                .map_err(|error| failed("read", self.path.display(), error))?
            {
                0 => break,
                count => {
                    self.hasher.update(&chunk[..count]);
                    self.length += count as u64;
                }
            }
        }
        self.pieced = self.length > 0;
        Ok(())
    }

    fn begin_anew(&mut self, wanted: &Download) -> Result<(), ImageError> {
        self.file
            .set_len(0)
            .map_err(|error| failed("empty", self.path.display(), error))?;
        self.note = PartialNote::new(&wanted.url, wanted.sha256.is_some());
        (self.hasher, self.length, self.pieced) = (Sha256::new(), 0, false);
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.length > 0 && self.note.total == Some(self.length)
    }

    /// One request, and all that it brings.
    fn go_on(&mut self, client: &HttpClient, wanted: &Download, progress: &dyn FetchProgress) -> Result<(), Fault> {
        if self.is_whole() && wanted.sha256.is_some() {
            return Ok(());
        }
        let asked = RequestOptions {
            from: self.length,
            validator: self.note.validator.as_deref(),
            secure: false,
        };
        let mut response = client.ask(&wanted.url, &asked)?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && self.is_whole() {
            return Ok(());
        }
        let fits = response.status() == StatusCode::PARTIAL_CONTENT && self.goes_on(&response);
        if self.length > 0 && !fits {
            let other = response.status() != StatusCode::OK;
            self.begin_anew(wanted).map_err(Fault::Lasting)?;
            progress.say(format_args!(
                "{} has changed on its server, or it gives no parts: from the start",
                wanted.file
            ));
            if other {
                return Err(Fault::passing(format_args!(
                    "{} gave a part that does not fit",
                    url::host(&wanted.url)
                )));
            }
        }
        self.pieced |= self.length > 0;
        self.take_note(&response).map_err(Fault::Lasting)?;
        self.is_room_for_it(wanted).map_err(Fault::Lasting)?;
        progress.begin(wanted.file.as_str(), self.length, self.note.total);
        let received = self.receive(client, wanted, &mut response, progress);
        progress.end();
        received
    }

    /// Whether a 206 begins where the part ends, and is of the same version.
    fn goes_on(&self, response: &Response<Body>) -> bool {
        let (from, total) = content_range(response).unwrap_or((u64::MAX, None));
        let same_length = total.is_none() || self.note.total.is_none() || total == self.note.total;
        let version = validator(response);
        let same_version = version.is_none() || self.note.validator.is_none() || version == self.note.validator;
        from == self.length && same_length && same_version
    }

    fn take_note(&mut self, response: &Response<Body>) -> Result<(), ImageError> {
        let total = match response.status() {
            StatusCode::PARTIAL_CONTENT => content_range(response).and_then(|(_, total)| total),
            _ => response.body().content_length(),
        };
        self.note.validator = validator(response).or(self.note.validator.take());
        self.note.total = total.or(self.note.total);
        self.note.write(&self.note_path)
    }

    fn is_room_for_it(&self, wanted: &Download) -> Result<(), ImageError> {
        let total = self.note.total.unwrap_or(0);
        if total > FETCH_FILE_BYTES_MAX {
            return Err(too_large(&wanted.url));
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        space::enough(folder, total.saturating_sub(self.length), &wanted.url)
    }

    fn receive(
        &mut self,
        client: &HttpClient,
        wanted: &Download,
        response: &mut Response<Body>,
        progress: &dyn FetchProgress,
    ) -> Result<(), Fault> {
        let mut body = response.body_mut().as_reader();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            super::go_on(progress).map_err(Fault::Lasting)?;
            let count = match body.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(client.broken(&wanted.url, error)),
            };
            self.file.write_all(&chunk[..count]).map_err(|error| {
                // What of the chunk was written is not hashed; the file ends where the hash does.
                let _ = self.file.set_len(self.length);
                Fault::Lasting(failed("write", self.path.display(), error))
            })?;
            self.hasher.update(&chunk[..count]);
            self.length += count as u64;
            progress.advance(count as u64);
            if self.length > FETCH_FILE_BYTES_MAX {
                return Err(Fault::Lasting(too_large(&wanted.url)));
            }
        }
        match self.note.total {
            Some(total) if self.length < total => Err(Fault::passing(format_args!(
                "{} ended after {} of {total} bytes",
                wanted.url, self.length
            ))),
            Some(total) if self.length > total => {
                self.begin_anew(wanted).map_err(Fault::Lasting)?;
                Err(Fault::passing(format_args!(
                    "{} sent more than the {total} bytes it announced; nothing of it is kept",
                    wanted.url
                )))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The checksum of a whole file; `None` where it was pieced together and must come anew.
    fn judge(&mut self, wanted: &Download) -> Result<Option<[u8; 32]>, ImageError> {
        let found: [u8; 32] = self.hasher.clone().finalize().into();
        let Some(expected) = wanted.sha256.filter(|expected| *expected != found) else {
            return Ok(Some(found));
        };
        let another_chance = self.pieced && !self.second;
        self.begin_anew(wanted)?;
        if another_chance {
            self.second = true;
            return Ok(None);
        }
        let _ = (fs::remove_file(&self.path), fs::remove_file(&self.note_path));
        Err(ImageError::new(format_args!(
            "{} is not the file that it should be: its sha256 is {}, and {} was expected; nothing of it is kept. A mirror may be in the middle of an update: try later, or another one",
            wanted.url,
            checksum::hex(&found),
            checksum::hex(&expected)
        )))
    }

    fn finish(self, wanted: &Download, done: &Path, sha256: [u8; 32]) -> Result<(u64, [u8; 32]), ImageError> {
        self.file
            .sync_all()
            .map_err(|error| failed("sync", self.path.display(), error))?;
        fs::rename(&self.path, done).map_err(|error| failed("rename", self.path.display(), error))?;
        match wanted.sha256 {
            Some(_) => drop(fs::remove_file(&self.note_path)),
            // A run that ends before the image is made can't know this file again.
            None => PartialNote::new(&wanted.url, wanted.sha256.is_some()).write(&self.note_path)?,
        }
        Ok((self.length, sha256))
    }

    /// What a person should know who reads why it ended.
    fn with_what_is_kept(&self, wanted: &Download, error: ImageError) -> ImageError {
        match self.length > 0 && self.note.is_resumable() {
            true => {
                let with_next_step = ImageError::new(format_args!(
                    "{error}\n{} bytes of {} are kept: the same command goes on from there",
                    self.length, wanted.file
                ));
                with_next_step.with_source(error)
            }
            false => {
                // Nothing that a later run could take up.
                let _ = (fs::remove_file(&self.path), fs::remove_file(&self.note_path));
                error
            }
        }
    }
}

fn too_large(url: &str) -> ImageError {
    ImageError::new(format_args!(
        "{url} is larger than {FETCH_FILE_BYTES_MAX} bytes, which no file of an image is"
    ))
}

/// What tells one version of the file from another, byte by byte (RFC 9110, 13.1.5).
fn validator(response: &Response<Body>) -> Option<String> {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let strong = text(header::ETAG).filter(|tag| tag.starts_with('"'));
    strong.or(text(header::LAST_MODIFIED)).map(str::to_owned)
}

/// `bytes FROM-TO/TOTAL`.
fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let content_range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = content_range.strip_prefix("bytes ")?.split_once('/')?;
    let (from, _) = range.split_once('-')?;
    Some((from.trim().parse().ok()?, total.trim().parse().ok()))
}
