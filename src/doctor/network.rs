//! Interfaces, ports, the firewall, and other DHCP servers.

use super::{
    CheckName, Diagnoses, DoctorFacts,
    facts::{InterfaceFacts, InterfaceSeen, PortFacts, PortHolder, PortState},
    firewall::{Passage, TrafficSettings},
};
use crate::model::{Cidr, Mode, text::escaped};
use std::fmt::{self, Display};

/// What DHCP's largest replies and TFTP's blocks of 1468 bytes take, with their headers.
const MTU_NEEDED: u32 = 1500;

pub(super) fn judge_interfaces(facts: &DoctorFacts, found: &mut Diagnoses) {
    for interface in &facts.interfaces {
        let name = &interface.name;
        match (&interface.seen, &interface.similar) {
            (None, Some(similar)) => found.red(
                CheckName::Interface,
                name,
                format_args!("this machine has no interface {name}"),
                format_args!("did you mean `{similar}`? See `interfaces` under [network]"),
            ),
            (None, None) => found.red(
                CheckName::Interface,
                name,
                format_args!("this machine has no interface {name} now; it is served when it appears"),
                "see `ip link` for the names that there are, and `interfaces` under [network]",
            ),
            (Some(seen), _) => {
                judge_link(name, seen, found);
                judge_address(interface, seen, facts.subnets.as_deref(), found);
                judge_mtu(name, seen, found);
                judge_uplink(interface, seen, found);
            }
        }
    }
}

fn judge_link(name: &str, seen: &InterfaceSeen, found: &mut Diagnoses) {
    match (seen.is_on, seen.has_link) {
        (false, _) => found.red(
            CheckName::Interface,
            name,
            format_args!("it is switched off"),
            format_args!("ip link set {name} up"),
        ),
        (true, false) => found.red(
            CheckName::Interface,
            name,
            format_args!("it has no link"),
            "see to its cable and the port at the other end; a bridge has one when one of its ports has",
        ),
        (true, true) => found.green(CheckName::Interface, name, format_args!("it is up and has a link")),
    }
}

fn judge_address(interface: &InterfaceFacts, seen: &InterfaceSeen, subnets: Option<&[Cidr]>, found: &mut Diagnoses) {
    let name = &interface.name;
    let Some(first) = seen.addresses.first() else {
        return found.red(
            CheckName::Address,
            name,
            format_args!("it has no IPv4 address, and no request is answered until it has one"),
            format_args!("ip addr add ADDRESS/PREFIX dev {name}, and so in its configuration"),
        );
    };
    let Some(subnets) = subnets.filter(|_| interface.mode == Mode::Dhcp) else {
        return found.green(CheckName::Address, name, format_args!("it has {}", first.address));
    };
    let own = seen.addresses.iter().find_map(|own| {
        let subnet = subnets.iter().find(|subnet| subnet.contains(own.address))?;
        Some((own, subnet))
    });
    match own {
        None => found.amber(
            CheckName::Address,
            name,
            format_args!(
                "no subnet of the inventory holds its address {}: only what a relay sends is answered",
                first.address
            ),
            format_args!("where machines are on this wire, add a [[subnet]] with cidr = \"{}\"", first.cidr),
        ),
        Some((own, subnet)) if own.cidr != *subnet => found.amber(
            CheckName::Address,
            name,
            format_args!(
                "it is configured for the network {} and the inventory's subnet is {subnet}: some of its machines can't \
                 be reached",
                own.cidr
            ),
            format_args!("ip addr change {}/{} dev {name}, or correct the subnet's cidr", own.address, subnet.prefix()),
        ),
        Some((own, subnet)) => found.green(
            CheckName::Address,
            name,
            format_args!("it has {} in the inventory's subnet {subnet}", own.address),
        ),
    }
}

fn judge_mtu(name: &str, seen: &InterfaceSeen, found: &mut Diagnoses) {
    match seen.mtu {
        None => {}
        Some(mtu @ 0..MTU_NEEDED) => found.red(
            CheckName::Mtu,
            name,
            format_args!(
                "its MTU is {mtu}: replies of DHCP and blocks of TFTP have up to {MTU_NEEDED} bytes, and firmware can't \
                 put fragments together"
            ),
            format_args!("ip link set {name} mtu {MTU_NEEDED}, and so in its configuration"),
        ),
        // What is sent to firmware is no larger than it asks for, whatever the interface could carry.
        Some(mtu) => found.green(CheckName::Mtu, name, format_args!("its MTU is {mtu}")),
    }
}

