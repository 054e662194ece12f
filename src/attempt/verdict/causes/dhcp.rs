//! What keeps a machine from an address, or from being told what to load.

use super::super::{
    BootCause,
    Confidence::{Certain, Likely, Possible},
    Severity::Problem,
};
use crate::attempt::{step::StepKind, timeline::Progress};
use crate::boot::event::{Circumstance, ReasonCode};

/// Seconds in which a machine that was offered an address asks for it: EDK2 waits 4, and asks for the fourth time after 28.
const ANSWER_S: u64 = 15;

/// The causes of that kind.
pub(super) static DHCP: &[BootCause] = &[
    BootCause {
        name: "wrong_port_vlan",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace.stuck(&[ReasonCode::OtherPortVlan])?;
            Some(format!("its switch port can't be told: {}", step.sentence()))
        },
        action: "have the switch put the port, and not the VLAN, into option 82 (circuit-id)",
        page: "Some switches write the VLAN into the circuit-id, which is the same for all ports of it. Set its format to the port's name, or take `port` off the host.",
    },
    BootCause {
        name: "wrong_port",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace.stuck(&[
                ReasonCode::OtherPort,
                ReasonCode::PortDoubted,
                ReasonCode::PortUntold,
                ReasonCode::PortNotRenewed,
                ReasonCode::NotAtItsPort,
            ])?;
            Some(format!("it is locked to another switch port: {}", step.sentence()))
        },
        action: "move its cable, or write the port where it is now into the inventory",
        page: "A host with a `port` boots at that port and at no other. The port is what a relay or a switch that the subnet trusts says in option 82.",
    },
    BootCause {
        name: "other_dhcp_server",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let chosen = trace
                .last(StepKind::ChoseOtherServer)
                .filter(|_| trace.progress() <= Progress::Offered)?;
            let server = chosen.address.map_or_else(String::new, |server| format!(" {server}"));
            Some(format!(
                "it took the offer of another DHCP server{server} and not this one's"
            ))
        },
        action: "switch that server off on this wire, or run this one beside it with mode = \"proxy\"",
        page: "Two DHCP servers answer on one wire, and the machine takes the offer that comes first, or the one that it likes better. It then boots what the other server says.",
    },
    BootCause {
        name: "pool_empty",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace.stuck(&[ReasonCode::PoolUsedUp, ReasonCode::NoPool])?;
            Some(format!("no address was free for it: {}", step.sentence()))
        },
        action: "make the subnet's pool larger, or give the host an `address`; `bootwright leases` shows who has them",
        page: "A machine without an address of its own gets one of its subnet's pool. Where that is used up, machines that are gone hold leases until they end.",
    },
    BootCause {
        name: "dhcp_starvation",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let step = trace.stuck(&[ReasonCode::OfferQuota])?;
            Some(format!(
                "its attachment point is given no more offers: {}",
                step.sentence()
            ))
        },
        action: "find out what asks there with ever new addresses: a broken switch or bridge, or somebody who starves the pool",
        page: "One port or relay may have only so many offers that nobody took. Real machines take theirs.",
    },
    BootCause {
        name: "relay_in_no_subnet",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace.stuck(&[ReasonCode::SubnetUnserved, ReasonCode::NoSubnetHere])?;
            Some(format!("no subnet is meant for where it is: {}", step.sentence()))
        },
        action: "add the [[subnet]] of that relay to the inventory, or give the relay an address in one that is there",
        page: "A request that a relay passes on belongs to the subnet of the relay's address (giaddr), or of the link that it names.",
    },
    BootCause {
        name: "unlisted_ignored",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace.stuck(&[ReasonCode::Unlisted])?;
            Some(format!("it is not answered: {}", step.sentence()))
        },
        action: "list it in the inventory, or write a rule for machines like it",
        page: "With `policy = \"ignore\"` machines that no host and no rule names get no answer. A MAC that is one digit from a host's may be a slip, or a new network card.",
    },
    BootCause {
        name: "address_in_use",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let kinds = [
                StepKind::ReservationConflict,
                StepKind::AddressInUse,
                StepKind::Declined,
            ];
            let steps = kinds.into_iter().filter_map(|kind| trace.last(kind));
            let step = steps.max_by_key(|step| step.until_ms)?;
            let address = step
                .address
                .filter(|_| trace.progress() <= Progress::Addressed && !trace.is_told_its_disk())?;
            Some(format!("another machine uses its address {address}"))
        },
        action: "find that machine (its MAC is in the log) and give one of the two another address",
        page: "The machine, or our own probe, asked the wire before the address was used, and somebody answered.",
    },
    BootCause {
        name: "lease_not_stored",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let step = trace.stuck(&[ReasonCode::LeaseNotStored, ReasonCode::LeaseQueueFull])?;
            Some(format!("it was not acknowledged: {}", step.sentence()))
        },
        action: "make room on the disk of [state], or mend it; `bootwright status` says when it works again",
        page: "A lease is on disk before it is acknowledged, so that no restart forgets it. While the disk is full or hangs nobody is acknowledged.",
    },
    BootCause {
        name: "address_refused",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let refused = trace
                .last(StepKind::Refused)
                .filter(|_| trace.progress() <= Progress::Offered)?;
            (trace.times(StepKind::Refused) >= 2).then(|| {
                format!(
                    "it asks again and again for an address that it can't have: {}",
                    refused.sentence()
                )
            })
        },
        action: "power it off and on; where it goes on, its system holds an old lease or has an address written down",
        page: "A machine that was refused an address (NAK) asks anew, with a DISCOVER. One that repeats its REQUEST does not hear the NAK, or does not heed it.",
    },
    BootCause {
        name: "nic_changed",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let told = trace.last_with(&[Circumstance::UuidOfAnother, Circumstance::SerialOfAnother])?;
            let is_met = trace.is_unlisted() && trace.progress() <= Progress::Script;
            is_met.then(|| format!("its MAC is in no host of the inventory, and {}", told.sentence()))
        },
        action: "where that host's network card was changed, write the new MAC into it; otherwise list the machine as a host",
        page: "A host that lists MACs is told by them alone: anybody can say a UUID or a serial number. A machine with a new network card is a stranger that says the host's, and is not given what is the host's, nor installed.",
    },
    BootCause {
        name: "address_of_its_double",
        severity: Problem,
        confidence: Possible,
        find: |trace| {
            let told = trace.last_with(&[Circumstance::AddressOfOtherInterface, Circumstance::AddressLeased])?;
            (trace.progress() < Progress::System)
                .then(|| format!("another interface is up with what is its own: {}", told.sentence()))
        },
        action: "see by the MACs whether both are cards of one machine; if not, two machines report one UUID: list each by its MAC",
        page: "A host is one machine, with one address at a time. A second card of it that boots while its system runs is no fault. Two machines that report one UUID (boards from one batch, cloned virtual machines) are taken for one host where that is known by its UUID alone, and boot and install as that.",
    },
    BootCause {
        name: "no_loader_for_architecture",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let told = trace
                .attempt
                .steps
                .iter()
                .rev()
                .find(|step| step.boot.as_deref() == Some("no_loader"))?;
            (trace.progress() <= Progress::Addressed).then(|| {
                format!(
                    "there is no loader for its architecture: its firmware ({}) was given an address alone",
                    told.stage
                )
            })
        },
        action: "`bootwright check` names the missing loader; on Debian `apt install ipxe` brings most",
        page: "Firmware says in option 93 what it can run. No folder of `paths.loaders` has a loader for that.",
    },
    BootCause {
        name: "not_in_the_inventory",
        severity: Problem,
        confidence: Certain,
        find: |trace| {
            let is_told = trace
                .attempt
                .steps
                .iter()
                .any(|step| step.boot.as_deref() == Some("lease_only"));
            (is_told && trace.progress() <= Progress::Addressed)
                .then(|| "it is not in the inventory: it was given a lease and nothing to boot".to_owned())
        },
        action: "list it as a host, or write a rule; where a host's network card was changed, write the new MAC",
        page: "Machines that no host and no rule names get a lease and no boot file, so that nothing happens to them by accident.",
    },
    BootCause {
        name: "takes_no_two_offers",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let asked = trace.times(StepKind::ProxyOffered);
            let is_met = trace.is_at(Progress::Offered) && asked >= 2 && trace.is_silent(ANSWER_S);
            is_met.then(|| {
                format!("it was offered its loader {asked} times beside the other DHCP server and never came for it")
            })
        },
        action: "see that the DHCP server beside this one answers it; if it does, let that one name the boot file, or use mode = \"dhcp\" here",
        page: "In proxy mode the address comes from one server and the boot file from another, and the firmware has to put both together. Some take the first offer alone, and those that get no address from the other server take none.",
    },
    BootCause {
        name: "offers_unanswered",
        severity: Problem,
        confidence: Likely,
        find: |trace| {
            let offered = trace.times(StepKind::Offered);
            let is_dhcp = trace.is_at(Progress::Offered) && trace.times(StepKind::ProxyOffered) == 0;
            let span = trace.last(StepKind::Offered).map_or(0, |step| step.span_s());
            (is_dhcp && (offered >= 3 || trace.is_silent(ANSWER_S)))
                .then(|| format!("it was offered an address {offered} times in {span} s and never asked for it"))
        },
        action: "look for another DHCP server whose offer it takes, and for a switch or firewall that drops our replies (UDP 68)",
        page: "The machine's DISCOVER comes here, and our OFFER does not get there, or another server's is preferred. A capture at the machine's switch port shows which.",
    },
];
