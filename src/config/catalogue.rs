//! `catalogue.toml`: images that can be fetched by their name, the shipped and the operator's.
//!
//! The shipped catalogue is compiled in, so that a command without the file has it. An operator's
//! entry with a shipped name takes the shipped one's place.

use super::{
    decode::{self, Fields, Reader, Value},
    first_defined,
    problems::Problems,
    raw,
    source::Source,
};
use crate::boot::snapshot::{Origin, Sourced};
use crate::images::{
    catalogue::{CatalogueEntry, Package, Remote, Signature, SumFile},
    fetch::url,
};
use crate::model::{Name, limits::CATALOGUE_ENTRIES_MAX};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};
use toml::de::DeValue;

/// The catalogue in the source tree.
const SHIPPED: &str = include_str!("../../images/catalogue.toml");
/// What the shipped catalogue is called in errors.
const SHIPPED_FILE: &str = "images/catalogue.toml";
/// What `signature` says of a text that carries its own.
const INSIDE: &str = "inside";

/// The operator's entries, if there is a file of them, and the shipped ones behind.
pub(super) fn read(file: Option<&Path>, problems: &mut Problems) -> Vec<CatalogueEntry> {
    let own = file.and_then(|file| Some((Source::read(file, problems)?, file.parent().unwrap_or(Path::new("")))));
    let mut all = own.map_or_else(Vec::new, |(source, folder)| entries(&source, folder, problems));
    let shipped = entries(&Source::new(SHIPPED_FILE, SHIPPED.to_owned()), Path::new(""), problems);
    let behind: Vec<CatalogueEntry> = shipped
        .into_iter()
        .filter(|shipped| !all.iter().any(|own| own.name == shipped.name))
        .collect();
    all.extend(behind);
    all
}

