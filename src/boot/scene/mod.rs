//! The values that templates name, of one machine at one moment. What a template is, and how one is rendered, is
//! `render`'s, which knows no machines.
//!
//! An unknown value is an empty text, so that a script can ask `if uuid`; `image` and `answer`
//! are `none` where the machine has none, so that using them is an error that names the line.

mod sample;
mod variables;

use crate::boot::{
    event::DiskReason,
    gate::Gate,
    machine::{Identity, Who},
    paths,
    render::{TemplateError, TemplateValues},
    snapshot::{BootSettings, Host, Image, Snapshot, Subnet, Var},
};
use crate::model::{Arch, Cpu, Firmware, Name, Token, limits::TEXT_AT_ONCE_VALUES_BYTES_MAX, text};
use minijinja::Value;
pub use sample::{STRANGER, sample_identity};
use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};
use variables::{
    AnswerVariables, CallbackVariables, DiskVariables, ImageVariables, OrderVariables, Variables, Vars, lazy_object,
    vars_value,
};

/// Whom a text is for, and where it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The machine as the inventory knows it.
    pub who: Who<'a>,
    /// What it boots now.
    pub gate: Gate<'a>,
    /// The token of its install, where that is under way.
    pub install: Option<Token>,
    /// What it is known by.
    pub identity: &'a Identity,
    /// Its address; its reservation where the caller knows none.
    pub address: Option<IpAddr>,
    /// The address of ours that it talks to.
    pub server: IpAddr,
    /// What becomes of secrets in the text.
    pub secrets: Secrets,
}

/// What becomes of secrets in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// They stand in it: an answer of an install under way, asked for by the host itself.
    Revealed,
    /// Something stands for them: a text that no machine gets.
    BlackedOut,
    /// To name one is an error.
    Withheld,
}

/// The variables of one machine, ready for any number of templates.
#[derive(Clone, Debug)]
pub struct TemplateContext {
    value: Value,
    is_small: bool,
    has_revealed: bool,
}

impl TemplateContext {
    /// Whether a secret may stand in what is rendered with it: what goes wrong is said without its words.
    pub fn has_revealed(&self) -> bool {
        self.has_revealed
    }

    /// The variables of a scene.
    ///
    /// # Errors
    /// When a value has a control character: what clients say is checked here once more, whatever
    /// road it came by.
    pub fn new(snapshot: &Snapshot, scene: &Scene<'_>) -> Result<TemplateContext, TemplateError> {
        let Scene {
            who,
            gate,
            install,
            identity,
            address,
            server,
            secrets,
        } = *scene;
        let host = who.host();
        let settings = who.settings();
        let mac = identity
            .mac
            .or_else(|| host.and_then(|host| host.macs.first().copied()));
        let address = address.or_else(|| host.and_then(|host| host.address.map(IpAddr::from)));
        let subnet = snapshot.subnet_of(address.unwrap_or(server));
        let dns = settings
            .and_then(BootSettings::dns)
            .or_else(|| subnet.map(|subnet| subnet.dns.clone()))
            .unwrap_or_default();
        let image = settings
            .and_then(|settings| settings.image.as_ref())
            .and_then(|image| snapshot.images.get(&image.value));
        let name = identity.key(who).to_string();
        let http = paths::http_base(server, snapshot.ports);
        let variables = Variables {
            hostname: host.map_or(name.as_str(), |host| host.host_name()).to_owned(),
            mac,
            uuid: identity.uuid.or_else(|| host.and_then(|host| host.uuid)),
            serial: serial_of(host, identity).to_owned(),
            vendor: identity.vendor.clone().unwrap_or_default(),
            arch: cpu_of(identity.arch, image),
            platform: platform_of(identity.arch),
            address,
            netmask: subnet.map(|subnet| subnet.cidr.mask()),
            router: subnet.and_then(|subnet| subnet.router),
            dns,
            domain: domain_of(settings, subnet).to_owned(),
            server,
            ports: snapshot.ports,
            syslog: snapshot.syslog,
            loader: snapshot
                .named_loader(settings, identity.arch)
                .unwrap_or_default()
                .to_owned(),
            image: image.map_or_else(none, |image| lazy_object(image_variables(image, &http))),
            cmdline: command_line(image, settings),
            answer: settings
                .and_then(|settings| settings.answer.as_ref())
                .map_or_else(none, |answer| {
                    lazy_object(answer_variables(snapshot, &answer.value, &name, &http))
                }),
            callback: callback_of(host, install, &http),
            disk: disk_of(settings),
            live: live_of(snapshot, &http),
            order: order_of(host, install, &http),
            target: target_of(gate),
            disk_reason: disk_reason(gate),
            vars: vars_of(who, secrets),
            name,
            http,
        };
        refuse_control_characters(&variables, settings)?;
        Ok(TemplateContext {
            is_small: bytes_of(&variables, settings) <= TEXT_AT_ONCE_VALUES_BYTES_MAX,
            value: lazy_object(variables),
            has_revealed: secrets == Secrets::Revealed && settings.is_some_and(BootSettings::has_secrets),
        })
    }
}

