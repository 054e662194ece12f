//! Imports that end in the middle: killed, stopped, or out of room.

use super::shelf::{Shelf, kernel, output, text};
use crate::strace::{Stopped, is_killed_at, traced};
use bootwright::{config, images::sums::Hashing};
use nix::sys::signal::Signal;
use std::{
    fs,
    os::unix::fs::FileExt,
    process::{Command, Output},
};

/// What changes something on disk, and the syncs between.
const CALLS: [&str; 7] = ["mkdir", "write", "fchmod", "fsync", "renameat2", "unlink", "unlinkat"];

#[test]
fn an_import_that_is_killed_anywhere_leaves_no_image_or_a_whole_one() {
    let shelf = Shelf::new();
    shelf.iso(&[
        ("live/vmlinuz", kernel("x")),
        ("live/initrd.img", vec![1; 800_000]),
        ("live/filesystem.squashfs", vec![2; 2_000_000]),
    ]);
    let (mut in_the_middle, mut whole) = (0, 0);
    for (is_new, call) in [true, false]
        .into_iter()
        .flat_map(|is_new| CALLS.map(|call| (is_new, call)))
    {
        let import = shelf.command(&["it", "medium.iso", "--force"]);
        for time in 1.. {
            if is_new {
                let _ = fs::remove_dir_all(shelf.images().join("it"));
            }
            if !is_killed_at(&import, call, time) {
                break;
            }
            let names = shelf.names();
            let hidden = names.iter().filter(|name| name.starts_with('.')).count();
            assert!(hidden <= 1, "{call} {time}: what was left behind piles up: {names:?}");
            in_the_middle += hidden;
            let is_there = names.iter().any(|name| name == "it");
            assert!(is_there || is_new, "{call} {time}: the old image is gone");
            if is_there {
                let (images, report) = config::images(&shelf.images(), &mut Hashing::silent());
                assert!(report.errors.is_empty(), "{call} {time}: {}", report.render(false));
                assert_eq!(images["it"].artifacts().count(), 3, "{call} {time}");
                whole += 1;
            }
        }
        assert_eq!(shelf.names(), ["it"], "{call}");
    }
    println!("killed {in_the_middle} times in the middle; a whole image was there {whole} times");
    assert!(in_the_middle > 30 && whole > 20);
}

/// The import of a disk so large, which takes no room, stopped in the middle of its copy; and the disk.
fn amid_a_disk(shelf: &Shelf, bytes: u64) -> (fs::File, Stopped) {
    shelf.folder(&[("vmlinuz", kernel("x"))]);
    let disk = fs::File::create(shelf.path("disk")).unwrap();
    disk.set_len(bytes).unwrap();
    let import = shelf.command(&["it", "--kernel", "tree/vmlinuz", "--disk", "disk"]);
    (disk, Stopped::at(&import, "write", 20))
}

#[test]
fn an_import_that_is_stopped_by_a_signal_tidies_up() {
    for (signal, code, word) in [
        (Signal::SIGINT, 130, "interrupted"),
        (Signal::SIGTERM, 143, "terminated"),
    ] {
        let shelf = Shelf::new();
        // What is left of its copy takes longer than a signal.
        let (_, import) = amid_a_disk(&shelf, 1 << 30);
        assert_eq!(shelf.names().len(), 1);
        import.signal(signal);
        let ended = import.go_on();
        let printed = output(&ended);
        assert_eq!(ended.status.code(), Some(code), "{printed}");
        assert!(
            printed.contains(word) && printed.contains("no image has changed"),
            "{printed}"
        );
        assert_eq!(shelf.names(), Vec::<String>::new());
    }
}

/// What add says where the file system knows no renames but plain ones, as NFS; strace plays it.
fn on_plain_renames(shelf: &Shelf, arguments: &[&str]) -> Output {
    traced(&shelf.command(arguments), "renameat2", "error=EINVAL", "/dev/null")
        .output()
        .expect("strace is installed by tests/install-packages.sh")
}

