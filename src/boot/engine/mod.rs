//! The DHCP engine: one request and the state of the world in, one outcome out.
//!
//! ```text
//! request ─ subnet ─ stage, identity ─ gate ─┬─ address (reservation or lease) ─┬─ reply ─ destination
//!           (route)  (classify)              └─ boot fields (answer) ───────────┘  (route)
//! ```
//!
//! That is full DHCP: we give the addresses. On an interface with `mode = "proxy"` another DHCP
//! server gives the addresses, and only the boot fields are ours (proxyDHCP). Architecture invariant: whatever the wire says ends in
//! an [`Outcome`] with a reason, never in a panic; a client's words reach an event escaped.

mod address;
mod boot_fields;
mod classify;
mod discover_cache;
mod exchange;
mod port;
mod proxy;
mod pxe_port;
mod recognised;
mod reply_options;
mod route;

use crate::boot::{
    arming::Arming,
    event::{BootFile, Event, Machine, Mismatch, Near, Reason, Stage, Step},
    gate::{Gate, gate},
    identity_cache::Observation,
    mac_typo,
    machine::{Identity, Who, mismatch},
    quirks::Effect,
    snapshot::{Snapshot, Subnet},
    world::World,
};
use crate::lease::{LeaseChange, OverQuota, PortChange};
use crate::model::{BootTarget, MacAddr, Mode, Now, OwnAddress, Probe};
use crate::proto::dhcp::{Reply, ReplyOption, Request, RequestKind};
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

pub use classify::{identity, stage};
pub use discover_cache::DiscoverCache;
pub use recognised::{Recognised, recognise};

/// Where a packet came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// The interface's name.
    pub interface: Arc<str>,
    /// Its addresses, the primary one first.
    pub own: Arc<[OwnAddress]>,
    /// The addresses of the other interfaces that we serve: of other wires.
    pub elsewhere: Arc<[OwnAddress]>,
    /// The one of them that was asked; for a broadcast the primary one.
    pub address: Ipv4Addr,
    /// The port of ours it came to: 67 or 4011.
    pub port: u16,
    /// Whether we give the addresses there.
    pub mode: Mode,
    /// Who sent it.
    pub source: SocketAddrV4,
    /// Whom it was sent to: our address, or everybody.
    pub to: Ipv4Addr,
}

impl Ingress {
    /// Whether `address` is one of the interface's.
    fn is_own(&self, address: Ipv4Addr) -> bool {
        self.own.iter().any(|own| own.address == address)
    }

    /// Whether the packet was sent to us by name. Linux answers for an address of ours on every wire, so
    /// that of another interface is a name too.
    fn is_by_name(&self) -> bool {
        let named = |own: &OwnAddress| own.address == self.to;
        self.own.iter().chain(&*self.elsewhere).any(named)
    }
}

/// Where a reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An ordinary datagram.
    Unicast(SocketAddrV4),
    /// 255.255.255.255 on this port, out of the interface the request came in on.
    Broadcast {
        /// The client's port: 68.
        port: u16,
    },
    /// A frame addressed to the client's MAC, because it can't answer an ARP question yet;
    /// broadcast where a frame can't be sent.
    Frame {
        /// The client.
        mac: MacAddr,
        /// The address it is given, and its port.
        to: SocketAddrV4,
    },
}

/// A reply and where it goes.
#[derive(Clone, Debug)]
pub struct OutgoingReply {
    /// The message.
    pub reply: Reply,
    /// The address of ours that it comes from.
    pub from: Ipv4Addr,
    /// Its destination.
    pub destination: Destination,
    /// The MAC of a client on our own wire, which takes frames: the way to it while it has no address.
    pub link: Option<MacAddr>,
    /// A second copy of it: the address of ours that it comes from, and where it goes.
    pub copy: Option<(Ipv4Addr, Destination)>,
    /// The boot file that it names; its text is made with the bytes.
    pub boot_file: Option<BootFile>,
    /// Why it refuses, for option 56.
    pub refusal: Option<Reason>,
}

impl OutgoingReply {
    /// Its bytes: made where no lock is held.
    pub fn encode(&self) -> Vec<u8> {
        if self.boot_file.is_none() && self.refusal.is_none() {
            return self.reply.encode();
        }
        let mut reply = self.reply.clone();
        reply.boot_file = self.boot_file.as_ref().map(BootFile::text);
        let refusal = self.refusal.as_ref().map(Reason::to_string);
        reply.options.extend(refusal.map(ReplyOption::Message));
        reply.encode()
    }
}

