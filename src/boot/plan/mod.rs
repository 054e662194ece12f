//! What a candidate inventory would change for machines: a generation as they see it ([`Picture`]), and the difference
//! of two.
//!
//! Whose disk is at stake is found by what decides it at a reload ([`KnownInstalls`]) and at a boot
//! ([`gate`](crate::boot::gate)), tried on a copy of what the daemon knows: a wipe that is not announced is worse than
//! no plan. Pure: whoever asks has both inventories read and checked.

mod difference;
mod picture;
mod texts;
mod unchanged;

pub use difference::{ChangeKind, Difference, ValueChange};
pub use picture::{Picture, Traits};

use crate::boot::{
    arming::{Arming, HostState, KnownInstalls},
    event::DiskReason,
    gate::{Gate, gate},
    machine::Who,
    snapshot::{Host, Ports, Snapshot},
    world::World,
};
use crate::lease::LeaseTable;
use crate::model::{Now, WallTime};
use difference::Differences;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// What a candidate is held against: a generation in force, and what its daemon knows of installs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanBasis {
    /// The version of the daemon. One of another version may arm by other rules.
    pub version: String,
    /// The generation in force.
    pub generation: u64,
    /// Where its servers listen, whatever the candidate says.
    pub ports: Ports,
    /// The generation as machines see it.
    pub picture: Picture,
    /// What each host boots next, by name.
    pub boots: BTreeMap<String, NextBoot>,
    /// Who may install.
    pub installs: KnownInstalls,
}

/// What a host boots next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NextBoot {
    /// `install`, `live`, `rescue`, `discover`, or `local`: its disk.
    pub target: String,
    /// The image that it boots or installs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Why it is its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Why a host installs at its next boot from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WipeReason {
    /// It appears in the candidate for the first time, which arms it.
    FirstAppearance,
    /// It is armed already.
    Armed,
    /// Its install is under way.
    Installing,
    /// It boots an installer that asks nothing, at every power-on.
    LiveInstaller,
}

/// A host whose next boot from the network erases its disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Wipe {
    /// Its name in the candidate; of a rule, what it is for.
    pub host: String,
    /// Why it installs.
    pub why: WipeReason,
    /// The image that it installs.
    pub image: Option<String>,
    /// Whether the same happens by the generation in force.
    pub already: bool,
}

/// Hosts of which the same is to be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostGroup {
    /// Whether they come, go, or are changed.
    pub kind: ChangeKind,
    /// Their names, in order.
    pub hosts: Vec<String>,
    /// What of them changes; nothing where they come or go.
    #[serde(flatten)]
    pub difference: Difference,
    /// What they boot next by the generation in force; nothing where they come.
    pub boots_now: Option<NextBoot>,
    /// What they boot next by the candidate; nothing where they go.
    pub boots_then: Option<NextBoot>,
}

/// A host that has another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renaming {
    /// As it is called by the generation in force.
    pub from: String,
    /// As it is called by the candidate.
    pub to: String,
}

/// Something of the appliance that touches machines: a subnet, a rule, an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartChange {
    /// What it is: `subnet 192.0.2.0/24`.
    pub what: String,
    /// Whether it comes, goes, or is changed.
    pub kind: ChangeKind,
    /// What of it changes.
    #[serde(flatten)]
    pub difference: Difference,
    /// The listed hosts that boot it, where it is an image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

/// What a candidate would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedChanges {
    /// The generation in force.
    pub generation: u64,
    /// Hosts whose next boot from the network erases their disk, once the candidate is in force.
    pub wipes: Vec<Wipe>,
    /// Hosts that are armed, and would not be any more.
    pub disarmed: Vec<String>,
    /// Hosts that are being installed, and whose installer would be refused from then on: as they are called now.
    #[serde(default)]
    pub interrupted: Vec<String>,
    /// Hosts that have another name.
    pub renamed: Vec<Renaming>,
    /// Hosts that come, go or change, together where the same is to be said of them.
    pub hosts: Vec<HostGroup>,
    /// What else of the appliance touches machines.
    pub appliance: Vec<PartChange>,
}