impl TemplateValues for TemplateContext {
    fn value(&self) -> Value {
        self.value.clone()
    }

    fn is_small(&self) -> bool {
        self.is_small
    }
}

fn none() -> Value {
    Value::from(())
}

fn vars_of(who: Who<'_>, secrets: Secrets) -> Vars {
    match who {
        Who::Host(host) => Vars::OfHost(Arc::clone(host), secrets, OnceLock::new()),
        // No machine of a rule is ever armed.
        Who::Rule(rule) => Vars::Taken(vars_value(&rule.settings, Secrets::Withheld)),
        Who::Unknown => Vars::Taken(vars_value(&BootSettings::default(), Secrets::Withheld)),
    }
}

/// What the machine says, and where it does not say, what is listed.
fn serial_of<'a>(host: Option<&'a Arc<Host>>, identity: &'a Identity) -> &'a str {
    let listed = || host.and_then(|host| host.serial.as_deref());
    identity.serial.as_deref().or_else(listed).unwrap_or_default()
}

/// What the machine says it is, and where it does not say, what its image is for.
fn cpu_of(arch: Option<Arch>, image: Option<&Image>) -> &'static str {
    arch.map(|arch| arch.cpu)
        .or_else(|| image.and_then(|image| image.cpu))
        .map_or("", Cpu::name)
}

fn platform_of(arch: Option<Arch>) -> &'static str {
    match arch.map(|arch| arch.firmware) {
        Some(Firmware::Bios | Firmware::BiosHttp) => "bios",
        Some(Firmware::Uefi | Firmware::UefiHttp) => "efi",
        Some(Firmware::RaspberryPi | Firmware::Pxelinux) | None => "unknown",
    }
}

/// The URLs of a host's install.
fn callback_of(host: Option<&Arc<Host>>, install: Option<Token>, http: &str) -> Value {
    let base = host
        .zip(install)
        .map(|(host, token)| paths::callback_base(http, &host.name, &token));
    base.map_or_else(none, |base| lazy_object(CallbackVariables { base }))
}

/// The rule for the disk that a machine's install may erase.
fn disk_of(settings: Option<&BootSettings>) -> Value {
    let rule = settings.and_then(|settings| settings.disk.as_ref());
    rule.map_or_else(none, |rule| lazy_object(DiskVariables(rule.value.clone())))
}

/// Our own live system.
fn live_of(snapshot: &Snapshot, http: &str) -> Value {
    let live = snapshot.images.get(&snapshot.live);
    live.map_or_else(none, |live| lazy_object(image_variables(live, http)))
}

/// Where a host's order is.
fn order_of(host: Option<&Arc<Host>>, install: Option<Token>, http: &str) -> Value {
    let url = host
        .zip(install)
        .map(|(host, token)| paths::order_url(http, &host.name, &token));
    url.map_or_else(none, |url| lazy_object(OrderVariables { url }))
}

fn domain_of<'a>(settings: Option<&'a BootSettings>, subnet: Option<&'a Subnet>) -> &'a str {
    let of_subnet = subnet.and_then(|subnet| subnet.domain.as_deref());
    settings
        .and_then(BootSettings::domain)
        .or(of_subnet)
        .unwrap_or_default()
}

/// Why a machine boots its disk; what the inventory says of it is no news.
fn disk_reason(gate: Gate<'_>) -> Option<DiskReason> {
    match gate {
        Gate::Disk(why) => Some(why).filter(|why| *why != DiskReason::Configured),
        Gate::Network { .. } | Gate::ShowIdentity | Gate::LeaseOnly | Gate::Ignore => None,
    }
}

