//! A run that is killed at each of its steps on disk, one after the other: strace counts them.

use super::nginx::{command, run_command};
use super::place::{Place, hex, sums};
use super::server::{Server, answer};
use crate::strace::{Stopped, is_killed_at};
use bootwright::{config, images::checksum};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Mutex, mpsc::channel},
    thread,
    time::Duration,
};

/// How long what must come is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A system call, and its how-manieth.
type CopyStep = (&'static str, usize);

/// What changes something on disk, and the syncs between.
const CALLS: [&str; 9] = [
    "mkdir",
    "rename",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "chmod",
    "fchmod",
    "fsync",
];

/// The files of the image in place, each with what tells it from any other state of it.
fn in_place(place: &Place) -> Vec<(PathBuf, impl PartialEq + std::fmt::Debug)> {
    let entries = fs::read_dir(place.images().join("rescue")).into_iter().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(
                metadata.nlink(),
                1,
                "{path:?} has another name, and changes when that goes"
            );
            (path, checksum::stamp(&metadata))
        })
        .collect();
    files.sort_by(|one, other| one.0.cmp(&other.0));
    files
}

/// The kernel of the image in place, if there is one; it is whole.
fn kernel(place: &Place) -> Option<Vec<u8>> {
    let (images, report) = config::images(&place.images(), &mut sums());
    assert!(report.errors.is_empty(), "{}", report.render(false));
    let image = images.get("rescue")?;
    Some(fs::read(image.root.join(&image.kernel.as_ref()?.file)).unwrap())
}

struct Round {
    place: Place,
    server: Server,
}

impl Round {
    fn new() -> Round {
        let files = [("old", "old"), ("linux", "linux"), ("ram", "ram"), ("other", "other")];
        let files = files.map(|(name, body)| (name, body.as_bytes().to_vec()));
        let place = Place::new();
        fs::create_dir(place.images()).unwrap();
        Round {
            place,
            server: Server::of(files.to_vec()),
        }
    }

    fn args(&self, name: &str, files: &[&str]) -> Vec<String> {
        let mut args = vec![name.to_owned()];
        for (option, file) in ["--kernel", "--initrd"].iter().zip(files) {
            let url = format!("{}{file}", self.server.base);
            args.extend([(*option).to_owned(), url, "--sha256".to_owned(), hex(file.as_bytes())]);
        }
        args
    }

    fn fetch(&self, args: &[String]) -> (bool, String) {
        let (status, told) = run_command(&self.place, &args.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        (status.success(), told)
    }

    /// Killed at this step, the run leaves the old state or the new one, and the next ones tidy up.
    fn killed_at(&self, step: CopyStep, force: bool) -> bool {
        let old = force.then(|| b"old".to_vec());
        if force {
            assert!(self.fetch(&self.args("rescue", &["old"])).0);
        }
        let mut args = self.args("rescue", &["linux", "ram"]);
        args.extend(force.then(|| "--force".to_owned()));
        let plain = command(&self.place, &args.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        let killed = is_killed_at(&plain, step.0, step.1);
        let placed = kernel(&self.place);
        assert!(
            placed == old || placed.as_deref() == Some(b"linux"),
            "{step:?}: {placed:?}"
        );
        let before = in_place(&self.place);
        let downloaded = ["linux", "ram"]
            .iter()
            .all(|file| self.place.kept("rescue").iter().any(|kept| kept == file));
        let asked = self.server.requests().len();
        if placed == old {
            let (done, told) = self.fetch(&args);
            assert!(done, "{step:?}: {told}");
            let again = self.server.requests().len() - asked;
            assert!(!downloaded || again == 0, "{step:?}: what was here came again: {told}");
        }
        assert_eq!(kernel(&self.place).as_deref(), Some(&b"linux"[..]), "{step:?}");
        assert!(self.fetch(&self.args("other", &["other"])).0);
        assert_eq!(self.place.names(), ["other", "rescue"], "{step:?}");
        if placed != old {
            assert_eq!(
                in_place(&self.place),
                before,
                "{step:?}: it is another file to the daemon"
            );
        }
        killed
    }
}

#[test]
fn a_run_that_has_just_made_its_image_leaves_the_next_ones_download_alone() {
    let ((asked, is_asked), (go_on, may_go_on)) = (channel(), channel());
    let may_go_on = Mutex::new(may_go_on);
    let server = Server::start(move |_, request, stream| {
        if request.path == "/slow" {
            asked.send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
        }
        answer(stream, "200 OK", &[], b"linux");
    });
    let (place, sum) = (Place::new(), hex(b"linux"));
    let args = |file: &str| {
        let url = format!("{}{file}", server.base);
        ["rescue", "--kernel", &url, "--sha256", &sum, "--force"].map(str::to_owned)
    };
    let words = args("linux");
    let plain = command(&place, &words.each_ref().map(String::as_str), &[]);
    let first = Stopped::at(&plain, "renameat2", 1);
    assert!(place.images().join("rescue").exists());
    let slow = args("slow");
    thread::scope(|scope| {
        let second = scope.spawn(|| run_command(&place, &slow.each_ref().map(String::as_str), &[]));
        // The first run goes on while the second one waits for its file.
        is_asked.recv_timeout(PATIENCE).unwrap();
        let first = first.go_on();
        go_on.send(()).unwrap();
        let (status, told) = second.join().unwrap();
        assert!(first.status.success() && status.success(), "{first:?} {told}");
    });
    assert_eq!(place.names(), ["rescue"]);
}

#[test]
fn a_fetch_that_is_killed_at_any_step_leaves_the_old_state_or_the_new_one() {
    for force in [false, true] {
        let times = |call| {
            (1..)
                .take_while(|time| Round::new().killed_at((call, *time), force))
                .count()
        };
        let killed = CALLS.map(times);
        println!("killed at {CALLS:?} so often: {killed:?}");
        assert!(killed.iter().sum::<usize>() > 15, "{killed:?}");
    }
}
