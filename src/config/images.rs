//! The images of a folder: `NAME/image.toml` decoded, and every checksum judged that is known.

mod disk_image;

use super::{
    Diagnostic,
    decode::{self, Fields, Reader, Value},
    problems::Problems,
    raw::{self, Inventory},
    source::{self, Source},
    validation_protocol::{self, ValidationStep},
};
use crate::boot::snapshot::{Artifact, DeployableDisk, FileStamp, Image, Origin};
use crate::images::{MANIFEST, checksum, sums::Sums};
use crate::model::{ImageFormat, Name, text};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// What a folder of images holds.
#[derive(Default)]
pub(super) struct ImageFolder {
    pub(super) images: BTreeMap<Name, Image>,
    /// Images with an error of their own.
    pub(super) unsound: Vec<Name>,
    /// The folder itself can't be read.
    pub(super) unread: bool,
    /// No image is looked at; each that is named has one to stand in for it.
    stands_in: bool,
    /// Those that stand in for images that were not looked at.
    pub(super) stand_ins: BTreeSet<Name>,
}

impl ImageFolder {
    pub(super) fn read(folder: &Path, sums: &mut dyn Sums, problems: &mut Problems) -> ImageFolder {
        let shown = folder.display();
        let mut catalogue = ImageFolder {
            stands_in: !sums.are_at_hand(),
            ..ImageFolder::default()
        };
        let entries = source::entries(folder).unwrap_or_else(|error| {
            if catalogue.stands_in {
                return Vec::new();
            }
            let message = format_args!("the folder of images can't be read: {error}");
            problems.unusable(shown, message, "make the folder, or correct `images` under [paths]");
            catalogue.unread = true;
            Vec::new()
        });
        for path in entries.iter().filter(|path| path.is_dir()) {
            catalogue.add(path, sums, problems);
        }
        catalogue
    }

    /// The images of a folder as they are now, and in place of those that are not sound or not there any
    /// more what the descriptions in `last_good` say of them.
    pub(super) fn with_kept(folder: &Path, kept: &Path, sums: &mut dyn Sums, problems: &mut Problems) -> ImageFolder {
        let mut catalogue = problems.outside(|problems| ImageFolder::read(folder, sums, problems));
        catalogue.unread = false;
        for path in source::entries(kept).unwrap_or_default() {
            let named = path.file_name().unwrap_or_default().to_string_lossy();
            let Ok(name) = named.parse::<Name>() else {
                continue;
            };
            if catalogue.images.contains_key(&name) {
                continue;
            }
            let manifest = path.join(MANIFEST);
            if let Some(image) = read_image(&manifest, &folder.join(name.as_str()), &name, sums, problems) {
                catalogue.unsound.retain(|unsound| *unsound != name);
                catalogue.images.insert(name, image);
            }
        }
        catalogue
    }

    fn add(&mut self, folder: &Path, sums: &mut dyn Sums, problems: &mut Problems) {
        let named = folder.file_name().unwrap_or_default().to_string_lossy();
        let place = Origin {
            file: folder.display().to_string().into(),
            line: 1,
            column: 1,
        };
        let Ok(name) = named.parse::<Name>() else {
            let message = format_args!(
                "the folder `{}` can't be an image's name",
                text::escape(named.as_bytes())
            );
            problems.warn(&place, message, "rename it, or move it out of the folder of images");
            return;
        };
        let has_manifest = folder.join(MANIFEST).exists();
        if !has_manifest && self.stands_in {
            return;
        }
        if !has_manifest {
            let message = format_args!("the image folder `{name}` has no {MANIFEST}");
            problems.warn(
                &place,
                message,
                "write one, or make the image with `bootwright image add`",
            );
            return;
        }
        match read_image(&folder.join(MANIFEST), folder, &name, sums, problems) {
            Some(image) => {
                self.images.insert(name, image);
            }
            None => self.unsound.push(name),
        }
    }
}

