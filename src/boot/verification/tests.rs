//! The ledger with a scripted clock.

use super::*;
use crate::fixtures;

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
    fixtures::artifact(file, GOOD, stamp(length, 6))
}

/// One image with a kernel of 10 bytes and a disk of 1000.
fn images() -> BTreeMap<Name, Image> {
    let image = Image {
        kernel: Some(artifact("linux", 10)),
        disk: Some(artifact("disk", 1000)),
        ..fixtures::image("deb", "/images/deb")
    };
    [(image.name.clone(), image)].into()
}

fn kernel_of(images: &BTreeMap<Name, Image>) -> (&Image, &Artifact) {
    let image = &images["deb"];
    (image, image.kernel.as_ref().unwrap())
}

fn next_to_read(verification: &Verification, now: Now, recheck: Option<Duration>) -> Option<(String, ReadReason)> {
    let images = images();
    let next_to_read = verification.next_to_read(now, &images, recheck)?;
    Some((next_to_read.artifact.file.clone(), next_to_read.why))
}

fn read(verification: &mut Verification, now: Now, file: &str, found: [u8; 32]) {
    let images = images();
    let (image, artifact) = images["deb"]
        .artifacts()
        .map(|artifact| (&images["deb"], artifact))
        .find(|(_, artifact)| artifact.file == file)
        .unwrap();
    verification.record(now, &image.path(artifact), artifact.stamp, HashResult::Sum(found));
}

fn state(verification: &Verification) -> VerificationState {
    let images = images();
    let (image, kernel) = kernel_of(&images);
    verification.state(image, kernel)
}

fn verified(verification: &Verification) -> VerifiedStamp {
    match state(verification) {
        VerificationState::Verified { verified, .. } => verified,
        other => panic!("not sound but {other:?}"),
    }
}

#[test]
fn what_nobody_read_is_not_served_and_the_least_work_comes_first() {
    let mut verification = Verification::default();
    assert_eq!(state(&verification), VerificationState::Pending { done: 0 });
    assert_eq!(
        next_to_read(&verification, NOW, None),
        Some(("linux".to_owned(), ReadReason::New))
    );
    let disk = Path::new("/images/deb/disk");
    verification.record_progress(disk, stamp(1000, 6), 995);
    assert_eq!(
        next_to_read(&verification, NOW, None),
        Some(("disk".to_owned(), ReadReason::New))
    );
    // Progress of the file as it was before says nothing of the file as it is.
    verification.record_progress(disk, stamp(1000, 7), 995);
    assert_eq!(
        next_to_read(&verification, NOW, None),
        Some(("linux".to_owned(), ReadReason::New))
    );
}

#[test]
fn only_the_right_bytes_are_sound() {
    let mut verification = Verification::default();
    read(&mut verification, NOW, "linux", ROTTEN);
    assert_eq!(state(&verification), VerificationState::Mismatch { found: ROTTEN });
    read(&mut verification, NOW, "linux", GOOD);
    assert!(!verified(&verification).is_revoked());
}

#[test]
fn a_finding_holds_for_the_file_as_it_was_and_for_no_other() {
    let mut verification = Verification::default();
    read(&mut verification, NOW, "linux", GOOD);
    let mut images = images();
    let kernel = images.get_mut("deb").unwrap().kernel.as_mut().unwrap();
    kernel.stamp = stamp(10, 60);
    let (image, kernel) = kernel_of(&images);
    assert_eq!(
        verification.state(image, kernel),
        VerificationState::Pending { done: 0 }
    );
}

#[test]
fn rot_under_the_same_stamp_breaks_the_seal_of_transfers_under_way() {
    let mut verification = Verification::default();
    read(&mut verification, NOW, "linux", GOOD);
    let given = verified(&verification);
    read(&mut verification, NOW, "linux", GOOD);
    assert!(!given.is_revoked(), "read again and found the same");
    read(&mut verification, NOW, "linux", ROTTEN);
    assert!(given.is_revoked());
    read(&mut verification, NOW, "linux", GOOD);
    assert!(given.is_revoked() && !verified(&verification).is_revoked());
}

