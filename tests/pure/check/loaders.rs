//! The key `loader`, and scripts that are written for several loaders.

use super::*;
use bootwright::model::limits::{LOADER_DEPTH_MAX, LOADER_FILES_MAX};
use std::os::unix::fs::{MetadataExt, lchown, symlink};

/// An EFI program for a machine of that number, as far as anybody reads it.
fn efi(machine: u16) -> Vec<u8> {
    program(machine, 0, b"")
}

/// The same, 64-bit, with signatures of that many bytes and `words` in it.
pub(super) fn program(machine: u16, signatures: u32, words: &[u8]) -> Vec<u8> {
    let mut program = vec![0; 0x100];
    program[..2].copy_from_slice(b"MZ");
    program[0x3c] = 0x40;
    program[0x40..0x44].copy_from_slice(b"PE\0\0");
    program[0x44..0x46].copy_from_slice(&machine.to_le_bytes());
    program[0x58..0x5a].copy_from_slice(&0x20b_u16.to_le_bytes());
    program[0xec..0xf0].copy_from_slice(&signatures.to_le_bytes());
    [&program, words].concat()
}

/// What tells iPXE's shim from another.
pub(super) const IPXE_SHIM: &[u8] = b"sbat,1\nshim.ipxe,1,iPXE,shim,1,https://github.com/ipxe/shim\n";
/// What any other shim loads.
const GRUB_SHIM: &[u8] = b"\\\0\\\0g\0r\0u\0b\0x\x006\x004\0.\0e\0f\0i\0";

/// A room with shim, GRUB and PXELINUX beside iPXE, and one host; `lines` are its lines from 8 on.
fn room(lines: &str) -> Room {
    let host = "[[host]]\nname = \"r1u07\"\nmac = \"52:54:00:00:00:07\"\n";
    let room = Room::new(&format!("{SUBNET}{host}{lines}"));
    for (file, content) in [
        ("shimx64.efi", efi(0x8664)),
        ("grubx64.efi", efi(0x8664)),
        ("grubaa64.efi", efi(0xaa64)),
        ("broken.efi", b"<html>".to_vec()),
        ("lpxelinux.0", vec![0xea, 0x05]),
    ] {
        fs::write(room.path("loaders").join(file), content).unwrap();
    }
    room
}

/// What a host needs that boots an image.
const LIVE: &str = "image = \"debian-12\"\nboot = \"live\"\nanswer = \"preseed\"\nvars = { disk = \"/dev/vda\", mirror = \"192.0.2.9\" }\n";

#[test]
fn a_named_loader_is_a_file_of_the_loaders_folders_that_some_firmware_runs() {
    let mistakes: [(&str, (u32, u32), &[&str]); 5] = [
        (
            "loader = \"shimx46.efi\"",
            (8, 10),
            &["no loader `shimx46.efi`", "/loaders", "did you mean `shimx64.efi`?"],
        ),
        (
            "loader = \"other\"",
            (8, 10),
            &["no loader `other`", "/loaders", "copy it there"],
        ),
        ("loader = \"broken.efi\"", (8, 10), &["`broken.efi` is no EFI program"]),
        (
            "loader = [\"shimx64.efi\", \"grubx64.efi\"]",
            (8, 26),
            &["`shimx64.efi` and `grubx64.efi` are both for uefi-x86_64"],
        ),
        ("loader = 64", (8, 10), &["must be a text"]),
    ];
    for (line, place, words) in mistakes {
        let report = room(line).report();
        assert!(has(&report, place, words), "{line}: {}", shown(&report.errors));
        assert_eq!(report.errors.len(), 1, "{line}: {}", shown(&report.errors));
    }
}

#[test]
fn the_nearest_loader_wins_and_each_is_for_the_firmware_that_runs_it() {
    let profiles = "profile = \"both\"\nloader = [\"grubx64.efi\", \"grubaa64.efi\"]\n\
         [profile.both]\nloader = [\"shimx64.efi\", \"lpxelinux.0\"]\n\
         [[host]]\nname = \"r1u08\"\nmac = \"52:54:00:00:00:08\"\nprofile = \"both\"\n";
    let snapshot = room(profiles).compiled().snapshot;
    let loader = |host: &str, arch| {
        let settings = &snapshot.hosts.by_name(host).unwrap().settings;
        snapshot.named_loader(Some(settings), Arch::from_option_93(arch))
    };
    assert_eq!(
        [0, 7, 11, 16].map(|arch| loader("r1u07", arch)),
        [None, Some("grubx64.efi"), Some("grubaa64.efi"), Some("grubx64.efi"),]
    );
    assert_eq!(
        [0, 7, 11].map(|arch| loader("r1u08", arch)),
        [Some("lpxelinux.0"), Some("shimx64.efi"), None,]
    );
}

