//! The disks that a machine has, from /sys/block, as the operator's rule names them.
//!
//! The live system has no udev, so the names that it would make below /dev/disk/by-id are made here, as far as rules
//! name disks by them: `wwn-`, `nvme-`, `ata-`, `scsi-`, `virtio-` and `mmc-`.

use super::sysfs;
use crate::model::{
    DiskInfo,
    limits::{DEPLOY_DISKS_LOOK_INTERVAL, DEPLOY_DISKS_LOOK_MAX},
    may_be_disk,
};
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// A disk, and what it wants of whoever writes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundDisk {
    /// What a rule is held against.
    pub(super) info: DiskInfo,
    /// Its device node.
    pub(super) node: PathBuf,
    /// Bytes of a sector, which all it reads and writes is a multiple of.
    pub(super) sector: u32,
}

/// The kernel counts a disk's bytes in these, whatever sectors it has.
const SYSFS_SECTOR_BYTES: u64 = 512;

/// The disks below `root`, in the order of their names. What has no device behind it (loop devices, RAID, volumes) is
/// none, and neither are the boot areas of an eMMC.
pub(super) fn found(root: &Path) -> Vec<FoundDisk> {
    let entries = fs::read_dir(root.join("sys/block")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names.iter().filter_map(|name| disk(root, name)).collect()
}

/// What a rule is held against, of every disk below `root`.
pub fn disks_of(root: &Path) -> Vec<DiskInfo> {
    found(root).into_iter().map(|disk| disk.info).collect()
}

/// The disks below `root` once they have been the same for `settle`, or are what is waited for. Disks that come and go
/// all the time are those that are there at the end of [`DEPLOY_DISKS_LOOK_MAX`].
pub(super) fn settled(root: &Path, settle: Duration, is_enough: impl Fn(&[FoundDisk]) -> bool) -> Vec<FoundDisk> {
    let begun = Instant::now();
    let (mut disks, mut since) = (found(root), begun);
    while !is_enough(&disks) && since.elapsed() < settle && begun.elapsed() < DEPLOY_DISKS_LOOK_MAX {
        thread::sleep(DEPLOY_DISKS_LOOK_INTERVAL.min(settle));
        let now = found(root);
        if now != disks {
            (disks, since) = (now, Instant::now());
        }
    }
    disks
}

fn disk(root: &Path, name: &str) -> Option<FoundDisk> {
    let at = root.join("sys/block").join(name);
    if !may_be_disk(name) || !at.join("device").exists() || sysfs::flag(&at.join("hidden")) {
        return None;
    }
    // `cciss!c0d0` stands for a name with a folder in it.
    let node: PathBuf = root.join("dev").join(name.replace('!', "/"));
    let names = names_of(&at, name);
    let mut by_id = names.by_id;
    by_id.extend(links_to(&root.join("dev/disk/by-id"), &node));
    by_id.sort();
    by_id.dedup();
    let info = DiskInfo {
        name: name.into(),
        bytes: sysfs::number(&at.join("size"))?.checked_mul(SYSFS_SECTOR_BYTES)?,
        serial: names.serial,
        model: names.model,
        by_id,
        nvme: name.starts_with("nvme"),
        removable: sysfs::flag(&at.join("removable")),
        read_only: sysfs::flag(&at.join("ro")),
    };
    let sector = sysfs::number(&at.join("queue/logical_block_size")).and_then(|bytes| u32::try_from(bytes).ok());
    Some(FoundDisk {
        info,
        node,
        sector: sector
            .filter(|bytes| bytes.is_power_of_two() && *bytes >= 512)
            .unwrap_or(512),
    })
}

/// What a disk is called.
#[derive(Default)]
struct DiskNames {
    model: Option<String>,
    serial: Option<String>,
    by_id: Vec<String>,
}

fn names_of(at: &Path, name: &str) -> DiskNames {
    let device = at.join("device");
    let page = |name: &str| fs::read(device.join(name)).unwrap_or_default();
    let wwid = sysfs::text(&device.join("wwid")).or_else(|| sysfs::text(&at.join("wwid")));
    let mut names = DiskNames {
        model: sysfs::text(&device.join("model")),
        serial: sysfs::text(&device.join("serial")).or_else(|| sysfs::unit_serial(&page("vpd_pg80"))),
        by_id: Vec::new(),
    };
    let kind = if name.starts_with("nvme") {
        "nvme"
    } else if name.starts_with("vd") {
        names.serial = sysfs::text(&at.join("serial")).or(names.serial);
        "virtio"
    } else if name.starts_with("mmcblk") {
        names.model = sysfs::text(&device.join("name")).or(names.model);
        "mmc"
    } else if let Some((model, serial)) = sysfs::ata_names(&page("vpd_pg89")) {
        (names.model, names.serial) = (Some(model), Some(serial));
        "ata"
    } else {
        "scsi"
    };
    let id = match (&names.model, &names.serial) {
        (_, Some(serial)) if kind == "virtio" => Some(joined(&[kind, serial], "-")),
        (Some(model), Some(serial)) => Some(joined(&[kind, &joined(&[model, serial], "_")], "-")),
        _ => None,
    };
    names.by_id.extend(id);
    if let Some(wwid) = wwid {
        names.by_id.extend(
            wwid.strip_prefix("naa.")
                .map(|naa| joined(&["wwn", &joined(&["0x", naa], "")], "-")),
        );
        if kind == "nvme" {
            names.by_id.push(joined(&[kind, &wwid], "-"));
        }
    }
    names
}

/// As udev writes it: blanks are `_`.
fn joined(parts: &[&str], by: &str) -> String {
    let words = |part: &&str| part.split_whitespace().collect::<Vec<_>>().join("_");
    parts.iter().map(words).collect::<Vec<_>>().join(by)
}

/// The names of links in a folder that lead to a node.
fn links_to(folder: &Path, node: &Path) -> Vec<String> {
    let leads_there =
        |entry: &fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|target| target.file_name() == node.file_name());
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let links = entries.filter(leads_there);
    links.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, files: &[(&str, &[u8])]) {
        for (path, text) in files {
            let path = root.join("sys/block").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn disks_are_named_as_their_labels_and_as_udev_names_them() {
        let root = tempfile::tempdir().unwrap();
        put(
            root.path(),
            &[
                ("nvme0n1/size", b"3907029168\n"),
                ("nvme0n1/wwid", b"eui.0025388b91b0c0aa\n"),
                ("nvme0n1/device/model", b"Samsung SSD 970 EVO Plus 2TB            \n"),
                ("nvme0n1/device/serial", b"S4J4NX0R123456      \n"),
                ("nvme0n1/queue/logical_block_size", b"4096\n"),
                ("nvme0c0n1/size", b"3907029168\n"),
                ("nvme0c0n1/hidden", b"1\n"),
                ("nvme0c0n1/device/model", b"x\n"),
                ("sda/size", b"937703088\n"),
                ("sda/ro", b"0\n"),
                ("sda/removable", b"0\n"),
                ("sda/device/model", b"MZ7LH480HAHQ0D3 \n"),
                ("sda/device/wwid", b"naa.5002538e40a1b2c3\n"),
                ("sda/device/vpd_pg80", b"\0\x80\0\x0eS45NNE0M123456"),
                ("sdb/size", b"15728640\n"),
                ("sdb/removable", b"1\n"),
                ("sdb/device/model", b"DataTraveler 3.0\n"),
                ("vda/size", b"20971520\n"),
                ("vda/serial", b"disk-of-r1u07\n"),
                ("vda/device/vendor", b"0x1af4\n"),
                ("loop0/size", b"8\n"),
                ("sr0/size", b"8\n"),
                ("sr0/device/model", b"QEMU DVD-ROM\n"),
                ("mmcblk0boot0/size", b"8\n"),
                ("mmcblk0boot0/device/name", b"x\n"),
            ],
        );
        let by_id = root.path().join("dev/disk/by-id");
        fs::create_dir_all(&by_id).unwrap();
        std::os::unix::fs::symlink("../../sda", by_id.join("ata-SAMSUNG_MZ7LH480")).unwrap();

        let disks = found(root.path());
        let names: Vec<&str> = disks.iter().map(|disk| disk.info.name.as_str()).collect();
        assert_eq!(names, ["nvme0n1", "sda", "sdb", "vda"]);
        let [nvme, sda, sdb, vda] = &disks[..] else { panic!() };
        assert_eq!(
            (nvme.info.bytes, nvme.info.nvme, nvme.sector),
            (2_000_398_934_016, true, 4096)
        );
        assert_eq!(nvme.info.model.as_deref(), Some("Samsung SSD 970 EVO Plus 2TB"));
        assert_eq!(
            nvme.info.by_id,
            [
                "nvme-Samsung_SSD_970_EVO_Plus_2TB_S4J4NX0R123456",
                "nvme-eui.0025388b91b0c0aa"
            ]
        );
        assert_eq!(sda.info.serial.as_deref(), Some("S45NNE0M123456"));
        assert_eq!(
            sda.info.by_id,
            [
                "ata-SAMSUNG_MZ7LH480",
                "scsi-MZ7LH480HAHQ0D3_S45NNE0M123456",
                "wwn-0x5002538e40a1b2c3"
            ]
        );
        assert_eq!((sda.sector, sda.info.removable), (512, false));
        assert!(sdb.info.removable && sdb.info.serial.is_none());
        assert_eq!(vda.info.by_id, ["virtio-disk-of-r1u07"]);
        assert_eq!(vda.node, root.path().join("dev/vda"));
    }

    #[test]
    fn a_machine_without_disks_has_none() {
        assert_eq!(found(Path::new("/nonexistent")), []);
    }
}
