//! The interfaces of the settings, who has their ports, and who else answers there.

use super::Unseen;
use crate::admin::api::Status;
use crate::cli::check::similar_interface;
use crate::config::Appliance;
use crate::doctor::{DhcpServerFacts, InterfaceFacts, InterfaceSeen, PortFacts, PortHolder, PortState};
use crate::model::{ServedInterface, limits::DHCP_SERVER_PROBE_TIMEOUT};
use crate::net::{
    dhcp, holder,
    interface::{self, Interface, Link},
    rogue, socket,
    uplink::uplink,
};
use crate::proto::syslog;
use std::{collections::BTreeMap, fs, io, path::Path};

fn survey(appliance: &Appliance) -> io::Result<BTreeMap<String, Interface>> {
    let names: Vec<String> = appliance.interfaces.iter().map(|served| served.name.clone()).collect();
    interface::survey(&names)
}

pub(super) fn interfaces(appliance: &Appliance, unseen: &mut Unseen) -> Vec<InterfaceFacts> {
    let found = match survey(appliance) {
        Ok(found) => found,
        Err(error) => {
            unseen.add(format_args!("the interfaces: {error}"));
            return Vec::new();
        }
    };
    let there = interface::names().unwrap_or_default();
    let facts = appliance.interfaces.iter().map(|served| {
        let ServedInterface {
            name,
            mode,
            allow_default_route,
        } = served;
        let seen = found.get(name).map(|interface| InterfaceSeen {
            is_on: interface.link != Link::Off,
            has_link: interface.link == Link::Up,
            mtu: mtu(name),
            addresses: interface.addresses.to_vec(),
            uplink: uplink(name),
        });
        InterfaceFacts {
            similar: similar_interface(name, &there)
                .filter(|_| seen.is_none())
                .map(Into::into),
            name: name.clone(),
            mode: *mode,
            allow_default_route: *allow_default_route,
            seen,
        }
    });
    facts.collect()
}

fn mtu(name: &str) -> Option<u32> {
    let file = Path::new("/sys/class/net").join(name).join("mtu");
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Who has the ports of each interface that is there.
pub(super) fn ports(appliance: &Appliance, status: Option<&Status>) -> Vec<PortFacts> {
    let needed = [
        ("udp", dhcp::SERVER_PORT, "DHCP"),
        ("udp", dhcp::PXE_PORT, "the PXE boot server"),
        ("udp", appliance.tftp_port, "TFTP"),
        ("tcp", appliance.http_port, "HTTP"),
        ("udp", syslog::PORT, "what machines log (syslog)"),
    ];
    let found = survey(appliance).unwrap_or_default();
    let of_interface = |name: &str| {
        let serves = status.and_then(|status| {
            let mut interfaces = status.interfaces.iter();
            interfaces.find(|served| served.name == name && served.link.is_some())
        });
        let own = status.map(|status| status.pid);
        needed.map(|(protocol, port, purpose)| {
            // A daemon that serves has all but this one.
            let is_dispensable = port == syslog::PORT;
            PortFacts {
                interface: name.into(),
                protocol,
                port,
                purpose,
                is_dispensable,
                state: match serves {
                    Some(_) if !is_dispensable => PortState::Ours,
                    _ => state(name, (protocol, port), own),
                },
            }
        })
    };
    let ports = found.keys().flat_map(|name| of_interface(name));
    // Where machines may not log to us, whoever has that port may keep it.
    ports.filter(|port| appliance.syslog || !port.is_dispensable).collect()
}

/// Who has a port that the daemon does not. Binding it is the only sure way to know: other programs may have it on
/// other interfaces alone. It is given back at once.
fn state(interface: &str, (protocol, port): (&str, u16), own: Option<u32>) -> PortState {
    let bound = match protocol {
        "tcp" => socket::tcp(interface, port).map(drop),
        _ => socket::udp(interface, port).map(drop),
    };
    let holders = || {
        let all = holder::holders(protocol, port);
        let is_ours = all.iter().any(|(_, pid)| Some(*pid) == own);
        let others = all.into_iter().filter(|(_, pid)| Some(*pid) != own);
        let others: Vec<PortHolder> = others.map(|(name, pid)| PortHolder { name, pid }).collect();
        (is_ours, others)
    };
    match bound {
        Ok(()) => PortState::Free,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match holders() {
            (true, others) if others.is_empty() => PortState::Ours,
            (_, others) => PortState::Held(others),
        },
        Err(_) => match (holder::is_taken(protocol, port), holders()) {
            (true, (true, others)) if others.is_empty() => PortState::Ours,
            (true, (_, others)) => PortState::MaybeHeld(others),
            (false, _) => PortState::Free,
        },
    }
}

/// The DHCP servers that answer a machine's DISCOVER on each interface that has a link.
pub(super) fn other_servers(appliance: &Appliance, unseen: &mut Unseen) -> Option<Vec<(String, Vec<DhcpServerFacts>)>> {
    let found = survey(appliance).unwrap_or_default();
    let own: Vec<_> = found
        .values()
        .flat_map(|interface| interface.addresses.iter().copied())
        .collect();
    let mut all = Vec::new();
    for (name, interface) in found.iter().filter(|(_, interface)| interface.link == Link::Up) {
        match rogue::probe(interface, DHCP_SERVER_PROBE_TIMEOUT) {
            Ok(servers) => {
                let others = servers
                    .into_iter()
                    .filter(|server| !own.iter().any(|own| own.address == server.server));
                let others = others.map(|server| DhcpServerFacts {
                    address: server.server,
                    boots: server.boots,
                });
                all.push((name.clone(), others.collect()));
            }
            Err(error) => unseen.add(format_args!("other DHCP servers on {name}: {error}")),
        }
    }
    Some(all)
}
