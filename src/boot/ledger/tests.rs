//! The ledger with a scripted clock.

use super::*;
use crate::boot::snapshot::Origin;

const NOW: Now = Now {
    monotonic: Duration::from_secs(100),
    wall: WallTime(1_000_000),
};
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const GOOD: [u8; 32] = [1; 32];
const ROTTEN: [u8; 32] = [2; 32];

fn stamp(length: u64, changed_ns: i128) -> FileStamp {
    FileStamp {
        length,
        modified_ns: 5,
        changed_ns,
        inode: 7,
    }
}

fn artifact(file: &str, length: u64) -> Artifact {
    Artifact {
        file: file.to_owned(),
        sha256: GOOD,
        said_at: Origin {
            file: "images/deb/image.toml".into(),
            line: 1,
            column: 1,
        },
        stamp: stamp(length, 6),
    }
}

/// One image with a kernel of 10 bytes and a disk of 1000.
fn images() -> BTreeMap<Name, Image> {
    let name: Name = "deb".parse().unwrap();
    let image = Image {
        name: name.clone(),
        cpu: None,
        root: "/images/deb".into(),
        kernel: Some(artifact("linux", 10)),
        initrds: Vec::new(),
        disk: Some(artifact("disk", 1000)),
        cmdline: Vec::new(),
    };
    [(name, image)].into()
}

fn kernel_of(images: &BTreeMap<Name, Image>) -> (&Image, &Artifact) {
    let image = &images["deb"];
    (image, image.kernel.as_ref().unwrap())
}

fn wanted(ledger: &Ledger, now: Now, recheck: Option<Duration>) -> Option<(String, Why)> {
    let images = images();
    let wanted = ledger.wanted(now, &images, recheck)?;
    Some((wanted.artifact.file.clone(), wanted.why))
}

fn read(ledger: &mut Ledger, now: Now, file: &str, found: [u8; 32]) {
    let images = images();
    let (image, artifact) = images["deb"]
        .artifacts()
        .map(|artifact| (&images["deb"], artifact))
        .find(|(_, artifact)| artifact.file == file)
        .unwrap();
    ledger.enter(now, &image.path(artifact), artifact.stamp, Finding::Sum(found));
}

fn standing(ledger: &Ledger) -> Standing {
    let images = images();
    let (image, kernel) = kernel_of(&images);
    ledger.standing(image, kernel)
}

fn seal(ledger: &Ledger) -> Seal {
    match standing(ledger) {
        Standing::Sound { seal, .. } => seal,
        other => panic!("not sound but {other:?}"),
    }
}

#[test]
fn what_nobody_read_is_not_served_and_the_least_work_comes_first() {
    let mut ledger = Ledger::default();
    assert_eq!(standing(&ledger), Standing::Unread { done: 0 });
    assert_eq!(wanted(&ledger, NOW, None), Some(("linux".to_owned(), Why::New)));
    let disk = Path::new("/images/deb/disk");
    ledger.read_so_far(disk, stamp(1000, 6), 995);
    assert_eq!(wanted(&ledger, NOW, None), Some(("disk".to_owned(), Why::New)));
    // Progress of the file as it was before says nothing of the file as it is.
    ledger.read_so_far(disk, stamp(1000, 7), 995);
    assert_eq!(wanted(&ledger, NOW, None), Some(("linux".to_owned(), Why::New)));
}

#[test]
fn only_the_right_bytes_are_sound() {
    let mut ledger = Ledger::default();
    read(&mut ledger, NOW, "linux", ROTTEN);
    assert_eq!(standing(&ledger), Standing::Wrong { found: ROTTEN });
    read(&mut ledger, NOW, "linux", GOOD);
    assert!(!seal(&ledger).is_broken());
}

#[test]
fn a_finding_holds_for_the_file_as_it_was_and_for_no_other() {
    let mut ledger = Ledger::default();
    read(&mut ledger, NOW, "linux", GOOD);
    let mut images = images();
    let kernel = images.get_mut("deb").unwrap().kernel.as_mut().unwrap();
    kernel.stamp = stamp(10, 60);
    let (image, kernel) = kernel_of(&images);
    assert_eq!(ledger.standing(image, kernel), Standing::Unread { done: 0 });
}