impl PlanBasis {
    /// A generation in force, with what is known of installs.
    pub fn of(snapshot: &Snapshot, installs: KnownInstalls) -> PlanBasis {
        PlanBasis::with(snapshot, installs, Picture::of(snapshot))
    }

    fn with(snapshot: &Snapshot, installs: KnownInstalls, picture: Picture) -> PlanBasis {
        PlanBasis {
            version: env!("CARGO_PKG_VERSION").into(),
            generation: snapshot.generation,
            ports: snapshot.ports,
            picture,
            boots: next_boots(snapshot, &mut installs.arming(), installs.date),
            installs,
        }
    }
}

impl PlannedChanges {
    /// What a candidate would change; its ports are those of the basis.
    pub fn of(basis: &PlanBasis, candidate: &Snapshot) -> PlannedChanges {
        PlannedChanges::with(basis, candidate, Picture::of(candidate))
    }

    /// What a generation changed of the one before, for a journal: hosts that are the same in both are not looked at.
    pub fn between(before: &Snapshot, now: &Snapshot, installs: KnownInstalls) -> PlannedChanges {
        let unchanged = unchanged::unchanged(before, now, &installs);
        let differs = |host: &Host| !unchanged.contains(host.name.as_str());
        let basis = PlanBasis::with(before, installs, Picture::of_some(before, differs));
        PlannedChanges::with(&basis, now, Picture::of_some(now, differs))
    }

    fn with(basis: &PlanBasis, candidate: &Snapshot, picture: Picture) -> PlannedChanges {
        let (mut arming, appearing) = basis.installs.after_taking(candidate);
        let before = basis.installs.arming();
        let date = basis.installs.date;
        let boots = next_boots(candidate, &mut arming, date);
        let appearing: BTreeSet<&str> = appearing.iter().map(|host| host.name.as_str()).collect();
        let Differences {
            hosts,
            renamed,
            appliance,
        } = Differences::of((&basis.picture, &basis.boots), (&picture, &boots));
        PlannedChanges {
            generation: basis.generation,
            wipes: [
                wipes(basis, candidate, (&mut arming, &boots), &appearing),
                live_wipes(basis, &picture, &boots),
            ]
            .concat(),
            disarmed: disarmed(&before, &arming),
            interrupted: interrupted(basis, &before, candidate),
            renamed,
            hosts,
            appliance,
        }
    }

    /// Whether the candidate changes anything at all for machines.
    pub fn changes_nothing(&self) -> bool {
        let PlannedChanges {
            disarmed,
            // It goes with a change of the host, or with a wipe that is new.
            interrupted: _,
            renamed,
            hosts,
            appliance,
            wipes,
            generation: _,
        } = self;
        let is_new = |wipe: &Wipe| !wipe.already;
        hosts.is_empty()
            && renamed.is_empty()
            && appliance.is_empty()
            && disarmed.is_empty()
            && !wipes.iter().any(is_new)
    }
}

/// What each listed host boots next.
pub fn next_boots(snapshot: &Snapshot, arming: &mut Arming, date: WallTime) -> BTreeMap<String, NextBoot> {
    let now = Now {
        monotonic: Duration::ZERO,
        wall: date,
    };
    let world = World {
        now,
        snapshot,
        leases: &mut LeaseTable::default(),
        arming,
    };
    let hosts = snapshot.hosts.iter();
    let boots = hosts.map(|host| (host.name.as_str().into(), next_boot(&world, host)));
    boots.collect()
}

