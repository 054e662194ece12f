//! ISOs that are cut short, damaged or made to harm: an error or an image, never anything else.

use super::shelf::{Shelf, add, found, kernel, text};
use bootwright::images::{ImageChoice, found_in};
use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
};

fn debian_like(shelf: &Shelf) -> PathBuf {
    let long = format!("live/{}", "long-".repeat(45));
    shelf.iso_with(
        &[
            ("live/vmlinuz", kernel("x")),
            ("live/initrd.img", vec![7; 40_000]),
            ("live/filesystem.squashfs", vec![9; 60_000]),
            (
                "isolinux/live.cfg",
                text("label a\n linux /live/vmlinuz\n initrd /live/initrd.img\n append boot=live\n"),
            ),
            (&long, text("x")),
            ("a/b/c/d/e/f/g", text("deep")),
        ],
        &["-R", "-no-pad"],
    )
}

#[test]
fn an_iso_that_was_cut_short_anywhere_is_refused_and_leaves_nothing() {
    let shelf = Shelf::new();
    let iso = debian_like(&shelf);
    let whole = fs::metadata(&iso).unwrap().len();
    let cut = shelf.path("cut.iso");
    fs::copy(&iso, &cut).unwrap();
    let file = OpenOptions::new().write(true).open(&cut).unwrap();
    let lengths = (0..whole)
        .rev()
        .step_by(997)
        .chain([0, 1, 2047, 2048, 32768, 34816, 36864, whole - 1]);
    let mut lengths: Vec<u64> = lengths.collect();
    lengths.sort_by(|one, other| other.cmp(one));
    for length in lengths {
        file.set_len(length).unwrap();
        let error = found_in(&cut, &ImageChoice::default()).unwrap_err().to_string();
        assert!(
            error.contains("cut short") || error.contains("no ISO image"),
            "{length}: {error}"
        );
    }
    assert!(shelf.names().is_empty());
}

/// The file is looked at when the image is made, too: it may be another one by then.
#[test]
fn an_iso_that_is_cut_between_the_look_and_the_copy_leaves_nothing() {
    let shelf = Shelf::new();
    let iso = debian_like(&shelf);
    let found = found(&iso);
    OpenOptions::new()
        .write(true)
        .open(&iso)
        .unwrap()
        .set_len(70_000)
        .unwrap();
    let error = add(&shelf.images(), &found).unwrap_err().to_string();
    assert!(error.contains("cut short"), "{error}");
    assert!(shelf.names().is_empty());
}

/// A small generator of its own, so that a failure can be had again by its number.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn an_iso_with_any_bytes_changed_never_harms() {
    let shelf = Shelf::new();
    let iso = debian_like(&shelf);
    let whole = fs::read(&iso).unwrap();
    let file = OpenOptions::new().write(true).open(&iso).unwrap();
    // Descriptors, path tables and directories: everything before the squashfs, the first large file.
    let is_squashfs = |run: &[u8]| run.iter().all(|byte| *byte == 9);
    let structure = whole.windows(64).position(is_squashfs).unwrap() as u64;
    let nonzero: Vec<u64> = (32768..structure).filter(|at| whole[*at as usize] != 0).collect();
    let (mut refused, mut taken) = (0, 0);
    for seed in 1..2000_u64 {
        let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut places = Vec::new();
        for _ in 0..=numbers.below(6) {
            let at = nonzero[numbers.below(nonzero.len() as u64) as usize];
            let byte = match numbers.below(3) {
                0 => [0, 1, 0x7F, 0x80, 0xFF][numbers.below(5) as usize],
                _ => numbers.below(256) as u8,
            };
            file.write_all_at(&[byte], at).unwrap();
            places.push(at);
        }
        match found_in(&iso, &ImageChoice::default()) {
            Ok(found) if seed % 8 == 0 => {
                // Whatever it points at now: an image or an error, and nothing half.
                let _ = add(&shelf.images(), &found);
                taken += 1;
            }
            Ok(_) => taken += 1,
            Err(_) => refused += 1,
        }
        for at in places {
            file.write_all_at(&whole[at as usize..=at as usize], at).unwrap();
        }
    }
    assert!(
        refused > 50 && taken > 50,
        "{refused} refused, {taken} taken: the bytes that matter were not hit"
    );
    assert!(shelf.names().iter().all(|name| name == "it"), "{:?}", shelf.names());
}

#[test]
fn what_is_no_iso_is_reported() {
    let shelf = Shelf::new();
    for (bytes, words) in [
        (Vec::new(), "no ISO image"),
        (vec![0; 100_000], "no ISO image"),
        (vec![0xFF; 100_000], "no ISO image"),
    ] {
        fs::write(shelf.path("x"), bytes).unwrap();
        let error = found_in(&shelf.path("x"), &ImageChoice::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{error}");
    }
    let mut udf = vec![0; 100_000];
    udf[32769..32774].copy_from_slice(b"BEA01");
    fs::write(shelf.path("x"), udf).unwrap();
    let error = found_in(&shelf.path("x"), &ImageChoice::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("UDF"), "{error}");
    for source in ["/dev/zero", "/nonexistent"] {
        assert!(found_in(source.as_ref(), &ImageChoice::default()).is_err());
    }
}

/// A pipe in the folder would be waited for without end.
#[test]
fn a_folder_with_a_pipe_and_a_device_is_read_past_them() {
    let shelf = Shelf::new();
    let folder = shelf.folder(&[("linux", kernel("x")), ("initrd.gz", text("x"))]);
    for name in ["vmlinuz", "kernel.pipe", "grub.cfg"] {
        nix::unistd::mkfifo(&folder.join(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    assert_eq!(found(&folder).kernel.path, "linux");
    let printed = shelf.add(&["p", "--kernel", "tree/vmlinuz"]);
    assert!(!printed.status.success() && shelf.names().is_empty());
}

/// Sparse: its directory says 4 GB, and so does the file.
#[test]
fn a_directory_of_gigabytes_is_refused() {
    let shelf = Shelf::new();
    let iso = debian_like(&shelf);
    let file = OpenOptions::new().read(true).write(true).open(&iso).unwrap();
    file.set_len(5_000_000_000).unwrap();
    let root = 16 * 2048 + 156;
    file.write_all_at(&4_000_000_000_u32.to_le_bytes(), root + 10).unwrap();
    let error = found_in(&iso, &ImageChoice::default()).unwrap_err().to_string();
    assert!(error.contains("bytes of directories"), "{error}");
}
