//! A GPT partition table whose disk became larger: its backup moved to the end, its last partition grown, one more
//! partition, and nothing else of it changed.
//!
//! Written by hand, because the one kept library that could (gpt 4) writes its partitions one after the other: those
//! that Debian numbers 1, 14 and 15 would be 1, 2 and 3. Here entries stay the bytes that they are, in their places.
//! By UEFI 2.10, chapter 5; numbers are little-endian.

use super::{failure::TableFault, target_disk::wide};
use flate2::Crc;
use std::ops::Range;

/// A table in memory.
#[derive(Clone, Debug)]
pub(super) struct GptTable {
    sector: u64,
    /// The last sector of the disk.
    last: u64,
    /// The header, of as many bytes as it says.
    header: Vec<u8>,
    entries: Vec<u8>,
    entry_bytes: usize,
    /// Where its backup was on the disk that it was made for.
    old_backup: u64,
}

/// A partition of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GptPartition {
    /// From 1 on.
    pub(super) number: u32,
    /// Its own identity.
    pub(super) id: [u8; 16],
    /// Its first sector.
    pub(super) first: u64,
    /// Its last one.
    pub(super) last: u64,
}

const SIGNATURE: &[u8] = b"EFI PART";
const HEADER_BYTES_MIN: usize = 92;
const ENTRY_BYTES_MIN: usize = 128;
/// The entries of a table, at most: what is held in memory.
const ENTRIES_BYTES_MAX: usize = 512 * 1024;

// Where a header has what.
const CHECKSUM: usize = 16;
const OWN_PLACE: usize = 24;
const OTHER_PLACE: usize = 32;
const LAST_USABLE: usize = 48;
const ENTRIES_PLACE: usize = 72;
const ENTRY_COUNT: usize = 80;
const ENTRY_BYTES: usize = 84;
const ENTRIES_CHECKSUM: usize = 88;

// Where an entry has what.
const IDENTITY: Range<usize> = 16..32;
const FIRST: usize = 32;
const LAST: usize = 40;
const NAME: Range<usize> = 56..128;

/// `EBD0A0A2-B9E5-4433-87C0-68B6B72699C7`: a file system that any system reads.
const BASIC_DATA: [u8; 16] = [
    0xa2, 0xa0, 0xd0, 0xeb, 0xe5, 0xb9, 0x33, 0x44, 0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7,
];
/// `C12A7328-F81F-11D2-BA4B-00A0C93EC93B`: where firmware looks for loaders.
const EFI_SYSTEM: [u8; 16] = [
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
];

/// Partitions begin and end at multiples of this, as all tools of today have it.
const ALIGNMENT_BYTES: u64 = 1024 * 1024;