#[test]
fn a_script_that_the_loader_cannot_read_is_reported_at_the_loader() {
    let report = room(&format!("loader = \"shimx64.efi\"\nscript = \"talos\"\n{LIVE}")).report();
    let words = [
        "host `r1u07` loads `shimx64.efi`, and the script `talos` is not written for GRUB",
        "write talos.grub",
        "debian-installer",
    ];
    assert!(has(&report, (8, 10), &words), "{}", shown(&report.errors));

    let room = room(&format!("loader = \"lpxelinux.0\"\nscript = \"live\"\n{LIVE}"));
    fs::remove_file(room.path("scripts/local.pxelinux")).unwrap();
    let report = room.report();
    let words = ["the script `local` is not written for PXELINUX"];
    assert!(has(&report, (8, 10), &words), "{}", shown(&report.errors));
}

#[test]
fn grub_on_a_guests_interface_is_warned_of_and_pxelinux_is_not() {
    let room = room(&format!(
        "loader = [\"shimx64.efi\", \"lpxelinux.0\"]\nscript = \"live\"\n{LIVE}"
    ));
    assert_eq!(shown(&room.compiled().warnings), "");
    room.write(
        "bootwright.toml",
        &CONFIG.replace("[paths]", "mode = \"proxy\"\n[paths]"),
    );
    let warnings = room.compiled().warnings;
    let [warning] = &warnings[..] else {
        panic!("{}", shown(&warnings));
    };
    assert_eq!(warning.place, Some((8, 11)));
    assert!(
        warning.message.starts_with("GRUB (`shimx64.efi`) asks the server"),
        "{warning}"
    );
}

#[test]
fn a_script_that_is_not_written_for_ipxe_needs_another_loader() {
    let room = |loader: &str| {
        let room = room(&format!("script = \"own\"\n{LIVE}{loader}"));
        room.write("scripts/own.grub", "linux {{ image.path }}{{ image.kernel_file }}\n");
        room
    };
    let report = room("").report();
    let words = ["host `r1u07` loads iPXE, and the script `own` is not written for iPXE"];
    assert!(has(&report, (8, 10), &words), "{}", shown(&report.errors));
    room("loader = \"grubx64.efi\"\n").compiled();
}

/// An image for machines whose firmware reads `pxelinux.cfg` itself needs no script for iPXE, and one for
/// machines some of which do is sound with a word.
#[test]
fn a_script_for_pxelinux_alone_is_sound_where_firmware_reads_it_itself() {
    let checked = |arch: &str, scripts: &[&str]| {
        let image = "image = \"other\"\nboot = \"live\"\nscript = \"own\"\n";
        let room = room(image);
        room.image("other", arch);
        for script in scripts {
            room.write(
                &format!("scripts/{script}"),
                "LABEL linux\n  KERNEL {{ tftp }}{{ image.path }}linux\n",
            );
        }
        room
    };
    for arch in ["s390x", "ppc64el"] {
        let loaded = checked(arch, &["own.pxelinux"]).compiled();
        assert_eq!(shown(&loaded.warnings), "", "{arch}");
        let report = checked(arch, &["own.ipxe"]).report();
        let words = [
            "host `r1u07` has firmware that reads pxelinux.cfg itself",
            "write own.pxelinux",
        ];
        assert!(has(&report, (10, 10), &words), "{}", shown(&report.errors));
    }
    for arch in ["arm64", "riscv64"] {
        let room = checked(arch, &["own.pxelinux"]);
        let number = match arch {
            "arm64" => "snponly-arm64.efi",
            _ => "snponly-riscv64.efi",
        };
        room.write(&format!("loaders/{number}"), "loader");
        let reported = shown(&room.compiled().warnings);
        assert!(
            reported.contains("pxelinux.cfg itself") && reported.contains("own.ipxe"),
            "{reported}"
        );
    }
    let report = checked("x86_64", &["own.pxelinux"]).report();
    assert!(
        has(&report, (10, 10), &["not written for iPXE"]),
        "{}",
        shown(&report.errors)
    );
    // What is wrong in it is found here, and not by the machine.
    let room = checked("s390x", &[]);
    room.write("scripts/own.pxelinux", "KERNEL {{ image.kernle }}\n");
    assert!(shown(&room.report().errors).contains("own.pxelinux"));
}

