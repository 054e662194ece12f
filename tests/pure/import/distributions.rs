//! The layouts of the distributions' media, with their boot menus' own words.

use super::shelf::{Shelf, add, arm64_kernel, found, kernel, text};
use bootwright::{
    config,
    images::{DiskChoice, ImageChoice, found_in, sums::Hashing},
};
use std::fs;

struct Medium {
    files: Vec<(&'static str, Vec<u8>)>,
    kernel: &'static str,
    initrds: &'static [&'static str],
    disk: Option<&'static str>,
    cmdline: &'static str,
    dropped: &'static str,
    script: Option<&'static str>,
}

/// Packs the medium, finds, imports, and reads the image back as the daemon does; from the unpacked
/// folder the same is found.
fn holds(medium: &Medium) {
    let shelf = Shelf::new();
    let iso = shelf.iso(&medium.files);
    let from_iso = found(&iso);
    assert_eq!(from_iso.kernel.path, medium.kernel);
    let initrds: Vec<&str> = from_iso.initrds.iter().map(|initrd| initrd.path.as_str()).collect();
    assert_eq!(initrds, medium.initrds);
    assert_eq!(from_iso.disk.as_ref().map(|disk| disk.path.as_str()), medium.disk);
    assert_eq!(from_iso.cmdline.join(" "), medium.cmdline);
    assert_eq!(from_iso.dropped.join(" "), medium.dropped);
    assert_eq!(from_iso.script, medium.script);

    let from_folder = found(&shelf.path("tree"));
    assert_eq!(from_folder.kernel.path, medium.kernel);
    assert_eq!(from_folder.cmdline, from_iso.cmdline);
    assert_eq!(from_folder.cpu, from_iso.cpu);

    add(&shelf.images(), &from_iso).unwrap();
    assert_eq!(shelf.names(), ["it"]);
    let (images, report) = config::images(&shelf.images(), &mut Hashing::silent());
    assert!(report.errors.is_empty(), "{}", report.render(false));
    let image = &images["it"];
    assert_eq!(
        image.artifacts().count(),
        1 + medium.initrds.len() + usize::from(medium.disk.is_some())
    );
    let imported = fs::read(image.root.join(&image.kernel.as_ref().unwrap().file)).unwrap();
    assert_eq!(imported, fs::read(shelf.path("tree").join(medium.kernel)).unwrap());
}

#[test]
fn debian_installer() {
    let entry = |title: &str, initrd: &str, more: &str| {
        text(&format!(
            "label x\n\tmenu label ^{title}\n\tkernel /install.amd/vmlinuz\n\tappend {more}vga=788 initrd=/install.amd/{initrd} --- quiet\n"
        ))
    };
    holds(&Medium {
        files: vec![
            ("install.amd/vmlinuz", kernel("debian")),
            ("install.amd/initrd.gz", text("text")),
            ("install.amd/gtk/initrd.gz", text("gtk")),
            (
                "isolinux/isolinux.cfg",
                text("path\ninclude menu.cfg\ndefault vesamenu.c32\n"),
            ),
            (
                "isolinux/adtxt.cfg",
                entry("Expert install", "initrd.gz", "priority=low "),
            ),
            ("isolinux/gtk.cfg", entry("Graphical install", "gtk/initrd.gz", "")),
            ("isolinux/txt.cfg", entry("Install", "initrd.gz", "")),
            (
                ".disk/info",
                text("Debian GNU/Linux 12.5.0 \"Bookworm\" - Official amd64 NETINST\n"),
            ),
        ],
        kernel: "install.amd/vmlinuz",
        initrds: &["install.amd/initrd.gz"],
        disk: None,
        cmdline: "",
        dropped: "vga=788 --- quiet",
        script: Some("debian-installer"),
    });
}

#[test]
fn debian_live() {
    let menu = "label live-amd64\n menu label ^Live system (amd64)\n linux /live/vmlinuz-6.1.0-18-amd64\n \
                initrd /live/initrd.img-6.1.0-18-amd64\n append boot=live components quiet splash findiso=${iso_path}\n";
    holds(&Medium {
        files: vec![
            ("live/vmlinuz-6.1.0-18-amd64", kernel("live")),
            ("live/initrd.img-6.1.0-18-amd64", text("initrd")),
            ("live/filesystem.squashfs", text("squashfs")),
            ("isolinux/live.cfg", text(menu)),
        ],
        kernel: "live/vmlinuz-6.1.0-18-amd64",
        initrds: &["live/initrd.img-6.1.0-18-amd64"],
        disk: Some("live/filesystem.squashfs"),
        cmdline: "boot=live components",
        dropped: "quiet splash findiso=${iso_path}",
        script: Some("live"),
    });
}

