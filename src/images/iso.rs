//! A bounded reader of ISO 9660: the paths of an image's files and where their bytes lie.
//!
//! Names are Rock Ridge's where there are any, else Joliet's, else the plain ones as Linux shows
//! them (lower case, no version). Files of several extents, so beyond 4 GiB, are read as one. What an ISO
//! says is data: every length is held against the file, every directory is read once, and limits
//! stand in `model::limits`. Left out, because no boot file needs them: symbolic links, relocated
//! deep directories, interleaved and transparently compressed files, and UDF.

mod record;

use super::content::Extent;
use crate::model::limits::{
    IMAGE_SOURCE_DEPTH_MAX, IMAGE_SOURCE_ENTRIES_MAX, IMAGE_SOURCE_PATH_BYTES_MAX, ISO_DESCRIPTORS_MAX,
    ISO_DIRECTORIES_BYTES_MAX, ISO_EXTENTS_MAX,
};
use record::{NameScheme, Record};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    io,
    os::unix::fs::FileExt,
};

/// A logical sector, and a block: what every place is counted in.
const SECTOR_BYTES: usize = 2048;
/// The volume descriptors begin behind the system area.
const FIRST_DESCRIPTOR: u64 = 16;

/// Why an ISO can't be read.
#[derive(Debug)]
pub(super) enum IsoError {
    /// It is no ISO 9660 image.
    NotAnIso,
    /// It is UDF, and not ISO 9660 as well.
    OnlyUdf,
    /// It says that it has so many bytes, and it has fewer.
    CutShort { says: u64, has: u64 },
    /// It contradicts itself.
    Damaged(&'static str),
    /// It goes beyond a limit.
    TooMuch(&'static str, u64),
    /// The system failed.
    Io(io::Error),
}

impl fmt::Display for IsoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IsoError::NotAnIso => f.write_str("it is no ISO image: name an ISO or a folder"),
            IsoError::OnlyUdf => {
                f.write_str("it is a UDF disc without ISO 9660, which is not read; unpack it and name the folder")
            }
            IsoError::CutShort { says, has } => {
                write!(
                    f,
                    "it has {has} bytes and should have {says}: its download was cut short; fetch it again"
                )
            }
            IsoError::Damaged(what) => write!(f, "it is damaged: {what}; hold it against its published checksum"),
            IsoError::TooMuch(what, limit) => write!(
                f,
                "it has more than {limit} {what}; unpack what is needed and name the folder"
            ),
            IsoError::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for IsoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            IsoError::Io(error) => Some(error),
            IsoError::NotAnIso
            | IsoError::OnlyUdf
            | IsoError::CutShort { .. }
            | IsoError::Damaged(_)
            | IsoError::TooMuch(..) => None,
        }
    }
}

impl From<io::Error> for IsoError {
    fn from(error: io::Error) -> IsoError {
        IsoError::Io(error)
    }
}

/// The files of an ISO by their paths, `/` between components and none in front.
///
/// # Errors
/// When it is no ISO, was cut short, contradicts itself or goes beyond a limit.
pub(super) fn files(file: &File) -> Result<BTreeMap<String, Vec<Extent>>, IsoError> {
    let disc = Disc {
        file,
        bytes: file.metadata()?.len(),
    };
    let volume = Volume::read(&disc)?;
    let mut walk = Walk {
        disc,
        volume,
        files: BTreeMap::new(),
        entered: BTreeSet::new(),
        entries: 0,
        directory_bytes: 0,
    };
    walk.all()?;
    Ok(walk.files)
}

/// The bytes of an ISO.
struct Disc<'a> {
    file: &'a File,
    bytes: u64,
}

impl Disc<'_> {
    fn read(&self, at: u64, bytes: usize) -> Result<Vec<u8>, IsoError> {
        let says = at.saturating_add(bytes as u64);
        if says > self.bytes {
            return Err(IsoError::CutShort { says, has: self.bytes });
        }
        let mut read = vec![0; bytes];
        self.file.read_exact_at(&mut read, at)?;
        Ok(read)
    }
}

/// A directory that is to be read: where it is, and where in the tree.
struct Directory {
    extent: Extent,
    path: String,
    depth: usize,
}

/// The tree that is walked.
struct Volume {
    root: Extent,
    names: NameScheme,
}

impl Volume {
    fn read(disc: &Disc<'_>) -> Result<Volume, IsoError> {
        let (primary, joliet) = descriptors(disc)?;
        // The standard has other sizes; no tool writes them.
        if usize::from(record::u16_at(&primary, 128)) != SECTOR_BYTES {
            return Err(IsoError::Damaged("its blocks are not of 2048 bytes"));
        }
        let says = u64::from(record::u32_at(&primary, 80)) * SECTOR_BYTES as u64;
        if says > disc.bytes {
            return Err(IsoError::CutShort { says, has: disc.bytes });
        }
        let root = Record::of_descriptor(&primary)?;
        let names = match (rock_ridge(disc, root)?, &joliet) {
            (Some(skip), _) => NameScheme::RockRidge { skip },
            (None, Some(_)) => NameScheme::Joliet,
            (None, None) => NameScheme::Plain,
        };
        let root = match (names, joliet) {
            (NameScheme::Joliet, Some(descriptor)) => Record::of_descriptor(&descriptor)?,
            _ => root,
        };
        Ok(Volume { root, names })
    }
}

type Descriptor = Vec<u8>;