#[test]
fn the_shipped_script_has_no_append_where_there_are_no_parameters() {
    let room = room("image = \"bare\"\nboot = \"live\"\nscript = \"live\"\n");
    room.image("bare", "s390x");
    room.write(
        "images/bare/image.toml",
        &fs::read_to_string(room.path("images/bare/image.toml"))
            .unwrap()
            .lines()
            .filter(|line| !line.starts_with("cmdline") && !line.starts_with("disk"))
            .map(|line| format!("{line}\n"))
            .collect::<String>(),
    );
    let snapshot = room.compiled().snapshot;
    let text = script_for(Dialect::Pxelinux, &snapshot, "52:54:00:00:00:07", Firmware::Pxelinux);
    assert!(text.contains("  KERNEL tftp://192.0.2.1/image/bare/linux\n"), "{text}");
    assert!(!text.contains("APPEND"), "{text}");
}

#[test]
fn a_host_is_rehearsed_in_the_language_of_its_loader_and_in_no_other() {
    let lines = |loader: &str| {
        format!("cmdline = [\"ds=nocloud-net;s=http://192.0.2.1/\", \"a=it's\"]\nscript = \"live\"\n{LIVE}{loader}")
    };
    room(&lines("")).compiled();
    room(&lines("loader = \"lpxelinux.0\"\n")).compiled();
    let reported = shown(&room(&lines("loader = \"grubx64.efi\"\n")).report().errors);
    assert!(
        reported.contains("live.grub") && reported.contains("GRUB changes `'`"),
        "{reported}"
    );
}

#[test]
fn every_script_for_grub_and_pxelinux_renders_for_a_sample_host() {
    let mut inventory = String::new();
    for (number, script) in ["debian-installer", "live", "local"].iter().enumerate() {
        inventory += &format!(
            "loader = [\"shimx64.efi\", \"lpxelinux.0\"]\ncmdline = \"ds=nocloud-net;s=http://192.0.2.1/\"\n\
             script = \"{script}\"\n{LIVE}[[host]]\nname = \"h{number}\"\nmac = \"52:54:00:00:01:0{number}\"\n"
        );
    }
    let snapshot = room(&inventory).compiled().snapshot;
    let text = |dialect, mac, firmware| script_for(dialect, &snapshot, mac, firmware);
    for (mac, script) in [("52:54:00:00:00:07", "debian-installer"), ("52:54:00:00:01:00", "live")] {
        let grub = text(Dialect::Grub, mac, Firmware::Uefi);
        let lines = "if [ -s /image/debian-12/initrd.gz ]; then\nif linux /image/debian-12/linux ";
        assert!(grub.contains(lines), "{script}: {grub}");
        assert!(
            grub.contains("if initrd /image/debian-12/initrd.gz; then"),
            "{script}: {grub}"
        );
        assert!(
            grub.contains(" quiet 'ds=nocloud-net;s=http://192.0.2.1/'; then\n"),
            "{script}: {grub}"
        );
        let ends = |word: &str| grub.split_whitespace().filter(|reported| *reported == word).count();
        assert_eq!(
            (ends("if"), ends("while")),
            (ends("fi"), ends("done")),
            "{script}: {grub}"
        );
        assert!(
            grub.contains(&format!("\n    source $prefix/grub.cfg-01-{}\n", mac.replace(':', "-"))),
            "{script}: {grub}"
        );
        let pxelinux = text(Dialect::Pxelinux, mac, Firmware::Bios);
        for line in [
            "  KERNEL http://192.0.2.1/image/debian-12/linux",
            "  INITRD http://192.0.2.1/image/debian-12/initrd.gz",
            "DEFAULT linux",
            "ONTIMEOUT again",
            &format!("  CONFIG pxelinux.cfg/01-{}", mac.replace(':', "-")),
        ] {
            assert!(
                pxelinux.lines().any(|reported| reported == line),
                "{script}: {line}: {pxelinux}"
            );
        }
        assert!(
            pxelinux.contains(" quiet ds=nocloud-net;s=http://192.0.2.1/\n"),
            "{script}: {pxelinux}"
        );
        // pxelinux.0 has no HTTP, and nobody said which of the two asks.
        let by_tftp = text(Dialect::Pxelinux, mac, Firmware::Uefi);
        assert!(
            by_tftp.contains("  KERNEL tftp://192.0.2.1/image/debian-12/linux\n"),
            "{script}: {by_tftp}"
        );
    }
    let unknown = "52:54:00:00:00:99";
    for (dialect, asks) in [
        (Dialect::Grub, "    source $prefix/grub.cfg-01-52-54-00-00-00-99\n"),
        (Dialect::Pxelinux, "  CONFIG pxelinux.cfg/01-52-54-00-00-00-99\n"),
    ] {
        let text = text(dialect, unknown, Firmware::Bios);
        assert!(
            text.contains("mac = \"52:54:00:00:00:99\"") && text.contains(asks),
            "{text}"
        );
    }
}

