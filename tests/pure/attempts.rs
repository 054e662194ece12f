//! Attempts under any order of events: bounded, in order, and the same over a restart.

use bootwright::attempt::{Attempt, AttemptHead, AttemptOwner, Attempts};
use bootwright::boot::event::{
    BootAction, BootDecision, DiskReason, Event, Machine, MachineKey, Reason, RequestedFile, ScriptChoice, Stage, Step,
};
use bootwright::model::{
    Dialect, MacAddr, Now, WallTime,
    limits::{ATTEMPT_STEPS_MAX, ATTEMPTS_UNLISTED_MAX},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

/// Hosts, and as many unlisted machines.
const MACHINES: u8 = 3;

/// Who, in which stage, what, and seconds since the event before.
type Drawn = (u8, usize, u8, u64);

fn drawn() -> impl Strategy<Value = Drawn> {
    let pause = prop_oneof![4 => 0..3u64, 1 => 0..400u64];
    (0..2 * MACHINES + 1, 0..Stage::ALL.len(), 0..9u8, pause)
}

fn machine(number: u8) -> Machine {
    let hardware = MacAddr([2, 0, 0, 0, 0, number]).into();
    let key = match number {
        0..MACHINES => MachineKey::Host(format!("r1u{number:02}").parse().unwrap()),
        _ if number < 2 * MACHINES => MachineKey::Hardware(hardware),
        _ => MachineKey::Unknown,
    };
    Machine {
        key,
        hardware: Some(hardware),
        ..Machine::default()
    }
}

fn step(kind: u8) -> Step {
    let address = Ipv4Addr::new(192, 0, 2, 11);
    let decision = |boot| BootDecision { boot, mismatch: None };
    let sent = |file| Step::Sent {
        file,
        part: None,
        bytes: 10,
    };
    match kind {
        0 => Step::Offered {
            address,
            boot: decision(BootAction::RaspberryPi),
        },
        1 => Step::Acknowledged {
            address,
            boot: decision(BootAction::RaspberryPi),
        },
        2 => Step::Acknowledged {
            address,
            boot: decision(BootAction::Disk {
                why: DiskReason::Locked,
            }),
        },
        3 => sent(RequestedFile::Loader {
            file: "snponly.efi".into(),
        }),
        4 => sent(RequestedFile::Script {
            script: "live".parse().unwrap(),
            dialect: Dialect::Ipxe,
            choice: ScriptChoice::Named,
            mismatch: None,
            facts: None,
        }),
        5 => sent(RequestedFile::Artifact {
            image: "debian".into(),
            file: "linux".into(),
        }),
        6 => Step::Failed {
            file: RequestedFile::Path {
                path: "x".repeat(5000).into(),
            },
            part: None,
            reason: Reason::FileMissing,
        },
        7 => Step::NoIpv6Router,
        _ => Step::Ignored {
            reason: Reason::MessageType { kind },
        },
    }
}

fn events(drawn: &[Drawn]) -> Vec<Event> {
    let mut second = 0;
    let event = |&(who, stage, kind, pause): &Drawn| {
        second += pause;
        Event {
            at: Now {
                monotonic: Duration::from_secs(second),
                wall: WallTime(1_764_000_000 + second),
            },
            machine: machine(who),
            stage: Stage::ALL[stage],
            quirks: Arc::default(),
            step: step(kind),
        }
    };
    drawn.iter().map(event).collect()
}

/// What a disk would have.
#[derive(Default)]
struct Disk(BTreeMap<u64, String>);

impl Disk {
    fn write(&mut self, attempts: &mut Attempts) {
        loop {
            let unwritten = attempts.take_unwritten();
            if unwritten.changed.is_empty() && unwritten.dropped.is_empty() {
                return;
            }
            for attempt in unwritten.changed {
                self.0.insert(attempt.id.0, serde_json::to_string(&attempt).unwrap());
            }
            for id in unwritten.dropped {
                self.0.remove(&id.0);
            }
        }
    }

    fn read(&self, id: u64) -> Option<Attempt> {
        self.0.get(&id).map(|text| serde_json::from_str(text).unwrap())
    }
}

fn owners() -> impl Iterator<Item = AttemptOwner> {
    (0..2 * MACHINES).map(|number| match machine(number).key {
        MachineKey::Host(name) => AttemptOwner::Host(name),
        _ => AttemptOwner::Mac(MacAddr([2, 0, 0, 0, 0, number])),
    })
}

fn is_sound(attempt: &Attempt) {
    assert!(!attempt.steps.is_empty() && attempt.steps.len() <= ATTEMPT_STEPS_MAX);
    assert!(attempt.steps.is_sorted_by_key(|step| step.at_ms));
    for step in &attempt.steps {
        assert!(
            step.at_ms <= step.until_ms && step.until_ms <= attempt.last_ms,
            "{step:?}"
        );
        assert!(step.times > 0);
        assert!(step.file.as_ref().is_none_or(|file| file.len() < 300));
    }
}

proptest! {
    #[test]
    fn whatever_happens_attempts_are_sound_and_a_restart_at_any_moment_changes_none(
        drawn in prop::collection::vec(drawn(), 1..120),
        restarts in prop::collection::btree_set(0..120usize, 0..4),
    ) {
        let (mut through, mut restarted) = (Attempts::default(), Attempts::default());
        let (mut steady_disk, mut disk) = (Disk::default(), Disk::default());
        for (place, event) in events(&drawn).iter().enumerate() {
            through.observe(event, 1, &mut |id| steady_disk.read(id.0));
            restarted.observe(event, 1, &mut |id| disk.read(id.0));
            steady_disk.write(&mut through);
            disk.write(&mut restarted);
            if place % 7 == 0 {
                through.tidy(event.at);
            }
            if restarts.contains(&place) {
                restarted = Attempts::default();
                for (id, text) in &disk.0 {
                    let head: AttemptHead = serde_json::from_str(text).unwrap();
                    restarted.restore(event.at, &head, || disk.read(*id));
                }
            }
        }
        prop_assert_eq!(&steady_disk.0, &disk.0);
        for owner in owners() {
            prop_assert_eq!(through.of(&owner), restarted.of(&owner));
            for id in through.of(&owner) {
                let attempt = disk.read(id.0).unwrap();
                prop_assert_eq!(&attempt.owner, &owner);
                is_sound(&attempt);
            }
        }
        prop_assert!(through.len() <= drawn.len() && through.len() <= ATTEMPTS_UNLISTED_MAX);
    }
}
