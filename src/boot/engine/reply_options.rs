//! What a reply says beside the address: the options of the subnet and of the machine, names and times.

use super::{
    RequestContext,
    boot_fields::{self, BootFields, BootInstruction},
};
use crate::boot::{
    event::{BootDecision, BootFile, Stage},
    paths, proxmox,
    snapshot::{BootSettings, Subnet},
};
use crate::model::{limits, text};
use crate::proto::dhcp::{
    RawOption, Reply, ReplyKind, ReplyOption,
    option_body::{self, CLASSLESS_ROUTES, LOG_SERVERS},
};
use std::{net::Ipv4Addr, time::Duration};

/// A reply, and the boot file that it names.
pub(super) type Described = (Reply, Option<BootFile>);

const DNS_SERVERS: u8 = 6;
const DOMAIN_NAME: u8 = 15;

/// A reply with everything a client is told beside its address. Without a `lease` (INFORM) it says
/// nothing of times.
pub(super) fn reply_with_options(
    context: &RequestContext<'_>,
    subnet: &Subnet,
    kind: ReplyKind,
    lease: Option<Duration>,
) -> (Described, BootDecision) {
    let mut reply = Reply::to(context.request, kind, context.server_identifier());
    reply.options.extend(lease.map(ReplyOption::LeaseTime));
    reply.options.push(ReplyOption::SubnetMask(subnet.cidr.mask()));
    reply.options.extend(subnet.router.map(ReplyOption::Router));
    // A machine's own stand among the options that are named for it.
    if !subnet.dns.is_empty() && !overrides_option(context, DNS_SERVERS) {
        reply.options.push(ReplyOption::DnsServers(subnet.dns.clone()));
    }
    reply.next_server = boot_fields::server(context).unwrap_or(Ipv4Addr::UNSPECIFIED);
    let BootInstruction { decision, fields } = boot_fields::boot_instruction(context);
    let optional = [
        lease.map(|lease| ReplyOption::RenewAfter(lease / 2)),
        lease.map(|lease| ReplyOption::RebindAfter(lease / 8 * 7)),
        Some(ReplyOption::BroadcastAddress(subnet.cidr.broadcast())),
        host_name(context).map(ReplyOption::HostName),
        subnet
            .domain
            .clone()
            .filter(|_| !overrides_option(context, DOMAIN_NAME))
            .map(ReplyOption::DomainName),
    ];
    let wanted = optional
        .into_iter()
        .flatten()
        .filter(|option| context.request.wants(option.code()));
    reply.options.extend(wanted);
    reply.options.extend(client_name(context, subnet));
    reply.options.extend(named_options(context, subnet));
    reply.options.extend(proxmox_answer(context, subnet));
    let is_named = subnet.options.contains_key(&LOG_SERVERS);
    reply.options.extend(log_server(context).filter(|_| !is_named));
    reply.options.extend(boot_fields::ends_wait(context));
    // The last, because what a quirk adds stands in place of anything with the same code.
    let boot_file = fields.and_then(|fields: BootFields| fields.write(context, &mut reply));
    ((reply, boot_file), decision)
}

/// Whether the operator named an option for the machine itself.
fn overrides_option(context: &RequestContext<'_>, code: u8) -> bool {
    let own = context.who.settings();
    own.is_some_and(|own| own.options.contains_key(&code))
}

/// What a listed host is called by DHCP.
fn host_name(context: &RequestContext<'_>) -> Option<String> {
    context.who.host().map(|host| host.host_name().to_owned())
}

/// The answer to a client that says its full name (RFC 4702 section 4), which it must get.
fn client_name(context: &RequestContext<'_>, subnet: &Subnet) -> Option<ReplyOption> {
    let client = context.request.client_name.clone()?;
    let own = context.who.settings().and_then(BootSettings::domain);
    let domain = own.or(subnet.domain.as_deref());
    let name = match (host_name(context), domain) {
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
fn named_options<'a>(context: &'a RequestContext<'_>, subnet: &'a Subnet) -> impl Iterator<Item = ReplyOption> + 'a {
    let own = context.who.settings().map(|settings| &settings.options);
    let is_own = move |code: &u8| own.is_some_and(|own| own.contains_key(code));
    let common = subnet.options.iter().filter(move |(code, _)| !is_own(code));
    own.into_iter()
        .flatten()
        .chain(common)
        .map(|(_, option)| &option.value)
        .filter(|option| option.always || context.request.wants(option.code))
        .map(|option| ReplyOption::Raw(routed(option, subnet)))
}

/// Where Proxmox's installer finds its answer: it asks for option 250, which is anybody's by its number, and takes the
/// URL that it is told, if its medium was prepared for that and with none. An operator's own stands before it; so does the
/// certificate's fingerprint (251), which our server, that has none, never sends of itself.
fn proxmox_answer(context: &RequestContext<'_>, subnet: &Subnet) -> Option<ReplyOption> {
    let is_asked = context
        .request
        .wanted_options
        .as_ref()?
        .contains(&proxmox::ANSWER_OPTION);
    let is_named =
        overrides_option(context, proxmox::ANSWER_OPTION) || subnet.options.contains_key(&proxmox::ANSWER_OPTION);
    let host = context.who.host().filter(|_| is_asked && !is_named)?;
    let file = proxmox::answer_file(&context.snapshot.templates, Some(&host.settings))?;
    let base = paths::http_base(context.address, context.snapshot.ports);
    Some(ReplyOption::Raw(RawOption {
        code: proxmox::ANSWER_OPTION,
        body: proxmox::answer_url(&base, host.name.as_str(), file).into_bytes(),
        always: false,
    }))
}

/// That we take what a machine logs: for iPXE, which logs what it shows, and for whoever asks. Nobody else is sent what
/// they did not ask for, and the operator's own stands before it.
pub(super) fn log_server(context: &RequestContext<'_>) -> Option<ReplyOption> {
    let asks = context.request.wanted_options.as_ref();
    let asks = asks.is_some_and(|wanted| wanted.contains(&LOG_SERVERS));
    let is_told = asks || matches!(context.stage, Stage::Ipxe | Stage::BareIpxe);
    let is_told = is_told && !overrides_option(context, LOG_SERVERS);
    (context.snapshot.syslog && is_told).then(|| {
        ReplyOption::Raw(RawOption {
            code: LOG_SERVERS,
            body: context.address.octets().to_vec(),
            always: true,
        })
    })
}

/// The option as it is sent: the subnet's router stands among the classless routes too.
fn routed(option: &RawOption, subnet: &Subnet) -> RawOption {
    let mut option = option.clone();
    if let Some(router) = subnet.router.filter(|_| option.code == CLASSLESS_ROUTES) {
        option_body::add_default_route(&mut option.body, router);
    }
    option
}

/// What the client is told and what the table keeps must be the same.
pub(super) fn lease_time(subnet: &Subnet) -> Duration {
    subnet.lease.min(limits::LEASE_MAX)
}
