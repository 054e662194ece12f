//! The same without a daemon: the files are checked as `bootwright check` does it, nobody has a lease, nobody is armed,
//! and every image that was checked is intact.

use super::{check, unsound};
use crate::admin::api::{AdminRefusal, Explanation, QuestionWords, RefusalCode};
use crate::boot::{
    explain::{BootQuestion, QuestionError, ScratchTables, ServedWire, Sources, Surroundings, explain},
    snapshot::{Snapshot, Subnet},
    verification::{HashResult, Verification},
};
use crate::config::{Appliance, Loaded, places::InventoryPlaces};
use crate::images::checksum;
use crate::model::{Cidr, Now, OwnAddress, WallTime};
use crate::net::interface;
use std::{
    net::Ipv4Addr,
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// What a machine would be told by the files at `path`.
pub(super) fn explained(path: &Path, words: &QuestionWords) -> Result<Explanation, AdminRefusal> {
    let Loaded {
        appliance, snapshot, ..
    } = check::load_candidate(path).map_err(|report| unsound(&report.errors))?;
    let now = now();
    let tables = ScratchTables {
        verification: verified(now, &snapshot),
        ..ScratchTables::default()
    };
    let (wires, note) = wires(&appliance, &snapshot);
    let question = BootQuestion::read(words, (&snapshot, &tables.identities), &wires);
    let question = question.map_err(|error| refusal(&error))?;
    let surroundings = Surroundings {
        now,
        snapshot: &snapshot,
        wires: &wires,
    };
    let sources = Sources {
        places: &InventoryPlaces::read(&appliance.inventory, None),
        look: &checksum::stamp_of,
    };
    let mut explanation = explain(surroundings, tables, &question, sources);
    explanation
        .notes
        .push("no daemon was asked: nobody has a lease, nobody is armed, no machine told anything yet".into());
    explanation.notes.extend(note);
    Ok(explanation)
}

fn refusal(error: &QuestionError) -> AdminRefusal {
    let code = match error {
        QuestionError::UnknownHost(_) => RefusalCode::UnknownHost,
        _ => RefusalCode::BadRequest,
    };
    AdminRefusal::new(code, error.to_string()).with_help(error.help())
}

fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    Now {
        wall: WallTime(wall.map_or(0, |since| since.as_secs())),
        ..Now::START
    }
}

/// Every artifact as the check found it.
fn verified(now: Now, snapshot: &Snapshot) -> Verification {
    let mut verification = Verification::default();
    for image in snapshot.images.values() {
        for artifact in image.artifacts() {
            let found = HashResult::Sum(artifact.sha256);
            verification.record(now, &image.path(artifact), artifact.stamp, found);
        }
    }
    verification
}

/// The interfaces with the addresses that this machine has on them; one that is not here has the first address of a
/// subnet that nobody else has.
fn wires(appliance: &Appliance, snapshot: &Snapshot) -> (Vec<ServedWire>, Option<String>) {
    let names: Vec<String> = appliance.interfaces.iter().map(|served| served.name.clone()).collect();
    let here = interface::survey(&names).unwrap_or_default();
    let addresses_of = |name: &str| {
        here.get(name)
            .map(|interface| interface.addresses.to_vec())
            .unwrap_or_default()
    };
    let mut made_up = snapshot
        .subnets
        .iter()
        .filter_map(|subnet| own_address(snapshot, subnet));
    let mut is_made_up = false;
    let own: Vec<Vec<OwnAddress>> = appliance
        .interfaces
        .iter()
        .map(|served| match addresses_of(&served.name) {
            none if none.is_empty() => {
                is_made_up = true;
                made_up.next().into_iter().collect()
            }
            own => own,
        })
        .collect();
    let wires = appliance.interfaces.iter().enumerate().map(|(place, served)| {
        let others = own.iter().enumerate().filter(|(other, _)| *other != place);
        ServedWire {
            name: served.name.as_str().into(),
            mode: served.mode,
            own: own[place].as_slice().into(),
            elsewhere: others
                .flat_map(|(_, own)| own.iter().copied())
                .collect::<Arc<[OwnAddress]>>(),
        }
    });
    let wires = wires.filter(|wire| !wire.own.is_empty()).collect();
    let note = "this machine has not the appliance's interfaces: its own address is one that was made up";
    (wires, is_made_up.then(|| note.into()))
}

/// An address of a subnet that no pool, no router and no host has.
fn own_address(snapshot: &Snapshot, subnet: &Subnet) -> Option<OwnAddress> {
    let first = u32::from(subnet.cidr.network());
    let last = u32::from(subnet.cidr.broadcast());
    let is_free = |address: &Ipv4Addr| {
        let mut pool = subnet.pool.iter().chain(&subnet.kept);
        subnet.cidr.is_host_address(*address)
            && subnet.router != Some(*address)
            && snapshot.hosts.by_address(*address).is_none()
            && !pool.any(|range| range.contains(*address))
    };
    let address = (first..=last).map(Ipv4Addr::from).find(is_free)?;
    Some(OwnAddress {
        address,
        cidr: Cidr::containing(address, subnet.cidr.prefix()),
    })
}
