//! Events of one machine for tests.

use crate::boot::event::{
    BootAction, BootDecision, DiskReason, Event, InstallEvent, LoggedLine, LoggedLines, Machine, MachineKey,
    RequestedFile, ScriptChoice, Stage, Step,
};
use crate::model::{By, Dialect, InstallNews, MacAddr, MachineFacts, Now, WallTime};
use crate::proto::syslog::parse;
use std::{net::Ipv4Addr, sync::Arc, time::Duration};

/// A moment, in seconds of the process.
pub(super) fn at(second: u64) -> Now {
    Now {
        monotonic: Duration::from_secs(second),
        wall: WallTime(1_764_000_000 + second),
    }
}

pub(super) fn mac(number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddr([2, 0, a, b, c, d])
}

/// An event of host `r1u07`.
pub(super) fn event(now: Now, stage: Stage, step: Step) -> Event {
    Event {
        at: now,
        machine: Machine {
            key: MachineKey::Host("r1u07".parse().unwrap()),
            hardware: Some(mac(7).into()),
            ..Machine::default()
        },
        stage,
        quirks: Arc::default(),
        step,
    }
}

/// The same of an unlisted machine.
pub(super) fn unlisted(number: u32, of: Event) -> Event {
    let hardware = mac(number).into();
    Event {
        machine: Machine {
            key: MachineKey::Hardware(hardware),
            hardware: Some(hardware),
            ..Machine::default()
        },
        ..of
    }
}

fn decision(boot: BootAction) -> BootDecision {
    BootDecision { boot, mismatch: None }
}

pub(super) fn offered(now: Now, stage: Stage) -> Event {
    let boot = decision(BootAction::RaspberryPi);
    let address = Ipv4Addr::new(192, 0, 2, 11);
    event(now, stage, Step::Offered { address, boot })
}

pub(super) fn acknowledged(now: Now, stage: Stage) -> Event {
    let boot = decision(BootAction::RaspberryPi);
    let address = Ipv4Addr::new(192, 0, 2, 11);
    event(now, stage, Step::Acknowledged { address, boot })
}

pub(super) fn told_its_disk(now: Now) -> Event {
    let boot = decision(BootAction::Disk {
        why: DiskReason::Configured,
    });
    let address = Ipv4Addr::new(192, 0, 2, 11);
    event(now, Stage::UefiPxe, Step::Acknowledged { address, boot })
}

pub(super) fn sent_script(now: Now) -> Event {
    let file = RequestedFile::Script {
        script: "live".parse().unwrap(),
        dialect: Dialect::Ipxe,
        choice: ScriptChoice::Named,
        mismatch: None,
        facts: None,
    };
    sent(now, Stage::Ipxe, file, 1)
}

pub(super) fn sent_script_with_memory(now: Now, memory_mib: u32) -> Event {
    let facts = MachineFacts {
        memory_mib: Some(memory_mib),
        ..MachineFacts::default()
    };
    let file = RequestedFile::Script {
        script: "live".parse().unwrap(),
        dialect: Dialect::Ipxe,
        choice: ScriptChoice::Named,
        mismatch: None,
        facts: Some(Box::new(facts)),
    };
    sent(now, Stage::Ipxe, file, 1)
}

pub(super) fn sent_artifact(now: Now, file: &str, bytes: u64) -> Event {
    let file = RequestedFile::Artifact {
        image: "debian".into(),
        file: file.into(),
    };
    sent(now, Stage::Ipxe, file, bytes)
}

fn sent(now: Now, stage: Stage, file: RequestedFile, bytes: u64) -> Event {
    let part = None;
    event(now, stage, Step::Sent { file, part, bytes })
}

pub(super) fn install(now: Now, news: InstallNews) -> Event {
    let step = Step::Install(InstallEvent {
        news,
        who: By::Time,
        until: None,
        address: None,
        tries: Some(1),
        last: None,
        failure: None,
    });
    event(now, Stage::System, step)
}

/// Lines of its own log, of a datagram each.
pub(super) fn logged(now: Now, datagrams: &[&str]) -> Event {
    let mut said = LoggedLines::default();
    for datagram in datagrams {
        said.push(LoggedLine::from(&parse(datagram.as_bytes()).unwrap()));
    }
    event(now, Stage::Unknown, Step::Logged(said))
}
