//! Hosts that belong to a switch port, and whether any relay or switch is trusted to report where they are.

use super::{
    causes::{CausesByMachine, Whose},
    problems::Problems,
    raw::{Inventory, RawHost, RawSubnet},
};
use crate::boot::snapshot::Origin;
use crate::model::Cidr;
use std::{fmt::Display, net::Ipv4Addr};

/// What a port counts for that a host belongs to.
#[derive(Clone, Copy)]
enum Heard<'i> {
    /// Some subnet where the host may be says whose word counts.
    HostIdentity,
    /// It does not, so that its router's word counts.
    ByRouter(&'i RawSubnet, Ipv4Addr),
    /// No relay's or switch's word counts where the host belongs.
    Elsewhere(&'i RawSubnet),
    /// None counts anywhere.
    Nowhere(Option<&'i RawSubnet>),
}

/// Says which hosts belong to a switch port that no relay or switch is believed to tell, or only a router that may name itself
/// otherwise: they would get no answer at all.
pub(super) fn validate(inventory: &Inventory, gives_addresses: bool, problems: &mut Problems) {
    // What is wrong with the subnets was reported.
    if inventory.misses_subnets || (inventory.subnets.is_empty() && gives_addresses) {
        return;
    }
    let (mut guessed, mut silent, mut lost) = (
        CausesByMachine::default(),
        CausesByMachine::default(),
        CausesByMachine::default(),
    );
    for host in &inventory.hosts {
        let Some(port) = &host.identity.port else { continue };
        let whose = Whose::Host(&host.name.value);
        match heard(&inventory.subnets, host) {
            None | Some(Heard::HostIdentity) => {}
            Some(Heard::ByRouter(subnet, router)) => guessed.add((place(subnet), router), whose),
            Some(Heard::Elsewhere(subnet)) => silent.add(place(subnet), whose),
            Some(Heard::Nowhere(Some(subnet))) => {
                lost.add((subnet.cidr.origin.clone(), Some(subnet.cidr.value)), whose)
            }
            Some(Heard::Nowhere(None)) => lost.add((port.origin.clone(), None), whose),
        }
    }
    for (((origin, cidr), router), whose) in guessed.into_summaries() {
        let message = format_args!(
            "{whose} has a `port`, and [[subnet]] {cidr} does not say whose word on switch ports counts: only that of a \
             relay which calls itself {router}, its router"
        );
        let help = format_args!(
            "write ports_from = [\"{router}\"] if that is the relay; behind HSRP, VRRP or an anycast gateway name each \
             relay by its own addresses, and switches that add option 82 on this wire (DHCP snooping) by \"switch\""
        );
        problems.warn(&origin, message, help);
    }
    for ((origin, cidr), whose) in silent.into_summaries() {
        let message = format_args!(
            "{whose} has a `port`, and in [[subnet]] {cidr} nothing is trusted to tell switch ports: there it gets no answer"
        );
        problems.warn(&origin, message, HELP);
    }
    for ((origin, own), whose) in lost.into_summaries() {
        let mut unanswered = |subnets: &dyn Display| {
            let message = format_args!(
                "{whose} has a `port` and gets no answer: {subnets} says whose word on switch ports counts"
            );
            problems.error(&origin, message, HELP);
        };
        match own {
            Some(cidr) => unanswered(&format_args!("neither [[subnet]] {cidr} nor any other")),
            None => unanswered(&"no [[subnet]]"),
        }
    }
}

const HELP: &str = "name the relays that tell ports (option 82), or the switches that add it themselves, at the \
                    [[subnet]]: ports_from = [\"192.0.2.254\"] or ports_from = [\"switch\"]; or take `port` out";

fn place(subnet: &RawSubnet) -> (Origin, Cidr) {
    (subnet.cidr.origin.clone(), subnet.cidr.value)
}

/// What the port of a host counts for; `None` where its address is in no subnet, which is reported elsewhere.
fn heard<'i>(subnets: &'i [RawSubnet], host: &RawHost) -> Option<Heard<'i>> {
    let Some(first) = subnets.first() else {
        return Some(Heard::Nowhere(None));
    };
    let own = match &host.address {
        Some(address) => subnets
            .iter()
            .find(|subnet| subnet.cidr.value.contains(address.value))?,
        None => first,
    };
    // Its relay may name any subnet of the wire; a host without an address may be in all.
    let is_its = |subnet: &&RawSubnet| {
        let is_of_wire = own.network.is_some() && subnet.network == own.network;
        host.address.is_none() || subnet.cidr.value == own.cidr.value || is_of_wire
    };
    let mut its = subnets.iter().filter(is_its);
    let by_router = |subnet: &'i RawSubnet| {
        let router = subnet.router.as_ref().filter(|_| subnet.ports_from.is_none())?;
        Some(Heard::ByRouter(subnet, router.value))
    };
    Some(if its.clone().any(names_some) {
        Heard::HostIdentity
    } else if let Some(router) = its.find_map(by_router) {
        router
    } else if subnets
        .iter()
        .any(|subnet| names_some(subnet) || by_router(subnet).is_some())
    {
        Heard::Elsewhere(own)
    } else {
        Heard::Nowhere(Some(own))
    })
}

fn names_some(subnet: &RawSubnet) -> bool {
    subnet.ports_from.as_ref().is_some_and(|from| !from.is_nobody())
}
