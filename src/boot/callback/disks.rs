//! What a machine tells of its disks: JSON, as our own live system has it (a list of [`DiskInfo`]), or as
//! `lsblk -bdJo NAME,SIZE,MODEL,SERIAL,WWN,TRAN,RM,RO,TYPE` prints it in other systems.
//!
//! All of it is a machine's words: bounded, without control characters, and of what was cut off its beginning counts.

use crate::model::{
    DiskInfo, ToldDisks,
    limits::{DISK_IDS_MAX, DISK_WORDS_BYTES_MAX, TOLD_DISKS_MAX},
    may_be_disk, text,
};
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::{borrow::Cow, fmt};

/// A disk in either form.
#[derive(Deserialize)]
struct ToldDisk<'b> {
    #[serde(borrow)]
    name: Cow<'b, str>,
    #[serde(alias = "size")]
    bytes: ToldNumber<'b>,
    #[serde(default, borrow)]
    serial: Option<Cow<'b, str>>,
    #[serde(default, borrow)]
    model: Option<Cow<'b, str>>,
    #[serde(default, borrow)]
    by_id: Vec<Cow<'b, str>>,
    #[serde(default)]
    nvme: bool,
    #[serde(default, alias = "rm", borrow)]
    removable: ToldNumber<'b>,
    #[serde(default, alias = "ro", borrow)]
    read_only: ToldNumber<'b>,
    #[serde(default, borrow)]
    wwn: Option<Cow<'b, str>>,
    #[serde(default, rename = "type", borrow)]
    kind: Option<Cow<'b, str>>,
}

/// Older versions of `lsblk` print numbers and flags as texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum ToldNumber<'b> {
    Flag(bool),
    Number(u64),
    Text(#[serde(borrow)] Cow<'b, str>),
    Nothing(()),
}

impl Default for ToldNumber<'_> {
    fn default() -> Self {
        ToldNumber::Number(0)
    }
}

impl ToldNumber<'_> {
    fn value(&self) -> u64 {
        match self {
            ToldNumber::Flag(flag) => u64::from(*flag),
            ToldNumber::Number(number) => *number,
            ToldNumber::Text(text) => text.trim().parse().unwrap_or_default(),
            ToldNumber::Nothing(()) => 0,
        }
    }
}

impl ToldDisk<'_> {
    /// `None` where it is no disk that could be written to as a whole.
    fn info(self) -> Option<DiskInfo> {
        let name = words(Some(&self.name)).filter(|name| may_be_disk(name))?;
        if self.kind.as_deref().is_some_and(|kind| kind != "disk") {
            return None;
        }
        let nvme = self.nvme || name.starts_with("nvme");
        // As udev calls it.
        let wwn = words(self.wwn.as_deref()).map(|wwn| [if nvme { "nvme-" } else { "wwn-" }, &wwn].concat());
        let by_id = self.by_id.iter().filter_map(|id| words(Some(id)));
        Some(DiskInfo {
            name,
            bytes: self.bytes.value(),
            serial: words(self.serial.as_deref()),
            model: words(self.model.as_deref()),
            by_id: by_id.chain(wwn).take(DISK_IDS_MAX).collect(),
            nvme,
            removable: self.removable.value() != 0,
            read_only: self.read_only.value() != 0,
        })
    }
}

/// Words of a machine, fit to be shown; `None` where there are none.
fn words(told: Option<&str>) -> Option<String> {
    let told = told?.trim();
    let shown = text::shown(text::prefix(told, DISK_WORDS_BYTES_MAX).into());
    (!shown.is_empty()).then_some(shown)
}

/// Takes disks as they come, and keeps those that were whole before the text ends.
struct DiskList<'t>(&'t mut ToldDisks);

