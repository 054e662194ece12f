//! An image as the commands show it: a line for people, an object for programs.

use crate::admin::api::Timestamp;
use crate::boot::{
    snapshot::{Artifact, Image},
    verification::ChecksumRecord,
};
use crate::images::{checksum, sums::KnownChecksums};
use crate::model::Cpu;
use serde_json::json;

pub(super) fn in_words(image: &Image) -> String {
    let bytes: u64 = image.artifacts().map(|artifact| artifact.stamp.length).sum();
    let files: Vec<&str> = image.artifacts().map(|artifact| artifact.file.as_str()).collect();
    let cpu = image.cpu.map_or("any", Cpu::name);
    format!(
        "{}  {cpu}  {} KiB  {}",
        image.name,
        bytes.div_ceil(1024),
        files.join(" ")
    )
}

/// An image; with `known` it says of each artifact what the daemon knows of its bytes.
pub(super) fn in_json(image: &Image, known: Option<&KnownChecksums>) -> serde_json::Value {
    let artifact = |artifact: &Artifact| {
        let mut shown = json!({
            "file": artifact.file,
            "sha256": checksum::hex(&artifact.sha256),
            "bytes": artifact.stamp.length,
        });
        if let Some(known) = known {
            let known = known.of_file(&image.path(artifact), artifact.stamp);
            shown["read_at"] = json!(known.map(|record| Timestamp::from(record.at)));
            shown["sound"] = json!(known.map(|record| record.sha256 == artifact.sha256));
        }
        shown
    };
    json!({
        "name": image.name,
        "arch": image.cpu.map(Cpu::name),
        "kernel": image.kernel.as_ref().map(artifact),
        "initrds": image.initrds.iter().map(artifact).collect::<Vec<_>>(),
        "disk": image.disk.as_ref().map(artifact),
        "cmdline": image.cmdline,
    })
}

/// What the daemon knows of an image's bytes.
pub(super) fn known_in_words(image: &Image, known: &KnownChecksums) -> String {
    let known = |artifact| Some((artifact, known.of_file(&image.path(artifact), artifact.stamp)?));
    let (all, known) = (image.artifacts(), image.artifacts().filter_map(known));
    let known: Vec<(&Artifact, &ChecksumRecord)> = known.collect();
    let wrong: Vec<&str> = known
        .iter()
        .filter(|(artifact, record)| record.sha256 != artifact.sha256)
        .map(|(artifact, _)| artifact.file.as_str())
        .collect();
    if !wrong.is_empty() {
        return format!("WRONG, not served: {}", wrong.join(" "));
    }
    match known.iter().map(|(_, record)| record.at).min() {
        Some(oldest) if known.len() == all.count() => format!("verified {}", Timestamp::from(oldest)),
        Some(_) | None => "not verified yet".to_owned(),
    }
}
