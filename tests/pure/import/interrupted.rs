//! Imports that end in the middle: killed, stopped, or out of room.

use super::shelf::{Shelf, kernel, output, text};
use bootwright::{config, images::sums::Hashing};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    os::unix::fs::FileExt,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

/// How often an import is begun until the machine lets the test do something while it lasts.
const ROUNDS: usize = 20;

/// An ISO whose copy takes long enough to be hit.
fn large(shelf: &Shelf) {
    shelf.iso(&[
        ("live/vmlinuz", kernel("x")),
        ("live/initrd.img", vec![1; 8_000_000]),
        ("live/filesystem.squashfs", vec![2; 40_000_000]),
    ]);
}

#[test]
fn an_import_that_is_killed_anywhere_leaves_no_image_or_a_whole_one() {
    let shelf = Shelf::new();
    large(&shelf);
    let (mut killed_in_the_middle, mut whole) = (0, 0);
    for round in 0..24_u64 {
        let mut child = shelf
            .command(&["it", "medium.iso", "--force"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // From before it began to beyond its end, whatever the machine's speed.
        thread::sleep(Duration::from_millis(round * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let names = shelf.names();
        let hidden = names.iter().filter(|name| name.starts_with('.')).count();
        assert!(hidden <= 1, "what was left behind piles up: {names:?}");
        killed_in_the_middle += hidden;
        if names.iter().any(|name| name == "it") {
            let (images, report) = config::images(&shelf.images(), &mut Hashing::silent());
            assert!(
                report.errors.is_empty() && images.contains_key("it"),
                "{}",
                report.render(false)
            );
            assert_eq!(images["it"].artifacts().count(), 3);
            whole += 1;
        }
    }
    println!("{killed_in_the_middle} killed in the middle, a whole image after {whole}");
    let added = shelf.add(&["it", "medium.iso", "--force"]);
    assert!(added.status.success(), "{}", output(&added));
    assert_eq!(shelf.names(), ["it"]);
}

/// An import under way, of a disk so large, which takes no room; and the disk.
fn import_of_a_disk(shelf: &Shelf, bytes: u64) -> (fs::File, Child) {
    shelf.folder(&[("vmlinuz", kernel("x"))]);
    let disk = fs::File::create(shelf.path("disk")).unwrap();
    disk.set_len(bytes).unwrap();
    let child = shelf
        .command(&["it", "--kernel", "tree/vmlinuz", "--disk", "disk"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (disk, child)
}

#[test]
fn an_import_that_is_stopped_by_a_signal_tidies_up() {
    for (signal, code, word) in [
        (Signal::SIGINT, 130, "interrupted"),
        (Signal::SIGTERM, 143, "terminated"),
    ] {
        let stopped = || {
            let shelf = Shelf::new();
            // Its copy takes longer than a signal.
            let (_, mut child) = import_of_a_disk(&shelf, 1 << 30);
            while shelf.names().is_empty() && child.try_wait().unwrap().is_none() {
                thread::sleep(Duration::from_millis(1));
            }
            if child.try_wait().unwrap().is_none() {
                kill(Pid::from_raw(child.id() as i32), signal).unwrap();
            }
            (child.wait_with_output().unwrap(), shelf)
        };
        // A busy machine may let a whole import pass before it lets this test look.
        let mut rounds = std::iter::repeat_with(stopped).take(ROUNDS);
        let (ended, shelf) = rounds.find(|(ended, _)| !ended.status.success()).unwrap();
        let said = output(&ended);
        assert_eq!(ended.status.code(), Some(code), "{said}");
        assert!(said.contains(word) && said.contains("no image has changed"), "{said}");
        assert_eq!(shelf.names(), Vec::<String>::new());
    }
}

/// What add says where the file system knows no renames but plain ones, as NFS; strace plays it.
fn on_plain_renames(shelf: &Shelf, arguments: &[&str]) -> Output {
    let plain = shelf.command(arguments);
    Command::new("strace")
        .args([
            "--follow-forks",
            "--quiet=all",
            "--output=/dev/null",
            "--trace=renameat2",
        ])
        .arg("--inject=renameat2:error=EINVAL")
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(shelf.path(""))
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
        let said = output(&refused);
        assert!(refused.status.code() == Some(1) && said.contains(words), "{said}");
        assert_eq!(shelf.names(), ["it"]);
        assert!(shelf.images().join("it/vmlinuz").exists());
    }
}

#[test]
fn a_file_that_is_still_being_written_makes_no_image() {
    let written_to = || {
        let shelf = Shelf::new();
        let (disk, mut child) = import_of_a_disk(&shelf, 64 << 20);
        // Somebody who downloads it into room that was taken before.
        while child.try_wait().unwrap().is_none() {
            disk.write_all_at(b"more", 60 << 20).unwrap();
        }
        (child.wait_with_output().unwrap(), shelf)
    };
    // A busy machine may let nothing be written as long as the copy lasts.
    let mut rounds = std::iter::repeat_with(written_to).take(ROUNDS);
    let (ended, shelf) = rounds.find(|(ended, _)| !ended.status.success()).unwrap();
    let said = output(&ended);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("disk: it was written to while it was copied"), "{said}");
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
fn a_disk_without_room_is_said_before_and_in_the_middle_and_nothing_is_left() {
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
        let said = on_a_small_disk(&shelf, options);
        assert!(said.contains(words) && said.contains("--images DIR"), "{said}");
        assert!(said.contains("exit 1") && said.contains("[left: ]"), "{said}");
    }
    let said = on_a_small_disk(&shelf, "size=8m");
    assert!(said.contains("exit 0") && said.contains("[left: it]"), "{said}");
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
