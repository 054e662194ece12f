//! What a template may name: the plain values of one machine at one moment.
//!
//! A value nobody knows is an empty text, so that a script can ask `if uuid`; `image` and `answer`
//! are `none` where the machine has none, so that using them is an error that names the line.

use super::TemplateError;
use crate::boot::{
    gate::{Gate, gate},
    machine::{Identity, Who},
    paths,
    snapshot::{BootSettings, Image, Snapshot, Subnet, Var},
};
use crate::model::{Arch, Cpu, Firmware, Name, text};
use minijinja::value::{Serde, Value};
use serde::Serialize;
use std::{collections::BTreeMap, net::Ipv4Addr};

/// Every variable of a template, in the order the documentation has them.
pub const VARIABLES: &[&str] = &[
    "name",
    "mac",
    "mac_hyphens",
    "uuid",
    "serial",
    "vendor",
    "arch",
    "platform",
    "address",
    "netmask",
    "router",
    "dns",
    "domain",
    "server",
    "http",
    "image",
    "cmdline",
    "answer",
    "target",
    "vars",
];

/// The variables of one machine, ready for any number of templates.
#[derive(Clone, Debug)]
pub struct Scene(Value);

#[derive(Serialize)]
struct Variables<'a> {
    name: String,
    mac: String,
    mac_hyphens: String,
    uuid: String,
    serial: &'a str,
    vendor: &'a str,
    arch: &'static str,
    platform: &'static str,
    address: String,
    netmask: String,
    router: String,
    dns: Vec<String>,
    domain: &'a str,
    server: String,
    http: String,
    image: Option<ImageVariables<'a>>,
    cmdline: String,
    answer: Option<AnswerVariables>,
    target: &'static str,
    vars: BTreeMap<&'a str, &'a Var>,
}

#[derive(Serialize)]
struct ImageVariables<'a> {
    name: &'a str,
    base: String,
    kernel: String,
    kernel_file: &'a str,
    initrds: Vec<FileVariables<'a>>,
    disk: String,
    disk_file: &'a str,
}

#[derive(Serialize)]
struct FileVariables<'a> {
    url: String,
    file: &'a str,
}

#[derive(Serialize)]
struct AnswerVariables {
    base: String,
    url: String,
}

impl Scene {
    /// The variables of the machine `who`, known by `identity`, at `address` (its reservation
    /// where the caller knows none), talking to our address `server`.
    ///
    /// # Errors
    /// When a value has a control character: what clients say is checked here once more, whatever
    /// road it came by.
    pub fn new(
        snapshot: &Snapshot,
        who: Who<'_>,
        identity: &Identity,
        address: Option<Ipv4Addr>,
        server: Ipv4Addr,
    ) -> Result<Scene, TemplateError> {
        let host = who.host();
        let settings = who.settings();
        let mac = identity
            .mac
            .or_else(|| host.and_then(|host| host.macs.first().copied()));
        let serial = identity.serial.as_deref();
        let address = address.or_else(|| host.and_then(|host| host.address));
        let subnet = subnet_of(snapshot, address.unwrap_or(server));
        let dns = settings
            .and_then(BootSettings::dns)
            .or_else(|| subnet.map(|subnet| subnet.dns.clone()))
            .unwrap_or_default();
        let image = settings
            .and_then(|settings| settings.image.as_ref())
            .and_then(|image| snapshot.images.get(&image.value));
        let name = identity.name(who);
        let variables = Variables {
            mac: shown(mac),
            mac_hyphens: mac.map(|mac| mac.hyphenated()).unwrap_or_default(),
            uuid: shown(identity.uuid.or_else(|| host.and_then(|host| host.uuid))),
            serial: serial
                .or_else(|| host.and_then(|host| host.serial.as_deref()))
                .unwrap_or_default(),
            vendor: identity.vendor.as_deref().unwrap_or_default(),
            arch: cpu_of(identity.arch, image),
            platform: platform_of(identity.arch),
            address: shown(address),
            netmask: shown(subnet.map(|subnet| subnet.cidr.mask())),
            router: shown(subnet.and_then(|subnet| subnet.router)),
            dns: dns.iter().map(ToString::to_string).collect(),
            domain: settings
                .and_then(BootSettings::domain)
                .or(subnet.and_then(|subnet| subnet.domain.as_deref()))
                .unwrap_or_default(),
            server: server.to_string(),
            http: paths::http_base(server, snapshot.ports),
            image: image.map(|image| image_variables(snapshot, image, server)),
            cmdline: command_line(image, settings),
            answer: settings
                .and_then(|settings| settings.answer.as_ref())
                .map(|answer| answer_variables(snapshot, &answer.value, &name, server)),
            target: target_of(gate(snapshot, who)),
            vars: settings.map_or_else(BTreeMap::new, plain_vars),
            name,
        };
        refuse_control_characters(&variables)?;
        Ok(Scene(Value::from(Serde(&variables))))
    }

