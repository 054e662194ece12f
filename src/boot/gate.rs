//! The one gate in front of every boot: what a machine may boot now, and why not more.
//!
//! DHCP, TFTP, HTTP and answers all ask here, so that a disk is never destroyed by the server
//! that forgot to ask.

use crate::boot::{
    arming::Standing,
    event::DiskReason,
    machine::Who,
    snapshot::{BootSettings, UnknownPolicy},
    world::World,
};
use crate::model::{BootTarget, Name};

/// What a machine boots now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate<'s> {
    /// Boots from us, with this script.
    Network {
        /// What the script does.
        target: BootTarget,
        /// The script's template.
        script: &'s Name,
    },
    /// Boots its disk: a lease, no boot fields.
    Disk(DiskReason),
    /// The script that shows an unknown machine its own identity.
    ShowIdentity,
    /// An unknown machine gets a lease and nothing to boot.
    LeaseOnly,
    /// An unknown machine gets no answer.
    Ignore,
}

/// What the machine may boot now. A host set to `install` that may not install boots its disk, and the reason says
/// why.
pub fn gate<'s>(world: &World<'s, '_>, who: Who<'s>) -> Gate<'s> {
    let Some(settings) = who.settings() else {
        return match world.snapshot.unknown {
            UnknownPolicy::Discover => Gate::ShowIdentity,
            UnknownPolicy::Lease => Gate::LeaseOnly,
            UnknownPolicy::Ignore => Gate::Ignore,
        };
    };
    if who.host().is_some_and(|host| host.locked) {
        return Gate::Disk(DiskReason::Locked);
    }
    let target = settings.boot.as_ref().map_or(BootTarget::Local, |boot| boot.value);
    match (target, &settings.script) {
        (BootTarget::Local, _) => Gate::Disk(DiskReason::Configured),
        (BootTarget::Install, _) => install(world, who, settings),
        (BootTarget::Discover, None) => Gate::ShowIdentity,
        (BootTarget::Live | BootTarget::Rescue | BootTarget::Discover, Some(script)) => Gate::Network {
            target,
            script: &script.value,
        },
        // `config` refuses a live or rescue host without a script; the disk is the safe answer.
        (BootTarget::Live | BootTarget::Rescue, None) => Gate::Disk(DiskReason::Configured),
    }
}

/// What a machine boots that is set to install.
fn install<'s>(world: &World<'s, '_>, who: Who<'s>, settings: &'s BootSettings) -> Gate<'s> {
    let Some(host) = who.host() else {
        return Gate::Disk(DiskReason::RuleInstalls);
    };
    match (world.arming.standing(world.date(), host), &settings.script) {
        (Standing::Open, Some(script)) => Gate::Network {
            target: BootTarget::Install,
            script: &script.value,
        },
        // Nobody arms a host without a script; one whose script was taken away since boots its disk.
        (Standing::Open, None) | (Standing::NotArmed, _) => Gate::Disk(DiskReason::NotArmed),
        (Standing::Installed, _) => Gate::Disk(DiskReason::Installed),
        (Standing::Failed, _) => Gate::Disk(DiskReason::InstallFailed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::snapshot::{BootSettings, Host, Hosts, Snapshot};
    use crate::fixtures::{self, host, sourced};
    use crate::lease::LeaseTable;
    use crate::model::Now;

    fn room(boot: Option<BootTarget>, script: Option<&str>, locked: bool, unknown: UnknownPolicy) -> Snapshot {
        let host = Host {
            macs: vec!["52:54:00:00:00:07".parse().unwrap()],
            locked,
            settings: BootSettings {
                boot: boot.map(sourced),
                script: script.map(|name| sourced(name.parse().unwrap())),
                ..BootSettings::default()
            },
            ..host("r1u07")
        };
        Snapshot {
            hosts: Hosts::new(vec![host]),
            unknown,
            ..fixtures::snapshot()
        }
    }

    fn gate_of(room: &Snapshot) -> Gate<'_> {
        gate_for(room, Who::Host(room.hosts.by_name("r1u07").unwrap()))
    }

    fn gate_for<'s>(snapshot: &'s Snapshot, who: Who<'s>) -> Gate<'s> {
        let world = World {
            now: Now::START,
            snapshot,
            leases: &mut LeaseTable::default(),
            arming: fixtures::nobody_armed(),
        };
        gate(&world, who)
    }

    #[test]
    fn an_install_host_that_nobody_armed_boots_its_disk_whatever_its_script() {
        let room = room(
            Some(BootTarget::Install),
            Some("debian-installer"),
            false,
            UnknownPolicy::Discover,
        );
        assert_eq!(gate_of(&room), Gate::Disk(DiskReason::NotArmed));
    }

    #[test]
    fn a_locked_host_boots_its_disk_whatever_else_is_configured() {
        for target in [
            BootTarget::Live,
            BootTarget::Install,
            BootTarget::Rescue,
            BootTarget::Discover,
        ] {
            let room = room(Some(target), Some("live"), true, UnknownPolicy::Discover);
            assert_eq!(gate_of(&room), Gate::Disk(DiskReason::Locked));
        }
    }

    #[test]
    fn a_host_that_is_told_nothing_boots_its_disk() {
        let room = room(None, Some("live"), false, UnknownPolicy::Discover);
        assert_eq!(gate_of(&room), Gate::Disk(DiskReason::Configured));
    }

    #[test]
    fn a_live_host_boots_its_script() {
        let room = room(Some(BootTarget::Live), Some("live"), false, UnknownPolicy::Discover);
        assert!(
            matches!(gate_of(&room), Gate::Network { target: BootTarget::Live, script } if script.as_str() == "live")
        );
    }

    #[test]
    fn an_unknown_machine_never_boots_a_script_of_the_inventory() {
        for (policy, expected) in [
            (UnknownPolicy::Discover, Gate::ShowIdentity),
            (UnknownPolicy::Lease, Gate::LeaseOnly),
            (UnknownPolicy::Ignore, Gate::Ignore),
        ] {
            let room = room(Some(BootTarget::Live), Some("live"), false, policy);
            assert_eq!(gate_for(&room, Who::Unknown), expected);
        }
    }
}