/// The primary volume descriptor, and Joliet's where there is one.
fn descriptors(disc: &Disc<'_>) -> Result<(Descriptor, Option<Descriptor>), IsoError> {
    let (mut primary, mut joliet) = (None, None);
    for number in FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + ISO_DESCRIPTORS_MAX {
        let at = number * SECTOR_BYTES as u64;
        let Ok(descriptor) = disc.read(at, SECTOR_BYTES) else {
            break;
        };
        match (&descriptor[1..6], descriptor[0]) {
            (b"CD001", 255) => break,
            (b"CD001", 1) if primary.is_none() => primary = Some(descriptor),
            (b"CD001", 2) if matches!(&descriptor[88..91], b"%/@" | b"%/C" | b"%/E") => joliet = Some(descriptor),
            (b"CD001", _) => {}
            (b"BEA01" | b"NSR02" | b"NSR03", _) if primary.is_none() => return Err(IsoError::OnlyUdf),
            _ => break,
        }
    }
    Ok((primary.ok_or(IsoError::NotAnIso)?, joliet))
}

/// How many bytes of each system use area stand before Rock Ridge's; `None` where it has none.
fn rock_ridge(disc: &Disc<'_>, root: Extent) -> Result<Option<usize>, IsoError> {
    let sector = disc.read(root.at, SECTOR_BYTES)?;
    let Some(own) = Record::next(&sector)? else {
        return Ok(None);
    };
    Ok(own.system_use_skip())
}

/// A walk through all directories.
struct Walk<'a> {
    disc: Disc<'a>,
    volume: Volume,
    files: BTreeMap<String, Vec<Extent>>,
    /// Where the directories begin that were read: a tree that leads back into itself ends.
    entered: BTreeSet<u64>,
    entries: usize,
    directory_bytes: u64,
}

impl Walk<'_> {
    fn all(&mut self) -> Result<(), IsoError> {
        let mut ahead = vec![Directory {
            extent: self.volume.root,
            path: String::new(),
            depth: 0,
        }];
        while let Some(directory) = ahead.pop() {
            if self.entered.insert(directory.extent.at) && directory.depth <= IMAGE_SOURCE_DEPTH_MAX {
                self.directory(&directory, &mut ahead)?;
            }
        }
        Ok(())
    }

    /// A record never crosses a sector's end; what is left of a sector is zero.
    fn directory(&mut self, directory: &Directory, ahead: &mut Vec<Directory>) -> Result<(), IsoError> {
        self.directory_bytes += directory.extent.bytes;
        if self.directory_bytes > ISO_DIRECTORIES_BYTES_MAX {
            return Err(IsoError::TooMuch("bytes of directories", ISO_DIRECTORIES_BYTES_MAX));
        }
        let mut growing = Growing::default();
        let mut offset = 0;
        while offset < directory.extent.bytes {
            let count = (directory.extent.bytes - offset).min(SECTOR_BYTES as u64) as usize;
            let sector = self.disc.read(directory.extent.at + offset, count)?;
            let mut rest = sector.as_slice();
            while let Some(record) = Record::next(rest)? {
                rest = &rest[record.length()..];
                self.record(&record, directory, &mut growing, ahead)?;
            }
            offset += SECTOR_BYTES as u64;
        }
        Ok(())
    }

    fn record(
        &mut self,
        record: &Record<'_>,
        directory: &Directory,
        growing: &mut Growing,
        ahead: &mut Vec<Directory>,
    ) -> Result<(), IsoError> {
        self.entries += 1;
        if self.entries > IMAGE_SOURCE_ENTRIES_MAX {
            return Err(IsoError::TooMuch("files and folders", IMAGE_SOURCE_ENTRIES_MAX as u64));
        }
        if record.is_special() || !record.is_plain() {
            return Ok(());
        }
        let extent = record.extent();
        let Some(name) = record.name(self.volume.names, |at, bytes| self.disc.read(at, bytes))? else {
            return Ok(());
        };
        let path = match directory.path.as_str() {
            "" => name,
            above => format!("{above}/{name}"),
        };
        if path.len() > IMAGE_SOURCE_PATH_BYTES_MAX {
            return Ok(());
        }
        if record.is_directory() {
            let depth = directory.depth + 1;
            ahead.push(Directory { extent, path, depth });
            return Ok(());
        }
        let Some(extents) = growing.add(record, extent, self.disc.bytes)? else {
            return Ok(());
        };
        self.files.entry(path).or_insert(extents);
        Ok(())
    }
}

/// A file's extents, one record each, all but the last marked as not final.
#[derive(Default)]
struct Growing {
    identifier: Vec<u8>,
    extents: Vec<Extent>,
}

impl Growing {
    /// All extents once the last one is there.
    fn add(&mut self, record: &Record<'_>, extent: Extent, disc_bytes: u64) -> Result<Option<Vec<Extent>>, IsoError> {
        if self.identifier != record.identifier() {
            self.identifier = record.identifier().to_vec();
            self.extents.clear();
        }
        self.extents.push(extent);
        if self.extents.len() > ISO_EXTENTS_MAX {
            return Err(IsoError::TooMuch("pieces of one file", ISO_EXTENTS_MAX as u64));
        }
        // Pieces that overlap would make more of an ISO than it holds.
        if self.extents.iter().map(|extent| extent.bytes).sum::<u64>() > disc_bytes {
            return Err(IsoError::Damaged("a file in it is longer than all of it"));
        }
        if record.is_continued() {
            return Ok(None);
        }
        self.identifier.clear();
        Ok(Some(std::mem::take(&mut self.extents)))
    }
}

#[cfg(test)]
mod tests;
