//! What a template's variables are made from. A script names a few of them, and most of their cost
//! is to write them out as text: each is written when a template asks for it.

use crate::boot::{
    event::DiskReason,
    paths::{self, Ports},
    render::VARIABLES,
    scene::Secrets,
    snapshot::{BLACKED_OUT, BootSettings, Host, Var},
};
use crate::model::{CallbackWord, DiskSelector, DiskSize, MacAddr, Name, Pick, Uuid};
use minijinja::{
    Error, ErrorKind,
    value::{Enumerator, Object, Serde, Value},
};
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, OnceLock},
};

/// Something whose parts a template may name.
pub(super) trait TemplateObject: fmt::Debug + Send + Sync + 'static {
    /// Their names, in the order the documentation has them.
    const NAMES: &'static [&'static str];

    /// The value of one, if there is one of that name.
    fn part(&self, name: &str) -> Option<Value>;
}

/// Parts as the template engine takes them: it asks for one at a time.
#[derive(Debug)]
struct LazyObject<T>(T);

impl<T: TemplateObject> Object for LazyObject<T> {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.part(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.0.part(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(T::NAMES)
    }
}

/// A value that a template may take parts of.
pub(super) fn lazy_object(parts: impl TemplateObject) -> Value {
    Value::from_object(LazyObject(parts))
}

/// The variables of one machine.
#[derive(Debug)]
pub(super) struct Variables {
    pub name: String,
    pub hostname: String,
    pub mac: Option<MacAddr>,
    pub uuid: Option<Uuid>,
    pub serial: String,
    pub vendor: String,
    pub arch: &'static str,
    pub platform: &'static str,
    pub address: Option<IpAddr>,
    pub netmask: Option<Ipv4Addr>,
    pub router: Option<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
    pub domain: String,
    pub server: IpAddr,
    pub http: String,
    pub ports: Ports,
    /// Whether it may log to us.
    pub syslog: bool,
    pub loader: String,
    /// `ImageVariables`, or `none`.
    pub image: Value,
    pub cmdline: String,
    /// `AnswerVariables`, or `none`.
    pub answer: Value,
    /// `CallbackVariables`, or `none`.
    pub callback: Value,
    /// `DiskVariables`, or `none`.
    pub disk: Value,
    /// `ImageVariables` of our own live system, or `none`.
    pub live: Value,
    /// `OrderVariables`, or `none`.
    pub order: Value,
    pub target: &'static str,
    pub disk_reason: Option<DiskReason>,
    pub vars: Vars,
}

impl TemplateObject for Variables {
    const NAMES: &'static [&'static str] = VARIABLES;

    fn part(&self, name: &str) -> Option<Value> {
        Some(match name {
            "name" => text(&self.name),
            "hostname" => text(&self.hostname),
            "mac" => shown(self.mac),
            "mac_hyphens" => Value::from(self.mac.map(MacAddr::hyphenated).unwrap_or_default()),
            "uuid" => shown(self.uuid),
            "serial" => text(&self.serial),
            "vendor" => text(&self.vendor),
            "arch" => text(self.arch),
            "platform" => text(self.platform),
            "address" => shown(self.address),
            "netmask" => shown(self.netmask),
            "router" => shown(self.router),
            "dns" => self.dns.iter().map(ToString::to_string).collect(),
            "domain" => text(&self.domain),
            "server" => shown(Some(self.server)),
            "http" => text(&self.http),
            "tftp" => Value::from(paths::tftp_base(self.server, self.ports)),
            "syslog" => shown(self.syslog.then_some(self.server)),
            "loader" => text(&self.loader),
            "image" => self.image.clone(),
            "cmdline" => text(&self.cmdline),
            "answer" => self.answer.clone(),
            "callback" => self.callback.clone(),
            "disk" => self.disk.clone(),
            "live" => self.live.clone(),
            "order" => self.order.clone(),
            "target" => text(self.target),
            "reason" => shown(self.disk_reason),
            "vars" => self.vars.value(),
            _ => return None,
        })
    }
}

