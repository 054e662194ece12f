//! `quirks.toml`: rows for firmware that needs something of its own, the shipped and the operator's.
//!
//! The shipped table is compiled in, so that a daemon without the file has it. The operator's rows
//! come first, because the first row that says a thing has it; one with a shipped name takes the
//! shipped row's place, empty or not.

mod value;

use super::{
    decode::{self, Fields, Reader, Value},
    first_defined,
    problems::Problems,
    source::Source,
};
use crate::boot::{
    event::Stage,
    loader::Loaders,
    quirks::{Quirk, QuirkMatch, QuirkSet, Quirks},
    snapshot::{Origin, Sourced},
};
use crate::model::{
    MacBlock, MacBlockError,
    limits::{QUIRKS_MAX, TFTP_BLOCK_BYTES_MAX},
    text,
};
use std::{collections::HashMap, fmt, path::Path};
use toml::de::DeValue;

/// The table in the source tree.
const SHIPPED: &str = include_str!("../../config/quirks.toml");
/// What the shipped table is called in errors.
const SHIPPED_FILE: &str = "config/quirks.toml";
/// Options that no client can do without.
const NEVER_LEFT_OUT: [u8; 5] = [1, 51, 53, 54, 82];
/// Options that are the protocol's own, and no row's to write.
const NEVER_ADDED: [u8; 8] = [1, 51, 53, 54, 61, 67, 82, 97];
/// The smallest TFTP block there is (RFC 2348), and the largest that we agree to.
const BLOCK_BYTES: std::ops::RangeInclusive<u16> = 8..=TFTP_BLOCK_BYTES_MAX;

const STAGES: &[(&str, Stage)] = &[
    ("bios-pxe", Stage::BiosPxe),
    ("uefi-pxe", Stage::UefiPxe),
    ("uefi-http", Stage::UefiHttp),
    ("bare-ipxe", Stage::BareIpxe),
    ("ipxe", Stage::Ipxe),
    ("raspberry-pi", Stage::RaspberryPi),
    ("pxelinux", Stage::Pxelinux),
    ("system", Stage::System),
];
/// What firmware can be answered as.
const ANSWERS: &[(&str, Stage)] = &[
    ("bios-pxe", Stage::BiosPxe),
    ("uefi-pxe", Stage::UefiPxe),
    ("uefi-http", Stage::UefiHttp),
    ("raspberry-pi", Stage::RaspberryPi),
    ("pxelinux", Stage::Pxelinux),
];
const REPLIES: &[(&str, bool)] = &[("broadcast", true), ("unicast", false)];

/// A row as it is written.
struct QuirkRow {
    quirk: Quirk,
    loader: Option<Sourced<String>>,
}

/// The shipped table alone.
///
/// # Errors
/// Never for a released daemon: a test reads the table.
pub(super) fn shipped(problems: &mut Problems) -> Quirks {
    let rows = rows(&Source::new(SHIPPED_FILE, SHIPPED.to_owned()), problems);
    Quirks(rows.into_iter().map(|row| row.quirk).collect())
}

/// The operator's rows, if there is a file of them, and the shipped ones behind.
pub(super) fn read(file: Option<&Path>, loaders: &Loaders, problems: &mut Problems) -> Quirks {
    let source = file.and_then(|file| Source::read(file, problems));
    let own = source.map_or_else(Vec::new, |source| rows(&source, problems));
    problems.outside(|problems| validate_loaders(&own, loaders, problems));
    let mut quirks: Vec<Quirk> = own.into_iter().map(|row| row.quirk).collect();
    let behind: Vec<Quirk> = shipped(problems)
        .0
        .into_iter()
        .filter(|shipped| !quirks.iter().any(|own| own.name == shipped.name))
        .collect();
    quirks.extend(behind);
    Quirks(quirks)
}

/// Says the loaders that rows name and that are not there.
fn validate_loaders(own: &[QuirkRow], loaders: &Loaders, problems: &mut Problems) {
    for loader in own.iter().filter_map(|row| row.loader.as_ref()) {
        if loaders.location_of(&loader.value).is_none() {
            let why = loaders.why_unfollowed(&loader.value);
            let shown = text::escaped(&loader.value);
            let help = "name a file beneath a folder of `loaders` under [paths], as firmware asks for it";
            let mut missing = |message: fmt::Arguments<'_>| problems.error(&loader.origin, message, help);
            match why {
                Some(why) => missing(format_args!(
                    "there is no loader `{shown}`: it is a symbolic link, and {why}"
                )),
                None => missing(format_args!("there is no loader `{shown}`")),
            }
        }
    }
}

fn rows(source: &Source, problems: &mut Problems) -> Vec<QuirkRow> {
    let (root, broken) = decode::document(source, problems);
    if broken {
        return Vec::new();
    }
    let reader = &mut Reader { source, problems };
    let Some(mut fields) = Fields::of(reader, "quirks.toml", &root) else {
        return Vec::new();
    };
    let tables = decode::tables(reader, "quirk", fields.value("quirk"));
    fields.finish(reader);
    if tables.len() > QUIRKS_MAX {
        let message = format_args!("these are {} quirks, and {QUIRKS_MAX} are read", tables.len());
        reader.error(
            &root,
            message,
            "every request is held against each of them: take some out",
        );
        return Vec::new();
    }
    let mut rows = Vec::new();
    let mut seen: HashMap<String, Origin> = HashMap::new();
    for value in tables {
        let Some((name, row)) = row(reader, value) else {
            continue;
        };
        match seen.get(&name.value) {
            Some(first) => {
                let message = format_args!("two quirks are called `{}`", name.value);
                reader.problems.error(&name.origin, message, first_defined(first));
            }
            None => {
                seen.insert(name.value, name.origin);
                rows.push(row);
            }
        }
    }
    rows
}

