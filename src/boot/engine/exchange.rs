//! The exchange, message by message (RFC 2131 section 4.3): what each asks for and what it gets.

use super::{
    Asked, Outcome, PXE_PORT, Trial,
    address::{self, Reservation},
    answer::{self, Boot},
    pxe_port, route,
};
use crate::boot::{
    event::{Event, NotItsOwn, Step},
    snapshot::{BootSettings, Subnet},
};
use crate::lease::{Freshness, LeaseChange, LeaseTable, Offer, Tenure};
use crate::model::{Probe, limits, text};
use crate::proto::dhcp::{
    RawOption, Reply, ReplyKind, ReplyOption, RequestKind,
    option_body::{self, CLASSLESS_ROUTES},
};
use std::{iter, net::Ipv4Addr, time::Duration};

const DNS_SERVERS: u8 = 6;
const DOMAIN_NAME: u8 = 15;

/// Answers a request from a machine on the wire of `subnet`.
pub(super) fn answer<'a>(asked: &mut Asked<'a>, subnet: &'a Subnet, leases: &mut LeaseTable) -> Outcome {
    let subnet = route::own_subnet(asked, subnet, leases);
    asked.speak_in(subnet);
    if asked.ingress.port == PXE_PORT {
        return pxe_port::answer(asked);
    }
    match asked.request.kind {
        RequestKind::Discover => discover(asked, subnet, leases),
        RequestKind::Request => request(asked, subnet, leases),
        RequestKind::Decline => decline(asked, subnet, leases),
        RequestKind::Release => release(asked, subnet, leases),
        RequestKind::Inform => inform(asked, subnet),
        RequestKind::Bootp => bootp(asked, subnet, leases),
        RequestKind::Other(kind) => asked.ignored(format!("a message of type {kind} is not for a DHCP server")),
    }
}

fn discover<'a>(asked: &mut Asked<'a>, subnet: &'a Subnet, leases: &mut LeaseTable) -> Outcome {
    let wire = iter::once(subnet).chain(route::beside(asked, subnet));
    let mut lacks = Vec::new();
    for subnet in wire {
        match address::to_offer(asked, subnet, leases) {
            Ok(offer) => {
                asked.speak_in(subnet);
                return offered(asked, subnet, leases, offer);
            }
            Err(lack) => lacks.push(lack),
        }
    }
    address::no_offer(asked, lacks)
}

/// The offer; where the subnet asks for it, or the disk lost leases, it waits until a probe finds the address
/// unused.
fn offered(asked: &Asked<'_>, subnet: &Subnet, leases: &mut LeaseTable, offer: Offer) -> Outcome {
    let (now, address) = (asked.now, offer.address);
    let may_be_used = || leases.may_have_lost(now, subnet.lease).then_some(Probe::Arp);
    let probe = subnet.probe.or_else(may_be_used);
    let is_new = match offer.freshness {
        Freshness::Known => false,
        Freshness::New => true,
        Freshness::Tried { since } if now.monotonic < since + limits::PROBE_PATIENCE && probe.is_some() => {
            return asked.ignored(format!("its offer waits until {address} is probed"));
        }
        Freshness::Tried { .. } => true,
    };
    // ARP ends at the relay.
    let by = probe.filter(|_| is_new).map(|probe| match asked.request.relay {
        None => probe,
        Some(_) => Probe::Ping,
    });
    if by.is_some() {
        leases.try_out(now, address);
    }
    let (reply, boot) = granted(asked, subnet, ReplyKind::Offer, address);
    Outcome {
        crowd: offer.displaced,
        trial: by.map(|by| Trial { address, by }),
        ..asked.replied(reply, None, Step::Offered { address, boot })
    }
}

/// Which of its states a client requests from: RFC 2131 section 4.3.2 tells them by their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// It took our offer.
    Selecting,
    /// INIT-REBOOT: it remembers an address, whoever gave it.
    Rebooting,
    /// RENEWING: it uses the address now, and asks us by name to prolong it.
    Renewing,
    /// REBINDING: it uses the address now, and asks whoever hears it.
    Rebinding,
}

impl Claim {
    fn of(asked: &Asked<'_>) -> Claim {
        let request = asked.request;
        let names_us = request.relay.is_none() && asked.ingress.is_by_name();
        match (request.server_identifier, request.client_address) {
            (Some(_), _) => Claim::Selecting,
            (None, None) => Claim::Rebooting,
            (None, Some(_)) if names_us => Claim::Renewing,
            (None, Some(_)) => Claim::Rebinding,
        }
    }
}