#[test]
fn debian_netboot() {
    holds(&Medium {
        files: vec![
            ("debian-installer/amd64/linux", kernel("netboot")),
            ("debian-installer/amd64/initrd.gz", text("initrd")),
            (
                "debian-installer/amd64/boot-screens/txt.cfg",
                text(
                    "label install\n\tkernel debian-installer/amd64/linux\n\tappend vga=788 initrd=debian-installer/amd64/initrd.gz --- quiet\n",
                ),
            ),
        ],
        kernel: "debian-installer/amd64/linux",
        initrds: &["debian-installer/amd64/initrd.gz"],
        disk: None,
        // The menu's paths begin at the TFTP root, its file lies elsewhere: no entry names the kernel.
        cmdline: "",
        dropped: "",
        script: Some("debian-installer"),
    });
}

#[test]
fn ubuntu() {
    let grub = "menuentry \"Try or Install Ubuntu Server\" {\n\tset gfxpayload=keep\n\tlinux\t/casper/vmlinuz  ---\n\tinitrd\t/casper/initrd\n}\n\
                menuentry 'Ubuntu Server with the HWE kernel' {\n\tlinux\t/casper/hwe-vmlinuz  ---\n\tinitrd\t/casper/hwe-initrd\n}\n";
    let loopback = "menuentry \"Install\" {\n linux /casper/vmlinuz boot=casper iso-scan/filename=${iso_path} ---\n initrd /casper/initrd\n}\n";
    holds(&Medium {
        files: vec![
            ("casper/vmlinuz", kernel("ga")),
            ("casper/initrd", text("ga")),
            ("casper/hwe-vmlinuz", kernel("hwe")),
            ("casper/hwe-initrd", text("hwe")),
            ("boot/grub/grub.cfg", text(grub)),
            ("boot/grub/loopback.cfg", text(loopback)),
        ],
        kernel: "casper/vmlinuz",
        initrds: &["casper/initrd"],
        disk: Some("medium.iso"),
        cmdline: "",
        dropped: "---",
        script: Some("ubuntu-autoinstall"),
    });
}

#[test]
fn ubuntu_desktop_with_a_preseed_on_the_medium() {
    let grub = "menuentry \"Try Ubuntu\" {\n linux /casper/vmlinuz file=/cdrom/preseed/ubuntu.seed boot=casper maybe-ubiquity quiet splash ---\n initrd /casper/initrd\n}\n";
    holds(&Medium {
        files: vec![
            ("casper/vmlinuz", kernel("ga")),
            ("casper/initrd", text("ga")),
            ("boot/grub/grub.cfg", text(grub)),
        ],
        kernel: "casper/vmlinuz",
        initrds: &["casper/initrd"],
        disk: Some("medium.iso"),
        cmdline: "boot=casper maybe-ubiquity",
        dropped: "file=/cdrom/preseed/ubuntu.seed quiet splash ---",
        script: Some("ubuntu-autoinstall"),
    });
}

#[test]
fn rocky_installer() {
    let isolinux = "label linux\n  menu label ^Install Rocky Linux 9.4\n  kernel vmlinuz\n  append initrd=initrd.img inst.stage2=hd:LABEL=Rocky-9-4-x86_64-dvd quiet\n\
                    label check\n  menu default\n  kernel vmlinuz\n  append initrd=initrd.img inst.stage2=hd:LABEL=Rocky-9-4-x86_64-dvd rd.live.check quiet\n\
                    label rescue\n  kernel vmlinuz\n  append initrd=initrd.img inst.rescue quiet\n";
    let tree_info = "[general]\nname = Rocky Linux 9.4\narch = x86_64\n[images-x86_64]\nkernel = images/pxeboot/vmlinuz\ninitrd = images/pxeboot/initrd.img\n";
    holds(&Medium {
        files: vec![
            ("images/pxeboot/vmlinuz", kernel("rocky")),
            ("images/pxeboot/initrd.img", text("initrd")),
            ("isolinux/vmlinuz", kernel("rocky")),
            ("isolinux/initrd.img", text("initrd")),
            ("isolinux/isolinux.cfg", text(isolinux)),
            ("images/install.img", text("stage2")),
            (".treeinfo", text(tree_info)),
        ],
        kernel: "images/pxeboot/vmlinuz",
        initrds: &["images/pxeboot/initrd.img"],
        disk: None,
        cmdline: "",
        dropped: "inst.stage2=hd:LABEL=Rocky-9-4-x86_64-dvd quiet",
        script: Some("kickstart"),
    });
}