impl ImageFolder {
    /// Where images are not looked at, puts one in the place of each that the inventory names, and of our own live
    /// system, that is not here, with whatever a template may ask of one.
    pub(super) fn stand_in(&mut self, folder: &Path, inventory: &Inventory, live: &Name) {
        if !self.stands_in {
            return;
        }
        let profiles = inventory.profiles.iter().map(|profile| &profile.own);
        let hosts = inventory.hosts.iter().map(|host| &host.own);
        let rules = inventory.rules.iter().map(|rule| &rule.own);
        let named = profiles.chain(hosts).chain(rules).filter_map(|own| own.image.as_ref());
        for name in named.map(|image| &image.value).chain([live]) {
            if !self.images.contains_key(name) && !self.unsound.contains(name) {
                self.images.insert(name.clone(), stand_in(folder, name));
                self.stand_ins.insert(name.clone());
            }
        }
    }
}

fn stand_in(folder: &Path, name: &Name) -> Image {
    /// As many as any script asks for by number.
    const INITRDS: usize = 8;
    let root = folder.join(name.as_str());
    let artifact = |file: &str| Artifact {
        file: file.to_owned(),
        sha256: [0; 32],
        declared_at: Origin {
            file: root.display().to_string().into(),
            line: 1,
            column: 1,
        },
        stamp: FileStamp::default(),
    };
    Image {
        name: name.clone(),
        cpu: None,
        kernel: Some(artifact("kernel")),
        initrds: vec![artifact("initrd"); INITRDS],
        disk: Some(artifact("disk")),
        deployable: Some(DeployableDisk {
            format: ImageFormat::Raw,
            unpacked: None,
            pieces: None,
        }),
        cmdline: Vec::new(),
        root,
    }
}

/// Reads and judges one image, its artifacts in `folder`; `None` after at least one error.
fn read_image(
    manifest: &Path,
    folder: &Path,
    name: &Name,
    sums: &mut dyn Sums,
    problems: &mut Problems,
) -> Option<Image> {
    let source = Source::read(manifest, problems)?;
    let (root, broken) = decode::document(&source, problems);
    // Its artifacts, on whatever disk they are.
    validation_protocol::next(|| ValidationStep::Look(folder.display().to_string()));
    let reader = &mut Reader {
        source: &source,
        problems,
    };
    let mut fields = Fields::of(reader, "an image", &root)?;
    let mut is_sound = !broken;
    let cpu = fields.take(reader, "arch", raw::cpu).map(|cpu| cpu.value);
    is_sound &= cpu.is_some() || fields.value("arch").is_none();
    let mut one = |reader: &mut Reader<'_>, key| {
        let found = fields.take(reader, key, |reader, value| artifact(reader, folder, sums, value));
        is_sound &= found.is_some() || fields.value(key).is_none();
        found.map(|artifact| artifact.value)
    };
    let kernel = one(reader, "kernel");
    let disk = fields.take(reader, "disk", |reader, value| {
        disk_image::read(reader, folder, sums, value)
    });
    is_sound &= disk.is_some() || fields.value("disk").is_none();
    let (disk, deployable) = disk.map(|disk| disk.value).unzip();
    let mut all_initrds = true;
    let initrds = fields.take_all(reader, "initrds", |reader, value| {
        let found = artifact(reader, folder, sums, value);
        all_initrds &= found.is_some();
        found
    });
    let cmdline = fields.take_all(reader, "cmdline", decode::some_text);
    fields.finish(reader);
    if kernel.is_none() && disk.is_none() && is_sound {
        reader.error(
            &root,
            format_args!("the image `{name}` has neither a kernel nor a disk"),
            "name its artifacts",
        );
        return None;
    }
    (is_sound && all_initrds).then(|| Image {
        name: name.clone(),
        cpu,
        // The same file has one name, whoever looks at it and from wherever.
        root: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()),
        kernel,
        initrds: initrds.into_iter().map(|initrd| initrd.value).collect(),
        disk,
        deployable: deployable.flatten(),
        cmdline: cmdline.into_iter().map(|parameter| parameter.value).collect(),
    })
}