fn next_boot(world: &World<'_, '_>, host: &Arc<Host>) -> NextBoot {
    let image = host.settings.image.as_ref().map(|image| image.value.as_str().into());
    match gate(world, Who::Host(host)) {
        Gate::Network { target, .. } => NextBoot {
            target: target.name().into(),
            image,
            why: None,
        },
        Gate::Disk(why) => NextBoot {
            target: "local".into(),
            image: None,
            why: (why != DiskReason::Configured).then(|| texts::shown(why)),
        },
        // No listed host is an unknown machine but one that is to introduce itself.
        Gate::ShowIdentity | Gate::LeaseOnly | Gate::Ignore => NextBoot {
            target: "discover".into(),
            image: None,
            why: None,
        },
    }
}

/// Everybody whom the gate lets install once the candidate is in force.
fn wipes(
    basis: &PlanBasis,
    candidate: &Snapshot,
    (arming, boots): (&mut Arming, &BTreeMap<String, NextBoot>),
    appearing: &BTreeSet<&str>,
) -> Vec<Wipe> {
    let installs = candidate.hosts.iter().filter_map(|host| {
        let name = host.name.as_str();
        let boot = boots.get(name).filter(|boot| boot.target == INSTALL)?;
        let record = arming.record(host);
        let is_under_way = record.is_some_and(|record| matches!(record.state, HostState::Installing(_)));
        Some(Wipe {
            host: name.into(),
            why: match (appearing.contains(name), is_under_way) {
                (true, _) => WipeReason::FirstAppearance,
                (false, true) => WipeReason::Installing,
                (false, false) => WipeReason::Armed,
            },
            image: boot.image.clone(),
            already: basis.boots.get(name) == Some(boot),
        })
    });
    installs.collect()
}

/// Everybody who boots an installer that asks nothing every time: that erases a disk as well, and needs nobody armed.
fn live_wipes(basis: &PlanBasis, candidate: &Picture, boots: &BTreeMap<String, NextBoot>) -> Vec<Wipe> {
    let live =
        |boots: &BTreeMap<String, NextBoot>, name: &str| boots.get(name).filter(|boot| boot.target == LIVE).cloned();
    let starts_one = |traits: &Traits| traits.live_installer.is_some();
    let hosts = candidate.hosts.iter().filter(|(_, traits)| starts_one(traits));
    let of_hosts = hosts.filter_map(|(name, _)| {
        let boot = live(boots, name)?;
        let was = basis.picture.hosts.get(name).is_some_and(starts_one);
        Some(Wipe {
            host: name.clone(),
            why: WipeReason::LiveInstaller,
            already: was && live(&basis.boots, name).as_ref() == Some(&boot),
            image: boot.image,
        })
    });
    let parts = candidate.parts.iter().filter(|(_, traits)| starts_one(traits));
    let of_rules = parts.map(|(label, traits)| Wipe {
        host: label.clone(),
        why: WipeReason::LiveInstaller,
        image: traits.values.get("image").cloned(),
        already: basis.picture.parts.get(label) == Some(traits),
    });
    of_hosts.chain(of_rules).collect()
}

const INSTALL: &str = "install";
const LIVE: &str = "live";

/// Hosts that may install now, and may not by the candidate although nobody disarmed them.
fn disarmed(before: &Arming, after: &Arming) -> Vec<String> {
    let open = |arming: &Arming| -> BTreeSet<String> {
        let states = arming.in_brief().into_iter();
        states
            .filter(|known| known.state.is_open())
            .map(|known| known.host)
            .collect()
    };
    let still = open(after);
    open(before).into_iter().filter(|host| !still.contains(host)).collect()
}

/// Hosts whose install a candidate would leave without anybody to tell.
fn interrupted(basis: &PlanBasis, before: &Arming, candidate: &Snapshot) -> Vec<String> {
    let names = before.interrupted_by(basis.installs.date, candidate);
    // Others were left so before.
    let listed = names
        .iter()
        .filter(|name| basis.picture.hosts.contains_key(name.as_str()));
    listed.map(|name| name.as_str().into()).collect()
}
