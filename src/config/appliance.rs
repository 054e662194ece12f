//! `bootwright.toml`: the appliance's own settings.

mod http;
mod network;
mod recorder;
mod syslog;

use super::{
    Appliance,
    decode::{self, Fields, Reader, Value},
    problems::Problems,
    source::Source,
};
use crate::boot::snapshot::{Origin, UnknownPolicy};
use crate::model::{Name, limits::RECHECK_DEFAULT, text};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use toml::de::DeValue;

/// The state's folder where the file names none.
pub(super) const STATE: &str = "/var/lib/bootwright";
/// The image that `make deployer` makes.
const LIVE_IMAGE: &str = "bootwright-live";
/// Where the operator's socket is unless the settings say otherwise.
pub(super) const SOCKET: &str = "/run/bootwright/admin.sock";

/// The appliance's settings and where its `loaders` stand, for errors that are about them.
pub(super) struct ParsedAppliance {
    pub(super) appliance: Appliance,
    pub(super) loaders_at: Origin,
    pub(super) paths_at: Origin,
}

/// Reads the file; `None` where nothing can be made of it at all.
pub(super) fn read(path: &Path, problems: &mut Problems) -> Option<ParsedAppliance> {
    read_as(path, path, problems)
}

/// The same of a copy: paths in it are relative to the folder of `original`.
pub(super) fn read_as(path: &Path, original: &Path, problems: &mut Problems) -> Option<ParsedAppliance> {
    let source = Source::read(path, problems)?;
    let (root, broken) = decode::document(&source, problems);
    if broken {
        return None;
    }
    let reader = &mut Reader {
        source: &source,
        problems,
    };
    let mut fields = Fields::of(reader, "bootwright.toml", &root)?;
    if is_an_inventory(&fields) {
        let message = "this is an inventory, and bootwright.toml is wanted";
        let help = "name the bootwright.toml whose `inventory` this file is, or the folder it is in";
        problems.unusable(&source.file, message, help);
        return None;
    }
    let base = original.parent().unwrap_or(Path::new(""));
    let network = network::read(reader, fields.value("network"));
    if fields.value("network").is_none() {
        let help = "add [network] with interfaces = [\"eno2\"]";
        reader.error(&root, "there is no [network], so no interface to serve", help);
    }
    let http = http::read(reader, fields.value("http"));
    let (tftp_port, tftp_single_port) = tftp(reader, fields.value("tftp"));
    let paths_value = fields.value("paths");
    let (paths, loaders_at) = paths(reader, paths_value, base);
    let (recheck, live) = images(reader, fields.value("images"));
    let state = state(reader, fields.value("state"), base);
    let admin_socket = admin(reader, fields.value("admin"), base);
    let unknown = unknown(reader, fields.value("unknown"));
    let recorder_bytes = recorder::read(reader, fields.value("recorder"));
    let syslog = syslog::read(reader, fields.value("syslog"));
    fields.finish(reader);
    let top = source.origin(0);
    Some(ParsedAppliance {
        appliance: Appliance {
            interfaces: network.interfaces,
            shared_addresses: network.shared_addresses,
            router_advertisements: network.router_advertisements,
            http_port: http.port,
            bulk_streams: http.bulk_streams,
            hot_images: http.hot_images,
            tftp_port,
            tftp_single_port,
            inventory: paths.inventory,
            scripts: paths.scripts,
            answers: paths.answers,
            images: paths.images,
            loaders: paths.loaders,
            live,
            recheck,
            quirks: paths.quirks,
            state,
            admin_socket,
            unknown,
            recorder_bytes,
            syslog,
        },
        loaders_at: loaders_at.unwrap_or_else(|| top.clone()),
        paths_at: paths_value.map_or(top, |value| source.at(value.span())),
    })
}

/// The folder of the state that the file names, whatever else is wrong with it; `None` where it names none.
pub(super) fn state_named(path: &Path) -> Option<PathBuf> {
    path_named(path, "state", "path")
}

/// The same for the operator's socket.
pub(super) fn socket_named(path: &Path) -> Option<PathBuf> {
    path_named(path, "admin", "socket")
}

fn path_named(path: &Path, table: &str, key: &str) -> Option<PathBuf> {
    let source = Source::read(path, &mut Problems::default())?;
    // What can be read of a broken file may well have it.
    let (root, _) = decode::document(&source, &mut Problems::default());
    let DeValue::Table(root) = root.get_ref() else {
        return None;
    };
    let DeValue::Table(table) = root.get(table)?.get_ref() else {
        return None;
    };
    let written = table.get(key)?.get_ref().as_str()?;
    Some(path.parent().unwrap_or(Path::new("")).join(written))
}

/// Whether the operator named the file they had just edited.
fn is_an_inventory(fields: &Fields<'_>) -> bool {
    let has = |key| fields.has(key);
    !has("network") && (has("subnet") || has("host") || has("profile") || has("rule"))
}

/// The port, and whether it carries the transfers too.
fn tftp(reader: &mut Reader<'_>, value: Option<&Value<'_>>) -> (u16, bool) {
    let default = 69;
    let Some(mut fields) = value.and_then(|value| Fields::of(reader, "[tftp]", value)) else {
        return (default, false);
    };
    let port = fields.take(reader, "port", decode::port);
    let single = fields.take(reader, "single_port", decode::boolean);
    fields.finish(reader);
    (
        port.map_or(default, |port| port.value),
        single.is_some_and(|single| single.value),
    )
}