    pub(super) fn value(&self) -> Value {
        self.0.clone()
    }
}

fn shown<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn subnet_of(snapshot: &Snapshot, address: Ipv4Addr) -> Option<&Subnet> {
    snapshot.subnets.iter().find(|subnet| subnet.cidr.contains(address))
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
        Some(Firmware::RaspberryPi) | None => "unknown",
    }
}

fn target_of(gate: Gate<'_>) -> &'static str {
    match gate {
        Gate::Network { target, .. } => target.name(),
        Gate::Disk(_) => "local",
        Gate::Introduce => "discover",
        Gate::LeaseOnly | Gate::Silence => "",
    }
}

fn image_variables<'s>(snapshot: &Snapshot, image: &'s Image, server: Ipv4Addr) -> ImageVariables<'s> {
    let url = |file: &str| paths::image_url(server, snapshot.ports, &image.name, file);
    let kernel = image.kernel.as_ref().map_or("", |kernel| &kernel.file);
    let disk = image.disk.as_ref().map_or("", |disk| &disk.file);
    ImageVariables {
        name: image.name.as_str(),
        base: url(""),
        kernel: if kernel.is_empty() { String::new() } else { url(kernel) },
        kernel_file: kernel,
        initrds: image
            .initrds
            .iter()
            .map(|initrd| FileVariables {
                url: url(&initrd.file),
                file: &initrd.file,
            })
            .collect(),
        disk: if disk.is_empty() { String::new() } else { url(disk) },
        disk_file: disk,
    }
}

fn answer_variables(snapshot: &Snapshot, answer: &Name, machine: &str, server: Ipv4Addr) -> AnswerVariables {
    let base = paths::answer_base(server, snapshot.ports, machine);
    let file = snapshot.templates.single_file(answer.as_str()).unwrap_or_default();
    AnswerVariables {
        url: format!("{base}{file}"),
        base,
    }
}

/// The image's parameters first, so that the inventory can overrule them: the kernel takes the
/// last of a kind.
fn command_line(image: Option<&Image>, settings: Option<&BootSettings>) -> String {
    let of_image = image
        .into_iter()
        .flat_map(|image| image.cmdline.iter().map(String::as_str));
    let of_settings = settings
        .into_iter()
        .flat_map(|settings| settings.cmdline.iter().map(|parameter| parameter.value.as_str()));
    of_image.chain(of_settings).collect::<Vec<&str>>().join(" ")
}

fn plain_vars(settings: &BootSettings) -> BTreeMap<&str, &Var> {
    settings
        .vars
        .iter()
        .map(|(key, var)| (key.as_str(), &var.value))
        .collect()
}

fn refuse_control_characters(variables: &Variables<'_>) -> Result<(), TemplateError> {
    let texts = [
        ("serial", variables.serial),
        ("vendor", variables.vendor),
        ("domain", variables.domain),
        ("cmdline", variables.cmdline.as_str()),
    ];
    let in_text = texts
        .into_iter()
        .find(|(_, value)| text::control_character(value).is_some());
    let in_vars = || {
        variables
            .vars
            .iter()
            .find(|(key, var)| text::control_character(key).is_some() || has_control_character(var))
    };
    let named = in_text
        .map(|(name, _)| name.to_owned())
        .or_else(|| in_vars().map(|(key, _)| format!("vars.{}", text::escape(key.as_bytes()))));
    match named {
        None => Ok(()),
        Some(name) => Err(TemplateError {
            file: None,
            line: None,
            message: format!(
                "`{name}` of {} has a control character and is kept out of templates",
                variables.name
            ),
        }),
    }
}

fn has_control_character(var: &Var) -> bool {
    match var {
        Var::Bool(_) | Var::Integer(_) | Var::Float(_) => false,
        Var::Text(said) => text::control_character(said).is_some(),
        Var::List(items) => items.iter().any(has_control_character),
        Var::Table(table) => table
            .iter()
            .any(|(key, var)| text::control_character(key).is_some() || has_control_character(var)),
    }
}
