//! What is chosen, refused and said, whatever the distribution.

use super::shelf::{Shelf, add, arm64_kernel, found, kernel, output, pack, text};
use bootwright::{
    images::{DiskChoice, ImageChoice, found_in},
    model::Cpu,
};
use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

fn two_architectures() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("install.amd/vmlinuz", kernel("amd64")),
        ("install.amd/initrd.gz", text("amd64")),
        ("install.a64/vmlinuz", arm64_kernel()),
        ("install.a64/initrd.gz", text("arm64")),
    ]
}

#[test]
fn several_kernels_are_an_error_that_lists_them_and_says_how_to_choose() {
    let shelf = Shelf::new();
    shelf.iso(&two_architectures());
    let printed = output(&shelf.add(&["d", "medium.iso"]));
    for words in [
        "--kernel install.a64/vmlinuz  arm64",
        "--kernel install.amd/vmlinuz  x86_64",
        "--arch",
    ] {
        assert!(printed.contains(words), "{printed}");
    }
    assert!(shelf.names().is_empty());
    for (arguments, cpu) in [
        (["d", "medium.iso", "--arch", "arm64"], "arm64"),
        (["d", "medium.iso", "--kernel", "install.a64/vmlinuz"], "arm64"),
        (["d", "medium.iso", "--kernel", "/install.amd/vmlinuz"], "x86_64"),
    ] {
        let added = shelf.add(&[&arguments[..], &["--force", "--json"]].concat());
        assert!(added.status.success(), "{}", output(&added));
        let printed: serde_json::Value = serde_json::from_slice(&added.stdout).unwrap();
        assert_eq!(printed["arch"], cpu);
        assert_eq!(printed["artifacts"].as_array().unwrap().len(), 2);
        assert_eq!(printed["found"]["script"], "debian-installer");
    }
}

#[test]
fn nothing_found_says_where_it_looked_and_what_is_there() {
    let shelf = Shelf::new();
    shelf.iso(&[
        ("live/vmlinuz", kernel("x")),
        ("casper/vmlinuz", text("not a kernel")),
        ("casper/initrd", text("initrd")),
        ("evil\u{1b}[31m", text("x")),
    ]);
    let printed = output(&shelf.add(&["d", "medium.iso"]));
    for words in [
        "images/pxeboot/vmlinuz",
        "live/vmlinuz, without live/initrd.img",
        "casper/vmlinuz, which is not a kernel",
        "evil\\x1b[31m",
        "--kernel PATH",
    ] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    assert!(!printed.contains('\u{1b}'), "{printed:?}");
    assert!(shelf.names().is_empty());
}

