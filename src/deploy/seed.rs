//! The seed: what an installed system reads at its first start, as cloud-init's NoCloud finds it.
//!
//! A partition of its own at the disk's end, with a FAT file system labelled `CIDATA`: that works with any image
//! that has cloud-init and a GPT, whatever its root file system is (ext4, btrfs, XFS, one that is encrypted or
//! checked by dm-verity), and touches nothing in it. FAT and not ISO 9660, because a file system's sectors may not be
//! smaller than its disk's, and ISO 9660 has 2048 bytes: no disk with sectors of 4096 can be mounted with it.

use super::{failure::DeployFailure, target_disk::wide, wire::Wire};
use crate::model::{SeedContent, SeedFile, limits::DEPLOY_SEED_FILE_BYTES_MAX};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use std::io::{self, Cursor, Write};

/// What cloud-init looks for, and how FAT writes it.
const LABEL: [u8; 11] = *b"CIDATA     ";
/// Bytes beside those of the files: the file system's own tables.
const VOLUME_BYTES_MIN: u64 = 2 * 1024 * 1024;
/// The largest cluster that a file fills up.
const CLUSTER_BYTES: u64 = 4096;
/// A seed's bytes are a multiple of this.
const VOLUME_UNIT_BYTES: u64 = 1024 * 1024;

/// A file's name, and what is in it.
pub(super) type SeedTexts = Vec<(String, String)>;

/// Everything that is in a seed, with what has to be fetched.
pub(super) fn texts(files: &[SeedFile], wire: &Wire) -> Result<SeedTexts, DeployFailure> {
    let text = |file: &SeedFile| match &file.content {
        SeedContent::Text(text) => Ok(text.clone()),
        SeedContent::Url(url) => wire.text(url, "a file of the seed", DEPLOY_SEED_FILE_BYTES_MAX),
    };
    files.iter().map(|file| Ok((file.name.clone(), text(file)?))).collect()
}

/// Bytes of the partition for them.
pub(super) fn volume_bytes(texts: &[(String, String)]) -> u64 {
    let files: u64 = texts
        .iter()
        .map(|(_, text)| wide(text.len()).next_multiple_of(CLUSTER_BYTES) + CLUSTER_BYTES)
        .sum();
    (VOLUME_BYTES_MIN + files).next_multiple_of(VOLUME_UNIT_BYTES)
}

/// The file system with them, for a disk with such sectors.
pub(super) fn volume(texts: &[(String, String)], sector: u32) -> io::Result<Vec<u8>> {
    let bytes = usize::try_from(volume_bytes(texts)).map_err(io::Error::other)?;
    let mut volume = vec![0; bytes];
    let sector = u16::try_from(sector).map_err(io::Error::other)?;
    let options = FormatVolumeOptions::new()
        .bytes_per_sector(sector)
        .bytes_per_cluster(u32::from(sector.max(2048)))
        .volume_label(LABEL);
    fatfs::format_volume(Cursor::new(&mut volume), options)?;
    let system = FileSystem::new(Cursor::new(&mut volume), FsOptions::new())?;
    for (name, text) in texts {
        let mut file = system.root_dir().create_file(name)?;
        file.write_all(text.as_bytes())?;
        file.flush()?;
    }
    system.unmount()?;
    Ok(volume)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_put_in_is_found_there_by_its_name() {
        let texts: SeedTexts = [
            ("meta-data", 20),
            ("user-data", 70_000),
            ("vendor-data", 0),
            ("network-config", 4096),
        ]
        .map(|(name, bytes)| (name.to_owned(), "x".repeat(bytes)))
        .into();
        for sector in [512, 4096] {
            let mut volume = volume(&texts, sector).unwrap();
            assert_eq!(wide(volume.len()), volume_bytes(&texts));
            assert_eq!(
                u16::from_le_bytes([volume[11], volume[12]]),
                u16::try_from(sector).unwrap()
            );
            let system = FileSystem::new(Cursor::new(&mut volume), FsOptions::new()).unwrap();
            for (name, text) in &texts {
                let mut read = String::new();
                system
                    .root_dir()
                    .open_file(name)
                    .unwrap()
                    .read_to_string(&mut read)
                    .unwrap();
                assert_eq!(&read, text);
            }
        }
    }

    #[test]
    fn as_much_as_an_order_may_have_fits() {
        let texts: SeedTexts = (0..16)
            .map(|n| (n.to_string(), "x".repeat(DEPLOY_SEED_FILE_BYTES_MAX)))
            .collect();
        for sector in [512, 4096] {
            volume(&texts, sector).unwrap();
        }
    }
}