fn request(asked: &Asked<'_>, subnet: &Subnet, leases: &mut LeaseTable) -> Outcome {
    let request = asked.request;
    if let Some(other) = asked.is_for_another_server() {
        leases.withdraw_offers(asked.now, request.hardware);
        return asked.quiet(Step::WentElsewhere { server: other });
    }
    let Some(address) = request.requested_address.or(request.client_address) else {
        return asked.ignored("it requests an address and names none");
    };
    match address::reservation(asked, subnet, leases) {
        Reservation::Free(reserved) if reserved == address => {
            let tenure = match asked.stage.is_in_boot() {
                true => Tenure::Boot,
                false => Tenure::System,
            };
            let change = leases.hold(asked.now, request.hardware, address, lease_time(subnet), tenure);
            acknowledged(asked, subnet, address, change)
        }
        Reservation::Beside { address: own, by } if own == address => {
            let why = NotItsOwn::OtherInterface { by };
            refused(asked, leases, address, format!("its address {own} {why}"))
        }
        Reservation::Free(reserved) => {
            let reason = format!("its address is {reserved}, not {address}");
            refused(asked, leases, address, reason)
        }
        Reservation::None | Reservation::Taken { .. } | Reservation::Beside { .. } => {
            dynamic(asked, subnet, leases, address)
        }
    }
}

/// A request for an address that is not reserved for the client.
fn dynamic(asked: &Asked<'_>, subnet: &Subnet, leases: &mut LeaseTable, address: Ipv4Addr) -> Outcome {
    let (now, client) = (asked.now, asked.request.hardware);
    if !subnet.cidr.contains(address) {
        let reason = format!("{address} is not in {}, where it is now", subnet.cidr);
        return refused(asked, leases, address, reason);
    }
    let claim = Claim::of(asked);
    let is_leasable = address::is_leasable(asked, subnet, leases, address);
    // Who asks everybody may be another server's client, a second appliance's among them: to grant
    // what that server gave would make two leases of one, and a NAK would take its address away.
    let is_ours = match claim {
        Claim::Selecting | Claim::Renewing => true,
        Claim::Rebooting | Claim::Rebinding => leases.was_acknowledged(client, address),
    };
    if !is_ours {
        let own = leases.held_by(now, client).find(|own| subnet.cidr.contains(*own));
        return match own.filter(|_| claim == Claim::Rebooting && is_leasable) {
            Some(own) => refused(asked, leases, address, format!("its address is {own}, not {address}")),
            None => asked.ignored(format!("it remembers {address}, and we know of no lease to it")),
        };
    }
    if !is_leasable {
        let reason = format!("{address} is in no pool of {}", subnet.cidr);
        return refused(asked, leases, address, reason);
    }
    match leases.lease(now, client, address, lease_time(subnet)) {
        Some(record) => Outcome {
            notice: another_than_its_own(asked, subnet, leases, (claim, address)),
            ..acknowledged(asked, subnet, address, Some(LeaseChange::Put(record)))
        },
        None => refused(asked, leases, address, format!("{address} is held by another machine")),
    }
}

/// That a host is given another address than its own: said as often as it takes one.
fn another_than_its_own(
    asked: &Asked<'_>,
    subnet: &Subnet,
    leases: &LeaseTable,
    (claim, given): (Claim, Ipv4Addr),
) -> Option<Event> {
    let is_new = matches!(claim, Claim::Selecting | Claim::Rebooting);
    let (own, why) = is_new.then(|| address::not_its_own(asked, subnet, leases))??;
    Some(asked.event(Step::NotItsOwn { given, own, why }))
}

fn acknowledged(asked: &Asked<'_>, subnet: &Subnet, address: Ipv4Addr, change: Option<LeaseChange>) -> Outcome {
    let (mut reply, boot) = granted(asked, subnet, ReplyKind::Ack, address);
    reply.client_address = asked.request.client_address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    asked.replied(reply, change, Step::Acknowledged { address, boot })
}

/// A NAK. Should the client hold the address it may not have, that lease ends with it.
fn refused(asked: &Asked<'_>, leases: &mut LeaseTable, address: Ipv4Addr, reason: String) -> Outcome {
    let client = asked.request.hardware;
    let is_on_disk = leases.client_at(asked.now, address) == Some(client);
    leases.release(asked.now, client, address);
    let change = is_on_disk.then_some(LeaseChange::Remove(address));
    let mut reply = Reply::to(asked.request, ReplyKind::Nak, asked.server_identifier());
    if asked.request.relay.is_some() {
        // The relay must not send it to the address that the client may not have.
        reply.flags |= Reply::FLAG_BROADCAST;
    }
    reply.options.push(ReplyOption::Message(reason.clone()));
    asked.replied(reply, change, Step::Refused { reason })
}