#[test]
fn fedora_live() {
    let grub = "menuentry 'Start Fedora-Workstation-Live' --class fedora {\n\tlinux /images/pxeboot/vmlinuz root=live:CDLABEL=Fedora-WS-Live-39 rd.live.image quiet rhgb\n\tinitrd /images/pxeboot/initrd.img\n}\n";
    holds(&Medium {
        files: vec![
            ("images/pxeboot/vmlinuz", kernel("fedora")),
            ("images/pxeboot/initrd.img", text("initrd")),
            ("LiveOS/squashfs.img", text("squashfs")),
            ("EFI/BOOT/grub.cfg", text(grub)),
        ],
        kernel: "images/pxeboot/vmlinuz",
        initrds: &["images/pxeboot/initrd.img"],
        disk: Some("LiveOS/squashfs.img"),
        cmdline: "rd.live.image",
        dropped: "root=live:CDLABEL=Fedora-WS-Live-39 quiet rhgb",
        script: Some("dracut-live"),
    });
}

#[test]
fn coreos() {
    let isolinux = "label linux\n  kernel /images/pxeboot/vmlinuz\n  append initrd=/images/pxeboot/initrd.img,/images/ignition.img coreos.liveiso=fedora-coreos-40 ignition.firstboot ignition.platform.id=metal\n";
    holds(&Medium {
        files: vec![
            ("images/pxeboot/vmlinuz", kernel("coreos")),
            ("images/pxeboot/initrd.img", text("initrd")),
            ("images/pxeboot/rootfs.img", text("rootfs")),
            ("isolinux/isolinux.cfg", text(isolinux)),
        ],
        kernel: "images/pxeboot/vmlinuz",
        initrds: &["images/pxeboot/initrd.img"],
        disk: Some("images/pxeboot/rootfs.img"),
        cmdline: "ignition.firstboot ignition.platform.id=metal",
        dropped: "coreos.liveiso=fedora-coreos-40",
        script: Some("coreos"),
    });
}

#[test]
fn flatcar() {
    holds(&Medium {
        files: vec![
            ("flatcar/vmlinuz", kernel("flatcar")),
            ("flatcar/cpio.gz", text("initrd")),
            (
                "syslinux/isolinux.cfg",
                text("label flatcar\n  kernel /flatcar/vmlinuz\n  append initrd=/flatcar/cpio.gz flatcar.autologin\n"),
            ),
        ],
        kernel: "flatcar/vmlinuz",
        initrds: &["flatcar/cpio.gz"],
        disk: None,
        cmdline: "flatcar.autologin",
        dropped: "",
        script: Some("flatcar"),
    });
}

#[test]
fn opensuse() {
    let isolinux = "label linux\n  kernel linux\n  append initrd=initrd splash=silent\nlabel rescue\n  kernel linux\n  append initrd=initrd splash=silent rescue=1\n";
    holds(&Medium {
        files: vec![
            ("boot/x86_64/loader/linux", kernel("suse")),
            ("boot/x86_64/loader/initrd", text("initrd")),
            ("boot/x86_64/loader/isolinux.cfg", text(isolinux)),
        ],
        kernel: "boot/x86_64/loader/linux",
        initrds: &["boot/x86_64/loader/initrd"],
        disk: None,
        cmdline: "",
        dropped: "splash=silent",
        script: None,
    });
}

#[test]
fn arch() {
    let entry = "title Arch Linux install medium\nlinux /arch/boot/x86_64/vmlinuz-linux\ninitrd /arch/boot/intel-ucode.img\n\
                 initrd /arch/boot/x86_64/initramfs-linux.img\noptions archisobasedir=arch archisosearchuuid=2024-06-01-00-00-00-00\n";
    holds(&Medium {
        files: vec![
            ("arch/boot/x86_64/vmlinuz-linux", kernel("arch")),
            ("arch/boot/x86_64/initramfs-linux.img", text("initrd")),
            ("arch/boot/intel-ucode.img", text("ucode")),
            ("arch/x86_64/airootfs.sfs", text("sfs")),
            ("loader/entries/01-archiso.conf", text(entry)),
        ],
        kernel: "arch/boot/x86_64/vmlinuz-linux",
        initrds: &["arch/boot/intel-ucode.img", "arch/boot/x86_64/initramfs-linux.img"],
        disk: Some("arch/x86_64/airootfs.sfs"),
        cmdline: "archisobasedir=arch",
        dropped: "archisosearchuuid=2024-06-01-00-00-00-00",
        script: Some("arch"),
    });
}

