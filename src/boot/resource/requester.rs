//! Which machine requests a file, and which machine the file is for: from the lease table and the identity cache.

use super::{FileRequest, Inquiry, Transport};
use crate::boot::{
    event::{Machine, PathFault, Stage},
    gate::gate,
    identity_cache::IdentityCache,
    machine::{Identity, Who, identify},
    metadata::MetadataPath,
    paths::{self, UrlHost},
    request_path::RequestPath,
    script_path::{ScriptPath, ScriptSubject},
    snapshot::{Artifact, Host, Image, Snapshot},
    verification::{Verification, VerificationState},
    world::{FileWorld, World},
};
use crate::lease::PortId;
use crate::model::{Dialect, HardwareAddr, MacAddr, Uuid};
use std::net::{IpAddr, Ipv4Addr};

/// A request and the machine that sent it, before it is known for which machine the file is.
struct Requester<'a> {
    snapshot: &'a Snapshot,
    request: &'a FileRequest<'a>,
    path: Result<RequestPath, PathFault>,
    peer: Identity,
}

impl<'a> Inquiry<'a> {
    /// Finds out who asks and for whom: the part of a request that needs the shared tables.
    pub fn begin(files: FileWorld<'a, '_>, request: &'a FileRequest<'a>) -> Inquiry<'a> {
        let FileWorld {
            mut world,
            identities,
            verification,
            draw_token,
        } = files;
        let (now, snapshot) = (world.now, world.snapshot);
        let requester = Requester {
            snapshot,
            request,
            path: RequestPath::parse(request.transport, local_path(snapshot, request)),
            peer: identity_at(&world, identities, request.peer),
        };
        let script = requester.script();
        let subject = requester.subject(&world, identities, script);
        let who = identify(snapshot, &subject);
        let peer_mac = requester.peer.mac;
        let mut inquiry = Inquiry {
            snapshot,
            request,
            script,
            gate: gate(&world, who),
            who,
            subject_given: subject.hardware().and_then(|client| world.leases.ports.of(now, client)),
            subject,
            peer_port: port_at(&world, &requester.peer, request.peer),
            peer_stage: peer_mac.and_then(|mac| identities.stage(mac)),
            block_max: peer_mac.and_then(|mac| identities.block_limit(mac)),
            artifact: requester.named_artifact(verification),
            is_hearsay: is_hearsay(&world, identities, request.peer),
            change: None,
            promise: None,
            install: None,
            callback: None,
            told_disks: Vec::new(),
            order: None,
            keeps_texts: false,
            path: requester.path,
            peer: requester.peer,
        };
        inquiry.take_callback(&mut world);
        inquiry.take_disks(&mut world);
        inquiry.take_order(&mut world);
        inquiry.take_up_install(&mut world, draw_token);
        inquiry
    }

    /// The stage of what a running system fetches: the machine has an address as such. Loaders of firmware that
    /// asks as a system does (U-Boot) fetch by TFTP.
    pub(super) fn system_stage(&self) -> Option<Stage> {
        let asks_by_http = self.request.transport == Transport::Http;
        self.peer_stage.filter(|stage| asks_by_http && *stage == Stage::System)
    }

    /// Whether the machine itself asks, and from another subnet than its reservation's: in the wrong rack, say.
    /// The router and the netmask there are those of the address that it has.
    pub(super) fn is_outside_reserved_subnet(&self, who: Who<'_>, reserved: Ipv4Addr) -> bool {
        let name = |who: Who<'_>| who.host().map(|host| host.name.clone());
        let asks_itself = || name(identify(self.snapshot, &self.peer)) == name(who);
        let here = self.snapshot.subnet_of(self.request.peer);
        here.is_some_and(|here| !here.cidr.contains(reserved)) && asks_itself()
    }
}

impl<'a> Requester<'a> {
    /// The script that the path stands for.
    fn script(&self) -> Option<ScriptPath> {
        let path = self.path.as_ref().ok();
        path.and_then(|path| script_for_path(self.snapshot, path))
    }

    /// The machine that the script or the answer is for; any other file is for the one that asks.
    fn subject(&self, world: &World<'_, '_>, identities: &mut IdentityCache, script: Option<ScriptPath>) -> Identity {
        match script.map(|script| script.subject) {
            Some(ScriptSubject::Address(address)) if self.request.peer != address => {
                identity_at(world, identities, address.into())
            }
            Some(ScriptSubject::Mac(mac)) => identities.of(mac),
            Some(ScriptSubject::Uuid(uuid)) => self.identity_by_uuid(uuid),
            Some(ScriptSubject::Requester | ScriptSubject::Address(_)) => self.requester(identities),
            None => self.answer_subject(identities),
        }
    }

