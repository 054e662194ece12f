//! Boot configurations as distributions write them.

use super::*;
use proptest::prelude::*;

fn one(text: &str, path: &str, dialect: MenuSyntax) -> MenuEntry {
    let entries = read(text, path, dialect);
    assert_eq!(entries.len(), 1, "{entries:#?}");
    entries.into_iter().next().unwrap()
}

#[test]
fn isolinux_names_its_files_from_the_top_or_beside_itself() {
    let debian = "default vesamenu.c32\nlabel install\n\tmenu label ^Install\n\tkernel /install.amd/vmlinuz\n\
                  \tappend vga=788 initrd=/install.amd/initrd.gz --- quiet \n";
    let entry = one(debian, "isolinux/txt.cfg", MenuSyntax::Syslinux);
    assert_eq!(
        (entry.title.as_str(), entry.kernel.as_str()),
        ("Install", "install.amd/vmlinuz")
    );
    assert_eq!(entry.initrds, ["install.amd/initrd.gz"]);
    assert_eq!(entry.parameters, ["vga=788", "---", "quiet"]);
    let fedora = "LABEL linux\n  KERNEL vmlinuz\n  APPEND initrd=initrd.img,ucode.img inst.stage2=hd:LABEL=F quiet\n";
    let entry = one(fedora, "isolinux/isolinux.cfg", MenuSyntax::Syslinux);
    assert_eq!(entry.kernel, "isolinux/vmlinuz");
    assert_eq!(entry.initrds, ["isolinux/initrd.img", "isolinux/ucode.img"]);
}

#[test]
fn grub_has_quotes_devices_and_variables() {
    let text = "set timeout=30\nmenuentry \"Try or Install Ubuntu\" --class ubuntu {\n\tset gfxpayload=keep\n\
                \tlinux\t/casper/vmlinuz  file=/cdrom/x ds=nocloud\\;s=/a 'one word' ---\n\
                \tinitrd\t/casper/initrd /more # comment\n}\nlinux16 (cd0)/memtest\n";
    let entries = read(text, "boot/grub/grub.cfg", MenuSyntax::Grub);
    assert_eq!(entries[0].title, "Try or Install Ubuntu");
    assert_eq!(
        entries[0].parameters,
        ["file=/cdrom/x", "ds=nocloud;s=/a", "one word", "---"]
    );
    assert_eq!(entries[0].initrds, ["casper/initrd", "more"]);
    assert_eq!((entries[1].title.as_str(), entries[1].kernel.as_str()), ("", "memtest"));
}

#[test]
fn a_loader_entry_has_its_lines_in_any_order() {
    let text = "title Arch Linux install medium\noptions archisobasedir=arch archisosearchuuid=2026\n\
                linux /arch/boot/x86_64/vmlinuz-linux\ninitrd /arch/boot/ucode.img\ninitrd /arch/boot/x86_64/i.img\n";
    let entry = one(text, "loader/entries/01.conf", MenuSyntax::Loader);
    assert_eq!(entry.kernel, "arch/boot/x86_64/vmlinuz-linux");
    assert_eq!(entry.initrds.len(), 2);
    assert_eq!(entry.parameters[0], "archisobasedir=arch");
}

#[test]
fn a_path_never_leaves_the_top() {
    for (folder, written, path) in [
        ("a/b", "../../../../etc/passwd", "etc/passwd"),
        ("a", "/../x", "x"),
        ("a/b", "./c", "a/b/c"),
        ("", "", ""),
    ] {
        assert_eq!(within(folder, written), path);
    }
}

#[test]
fn a_configuration_is_known_by_its_place() {
    for (path, dialect) in [
        ("isolinux/isolinux.cfg", MenuSyntax::Syslinux),
        ("ISOLINUX.CFG", MenuSyntax::Syslinux),
        ("boot/x86_64/loader/isolinux.cfg", MenuSyntax::Syslinux),
        ("debian-installer/amd64/pxelinux.cfg/default", MenuSyntax::Syslinux),
        ("EFI/BOOT/grub.cfg", MenuSyntax::Grub),
        ("boot/grub2/themes.cfg", MenuSyntax::Grub),
        ("loader/entries/arch.conf", MenuSyntax::Loader),
    ] {
        assert_eq!(kind(path).map(|(_, dialect)| dialect), Some(dialect), "{path}");
    }
    assert_eq!(kind("preseed/default.cfg"), None);
}

/// Pieces that mean something to one dialect or another.
const PIECES: [&str; 16] = [
    "label ",
    "linux ",
    "initrd ",
    "append ",
    "menuentry ",
    "initrd=",
    "menu label ",
    "options ",
    "\"",
    "'",
    "\\",
    "(",
    ")",
    "/..",
    "\n",
    "é",
];

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(pieces in proptest::collection::vec(0..PIECES.len(), 0..60)) {
        let text: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        for dialect in [MenuSyntax::Syslinux, MenuSyntax::Grub, MenuSyntax::Loader] {
            read(&text, "a/b.cfg", dialect);
        }
    }
}
