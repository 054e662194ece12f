//! Installs, looked at before anybody is armed: whether a host's image can be written to a disk, and whether its script
//! and its answer keep to the disk that the inventory allows.

use super::rendered::Flaw;
use crate::boot::{
    event::NoOrder,
    resource::deploy_order,
    snapshot::{BootSettings, Host, Origin, Snapshot},
    unattended::{is_for_people, unattended},
};
use crate::model::{BootTarget, DiskSelector, DiskSize, Token};

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

/// Whether a text keeps to the disk: it has the rule whole, as the shipped fence has, maybe quoted for a shell; or it names the disk by its serial
/// number or its `by-id`; or, where the rule has no part that a text can't be seen to look at, everything that the rule
/// names. Our own live system is told the rule by its order. Words for people are no part of it.
fn keeps_to(rule: &DiskSelector, text: &str) -> bool {
    let lines: Vec<&str> = text.lines().filter(|line| !is_for_people(line)).collect();
    let has = |words: &str| lines.iter().any(|line| has_whole(line, words));
    let names = |value: &Option<String>| value.as_ref().is_none_or(|value| has(value));
    let names_size = rule.size.map(DiskSize::bounds).is_none_or(|(least, most)| {
        (least == 0 || has(&least.to_string())) && (most == u64::MAX || has(&most.to_string()))
    });
    let is_named = rule.serial.is_some() || rule.by_id.is_some();
    let is_seen = rule.nvme.is_none() && rule.pick.is_none() && (rule.model.is_some() || rule.size.is_some());
    let names_all = names(&rule.serial) && names(&rule.by_id) && names(&rule.model) && names_size;
    let whole = rule.to_string();
    let has_rule = has(&whole) || has(&whole.replace('\'', "'\"'\"'"));
    orders(text) || has_rule || ((is_named || is_seen) && names_all)
}

/// Whether a line has these words and nothing that goes on with them: `S1` is not in `S10`.
fn has_whole(line: &str, words: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(words).any(|(at, found)| {
        let before = line[..at].chars().next_back();
        let behind = line[at + found.len()..].chars().next();
        !words.is_empty() && !before.is_some_and(is_part) && !behind.is_some_and(is_part)
    })
}

/// Whether a script tells our own live system where its order is.
fn orders(script: &str) -> bool {
    let lines = script.lines().filter(|line| !is_for_people(line));
    let mut words = lines.flat_map(str::split_whitespace);
    words.any(|word| {
        let url = word.trim_matches(['\'', '"']).strip_prefix(ORDER);
        url.is_some_and(|url| url.starts_with("http://"))
    })
}

/// An image that our own live system could not write.
fn unwritable(snapshot: &Snapshot, host: &Host, script: &str) -> Option<(Flaw, Origin)> {
    if !orders(script) {
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
    use crate::model::Pick;

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
        let least_and_most = "serial S1, from 456000000000 to 504000000000 bytes";
        assert!(keeps(both(), least_and_most));
        for text in [
            "ignoredisk --only-use=sda # S1",
            "456000000000",
            "check serial S1 and at least 456000000000 bytes",
            "serial S10, from 456000000000 to 504000000000 bytes",
            "serial S1, from 4560000000001 to 504000000000 bytes",
            "# serial S1, from 456000000000 to 504000000000 bytes",
            "# bootwright.order=http://192.0.2.1/order/a/b",
            "echo bootwright.order=http://192.0.2.1/order/a/b",
            "kernel vmlinuz no-bootwright.order=http://192.0.2.1/order/a/b",
            "kernel vmlinuz bootwright.order=",
            "# { serial = \"S1\", size = \"480GB\" }",
            "",
        ] {
            assert!(!keeps(both(), text), "{text}");
        }
        for text in [
            "kernel vmlinuz bootwright.order=http://192.0.2.1/order/a/b",
            "linux /vmlinuz 'bootwright.order=http://192.0.2.1/order/a/b'",
            "rule='{ serial = \"S1\", size = \"480GB\" }'",
        ] {
            assert!(keeps(both(), text), "{text}");
        }
    }

    #[test]
    fn what_a_text_can_not_be_seen_to_look_at_takes_the_whole_rule() {
        let fast = || DiskSelector {
            nvme: Some(true),
            model: Some("INTEL*".to_owned()),
            ..DiskSelector::default()
        };
        assert!(!keeps(fast(), "model INTEL*"), "of SATA there may be one, too");
        assert!(keeps(fast(), "rule='{ model = \"INTEL*\", nvme = true }'"));
        let largest = || DiskSelector {
            pick: Some(Pick::Largest),
            ..DiskSelector::default()
        };
        assert!(!keeps(largest(), "anything"));
        assert!(keeps(largest(), "rule='{ pick = \"largest\" }'"));
        let at_least = || DiskSelector {
            size: ">=400GB".parse().ok(),
            ..DiskSelector::default()
        };
        assert!(keeps(at_least(), "part / --size=400000000000"));
        assert!(!keeps(at_least(), "part / --size=40000000000"));
    }
}