fn release(asked: &Asked<'_>, subnet: &Subnet, leases: &mut LeaseTable) -> Outcome {
    if let Some(other) = asked.is_for_another_server() {
        return asked.ignored(format!("it releases a lease of another DHCP server, {other}"));
    }
    let Some(address) = asked.request.client_address else {
        return asked.ignored("it releases an address and names none");
    };
    let client = asked.request.hardware;
    let is_on_disk = leases.client_at(asked.now, address) == Some(client);
    let is_reserved = address::reservation(asked, subnet, leases) == Reservation::Free(address);
    if !leases.release(asked.now, client, address) && !is_reserved {
        return asked.ignored(format!("it releases {address}, which it does not hold"));
    }
    Outcome {
        change: is_on_disk.then_some(LeaseChange::Remove(address)),
        ..asked.quiet(Step::Released { address })
    }
}

fn decline(asked: &Asked<'_>, subnet: &Subnet, leases: &mut LeaseTable) -> Outcome {
    if let Some(other) = asked.is_for_another_server() {
        return asked.ignored(format!("it declines an address of another DHCP server, {other}"));
    }
    let Some(address) = asked.request.requested_address else {
        return asked.ignored("it declines an address and names none");
    };
    // A reservation stays: only people can say whether the host or the stranger is to have it.
    if address::reservation(asked, subnet, leases) == Reservation::Free(address) {
        return asked.quiet(Step::Disputed { address, by: None });
    }
    let client = asked.request.hardware;
    // What was only offered has no record: to decline it must not cost a write.
    let is_on_disk = leases.client_at(asked.now, address) == Some(client);
    if !leases.decline(asked.now, client, address) {
        return asked.ignored(format!("it declines {address}, which it does not hold"));
    }
    Outcome {
        change: is_on_disk.then_some(LeaseChange::Remove(address)),
        ..asked.quiet(Step::Declined { address })
    }
}

/// INFORM: the client has its address and wants the rest (RFC 2131 section 4.3.5).
fn inform(asked: &Asked<'_>, subnet: &Subnet) -> Outcome {
    let Some(address) = asked.request.client_address else {
        return asked.ignored("it informs us of an address and names none");
    };
    // Unicast to any address a packet names would make us a reflector.
    if !subnet.cidr.contains(address) {
        let subnet = subnet.cidr;
        return asked.ignored(format!("its address {address} is not in {subnet}, where it is now"));
    }
    let (mut reply, boot) = described(asked, subnet, ReplyKind::Ack, None);
    reply.client_address = address;
    asked.replied(reply, None, Step::Acknowledged { address, boot })
}

/// A reply that gives `address`, and the words for what the machine is told to load.
fn granted(asked: &Asked<'_>, subnet: &Subnet, kind: ReplyKind, address: Ipv4Addr) -> (Reply, String) {
    let (mut reply, boot) = described(asked, subnet, kind, Some(lease_time(subnet)));
    reply.your_address = address;
    (reply, boot)
}

/// A reply with everything a client is told beside its address. Without a `lease` (INFORM) it says
/// nothing of times.
fn described(asked: &Asked<'_>, subnet: &Subnet, kind: ReplyKind, lease: Option<Duration>) -> (Reply, String) {
    let mut reply = Reply::to(asked.request, kind, asked.server_identifier());
    reply.options.extend(lease.map(ReplyOption::LeaseTime));
    reply.options.push(ReplyOption::SubnetMask(subnet.cidr.mask()));
    reply.options.extend(subnet.router.map(ReplyOption::Router));
    // A machine's own stand among the options that are named for it.
    if !subnet.dns.is_empty() && !names_own(asked, DNS_SERVERS) {
        reply.options.push(ReplyOption::DnsServers(subnet.dns.clone()));
    }
    reply.next_server = answer::server(asked).unwrap_or(Ipv4Addr::UNSPECIFIED);
    let Boot { text, fields } = answer::boot(asked);
    let optional = [
        lease.map(|lease| ReplyOption::RenewAfter(lease / 2)),
        lease.map(|lease| ReplyOption::RebindAfter(lease / 8 * 7)),
        Some(ReplyOption::BroadcastAddress(subnet.cidr.broadcast())),
        host_name(asked).map(ReplyOption::HostName),
        subnet
            .domain
            .clone()
            .filter(|_| !names_own(asked, DOMAIN_NAME))
            .map(ReplyOption::DomainName),
    ];
    let wanted = optional
        .into_iter()
        .flatten()
        .filter(|option| asked.request.wants(option.code()));
    reply.options.extend(wanted);
    reply.options.extend(client_name(asked, subnet));
    reply.options.extend(named_options(asked, subnet));
    // The last, because what a quirk adds stands in place of anything with the same code.
    if let Some(fields) = fields {
        fields.write(asked, &mut reply);
    }
    (reply, text)
}