    /// The machine that an answer is for; any other file is for the one that asks.
    fn answer_subject(&self, identities: &IdentityCache) -> Identity {
        let path = self.path.as_ref().ok();
        if let Some(machine) = path.and_then(MetadataPath::of).and_then(|path| path.machine) {
            return self.identity_named(identities, machine);
        }
        let mut components = path.into_iter().flat_map(RequestPath::components);
        match (components.next(), components.next()) {
            (Some(paths::ANSWER | paths::CALLBACK | paths::ORDER | paths::SSH_KEYS | paths::DISKS), Some(machine)) => {
                self.identity_named(identities, machine)
            }
            _ => self.peer.clone(),
        }
    }

    /// The machine that asks and sends this UUID, of which nothing is remembered: firmware has sent it
    /// by DHCP. PXELINUX writes option 97's bytes as they come.
    fn identity_by_uuid(&self, claimed: Uuid) -> Identity {
        let is_listed = |uuid: &Uuid| self.snapshot.hosts.by_uuid(*uuid).is_some();
        let listed_identity = [claimed, claimed.swapped()].into_iter().find(is_listed);
        Identity {
            uuid: listed_identity.or(self.peer.uuid),
            ..self.peer.clone()
        }
    }

    /// The artifact that the path names.
    fn named_artifact(&self, verification: &Verification) -> Option<(&'a Image, &'a Artifact, VerificationState)> {
        let mut components = self.path.as_ref().ok()?.as_str().splitn(3, '/');
        let (paths::IMAGE, image, file) = (components.next()?, components.next()?, components.next()?) else {
            return None;
        };
        let (image, artifact) = self.snapshot.artifact(image, file)?;
        Some((image, artifact, verification.state(image, artifact)))
    }

    /// Who asks for a script: who the query says, or else the holder of the address.
    ///
    /// What a query says is remembered only where it comes from the address of the machine that it
    /// speaks of: anybody may ask for any machine's script, and nobody may change what is known of
    /// another machine, or push it out of the memory with invented ones.
    fn requester(&self, identities: &mut IdentityCache) -> Identity {
        let claimed = RequestPath::identity(self.request.query.unwrap_or_default());
        match claimed.mac {
            None => self.peer.clone(),
            Some(mac) if self.is_of_peer(mac) => identities.update(claimed),
            Some(_) => identities.merged(claimed),
        }
    }

    /// Whether an interface is the one that asks, or another of the same listed host.
    fn is_of_peer(&self, mac: MacAddr) -> bool {
        self.peer.mac.is_some_and(|peer| {
            let host = self.snapshot.hosts.by_mac(mac);
            peer == mac || host.is_some_and(|host| host.lists(&peer.into()))
        })
    }

    /// The identity of the machine that an answer's path names.
    fn identity_named(&self, identities: &IdentityCache, machine: &str) -> Identity {
        match machine.parse::<MacAddr>() {
            Ok(mac) => identities.of(mac),
            Err(_) => self.listed_identity(identities, machine),
        }
    }

    /// The identity of a host by its name: of the machine that asks where that is the host, so that
    /// the answer knows the interface it was asked from.
    fn listed_identity(&self, identities: &IdentityCache, name: &str) -> Identity {
        let Some(host) = self.snapshot.hosts.by_name(name) else {
            return self.unlisted_identity(name);
        };
        let asks_itself = identify(self.snapshot, &self.peer)
            .host()
            .is_some_and(|peer| peer.name == host.name);
        match host.macs.first() {
            _ if asks_itself => self.peer.clone(),
            Some(mac) => identities.of(*mac),
            None => Identity {
                link: host.links.first().copied(),
                uuid: host.uuid,
                serial: host.serial.clone(),
                ..Identity::default()
            },
        }
    }

    /// The machine that asks, where it has no MAC and its path calls it by the address that it has: a name of
    /// 8 or 16 bytes that no host is listed by.
    fn unlisted_identity(&self, name: &str) -> Identity {
        match self.peer.link {
            Some(link) if link.hyphenated() == name => self.peer.clone(),
            Some(_) | None => Identity::default(),
        }
    }
}

/// The path that a client asks by TFTP for, where it took our URL for a file's name: firmware that reads
/// `pxelinux.cfg` itself hands on what stands there, with the configuration's own folder in front. A URL of
/// another server stays what it is, and is refused.
fn local_path<'a>(snapshot: &Snapshot, request: &'a FileRequest<'a>) -> &'a [u8] {
    // Under the lease table's lock nothing is formatted that need not be.
    let may_be_url = request.transport == Transport::Tftp && request.path.windows(3).any(|part| part == b"://");
    if !may_be_url {
        return request.path;
    }
    let host = ["tftp://", &UrlHost(request.server).to_string(), "/"].concat();
    let identity_named = [paths::tftp_base(request.server, snapshot.ports).as_str(), "/"].concat();
    let behind = |url: &str| {
        let at = request
            .path
            .windows(url.len())
            .position(|part| part == url.as_bytes())?;
        let is_whole = at == 0 || request.path[at - 1] == b'/';
        is_whole.then(|| &request.path[at + url.len()..])
    };
    behind(&identity_named)
        .or_else(|| behind(&host))
        .unwrap_or(request.path)
}

