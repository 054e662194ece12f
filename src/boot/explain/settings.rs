//! What is in force, held against what each profile says. Does not own which of two wins: that is `config`'s, and what
//! won is what the snapshot has.

use super::{ExplainedSetting, OverruledSetting};
use crate::boot::written::WrittenSetting;

/// What one profile, host or rule says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingLayer {
    /// `profile base`, `host r1u07`, `this rule`.
    pub name: String,
    /// What it says.
    pub settings: Vec<WrittenSetting>,
}

/// What is in force, with the layer that each value stands in and what it stands in place of.
pub(super) fn explained(
    (identity, in_force): (Vec<WrittenSetting>, Vec<WrittenSetting>),
    layers: &[SettingLayer],
) -> Vec<ExplainedSetting> {
    // The generation in force knows of these no more than where the host is.
    let placed = identity.into_iter().map(|row| {
        let mut written = layers.last().into_iter().flat_map(|own| &own.settings);
        let found = written.find(|written| (&written.key, &written.value) == (&row.key, &row.value));
        found.cloned().unwrap_or(row)
    });
    let is_list = |key: &str| matches!(key, "cmdline" | "loader");
    let layer_of = |row: &WrittenSetting| {
        let has = |layer: &&SettingLayer| layer.settings.contains(row);
        layers.iter().find(has).map(|layer| layer.name.clone())
    };
    let overruled = |row: &WrittenSetting, by: &str| -> Vec<OverruledSetting> {
        let below = layers.iter().take_while(|layer| layer.name != by);
        let said = below.flat_map(|layer| layer.settings.iter().map(move |setting| (layer, setting)));
        let said = said.filter(|(_, setting)| setting.key == row.key && !is_list(&row.key));
        let said = said.map(|(layer, setting)| OverruledSetting {
            value: setting.clone().blacked_out().value,
            place: setting.origin.clone(),
            layer: layer.name.clone(),
        });
        said.collect()
    };
    let explain = |row: WrittenSetting| {
        let layer = layer_of(&row);
        let overrules = layer.as_deref().map(|layer| overruled(&row, layer)).unwrap_or_default();
        let row = row.blacked_out();
        ExplainedSetting {
            key: row.key,
            value: row.value,
            place: row.origin,
            layer,
            overrules,
        }
    };
    placed.chain(in_force).map(explain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{
        snapshot::{BootSettings, Origin},
        written::written_settings,
    };
    use crate::fixtures::{origin, sourced};
    use crate::model::BootTarget;

    fn layer(name: &str, line: u32, settings: BootSettings) -> SettingLayer {
        let settings = written_settings(&settings).into_iter().map(|row| WrittenSetting {
            origin: Origin { line, ..origin() },
            ..row
        });
        SettingLayer {
            name: name.to_owned(),
            settings: settings.collect(),
        }
    }

    fn boots(target: BootTarget, line: &[&str]) -> BootSettings {
        BootSettings {
            boot: Some(sourced(target)),
            cmdline: line.iter().map(|word| sourced((*word).to_owned())).collect(),
            ..BootSettings::default()
        }
    }

    #[test]
    fn a_value_is_told_with_its_profile_and_with_what_it_overrules() {
        let layers = [
            layer("profile base", 3, boots(BootTarget::Local, &["quiet"])),
            layer("profile worker", 7, boots(BootTarget::Live, &["nomodeset"])),
        ];
        let in_force = [&layers[1].settings[0], &layers[0].settings[1], &layers[1].settings[1]];
        let rows = explained((Vec::new(), in_force.into_iter().cloned().collect()), &layers);
        let shown: Vec<(&str, &str, Option<&str>, usize)> = rows
            .iter()
            .map(|row| (&*row.key, &*row.value, row.layer.as_deref(), row.overrules.len()))
            .collect();
        let expected = [
            ("boot", "live", Some("profile worker"), 1),
            ("cmdline", "quiet", Some("profile base"), 0),
            ("cmdline", "nomodeset", Some("profile worker"), 0),
        ];
        assert_eq!(shown, expected);
        assert_eq!(
            (rows[0].overrules[0].value.as_str(), rows[0].overrules[0].place.line),
            ("local", 3)
        );
    }
}
