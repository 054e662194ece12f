//! One install, from its order to its end.

use super::{
    boot_entry,
    callbacks::{self, Callbacks},
    disks::{self, FoundDisk},
    failure::{DeployFailure, TableFault},
    gpt::GptTable,
    meter::Meter,
    pipeline,
    seed::{self, SeedTexts},
    target_disk::{TargetDisk, wide},
    wire::Wire,
};
use crate::model::{AfterDeploy, DeployOrder, DiskInfo, DiskSelector, NoDisk, limits::DEPLOY_ORDER_BYTES_MAX};
use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::Duration,
};

/// Where and how patiently an install works.
pub(super) struct DeploySettings {
    /// Below it are `sys` and `dev`.
    pub(super) root: PathBuf,
    /// How long the server may be gone.
    pub(super) patience: Duration,
    /// How long no other disk must turn up before one is chosen that the order does not call by its own name.
    pub(super) settle: Duration,
}

/// What is written once the image is: everything in it is on the disk for good before `head` is.
struct Finish {
    /// Bytes and where they go.
    writes: Vec<(u64, Vec<u8>)>,
    /// The first bytes of the disk.
    head: Vec<u8>,
    table: Option<GptTable>,
}

/// Room that a seed needs beside its partition: up to where that may begin, and the table's backup behind it.
const SEED_MARGIN_BYTES: u64 = 2 * 1024 * 1024;

/// Carries out the order at a URL. What the machine does then is the answer.
pub(super) fn install(url: &str, settings: &DeploySettings) -> Result<AfterDeploy, DeployFailure> {
    let wire = Wire::new(settings.patience);
    let text = wire.text(url, "an order", DEPLOY_ORDER_BYTES_MAX)?;
    let order = DeployOrder::parse(&text).map_err(|why| {
        let failure = DeployFailure::Order(why);
        // Its host fails now and says why, where that can be told: nobody waits for an install that never began.
        if let Some(callback) = DeployOrder::callback_of(&text) {
            tell_of(&failure, &Callbacks::new(&wire, &callback));
        }
        failure
    })?;
    let callbacks = Callbacks::new(&wire, &order.callback);
    match carry_out(&order, &wire, &callbacks, settings) {
        Ok(()) => {
            callbacks.done()?;
            Ok(order.then)
        }
        Err(failure) => {
            tell_of(&failure, &callbacks);
            Err(failure)
        }
    }
}

fn tell_of(failure: &DeployFailure, callbacks: &Callbacks<'_>) {
    if let Err(unheard) = callbacks.failed(failure) {
        eprintln!("bootwright-deploy: the server does not hear of the failure: {unheard}");
    }
}

/// Tells a URL of this machine's disks, once no other turns up.
pub(super) fn tell_disks(url: &str, settings: &DeploySettings) -> Result<(), DeployFailure> {
    let disks = disks::settled(&settings.root, settings.settle, |_| false);
    callbacks::tell_disks(&Wire::new(settings.patience), url, &infos(&disks))
}

fn carry_out(
    order: &DeployOrder,
    wire: &Wire,
    callbacks: &Callbacks<'_>,
    settings: &DeploySettings,
) -> Result<(), DeployFailure> {
    callbacks.started()?;
    let texts = seed::texts(&order.seed, wire)?;
    let disks = all_disks(&order.disk, settings);
    // Told before one is chosen: where none is, a person sees what there is.
    callbacks.started_with(&infos(&disks))?;
    let found = chosen(order, &texts, &disks)?;
    eprintln!("bootwright-deploy: writing {} to {}", order.image.url, found.info);
    let disk = TargetDisk::open(&found)?;
    // Made before anything is written, so that one that can't be made costs no disk.
    let volume = match texts.is_empty() {
        true => None,
        false => Some(seed::volume(&texts, disk.sector).map_err(DeployFailure::Seed)?),
    };
    let meter = Meter::new(order.image.bytes);
    thread::scope(|scope| {
        let (working, end) = channel();
        let meter = &meter;
        scope.spawn(move || callbacks.follow(meter, &end));
        // By now the last of them has turned up.
        let leave = || callbacks.started_with(&disks::disks_of(&settings.root));
        let head = pipeline::write_image(&order.image, volume.is_some(), wire, (&disk, &leave), meter);
        let ended = head.and_then(|head| {
            meter.finish();
            finish(order, head, volume, &disk)
        });
        let ended = ended.map(|table| after(order, table, settings, &found));
        drop(working);
        ended
    })
}

/// The disk that the order means, with room for what it brings.
fn chosen(order: &DeployOrder, texts: &SeedTexts, disks: &[FoundDisk]) -> Result<FoundDisk, DeployFailure> {
    let infos = infos(disks);
    let seed = match texts.is_empty() {
        true => 0,
        false => seed::volume_bytes(texts) + SEED_MARGIN_BYTES,
    };
    let needed = order.image.disk_bytes().unwrap_or_default().saturating_add(seed);
    let info = order.disk.choose(&infos, needed).map_err(no_disk)?;
    let found = disks.iter().find(|disk| disk.info.name == info.name);
    found.cloned().ok_or_else(|| no_disk(NoDisk::NoneSeen))
}