#[test]
fn a_link_of_roots_is_a_loader_and_another_is_reported_to_be_a_link() {
    let room = room("loader = \"linked.efi\"\n");
    let (link, target) = (room.path("loaders/linked.efi"), room.path("boot/ipxe.efi"));
    room.write("boot/ipxe.efi", "");
    fs::write(&target, efi(0x8664)).unwrap();
    symlink("../boot/ipxe.efi", &link).unwrap();
    // Only root can give a file away.
    if fs::metadata(&target).unwrap().uid() == 0 {
        let snapshot = room.compiled().snapshot;
        let place = snapshot.loaders.location_of("linked.efi").unwrap();
        assert_eq!(place.root, fs::canonicalize(room.path("boot")).unwrap());
        assert_eq!(place.file, "ipxe.efi");
        lchown(&link, Some(1000), None).unwrap();
    }
    let words = [
        "`linked.efi` is a symbolic link that is not followed",
        "linked.efi belongs to user",
    ];
    let report = room.report();
    assert!(has(&report, (8, 10), &words), "{}", shown(&report.errors));
    assert_eq!(report.errors.len(), 1, "{}", shown(&report.errors));
}

#[test]
fn a_link_of_roots_to_somebody_elses_file_or_to_nothing_is_not_followed() {
    let room = room("loader = \"linked.efi\"\n");
    let link = room.path("loaders/linked.efi");
    symlink("ipxe-amd64.efi", &link).unwrap();
    let why = || {
        let report = room.report();
        assert!(
            has(&report, (8, 10), &["`linked.efi` is a symbolic link"]),
            "{}",
            shown(&report.errors)
        );
        shown(&report.errors)
    };
    let is_roots = fs::symlink_metadata(&link).unwrap().uid() == 0;
    let reported = why();
    assert!(
        !is_roots || reported.contains("it leads to") && reported.contains("No such file"),
        "{reported}"
    );
    let target = room.path("loaders/ipxe-amd64.efi");
    fs::write(&target, efi(0x8664)).unwrap();
    if is_roots {
        room.compiled();
        lchown(&target, Some(1000), None).unwrap();
        let reported = why();
        assert!(
            reported.contains("ipxe-amd64.efi belongs to user 1000 and not to root"),
            "{reported}"
        );
    }
}

#[test]
fn a_shim_is_known_by_its_bytes_and_not_by_its_name() {
    let room = room(&format!("loader = \"bootx64.efi\"\nscript = \"live\"\n{LIVE}"));
    for (shim, words, dialect) in [
        ("bootx64.efi", GRUB_SHIM, Some(Dialect::Grub)),
        ("shimx64.efi", IPXE_SHIM, Some(Dialect::Ipxe)),
        ("shimaa64.efi", GRUB_SHIM, Some(Dialect::Grub)),
    ] {
        fs::write(room.path("loaders").join(shim), program(0x8664, 9000, words)).unwrap();
        let snapshot = room.compiled().snapshot;
        assert_eq!(snapshot.loaders.dialect_of(shim), dialect, "{shim}");
    }
}

#[test]
fn a_signed_ipxe_behind_its_shim_is_what_uefi_machines_get_and_half_of_it_is_not() {
    let uefi = Arch::from_option_93(7).unwrap();
    let default = |room: &Room| room.compiled().snapshot.loaders.for_arch(uefi).map(str::to_owned);
    let with = |files: &[(&str, u32, &[u8])]| {
        let room = room("");
        for (file, signatures, words) in files {
            fs::write(room.path("loaders").join(file), program(0x8664, *signatures, words)).unwrap();
        }
        default(&room).unwrap()
    };
    let (ipxe, snponly) = (("ipxe.efi", 9000, &b""[..]), ("snponly.efi", 9000, &b""[..]));
    let shims = [
        ("ipxe-shim.efi", 9000, IPXE_SHIM),
        ("snponly-shimx64.efi", 9000, IPXE_SHIM),
    ];
    assert_eq!(with(&[ipxe, snponly, shims[0], shims[1]]), "snponly-shimx64.efi");
    assert_eq!(with(&[ipxe, ("shimx64.efi", 9000, IPXE_SHIM)]), "shimx64.efi");
    // Another vendor's shim does not take it, nor does Secure Boot where either is not signed.
    for (shim, signatures, words) in [("ipxe-shim.efi", 9000, GRUB_SHIM), ("ipxe-shim.efi", 0, IPXE_SHIM)] {
        assert_eq!(with(&[ipxe, (shim, signatures, words)]), "snponly.efi");
    }
    assert_eq!(with(&[("ipxe.efi", 0, b""), shims[0]]), "snponly.efi");
}

