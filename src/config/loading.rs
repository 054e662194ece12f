//! One load from its first file to a snapshot or a report.

use super::{
    Diagnostic, LoadReport, Loaded, SecretsAre, appliance,
    images::ImageFolder,
    problems::{Problems, TriedBefore},
    raw::Inventory,
    snapshot,
    validation_protocol::{let_go, on_stack},
};
use crate::boot::snapshot::Snapshot;
use crate::images::sums::Sums;
use std::path::Path;

/// Reads `bootwright.toml` and everything it names; artifacts are held against their checksums as far
/// as `sums` knows those by now.
///
/// # Errors
/// Either all of it is sound, or the report says everything that is not.
pub fn load(path: &Path, generation: u64, sums: &mut dyn Sums) -> Result<Loaded, LoadReport> {
    load_only(path, generation, sums, (None, SecretsAre::Served))
}

/// The same of files with these bytes only, and with secrets read for that.
pub(super) fn load_only(
    path: &Path,
    generation: u64,
    sums: &mut dyn Sums,
    (before, secrets): (Option<TriedBefore>, SecretsAre),
) -> Result<Loaded, LoadReport> {
    let mut problems = Problems::default().with_tried(before).with_secrets(secrets);
    let Some(read) = appliance::read(path, &mut problems) else {
        return Err(problems.into_report());
    };
    let catalogue = ImageFolder::read(&read.appliance.images, sums, &mut problems);
    let appliance = read.appliance.clone();
    validate(&read, catalogue, generation, problems).map(|(snapshot, warnings)| Loaded {
        appliance,
        snapshot,
        warnings,
    })
}

/// Reads and judges what the settings name, on a thread with a stack for any template; the snapshot with what
/// is odd about it, or what is wrong.
pub(super) fn validate(
    read: &appliance::ParsedAppliance,
    catalogue: ImageFolder,
    generation: u64,
    problems: Problems,
) -> Result<(Snapshot, Vec<Diagnostic>), LoadReport> {
    on_stack(|| validate_here(read, catalogue, generation, problems)).unwrap_or_else(|error| {
        let mut problems = Problems::default();
        let what = format!("the files can't be judged, because no thread can be started for it: {error}");
        problems.unusable(&read.paths_at.file, what, "");
        Err(problems.into_report())
    })
}

fn validate_here(
    read: &appliance::ParsedAppliance,
    mut catalogue: ImageFolder,
    generation: u64,
    mut problems: Problems,
) -> Result<(Snapshot, Vec<Diagnostic>), LoadReport> {
    let inventory = Inventory::read(&read.appliance.inventory, &mut problems);
    catalogue.stand_in(&read.appliance.images, &inventory, &read.appliance.live);
    let snapshot = snapshot(read, &inventory, catalogue, generation, &mut problems);
    let_go(inventory);
    let is_sound = !problems.has_errors();
    let report = problems.into_report();
    match is_sound {
        true => Ok((snapshot, report.warnings)),
        false => Err(report),
    }
}