fn infos(disks: &[FoundDisk]) -> Vec<DiskInfo> {
    disks.iter().map(|disk| disk.info.clone()).collect()
}

/// The machine's disks, once no other turns up: controllers show theirs one after another, and the only one, the
/// smallest or the largest of those that are there yet may not be the one that is meant. One that is called by its
/// own name can't be taken for another, and is not waited for.
fn all_disks(rule: &DiskSelector, DeploySettings { root, settle, .. }: &DeploySettings) -> Vec<FoundDisk> {
    let is_named = rule.serial.is_some() || rule.by_id.is_some();
    disks::settled(root, *settle, |disks| {
        is_named && disks.iter().any(|disk| rule.fits(&disk.info))
    })
}

fn no_disk(why: NoDisk) -> DeployFailure {
    DeployFailure::NoDisk(Box::new(why))
}

/// Brings the partition table, the seed and the head to the disk, and reads them back.
fn finish(
    order: &DeployOrder,
    head: Vec<u8>,
    volume: Option<Vec<u8>>,
    disk: &TargetDisk,
) -> Result<Option<GptTable>, DeployFailure> {
    let Finish { writes, head, table } = plan(order, head, volume, disk)?;
    for (at, bytes) in &writes {
        disk.write_padded(bytes, *at)?;
    }
    disk.sync()?;
    for (at, bytes) in &writes {
        disk.compare(bytes, *at)?;
    }
    disk.write_padded(&head, 0)?;
    disk.sync()?;
    disk.compare(&head, 0)?;
    Ok(table)
}

fn plan(
    order: &DeployOrder,
    mut head: Vec<u8>,
    volume: Option<Vec<u8>>,
    disk: &TargetDisk,
) -> Result<Finish, DeployFailure> {
    let table = match GptTable::read(&head, disk.sector, disk.bytes) {
        Ok(table) => table,
        Err(fault) if volume.is_some() => return Err(DeployFailure::Table(fault)),
        Err(fault) => {
            eprintln!("bootwright-deploy: {fault}; it stays as it is");
            None
        }
    };
    let Some(mut table) = table else {
        if volume.is_some() {
            return Err(DeployFailure::Table(TableFault::None));
        }
        if order.grow {
            eprintln!("bootwright-deploy: the image has no sound GPT, so no partition is grown");
        }
        return Ok(Finish {
            writes: Vec::new(),
            head,
            table: None,
        });
    };
    let mut writes = Vec::new();
    // First, so that what comes later wins where it lies at the same place.
    writes.extend(table.stale_backup().map(|at| (at, vec![0; disk.unit()])));
    let mut seed_at = None;
    if let Some(volume) = volume {
        let at = table
            .add_seed(wide(volume.len()), random_id())
            .map_err(DeployFailure::Table)?;
        seed_at = Some(at);
        writes.retain(|(stale, _)| !(at..at + wide(volume.len())).contains(stale));
        writes.push((at, volume));
    }
    if order.grow {
        table.grow_last(seed_at);
    }
    writes.push(table.backup());
    table.put_into(&mut head);
    Ok(Finish {
        writes,
        head,
        table: Some(table),
    })
}

/// A UUID of version 4, in the order of bytes that GPT has.
fn random_id() -> [u8; 16] {
    let mut id = [0; 16];
    // With the kernel's lot not filled yet it is waited for.
    let _ = rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty());
    id[7] = id[7] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

/// What makes the next start better and fails no install: firmware finds the loader of a disk by itself.
fn after(order: &DeployOrder, table: Option<GptTable>, settings: &DeploySettings, found: &FoundDisk) {
    if let Some(entry) = &order.boot_entry {
        let partition = table.and_then(|table| table.efi_system());
        match partition.map(|partition| boot_entry::set(&settings.root, entry, partition)) {
            Some(Ok(true)) => eprintln!("bootwright-deploy: the firmware's boot menu has {:?}", entry.label),
            Some(Ok(false)) => {}
            Some(Err(error)) => eprintln!("bootwright-deploy: the firmware's boot menu stays as it is: {error}"),
            None => eprintln!("bootwright-deploy: the image has no EFI system partition, so no boot entry is made"),
        }
    }
    // Whoever looks at the disk from this live system sees its partitions. The next start reads them anyway.
    let reread = Command::new("blockdev")
        .arg("--rereadpt")
        .arg(&found.node)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !reread.is_ok_and(|status| status.success()) {
        eprintln!("bootwright-deploy: the kernel did not read the new partition table");
    }
}
