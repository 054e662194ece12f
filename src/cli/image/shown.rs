//! An image as the commands show it: a line for people, an object for programs.

use crate::boot::snapshot::{Artifact, Image};
use crate::images::checksum;
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

pub(super) fn in_json(image: &Image) -> serde_json::Value {
    let artifact = |artifact: &Artifact| {
        json!({
            "file": artifact.file,
            "sha256": checksum::hex(&artifact.sha256),
            "bytes": artifact.stamp.length,
        })
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