/// The image that a machine boots.
#[derive(Debug)]
pub(super) struct ImageVariables {
    pub name: Name,
    /// The URL of its folder, with a slash at the end.
    pub base: String,
    /// Empty where it has none, as the disk's.
    pub kernel_file: String,
    pub initrds: Vec<String>,
    pub disk_file: String,
}

impl ImageVariables {
    /// A file's URL; empty where the image has no such file.
    fn url(&self, file: &str) -> Value {
        match file {
            "" => Value::from(""),
            file => Value::from([self.base.as_str(), file].concat()),
        }
    }

    fn file(&self, file: &str) -> Value {
        lazy_object(FileVariables {
            base: self.base.clone(),
            file: file.to_owned(),
        })
    }
}

impl TemplateObject for ImageVariables {
    const NAMES: &'static [&'static str] = &[
        "name",
        "base",
        "path",
        "kernel",
        "kernel_file",
        "initrds",
        "disk",
        "disk_file",
    ];

    fn part(&self, name: &str) -> Option<Value> {
        Some(match name {
            "name" => text(self.name.as_str()),
            "base" => text(&self.base),
            "path" => Value::from(paths::image_path(&self.name)),
            "kernel" => self.url(&self.kernel_file),
            "kernel_file" => text(&self.kernel_file),
            "initrds" => self.initrds.iter().map(|file| self.file(file)).collect(),
            "disk" => self.url(&self.disk_file),
            "disk_file" => text(&self.disk_file),
            _ => return None,
        })
    }
}

/// One of an image's initrds.
#[derive(Debug)]
struct FileVariables {
    base: String,
    file: String,
}

impl TemplateObject for FileVariables {
    const NAMES: &'static [&'static str] = &["url", "file"];

    fn part(&self, name: &str) -> Option<Value> {
        match name {
            "url" => Some(Value::from([self.base.as_str(), &self.file].concat())),
            "file" => Some(text(&self.file)),
            _ => None,
        }
    }
}

/// The answer of a machine.
#[derive(Debug)]
pub(super) struct AnswerVariables {
    /// The URL of its folder, with a slash at the end.
    pub base: String,
    /// Of its one file; of the folder where it has several.
    pub url: String,
}

impl TemplateObject for AnswerVariables {
    const NAMES: &'static [&'static str] = &["base", "url"];

    fn part(&self, name: &str) -> Option<Value> {
        match name {
            "base" => Some(text(&self.base)),
            "url" => Some(text(&self.url)),
            _ => None,
        }
    }
}

/// The URLs by which an install says how it is.
#[derive(Debug)]
pub(super) struct CallbackVariables {
    /// What they all begin with, without a slash at the end.
    pub base: String,
}

impl TemplateObject for CallbackVariables {
    const NAMES: &'static [&'static str] = &[
        "base",
        "started",
        "progress",
        "done",
        "failed",
        "phone_home",
        "reporting",
        "proxmox",
    ];

    fn part(&self, name: &str) -> Option<Value> {
        if name == "base" {
            return Some(text(&self.base));
        }
        let word = CallbackWord::ALL.into_iter().find(|word| word.name() == name)?;
        Some(Value::from([self.base.as_str(), "/", word.name()].concat()))
    }
}

/// Where a host that installs finds what it is to write.
#[derive(Debug)]
pub(super) struct OrderVariables {
    pub url: String,
}

impl TemplateObject for OrderVariables {
    const NAMES: &'static [&'static str] = &["url"];

    fn part(&self, name: &str) -> Option<Value> {
        (name == "url").then(|| text(&self.url))
    }
}

/// The rule by which an install chooses its disk, for a text that looks at a machine's disks itself. What the rule
/// does not name is empty.
#[derive(Debug)]
pub(super) struct DiskVariables(pub DiskSelector);

