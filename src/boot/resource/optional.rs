//! Files that loaders look for and do without: that such a one is missing is no fault, and a log that
//! warns of seven of them a boot hides the line that matters.

/// shim: revocations of a later date than its own, and certificates of the owner's. Debian 12's asks for
/// the last two and `shim_certificate_0.efi`.
const SHIM: [&str; 3] = ["revocations.efi", "revocations_sbat.efi", "revocations_sku.efi"];
const SHIM_CERTIFICATE: &str = "shim_certificate";
/// Which module has which command, file system, cipher, terminal and partition tool. A signed GRUB has all
/// of its modules built in.
const GRUB_LISTS: [&str; 5] = ["command.lst", "crypto.lst", "fs.lst", "parttool.lst", "terminal.lst"];
/// Translations of GRUB's own messages, in a folder `locale`.
const GRUB_TRANSLATIONS: [&str; 4] = [".mo", ".mo.gz", ".gmo", ".gmo.gz"];

/// U-Boot: a script of its own, for which it asks before `pxelinux.cfg`; a boot file by its address, where
/// it was told none; and the device tree of its board, whose name it may not know.
const U_BOOT: [&str; 2] = ["boot.scr", "boot.scr.uimg"];
const U_BOOT_DEVICE_TREES: &str = "dtb";
const U_BOOT_IMAGE: &str = ".img";

/// Whether the loader that asks for the path goes on without it.
pub(super) fn is_optional(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    SHIM.contains(&name)
        || name.starts_with(SHIM_CERTIFICATE) && name.ends_with(".efi")
        || U_BOOT.contains(&path)
        || path == U_BOOT_DEVICE_TREES
        || folder == U_BOOT_DEVICE_TREES
        || path.strip_suffix(U_BOOT_IMAGE).is_some_and(is_address)
        || GRUB_LISTS.contains(&name) && !folder.is_empty()
        || folder.rsplit('/').next() == Some("locale") && GRUB_TRANSLATIONS.iter().any(|end| name.ends_with(end))
}

/// What cloud-init takes from a NoCloud folder if it is there. From 24.3 on it asks ten times, a second apart,
/// for what gets a 404; an empty file says the same at once.
const NOCLOUD_OPTIONAL: [&str; 2] = ["network-config", "vendor-data"];

/// Whether an answer of these files is a NoCloud folder, and the file one that it may lack.
pub(super) fn is_optional_in_nocloud(files: &[String], file: &str) -> bool {
    NOCLOUD_OPTIONAL.contains(&file) && files.iter().any(|known| known == "user-data")
}

/// `C000020B`: an address as U-Boot and PXELINUX write it.
fn is_address(name: &str) -> bool {
    name.len() == 8 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shim_and_grub_look_for_is_told_from_what_a_boot_needs() {
        for spare in [
            "revocations.efi",
            "revocations_sku.efi",
            "debian/revocations_sbat.efi",
            "shim_certificate_0.efi",
            "grub/x86_64-efi/command.lst",
            "boot/grub/arm64-efi/terminal.lst",
            "grub/locale/de.mo",
            "dtb",
            "dtb/qemu-arm.dtb",
            "boot.scr.uimg",
            "C000020B.img",
        ] {
            assert!(is_optional(spare), "{spare}");
        }
        for needed in [
            "shimx64.efi",
            "grubx64.efi",
            "snponly.efi",
            "command.lst",
            "grub/x86_64-efi/normal.mod",
            "grub/x86_64-efi/moddep.lst",
            "de.mo",
            "ldlinux.c32",
            "rescue.img",
            "C000020.img",
            "my/dtb/board.dtb",
        ] {
            assert!(!is_optional(needed), "{needed}");
        }
    }

    #[test]
    fn a_nocloud_folder_may_lack_two_files_and_another_answer_none() {
        let nocloud = ["meta-data", "user-data"].map(str::to_owned);
        for (file, spare) in [
            ("network-config", true),
            ("vendor-data", true),
            ("meta-data", false),
            ("user-data", false),
            ("preseed.cfg", false),
        ] {
            assert_eq!(is_optional_in_nocloud(&nocloud, file), spare, "{file}");
        }
        assert!(!is_optional_in_nocloud(&["preseed.cfg".to_owned()], "network-config"));
    }
}