/// An address that is to be probed before its offer is sent. Whoever sends it tells the lease table what
/// came of it: `LeaseTable::probe_passed`, or `LeaseTable::conflict_found` and the request anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConflictProbe {
    /// The address.
    pub address: Ipv4Addr,
    /// The method.
    pub by: Probe,
}

/// What becomes of one request. The lease change must be durable before the reply is sent.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The reply, if there is one.
    pub send: Option<OutgoingReply>,
    /// The lease change that the reply depends on.
    pub change: Option<LeaseChange>,
    /// What is new of the switch ports at which addresses were given; to be kept, and no reply waits for it.
    pub port_changes: Vec<PortChange>,
    /// What the later stages must know of its machine.
    pub observation: Observation,
    /// The attachment point that stood in the way because it holds too many offers.
    pub over_quota: Option<OverQuota>,
    /// What is to be found out before the reply is sent.
    pub probe: Option<ConflictProbe>,
    /// What happened; an ignored packet has its reason here.
    pub event: Event,
    /// What people should know besides.
    pub notice: Option<Event>,
}

/// The port of ours that PXE clients ask for their boot file after a proxy's offer.
pub(in crate::boot) const PXE_PORT: u16 = 4011;

/// Everything that is known of a request before it is answered.
struct RequestContext<'a> {
    now: Now,
    snapshot: &'a Snapshot,
    ingress: &'a Ingress,
    request: &'a Request,
    stage: Stage,
    quirks: Effect,
    who: Who<'a>,
    gate: Gate<'a>,
    /// Our address as the machine is told it: our server identifier and the host of our URLs.
    address: Ipv4Addr,
    /// The machine in events.
    machine: Machine,
    /// What it says of itself that does not fit the inventory.
    mismatch: Option<Mismatch>,
}

/// Decides one request.
pub fn handle(world: &mut World<'_, '_>, ingress: &Ingress, request: &Request) -> Outcome {
    let (now, snapshot) = (world.now, world.snapshot);
    let Recognised {
        identity,
        who,
        claimed_ports,
        distrust_reason,
    } = recognise(world, ingress, request);
    let gate = gate(world, who);
    let quirks = snapshot.quirks.of(request, stage(request));
    let mut context = RequestContext {
        now,
        snapshot,
        ingress,
        request,
        stage: quirks.stage,
        quirks,
        who,
        gate,
        address: ingress.address,
        machine: Machine {
            key: identity.key(who),
            hardware: Some(request.hardware),
            uuid: request.uuid,
            relay: request.relay,
        },
        mismatch: port::distrusted_port(snapshot, who, &claimed_ports, distrust_reason)
            .or_else(|| mismatch(snapshot, who, &identity)),
    };
    let leases = &mut *world.leases;
    leases.ports.seen_at(request.hardware, &identity.ports);
    let refusal = context
        .ignore_reason()
        .map(|reason| Step::Ignored { reason })
        .or_else(|| port::wrong_port(&context, &identity.ports, distrust_reason, leases));
    if let Some(step) = refusal {
        return context.no_reply(step);
    }
    note_power_on(world.arming, &context);
    let mut outcome = match ingress.mode {
        Mode::Proxy => proxy::answer(&context),
        Mode::Dhcp => match route::subnet(snapshot, ingress, request) {
            Ok(subnet) => exchange::answer(&mut context, subnet, leases),
            Err(reason) => context.ignored(reason),
        },
    };
    outcome.port_changes = port::boot_stage(&context, &outcome.event.step, &identity.ports, leases);
    let block_max = context.quirks.set.tftp_block_max;
    outcome.observation = Observation {
        firmware: boot_fields::loads_other_loader(&context).then(|| Identity {
            ports: Vec::new(),
            ..identity.clone()
        }),
        address: proxy::address_from_other_server(&context),
        observed_port: port::observed_port(&context, &outcome.event.step, identity.ports),
        block_max: context.firmware().map(|mac| (mac, block_max)),
        boot_stage: context.boot_stage(&outcome.event.step),
    };
    outcome
}

/// Has it known that a host which installs was started anew: the script that it asks for next is another install's.
/// A NIC may have iPXE in it, and no other firmware asks before that: so any loader counts.
fn note_power_on(arming: &mut Arming, context: &RequestContext<'_>) {
    let installs = matches!(
        context.gate,
        Gate::Network {
            target: BootTarget::Install,
            ..
        }
    );
    if let Some(host) = context.who.host()
        && installs
        && context.stage.is_in_boot()
    {
        arming.power_on(host);
    }
}