/// The sectors for which the table in the first bytes of an image was made, if there is one.
pub(super) fn sector_bytes(head: &[u8]) -> Option<u32> {
    [512, 4096].into_iter().find(|sector| {
        let at = usize::try_from(*sector).unwrap_or(usize::MAX);
        head.get(at..).is_some_and(|header| header.starts_with(SIGNATURE))
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The bytes of a header as its checksum is taken of them.
fn without_checksum(header: &[u8]) -> Vec<u8> {
    let mut header = header.to_vec();
    put(&mut header, CHECKSUM, &[0; 4]);
    header
}

impl GptTable {
    /// The table in the first bytes of an image that stands on a disk of so many bytes, if there is one.
    pub(super) fn read(head: &[u8], sector: u32, disk_bytes: u64) -> Result<Option<GptTable>, TableFault> {
        let wide_sector = u64::from(sector);
        let unit = usize::try_from(sector).map_err(|_| TableFault::Shape)?;
        let Some(rest) = head.get(unit..).filter(|rest| rest.starts_with(SIGNATURE)) else {
            return Ok(None);
        };
        let header_bytes = u32_at(rest, 12).and_then(|bytes| usize::try_from(bytes).ok());
        let header = header_bytes
            .filter(|bytes| (HEADER_BYTES_MIN..=unit).contains(bytes))
            .and_then(|bytes| rest.get(..bytes))
            .ok_or(TableFault::Shape)?;
        if u32_at(header, CHECKSUM) != Some(crc(&without_checksum(header))) {
            return Err(TableFault::Checksum);
        }
        let number = |at| u32_at(header, at).and_then(|number| usize::try_from(number).ok());
        let (count, entry_bytes) = number(ENTRY_COUNT).zip(number(ENTRY_BYTES)).ok_or(TableFault::Shape)?;
        let bytes = count
            .checked_mul(entry_bytes)
            .filter(|bytes| *bytes <= ENTRIES_BYTES_MAX);
        let place = u64_at(header, ENTRIES_PLACE).and_then(|place| place.checked_mul(wide_sector));
        let entries = place
            .and_then(|place| usize::try_from(place).ok())
            .zip(bytes)
            .and_then(|(place, bytes)| head.get(place..place.checked_add(bytes)?))
            .filter(|_| entry_bytes >= ENTRY_BYTES_MIN)
            .ok_or(TableFault::Shape)?;
        if u32_at(header, ENTRIES_CHECKSUM) != Some(crc(entries)) {
            return Err(TableFault::Checksum);
        }
        let mut table = GptTable {
            sector: wide_sector,
            last: (disk_bytes / wide_sector).checked_sub(1).ok_or(TableFault::Shape)?,
            header: header.to_vec(),
            entries: entries.to_vec(),
            entry_bytes,
            old_backup: u64_at(header, OTHER_PLACE).ok_or(TableFault::Shape)?,
        };
        table.move_to_end()?;
        Ok(Some(table))
    }

    /// The sectors that its entries take.
    fn entry_sectors(&self) -> u64 {
        wide(self.entries.len()).div_ceil(self.sector)
    }

    fn last_usable(&self) -> u64 {
        u64_at(&self.header, LAST_USABLE).unwrap_or_default()
    }

    /// The backup is at the end of this disk.
    fn move_to_end(&mut self) -> Result<(), TableFault> {
        let backup_entries = self.last.checked_sub(self.entry_sectors());
        let last_usable = backup_entries
            .and_then(|place| place.checked_sub(1))
            .ok_or(TableFault::Shape)?;
        let is_whole = self
            .partitions()
            .all(|partition| partition.first <= partition.last && partition.last <= last_usable);
        if !is_whole {
            return Err(TableFault::Shape);
        }
        put(&mut self.header, OTHER_PLACE, &self.last.to_le_bytes());
        put(&mut self.header, LAST_USABLE, &last_usable.to_le_bytes());
        Ok(())
    }

    /// Its partitions in the order of their numbers.
    pub(super) fn partitions(&self) -> impl Iterator<Item = GptPartition> {
        let entries = self.entries.chunks_exact(self.entry_bytes).zip(1..);
        entries.filter_map(|(entry, number)| {
            let is_used = entry.get(..16)?.iter().any(|byte| *byte != 0);
            is_used.then_some(())?;
            Some(GptPartition {
                number,
                id: *entry.get(IDENTITY)?.first_chunk()?,
                first: u64_at(entry, FIRST)?,
                last: u64_at(entry, LAST)?,
            })
        })
    }

    fn entry_mut(&mut self, number: u32) -> Option<&mut [u8]> {
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        self.entries.chunks_exact_mut(self.entry_bytes).nth(place)
    }

    /// The partition that firmware looks for loaders in.
    pub(super) fn efi_system(&self) -> Option<GptPartition> {
        let mut entries = self.entries.chunks_exact(self.entry_bytes).zip(1..);
        let number = entries.find_map(|(entry, number)| entry.starts_with(&EFI_SYSTEM).then_some(number))?;
        self.partitions().find(|partition| partition.number == number)
    }

    /// Adds a partition for so many bytes at the disk's end, by the name `CIDATA`, and says at which byte it begins.
    pub(super) fn add_seed(&mut self, bytes: u64, id: [u8; 16]) -> Result<u64, TableFault> {
        let alignment = ALIGNMENT_BYTES / self.sector;
        let sectors = bytes.div_ceil(self.sector);
        let end = self.last_usable() + 1;
        let first = end.checked_sub(sectors).map(|first| first / alignment * alignment);
        let used = self
            .partitions()
            .map(|partition| partition.last)
            .max()
            .unwrap_or_default();
        let first = first.filter(|first| *first > used.max(1)).ok_or(TableFault::NoRoom)?;
        let mut entries = self.entries.chunks_exact_mut(self.entry_bytes);
        let free = entries
            .find(|entry| entry[..16].iter().all(|byte| *byte == 0))
            .ok_or(TableFault::Full)?;
        free.fill(0);
        put(free, 0, &BASIC_DATA);
        put(free, IDENTITY.start, &id);
        put(free, FIRST, &first.to_le_bytes());
        put(free, LAST, &(first + sectors - 1).to_le_bytes());
        for (room, unit) in free[NAME]
            .as_chunks_mut::<2>()
            .0
            .iter_mut()
            .zip("CIDATA".encode_utf16())
        {
            *room = unit.to_le_bytes();
        }
        Ok(first * self.sector)
    }

    /// The partition that ends last, apart from one that begins at `limit` (a byte), ends before that or with the
    /// disk.
    pub(super) fn grow_last(&mut self, limit: Option<u64>) {
        let alignment = ALIGNMENT_BYTES / self.sector;
        let limit = limit.map(|byte| byte / self.sector);
        let end = limit.unwrap_or((self.last_usable() + 1) / alignment * alignment);
        let others = self.partitions().filter(|partition| Some(partition.first) != limit);
        let Some(partition) = others.max_by_key(|partition| partition.last) else {
            return;
        };
        if end > partition.last + 1
            && let Some(entry) = self.entry_mut(partition.number)
        {
            put(entry, LAST, &(end - 1).to_le_bytes());
        }
    }

    /// Puts it into the first bytes of its disk, with the MBR that protects it.
    pub(super) fn put_into(&self, head: &mut [u8]) {
        let unit = usize::try_from(self.sector).unwrap_or(usize::MAX);
        let place = u64_at(&self.header, ENTRIES_PLACE).unwrap_or_default() * self.sector;
        put(head, unit, &self.sealed(self.header.clone()));
        put(head, usize::try_from(place).unwrap_or(usize::MAX), &self.entries);
        // The entry of the MBR that covers the disk: one of an older, smaller disk is what some firmware refuses.
        let covered = u32::try_from(self.last).unwrap_or(u32::MAX);
        for entry in (446..510).step_by(16) {
            if head[entry + 4] == 0xee && u32_at(head, entry + 8) == Some(1) {
                put(head, entry + 12, &covered.to_le_bytes());
            }
        }
    }

    /// Its backup for the disk's end: entries and header, and at which byte they begin.
    pub(super) fn backup(&self) -> (u64, Vec<u8>) {
        let place = self.last - self.entry_sectors();
        let mut header = self.header.clone();
        put(&mut header, OWN_PLACE, &self.last.to_le_bytes());
        put(&mut header, OTHER_PLACE, &1u64.to_le_bytes());
        put(&mut header, ENTRIES_PLACE, &place.to_le_bytes());
        let unit = usize::try_from(self.sector).unwrap_or(usize::MAX);
        let mut bytes = self.entries.clone();
        bytes.resize(bytes.len().next_multiple_of(unit), 0);
        bytes.extend(self.sealed(header));
        bytes.resize(bytes.len().next_multiple_of(unit), 0);
        (place * self.sector, bytes)
    }

    /// The sector of the backup header that the image came with, as a byte, where it lies behind every partition and
    /// is no part of the new backup. To be asked before a partition grows over it.
    pub(super) fn stale_backup(&self) -> Option<u64> {
        let is_behind = self.partitions().all(|partition| self.old_backup > partition.last);
        let is_stale = is_behind && self.old_backup < self.last - self.entry_sectors();
        is_stale.then(|| self.old_backup.checked_mul(self.sector)).flatten()
    }

    /// A header with its checksums.
    fn sealed(&self, mut header: Vec<u8>) -> Vec<u8> {
        put(&mut header, ENTRIES_CHECKSUM, &crc(&self.entries).to_le_bytes());
        let sum = crc(&without_checksum(&header));
        put(&mut header, CHECKSUM, &sum.to_le_bytes());
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// A table as Debian's images have one: partitions 1, 14 and 15, the first one last on the disk.
    fn head(sector: u32, disk_mib: u64) -> Vec<u8> {
        let wide_sector = u64::from(sector);
        let per_mib = MIB / wide_sector;
        let last = disk_mib * per_mib - 1;
        let mut header = vec![0; 92];
        put(&mut header, 0, SIGNATURE);
        put(&mut header, 8, &[0, 0, 1, 0, 92, 0, 0, 0]);
        put(&mut header, OWN_PLACE, &1u64.to_le_bytes());
        put(&mut header, OTHER_PLACE, &last.to_le_bytes());
        put(&mut header, ENTRIES_PLACE, &2u64.to_le_bytes());
        put(&mut header, ENTRY_COUNT, &128u32.to_le_bytes());
        put(&mut header, ENTRY_BYTES, &128u32.to_le_bytes());
        let mut entries = vec![0; 128 * 128];
        for (number, kind, first, end) in [(1, [9; 16], 4, 8), (14, [8; 16], 1, 2), (15, EFI_SYSTEM, 2, 4)] {
            let entry = &mut entries[(number - 1) * 128..number * 128];
            put(entry, 0, &kind);
            put(entry, 16, &[u8::try_from(number).unwrap(); 16]);
            put(entry, FIRST, &(first * per_mib).to_le_bytes());
            put(entry, LAST, &(end * per_mib - 1).to_le_bytes());
            put(entry, 48, &[0x5a; 8]);
        }
        let table = GptTable {
            sector: wide_sector,
            last,
            header,
            entries,
            entry_bytes: 128,
            old_backup: last,
        };
        let mut head = vec![0; usize::try_from(MIB).unwrap()];
        put(
            &mut head,
            446,
            &[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 9, 9, 0, 0],
        );
        table.put_into(&mut head);
        head
    }

    #[test]
    fn a_table_on_a_larger_disk_keeps_its_numbers_and_grows_its_last_partition() {
        for sector in [512, 4096] {
            let per_mib = MIB / u64::from(sector);
            let mut head = head(sector, 9);
            assert_eq!(sector_bytes(&head), Some(sector));
            let before = GptTable::read(&head, sector, 9 * MIB).unwrap().unwrap();
            let mut table = GptTable::read(&head, sector, 100 * MIB).unwrap().unwrap();
            let seed = table.add_seed(2 * MIB, [7; 16]).unwrap();
            table.grow_last(Some(seed));
            table.put_into(&mut head);

            let read = GptTable::read(&head, sector, 100 * MIB).unwrap().unwrap();
            let numbers: Vec<u32> = read.partitions().map(|partition| partition.number).collect();
            assert_eq!(numbers, [1, 2, 14, 15]);
            let by_number = |number| read.partitions().find(|partition| partition.number == number).unwrap();
            assert_eq!(seed, 97 * MIB);
            assert_eq!((by_number(1).first, by_number(1).last), (4 * per_mib, 97 * per_mib - 1));
            assert_eq!(by_number(2).first, 97 * per_mib);
            assert_eq!(by_number(2).last, 99 * per_mib - 1);
            assert_eq!(read.efi_system().map(|partition| partition.number), Some(15));
            // But for the end of the first one and the new one, not a byte of the entries is another.
            let differing: Vec<usize> = before
                .entries
                .iter()
                .zip(&read.entries)
                .enumerate()
                .filter_map(|(place, (before, after))| (before != after).then_some(place))
                .collect();
            assert!(
                differing
                    .iter()
                    .all(|place| (40..48).contains(place) || (128..256).contains(place))
            );
            assert_eq!(u32_at(&head, 446 + 12), u32::try_from(100 * per_mib - 1).ok());
        }
    }

    #[test]
    fn the_backup_is_a_table_of_its_own_at_the_disks_end() {
        let head = head(512, 9);
        let table = GptTable::read(&head, 512, 100 * MIB).unwrap().unwrap();
        let (at, bytes) = table.backup();
        assert_eq!(at + wide(bytes.len()), 100 * MIB);
        let header = &bytes[bytes.len() - 512..][..92];
        assert_eq!(u64_at(header, OWN_PLACE), Some(100 * 2048 - 1));
        assert_eq!(u64_at(header, OTHER_PLACE), Some(1));
        assert_eq!(u64_at(header, ENTRIES_PLACE), Some(at / 512));
        assert_eq!(u32_at(header, CHECKSUM), Some(crc(&without_checksum(header))));
        assert_eq!(u32_at(header, ENTRIES_CHECKSUM), Some(crc(&bytes[..128 * 128])));
        assert_eq!(table.stale_backup(), Some((9 * 2048 - 1) * 512));
        let same = GptTable::read(&head, 512, 9 * MIB).unwrap().unwrap();
        assert_eq!(same.stale_backup(), None);
    }

    #[test]
    fn without_a_seed_the_last_partition_takes_all_there_is() {
        let head = head(512, 9);
        let mut table = GptTable::read(&head, 512, 100 * MIB).unwrap().unwrap();
        table.grow_last(None);
        let last = table.partitions().next().unwrap().last;
        assert_eq!(last, 99 * 2048 - 1);
        // On a disk that is no larger nothing shrinks.
        let mut same = GptTable::read(&head, 512, 9 * MIB).unwrap().unwrap();
        same.grow_last(None);
        assert_eq!(same.partitions().next().unwrap().last, 8 * 2048 - 1);
    }

    #[test]
    fn what_is_no_sound_table_is_said_to_be_none() {
        let sound = head(512, 9);
        let read = |head: &[u8], disk: u64| GptTable::read(head, 512, disk).map(|table| table.is_some());
        assert_eq!(read(&vec![0; 1 << 20], 100 * MIB), Ok(false));
        assert_eq!(read(&[], 100 * MIB), Ok(false));
        for (place, fault) in [
            (512 + 60, TableFault::Checksum),
            (1024 + 5, TableFault::Checksum),
            (512 + 13, TableFault::Shape),
        ] {
            let mut broken = sound.clone();
            broken[place] ^= 0xff;
            assert_eq!(read(&broken, 100 * MIB), Err(fault), "{place}");
        }
        assert_eq!(read(&sound[..2000], 100 * MIB), Err(TableFault::Shape));
        // A disk that ends before a partition does.
        assert_eq!(read(&sound, 8 * MIB), Err(TableFault::Shape));
        assert_eq!(read(&sound, 0), Err(TableFault::Shape));
        let mut full = GptTable::read(&sound, 512, 100 * MIB).unwrap().unwrap();
        assert_eq!(full.add_seed(95 * MIB, [0; 16]), Err(TableFault::NoRoom));
        full.entries.chunks_exact_mut(128).for_each(|entry| entry[0] |= 1);
        assert!(matches!(
            full.add_seed(MIB, [0; 16]),
            Err(TableFault::Full | TableFault::NoRoom)
        ));
    }
}
