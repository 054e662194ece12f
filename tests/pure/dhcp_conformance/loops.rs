//! The alarm for a machine that goes round between its firmware and its loader.

use super::support::*;
use bootwright::boot::{
    event::{Event, Machine, Reason, RequestedFile, ScriptChoice, Stage, Step},
    loops::LoaderLoops,
};
use bootwright::model::{Dialect, HardwareAddr, MacAddr, limits::LOADER_LOOP_RESET};
use std::time::Duration;

fn event(mac: MacAddr, stage: Stage, step: Step) -> Event {
    Event {
        at: START,
        machine: Machine {
            key: listed("live-one"),
            hardware: Some(HardwareAddr::from(mac)),
            ..Machine::default()
        },
        stage,
        quirks: Default::default(),
        step,
    }
}

fn loaded(mac: MacAddr, loader: &str) -> Event {
    event(mac, Stage::UefiPxe, sent(self::loader(loader), 100_000))
}

fn loader(file: &str) -> RequestedFile {
    RequestedFile::Loader { file: file.into() }
}

fn sent(file: RequestedFile, bytes: u64) -> Step {
    let part = None;
    Step::Sent { file, part, bytes }
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
        loader: "snponly.efi".into(),
        times: 3,
    };
    assert_eq!((alarm.machine.key, alarm.step), (listed("live-one"), expected));
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
    let script = RequestedFile::Script {
        script: "debian-installer".parse().unwrap(),
        dialect: Dialect::Ipxe,
        choice: ScriptChoice::Named,
        mismatch: None,
        facts: None,
    };
    for (file, expected) in [
        (RequestedFile::Autoexec, [false, false, true]),
        (loader("x86_64-efi/autoexec.ipxe"), [false, false, true]),
        (script, [false; 3]),
    ] {
        let mut loops = LoaderLoops::default();
        let alarms = expected.map(|_| {
            let alarm = loops.observe(START, &loaded(LIVE, "snponly.efi"));
            loops.observe(START, &event(LIVE, Stage::Ipxe, sent(file.clone(), 400)));
            alarm.is_some()
        });
        assert_eq!(alarms, expected, "{file}");
    }
}

#[test]
fn case_25_a_size_question_and_a_broken_transfer_are_no_loader_taken() {
    let mut loops = LoaderLoops::default();
    for _ in 0..5 {
        let broken = Step::Failed {
            file: loader("snponly.efi"),
            part: None,
            reason: Reason::ConnectionEnded { had: 1, length: 2 },
        };
        for step in [sent(loader("snponly.efi"), 0), broken] {
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