fn row(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<(Sourced<String>, QuirkRow)> {
    let mut fields = Fields::of(reader, "a quirk", value)?;
    let name = fields.take(reader, "name", row_name);
    let why = fields.take(reader, "why", decode::some_text);
    let matches = fields.value("match").map(|written| row_match(reader, written));
    let set = fields.value("set").map(|written| row_set(reader, written));
    let missing = [
        ("name", "add one, such as name = \"old-acme\"; the log shows it"),
        ("why", "say which machines, and what goes wrong without it"),
        (
            "match",
            "add one, such as match = { oui = \"52:54:00\" }; match = {} speaks of every machine",
        ),
        (
            "set",
            "add one, such as set = { tftp_block_max = 512 }; set = {} switches a shipped row off",
        ),
    ];
    for (key, help) in missing {
        if !fields.has(key) {
            reader.error(value, format_args!("this quirk has no `{key}`"), help);
        }
    }
    fields.finish(reader);
    let name = name?;
    let (set, loader) = set??;
    let quirk = Quirk {
        name: name.value.as_str().into(),
        why: why?.value,
        matches: matches??,
        set,
    };
    Some((name, QuirkRow { quirk, loader }))
}

/// A name as log lines show it, several to a line.
fn row_name(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let written = decode::some_text(reader, value)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if written.len() > 64 || !written.chars().all(fits) {
        let message = format_args!("`{}` can't be a quirk's name", text::escape(written.as_bytes()));
        reader.error(value, message, "use up to 64 letters, digits, `-`, `_` and `.`");
        return None;
    }
    Some(written)
}

fn row_match(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<QuirkMatch> {
    let mut fields = Fields::of(reader, "a quirk's match", value)?;
    let matches = QuirkMatch {
        ouis: plain(fields.take_all(reader, "oui", oui)),
        vendor_class: fields
            .take(reader, "vendor_class", decode::some_text)
            .map(|glob| glob.value),
        user_class: fields
            .take(reader, "user_class", decode::some_text)
            .map(|glob| glob.value),
        machine_id: fields
            .take(reader, "machine_id", decode::some_text)
            .map(|glob| glob.value),
        archs: plain(fields.take_all(reader, "arch", |reader, value| {
            value::number(reader, value, 0..=u16::MAX)
        })),
        undi: fields.take(reader, "undi", undi).map(|undi| undi.value),
        stage: fields
            .take(reader, "stage", |reader, value| decode::word(reader, value, STAGES))
            .map(|stage| stage.value),
    };
    for key in ["oui", "arch"] {
        if let Some(list) = fields.value(key)
            && matches!(list.get_ref(), DeValue::Array(items) if items.is_empty())
        {
            reader.error(
                list,
                format_args!("`{key}` lists nothing"),
                "say a value, or leave the key out",
            );
        }
    }
    fields.finish(reader);
    Some(matches)
}

fn row_set(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<(QuirkSet, Option<Sourced<String>>)> {
    let mut fields = Fields::of(reader, "a quirk's set", value)?;
    let loader = fields.take(reader, "loader", decode::some_text);
    let set = QuirkSet {
        stage: fields
            .take(reader, "stage", |reader, value| decode::word(reader, value, ANSWERS))
            .map(|stage| stage.value),
        broadcast: fields
            .take(reader, "reply", |reader, value| decode::word(reader, value, REPLIES))
            .map(|reply| reply.value),
        leave_out: plain(fields.take_all(reader, "leave_out", |reader, value| {
            value::code(reader, value, &NEVER_LEFT_OUT)
        })),
        add: plain(fields.take_all(reader, "add", |reader, value| {
            value::option(reader, value, &NEVER_ADDED)
        })),
        loader: loader.as_ref().map(|loader| loader.value.clone()),
        tftp_block_max: fields
            .take(reader, "tftp_block_max", |reader, value| {
                value::number(reader, value, BLOCK_BYTES)
            })
            .map(|bytes| bytes.value),
    };
    fields.finish(reader);
    Some((set, loader))
}

fn plain<T>(sourced: Vec<Sourced<T>>) -> Vec<T> {
    sourced.into_iter().map(|sourced| sourced.value).collect()
}

/// The beginning of a MAC address: `b8:27:eb`, or one digit or three more.
fn oui(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<MacBlock> {
    let written = decode::text(reader, value)?;
    let read: Result<MacBlock, MacBlockError> = written.parse();
    read.map_err(|error| {
        let help = "write its first 24, 28 or 36 bits: b8:27:eb, f0:40:af:9 or 8c:1f:64:34:a";
        reader.error(value, error, help);
    })
    .ok()
}

/// `3.16`, or a range such as `2.0-3.10`.
fn undi(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<[(u16, u16); 2]> {
    let written = decode::text(reader, value)?;
    let version = |written: &str| {
        let (major, minor) = written.trim().split_once('.')?;
        Some((major.parse::<u16>().ok()?, minor.parse::<u16>().ok()?))
    };
    let (first, last) = written.split_once('-').unwrap_or((&written, &written));
    match (version(first), version(last)) {
        (Some(first), Some(last)) if first <= last => Some([first, last]),
        (_, _) => {
            let message = format_args!("`{}` is no UNDI version", text::escape(written.as_bytes()));
            reader.error(
                value,
                message,
                "write one as \"3.16\", or a range as \"2.0-3.10\", the lower first",
            );
            None
        }
    }
}
