//! The packets of a boot, one of each kind, and whether they meet what a rule asks.

use super::{BaseChain, Field, FieldValue, Hook, Range, Truth};
use crate::model::{Mode, OwnAddress};
use std::net::Ipv4Addr;

const UDP: u32 = 17;
const TCP: u32 = 6;
/// Ports that clients ask from.
const CLIENT_PORTS: Range = (1024, 65_535);
/// Ports that the kernel gives our transfers (`ip_local_port_range`).
const OWN_PORTS: Range = (32_768, 60_999);
const ANYBODY: Range = (0, u32::MAX);

/// What packets there are on an interface.
#[derive(Clone, Copy, Debug)]
pub struct TrafficSettings<'a> {
    /// Its name.
    pub interface: &'a str,
    /// What we are on it.
    pub mode: Mode,
    /// Our address there.
    pub own: Option<OwnAddress>,
    /// TFTP's port.
    pub tftp_port: u16,
    /// HTTP's port.
    pub http_port: u16,
    /// Whether TFTP's transfers go over its request port.
    pub tftp_single_port: bool,
}

/// Packets of one kind: every one that these ranges hold.
#[derive(Debug)]
pub(super) struct BootPacket<'a> {
    /// What they are, in words.
    pub(super) what: &'static str,
    interface: &'a str,
    is_inward: bool,
    protocol: u32,
    source: Range,
    destination: Range,
    ports: (Range, Range),
    state: &'static str,
}

fn one(number: impl Into<u32>) -> Range {
    let number = number.into();
    (number, number)
}

impl<'a> TrafficSettings<'a> {
    pub(super) fn packets(&self) -> Vec<BootPacket<'a>> {
        let own = self.own.map_or(ANYBODY, |own| one(own.address));
        let machines = self.own.map_or(ANYBODY, |own| {
            (own.cidr.network().to_bits(), own.cidr.broadcast().to_bits())
        });
        let inward = |what, protocol, ports, state| BootPacket {
            what,
            interface: self.interface,
            is_inward: true,
            protocol,
            source: machines,
            destination: own,
            ports,
            state,
        };
        let (tftp, http) = (one(self.tftp_port), one(self.http_port));
        let discover = BootPacket {
            source: one(Ipv4Addr::UNSPECIFIED),
            destination: one(Ipv4Addr::BROADCAST),
            ..inward("requests of DHCP (UDP port 67)", UDP, (one(68_u16), one(67_u16)), "new")
        };
        let requests = inward("requests of TFTP (UDP port 69)", UDP, (CLIENT_PORTS, tftp), "new");
        let scripts = inward("requests of HTTP (TCP port 80)", TCP, (CLIENT_PORTS, http), "new");
        let going_on = inward("HTTP connections", TCP, (CLIENT_PORTS, http), "established");
        let mut packets = vec![discover, requests, scripts, going_on];
        if !self.tftp_single_port {
            let what = "acknowledgements of TFTP's blocks (UDP, to our own port)";
            packets.push(inward(what, UDP, (CLIENT_PORTS, OWN_PORTS), "established"));
        }
        if self.mode == Mode::Proxy {
            let what = "requests of the boot server (UDP port 4011)";
            packets.push(inward(what, UDP, (CLIENT_PORTS, one(4011_u16)), "new"));
        }
        packets.extend(self.outward(own, machines));
        packets
    }

    fn outward(&self, own: Range, machines: Range) -> [BootPacket<'a>; 3] {
        let outward = |what, protocol, destination, ports, state| BootPacket {
            what,
            interface: self.interface,
            is_inward: false,
            protocol,
            source: own,
            destination,
            ports,
            state,
        };
        let blocks_from = match self.tftp_single_port {
            true => one(self.tftp_port),
            false => OWN_PORTS,
        };
        [
            outward(
                "replies of DHCP",
                UDP,
                one(Ipv4Addr::BROADCAST),
                (one(67_u16), one(68_u16)),
                "new",
            ),
            outward("blocks of TFTP", UDP, machines, (blocks_from, CLIENT_PORTS), "new"),
            outward(
                "replies of HTTP",
                TCP,
                machines,
                (one(self.http_port), CLIENT_PORTS),
                "established",
            ),
        ]
    }
}

impl BootPacket<'_> {
    /// Whether it comes to the chain.
    pub(super) fn meets(&self, base: &BaseChain) -> bool {
        let is_on_its_way = match base.hook {
            Hook::Ingress | Hook::Prerouting | Hook::Input => self.is_inward,
            Hook::Output | Hook::Postrouting => !self.is_inward,
        };
        is_on_its_way && base.device.as_ref().is_none_or(|device| device == self.interface)
    }

    pub(super) fn is(&self, field: Field, value: &FieldValue) -> Truth {
        let numbers = match field {
            Field::InInterface | Field::OutInterface => {
                let is_that_way = (field == Field::InInterface) == self.is_inward;
                return self.has_name(value, if is_that_way { self.interface } else { "" });
            }
            Field::State => return self.has_name(value, self.state),
            Field::Protocol => one(self.protocol),
            Field::Source => self.source,
            Field::Destination => self.destination,
            Field::SourcePort => self.ports.0,
            Field::DestinationPort => self.ports.1,
        };
        match value {
            FieldValue::Numbers((first, last)) if *last < numbers.0 || numbers.1 < *first => Truth::No,
            FieldValue::Numbers((first, last)) if *first <= numbers.0 && numbers.1 <= *last => Truth::Yes,
            FieldValue::Numbers(_) | FieldValue::Name(_) | FieldValue::Unknown => Truth::Maybe,
        }
    }

    fn has_name(&self, value: &FieldValue, own: &str) -> Truth {
        let is_it = match value {
            FieldValue::Name(name) => match name.strip_suffix('*') {
                Some(beginning) => own.starts_with(beginning) && !own.is_empty(),
                None => name == own,
            },
            FieldValue::Numbers(_) | FieldValue::Unknown => return Truth::Maybe,
        };
        if is_it { Truth::Yes } else { Truth::No }
    }
}