#[test]
fn archs_system_lies_where_it_looks_for_it() {
    let shelf = Shelf::new();
    let iso = shelf.iso(&[
        ("arch/boot/x86_64/vmlinuz-linux", kernel("arch")),
        ("arch/boot/x86_64/initramfs-linux.img", text("initrd")),
        ("arch/x86_64/airootfs.sfs", text("sfs")),
    ]);
    add(&shelf.images(), &found(&iso)).unwrap();
    assert_eq!(
        fs::read(shelf.images().join("it/arch/x86_64/airootfs.sfs")).unwrap(),
        b"sfs"
    );
}

#[test]
fn alpine() {
    let menu = "LABEL lts\nMENU LABEL Linux lts\nKERNEL /boot/vmlinuz-lts\nINITRD /boot/initramfs-lts\nFDTDIR /boot/dtbs-lts\nAPPEND modules=loop,squashfs,sd-mod,usb-storage quiet\n";
    holds(&Medium {
        files: vec![
            ("boot/vmlinuz-lts", kernel("alpine")),
            ("boot/initramfs-lts", text("initrd")),
            ("boot/modloop-lts", text("modloop")),
            ("boot/syslinux/syslinux.cfg", text(menu)),
        ],
        kernel: "boot/vmlinuz-lts",
        initrds: &["boot/initramfs-lts"],
        disk: Some("boot/modloop-lts"),
        cmdline: "modules=loop,squashfs,sd-mod,usb-storage",
        dropped: "quiet",
        script: Some("alpine"),
    });
}

#[test]
fn proxmox() {
    let grub = "menuentry 'Install Proxmox VE (Graphical)' --class debian {\n\tlinux\t/boot/linux26 ro ramdisk_size=16777216 rw quiet splash=silent\n\tinitrd\t/boot/initrd.img\n}\n";
    holds(&Medium {
        files: vec![
            ("boot/linux26", kernel("proxmox")),
            ("boot/initrd.img", text("initrd")),
            ("boot/grub/grub.cfg", text(grub)),
        ],
        kernel: "boot/linux26",
        initrds: &["boot/initrd.img"],
        disk: None,
        cmdline: "ro ramdisk_size=16777216 rw",
        dropped: "quiet splash=silent",
        script: None,
    });
}

#[test]
fn talos() {
    holds(&Medium {
        files: vec![
            ("boot/vmlinuz", kernel("talos")),
            ("boot/initramfs.xz", text("initrd")),
            (
                "boot/grub/grub.cfg",
                text(
                    "menuentry \"Talos\" {\n linux /boot/vmlinuz talos.platform=metal init_on_alloc=1\n initrd /boot/initramfs.xz\n}\n",
                ),
            ),
        ],
        kernel: "boot/vmlinuz",
        initrds: &["boot/initramfs.xz"],
        disk: None,
        cmdline: "talos.platform=metal init_on_alloc=1",
        dropped: "",
        script: Some("talos"),
    });
}

#[test]
fn nobody_we_know_by_its_own_boot_configuration() {
    let grub = "menuentry \"NixOS\" {\n linux /boot/nix/bzImage ${isoboot} init=/nix/store/x/init root=LABEL=nixos-minimal loglevel=4\n initrd /boot/nix/initrd\n}\n\
                menuentry \"Memtest\" {\n linux /boot/memtest.bin\n}\n";
    holds(&Medium {
        files: vec![
            ("boot/nix/bzImage", kernel("nixos")),
            ("boot/nix/initrd", text("initrd")),
            ("boot/memtest.bin", kernel("memtest")),
            ("EFI/boot/grub.cfg", text(grub)),
        ],
        kernel: "boot/nix/bzImage",
        initrds: &["boot/nix/initrd"],
        disk: None,
        cmdline: "init=/nix/store/x/init loglevel=4",
        dropped: "${isoboot} root=LABEL=nixos-minimal",
        script: None,
    });
}

