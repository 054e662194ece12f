//! What the daemon saw of relays and of the switch ports that they tell.

use super::{CheckName, Diagnoses, DoctorFacts};

/// Reasons of boots that came to nothing, by their codes.
const NO_SUBNET: &[&str] = &["subnet_unserved", "no_subnet_here"];
const VLAN_FOR_PORT: &[&str] = &["other_port_vlan"];

pub(super) fn judge_boots(facts: &DoctorFacts, found: &mut Diagnoses) {
    for relay in &facts.relays {
        let address = relay.address;
        match relay.subnet {
            Some(subnet) => found.green(
                CheckName::Relay,
                address,
                format_args!("the relay {address} passes on what is asked in {subnet}"),
            ),
            None => found.amber(
                CheckName::Relay,
                address,
                format_args!(
                    "the relay {address} lies in no subnet of the inventory: what it passes on is not answered"
                ),
                "add the [[subnet]] of that network, or take its relay's helper address away",
            ),
        }
    }
    for fault in &facts.faults {
        let (machine, code) = (&fault.machine, fault.code.as_str());
        if NO_SUBNET.contains(&code) && facts.relays.is_empty() {
            found.amber(
                CheckName::Relay,
                machine,
                format_args!("{machine} was not answered: {}", fault.sentence),
                "add the [[subnet]] of that relay, or give the relay an address in one that is there",
            );
        }
        if VLAN_FOR_PORT.contains(&code) {
            found.amber(
                CheckName::SwitchPort,
                machine,
                format_args!("the switch of {machine} can't tell its ports: {}", fault.sentence),
                "have the switch put the port, and not the VLAN, into option 82 (on Cumulus `use-pif-circuit-id`)",
            );
        }
    }
}
