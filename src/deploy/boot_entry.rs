//! The entry of a UEFI firmware's boot menu that starts the installed system, through efivarfs.
//!
//! It stands right behind the entry that this live system was booted by, the network's: the next power-on asks the
//! daemon first, as every other one does, and is sent to the disk. Where the firmware does not say what it booted, it
//! stands in front. By UEFI 2.10, chapters 3.1.3 and 10.3.

use super::gpt::GptPartition;
use crate::model::BootEntry;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The variables of the firmware, and of its boot menu all of them.
struct FirmwareVariables {
    folder: PathBuf,
}

/// EFI_GLOBAL_VARIABLE.
const VENDOR: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// It stays over a reset, and both firmware and system see it.
const ATTRIBUTES: [u8; 4] = 7u32.to_le_bytes();
/// An entry that is tried.
const ACTIVE: u32 = 1;

/// The loader that firmware takes by itself.
#[cfg(target_arch = "x86_64")]
const DEFAULT_LOADER: &str = "/EFI/BOOT/BOOTX64.EFI";
#[cfg(target_arch = "aarch64")]
const DEFAULT_LOADER: &str = "/EFI/BOOT/BOOTAA64.EFI";
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const DEFAULT_LOADER: &str = "/EFI/BOOT/BOOTRISCV64.EFI";

/// Makes the entry for a loader in this partition. Answers whether there is such a firmware at all.
pub(super) fn set(root: &Path, entry: &BootEntry, partition: GptPartition) -> io::Result<bool> {
    let efi = root.join("sys/firmware/efi");
    if !efi.exists() {
        return Ok(false);
    }
    let variables = FirmwareVariables {
        folder: efi.join("efivars"),
    };
    let own = variables.numbers_of(&entry.label)?;
    let number = match own.first() {
        Some(number) => *number,
        None => variables.free_number()?,
    };
    variables.write(&entry_name(number), &load_option(entry, partition))?;
    for other in own.iter().skip(1) {
        fs::remove_file(variables.path(&entry_name(*other)))?;
    }
    let current = variables
        .read("BootCurrent")
        .ok()
        .and_then(|value| numbers(&value).first().copied());
    let order = numbers(&variables.read("BootOrder").unwrap_or_default());
    let order: Vec<u16> = order.into_iter().filter(|other| !own.contains(other)).collect();
    let value: Vec<u8> = placed(order, number, current)
        .into_iter()
        .flat_map(u16::to_le_bytes)
        .collect();
    variables.write("BootOrder", &value)?;
    Ok(true)
}

/// The order with a number behind `current`, or in front.
fn placed(mut order: Vec<u16>, number: u16, current: Option<u16>) -> Vec<u16> {
    let behind = order
        .iter()
        .position(|other| Some(*other) == current)
        .map_or(0, |place| place + 1);
    order.retain(|other| *other != number);
    order.insert(behind.min(order.len()), number);
    order
}

fn entry_name(number: u16) -> String {
    format!("Boot{number:04X}")
}

fn numbers(value: &[u8]) -> Vec<u16> {
    value
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_le_bytes(*pair))
        .collect()
}

/// EFI_LOAD_OPTION: where the partition is, and the loader in it.
fn load_option(entry: &BootEntry, partition: GptPartition) -> Vec<u8> {
    let utf16 = |text: &str| -> Vec<u8> { text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect() };
    let loader = entry.loader.as_deref().unwrap_or(DEFAULT_LOADER).replace('/', "\\");
    let mut path = Vec::new();
    // A partition of a hard disk: 4, 1; its table is GPT: 2; and it is named by its identity: 2.
    let mut hard_disk = Vec::new();
    hard_disk.extend(partition.number.to_le_bytes());
    hard_disk.extend(partition.first.to_le_bytes());
    hard_disk.extend((partition.last + 1 - partition.first).to_le_bytes());
    hard_disk.extend(partition.id);
    hard_disk.extend([2, 2]);
    node(&mut path, [4, 1], &hard_disk);
    node(&mut path, [4, 4], &utf16(&loader));
    node(&mut path, [0x7f, 0xff], &[]);
    let mut option = Vec::from(ACTIVE.to_le_bytes());
    option.extend(u16::try_from(path.len()).unwrap_or(u16::MAX).to_le_bytes());
    option.extend(utf16(&entry.label));
    option.extend(path);
    option
}

/// A node of a device path: its kind, its length, its data.
fn node(path: &mut Vec<u8>, kind: [u8; 2], data: &[u8]) {
    path.extend(kind);
    path.extend(u16::try_from(data.len() + 4).unwrap_or(u16::MAX).to_le_bytes());
    path.extend(data);
}

/// The name of an EFI_LOAD_OPTION.
fn label(option: &[u8]) -> Option<String> {
    let units = option
        .get(6..)?
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_le_bytes(*pair));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16(&units).ok()
}