fn artifact(reader: &mut Reader<'_>, folder: &Path, sums: &mut dyn Sums, value: &Value<'_>) -> Option<Artifact> {
    let mut fields = Fields::of(reader, "an artifact", value)?;
    let artifact = artifact_of(reader, folder, sums, (value, &mut fields));
    fields.finish(reader);
    artifact
}

/// What every artifact has; a disk image may have more.
fn artifact_of(
    reader: &mut Reader<'_>,
    folder: &Path,
    sums: &mut dyn Sums,
    (value, fields): (&Value<'_>, &mut Fields<'_>),
) -> Option<Artifact> {
    let file = fields.take(reader, "file", file_name);
    let declared = fields.take(reader, "sha256", decode::sha256);
    let (has_file, has_sum) = (fields.value("file").is_some(), fields.value("sha256").is_some());
    if !has_file {
        reader.error(
            value,
            "this artifact has no `file`",
            "name a file in the image's folder",
        );
    }
    let file = file?;
    let stamp = match sums.stamp(folder, &file.value) {
        Ok(stamp) => stamp,
        Err(error) => {
            let message = format_args!("the artifact `{}`: {error}", file.value);
            let help = format_args!("put the file into {}", folder.display());
            let problems = &mut *reader.problems;
            problems.outside(|problems| problems.error(&file.origin, message, help));
            match problems.are_of_last_good() {
                // Nothing has that stamp, so nothing is served in its place.
                true => FileStamp::NO_FILE,
                false => return None,
            }
        }
    };
    let path = std::path::absolute(folder.join(&file.value)).unwrap_or_else(|_| folder.join(&file.value));
    let found = match sums.sum(&path, stamp) {
        Ok(found) => found,
        Err(error) => {
            let message = format_args!("can't read the artifact `{}`: {error}", file.value);
            reader.problems.error(&file.origin, message, "");
            return None;
        }
    };
    if !has_sum {
        let message = format_args!("the artifact `{}` has no `sha256`", file.value);
        let (hex, path) = (found.as_ref().map(checksum::hex), path.display());
        match hex {
            Some(hex) => reader.error(
                value,
                message,
                format_args!("if the file is the right one, add sha256 = \"{hex}\""),
            ),
            None => reader.error(
                value,
                message,
                format_args!("if the file is the right one, add the sha256 that `sha256sum {path}` prints"),
            ),
        }
    }
    let declared = declared?;
    let artifact = Artifact {
        file: file.value,
        sha256: declared.value,
        declared_at: declared.origin,
        stamp,
    };
    if let Some(found) = found.filter(|found| *found != artifact.sha256) {
        reader.problems.add_error(wrong(&artifact, &found));
        return None;
    }
    Some(artifact)
}

/// The error for an artifact whose bytes are not those of its checksum.
pub fn wrong(artifact: &Artifact, found: &[u8; 32]) -> Diagnostic {
    let Artifact {
        file,
        sha256,
        declared_at,
        ..
    } = artifact;
    Diagnostic {
        message: format!(
            "the artifact `{file}` is not the file whose sha256 stands here: {} is declared and {} is the file's",
            checksum::hex(sha256),
            checksum::hex(found)
        ),
        help: Some("fetch it again, or correct the checksum if the file is right".to_owned()),
        file: declared_at.file.to_string(),
        place: Some((declared_at.line, declared_at.column)),
    }
}

/// A relative path whose every component stands in a URL and on a script's line as it is.
fn file_name(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let written = decode::some_text(reader, value)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+');
    let component = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain);
    if !written.split('/').all(component) {
        let message = format_args!("`{}` can't be an artifact's file", text::escape(written.as_bytes()));
        let help = "use letters, digits, `.`, `_`, `-` and `+`, with `/` between folders and no dot in front";
        reader.error(value, message, help);
        return None;
    }
    Some(written)
}
