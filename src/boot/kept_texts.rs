//! Scripts that were rendered with one generation, kept for the machine that asks again: what a script is rendered
//! with is the generation, and what stands in a [`KeptTextKey`]. A plain template (`boot::render`) knows nothing else: it
//! calls nothing, and so has no time, no lot and nothing that it changes.
//!
//! Texts with a token in them are not kept, and none of an install is. Most machines ask once, so there is room for few.

use crate::boot::event::DiskReason;
use crate::model::{
    Arch, BootTarget, Dialect, HardwareAddr, MacAddr, Name, Uuid,
    limits::{KEPT_TEXT_BYTES_MAX, KEPT_TEXTS_MAX},
};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Everything of one machine and its request that its script goes by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeptTextKey {
    /// The template.
    pub template: (Name, Dialect),
    /// What the inventory says of the machine: that of a host, of a rule by its place, or nothing.
    pub settings: TextSettings,
    /// What the gate lets it boot.
    pub target: Option<BootTarget>,
    /// Why it boots its disk.
    pub disk: Option<DiskReason>,
    /// Its interface.
    pub mac: Option<MacAddr>,
    /// The same where it has no MAC.
    pub link: Option<HardwareAddr>,
    /// What it says its UUID is.
    pub uuid: Option<Uuid>,
    /// What it says its serial number is.
    pub serial: Option<String>,
    /// What it says it is made by.
    pub vendor: Option<String>,
    /// Its architecture.
    pub arch: Option<Arch>,
    /// Its address.
    pub address: IpAddr,
    /// The address of ours that was asked.
    pub server: IpAddr,
}

/// Whose settings a text is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TextSettings {
    /// A host's.
    Host(Name),
    /// Those of the rule at that place of the inventory.
    Rule(usize),
    /// Nobody's.
    Unknown,
}

/// The texts of one generation.
#[derive(Debug, Default)]
pub struct KeptTexts(Mutex<HashMap<KeptTextKey, Arc<str>>>);

impl KeptTexts {
    /// The text that was rendered with this, where it is still there.
    pub fn get(&self, key: &KeptTextKey) -> Option<Arc<str>> {
        self.texts().get(key).cloned()
    }

    /// Keeps a text, if it is not a long one. Where there is no room all others go: who asks again and again is soon
    /// back.
    pub fn keep(&self, key: KeptTextKey, text: &str) {
        if text.len() > KEPT_TEXT_BYTES_MAX {
            return;
        }
        let text = Arc::from(text);
        let mut texts = self.texts();
        if texts.len() >= KEPT_TEXTS_MAX {
            texts.clear();
        }
        texts.insert(key, text);
    }

    fn texts(&self) -> MutexGuard<'_, HashMap<KeptTextKey, Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(host: usize) -> KeptTextKey {
        KeptTextKey {
            template: ("live".parse().unwrap(), Dialect::Ipxe),
            settings: TextSettings::Host(format!("n{host}").parse().unwrap()),
            target: Some(BootTarget::Live),
            disk: None,
            mac: None,
            link: None,
            uuid: None,
            serial: None,
            vendor: None,
            arch: None,
            address: [192, 0, 2, 7].into(),
            server: [192, 0, 2, 1].into(),
        }
    }

    #[test]
    fn a_text_is_there_for_the_same_and_for_nothing_else_and_the_room_is_bounded() {
        let texts = KeptTexts::default();
        texts.keep(key(0), "#!ipxe");
        assert_eq!(texts.get(&key(0)).as_deref(), Some("#!ipxe"));
        let others = [
            key(1),
            KeptTextKey {
                disk: Some(DiskReason::Locked),
                ..key(0)
            },
            KeptTextKey {
                serial: Some("A7".to_owned()),
                ..key(0)
            },
            KeptTextKey {
                address: [192, 0, 2, 8].into(),
                ..key(0)
            },
            KeptTextKey {
                server: [192, 0, 2, 2].into(),
                ..key(0)
            },
        ];
        assert!(others.iter().all(|other| texts.get(other).is_none()));
        for host in 0..=KEPT_TEXTS_MAX {
            texts.keep(key(host), "#!ipxe");
            assert!(texts.get(&key(host)).is_some() && texts.texts().len() <= KEPT_TEXTS_MAX);
        }
        texts.keep(key(0), &"x".repeat(KEPT_TEXT_BYTES_MAX + 1));
        assert!(texts.get(&key(0)).is_none());
    }
}