impl FirmwareVariables {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}-{VENDOR}"))
    }

    /// The value, without the attributes in front of it.
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut value = fs::read(self.path(name))?;
        value.drain(..value.len().min(ATTRIBUTES.len()));
        Ok(value)
    }

    /// In one write, as efivarfs wants it.
    fn write(&self, name: &str, value: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::from(ATTRIBUTES);
        bytes.extend(value);
        fs::write(self.path(name), bytes)
    }

    /// The numbers of the entries that there are.
    fn entries(&self) -> io::Result<Vec<u16>> {
        let mut found = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let name = file?.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_prefix("Boot")?.strip_suffix(VENDOR)?.strip_suffix('-'));
            found.extend(
                number
                    .filter(|digits| digits.len() == 4)
                    .and_then(|digits| u16::from_str_radix(digits, 16).ok()),
            );
        }
        if found.is_empty() && fs::read_dir(&self.folder)?.next().is_none() {
            return Err(io::Error::other("efivarfs is not mounted"));
        }
        found.sort_unstable();
        Ok(found)
    }

    fn numbers_of(&self, wanted: &str) -> io::Result<Vec<u16>> {
        let is_own = |number: &u16| {
            let option = self.read(&entry_name(*number)).unwrap_or_default();
            label(&option).as_deref() == Some(wanted)
        };
        Ok(self.entries()?.into_iter().filter(is_own).collect())
    }

    fn free_number(&self) -> io::Result<u16> {
        let taken = self.entries()?;
        let free = (0..=u16::MAX).find(|number| !taken.contains(number));
        free.ok_or_else(|| io::Error::other("the boot menu is full"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESP: GptPartition = GptPartition {
        number: 15,
        id: [0xab; 16],
        first: 8192,
        last: 262_143,
    };

    fn entry() -> BootEntry {
        BootEntry {
            label: "Bootwright".to_owned(),
            loader: None,
        }
    }

    fn variables(order: &[u16], current: Option<u16>) -> (tempfile::TempDir, FirmwareVariables) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("sys/firmware/efi/efivars");
        fs::create_dir_all(&folder).unwrap();
        let variables = FirmwareVariables { folder };
        for number in order {
            let other = BootEntry {
                label: format!("UEFI PXE {number}"),
                loader: None,
            };
            variables
                .write(&entry_name(*number), &load_option(&other, ESP))
                .unwrap();
        }
        let value: Vec<u8> = order.iter().flat_map(|number| number.to_le_bytes()).collect();
        variables.write("BootOrder", &value).unwrap();
        if let Some(current) = current {
            variables.write("BootCurrent", &current.to_le_bytes()).unwrap();
        }
        (root, variables)
    }

    #[test]
    fn the_disk_comes_right_behind_the_network() {
        let (root, variables) = variables(&[0, 2, 3], Some(2));
        assert!(set(root.path(), &entry(), ESP).unwrap());
        assert_eq!(numbers(&variables.read("BootOrder").unwrap()), [0, 2, 1, 3]);
        assert_eq!(
            label(&variables.read("Boot0001").unwrap()).as_deref(),
            Some("Bootwright")
        );
        // Once more, and nothing is there twice.
        assert!(set(root.path(), &entry(), ESP).unwrap());
        assert_eq!(numbers(&variables.read("BootOrder").unwrap()), [0, 2, 1, 3]);
        assert_eq!(variables.entries().unwrap(), [0, 1, 2, 3]);
    }

    #[test]
    fn where_it_is_not_known_what_booted_the_disk_comes_first() {
        let (root, variables) = variables(&[5], None);
        assert!(set(root.path(), &entry(), ESP).unwrap());
        assert_eq!(numbers(&variables.read("BootOrder").unwrap()), [0, 5]);
    }

    #[test]
    fn entries_of_its_name_are_replaced_by_one() {
        let (root, variables) = variables(&[4, 7, 8], Some(4));
        for number in [7, 8] {
            variables
                .write(&entry_name(number), &load_option(&entry(), ESP))
                .unwrap();
        }
        assert!(set(root.path(), &entry(), ESP).unwrap());
        assert_eq!(numbers(&variables.read("BootOrder").unwrap()), [4, 7]);
        assert_eq!(variables.entries().unwrap(), [4, 7]);
    }

    /// As `efibootmgr -c -l '\EFI\debian\shimx64.efi' -L Bootwright` writes it.
    #[test]
    fn an_entry_is_what_firmware_reads() {
        let other = BootEntry {
            loader: Some("/EFI/d".to_owned()),
            ..entry()
        };
        let option = load_option(&other, ESP);
        assert_eq!(option[..6], [1, 0, 0, 0, 64, 0]);
        let path = &option[6 + 22..];
        assert_eq!(path[..4], [4, 1, 42, 0]);
        assert_eq!(path[4..8], 15u32.to_le_bytes());
        assert_eq!(path[8..16], 8192u64.to_le_bytes());
        assert_eq!(path[16..24], 253_952u64.to_le_bytes());
        assert_eq!(path[24..42], [&[0xab; 16][..], &[2, 2]].concat());
        assert_eq!(path[42..46], [4, 4, 18, 0]);
        assert_eq!(path[46..60], *b"\\\0E\0F\0I\0\\\0d\0\0\0");
        assert_eq!(path[60..], [0x7f, 0xff, 4, 0]);
    }

    #[test]
    fn a_machine_without_uefi_has_no_menu_and_one_without_efivarfs_says_so() {
        let root = tempfile::tempdir().unwrap();
        assert!(!set(root.path(), &entry(), ESP).unwrap());
        fs::create_dir_all(root.path().join("sys/firmware/efi/efivars")).unwrap();
        assert!(set(root.path(), &entry(), ESP).is_err());
    }
}
