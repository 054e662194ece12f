//! The inventory's `disk`: the rule by which an install chooses the disk that it erases; and `after`, what the machine
//! does then.

use super::decode::{self, Fields, Reader, Value};
use crate::model::{AfterDeploy, DiskSelector, DiskSize, Pick};
use toml::de::DeValue;

const PICKS: &[(&str, Pick)] = &[("smallest", Pick::Smallest), ("largest", Pick::Largest)];

/// `{ serial = "S4X1", size = ">=400GB" }`. A rule of which one part can't be read is none: what is left of it would
/// fit other disks.
pub(super) fn selector(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<DiskSelector> {
    let DeValue::Table(table) = value.get_ref() else {
        let help = "write disk = { serial = \"S4X1NF0M\" }, or say size, model, by-id, nvme or pick; the path of a disk, \
                    which may be another one's at the next boot, is vars = { disk = \"/dev/sda\" }";
        return reader.wrong_type_with_help(value, "a table", help);
    };
    if table.is_empty() {
        let help = "name its serial, model, size, by-id, nvme or pick, or take `disk` out: without it an install takes \
                    the only disk of a machine";
        reader.error(value, "this rule says nothing of the disk", help);
        return None;
    }
    let mut fields = Fields::of(reader, "a rule for a disk", value)?;
    let serial = fields.take(reader, "serial", decode::some_text);
    let model = fields.take(reader, "model", decode::some_text);
    let size = fields.take(reader, "size", decode::parsed::<DiskSize>);
    let by_id = fields.take(reader, "by-id", by_id);
    let nvme = fields.take(reader, "nvme", decode::boolean);
    let pick = fields.take(reader, "pick", |reader, value| decode::word(reader, value, PICKS));
    let written = ["serial", "model", "size", "by-id", "nvme", "pick"].map(|key| fields.has(key));
    let read = [
        serial.is_some(),
        model.is_some(),
        size.is_some(),
        by_id.is_some(),
        nvme.is_some(),
        pick.is_some(),
    ];
    fields.finish(reader);
    (written == read).then(|| DiskSelector {
        serial: serial.map(|serial| serial.value),
        model: model.map(|model| model.value),
        size: size.map(|size| size.value),
        by_id: by_id.map(|by_id| by_id.value),
        nvme: nvme.map(|nvme| nvme.value),
        pick: pick.map(|pick| pick.value),
    })
}

/// A name below `/dev/disk/by-id`, with or without that in front.
fn by_id(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let written = decode::some_text(reader, value)?;
    let name = written.strip_prefix("/dev/disk/by-id/").unwrap_or(&written);
    if name.contains('/') || name.is_empty() {
        let help = "write the name as `ls /dev/disk/by-id` shows it, such as ata-SAMSUNG_MZ7LH480_S4X1NF0M";
        reader.error(value, "this is no name below /dev/disk/by-id", help);
        return None;
    }
    Some(name.to_owned())
}

const AFTER: &[(&str, AfterDeploy)] = &[
    ("reboot", AfterDeploy::Reboot),
    ("poweroff", AfterDeploy::PowerOff),
    ("wait", AfterDeploy::Wait),
];

/// What a machine does once its disk is written.
pub(super) fn after(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<AfterDeploy> {
    decode::word(reader, value, AFTER)
}
