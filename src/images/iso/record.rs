//! One directory record of an ISO (ECMA-119, 9.1), and its name in three alphabets.
//!
//! Rock Ridge's names stand in the system use area (SUSP; RRIP 4.1.4), which may go on elsewhere.

use super::{Extent, IsoError, SECTOR_BYTES};
use crate::model::limits::ISO_CONTINUATIONS_MAX;

/// Which names a tree has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameScheme {
    /// POSIX names; `skip` bytes of each system use area are something else's.
    RockRidge { skip: usize },
    /// UTF-16.
    Joliet,
    /// Upper case with a version; shown as Linux shows them.
    Plain,
}

/// Where the fixed part of a record ends and its identifier begins.
const HEADER_BYTES: usize = 33;
const IS_DIRECTORY: u8 = 0x02;
const IS_ASSOCIATED: u8 = 0x04;
const IS_CONTINUED: u8 = 0x80;

/// A little-endian number; numbers stand in both orders, and this one first.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|four| four.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

/// A little-endian number of two bytes.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .and_then(|two| two.try_into().ok())
        .map_or(0, u16::from_le_bytes)
}

/// A record whose length and identifier lie within its bytes.
pub(super) struct Record<'a>(&'a [u8]);

impl<'a> Record<'a> {
    /// The record at the start of what is left of a sector; `None` where no more follow in it.
    pub(super) fn next(rest: &'a [u8]) -> Result<Option<Record<'a>>, IsoError> {
        let length = usize::from(rest.first().copied().unwrap_or(0));
        if length == 0 {
            return Ok(None);
        }
        let identifier = usize::from(rest.get(HEADER_BYTES - 1).copied().unwrap_or(0));
        match rest.get(..length) {
            Some(record) if length > HEADER_BYTES && HEADER_BYTES + identifier <= length => Ok(Some(Record(record))),
            _ => Err(IsoError::Damaged("a directory of it is not laid out as one")),
        }
    }

    /// The root directory that a volume descriptor names.
    pub(super) fn of_descriptor(descriptor: &[u8]) -> Result<Extent, IsoError> {
        let no_root = IsoError::Damaged("it names no root directory");
        match descriptor.get(156..190).map(Record::next) {
            Some(Ok(Some(record))) if record.is_directory() => Ok(record.extent()),
            _ => Err(no_root),
        }
    }

    pub(super) fn length(&self) -> usize {
        self.0.len()
    }

    /// Where the bytes lie, behind the extended attributes.
    pub(super) fn extent(&self) -> Extent {
        let block = u64::from(u32_at(self.0, 2)) + u64::from(self.0[1]);
        Extent {
            at: block * SECTOR_BYTES as u64,
            bytes: u64::from(u32_at(self.0, 10)),
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.0[25] & IS_DIRECTORY != 0
    }

    /// Whether the file's next extent is the next record.
    pub(super) fn is_continued(&self) -> bool {
        self.0[25] & IS_CONTINUED != 0
    }

    /// The directory itself, or the one above.
    pub(super) fn is_special(&self) -> bool {
        matches!(self.identifier(), [] | [0 | 1])
    }

    /// Neither interleaved nor an associated file.
    pub(super) fn is_plain(&self) -> bool {
        self.0[26] == 0 && self.0[27] == 0 && self.0[25] & IS_ASSOCIATED == 0
    }

    pub(super) fn identifier(&self) -> &'a [u8] {
        &self.0[HEADER_BYTES..HEADER_BYTES + usize::from(self.0[HEADER_BYTES - 1])]
    }

    /// What follows the identifier and its padding.
    fn system_use(&self) -> &'a [u8] {
        let end = HEADER_BYTES + self.identifier().len();
        self.0.get(end + usize::from(end % 2 == 1)..).unwrap_or_default()
    }

    /// How many bytes to skip before SUSP's entries, if this record of the root says that there are
    /// any.
    pub(super) fn system_use_skip(&self) -> Option<usize> {
        match self.system_use() {
            [b'S', b'P', 7, _, 0xBE, 0xEF, skip, ..] => Some(usize::from(*skip)),
            _ => None,
        }
    }

    /// The file's name; `None` for a symbolic link, and for a name that is none.
    pub(super) fn name(
        &self,
        names: NameScheme,
        read: impl Fn(u64, usize) -> Result<Vec<u8>, IsoError>,
    ) -> Result<Option<String>, IsoError> {
        let name = match names {
            NameScheme::Joliet => joliet(self.identifier()),
            NameScheme::Plain => plain(self.identifier()),
            NameScheme::RockRidge { skip } => {
                let own = self.system_use().get(skip..).unwrap_or_default();
                let posix = Posix::read(own, read)?;
                if posix.is_symlink {
                    return Ok(None);
                }
                match posix.name.is_empty() {
                    true => plain(self.identifier()),
                    false => String::from_utf8_lossy(&posix.name).into_owned(),
                }
            }
        };
        let is_name = !matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\0']);
        Ok(is_name.then_some(name))
    }
}

fn joliet(identifier: &[u8]) -> String {
    let units: Vec<u16> = identifier
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect();
    without_version(&String::from_utf16_lossy(&units)).to_owned()
}

fn plain(identifier: &[u8]) -> String {
    let name = String::from_utf8_lossy(identifier).to_ascii_lowercase();
    without_version(&name).trim_end_matches('.').to_owned()
}

fn without_version(name: &str) -> &str {
    match name.rsplit_once(';') {
        Some((before, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => before,
        _ => name,
    }
}

/// What Rock Ridge says of one record.
#[derive(Default)]
struct Posix {
    name: Vec<u8>,
    is_symlink: bool,
}

impl Posix {
    fn read(own: &[u8], read: impl Fn(u64, usize) -> Result<Vec<u8>, IsoError>) -> Result<Posix, IsoError> {
        let mut posix = Posix::default();
        let mut area = own.to_vec();
        for _ in 0..ISO_CONTINUATIONS_MAX {
            let Some((at, bytes)) = posix.area(&area) else {
                break;
            };
            area = read(at, bytes)?;
        }
        Ok(posix)
    }

    /// Takes one area in; where it goes on, if it does.
    fn area(&mut self, mut rest: &[u8]) -> Option<(u64, usize)> {
        let mut continued = None;
        while let [one, two, length, _, ..] = *rest {
            let length = usize::from(length);
            let Some(body) = rest.get(4..length) else {
                break;
            };
            match &[one, two] {
                // Flags 2 and 4 name the directory itself and the one above.
                b"NM" if body.first().is_some_and(|flags| flags & 6 == 0) => self.name.extend(&body[1..]),
                b"SL" => self.is_symlink = true,
                b"CE" => continued = continuation(body),
                b"ST" => break,
                _ => {}
            }
            rest = &rest[length..];
        }
        continued
    }
}

/// A continuation area lies within one sector.
fn continuation(body: &[u8]) -> Option<(u64, usize)> {
    let (block, offset, bytes) = (u32_at(body, 0), u32_at(body, 8), u32_at(body, 16));
    let bytes = usize::try_from(bytes).ok()?;
    let at = u64::from(block) * SECTOR_BYTES as u64 + u64::from(offset);
    (body.len() >= 24 && bytes > 0 && bytes <= SECTOR_BYTES).then_some((at, bytes))
}
