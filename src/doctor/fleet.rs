//! What the daemon saw of relays and of the switch ports that they tell.

use super::{CheckName, Diagnoses, DoctorFacts, facts::RelayFacts};
use crate::boot::event::{ReasonCode, StepCode};
use crate::model::text::escaped;
use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

const PORT_IN_OPTION_82: &str =
    "have the switch put the port, and not the VLAN, into option 82 (on Cumulus `use-pif-circuit-id`)";
/// Machines that share a port that is one: a switch behind it may have a few of them, and a test bench.
const MACHINES_AT_A_PORT: usize = 3;

pub(super) fn judge_boots(facts: &DoctorFacts, found: &mut Diagnoses) {
    judge_relays(&facts.relays, found);
    for relay in &facts.relays {
        judge_switch(relay, found);
    }
    // A relay that is well says nothing of where another machine is.
    let is_relay_named = facts
        .relays
        .iter()
        .any(|relay| relay.address.is_some() && relay.subnet.is_none());
    for fault in &facts.faults {
        let machine = &fault.machine;
        let StepCode::Reason(code) = &fault.code else { continue };
        match code {
            ReasonCode::SubnetUnserved if is_relay_named => {}
            ReasonCode::SubnetUnserved | ReasonCode::NoSubnetHere => found.amber(
                CheckName::Relay,
                machine,
                format_args!("{machine} was not answered: {}", fault.sentence),
                "add the [[subnet]] of that relay, or give the relay an address in one that is there",
            ),
            ReasonCode::OtherPortVlan => found.amber(
                CheckName::SwitchPort,
                machine,
                format_args!("the switch of {machine} can't tell its ports: {}", fault.sentence),
                PORT_IN_OPTION_82,
            ),
            _ => {}
        }
    }
}

/// Each relay once for each network that it speaks for, however many switches are behind it.
fn judge_relays(all: &[RelayFacts], found: &mut Diagnoses) {
    let relays: BTreeMap<_, _> = all
        .iter()
        .filter_map(|relay| Some(((relay.address?, relay.link), relay)))
        .collect();
    for ((address, link), relay) in relays {
        match &relay.subnet {
            Some(subnet) => found.green(
                CheckName::Relay,
                address,
                format_args!("the relay {address} passes on what is asked in {subnet}"),
            ),
            // Beside another DHCP server it is answered all the same.
            None if relay.is_proxied => {}
            None if link == Some(address) => found.amber(
                CheckName::Relay,
                address,
                format_args!(
                    "the relay {address} lies in no subnet of the inventory: what it passes on is not answered"
                ),
                "add the [[subnet]] of that network, or take its relay's helper address away",
            ),
            None => found.amber(
                CheckName::Relay,
                address,
                format_args!(
                    "the relay {address} speaks for the network of {}, which is in no subnet of the inventory: what it \
                     passes on is not answered",
                    OrUnnamed(link)
                ),
                "add the [[subnet]] of that network, or correct the relay's link selection (option 82.5)",
            ),
        }
    }
}

/// Whether a switch that the inventory goes by (`ports_from`) tells its ports.
fn judge_switch(relay: &RelayFacts, found: &mut Diagnoses) {
    if !relay.is_believed {
        return;
    }
    let name = OrUnnamed(relay.switch.as_ref().map(escaped));
    let behind = relay.address.map(|address| format!(" (relay {address})"));
    let switch = format!("{name}{}", behind.unwrap_or_default());
    match relay.ports.as_slice() {
        [first, ..] if relay.names_a_vlan => found.amber(
            CheckName::SwitchPort,
            &switch,
            format_args!(
                "it can't tell its ports: it calls them by their VLAN, {}",
                escaped(first)
            ),
            PORT_IN_OPTION_82,
        ),
        [only] if relay.machines >= MACHINES_AT_A_PORT => found.amber(
            CheckName::SwitchPort,
            &switch,
            format_args!(
                "it can't tell its ports: it said {} of each of {} machines or more",
                escaped(only),
                relay.machines
            ),
            PORT_IN_OPTION_82,
        ),
        [] if relay.machines > 0 => found.amber(
            CheckName::SwitchPort,
            &switch,
            format_args!("it tells no port, and the inventory goes by what it tells (ports_from)"),
            "switch option 82 on there, or take it out of `ports_from`",
        ),
        [_, _, ..] => found.green(CheckName::SwitchPort, &switch, format_args!("it tells its ports apart")),
        // Of one machine, or two, nothing is to be seen.
        [] | [_] => {}
    }
}

/// What has a name, or has not said it.
struct OrUnnamed<T>(Option<T>);

impl<T: Display> Display for OrUnnamed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(name) => name.fmt(f),
            None => f.write_str("one that does not say its name"),
        }
    }
}