#[test]
fn nobody_we_know_by_its_tree_information() {
    holds(&Medium {
        files: vec![
            ("ppc/odd/kernel.bin", arm64_kernel()),
            ("ppc/odd/ramdisk", text("initrd")),
            (
                ".treeinfo",
                text(
                    "[general]\nfamily = Odd\nversion = 1\narch = aarch64\n[images-aarch64]\nkernel = ppc/odd/kernel.bin\ninitrd = ppc/odd/ramdisk\n",
                ),
            ),
        ],
        kernel: "ppc/odd/kernel.bin",
        initrds: &["ppc/odd/ramdisk"],
        disk: None,
        cmdline: "",
        dropped: "",
        script: None,
    });
}

#[test]
fn files_with_the_usual_names_side_by_side() {
    for (kernel_file, initrd) in [
        ("linux", "initrd.gz"),
        ("vmlinuz", "initrd.img"),
        ("vmlinuz-6.1.0-18-amd64", "initrd.img-6.1.0-18-amd64"),
        ("boot/vmlinuz-5.14.0", "boot/initramfs-5.14.0.img"),
        ("bzImage", "initrd"),
    ] {
        let shelf = Shelf::new();
        let folder = shelf.folder(&[(kernel_file, kernel("x")), (initrd, text("initrd"))]);
        let found = found(&folder);
        assert_eq!(
            (found.kernel.path.as_str(), found.initrds[0].path.as_str()),
            (kernel_file, initrd)
        );
    }
}

const ARCHISO_MENU: &str = "menuentry \"live\" {\n    linux /base/boot/x86_64/vmlinuz archisobasedir=base archisolabel=LABEL\n    \
                            initrd /base/boot/ucode.img /base/boot/x86_64/system.img\n}\n";

#[test]
fn a_child_of_archiso_has_its_root_where_its_folder_says() {
    holds(&Medium {
        files: vec![
            ("base/boot/x86_64/vmlinuz", kernel("rescue")),
            ("base/boot/ucode.img", text("ucode")),
            ("base/boot/x86_64/system.img", text("initrd")),
            ("base/x86_64/airootfs.sfs", text("root")),
            ("boot/grub/grub.cfg", text(ARCHISO_MENU)),
        ],
        kernel: "base/boot/x86_64/vmlinuz",
        initrds: &["base/boot/ucode.img", "base/boot/x86_64/system.img"],
        disk: Some("base/x86_64/airootfs.sfs"),
        cmdline: "archisobasedir=base",
        dropped: "archisolabel=LABEL",
        script: Some("arch"),
    });
    let shelf = Shelf::new();
    let tree = shelf.folder(&[
        ("base/boot/x86_64/vmlinuz", kernel("rescue")),
        ("base/boot/ucode.img", text("ucode")),
        ("base/boot/x86_64/system.img", text("initrd")),
        ("base/x86_64/airootfs.sfs", text("root")),
        ("boot/grub/grub.cfg", text(ARCHISO_MENU)),
    ]);
    let found = found(&tree);
    add(&shelf.images(), &found).unwrap();
    assert!(shelf.path("images/it/base/x86_64/airootfs.sfs").exists());
    assert_eq!(found.notes, [""; 0]);
}