impl TemplateObject for DiskVariables {
    const NAMES: &'static [&'static str] = &[
        "serial",
        "model",
        "model_pattern",
        "by_id",
        "bytes_min",
        "bytes_max",
        "nvme",
        "pick",
        "rule",
    ];

    fn part(&self, name: &str) -> Option<Value> {
        let rule = &self.0;
        let named = |value: &Option<String>| text(value.as_deref().unwrap_or_default());
        let bounds = rule.size.map(DiskSize::bounds);
        Some(match name {
            "serial" => text(rule.serial.as_deref().unwrap_or_default().trim()),
            "model" => named(&rule.model),
            "model_pattern" => Value::from(shell_pattern(rule.model.as_deref().unwrap_or_default().trim())),
            "by_id" => named(&rule.by_id),
            "bytes_min" => shown(bounds.map(|(least, _)| least)),
            "bytes_max" => shown(bounds.map(|(_, most)| most)),
            "nvme" => shown(rule.nvme),
            "pick" => text(rule.pick.map_or("", Pick::name)),
            "rule" => Value::from(rule.to_string()),
            _ => return None,
        })
    }
}

/// A glob as a shell's `case` has it, for a text in small letters: `*` and `?` alone mean more than themselves.
fn shell_pattern(glob: &str) -> String {
    let mut pattern = String::with_capacity(glob.len() + 8);
    let lower = glob.to_ascii_lowercase();
    for part in lower.split_inclusive(['*', '?']) {
        let (word, wildcard) = part.split_at(part.trim_end_matches(['*', '?']).len());
        if !word.is_empty() {
            pattern.push('\'');
            pattern.push_str(&word.replace('\'', "'\"'\"'"));
            pattern.push('\'');
        }
        pattern.push_str(wildcard);
    }
    pattern
}

/// Where a machine's `vars` are.
pub(super) enum Vars {
    /// With the host; made once they are asked for, and then kept for the machine's other texts.
    OfHost(Arc<Host>, Secrets, OnceLock<Value>),
    /// Taken from a rule, or empty.
    Taken(Value),
}

impl Vars {
    fn value(&self) -> Value {
        match self {
            Vars::OfHost(host, secrets, made) => made.get_or_init(|| vars_value(&host.settings, *secrets)).clone(),
            Vars::Taken(vars) => vars.clone(),
        }
    }
}

/// Nothing of them: a secret may have been revealed.
impl fmt::Debug for Vars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vars(..)")
    }
}

/// The inventory's `vars`, as a template takes them.
pub(super) fn vars_value(settings: &BootSettings, secrets: Secrets) -> Value {
    let all = settings.vars.iter().map(|(key, var)| (key, &var.value));
    if !settings.has_secrets() {
        return Value::from(Serde(&all.collect::<BTreeMap<&str, &Var>>()));
    }
    let value = |(key, var)| (Arc::from(key), var_value(key, var, secrets));
    Value::from_object(all.map(value).collect::<BTreeMap<Arc<str>, Value>>())
}

fn var_value(key: &str, var: &Var, secrets: Secrets) -> Value {
    let Var::Secret(secret) = var else {
        return Value::from(Serde(var));
    };
    let withheld = |why: &str| {
        let why = ["`vars.", key, "` is a secret", why].concat();
        Value::from(Error::new(ErrorKind::InvalidOperation, why))
    };
    match (secrets, secret.reveal()) {
        (Secrets::Revealed, Some(value)) => Value::from(value),
        (Secrets::Revealed, None) => withheld(" that could not be read"),
        (Secrets::BlackedOut, _) => Value::from(BLACKED_OUT),
        (Secrets::Withheld, _) => withheld(", and stands in nothing but the answer of a host that installs"),
    }
}

fn text(text: &str) -> Value {
    Value::from(text)
}

fn shown<T: ToString>(value: Option<T>) -> Value {
    Value::from(value.map(|value| value.to_string()).unwrap_or_default())
}