struct Paths {
    inventory: PathBuf,
    scripts: PathBuf,
    answers: PathBuf,
    images: PathBuf,
    loaders: Vec<PathBuf>,
    quirks: Option<PathBuf>,
}

fn paths(reader: &mut Reader<'_>, value: Option<&Value<'_>>, base: &Path) -> (Paths, Option<Origin>) {
    let mut paths = Paths {
        inventory: base.join("inventory.toml"),
        scripts: base.join("../ipxe-scripts"),
        answers: base.join("answers"),
        images: base.join("../images"),
        loaders: vec![PathBuf::from("/usr/lib/ipxe")],
        quirks: Some(base.join("quirks.toml")).filter(|file| file.exists()),
    };
    let Some(mut fields) = value.and_then(|value| Fields::of(reader, "[paths]", value)) else {
        return (paths, None);
    };
    let mut one = |reader: &mut Reader<'_>, key, path: &mut PathBuf| {
        if let Some(written) = fields.take(reader, key, decode::some_text) {
            *path = base.join(written.value);
        }
    };
    one(reader, "inventory", &mut paths.inventory);
    one(reader, "scripts", &mut paths.scripts);
    one(reader, "answers", &mut paths.answers);
    one(reader, "images", &mut paths.images);
    if let Some(written) = fields.take(reader, "quirks", decode::some_text) {
        paths.quirks = Some(base.join(written.value));
    }
    let loaders = fields.take_all(reader, "loaders", decode::some_text);
    let loaders_at = fields.value("loaders").map(|value| reader.origin(value));
    if loaders_at.is_some() {
        paths.loaders = loaders.into_iter().map(|folder| base.join(folder.value)).collect();
    }
    fields.finish(reader);
    (paths, loaders_at)
}

/// How often artifacts are read again, and which image is our own live system.
fn images(reader: &mut Reader<'_>, value: Option<&Value<'_>>) -> (Option<Duration>, Name) {
    let default = (Some(RECHECK_DEFAULT), live_default());
    let Some(mut fields) = value.and_then(|value| Fields::of(reader, "[images]", value)) else {
        return default;
    };
    let live = fields.take(reader, "live", decode::parsed::<Name>);
    let recheck = fields.take(reader, "recheck", |reader, value| match value.get_ref() {
        DeValue::String(written) if written == "off" => Some(None),
        _ => recheck(reader, value).map(Some),
    });
    fields.finish(reader);
    (
        recheck.map_or(default.0, |recheck| recheck.value),
        live.map_or(default.1, |live| live.value),
    )
}

fn live_default() -> Name {
    LIVE_IMAGE.parse().expect("a name that is written here is one")
}

fn recheck(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Duration> {
    let every = decode::duration(reader, value)?;
    if every.is_zero() {
        let help = "write \"off\" to read no image again, or how often, such as \"7d\"";
        reader.error(value, "images can't be read again all the time", help);
        return None;
    }
    Some(every)
}

fn state(reader: &mut Reader<'_>, value: Option<&Value<'_>>, base: &Path) -> PathBuf {
    let default = PathBuf::from(STATE);
    let Some(mut fields) = value.and_then(|value| Fields::of(reader, "[state]", value)) else {
        return default;
    };
    let path = fields.take(reader, "path", decode::some_text);
    fields.finish(reader);
    path.map_or(default, |path| base.join(path.value))
}

fn admin(reader: &mut Reader<'_>, value: Option<&Value<'_>>, base: &Path) -> PathBuf {
    let default = PathBuf::from(SOCKET);
    let Some(mut fields) = value.and_then(|value| Fields::of(reader, "[admin]", value)) else {
        return default;
    };
    let socket = fields.take(reader, "socket", decode::some_text);
    // An address that is written and not served would be looked for in vain.
    let listen = fields.take(reader, "listen", |reader, value| {
        let written = decode::text(reader, value)?;
        let read = written.parse::<SocketAddr>().ok();
        if read.is_none() {
            let message = format_args!("`{}` is not an address and port", text::escape(written.as_bytes()));
            reader.error(value, message, "write it as 127.0.0.1:8067");
        }
        read
    });
    fields.finish(reader);
    if let Some(listen) = listen {
        let message = "`listen` does nothing: this version has no web page, API or metrics over TCP";
        let help = "take it out; `bootwright status --json` and the other commands talk to the `socket`";
        reader.problems.warn(&listen.origin, message, help);
    }
    socket.map_or(default, |socket| base.join(socket.value))
}

const POLICIES: &[(&str, UnknownPolicy)] = &[
    ("discover", UnknownPolicy::Discover),
    ("lease", UnknownPolicy::Lease),
    ("ignore", UnknownPolicy::Ignore),
];

fn unknown(reader: &mut Reader<'_>, value: Option<&Value<'_>>) -> UnknownPolicy {
    let Some(mut fields) = value.and_then(|value| Fields::of(reader, "[unknown]", value)) else {
        return UnknownPolicy::Discover;
    };
    let policy = fields.take(reader, "policy", |reader, value| decode::word(reader, value, POLICIES));
    fields.finish(reader);
    policy.map_or(UnknownPolicy::Discover, |policy| policy.value)
}
