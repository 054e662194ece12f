//! Where an artifact's bytes come from: a file, or a file inside an ISO. Nothing is mounted.

use super::reading::open_regular;
use std::{
    fmt,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// A run of bytes of an ISO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Where it begins, in bytes from the start of the ISO.
    pub(super) at: u64,
    /// How long it is.
    pub(super) bytes: u64,
}

/// The bytes of one artifact, wherever they are; none is read before the image is made.
#[derive(Clone, Debug)]
pub struct ArtifactContent {
    file: PathBuf,
    /// The artifact's file name, where it is not the file's own.
    called: Option<String>,
    inside: Option<IsoFile>,
}

/// A file inside an ISO.
#[derive(Clone, Debug)]
struct IsoFile {
    path: String,
    extents: Vec<Extent>,
}

impl From<PathBuf> for ArtifactContent {
    fn from(file: PathBuf) -> ArtifactContent {
        ArtifactContent {
            file,
            called: None,
            inside: None,
        }
    }
}

impl From<&Path> for ArtifactContent {
    fn from(file: &Path) -> ArtifactContent {
        file.to_owned().into()
    }
}

impl fmt::Display for ArtifactContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inside {
            None => write!(f, "{}", self.file.display()),
            Some(inside) => write!(f, "{} of {}", inside.path.escape_debug(), self.file.display()),
        }
    }
}

impl ArtifactContent {
    /// The file at `path` inside the ISO `iso`.
    pub(super) fn inside(iso: &Path, path: &str, extents: Vec<Extent>) -> ArtifactContent {
        let inside = IsoFile {
            path: path.to_owned(),
            extents,
        };
        ArtifactContent {
            file: iso.to_owned(),
            called: None,
            inside: Some(inside),
        }
    }

    /// The same bytes under another file name.
    pub(super) fn called(self, name: String) -> ArtifactContent {
        ArtifactContent {
            called: Some(name),
            ..self
        }
    }

    /// The artifact's file name.
    pub(super) fn name(&self) -> String {
        let last = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match (&self.called, &self.inside) {
            (Some(called), _) => called.clone(),
            (None, Some(inside)) => last(Path::new(&inside.path)),
            (None, None) => last(&self.file),
        }
    }

    /// The file, where these bytes are all of it.
    pub(super) fn file(&self) -> Option<&Path> {
        self.inside.is_none().then_some(&self.file)
    }

    /// Whether these are the same bytes by their place.
    pub(super) fn is_same(&self, other: &ArtifactContent) -> bool {
        let extents = |content: &ArtifactContent| content.inside.as_ref().map(|inside| inside.extents.clone());
        self.file == other.file && extents(self) == extents(other)
    }

    /// How many bytes there are.
    ///
    /// # Errors
    /// When the file can't be looked at.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        match &self.inside {
            Some(inside) => Ok(inside.extents.iter().map(|extent| extent.bytes).sum()),
            None => Ok(regular(&self.file)?.len()),
        }
    }

    /// What changes when it is written to: its file, the file's length and the time of its last write.
    ///
    /// # Errors
    /// When the file can't be looked at.
    pub(super) fn written(&self) -> io::Result<(u64, u64, SystemTime)> {
        let file = regular(&self.file)?;
        Ok((file.ino(), file.len(), file.modified()?))
    }

    /// Opens it for reading from its start.
    ///
    /// # Errors
    /// When it can't be read, is no regular file, or its ISO ends before it does.
    pub(super) fn open(&self) -> io::Result<ContentReader> {
        let length = regular(&self.file)?.len();
        let file = open_regular(&self.file)?;
        let Some(inside) = &self.inside else {
            return Ok(ContentReader::Whole(file));
        };
        if inside.extents.iter().any(|extent| extent.at + extent.bytes > length) {
            return Err(cut_short());
        }
        let mut left = inside.extents.clone();
        left.reverse();
        Ok(ContentReader::Extents { file, left })
    }

    /// The first bytes of it, at most `count`.
    ///
    /// # Errors
    /// As of [`ArtifactContent::open`].
    pub(super) fn head(&self, count: u64) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        self.open()?.take(count).read_to_end(&mut head)?;
        Ok(head)
    }
}

/// A pipe or a device is never opened: that may wait for ever.
fn regular(path: &Path) -> io::Result<fs::Metadata> {
    let metadata = fs::metadata(path)?;
    match metadata.is_file() {
        true => Ok(metadata),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

fn cut_short() -> io::Error {
    let why = "the ISO ends before this file does: its download was cut short; fetch it again";
    io::Error::new(io::ErrorKind::UnexpectedEof, why)
}

/// Content that is being read.
pub(super) enum ContentReader {
    /// All of a file.
    Whole(File),
    /// Runs of an ISO; the next one is the last of the list.
    Extents {
        /// The ISO.
        file: File,
        /// What was not read yet.
        left: Vec<Extent>,
    },
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            ContentReader::Whole(file) => file.read(buffer),
            ContentReader::Extents { file, left } => read_next(file, left, buffer),
        }
    }
}

fn read_next(file: &File, left: &mut Vec<Extent>, buffer: &mut [u8]) -> io::Result<usize> {
    while left.pop_if(|extent| extent.bytes == 0).is_some() {}
    let Some(extent) = left.last_mut() else {
        return Ok(0);
    };
    let wanted = buffer.len().min(usize::try_from(extent.bytes).unwrap_or(usize::MAX));
    let count = file.read_at(&mut buffer[..wanted], extent.at)?;
    if count == 0 && wanted > 0 {
        return Err(cut_short());
    }
    extent.at += count as u64;
    extent.bytes -= count as u64;
    Ok(count)
}