#[test]
fn an_arm64_room_whose_hosts_all_name_grub_needs_no_ipxe() {
    let named = "image = \"arm\"\nscript = \"live\"\nboot = \"live\"\nloader = \"grubaa64.efi\"\n";
    let other = "[[host]]\nname = \"r1u08\"\nmac = \"52:54:00:00:00:08\"\nimage = \"arm\"\n";
    let report = |lines: &str| {
        let room = room(lines);
        room.image("arm", "arm64");
        room.load()
    };
    if let Err(report) = report(named) {
        panic!("{}", shown(&report.errors));
    }
    let reported = shown(&report(&format!("{named}{other}")).err().unwrap().errors);
    assert!(
        reported.contains("no loader for uefi-arm64, which host `r1u08` needs"),
        "{reported}"
    );
}

#[test]
fn a_tree_as_deep_as_debians_is_served_whole_and_what_lies_deeper_than_the_limit_is_reported() {
    let room = room("");
    let module = "debian-installer/riscv64/grub/riscv64-efi/sleep.mod";
    room.write(&format!("loaders/{module}"), "module");
    let loaded = room.compiled();
    assert!(loaded.snapshot.loaders.location_of(module).is_some());
    assert_eq!(shown(&loaded.warnings), "");
    let deepest = format!("loaders/{}", "d/".repeat(LOADER_DEPTH_MAX - 1));
    room.write(&format!("{deepest}last.efi"), "loader");
    assert_eq!(shown(&room.compiled().warnings), "");
    room.write(&format!("{deepest}deeper/one.efi"), "loader");
    let warnings = room.compiled().warnings;
    let reported = shown(&warnings);
    assert!(
        reported.contains("/deeper is not served: it lies deeper than") && warnings.len() == 1,
        "{reported}"
    );
}

#[test]
fn a_tree_with_a_configuration_of_its_own_is_warned_of_where_its_grub_is_named() {
    let tree = "debian-installer/amd64";
    let room = room(&format!(
        "loader = \"{tree}/bootnetx64.efi\"\nscript = \"live\"\n{LIVE}"
    ));
    room.write(&format!("loaders/{tree}/grub/fonts.pf2"), "font");
    fs::write(room.path("loaders").join(tree).join("bootnetx64.efi"), efi(0x8664)).unwrap();
    assert_eq!(shown(&room.compiled().warnings), "");
    room.write(&format!("loaders/{tree}/grub/grub.cfg"), "menuentry install { }\n");
    let warnings = room.compiled().warnings;
    let reported = "`debian-installer/amd64/grub/grub.cfg` is beside the loaders";
    assert!(
        warnings.len() == 1 && warnings[0].message.starts_with(reported),
        "{}",
        shown(&warnings)
    );
}

#[test]
fn what_a_file_system_keeps_for_itself_in_a_folder_of_loaders_is_neither_served_nor_complained_of() {
    let room = room("");
    room.write("loaders/lost+found/#1234.efi", "loader");
    room.write("loaders/lost+found/5678.efi", "loader");
    let loaded = room.compiled();
    assert_eq!(loaded.snapshot.loaders.location_of("lost+found/5678.efi"), None);
    assert_eq!(shown(&loaded.warnings), "");
}

#[test]
fn where_there_are_too_many_files_the_deepest_are_left_out_and_the_whole_folder_is_named() {
    let room = room("");
    for folder in ["z/1", "z/2"] {
        for number in 0..LOADER_FILES_MAX / 2 {
            let path = room.path("loaders").join(folder);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join(number.to_string()), "").unwrap();
        }
    }
    room.write("loaders/a/shallow.efi", "loader");
    let loaded = room.compiled();
    assert!(loaded.snapshot.loaders.location_of("a/shallow.efi").is_some());
    assert_eq!(loaded.snapshot.loaders.location_of("z/2/0"), None);
    let reported = shown(&loaded.warnings);
    let rest = format!("the rest of {} is not served", room.path("loaders").display());
    assert!(loaded.warnings.len() == 1 && reported.contains(&rest), "{reported}");
}