impl<'b> Visitor<'b> for DiskList<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of disks")
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(disk) = list.next_element::<ToldDisk<'b>>()? {
            match disk.info() {
                Some(disk) if self.0.disks.len() < TOLD_DISKS_MAX => self.0.disks.push(disk),
                Some(_) => return Ok(()),
                None => {}
            }
        }
        self.0.is_whole = true;
        Ok(())
    }

    fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'b, str>>()? {
            match &*key {
                "blockdevices" => return map.next_value_seed(DiskList(self.0)),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl<'b> DeserializeSeed<'b> for DiskList<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'b>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

/// Reads it; `None` where it is nothing of the kind.
pub fn told_disks(body: &[u8]) -> Option<ToldDisks> {
    let mut told = ToldDisks::default();
    let mut json = serde_json::Deserializer::from_slice(body);
    // What was read before an error counts.
    let _ = DiskList(&mut told).deserialize(&mut json);
    (told.is_whole || !told.disks.is_empty()).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> DiskInfo {
        DiskInfo {
            name: "sda".to_owned(),
            bytes: 480_103_981_056,
            serial: Some("S1".to_owned()),
            model: Some("SAMSUNG".to_owned()),
            by_id: vec!["wwn-0x5002538e40a1b2c3".to_owned()],
            ..DiskInfo::default()
        }
    }

    #[test]
    fn what_our_live_system_tells_comes_back_as_it_was() {
        let disks = vec![
            ours(),
            DiskInfo {
                name: "nvme0n1".to_owned(),
                nvme: true,
                removable: true,
                read_only: true,
                ..DiskInfo::default()
            },
        ];
        let told = told_disks(&serde_json::to_vec(&disks).unwrap());
        assert_eq!(told, Some(ToldDisks { disks, is_whole: true }));
        let none = ToldDisks {
            disks: Vec::new(),
            is_whole: true,
        };
        assert_eq!(told_disks(b"[]"), Some(none), "a machine without disks");
    }

    #[test]
    fn lsblk_of_any_version_is_read_and_what_is_no_disk_left_out() {
        // util-linux 2.38, and 2.31 with texts for everything.
        for lsblk in [
            r#"{"blockdevices": [
                {"name":"loop0", "size":8, "model":null, "serial":null, "wwn":null, "tran":null, "rm":false, "ro":true, "type":"loop"},
                {"name":"sr0", "size":1073741312, "model":"QEMU DVD-ROM", "serial":"QM3", "wwn":null, "tran":"ata", "rm":true, "ro":false, "type":"rom"},
                {"name":"sda", "size":480103981056, "model":"SAMSUNG", "serial":"S1", "wwn":"0x5002538e40a1b2c3", "tran":"sata", "rm":false, "ro":false, "type":"disk"}
            ]}"#,
            r#"{"blockdevices": [{"name": "sda", "size": "480103981056", "model": "SAMSUNG         ", "serial": "S1", "wwn": "0x5002538e40a1b2c3", "rm": "0", "ro": "0", "type": "disk"}]}"#,
        ] {
            let told = told_disks(lsblk.as_bytes()).unwrap();
            assert_eq!((told.disks, told.is_whole), (vec![ours()], true), "{lsblk}");
        }
        let nvme = br#"{"blockdevices": [{"name":"nvme0n1","size":1,"wwn":"eui.0025","tran":"nvme"}]}"#;
        let told = told_disks(nvme).unwrap();
        assert_eq!(
            (told.disks[0].nvme, &*told.disks[0].by_id),
            (true, &["nvme-eui.0025".to_owned()][..])
        );
    }

    #[test]
    fn of_what_was_cut_off_the_whole_disks_count_and_it_is_known() {
        let text = serde_json::to_vec(&vec![ours(), ours()]).unwrap();
        for length in 0..text.len() {
            let told = told_disks(&text[..length]);
            assert!(
                told.as_ref()
                    .is_none_or(|told| !told.is_whole && told.disks[0] == ours()),
                "{length}"
            );
        }
        assert_eq!(told_disks(&text[..text.len() - 3]).unwrap().disks.len(), 1);
        let many = vec![ours(); TOLD_DISKS_MAX + 1];
        let told = told_disks(&serde_json::to_vec(&many).unwrap()).unwrap();
        assert_eq!((told.disks.len(), told.is_whole), (TOLD_DISKS_MAX, false));
    }

    #[test]
    fn what_is_told_is_short_and_steers_no_terminal() {
        let body = format!(
            r#"[{{"name":"sda\u001b[31m","bytes":1,"serial":"{0}","by_id":["{0}","{0}","","a","a","a","a","a","a","a","a"]}}]"#,
            "ü".repeat(300)
        );
        let told = told_disks(body.as_bytes()).unwrap();
        let disk = &told.disks[0];
        let steers = |text: &str| text.chars().any(text::steers);
        assert!(!steers(&disk.name) && disk.serial.as_ref().unwrap().len() <= DISK_WORDS_BYTES_MAX);
        assert_eq!(disk.by_id.len(), DISK_IDS_MAX);
        for body in [
            &b""[..],
            b"{}",
            b"null",
            b"disks",
            b"\"[]\"",
            b"message=a",
            b"{\"blockdevices\":7}",
        ] {
            assert_eq!(told_disks(body), None, "{body:?}");
        }
    }
}
