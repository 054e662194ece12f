//! `disk` of an `image.toml`: an artifact as any other, and what is known of the disk in it.

use super::artifact_of;
use crate::boot::snapshot::{Artifact, DeployableDisk};
use crate::config::decode::{self, Fields, Reader, Value};
use crate::images::{disk_format, sums::Sums};
use crate::model::{
    ImageFormat, ImagePieces, ImageSum, UnpackedImage,
    limits::{DEPLOY_PIECE_BYTES_MAX, DEPLOY_PIECE_BYTES_MIN},
};
use std::path::Path;
use toml::de::DeValue;

const FORMATS: &[(&str, ImageFormat)] = &[
    ("raw", ImageFormat::Raw),
    ("zstd", ImageFormat::Zstd),
    ("gzip", ImageFormat::Gzip),
];

/// The file, and what is in it where that can be written to a disk: many are not meant for that, as the squashfs of a
/// live system.
pub(super) fn read(
    reader: &mut Reader<'_>,
    folder: &Path,
    sums: &mut dyn Sums,
    value: &Value<'_>,
) -> Option<(Artifact, Option<DeployableDisk>)> {
    let mut fields = Fields::of(reader, "a disk image", value)?;
    let artifact = artifact_of(reader, folder, sums, (value, &mut fields));
    let format = fields.take(reader, "format", |reader, value| decode::word(reader, value, FORMATS));
    let unpacked = fields.take(reader, "unpacked", unpacked).map(|unpacked| unpacked.value);
    let pieces = fields.take(reader, "pieces", pieces);
    let written = ["format", "unpacked", "pieces"].map(|key| fields.value(key).is_some());
    fields.finish(reader);
    let read = [format.is_some(), unpacked.is_some(), pieces.is_some()];
    let artifact = artifact?;
    if written != read {
        return None;
    }
    let length = artifact.stamp.length;
    if let Some(pieces) = &pieces
        && length > 0
        && u64::try_from(pieces.value.sha256.len()) != Ok(length.div_ceil(pieces.value.bytes))
    {
        let message = format_args!(
            "the file has {length} bytes, and so it has {} pieces of {} bytes; {} checksums stand here",
            length.div_ceil(pieces.value.bytes),
            pieces.value.bytes,
            pieces.value.sha256.len()
        );
        let help = "`split -b BYTES --filter='sha256sum' FILE` prints one a piece; or take `pieces` out";
        reader.problems.error(&pieces.origin, message, help);
        return None;
    }
    let said = format.map(|format| format.value);
    let format = said.or_else(|| disk_format(&folder.join(&artifact.file)));
    let deployable = format.map(|format| DeployableDisk {
        format,
        // What is not packed is as long as its file.
        unpacked: unpacked.filter(|_| format != ImageFormat::Raw),
        pieces: pieces.map(|pieces| pieces.value),
    });
    Some((artifact, deployable))
}

fn unpacked(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<UnpackedImage> {
    let mut fields = Fields::of(reader, "an unpacked image", value)?;
    let bytes = fields.take(reader, "bytes", bytes);
    let sha256 = fields.take(reader, "sha256", sum);
    let is_sound = sha256.is_some() == fields.has("sha256");
    if !fields.has("bytes") {
        reader.error(
            value,
            "this says nothing of how long the image is once it is unpacked",
            "add its bytes, as `zstd -dc FILE | wc -c` counts them: a disk with fewer is refused at once then",
        );
    }
    fields.finish(reader);
    bytes.filter(|_| is_sound).map(|bytes| UnpackedImage {
        bytes: bytes.value,
        sha256: sha256.map(|sum| sum.value),
    })
}

fn pieces(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<ImagePieces> {
    let mut fields = Fields::of(reader, "an image's pieces", value)?;
    let size = fields.take(reader, "bytes", piece_bytes);
    let mut all = true;
    let sums = fields.take_all(reader, "sha256", |reader, value| {
        let read = sum(reader, value);
        all &= read.is_some();
        read
    });
    if !fields.has("bytes") || !fields.has("sha256") {
        let help = "write pieces = { bytes = 4194304, sha256 = [\"…\", \"…\"] }";
        reader.error(value, "pieces have a length, and a checksum each", help);
    }
    fields.finish(reader);
    let size = size.filter(|_| all)?;
    Some(ImagePieces {
        bytes: size.value,
        sha256: sums.into_iter().map(|sum| sum.value).collect(),
    })
}

fn sum(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<ImageSum> {
    decode::sha256(reader, value).map(ImageSum)
}

fn piece_bytes(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<u64> {
    let read = bytes(reader, value)?;
    if !(DEPLOY_PIECE_BYTES_MIN..=DEPLOY_PIECE_BYTES_MAX).contains(&read) {
        let message = format_args!("a piece has {DEPLOY_PIECE_BYTES_MIN} to {DEPLOY_PIECE_BYTES_MAX} bytes");
        reader.error(value, message, "4194304 suits most images");
        return None;
    }
    Some(read)
}

fn bytes(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<u64> {
    let written = match value.get_ref() {
        DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix()).ok(),
        _ => return reader.wrong_type_with_help(value, "a number", "write it without quotes"),
    };
    let bytes = written.filter(|bytes| *bytes > 0);
    if bytes.is_none() {
        reader.error(value, "this is no number of bytes", "write it as 2147483648");
    }
    bytes
}