#[test]
fn a_kernel_that_was_chosen_brings_its_initrd_or_takes_another() {
    let shelf = Shelf::new();
    let iso = shelf.iso(&[
        ("casper/vmlinuz", kernel("ga")),
        ("casper/initrd", text("ga")),
        ("casper/hwe-vmlinuz", kernel("hwe")),
        ("casper/hwe-initrd", text("hwe")),
        ("odd/vmlinux", kernel("odd")),
        ("odd/ram", text("odd")),
    ]);
    let choose = |kernel: &str, initrds: &[&str]| {
        let choice = ImageChoice {
            kernel: Some(kernel.to_owned()),
            initrds: initrds.iter().map(|initrd| (*initrd).to_owned()).collect(),
            ..ImageChoice::default()
        };
        found_in(&iso, &choice)
    };
    assert_eq!(
        choose("casper/hwe-vmlinuz", &[]).unwrap().initrds[0].path,
        "casper/hwe-initrd"
    );
    let odd = choose("odd/vmlinux", &["odd/ram", "casper/initrd"]).unwrap();
    assert_eq!(odd.initrds.len(), 2);
    assert!(choose("odd/vmlinux", &[]).unwrap().notes[0].contains("--initrd"));
    for (kernel, initrd, words) in [
        ("../../etc/passwd", "x", "no file ../../etc/passwd"),
        ("odd/ram", "x", "not a kernel"),
        ("odd/vmlinux", "none", "no file none"),
    ] {
        let error = choose(kernel, &[initrd]).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn the_disk_is_what_the_operator_says() {
    let shelf = Shelf::new();
    let files = [
        ("live/vmlinuz", kernel("x")),
        ("live/initrd.img", text("initrd")),
        ("live/filesystem.squashfs", text("squashfs")),
        ("live/other.squashfs", text("other")),
    ];
    let iso = shelf.iso(&files);
    let disk = |source: &Path, disk: DiskChoice| {
        let choice = ImageChoice {
            disk,
            ..ImageChoice::default()
        };
        found_in(source, &choice).map(|found| found.disk.map(|disk| disk.path))
    };
    let other = DiskChoice::Inside("live/other.squashfs".to_owned());
    assert_eq!(
        disk(&iso, DiskChoice::Usual).unwrap().unwrap(),
        "live/filesystem.squashfs"
    );
    assert_eq!(disk(&iso, other).unwrap().unwrap(), "live/other.squashfs");
    assert_eq!(disk(&iso, DiskChoice::Iso).unwrap().unwrap(), "medium.iso");
    assert_eq!(disk(&iso, DiskChoice::None).unwrap(), None);
    let error = disk(&shelf.path("tree"), DiskChoice::Iso).unwrap_err().to_string();
    assert!(error.contains("is a folder"), "{error}");
}

#[test]
fn the_architecture_must_be_the_kernels() {
    let shelf = Shelf::new();
    let folder = shelf.folder(&[("linux", arm64_kernel()), ("initrd.gz", text("x"))]);
    let choice = |cpu| ImageChoice {
        cpu: Some(cpu),
        ..ImageChoice::default()
    };
    assert_eq!(found_in(&folder, &choice(Cpu::Arm64)).unwrap().cpu, Some(Cpu::Arm64));
    let error = found_in(&folder, &choice(Cpu::X86_64)).unwrap_err().to_string();
    assert!(error.contains("is for arm64, not for x86_64"), "{error}");
}

#[test]
fn names_are_the_same_by_rock_ridge_joliet_and_neither() {
    for options in [&["-R"][..], &["-J"], &[], &["-R", "-J"], &["-r", "-iso-level", "3"]] {
        let shelf = Shelf::new();
        let iso = shelf.iso_with(&two_architectures()[..2], options);
        assert_eq!(found(&iso).kernel.path, "install.amd/vmlinuz", "{options:?}");
    }
}

#[test]
fn genisoimage_makes_the_same_isos() {
    let shelf = Shelf::new();
    let folder = shelf.folder(&two_architectures()[..2]);
    let iso = shelf.path("genisoimage.iso");
    for options in [&["-R"][..], &["-J"], &[]] {
        let packed = Command::new("genisoimage")
            .args(["-quiet", "-o"])
            .arg(&iso)
            .args(options)
            .arg(&folder)
            .output();
        assert!(packed.unwrap().status.success());
        assert_eq!(found(&iso).kernel.path, "install.amd/vmlinuz", "{options:?}");
    }
}

#[test]
fn an_iso_of_a_debian_package_is_read() {
    let found = found(Path::new("/usr/lib/ipxe/ipxe.iso"));
    assert_eq!((found.kernel.path.as_str(), found.initrds.len()), ("ipxe.krn", 0));
    let shelf = Shelf::new();
    let added = add(&shelf.images(), &found).unwrap();
    let packaged = fs::read("/usr/lib/ipxe/ipxe.lkrn").unwrap();
    let imported = fs::read(added.folder.join("ipxe.krn")).unwrap();
    assert!(imported.starts_with(&packaged) || packaged.starts_with(&imported));
}

#[test]
fn debians_netboot_package_is_read_as_a_folder() {
    // Each release has its own version, and one alone unless somebody kept an older package.
    let versions = fs::read_dir("/usr/lib/debian-installer/images").expect("tests/install-packages.sh installs one");
    let version = versions.map(|entry| entry.unwrap().path()).max().unwrap();
    let found = found(&version.join("amd64/text"));
    assert_eq!(found.kernel.path, "debian-installer/amd64/linux");
    assert_eq!((found.cpu, found.script), (Some(Cpu::X86_64), Some("debian-installer")));
    assert_eq!(
        (found.cmdline.join(" "), found.dropped.join(" ")),
        (String::new(), "vga=788 --- quiet".to_owned())
    );
}

#[test]
fn a_folders_links_are_followed_inside_it_and_never_out() {
    let shelf = Shelf::new();
    let folder = shelf.folder(&[("vmlinuz-6.1", kernel("x")), ("initrd.img-6.1", text("initrd"))]);
    symlink("vmlinuz-6.1", folder.join("vmlinuz")).unwrap();
    symlink("initrd.img-6.1", folder.join("initrd.img")).unwrap();
    symlink(".", folder.join("boot")).unwrap();
    assert_eq!(found(&folder).kernel.path, "vmlinuz");
    fs::remove_file(folder.join("initrd.img")).unwrap();
    symlink("/etc/passwd", folder.join("initrd.img")).unwrap();
    assert_eq!(found(&folder).initrds[0].path, "initrd.img-6.1");
}

#[test]
fn odd_names_are_data() {
    let shelf = Shelf::new();
    let long = format!("live/{}", "n".repeat(240));
    let folder = shelf.folder(&[
        ("live/vmlinuz", kernel("x")),
        ("live/initrd.img", text("initrd")),
        ("live/filesystem.squashfs", text("squashfs")),
        (&long, text("long")),
        ("live/ $(reboot) ; \u{e9}", text("odd")),
        ("live/-rf", text("odd")),
    ]);
    let odd = std::ffi::OsStr::new("live").to_owned();
    let bytes: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff\xfe\x01\n");
    fs::write(folder.join(odd).join(bytes), "x").unwrap();
    let iso = shelf.path("odd.iso");
    pack(&folder, &iso, &["-R"]);
    for path in [long.as_str(), "live/ $(reboot) ; \u{e9}", "live/-rf"] {
        let choice = ImageChoice {
            initrds: vec![path.to_owned()],
            ..ImageChoice::default()
        };
        let found = found_in(&iso, &choice).unwrap();
        let added = add(&shelf.images(), &found).unwrap();
        let (file, _, _) = &added.artifacts[1];
        assert!(
            file.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
            "{file}"
        );
    }
    assert_eq!(shelf.names(), ["it"]);
}

#[test]
fn files_have_their_architecture_by_the_kernels_header() {
    let shelf = Shelf::new();
    fs::write(shelf.path("Image"), arm64_kernel()).unwrap();
    fs::write(shelf.path("other"), "no kernel").unwrap();
    let added = shelf.add(&["a", "--kernel", "Image", "--json"]);
    let printed: serde_json::Value = serde_json::from_slice(&added.stdout).unwrap();
    assert_eq!(printed["arch"], "arm64");
    let printed = output(&shelf.add(&["b", "--kernel", "other"]));
    assert!(
        printed.contains("other does not have the header of a kernel") && printed.contains("image `b` is in"),
        "{printed}"
    );
}

#[test]
fn the_header_of_a_kernel_in_a_file_may_not_be_contradicted() {
    let shelf = Shelf::new();
    shelf.folder(&[("Image", arm64_kernel())]);
    let refused = shelf.add(&["it", "--kernel", "tree/Image", "--arch", "x86_64"]);
    let printed = output(&refused);
    let words = "the kernel Image is for arm64, not for x86_64";
    assert!(refused.status.code() == Some(1) && printed.contains(words), "{printed}");
    assert!(shelf.names().is_empty());
    let added = shelf.add(&["it", "--kernel", "tree/Image", "--json"]);
    let printed: serde_json::Value = serde_json::from_slice(&added.stdout).unwrap();
    assert_eq!(printed["arch"], "arm64");
}