fn judge_uplink(interface: &InterfaceFacts, seen: &InterfaceSeen, found: &mut Diagnoses) {
    let name = &interface.name;
    match seen.uplink {
        Some(uplink) if interface.mode == Mode::Dhcp && !interface.allow_default_route => found.red(
            CheckName::Uplink,
            name,
            format_args!("it {uplink}, so it leads to more than machines and `bootwright serve` refuses it"),
            format_args!(
                "name the provisioning network's interface, or write {{ name = \"{name}\", allow_default_route = true }}"
            ),
        ),
        Some(uplink) => found.green(CheckName::Uplink, name, format_args!("it {uplink}, and that is meant")),
        None => found.green(
            CheckName::Uplink,
            name,
            format_args!("it has no default route and is not wireless"),
        ),
    }
}

/// The processes in a list, as `dnsmasq (process 812)`.
struct Named<'a>(&'a [PortHolder]);

impl Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, PortHolder { name, pid }) in self.0.iter().enumerate() {
            let before = if place == 0 { "" } else { ", " };
            write!(f, "{before}{} (process {pid})", escaped(name))?;
        }
        match self.0 {
            [] => f.write_str("a process that can't be named from here"),
            _ => Ok(()),
        }
    }
}

/// What has ports like ours, and how it is made to leave them.
const PROGRAMS: &[(&str, &str)] = &[
    (
        "dnsmasq",
        "`systemctl disable --now dnsmasq`; where it is wanted for DNS, write no-dhcp-interface= and no enable-tftp into \
         its configuration; of libvirt or LXD, give that network no DHCP on this interface",
    ),
    (
        "in.tftpd",
        "`systemctl disable --now tftpd-hpa`: bootwright is the TFTP server",
    ),
    (
        "atftpd",
        "`systemctl disable --now atftpd`: bootwright is the TFTP server",
    ),
    (
        "nginx",
        "have it listen on another address or port (listen 198.51.100.1:80), or give bootwright another `port` under [http]",
    ),
    (
        "apache2",
        "have it listen on another address or port (Listen in ports.conf), or give bootwright another `port` under [http]",
    ),
    (
        "httpd",
        "have it listen on another port, or give bootwright another `port` under [http]",
    ),
    (
        "lighttpd",
        "have it listen on another port, or give bootwright another `port` under [http]",
    ),
    (
        "caddy",
        "have it listen on another port, or give bootwright another `port` under [http]",
    ),
    (
        "haproxy",
        "bind it to another address or port, or give bootwright another `port` under [http]",
    ),
    (
        "dhcpd",
        "`systemctl disable --now isc-dhcp-server`, or set mode = \"proxy\" to run beside it",
    ),
    (
        "kea-dhcp4",
        "`systemctl disable --now kea-dhcp4-server`, or set mode = \"proxy\" to run beside one elsewhere",
    ),
    (
        "dhcrelay",
        "`systemctl disable --now isc-dhcp-relay`: a relay on this machine takes what is meant for its server",
    ),
    (
        "systemd-resolve",
        "systemd-resolved: set DNSStubListenerExtra= to nothing of this port in resolved.conf, then `systemctl restart \
         systemd-resolved`",
    ),
    (
        "systemd-network",
        "systemd-networkd: set DHCPServer=no in the .network file of this interface, then `networkctl reload`",
    ),
    (
        "systemd",
        "`systemctl list-sockets` names the socket unit; disable it with `systemctl disable --now NAME.socket`",
    ),
    (
        "rsyslogd",
        "rsyslog: take the module imudp and its input out of rsyslog.conf, or give that another port (at another \
         address it keeps us from this one, too), then `systemctl restart rsyslog` and restart bootwright; or set \
         enabled = false under [syslog]",
    ),
    (
        "syslog-ng",
        "syslog-ng: take the udp source of this port away or give it another port (at another address it keeps us from \
         this one, too), then `systemctl restart syslog-ng` and restart bootwright",
    ),
    ("xinetd", "disable the service in /etc/xinetd.d that has this port"),
    ("inetd", "take the line of this port out of /etc/inetd.conf"),
    (
        "bootwright",
        "another bootwright runs: stop it, or name its socket with --socket",
    ),
];

/// What to do about who has a port.
struct HolderRemedy<'a>(&'a [PortHolder], &'a PortFacts);

impl Display for HolderRemedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HolderRemedy(holders, port) = self;
        // The kernel cuts a process's name after 15 bytes.
        let known = |holder: &&PortHolder| PROGRAMS.iter().find(|(name, _)| *name == holder.name);
        match holders.iter().find_map(|holder| known(&holder)) {
            Some((_, remedy)) => f.write_str(remedy),
            None => {
                let kind = if port.protocol == "tcp" { "t" } else { "u" };
                write!(
                    f,
                    "stop it; `sudo ss -lnp{kind} 'sport = :{}'` names the process",
                    port.port
                )
            }
        }
    }
}

