//! What is known of distributions: where their media and folders keep kernel and initrds, what
//! their systems fetch by URL, and which kernel parameters make sense on the medium alone.
//!
//! A new distribution is one row of [`DISTRIBUTIONS`]. Order counts: the first row that fits a
//! folder or an ISO names it. Nothing here looks at files.

/// One distribution.
pub(super) struct Distribution {
    /// What it is called in messages.
    pub(super) name: &'static str,
    /// Where kernel and initrds may be; the first that is there counts.
    pub(super) boots: &'static [KernelSet],
    /// What its system fetches by URL, so that the image needs it as its disk.
    pub(super) disk: DiskSource,
    /// Kernel parameters of every boot, where the boot entry does not have them.
    pub(super) needs: &'static [&'static str],
    /// The script in `ipxe-scripts` that boots it.
    pub(super) script: Option<&'static str>,
    /// What an operator must know before it boots; empty where there is nothing.
    pub(super) note: &'static str,
}

/// Kernels that go with the same initrds. In a path `*` is any text without a slash, and in the
/// paths of initrds and disk it is what it was in the kernel's.
pub(super) struct KernelSet {
    /// Any of these.
    pub(super) kernels: &'static [&'static str],
    /// Each of these, the first of its alternatives that is there; an empty one means that it may
    /// be missing.
    pub(super) initrds: &'static [&'static [&'static str]],
}

