//! Installs, looked at before anybody is armed: whether a host's image can be written to a disk, and whether its script
//! and its answer keep to the disk that the inventory allows.

use super::rendered::Flaw;
use crate::boot::{
    event::NoOrder,
    resource::deploy_order,
    snapshot::{BootSettings, Host, Origin, Snapshot},
    unattended::unattended,
};
use crate::model::{BootTarget, DiskSelector, Token};

/// The parameter by which our own live system is told to install.
const ORDER: &str = "bootwright.order=";

/// What is wrong with how a host installs by one of its scripts and all of its answer.
pub(super) fn flaws(snapshot: &Snapshot, host: &Host, (script, answers): (&str, &[String])) -> Vec<(Flaw, Origin)> {
    let settings = &host.settings;
    let unfenced = unfenced(settings, script, answers);
    unfenced.into_iter().chain(unwritable(snapshot, host, script)).collect()
}

/// An install that goes to another disk than the one that its host may lose.
fn unfenced(settings: &BootSettings, script: &str, answers: &[String]) -> Option<(Flaw, Origin)> {
    let disk = settings.disk.as_ref()?;
    let is_install = settings
        .boot
        .as_ref()
        .is_some_and(|boot| boot.value == BootTarget::Install);
    let installs = is_install || unattended(script).is_some();
    let keeps_to_it = || keeps_to(&disk.value, script) || answers.iter().any(|answer| keeps_to(&disk.value, answer));
    if !installs || keeps_to_it() {
        return None;
    }
    let flaw = Flaw {
        place: None,
        is_error: true,
        what: format!(
            "neither the script nor the answer looks at disk = {}: another disk may be erased",
            disk.value
        )
        .into(),
        help: "let the answer refuse a disk that does not fit (`disk` in its template; config/answers/README.md), or \
               take script = \"deploy\", which does",
    };
    Some((flaw, disk.origin.clone()))
}

/// Whether a text names everything that the rule names. Our own live system is told the rule by its order.
fn keeps_to(rule: &DiskSelector, text: &str) -> bool {
    let names = |value: &Option<String>| value.as_ref().is_none_or(|value| text.contains(value.as_str()));
    let bounds = rule.size.map(|size| size.bounds());
    let names_size = bounds.is_none_or(|(least, most)| {
        let bound = if least > 0 { least } else { most };
        text.contains(&bound.to_string())
    });
    let names_none = rule.serial.is_none() && rule.model.is_none() && rule.by_id.is_none() && rule.size.is_none();
    text.contains(ORDER)
        || (!names_none && names(&rule.serial) && names(&rule.model) && names(&rule.by_id) && names_size)
        || text.contains(&rule.to_string())
}

/// An image that our own live system could not write.
fn unwritable(snapshot: &Snapshot, host: &Host, script: &str) -> Option<(Flaw, Origin)> {
    if !script.contains(ORDER) {
        return None;
    }
    let why = deploy_order(snapshot, host, (Token::SAMPLE, "http://192.0.2.1")).err()?;
    let help = match &why {
        NoOrder::NoImage | NoOrder::ImageMissing { .. } => "name the `image` that is to be written",
        NoOrder::NoDisk { .. } => {
            "`bootwright image add NAME --disk FILE` makes an image of a disk; an installer's kernel and initrd have a \
             script of their own, such as debian-installer"
        }
        NoOrder::NotADisk { .. } => {
            "`qemu-img convert -O raw` makes a disk of a qcow2 or VMDK image, `xz -dc FILE | zstd` packs anew what xz \
             packed; a disk without a partition table needs format = \"raw\" in its image.toml"
        }
        NoOrder::Contradiction { .. } => "correct what image.toml says of the `disk`",
    };
    let settings = &host.settings;
    let place = settings.image.as_ref().map(|image| &image.origin);
    let place = place.or(settings.script.as_ref().map(|script| &script.origin));
    let flaw = Flaw {
        place: None,
        is_error: true,
        what: why.to_string().into(),
        help,
    };
    Some((flaw, place.unwrap_or(&host.origin).clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps(rule: DiskSelector, text: &str) -> bool {
        keeps_to(&rule, text)
    }

    #[test]
    fn a_text_keeps_to_a_rule_that_it_names_whole() {
        let both = || DiskSelector {
            serial: Some("S1".to_owned()),
            size: "480GB".parse().ok(),
            ..DiskSelector::default()
        };
        assert!(keeps(both(), "check serial S1 and at least 456000000000 bytes"));
        assert!(!keeps(both(), "ignoredisk --only-use=sda # S1"));
        assert!(!keeps(both(), "456000000000"));
        assert!(keeps(
            both(),
            "kernel vmlinuz bootwright.order=http://192.0.2.1/order/a/b"
        ));
        let fast = || DiskSelector {
            nvme: Some(true),
            ..DiskSelector::default()
        };
        assert!(!keeps(fast(), "anything"));
        assert!(keeps(fast(), "# { nvme = true }"));
    }
}