#[test]
fn a_file_that_another_took_the_name_of_is_waited_for_and_who_has_the_old_one_gets_all_of_it() {
    let mut verification = Verification::default();
    read(&mut verification, NOW, "linux", GOOD);
    let given = verified(&verification);
    let images = images();
    let (image, kernel) = kernel_of(&images);
    verification.record(NOW, &image.path(kernel), kernel.stamp, HashResult::Replaced);
    assert_eq!(state(&verification), VerificationState::Pending { done: 0 });
    assert!(!given.is_revoked());
    read(&mut verification, NOW, "disk", GOOD);
    assert_eq!(
        next_to_read(&verification, NOW, None),
        None,
        "it is not opened again and again"
    );
    let later = NOW.after(VERIFY_RETRY_INTERVAL);
    assert_eq!(
        next_to_read(&verification, later, None),
        Some(("linux".to_owned(), ReadReason::New))
    );
}

#[test]
fn everything_is_read_again_when_its_time_has_come_and_the_oldest_first() {
    let mut verification = Verification::default();
    read(&mut verification, NOW, "disk", GOOD);
    let later = NOW.after(Duration::from_secs(60));
    read(&mut verification, later, "linux", GOOD);
    assert_eq!(next_to_read(&verification, later, Some(WEEK)), None);
    assert_eq!(
        next_to_read(&verification, later.after(WEEK), None),
        None,
        "recheck = \"off\""
    );
    assert_eq!(
        next_to_read(&verification, later.after(WEEK), Some(WEEK)),
        Some(("disk".to_owned(), ReadReason::Recheck))
    );
    read(&mut verification, later.after(WEEK), "disk", GOOD);
    assert_eq!(
        next_to_read(&verification, later.after(WEEK), Some(WEEK)),
        Some(("linux".to_owned(), ReadReason::Recheck))
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
    let mut verification = Verification::default();
    let a_day_ago = WallTime(NOW.wall.0 - 24 * 3600);
    verification.restore(
        NOW,
        vec![record("linux", 10, a_day_ago), record("disk", 1000, WallTime(u64::MAX))],
    );
    assert!(matches!(state(&verification), VerificationState::Verified { at, .. } if at == a_day_ago));
    assert_eq!(next_to_read(&verification, NOW, Some(WEEK)), None);
    let ten_years_on = Now {
        wall: WallTime(NOW.wall.0 + 10 * 365 * 24 * 3600),
        ..NOW
    };
    assert_eq!(next_to_read(&verification, ten_years_on, Some(WEEK)), None);
    let in_six_days = NOW.after(Duration::from_secs(6 * 24 * 3600));
    assert_eq!(
        next_to_read(&verification, in_six_days, Some(WEEK)),
        Some(("linux".to_owned(), ReadReason::Recheck))
    );
}

#[test]
fn what_could_not_be_read_is_tried_again_after_a_while() {
    let mut verification = Verification::default();
    read(&mut verification, NOW, "disk", GOOD);
    let images = images();
    let (image, kernel) = kernel_of(&images);
    let why = HashResult::Unreadable("Input/output error".to_owned());
    verification.record(NOW, &image.path(kernel), kernel.stamp, why);
    assert!(matches!(state(&verification), VerificationState::Unreadable { .. }));
    assert_eq!(next_to_read(&verification, NOW, None), None);
    assert_eq!(
        next_to_read(&verification, NOW.after(VERIFY_RETRY_INTERVAL), None),
        Some(("linux".to_owned(), ReadReason::New))
    );
}

#[test]
fn files_that_no_image_has_are_forgotten() {
    let mut verification = Verification::default();
    read(&mut verification, NOW, "linux", GOOD);
    let other = Path::new("/images/gone/linux");
    verification.record(NOW, other, stamp(1, 1), HashResult::Sum(GOOD));
    assert_eq!(verification.forget_unlisted(&images()), [other]);
    assert!(matches!(state(&verification), VerificationState::Verified { .. }));
}