impl RequestContext<'_> {
    /// Why the request is ignored whatever it asks; `None` for a machine that may be answered.
    fn ignore_reason(&self) -> Option<Reason> {
        if self.ingress.is_own(*self.ingress.source.ip()) {
            Some(Reason::FromOurselves)
        } else if self.request.hardware.as_bytes().is_empty() {
            Some(Reason::NoHardwareAddress)
        } else if self.gate == Gate::Ignore {
            Some(Reason::Unlisted { near: self.near() })
        } else {
            None
        }
    }

    /// The listed machine that this one nearly is.
    fn near(&self) -> Near {
        mac_typo::mac_typo_hint(&self.snapshot.hosts, self.request.hardware.mac())
    }

    /// Selects the server identifier for a reply that gives an address of `subnet`: our address there, if we have one. A client that asks an address of ours by name has that one to renew at.
    fn select_server_id(&mut self, subnet: &Subnet) {
        let there = self.ingress.own.iter().find(|own| subnet.cidr.contains(own.address));
        let is_named = self.ingress.to == self.ingress.address;
        self.address = there
            .filter(|_| !is_named)
            .map_or(self.ingress.address, |own| own.address);
    }

    /// The machine, if it is one that fetches files now: a running system does not.
    fn firmware(&self) -> Option<MacAddr> {
        self.request.hardware.mac().filter(|_| self.stage.is_in_boot())
    }

    /// Where the machine stands from now on: it has what it needs to go on from there. As a proxyDHCP server we do
    /// not see what its server answers to its REQUEST.
    fn boot_stage(&self, step: &Step) -> Option<(MacAddr, Stage, Duration)> {
        let goes_on = match step {
            Step::Acknowledged { .. } | Step::ProxyOffered { .. } => true,
            _ => self.ingress.mode == Mode::Proxy && self.request.kind == RequestKind::Request,
        };
        let mac = self.request.hardware.mac().filter(|_| goes_on)?;
        Some((mac, self.stage, self.now.monotonic))
    }

    /// What option 54 says: the address that clients renew at. Who asks us by name has that one, and no other
    /// is its server: systemd-networkd and udhcpc leave a NAK alone that says another.
    fn server_identifier(&self) -> Ipv4Addr {
        let claimed = self.request.relay_agent.as_ref();
        let named = || (self.request.relay.is_none() && self.ingress.is_by_name()).then_some(self.ingress.to);
        claimed
            .and_then(|agent| agent.server_id_override)
            .or_else(named)
            .unwrap_or(self.address)
    }

    /// The request took another server's offer, or speaks to another server.
    fn is_for_another_server(&self) -> Option<Ipv4Addr> {
        self.request
            .server_identifier
            .filter(|named| *named != self.server_identifier() && !self.ingress.is_own(*named))
    }

    fn ignored(&self, reason: Reason) -> Outcome {
        self.no_reply(Step::Ignored { reason })
    }

    /// An outcome without a reply.
    fn no_reply(&self, step: Step) -> Outcome {
        Outcome {
            send: None,
            change: None,
            port_changes: Vec::new(),
            observation: Observation::default(),
            over_quota: None,
            probe: None,
            event: self.event(step),
            notice: None,
        }
    }

    /// An outcome with a reply, which names `boot_file`.
    fn replied(&self, reply: (Reply, Option<BootFile>), change: Option<LeaseChange>, step: Step) -> Outcome {
        let (mut reply, boot_file) = reply;
        reply.leave_out.clone_from(&self.quirks.set.leave_out);
        reply.subnet_selection = route::selected(self);
        let destination = route::destination(self, &reply);
        let copy = route::copy(self, &reply);
        Outcome {
            send: Some(OutgoingReply {
                reply,
                from: self.address,
                destination,
                link: route::link(self),
                copy,
                boot_file,
                refusal: step.refusal().cloned(),
            }),
            change,
            port_changes: Vec::new(),
            observation: Observation::default(),
            over_quota: None,
            probe: None,
            event: self.event(step),
            notice: None,
        }
    }

    fn event(&self, step: Step) -> Event {
        Event {
            at: self.now,
            machine: self.machine.clone(),
            stage: self.stage,
            quirks: self.quirks.names.as_slice().into(),
            step,
        }
    }
}
