//! The host: its clock, its disks, the kernel's limits.

use super::{Unseen, program::printed};
use crate::config::Appliance;
use crate::doctor::{ClockFacts, DiskFacts, KernelLimits};
use crate::model::{
    WallTime,
    limits::{DOCTOR_IMAGES_FREE_BYTES, DOCTOR_STATE_BYTES_PER_HOST, DOCTOR_STATE_FREE_BYTES},
};
use nix::{
    sys::{
        resource::{Resource, getrlimit},
        statvfs::{FsFlags, statvfs},
    },
    unistd::Uid,
};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// systemd-timesyncd makes it when it has set the clock.
const TIMESYNCD: &str = "/run/systemd/timesync/synchronized";

pub(super) fn clock(files: &[&Path], unseen: &mut Unseen) -> Option<ClockFacts> {
    let seconds = |time: SystemTime| Some(WallTime(time.duration_since(UNIX_EPOCH).ok()?.as_secs()));
    let newest = files
        .iter()
        .filter_map(|file| seconds(fs::metadata(file).ok()?.modified().ok()?))
        .max();
    let is_synchronised = match Path::new(TIMESYNCD).exists() {
        true => Some(true),
        false => by_systemd(),
    };
    if is_synchronised.is_none() {
        unseen.add("whether something keeps the clock right: no systemd answers here");
    }
    Some(ClockFacts {
        now: seconds(SystemTime::now())?,
        is_synchronised,
        newest_file: newest,
    })
}

/// What systemd says of the kernel's clock, whoever keeps that right.
fn by_systemd() -> Option<bool> {
    let printed = printed("timedatectl", &["show", "--property=NTPSynchronized", "--value"])?.ok()?;
    match printed.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// The folder, or the nearest one above it that is there: a first start makes the rest.
fn there(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|ancestor| ancestor.is_dir())
}

pub(super) fn disks(appliance: &Appliance, hosts: usize, unseen: &mut Unseen) -> Vec<DiskFacts> {
    let hosts = u64::try_from(hosts).unwrap_or(u64::MAX);
    let state = DOCTOR_STATE_FREE_BYTES.saturating_add(hosts.saturating_mul(DOCTOR_STATE_BYTES_PER_HOST));
    let folders = [
        ("the state", &appliance.state, state, state.saturating_mul(2)),
        ("images", &appliance.images, 0, DOCTOR_IMAGES_FREE_BYTES),
    ];
    let mut disks: Vec<DiskFacts> = Vec::new();
    let mut devices = Vec::new();
    for (purpose, folder, needed, wanted) in folders {
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
        let found = there(&absolute).and_then(|there| Some((fs::metadata(there).ok()?.dev(), statvfs(there).ok()?)));
        let Some((device, system)) = found else {
            unseen.add(format_args!(
                "the disk of {purpose}: {} can't be looked at",
                folder.display()
            ));
            continue;
        };
        // Two folders on one disk are one disk.
        if devices.contains(&device) {
            continue;
        }
        devices.push(device);
        disks.push(DiskFacts {
            purpose,
            folder: folder.display().to_string(),
            is_read_only: system.flags().contains(FsFlags::ST_RDONLY),
            free: system.blocks_available().saturating_mul(system.fragment_size()),
            // Some file systems have as many as there is room for, and count none.
            inodes_free: (system.files() > 0).then(|| system.files_available()),
            needed,
            wanted,
        });
    }
    disks
}

pub(super) fn limits(daemon: Option<u32>) -> KernelLimits {
    let of_process = daemon.and_then(open_files_of);
    let own = || getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(_, hard)| hard);
    KernelLimits {
        open_files: of_process.or_else(own),
        open_files_all: setting("fs/file-max"),
        rmem_max: setting("net/core/rmem_max"),
        is_root: Uid::effective().is_root(),
        neighbours_max: setting("net/ipv4/neigh/default/gc_thresh3"),
        conntrack_max: setting("net/netfilter/nf_conntrack_max"),
    }
}

fn setting(name: &str) -> Option<u64> {
    fs::read_to_string(Path::new("/proc/sys").join(name))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// The limit under which the daemon runs.
fn open_files_of(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