/// `folder` is what a keyring's path is relative to.
fn entries(source: &Source, folder: &Path, problems: &mut Problems) -> Vec<CatalogueEntry> {
    let (root, broken) = decode::document(source, problems);
    if broken {
        return Vec::new();
    }
    let reader = &mut Reader { source, problems };
    let Some(mut fields) = Fields::of(reader, "a catalogue", &root) else {
        return Vec::new();
    };
    let tables = decode::tables(reader, "image", fields.value("image"));
    fields.finish(reader);
    if tables.len() > CATALOGUE_ENTRIES_MAX {
        let message = format_args!(
            "these are {} images, and {CATALOGUE_ENTRIES_MAX} are read",
            tables.len()
        );
        reader.error(&root, message, "take out what nobody fetches");
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut seen: HashMap<Name, Origin> = HashMap::new();
    for value in tables {
        let Some((name, entry)) = entry(reader, value, folder) else {
            continue;
        };
        if let Some(first) = seen.get(&name.value) {
            let message = format_args!("two images are called `{}`", name.value);
            reader.problems.error(&name.origin, message, first_defined(first));
            continue;
        }
        seen.insert(name.value, name.origin);
        found.push(entry);
    }
    found
}

fn entry(reader: &mut Reader<'_>, value: &Value<'_>, folder: &Path) -> Option<(Sourced<Name>, CatalogueEntry)> {
    let mut fields = Fields::of(reader, "an image of a catalogue", value)?;
    let name = fields.take(reader, "name", decode::parsed::<Name>);
    let about = fields.take(reader, "about", decode::some_text);
    let cpu = fields.take(reader, "arch", raw::cpu);
    let script = fields.take(reader, "script", decode::some_text);
    let base = fields.take(reader, "base", url);
    let keyring = fields.take(reader, "keyring", decode::some_text);
    let keyring_from = fields.take(reader, "keyring_from", decode::some_text);
    let place = EntryDefaults {
        base: base.map(|base| base.value).unwrap_or_default(),
        keyring: keyring.map(|keyring| folder.join(keyring.value)),
        keyring_from: keyring_from.map(|from| from.value),
    };
    let kernel = fields.take(reader, "kernel", |reader, value| place.remote(reader, value));
    let initrds = fields.take_all(reader, "initrds", |reader, value| place.remote(reader, value));
    let disk = fields.take(reader, "disk", |reader, value| place.remote(reader, value));
    let cmdline = fields.take_all(reader, "cmdline", decode::some_text);
    let sums = fields.take_all(reader, "sums", |reader, value| place.sum_file(reader, value));
    let package = fields.take(reader, "package", package);
    if !fields.has("name") {
        reader.error(value, "this image has no `name`", "add one, such as name = \"rescue\"");
    }
    let from_somewhere = fields.has("kernel") || fields.has("disk") || fields.has("package");
    fields.finish(reader);
    if !from_somewhere {
        let help = "add kernel = \"…\", a path beneath `base` or a URL, or a `disk`, or a `package`";
        reader.error(value, "this image has nothing to boot", help);
    }
    let name = name?;
    let plain = |sourced: Sourced<Remote>| sourced.value;
    let entry = CatalogueEntry {
        name: name.value.clone(),
        about: about.map(|about| about.value).unwrap_or_default(),
        cpu: cpu.map(|cpu| cpu.value),
        script: script.map(|script| script.value),
        kernel: kernel.map(plain),
        initrds: initrds.into_iter().map(plain).collect(),
        disk: disk.map(plain),
        cmdline: cmdline.into_iter().map(|parameter| parameter.value).collect(),
        sums: sums.into_iter().map(|sums| sums.value).collect(),
        package: package.map(|package| package.value),
    };
    Some((name, entry))
}

/// What all files of one entry share.
struct EntryDefaults {
    base: String,
    keyring: Option<PathBuf>,
    keyring_from: Option<String>,
}

impl EntryDefaults {
    /// A text is the file; a table may say more of it.
    fn remote(&self, reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Remote> {
        if !matches!(value.get_ref(), DeValue::Table(_)) {
            return Some(Remote {
                url: self.joined(reader, value)?,
                ..Remote::default()
            });
        }
        let mut fields = Fields::of(reader, "a file", value)?;
        let archive = fields.take(reader, "archive", |reader, value| self.joined(reader, value));
        let inside = archive.is_some();
        let file = fields.take(reader, "file", |reader, value| match inside {
            true => decode::some_text(reader, value),
            false => self.joined(reader, value),
        });
        let sha256 = fields.take(reader, "sha256", decode::sha256);
        let signature = fields.take(reader, "signature", |reader, value| {
            let signature = self.signature(reader, value)?;
            if signature.url.is_none() {
                let message = "only a file of checksums carries its signature inside";
                reader.error(value, message, "say where the signature of this file is");
            }
            signature.url.is_some().then_some(signature)
        });
        needs_file(reader, value, &fields);
        fields.finish(reader);
        let file = file?.value;
        let (url, member) = match archive {
            Some(archive) => (archive.value, Some(file)),
            None => (file, None),
        };
        Some(Remote {
            url,
            member,
            sha256: sha256.map(|sum| sum.value),
            signature: signature.map(|signature| signature.value),
        })
    }

    fn sum_file(&self, reader: &mut Reader<'_>, value: &Value<'_>) -> Option<SumFile> {
        if !matches!(value.get_ref(), DeValue::Table(_)) {
            return Some(SumFile {
                url: self.joined(reader, value)?,
                signature: None,
            });
        }
        let mut fields = Fields::of(reader, "a file of checksums", value)?;
        let file = fields.take(reader, "file", |reader, value| self.joined(reader, value));
        let signature = fields.take(reader, "signature", |reader, value| self.signature(reader, value));
        needs_file(reader, value, &fields);
        fields.finish(reader);
        Some(SumFile {
            url: file?.value,
            signature: signature.map(|signature| signature.value),
        })
    }

    fn signature(&self, reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Signature> {
        let written = decode::some_text(reader, value)?;
        let Some(keyring) = self.keyring.clone() else {
            let help = "add keyring = \"/usr/share/keyrings/….gpg\" to the image";
            reader.error(value, "a signature needs the keys to check it by", help);
            return None;
        };
        let url = match written == INSIDE {
            true => None,
            false => Some(self.joined(reader, value)?),
        };
        Some(Signature {
            url,
            keyring,
            keyring_from: self.keyring_from.clone(),
        })
    }

    fn joined(&self, reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
        let written = decode::some_text(reader, value)?;
        let whole = url::join(&self.base, &written);
        validated(reader, value, whole)
    }
}

fn url(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let written = decode::some_text(reader, value)?;
    validated(reader, value, written)
}

fn validated(reader: &mut Reader<'_>, value: &Value<'_>, url: String) -> Option<String> {
    match url::validate(&url) {
        Ok(()) => Some(url),
        Err(why) => {
            reader.error(
                value,
                why,
                "write a URL with https:// or http:// in front, or a path and its `base`",
            );
            None
        }
    }
}

fn needs_file(reader: &mut Reader<'_>, value: &Value<'_>, fields: &Fields<'_>) {
    if !fields.has("file") {
        let message = "this has no `file`";
        reader.error(value, message, "say its path beneath `base`, or its URL");
    }
}

fn package(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Package> {
    let mut fields = Fields::of(reader, "a package", value)?;
    let name = fields.take(reader, "name", decode::some_text);
    let folder = fields.take(reader, "folder", decode::some_text);
    let folder = folder.map(|folder| PathBuf::from(folder.value)).unwrap_or_default();
    let kernel = fields.take(reader, "kernel", decode::some_text);
    let initrds = fields.take_all(reader, "initrds", decode::some_text);
    if !fields.has("name") || !fields.has("kernel") {
        let help = "a package has name, folder, kernel and initrds";
        reader.error(value, "this package lacks its `name` or its `kernel`", help);
    }
    fields.finish(reader);
    Some(Package {
        name: name?.value,
        kernel: Some(folder.join(kernel?.value)),
        initrds: initrds.into_iter().map(|initrd| folder.join(initrd.value)).collect(),
    })
}