/// The only note of an import, which must say that such an image can't boot.
fn cannot_boot(files: &[(&'static str, Vec<u8>)]) -> String {
    let found = found(&Shelf::new().folder(files));
    let [note] = found.notes.as_slice() else {
        panic!("{:?}", found.notes);
    };
    assert!(note.starts_with("as it is, this can't boot: "), "{note}");
    note.clone().into_owned()
}

#[test]
fn a_root_that_is_found_by_a_label_and_did_not_come_along_is_reported() {
    let archiso = cannot_boot(&[
        ("base/boot/x86_64/vmlinuz", kernel("rescue")),
        ("base/boot/ucode.img", text("ucode")),
        ("base/boot/x86_64/system.img", text("initrd")),
        ("boot/grub/grub.cfg", text(ARCHISO_MENU)),
    ]);
    assert!(archiso.contains(" archisolabel=LABEL,"), "{archiso}");
    assert!(
        archiso.contains("it will want base/x86_64/airootfs.sfs, which is not here"),
        "{archiso}"
    );
    let menu = "menuentry \"live\" {\n linux /k/vmlinuz root=live:CDLABEL=ODD rd.live.dir=/k cdrom quiet\n initrd /k/ramdisk\n}\n";
    let odd = [
        ("k/vmlinuz", kernel("odd")),
        ("k/ramdisk", text("initrd")),
        ("boot/grub/grub.cfg", text(menu)),
    ];
    let without = cannot_boot(&odd);
    assert!(
        without.contains("by root=live:CDLABEL=ODD rd.live.dir=/k cdrom,"),
        "{without}"
    );
    assert!(without.contains("no file here looks like one"), "{without}");
    let with = cannot_boot(&[&odd[..], &[("k/root.squashfs", text("root"))]].concat());
    assert!(with.contains("; k/root.squashfs looks like one"), "{with}");

    // Who names the file has said what becomes of it.
    let shelf = Shelf::new();
    let tree = shelf.folder(&[&odd[..], &[("k/root.squashfs", text("root"))]].concat());
    let choice = ImageChoice {
        disk: DiskChoice::Inside("k/root.squashfs".to_owned()),
        ..ImageChoice::default()
    };
    assert_eq!(found_in(&tree, &choice).unwrap().notes, [""; 0]);
}

#[test]
fn a_casper_of_another_name_keeps_its_path_and_its_iso() {
    let menu = "menuentry \"live\" {\n    linux /casper_NAME/vmlinuz.efi boot=casper live-media-path=/casper_NAME ---\n    \
                initrd /casper_NAME/initrd.gz\n}\n";
    let files = [
        ("casper_NAME/vmlinuz.efi", kernel("pop")),
        ("casper_NAME/initrd.gz", text("initrd")),
        ("casper_NAME/filesystem.squashfs", text("root")),
        ("boot/grub/grub.cfg", text(menu)),
    ];
    holds(&Medium {
        files: files.to_vec(),
        kernel: "casper_NAME/vmlinuz.efi",
        initrds: &["casper_NAME/initrd.gz"],
        disk: Some("medium.iso"),
        cmdline: "boot=casper live-media-path=/casper_NAME",
        dropped: "---",
        script: None,
    });
    let notes = found(&Shelf::new().folder(&files)).notes.join("\n");
    assert!(notes.contains("make the image from the ISO itself"), "{notes}");
    assert!(notes.contains("url={{ image.disk }}"), "{notes}");
}

#[test]
fn harvesters_root_is_beside_its_kernel() {
    let menu = "menuentry \"Harvester\" {\n linux ($root)/boot/kernel cdrom root=live:CDLABEL=COS_LIVE rd.live.dir=/ \
                rd.live.squashimg=rootfs.squashfs console=tty1 rd.cos.disable net.ifnames=1\n initrd ($root)/boot/initrd\n}\n";
    holds(&Medium {
        files: vec![
            ("boot/kernel", kernel("harvester")),
            ("boot/initrd", text("initrd")),
            ("rootfs.squashfs", text("root")),
            ("boot/grub2/grub.cfg", text(menu)),
        ],
        kernel: "boot/kernel",
        initrds: &["boot/initrd"],
        disk: Some("rootfs.squashfs"),
        cmdline: "console=tty1 rd.cos.disable net.ifnames=1",
        dropped: "cdrom root=live:CDLABEL=COS_LIVE rd.live.dir=/ rd.live.squashimg=rootfs.squashfs",
        script: Some("dracut-live"),
    });
}

#[test]
fn a_kernel_that_its_medium_starts_under_a_hypervisor_is_reported() {
    let grub = "menuentry \"install\" {\n  multiboot2 /boot/xen.gz dom0_mem=max:8192M\n  \
                module2 /boot/vmlinuz console=hvc0 console=tty0\n  module2 /install.img\n}\n";
    let isolinux = "LABEL install\n  KERNEL mboot.c32\n  \
                    APPEND /boot/xen.gz dom0_mem=max:8192M --- /boot/vmlinuz console=hvc0 console=tty0 --- /install.img\n";
    for (path, menu) in [
        ("EFI/xenserver/grub.cfg", grub),
        ("boot/isolinux/isolinux.cfg", isolinux),
    ] {
        let files = [
            ("boot/xen.gz", text("a hypervisor")),
            ("boot/vmlinuz", kernel("dom0")),
            ("install.img", text("initrd")),
            (path, text(menu)),
        ];
        let note = cannot_boot(&files);
        assert!(note.contains("starts boot/xen.gz, a hypervisor"), "{note}");
        let found = found(&Shelf::new().folder(&files));
        let initrds: Vec<&str> = found.initrds.iter().map(|initrd| initrd.path.as_str()).collect();
        assert_eq!(
            (found.kernel.path.as_str(), initrds),
            ("boot/vmlinuz", vec!["install.img"])
        );
        assert_eq!(found.cmdline, ["console=hvc0", "console=tty0"]);
    }
}