/// Whether the operator named an option for the machine itself.
fn names_own(asked: &Asked<'_>, code: u8) -> bool {
    let own = asked.who.settings();
    own.is_some_and(|own| own.options.contains_key(&code))
}

/// What a listed host is called by DHCP.
fn host_name(asked: &Asked<'_>) -> Option<String> {
    asked.who.host().map(|host| host.host_name().to_owned())
}

/// The answer to a client that says its full name (RFC 4702 section 4), which it must get.
fn client_name(asked: &Asked<'_>, subnet: &Subnet) -> Option<ReplyOption> {
    let client = asked.request.client_name.clone()?;
    let own = asked.who.settings().and_then(BootSettings::domain);
    let domain = own.or(subnet.domain.as_deref());
    let name = match (host_name(asked), domain) {
        (Some(name), Some(domain)) if !name.contains('.') => Some(format!("{name}.{domain}")),
        (Some(name), _) => Some(name),
        // Who knows only a part of its name is told all of it (RFC 4702 section 4), where that is one.
        (None, Some(domain)) => {
            let whole = client.partial().map(|part| format!("{part}.{domain}"));
            whole.filter(|name| text::is_domain_name(name))
        }
        (None, None) => None,
    };
    Some(ReplyOption::ClientName { asked: client, name })
}

/// The options that the operator named for the subnet and for the machine, the machine's first.
fn named_options<'a>(asked: &'a Asked<'_>, subnet: &'a Subnet) -> impl Iterator<Item = ReplyOption> + 'a {
    let own = asked.who.settings().map(|settings| &settings.options);
    let is_own = move |code: &u8| own.is_some_and(|own| own.contains_key(code));
    let common = subnet.options.iter().filter(move |(code, _)| !is_own(code));
    own.into_iter()
        .flatten()
        .chain(common)
        .map(|(_, option)| &option.value)
        .filter(|option| option.always || asked.request.wants(option.code))
        .map(|option| ReplyOption::Raw(routed(option, subnet)))
}

/// The option as it is sent: the subnet's router stands among the classless routes too.
fn routed(option: &RawOption, subnet: &Subnet) -> RawOption {
    let mut option = option.clone();
    if let Some(router) = subnet.router.filter(|_| option.code == CLASSLESS_ROUTES) {
        option_body::add_default_route(&mut option.body, router);
    }
    option
}

/// Plain BOOTP (RFC 951): a listed host gets its reservation, for ever, and DHCP's options are not
/// for it (RFC 1534). A pool can't serve it, because it never gives an address back.
fn bootp(asked: &Asked<'_>, subnet: &Subnet, leases: &mut LeaseTable) -> Outcome {
    let address = match address::reservation(asked, subnet, leases) {
        Reservation::Free(address) => address,
        Reservation::Taken { address, by } => {
            return asked.ignored(format!(
                "it is plain BOOTP, and its address {address} is leased to {by}"
            ));
        }
        Reservation::Beside { address, by } => {
            let why = NotItsOwn::OtherInterface { by };
            return asked.ignored(format!("it is plain BOOTP, and its address {address} {why}"));
        }
        Reservation::None => return asked.ignored("it is plain BOOTP, and no address is reserved for it"),
    };
    // It never renews: what it was given gives way to a system that does.
    let client = asked.request.hardware;
    let change = leases.hold(asked.now, client, address, limits::LEASE_LONGEST, Tenure::Boot);
    let (mut reply, boot) = described(asked, subnet, ReplyKind::Bootp, None);
    reply.your_address = address;
    // It has no option 54: this is where a client finds out who answers, whatever it boots.
    reply.next_server = asked.address;
    asked.replied(reply, change, Step::Acknowledged { address, boot })
}

/// What the client is told and what the table keeps must be the same.
fn lease_time(subnet: &Subnet) -> Duration {
    subnet.lease.min(limits::LEASE_LONGEST)
}
