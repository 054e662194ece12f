//! The settings that hosts, rules and profiles share, as they are written.

use super::{
    decode::{self, Fields, Reader, Value},
    disk, options, secrets,
};
use crate::boot::snapshot::{BootSettings, Sourced, Var, VarTable};
use crate::model::{
    BootTarget, Name,
    limits::{INSTALL_TIMEOUT_MAX, INSTALL_TIMEOUT_MIN},
    text,
};
use std::time::Duration;
use toml::de::DeValue;

const TARGETS: &[(&str, BootTarget)] = &[
    ("install", BootTarget::Install),
    ("live", BootTarget::Live),
    ("local", BootTarget::Local),
    ("rescue", BootTarget::Rescue),
    ("discover", BootTarget::Discover),
];

/// The settings that hosts, rules and profiles share.
pub(super) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> BootSettings {
    BootSettings {
        boot: fields.take(reader, "boot", |reader, value| decode::word(reader, value, TARGETS)),
        image: fields.take(reader, "image", decode::parsed::<Name>),
        script: fields.take(reader, "script", decode::parsed::<Name>),
        answer: fields.take(reader, "answer", decode::parsed::<Name>),
        loaders: fields.take_all(reader, "loader", decode::some_text),
        cmdline: fields.take_all(reader, "cmdline", decode::some_text),
        options: options::read_own(reader, fields),
        install_timeout: fields.take(reader, "install_timeout", install_timeout),
        disk: fields.take(reader, "disk", disk::selector).map(Box::new),
        grow: fields.take(reader, "grow", decode::boolean),
        after: fields.take(reader, "after", disk::after),
        vars: fields
            .value("vars")
            .map_or_else(VarTable::default, |value| vars(reader, value)),
    }
}

/// How long nothing may be heard of an install before it has failed.
fn install_timeout(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Duration> {
    let read = decode::duration(reader, value)?;
    if !(INSTALL_TIMEOUT_MIN..=INSTALL_TIMEOUT_MAX).contains(&read) {
        let help = "write a time from 1m to 7d in which every installer of it is heard of";
        reader.error(value, "no install can be waited for so long, or so short", help);
        return None;
    }
    Some(read)
}

fn vars(reader: &mut Reader<'_>, value: &Value<'_>) -> VarTable {
    let DeValue::Table(table) = value.get_ref() else {
        reader.error(value, "`vars` must be a table", "write vars = { disk = \"/dev/vda\" }");
        return VarTable::default();
    };
    let mut vars = Vec::with_capacity(table.len());
    for (key, item) in table.iter() {
        let origin = reader.origin(item);
        let identity = key.get_ref();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if identity.is_empty() || !identity.chars().all(is_word) || identity.starts_with(|c: char| c.is_ascii_digit()) {
            let shown = text::escape(identity.as_bytes());
            let message = format_args!("a template can't name the variable `{shown}`");
            reader
                .problems
                .error(&origin, message, "use letters, digits and `_`, a letter first");
        }
        // What can't be read has been reported; a template must not miss it as well.
        let read = match secrets::is_secret(item) {
            true => secrets::read(reader, item),
            false => decode::var(reader, item),
        };
        let value = read.unwrap_or_else(|| Var::Text("unread".to_owned()));
        vars.push((&**identity, Sourced { value, origin }));
    }
    vars.into_iter().collect()
}
