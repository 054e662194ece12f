//! The alarm for a machine that goes round between its firmware and its loader.

use super::support::*;
use bootwright::boot::{
    event::{Event, Stage, Step},
    loops::LoaderLoops,
};
use bootwright::model::{HardwareAddr, MacAddr, limits::LOADER_LOOP_RESET};
use std::time::Duration;

fn event(mac: MacAddr, stage: Stage, step: Step) -> Event {
    Event {
        machine: "live-one".to_owned(),
        hardware: Some(HardwareAddr::from(mac)),
        stage,
        quirks: Vec::new(),
        step,
    }
}

fn loaded(mac: MacAddr, loader: &str) -> Event {
    let what = format!("loader {loader}");
    event(mac, Stage::UefiPxe, Step::Sent { what, bytes: 100_000 })
}

/// Whether each of the loaders that a machine takes, a minute apart, raises the alarm.
fn alarms(loops: &mut LoaderLoops, loaders: &[&str]) -> Vec<bool> {
    let mut room = Room::new();
    loaders
        .iter()
        .map(|loader| {
            room.now.monotonic += Duration::from_secs(60);
            loops.observe(room.now, &loaded(LIVE, loader)).is_some()
        })
        .collect()
}

#[test]
fn case_25_the_same_loader_three_times_in_a_row_raises_the_alarm() {
    let mut loops = LoaderLoops::default();
    assert_eq!(alarms(&mut loops, &["snponly.efi"; 2]), [false, false]);
    let alarm = loops.observe(START, &loaded(LIVE, "snponly.efi")).unwrap();
    let expected = Step::LoaderLoop {
        loader: "snponly.efi".to_owned(),
        times: 3,
    };
    assert_eq!((alarm.machine.as_str(), alarm.step), ("live-one", expected));
    assert_eq!(
        alarms(&mut loops, &["snponly.efi"; 3]),
        [false, false, true],
        "and again"
    );
}

#[test]
fn case_25_another_loader_or_another_machine_is_another_row() {
    let mut loops = LoaderLoops::default();
    let chain = ["shim.efi", "grubx64.efi"].repeat(3);
    assert_eq!(alarms(&mut loops, &chain), [false; 6]);
    assert_eq!(alarms(&mut loops, &["snponly.efi"; 2]), [false; 2]);
    assert_eq!(loops.observe(START, &loaded(STRANGER, "snponly.efi")), None);
}

#[test]
fn case_25_a_machine_that_came_back_as_ipxe_begins_anew() {
    let mut room = Room::new();
    let mut loops = LoaderLoops::default();
    for _ in 0..5 {
        assert_eq!(alarms(&mut loops, &["snponly.efi"; 2]), [false; 2]);
        let outcome = room.outcome(&Packet::discover(LIVE).ipxe(7));
        assert_eq!(loops.observe(START, &outcome.event), None);
    }
}

#[test]
fn an_autoexec_that_leads_to_no_script_ends_no_row_and_the_script_does() {
    let sent = |what: &str| {
        let (what, bytes) = (what.to_owned(), 400);
        event(LIVE, Stage::Ipxe, Step::Sent { what, bytes })
    };
    for (word, expected) in [
        ("autoexec.ipxe", [false, false, true]),
        ("loader x86_64-efi/autoexec.ipxe", [false, false, true]),
        ("script debian-installer", [false; 3]),
    ] {
        let mut loops = LoaderLoops::default();
        let alarms = expected.map(|_| {
            let alarm = loops.observe(START, &loaded(LIVE, "snponly.efi"));
            loops.observe(START, &sent(word));
            alarm.is_some()
        });
        assert_eq!(alarms, expected, "{word}");
    }
}

#[test]
fn case_25_a_size_question_and_a_broken_transfer_are_no_loader_taken() {
    let mut loops = LoaderLoops::default();
    for _ in 0..5 {
        let (what, reason) = ("loader snponly.efi".to_owned(), "the client gave up".to_owned());
        let head = Step::Sent {
            what: what.clone(),
            bytes: 0,
        };
        for step in [head, Step::Failed { what, reason }] {
            assert_eq!(loops.observe(START, &event(LIVE, Stage::UefiHttp, step)), None);
        }
    }
}

#[test]
fn case_25_a_person_who_tries_again_much_later_begins_anew() {
    let mut loops = LoaderLoops::default();
    let mut now = START;
    for _ in 0..5 {
        assert_eq!(loops.observe(now, &loaded(LIVE, "snponly.efi")), None);
        now.monotonic += LOADER_LOOP_RESET + Duration::from_secs(1);
    }
}