#[test]
fn rot_under_the_same_stamp_breaks_the_seal_of_transfers_under_way() {
    let mut ledger = Ledger::default();
    read(&mut ledger, NOW, "linux", GOOD);
    let given = seal(&ledger);
    read(&mut ledger, NOW, "linux", GOOD);
    assert!(!given.is_broken(), "read again and found the same");
    read(&mut ledger, NOW, "linux", ROTTEN);
    assert!(given.is_broken());
    read(&mut ledger, NOW, "linux", GOOD);
    assert!(given.is_broken() && !seal(&ledger).is_broken());
}

#[test]
fn a_file_that_another_took_the_name_of_is_waited_for_and_who_has_the_old_one_gets_all_of_it() {
    let mut ledger = Ledger::default();
    read(&mut ledger, NOW, "linux", GOOD);
    let given = seal(&ledger);
    let images = images();
    let (image, kernel) = kernel_of(&images);
    ledger.enter(NOW, &image.path(kernel), kernel.stamp, Finding::Another);
    assert_eq!(standing(&ledger), Standing::Unread { done: 0 });
    assert!(!given.is_broken());
    read(&mut ledger, NOW, "disk", GOOD);
    assert_eq!(wanted(&ledger, NOW, None), None, "it is not opened again and again");
    let later = NOW.after(VERIFY_RETRY);
    assert_eq!(wanted(&ledger, later, None), Some(("linux".to_owned(), Why::New)));
}

#[test]
fn everything_is_read_again_when_its_time_has_come_and_the_oldest_first() {
    let mut ledger = Ledger::default();
    read(&mut ledger, NOW, "disk", GOOD);
    let later = NOW.after(Duration::from_secs(60));
    read(&mut ledger, later, "linux", GOOD);
    assert_eq!(wanted(&ledger, later, Some(WEEK)), None);
    assert_eq!(wanted(&ledger, later.after(WEEK), None), None, "recheck = \"off\"");
    assert_eq!(
        wanted(&ledger, later.after(WEEK), Some(WEEK)),
        Some(("disk".to_owned(), Why::Again))
    );
    read(&mut ledger, later.after(WEEK), "disk", GOOD);
    assert_eq!(
        wanted(&ledger, later.after(WEEK), Some(WEEK)),
        Some(("linux".to_owned(), Why::Again))
    );
}

#[test]
fn what_is_kept_over_a_restart_is_not_read_before_its_time_and_the_calendar_may_jump() {
    let record = |file: &str, length, at: WallTime| ChecksumRecord {
        path: Path::new("/images/deb").join(file),
        stamp: stamp(length, 6),
        sha256: GOOD,
        at,
    };
    let mut ledger = Ledger::default();
    let a_day_ago = WallTime(NOW.wall.0 - 24 * 3600);
    ledger.restore(
        NOW,
        vec![record("linux", 10, a_day_ago), record("disk", 1000, WallTime(u64::MAX))],
    );
    assert!(matches!(standing(&ledger), Standing::Sound { at, .. } if at == a_day_ago));
    assert_eq!(wanted(&ledger, NOW, Some(WEEK)), None);
    let ten_years_on = Now {
        wall: WallTime(NOW.wall.0 + 10 * 365 * 24 * 3600),
        ..NOW
    };
    assert_eq!(wanted(&ledger, ten_years_on, Some(WEEK)), None);
    let in_six_days = NOW.after(Duration::from_secs(6 * 24 * 3600));
    assert_eq!(
        wanted(&ledger, in_six_days, Some(WEEK)),
        Some(("linux".to_owned(), Why::Again))
    );
}

#[test]
fn what_could_not_be_read_is_tried_again_after_a_while() {
    let mut ledger = Ledger::default();
    read(&mut ledger, NOW, "disk", GOOD);
    let images = images();
    let (image, kernel) = kernel_of(&images);
    let why = Finding::Unreadable("Input/output error".to_owned());
    ledger.enter(NOW, &image.path(kernel), kernel.stamp, why);
    assert!(matches!(standing(&ledger), Standing::Unreadable { .. }));
    assert_eq!(wanted(&ledger, NOW, None), None);
    assert_eq!(
        wanted(&ledger, NOW.after(VERIFY_RETRY), None),
        Some(("linux".to_owned(), Why::New))
    );
}

#[test]
fn files_that_no_image_has_are_forgotten() {
    let mut ledger = Ledger::default();
    read(&mut ledger, NOW, "linux", GOOD);
    let other = Path::new("/images/gone/linux");
    ledger.enter(NOW, other, stamp(1, 1), Finding::Sum(GOOD));
    assert_eq!(ledger.forget_others(&images()), [other]);
    assert!(matches!(standing(&ledger), Standing::Sound { .. }));
}