pub(super) fn judge_ports(facts: &DoctorFacts, found: &mut Diagnoses) {
    for port in &facts.ports {
        let PortFacts {
            interface,
            protocol,
            port: number,
            purpose,
            is_dispensable,
            state,
        } = port;
        let subject = format_args!("{protocol}/{number} on {interface}");
        match state {
            PortState::Free => found.green(CheckName::Port, subject, format_args!("nobody has it ({purpose})")),
            PortState::Ours => found.green(CheckName::Port, subject, format_args!("bootwright has it ({purpose})")),
            PortState::Held(holders) if *is_dispensable => found.amber(
                CheckName::Port,
                subject,
                format_args!("{} has it, and {purpose} is not heard", Named(holders)),
                HolderRemedy(holders, port),
            ),
            PortState::Held(holders) => found.red(
                CheckName::Port,
                subject,
                format_args!("{} has it, and {purpose} can't be served", Named(holders)),
                HolderRemedy(holders, port),
            ),
            PortState::MaybeHeld(holders) => found.amber(
                CheckName::Port,
                subject,
                format_args!(
                    "{} has that port on this machine; whether on this interface can't be told without root",
                    Named(holders)
                ),
                "run `sudo bootwright doctor`",
            ),
        }
    }
}

pub(super) fn judge_firewall(facts: &DoctorFacts, found: &mut Diagnoses) {
    let Some(rules) = &facts.firewall else { return };
    for interface in &facts.interfaces {
        let Some(seen) = &interface.seen else { continue };
        let name = &*interface.name;
        let traffic = TrafficSettings {
            interface: name,
            mode: interface.mode,
            own: seen.addresses.first().copied(),
            tftp_port: facts.tftp_port,
            http_port: facts.http_port,
            tftp_single_port: facts.tftp_single_port,
        };
        let mut is_clear = true;
        for (what, passage) in rules.passages(&traffic) {
            match passage {
                Passage::Passes => continue,
                Passage::Stopped(place) => found.red(
                    CheckName::Firewall,
                    name,
                    format_args!("it stops {what}: {place}"),
                    format_args!("let that pass on {name}, before that rule"),
                ),
                Passage::Unclear(place) => found.amber(
                    CheckName::Firewall,
                    name,
                    format_args!("could not tell whether {what} pass: {place} is more than this check understands"),
                    format_args!(
                        "see that rule, and accept what comes in on {name} for UDP 67, 69 and TCP 80 before it"
                    ),
                ),
            }
            is_clear = false;
        }
        if is_clear {
            found.green(
                CheckName::Firewall,
                name,
                format_args!(
                    "no rule stops DHCP, TFTP or HTTP there ({} rules looked at)",
                    rules.len()
                ),
            );
        }
    }
}

pub(super) fn judge_other_servers(facts: &DoctorFacts, found: &mut Diagnoses) {
    let mode_of = |name: &str| {
        let mut interfaces = facts.interfaces.iter();
        interfaces
            .find(|known| known.name == name)
            .map_or(Mode::Dhcp, |known| known.mode)
    };
    for (name, servers) in facts.other_servers.iter().flatten() {
        let mode = mode_of(name);
        for server in servers {
            let address = server.address;
            match mode {
                Mode::Dhcp => found.red(
                    CheckName::OtherDhcpServer,
                    name,
                    format_args!(
                        "the DHCP server {address} answers there too, and machines take whichever offer they like"
                    ),
                    "switch it off, or set mode = \"proxy\" to run beside it",
                ),
                Mode::Proxy if server.boots => found.amber(
                    CheckName::OtherDhcpServer,
                    name,
                    format_args!("the server {address} tells machines what to boot too"),
                    "take its boot file and its options 60 and 67 away",
                ),
                Mode::Proxy => found.green(
                    CheckName::OtherDhcpServer,
                    name,
                    format_args!("the DHCP server {address} gives the addresses there"),
                ),
            }
        }
        match (servers.is_empty(), mode) {
            (false, _) => {}
            (true, Mode::Dhcp) => found.green(
                CheckName::OtherDhcpServer,
                name,
                format_args!("no other DHCP server answered a DISCOVER"),
            ),
            (true, Mode::Proxy) => found.red(
                CheckName::OtherDhcpServer,
                name,
                format_args!(
                    "no DHCP server answered a DISCOVER there, and mode = \"proxy\" needs one that gives the addresses"
                ),
                "switch that server on, or set mode = \"dhcp\"",
            ),
        }
    }
}
