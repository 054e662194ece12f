//! `images::add` from the outside: an image appears whole or not at all.

use bootwright::boot::snapshot::DeployableDisk;
use bootwright::config;
use bootwright::images::{NewImage, add};
use bootwright::images::{
    reading::ReadVia,
    sums::{Deferred, Hashing, KnownChecksums},
};
use bootwright::model::{ImageFormat, ImageSum, UnpackedImage};
use sha2::{Digest, Sha256};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};
use tempfile::TempDir;

struct Shelf(TempDir);

impl Shelf {
    fn new() -> Shelf {
        let shelf = Shelf(tempfile::tempdir().unwrap());
        for file in ["linux", "initrd.gz", "disk.img"] {
            fs::write(shelf.0.path().join(file), file).unwrap();
        }
        shelf
    }

    fn images(&self) -> std::path::PathBuf {
        self.0.path().join("images")
    }

    fn new_image(&self) -> NewImage {
        let file = |name: &str| self.0.path().join(name);
        NewImage {
            name: "debian-12".parse().unwrap(),
            cpu: bootwright::model::Cpu::from_name("amd64"),
            kernel: Some(file("linux").into()),
            initrds: vec![file("initrd.gz").into()],
            disk: Some(file("disk.img").into()),
            cmdline: vec!["quiet".to_owned(), "a=\"b\\c\"".to_owned()],
            replace: false,
            disk_sums: true,
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn what_was_added_is_what_check_reads() {
    let shelf = Shelf::new();
    add(&shelf.images(), &shelf.new_image()).unwrap();
    let mut read = 0;
    let mut sums = Hashing {
        kept: KnownChecksums::default(),
        from: ReadVia::Disk,
        progress: |_: &Path, _, _| read += 1,
    };
    let (images, report) = config::images(&shelf.images(), &mut sums);
    assert_eq!(read, 3);
    assert!(report.errors.is_empty(), "{}", report.render(false));
    let image = &images["debian-12"];
    assert_eq!(image.artifacts().count(), 3);
    assert_eq!(image.cmdline, ["quiet", "a=\"b\\c\""]);
    assert_eq!(names(&shelf.images()), ["debian-12"]);
}

#[test]
fn an_image_is_replaced_only_by_force_and_then_whole() {
    let shelf = Shelf::new();
    add(&shelf.images(), &shelf.new_image()).unwrap();
    let mut again = shelf.new_image();
    again.disk = None;
    assert!(
        add(&shelf.images(), &again)
            .unwrap_err()
            .to_string()
            .contains("--force")
    );
    again.replace = true;
    add(&shelf.images(), &again).unwrap();
    assert_eq!(
        config::images(&shelf.images(), &mut Deferred).0["debian-12"]
            .artifacts()
            .count(),
        2
    );
    assert_eq!(names(&shelf.images()), ["debian-12"]);
}

#[test]
fn the_daemon_reads_what_root_added_with_a_narrow_umask() {
    let shelf = Shelf::new();
    let added = Command::new("sh")
        .current_dir(shelf.0.path())
        .args([
            "-c",
            "umask 077 && exec \"$0\" image add a --images images --kernel linux",
        ])
        .arg(env!("CARGO_BIN_EXE_bootwright"))
        .output()
        .unwrap();
    assert!(added.status.success(), "{added:?}");
    let mode = |file: &str| fs::metadata(shelf.images().join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["a", "a/linux", "a/image.toml"].map(mode), [0o755, 0o644, 0o644]);
}

#[test]
fn an_image_that_fails_leaves_nothing_behind() {
    let shelf = Shelf::new();
    let mut missing = shelf.new_image();
    missing.initrds.push(Path::new("/nonexistent/initrd").into());
    let mut twice = shelf.new_image();
    twice.initrds.push(shelf.0.path().join("linux").into());
    let mut hostile = shelf.new_image();
    hostile.cmdline = vec!["quiet\nshell".to_owned()];
    let mut empty = shelf.new_image();
    (empty.kernel, empty.disk) = (None, None);
    for (new, words) in [
        (missing, "can't copy /nonexistent/initrd"),
        (twice, "two artifacts are called `linux`"),
        (hostile, "control character"),
        (empty, "needs a kernel or a disk"),
    ] {
        let error = add(&shelf.images(), &new).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(names(&shelf.images()).is_empty());
    }
}

/// `bootwright image remove` with a configuration whose inventory has these lines.
fn remove(shelf: &Shelf, inventory: &str, name: &str) -> (bool, String) {
    let folder = shelf.0.path();
    fs::write(folder.join("inventory.toml"), inventory).unwrap();
    let settings = folder.join("bootwright.toml");
    fs::write(
        &settings,
        "[network]\ninterfaces = [\"eno2\"]\n[paths]\nimages = \"images\"\n",
    )
    .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bootwright"))
        .args(["image", "remove", name, "--config"])
        .arg(&settings)
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(printed).unwrap())
}

#[test]
fn an_image_in_use_stays_and_one_that_nothing_names_goes_whole() {
    let shelf = Shelf::new();
    add(&shelf.images(), &shelf.new_image()).unwrap();
    let inventories = [
        (
            "[[host]]\nname = \"a\"\nserial = \"1\"\nimage = \"debian-12\"\n",
            "inventory.toml:4:9: host a",
        ),
        ("[profile.p]\nimage = \"debian-12\"\n", "inventory.toml:2:9: profile p"),
        (
            "[[rule]]\nmatch = { arch = \"arm64\" }\nimage = \"debian-12\"\n",
            "inventory.toml:3:9: a rule",
        ),
    ];
    for (inventory, user) in inventories {
        let (removed, printed) = remove(&shelf, inventory, "debian-12");
        assert!(
            !removed && printed.contains(user) && printed.contains("in use"),
            "{printed}"
        );
    }
    let (removed, printed) = remove(&shelf, "[[host]\n", "debian-12");
    assert!(!removed && printed.contains("can't be told"), "{printed}");
    assert_eq!(names(&shelf.images()), ["debian-12"]);
    let (removed, printed) = remove(&shelf, "", "debian-12");
    assert!(removed, "{printed}");
    assert_eq!(names(&shelf.images()), Vec::<String>::new());
    let (removed, printed) = remove(&shelf, "", "debian-12");
    assert!(!removed && printed.contains("no image `debian-12`"), "{printed}");
}

/// A small disk: a partition table's mark, and bytes that differ in every piece.
fn disk(bytes: usize) -> Vec<u8> {
    let mut disk: Vec<u8> = (0..bytes).map(|at| u8::try_from(at >> 16 & 0xff).unwrap()).collect();
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

/// What is known of the disk of an image that was added from these bytes.
fn known_of(shelf: &Shelf, bytes: &[u8], disk_sums: bool) -> Option<DeployableDisk> {
    fs::write(shelf.0.path().join("disk.img"), bytes).unwrap();
    let new = NewImage {
        replace: true,
        disk_sums,
        ..shelf.new_image()
    };
    add(&shelf.images(), &new).unwrap();
    let (images, report) = config::images(&shelf.images(), &mut Hashing::silent());
    assert!(report.errors.is_empty(), "{}", report.render(false));
    images["debian-12"].deployable.clone()
}

fn packed_by(program: &str, bytes: &[u8]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let output = Command::new(program)
        .args(["-c", "-q"])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn what_an_install_stops_at_a_wrong_byte_by_is_described_of_every_disk_image() {
    const PIECE: usize = 4 << 20;
    let (shelf, disk) = (Shelf::new(), disk(9 << 20));
    for (bytes, format) in [
        (disk.clone(), ImageFormat::Raw),
        (packed_by("gzip", &disk), ImageFormat::Gzip),
        (packed_by("zstd", &disk), ImageFormat::Zstd),
    ] {
        let known = known_of(&shelf, &bytes, true).unwrap();
        assert_eq!(known.format, format);
        let pieces = known.pieces.unwrap();
        let sums: Vec<ImageSum> = bytes.chunks(PIECE).map(sum).collect();
        assert_eq!((pieces.bytes, pieces.sha256), (PIECE as u64, sums), "{format:?}");
        let unpacked = (format != ImageFormat::Raw).then(|| UnpackedImage {
            bytes: disk.len() as u64,
            sha256: Some(sum(&disk)),
        });
        assert_eq!(known.unpacked, unpacked, "{format:?}");
        let plain = known_of(&shelf, &bytes, false).unwrap();
        assert_eq!((plain.unpacked, plain.pieces), (None, None), "{format:?}");
    }
    // Of what is no disk nothing is known, and nothing is read twice.
    assert!(known_of(&shelf, b"a squashfs", true).is_none());
}

#[test]
fn a_packed_disk_that_was_cut_off_is_no_image_unless_it_is_taken_as_it_is() {
    let shelf = Shelf::new();
    for program in ["gzip", "zstd"] {
        let whole = packed_by(program, &disk(1 << 20));
        fs::write(shelf.0.path().join("disk.img"), &whole[..whole.len() / 2]).unwrap();
        let error = add(&shelf.images(), &shelf.new_image()).unwrap_err().to_string();
        assert!(
            error.contains("disk.img can't be unpacked") && error.contains("--no-disk-sums"),
            "{error}"
        );
        assert!(names(&shelf.images()).is_empty());
    }
    let as_it_is = NewImage {
        disk_sums: false,
        ..shelf.new_image()
    };
    add(&shelf.images(), &as_it_is).unwrap();
}

fn sum(bytes: &[u8]) -> ImageSum {
    ImageSum(Sha256::digest(bytes).into())
}
