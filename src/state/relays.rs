//! The relays and the switches that pass requests on, and what they call their ports: for whoever asks whether the
//! network tells what the inventory goes by. Nothing is decided by it, and anybody may be in it who sends packets.

use crate::model::{HardwareAddr, Mode, limits};
use crate::proto::dhcp::{RelayAgent, Request, names_a_vlan};
use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Who passed a request on, as the request has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelayKey {
    /// The relay (`giaddr`); `None` where a switch on our own wire wrote into the request.
    pub relay: Option<Ipv4Addr>,
    /// The subnet that it names, by an address there; the relay's own where it names none.
    pub link: Option<Ipv4Addr>,
    /// The switch (82.2).
    pub switch: Option<Vec<u8>>,
}

/// What was heard of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelaySeen {
    /// What it calls the ports (82.1), at most [`limits::RELAY_PORTS_KEPT_MAX`] of them.
    circuits: Vec<Vec<u8>>,
    /// The machines that it spoke for, at most [`limits::RELAY_MACHINES_KEPT_MAX`] of them.
    machines: Vec<HardwareAddr>,
    /// Whether another server gave the addresses where it was heard last.
    is_proxied: bool,
    /// When it was heard last; monotonic.
    heard: Duration,
}

/// A relay or a switch for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayWords {
    /// The switch's name for itself.
    pub switch: Option<String>,
    /// Its names for ports, the best of each.
    pub ports: Vec<String>,
    /// Whether one of them names a VLAN, and no port.
    pub names_a_vlan: bool,
    /// Machines that it spoke for; there may be more.
    pub machines: usize,
    /// Whether another server gives them their addresses: what to boot they are told without a subnet of ours.
    pub is_proxied: bool,
}

/// Everybody who passes requests on, since the start.
#[derive(Debug, Default)]
pub struct Relays(Mutex<BTreeMap<RelayKey, RelaySeen>>);

impl Relays {
    /// Notes who passed a request on, if anybody did, to what we are on the interface that it came in on.
    pub fn note(&self, now: Duration, mode: Mode, request: &Request) {
        let agent = request.relay_agent.as_ref();
        if request.relay.is_none() && agent.is_none() {
            return;
        }
        let key = RelayKey {
            relay: request.relay,
            link: agent.and_then(|agent| agent.link_selection).or(request.relay),
            switch: agent.and_then(|agent| agent.remote_id.clone()),
        };
        let mut all = self.lock();
        if all.len() >= limits::RELAYS_KEPT_MAX && !all.contains_key(&key) {
            let oldest = all
                .iter()
                .min_by_key(|(_, seen)| seen.heard)
                .map(|(key, _)| key.clone());
            oldest.map(|oldest| all.remove(&oldest));
        }
        let seen = all.entry(key).or_default();
        seen.heard = now;
        seen.is_proxied = mode == Mode::Proxy;
        if let Some(circuit) = agent.and_then(|agent| agent.circuit_id.as_ref())
            && seen.circuits.len() < limits::RELAY_PORTS_KEPT_MAX
            && !seen.circuits.contains(circuit)
        {
            seen.circuits.push(circuit.clone());
        }
        if seen.machines.len() < limits::RELAY_MACHINES_KEPT_MAX && !seen.machines.contains(&request.hardware) {
            seen.machines.push(request.hardware);
        }
    }

    /// Everybody, as they were heard.
    pub fn all(&self) -> Vec<(RelayKey, RelaySeen)> {
        let all = self.lock();
        all.iter().map(|(key, seen)| (key.clone(), seen.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RelayKey, RelaySeen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RelaySeen {
    /// What the bytes say to people.
    pub fn words(&self, key: &RelayKey) -> RelayWords {
        let names = |circuit: &Vec<u8>| {
            let agent = RelayAgent {
                circuit_id: Some(circuit.clone()),
                ..RelayAgent::default()
            };
            agent.ports()
        };
        let names: Vec<Vec<String>> = self.circuits.iter().map(names).collect();
        RelayWords {
            switch: key.switch.as_deref().and_then(RelayAgent::switch_name),
            names_a_vlan: names.iter().flatten().any(|name| names_a_vlan(name)),
            ports: names.into_iter().filter_map(|names| names.into_iter().next()).collect(),
            machines: self.machines.len(),
            is_proxied: self.is_proxied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::dhcp;

    fn relayed(relay: u8, circuit: &str, machine: u32) -> Request {
        let mut packet = vec![0; 240];
        packet[..3].copy_from_slice(&[1, 1, 6]);
        packet[24..28].copy_from_slice(&[198, 51, 100, relay]);
        packet[28] = 2;
        packet[30..34].copy_from_slice(&machine.to_be_bytes());
        packet[236..].copy_from_slice(&[99, 130, 83, 99]);
        let circuit_bytes = u8::try_from(circuit.len()).unwrap();
        packet.extend([53, 1, 1, 82, circuit_bytes + 9, 1, circuit_bytes]);
        packet.extend(circuit.as_bytes());
        packet.extend(*b"\x02\x05leaf1\xff");
        dhcp::parse(&packet).unwrap()
    }

    #[test]
    fn each_relay_has_its_ports_and_machines_and_none_has_more_than_its_share() {
        let relays = Relays::default();
        relays.note(
            Duration::ZERO,
            Mode::Dhcp,
            &Request {
                relay: None,
                relay_agent: None,
                ..relayed(1, "swp1", 1)
            },
        );
        assert_eq!(relays.all(), []);
        for machine in 0..100 {
            let now = Duration::from_secs(1);
            relays.note(now, Mode::Dhcp, &relayed(1, "vlan10", machine));
            relays.note(now, Mode::Proxy, &relayed(2, &format!("swp{machine}"), machine));
        }
        let all = relays.all();
        let words: Vec<RelayWords> = all.iter().map(|(key, seen)| seen.words(key)).collect();
        let vlan = RelayWords {
            switch: Some("leaf1".to_owned()),
            ports: vec!["vlan10".to_owned()],
            names_a_vlan: true,
            machines: limits::RELAY_MACHINES_KEPT_MAX,
            is_proxied: false,
        };
        assert_eq!(words[0], vlan);
        assert!(words[1].is_proxied);
        assert_eq!(words[1].ports.len(), limits::RELAY_PORTS_KEPT_MAX);
        assert!(!words[1].names_a_vlan && words[1].ports[0] == "swp0", "{words:?}");
    }

    #[test]
    fn whoever_invents_relays_pushes_out_the_one_that_was_heard_least_lately() {
        let relays = Relays::default();
        relays.note(Duration::from_secs(9), Mode::Dhcp, &relayed(1, "swp1", 1));
        for invented in 0..u32::try_from(2 * limits::RELAYS_KEPT_MAX).unwrap() {
            let mut request = relayed(2, "swp1", 1);
            request.relay = Some(Ipv4Addr::from(invented + 1));
            relays.note(Duration::from_secs(u64::from(invented) / 1000), Mode::Dhcp, &request);
        }
        let all = relays.all();
        assert_eq!(all.len(), limits::RELAYS_KEPT_MAX);
        assert!(
            all.iter()
                .any(|(key, _)| key.relay == Some(Ipv4Addr::new(198, 51, 100, 1)))
        );
    }
}