/// What is served beside kernel and initrds.
pub(super) enum DiskSource {
    /// Nothing.
    None,
    /// The ISO itself.
    Iso,
    /// A file of it, under its own name. Without it, it is not this distribution.
    File(&'static str),
    /// A file of it that must lie at the same path beneath the image's URL.
    At(&'static str),
}

const fn boot(kernels: &'static [&'static str], initrds: &'static [&'static [&'static str]]) -> KernelSet {
    KernelSet { kernels, initrds }
}

/// A row with nothing but its places: the others say what they add.
const PLAIN: Distribution = Distribution {
    name: "",
    boots: &[],
    disk: DiskSource::None,
    needs: &[],
    script: None,
    note: "",
};

/// Every distribution that is known by where its files are.
pub(super) const DISTRIBUTIONS: &[Distribution] = &[
    Distribution {
        name: "Fedora CoreOS",
        boots: &[boot(&["images/pxeboot/vmlinuz"], &[&["images/pxeboot/initrd.img"]])],
        disk: DiskSource::File("images/pxeboot/rootfs.img"),
        script: Some("coreos"),
        ..PLAIN
    },
    Distribution {
        name: "Fedora CoreOS, its PXE files",
        boots: &[boot(
            &["*-live-kernel.x86_64", "*-live-kernel-x86_64"],
            &[&["*-live-initramfs.x86_64.img"]],
        )],
        disk: DiskSource::File("*-live-rootfs.x86_64.img"),
        script: Some("coreos"),
        ..PLAIN
    },
    Distribution {
        name: "Fedora CoreOS, its PXE files",
        boots: &[boot(
            &["*-live-kernel.aarch64", "*-live-kernel-aarch64"],
            &[&["*-live-initramfs.aarch64.img"]],
        )],
        disk: DiskSource::File("*-live-rootfs.aarch64.img"),
        script: Some("coreos"),
        ..PLAIN
    },
    Distribution {
        name: "Flatcar",
        boots: &[
            boot(&["flatcar/vmlinuz"], &[&["flatcar/cpio.gz"]]),
            boot(
                &["flatcar_production_pxe.vmlinuz"],
                &[&["flatcar_production_pxe_image.cpio.gz"]],
            ),
        ],
        script: Some("flatcar"),
        ..PLAIN
    },
    Distribution {
        name: "Ubuntu (casper)",
        boots: &[
            boot(
                &["casper/vmlinuz", "casper/vmlinuz.efi"],
                &[&["casper/initrd", "casper/initrd.lz", "casper/initrd.gz"]],
            ),
            boot(&["casper/hwe-vmlinuz"], &[&["casper/hwe-initrd"]]),
            boot(&["casper/vmlinuz-*"], &[&["casper/initrd.img-*", "casper/initrd-*"]]),
        ],
        disk: DiskSource::Iso,
        script: Some("ubuntu-autoinstall"),
        ..PLAIN
    },
    Distribution {
        name: "Pop!_OS (casper)",
        boots: &[boot(
            &["casper_*/vmlinuz.efi", "casper_*/vmlinuz"],
            &[&["casper_*/initrd.gz", "casper_*/initrd", "casper_*/initrd.lz"]],
        )],
        disk: DiskSource::Iso,
        needs: &["boot=casper"],
        note: "its system fetches the ISO by url= and looks in it at live-media-path=: a script of your own gives it \
               `url={{ image.disk }} ip=dhcp`",
        ..PLAIN
    },
    Distribution {
        name: "Debian live",
        boots: &[
            boot(&["live/vmlinuz"], &[&["live/initrd.img", "live/initrd"]]),
            boot(
                &["live/vmlinuz*"],
                &[&["live/initrd.img*", "live/initrd*", "live/initrd*.img"]],
            ),
        ],
        disk: DiskSource::File("live/filesystem.squashfs"),
        needs: &["boot=live"],
        script: Some("live"),
        ..PLAIN
    },
    Distribution {
        name: "Debian's network installer",
        boots: &[boot(
            &["debian-installer/*/linux"],
            &[&["debian-installer/*/initrd.gz"]],
        )],
        script: Some("debian-installer"),
        ..PLAIN
    },
    Distribution {
        name: "Debian's installer for media",
        boots: &[
            boot(&["install.*/vmlinuz"], &[&["install.*/initrd.gz"]]),
            boot(&["install/vmlinuz"], &[&["install/initrd.gz"]]),
        ],
        script: Some("debian-installer"),
        note: "this initrd looks for its packages on the medium, and a machine that boots from the network has \
               none: for an installation from a mirror use Debian's netboot files (package \
               debian-installer-13-netboot-amd64, or netboot.tar.gz)",
        ..PLAIN
    },
    Distribution {
        name: "a Fedora live system",
        boots: &[
            boot(&["images/pxeboot/vmlinuz"], &[&["images/pxeboot/initrd.img"]]),
            boot(&["boot/*/loader/linux"], &[&["boot/*/loader/initrd"]]),
        ],
        disk: DiskSource::File("LiveOS/squashfs.img"),
        needs: &["rd.live.image"],
        script: Some("dracut-live"),
        ..PLAIN
    },
    Distribution {
        name: "Harvester, Elemental or Kairos",
        boots: &[boot(&["boot/kernel"], &[&["boot/initrd"]])],
        disk: DiskSource::File("rootfs.squashfs"),
        script: Some("dracut-live"),
        note: "what it installs, and where it finds its own ISO, are parameters of its own (harvester.install.* and \
               the like): give them in cmdline",
        ..PLAIN
    },
    Distribution {
        name: "the installer of Fedora, RHEL, Rocky or Alma",
        boots: &[boot(&["images/pxeboot/vmlinuz"], &[&["images/pxeboot/initrd.img"]])],
        script: Some("kickstart"),
        note: "its packages and its second stage come from a tree of the same release: its URL is vars.repository",
        ..PLAIN
    },
    Distribution {
        name: "openSUSE or SLES",
        boots: &[
            boot(&["boot/*/loader/linux"], &[&["boot/*/loader/initrd"]]),
            boot(&["boot/*/linux"], &[&["boot/*/initrd"]]),
        ],
        note: "its packages come from a tree of the same release: give its URL by install= in cmdline",
        ..PLAIN
    },
    Distribution {
        name: "Arch Linux",
        boots: &[boot(
            &["arch/boot/*/vmlinuz-linux"],
            &[
                &["arch/boot/intel-ucode.img", ""],
                &["arch/boot/amd-ucode.img", ""],
                &["arch/boot/*/initramfs-linux.img", "arch/boot/*/archiso.img"],
            ],
        )],
        disk: DiskSource::At("arch/*/airootfs.sfs"),
        needs: &["archisobasedir=arch"],
        script: Some("arch"),
        ..PLAIN
    },
    Distribution {
        name: "Alpine",
        boots: &[
            boot(&["boot/vmlinuz-lts"], &[&["boot/initramfs-lts"]]),
            boot(&["boot/vmlinuz-*"], &[&["boot/initramfs-*"]]),
        ],
        disk: DiskSource::File("boot/modloop-*"),
        needs: &["modules=loop,squashfs"],
        script: Some("alpine"),
        ..PLAIN
    },
    Distribution {
        name: "Alpine's netboot files",
        boots: &[boot(&["vmlinuz-*"], &[&["initramfs-*"]])],
        disk: DiskSource::File("modloop-*"),
        needs: &["modules=loop,squashfs"],
        script: Some("alpine"),
        ..PLAIN
    },
    Distribution {
        name: "Proxmox VE",
        boots: &[boot(&["boot/linux26"], &[&["boot/initrd.img"]])],
        needs: &["ramdisk_size=16777216"],
        note: "its installer looks for its own ISO as /proxmox.iso in the initrd: add one that holds it with --initrd",
        ..PLAIN
    },
    Distribution {
        name: "Talos Linux",
        boots: &[
            boot(&["boot/vmlinuz"], &[&["boot/initramfs.xz"]]),
            boot(&["vmlinuz-amd64"], &[&["initramfs-amd64.xz"]]),
            boot(&["vmlinuz-arm64"], &[&["initramfs-arm64.xz"]]),
        ],
        script: Some("talos"),
        ..PLAIN
    },
    Distribution {
        name: "Ubuntu's netboot files",
        boots: &[boot(&["*/linux"], &[&["*/initrd"]])],
        script: Some("ubuntu-autoinstall"),
        note: "the script wants the release's live-server ISO as `disk`: add the ISO itself instead",
        ..PLAIN
    },
];

const INITRDS: &[&str] = &[
    "initrd.img*",
    "initrd*.img",
    "initrd*",
    "initrd*.gz",
    "initramfs*.img",
    "initramfs*",
    "initramfs*.xz",
    "initramfs.img*",
    "initrd.gz",
    "initrd.img",
    "initrd",
    "initramfs.img",
    "initramfs",
];
const INITRDS_IN_BOOT: &[&str] = &[
    "boot/initrd.img*",
    "boot/initrd*.img",
    "boot/initrd*",
    "boot/initrd*.gz",
    "boot/initramfs*.img",
    "boot/initramfs*",
    "boot/initramfs*.xz",
    "boot/initramfs.img*",
    "boot/initrd.gz",
    "boot/initrd.img",
    "boot/initrd",
    "boot/initramfs.img",
    "boot/initramfs",
];
const KERNELS: &[&str] = &["linux*", "vmlinuz*", "bzImage*", "Image*", "kernel*"];
const KERNELS_IN_BOOT: &[&str] = &[
    "boot/linux*",
    "boot/vmlinuz*",
    "boot/bzImage*",
    "boot/Image*",
    "boot/kernel*",
];

/// What fits where nothing else does: files with the usual names, side by side.
pub(super) const SIDE_BY_SIDE: Distribution = Distribution {
    name: "a kernel by its usual name",
    boots: &[
        boot(KERNELS, &[INITRDS]),
        boot(KERNELS_IN_BOOT, &[INITRDS_IN_BOOT]),
        boot(KERNELS, &[]),
        boot(KERNELS_IN_BOOT, &[]),
    ],
    ..PLAIN
};

/// Parameters by which a system finds its root on the medium, as globs: by a label, a device, a path of
/// the ISO. Without them it needs its root from somewhere else.
pub(super) const MEDIUM_ROOT: &[&str] = &[
    "root=live:*",
    "root=LABEL=*",
    "root=CDLABEL=*",
    "root=UUID=*",
    "root=PARTUUID=*",
    "root=/dev/*",
    "live-media=*",
    "live-media-timeout=*",
    "rd.live.dir=*",
    "rd.live.squashimg=*",
    "findiso=*",
    "fromiso=*",
    "bootfrom=*",
    "iso-scan/filename=*",
    "cdrom",
    "cdroot*",
    "isofrom*",
    "img_dev=*",
    "img_loop=*",
    "archisolabel=*",
    "archisodevice=*",
    "archisosearch*",
    "misolabel=*",
    "coreos.liveiso=*",
    "inst.stage2=hd:*",
    "inst.stage2=cdrom*",
    "stage2=hd:*",
    "alpine_dev=*",
];

/// What files with a live system's root are called.
pub(super) const ROOT_FILES: &[&str] = &["*.squashfs", "*.sfs", "*squashfs.img", "*.erofs", "*rootfs.img"];

/// Parameters of boot entries that mean the medium, its menu or its screen, as globs. A boot from
/// the network has none of them.
pub(super) const MEDIUM_ONLY: &[&str] = &[
    // What separates the installer's parameters from those of the installed system
    "--",
    "---",
    // Where an installer finds its packages and its answers
    "cdrom-detect/*",
    "inst.repo=hd:*",
    "inst.repo=cdrom*",
    "inst.ks=hd:*",
    "inst.ks=cdrom*",
    "repo=hd:*",
    "repo=cdrom*",
    "ks=hd:*",
    "ks=cdrom*",
    "install=cd*",
    "install=hd:*",
    "autoyast=cd*",
    // Answers on the medium
    "*=/cdrom/*",
    "*=file:///cdrom/*",
    // Looking at the medium before it is used
    "rd.live.check*",
    "mediacheck*",
    "inst.mediacheck*",
    // The screen: a server's console must say why it does not come up, and `quiet` keeps that from it
    "quiet",
    "vga=*",
    "splash*",
    "rhgb",
    // Names that the medium's loader gave
    "initrd=*",
    "BOOT_IMAGE=*",
    // What a loader would have filled in, and what a script's line can't hold
    "*$*",
    "#*",
    "||",
    "&&",
    ";",
];

/// What `*` stands for where `path` fits `pattern`; an empty text where the pattern has none.
pub(super) fn captured<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    let Some((before, after)) = pattern.split_once('*') else {
        return (pattern == path).then_some("");
    };
    let middle = path.strip_prefix(before)?.strip_suffix(after)?;
    (!middle.contains('/')).then_some(middle)
}

/// The path that a pattern means.
pub(super) fn filled(pattern: &str, captured: &str) -> String {
    pattern.replacen('*', captured, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    #[test]
    fn a_star_is_the_same_text_in_kernel_and_initrd() {
        assert_eq!(captured("live/vmlinuz*", "live/vmlinuz-6.1"), Some("-6.1"));
        assert_eq!(filled("live/initrd.img*", "-6.1"), "live/initrd.img-6.1");
        assert_eq!(captured("install.*/vmlinuz", "install.amd/vmlinuz"), Some("amd"));
        assert_eq!(captured("*/linux", "a/b/linux"), None);
        assert_eq!(captured("a*a", "a"), None);
    }

    #[test]
    fn every_script_that_a_row_names_is_shipped() {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("ipxe-scripts");
        for script in DISTRIBUTIONS.iter().filter_map(|row| row.script) {
            assert!(fs::exists(scripts.join(format!("{script}.ipxe"))).unwrap(), "{script}");
        }
    }

    #[test]
    fn a_pattern_has_at_most_one_star() {
        for boot in DISTRIBUTIONS.iter().flat_map(|row| row.boots).chain(SIDE_BY_SIDE.boots) {
            let initrds = boot.initrds.iter().copied().flatten();
            for pattern in boot.kernels.iter().chain(initrds) {
                assert!(pattern.matches('*').count() <= 1, "{pattern}");
            }
        }
    }
}