fn target_of(gate: Gate<'_>) -> &'static str {
    match gate {
        Gate::Network { target, .. } => target.name(),
        Gate::Disk(_) => "local",
        Gate::ShowIdentity => "discover",
        Gate::LeaseOnly | Gate::Ignore => "",
    }
}

fn image_variables(image: &Image, http: &str) -> ImageVariables {
    let base = paths::image_url(http, &image.name, "");
    ImageVariables {
        name: image.name.clone(),
        kernel_file: image
            .kernel
            .as_ref()
            .map_or_else(String::new, |kernel| kernel.file.clone()),
        initrds: image.initrds.iter().map(|initrd| initrd.file.clone()).collect(),
        disk_file: image.disk.as_ref().map_or_else(String::new, |disk| disk.file.clone()),
        base,
    }
}

fn answer_variables(snapshot: &Snapshot, answer: &Name, machine: &str, http: &str) -> AnswerVariables {
    let base = paths::answer_base(http, machine);
    let file = snapshot.templates.single_file(answer.as_str()).unwrap_or_default();
    AnswerVariables {
        url: [base.as_str(), file].concat(),
        base,
    }
}

/// The image's parameters first, so that the inventory can overrule them: the kernel takes the
/// last of a kind.
fn command_line(image: Option<&Image>, settings: Option<&BootSettings>) -> String {
    let of_image = image.map_or(&[][..], |image| &image.cmdline);
    let of_settings = settings.map_or(&[][..], |settings| &settings.cmdline);
    let mut line = String::new();
    let parameters = of_image
        .iter()
        .chain(of_settings.iter().map(|parameter| &parameter.value));
    for (place, parameter) in parameters.enumerate() {
        if place > 0 {
            line.push(' ');
        }
        line.push_str(parameter);
    }
    line
}

fn refuse_control_characters(variables: &Variables, settings: Option<&BootSettings>) -> Result<(), TemplateError> {
    let texts = [
        ("serial", variables.serial.as_str()),
        ("vendor", variables.vendor.as_str()),
        ("domain", variables.domain.as_str()),
        ("cmdline", variables.cmdline.as_str()),
    ];
    let in_text = texts
        .into_iter()
        .find(|(_, value)| text::control_character(value).is_some());
    let in_vars = || {
        settings
            .into_iter()
            .flat_map(|settings| &settings.vars)
            .find(|(key, var)| text::control_character(key).is_some() || has_control_character(&var.value))
    };
    let named = in_text
        .map(|(name, _)| name.to_owned())
        .or_else(|| in_vars().map(|(key, _)| format!("vars.{}", text::escape(key.as_bytes()))));
    match named {
        None => Ok(()),
        Some(name) => Err(TemplateError {
            file: None,
            line: None,
            column: None,
            message: format!(
                "`{name}` of {} has a control character and is kept out of templates",
                variables.name
            ),
        }),
    }
}

/// Bytes of the values that may have any length, with something for each part of a list or a table.
fn bytes_of(variables: &Variables, settings: Option<&BootSettings>) -> usize {
    let texts = [
        &variables.serial,
        &variables.vendor,
        &variables.domain,
        &variables.cmdline,
        &variables.hostname,
    ];
    let of_vars = settings.into_iter().flat_map(|settings| &settings.vars);
    texts.map(String::len).iter().sum::<usize>()
        + of_vars
            .map(|(key, var)| key.len() + bytes_of_var(&var.value))
            .sum::<usize>()
}

fn bytes_of_var(var: &Var) -> usize {
    let beneath = match var {
        Var::Bool(_) | Var::Integer(_) | Var::Float(_) => 0,
        Var::Text(text) => text.len(),
        Var::Secret(secret) => secret.reveal().map_or(0, str::len),
        Var::List(items) => items.iter().map(bytes_of_var).sum(),
        Var::Table(table) => table.iter().map(|(key, var)| key.len() + bytes_of_var(var)).sum(),
    };
    size_of::<Var>() + beneath
}

fn has_control_character(var: &Var) -> bool {
    match var {
        Var::Bool(_) | Var::Integer(_) | Var::Float(_) => false,
        Var::Text(text) => text::control_character(text).is_some(),
        Var::Secret(secret) => secret
            .reveal()
            .is_some_and(|value| text::control_character(value).is_some()),
        Var::List(items) => items.iter().any(has_control_character),
        Var::Table(table) => table
            .iter()
            .any(|(key, var)| text::control_character(key).is_some() || has_control_character(var)),
    }
}
