//! Which of a kernel's block devices are disks, by their names.

use super::text::glob;

/// Names of the kernel's, as globs, of what is no disk that is written to as a whole: memory, loop devices, RAID, volumes
/// and what is reached by a network; drives of other media; boot areas of an eMMC; and single paths to an NVMe disk, of
/// which the disk itself is none. The shipped fence for installers has the same, word for word.
pub const NO_DISK_NAMES: [&str; 12] = [
    "loop*",
    "ram*",
    "zram*",
    "sr*",
    "fd*",
    "md*",
    "dm-*",
    "nbd*",
    "mtd*",
    "mmcblk*boot*",
    "mmcblk*rpmb*",
    "nvme*c*n*",
];

/// Whether the kernel's name of a block device may be a disk's.
pub fn may_be_disk(name: &str) -> bool {
    !NO_DISK_NAMES.iter().any(|pattern| glob(pattern, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_told_from_its_parts_and_from_what_is_none() {
        for disk in [
            "sda",
            "sdaa",
            "nvme0n1",
            "nvme10n2",
            "vda",
            "xvda",
            "mmcblk0",
            "cciss!c0d0",
            "pmem0",
        ] {
            assert!(may_be_disk(disk), "{disk}");
        }
        for other in [
            "loop0",
            "zram0",
            "sr0",
            "md127",
            "dm-0",
            "nbd1",
            "mmcblk0boot1",
            "mmcblk1rpmb",
            "nvme0c1n1",
        ] {
            assert!(!may_be_disk(other), "{other}");
        }
    }
}