#[test]
fn where_folders_can_not_be_swapped_a_new_image_is_made_and_an_old_one_stays() {
    let shelf = Shelf::new();
    shelf.folder(&[("vmlinuz", kernel("x")), ("newer", kernel("y"))]);
    let added = on_plain_renames(&shelf, &["it", "--kernel", "tree/vmlinuz"]);
    assert!(added.status.success(), "{}", output(&added));
    for (arguments, words) in [
        (&["it", "--kernel", "tree/newer"][..], "use --force"),
        (
            &["it", "--kernel", "tree/newer", "--force"],
            "can't replace a folder in one step",
        ),
    ] {
        let refused = on_plain_renames(&shelf, arguments);
        let printed = output(&refused);
        assert!(refused.status.code() == Some(1) && printed.contains(words), "{printed}");
        assert_eq!(shelf.names(), ["it"]);
        assert!(shelf.images().join("it/vmlinuz").exists());
    }
}

#[test]
fn a_file_that_is_still_being_written_makes_no_image() {
    let shelf = Shelf::new();
    let (disk, import) = amid_a_disk(&shelf, 64 << 20);
    // Somebody who downloads it into room that was taken before.
    disk.write_all_at(b"more", 60 << 20).unwrap();
    let ended = import.go_on();
    let printed = output(&ended);
    assert_eq!(ended.status.code(), Some(1), "{printed}");
    assert!(
        printed.contains("disk: it was written to while it was copied"),
        "{printed}"
    );
    assert_eq!(shelf.names(), Vec::<String>::new());
}

/// A folder of images on a file system of its own, in a mount namespace of its own.
fn on_a_small_disk(shelf: &Shelf, options: &str) -> String {
    let script = format!(
        "mkdir -p images && mount -t tmpfs -o {options} none images || exit 99
         \"$0\" image add it medium.iso --images images; echo \"exit $?\"; echo \"[left: $(ls -A images)]\""
    );
    let run = Command::new("unshare")
        .args(["-m", "sh", "-c", &script, env!("CARGO_BIN_EXE_bootwright")])
        .current_dir(shelf.path(""))
        .output()
        .unwrap();
    output(&run)
}

#[test]
#[ignore = "needs root: it mounts a file system in a namespace of its own"]
fn a_disk_without_room_is_reported_before_and_in_the_middle_and_nothing_is_left() {
    let shelf = Shelf::new();
    shelf.iso(&[
        ("live/vmlinuz", kernel("x")),
        ("live/initrd.img", vec![1; 3_000_000]),
        ("live/filesystem.squashfs", text("x")),
    ]);
    for (options, words) in [
        ("size=1m", "free, and the image needs"),
        // There is room for the bytes, and none for the third file.
        ("size=8m,nr_inodes=4", "No space left on device"),
    ] {
        let printed = on_a_small_disk(&shelf, options);
        assert!(printed.contains(words) && printed.contains("--images DIR"), "{printed}");
        assert!(printed.contains("exit 1") && printed.contains("[left: ]"), "{printed}");
    }
    let printed = on_a_small_disk(&shelf, "size=8m");
    assert!(
        printed.contains("exit 0") && printed.contains("[left: it]"),
        "{printed}"
    );
}

#[test]
fn what_a_removal_left_behind_goes_with_the_next_import_and_an_unfinished_download_stays() {
    let shelf = Shelf::new();
    shelf.folder(&[("linux", kernel("x")), ("initrd.gz", text("x"))]);
    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    fs::create_dir_all(shelf.images().join(format!(".removed-{}-old", dead.id()))).unwrap();
    // Whatever the image is called that it is of.
    let download = format!(".fetch-partial-{}-it", dead.id());
    fs::create_dir_all(shelf.images().join(&download)).unwrap();
    let added = shelf.add(&["it", "tree"]);
    assert!(added.status.success(), "{}", output(&added));
    let mut names = shelf.names();
    names.sort();
    assert_eq!(names, [download.as_str(), "it"]);
}