/// The script that a path stands for. A file of exactly that name beside the loaders is the operator's own
/// configuration of GRUB or PXELINUX, and goes out as it is.
fn script_for_path(snapshot: &Snapshot, path: &RequestPath) -> Option<ScriptPath> {
    let is_own =
        |script: &ScriptPath| script.dialect != Dialect::Ipxe && snapshot.loaders.location_of(path.as_str()).is_some();
    ScriptPath::of(path).filter(|script| !is_own(script))
}

/// The machine that holds `address`: by its lease, by what was heard of another server, or by its
/// reservation.
fn identity_at(world: &World<'_, '_>, identities: &IdentityCache, address: IpAddr) -> Identity {
    // Leases, reservations and what is heard of other servers are DHCPv4's.
    let IpAddr::V4(address) = address else {
        return Identity::default();
    };
    let World {
        now, snapshot, leases, ..
    } = world;
    let known = |client: HardwareAddr| {
        let bare = Identity::of_hardware(client);
        bare.mac.map_or(bare, |mac| identities.of(mac))
    };
    let leased = leases.holder_at(*now, address).map(known);
    let given = || {
        let (client, port) = leases.ports.at(*now, address)?;
        let reserved = snapshot.hosts.by_address(address);
        // The inventory may have given the address to another host since.
        let is_its = |host: &Host| match host.lists_hardware() {
            true => host.lists(&client),
            false => host.port.as_deref().is_some_and(|own| PortId::of(own) == port),
        };
        if reserved.is_some_and(|host| !is_its(host)) {
            return None;
        }
        let by_port = reserved.filter(|host| !host.lists_hardware());
        let own = by_port
            .and_then(|host| host.port.clone())
            .filter(|own| PortId::of(own) == port);
        let known = known(client);
        Some(match own {
            // After a restart nothing else tells that it stands there.
            Some(own) if known.ports.is_empty() => Identity {
                ports: vec![own],
                ..known
            },
            Some(_) | None => known,
        })
    };
    let from_other_server = || identities.address_holder(address).map(|mac| identities.of(mac));
    let reserved = || {
        let host = snapshot.hosts.by_address(address)?;
        let first = host.macs.first().map(|mac| HardwareAddr::from(*mac));
        first.or(host.links.first().copied()).map(known)
    };
    leased
        .or_else(from_other_server)
        .or_else(given)
        .or_else(reserved)
        .unwrap_or_default()
}

/// Whether nothing says who holds `address` but a REQUEST to another server: anybody may broadcast one.
fn is_hearsay(world: &World<'_, '_>, identities: &IdentityCache, address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else { return false };
    identities.address_holder(address).is_some() && world.leases.holder_at(world.now, address).is_none()
}

/// The machine that holds `address`, as events show it.
pub fn machine_at(world: &World<'_, '_>, identities: &IdentityCache, address: IpAddr) -> Machine {
    let identity = identity_at(world, identities, address);
    identity.machine(identify(world.snapshot, &identity)).or_at(address)
}

/// The switch port at which `address` was given to `peer`.
fn port_at(world: &World<'_, '_>, peer: &Identity, address: IpAddr) -> Option<PortId> {
    let IpAddr::V4(address) = address else {
        return None;
    };
    let (client, port) = world.leases.ports.at(world.now, address)?;
    (peer.hardware() == Some(client)).then_some(port)
}

/// Whether a machine has `address` by DHCP: from us, or by what was heard of another server. A reservation is none:
/// its host may be off, and anybody may set its address by hand. Only who was given that before a restart is on no
/// disk.
pub fn is_client_address(world: &World<'_, '_>, identities: &IdentityCache, address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else {
        return false;
    };
    let World {
        now, snapshot, leases, ..
    } = world;
    leases.holder_at(*now, address).is_some()
        || leases.ports.at(*now, address).is_some()
        || identities.address_holder(address).is_some()
        || (leases.may_be_in_boot_since_before(*now) && snapshot.hosts.by_address(address).is_some())
}

/// Whether `peer` is known for `host` by more than its own words. A UUID or a serial number is
/// anybody's to say, so where the inventory lists MACs, one of them must hold the address that asks.
pub(super) fn is_proven(host: &Host, peer: &Identity) -> bool {
    !host.lists_hardware() || peer.hardware().is_some_and(|hardware| host.lists(&hardware))
}
