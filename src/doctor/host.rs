//! The host's clock, its disks, and what its kernel bounds.

use super::{CheckName, Diagnoses, DoctorFacts};
use crate::model::limits::OPEN_FILES_MAX;

/// 2025-01-01: no host with this program lives before that.
const EARLIEST_S: u64 = 1_735_689_600;
/// A clock may be so much behind the time of a file that another machine wrote.
const FILE_AHEAD_S: u64 = 300;
/// What a storm of the whole fleet asks of the receive buffer of a socket: some 1,000 bytes each with the kernel's own.
const DATAGRAM_BYTES: u64 = 1024;
/// What a kernel has that was never told anything, where it does not say: `gc_thresh3` and `rmem_max`.
const NEIGHBOURS_DEFAULT: u64 = 1024;
const RMEM_DEFAULT: u64 = 212_992;
/// Neighbours beside the machines: routers, other wires, who passes by.
const NEIGHBOURS_SPARE: u64 = 256;
/// Connections that one machine has under way in its boot, those that linger among them.
const CONNECTIONS_PER_MACHINE: u64 = 16;
/// Files that a machine has open here in its boot: a socket and a file, of two transfers.
const FILES_PER_MACHINE: u64 = 4;
/// Files that the daemon has open beside them.
const FILES_SPARE: u64 = 256;
/// Files that must be possible to make on a disk.
const INODES_NEEDED: u64 = 64;

pub(super) fn judge_clock(facts: &DoctorFacts, found: &mut Diagnoses) {
    let Some(clock) = &facts.clock else { return };
    let remedy = "`timedatectl set-ntp true`, or install chrony; certificates and leases go by the clock";
    let is_behind_file = clock
        .newest_file
        .is_some_and(|file| file.0 > clock.now.0.saturating_add(FILE_AHEAD_S));
    match clock.is_synchronised {
        _ if clock.now.0 < EARLIEST_S => found.red(
            CheckName::Clock,
            "host",
            format_args!("it is before 2025: it was never set since this machine was switched on"),
            remedy,
        ),
        _ if is_behind_file => found.red(
            CheckName::Clock,
            "host",
            format_args!("it is behind the time at which a file of the configuration was written"),
            remedy,
        ),
        Some(false) => found.amber(
            CheckName::Clock,
            "host",
            format_args!("nothing keeps it right: the kernel says that it is not synchronised"),
            remedy,
        ),
        Some(true) => found.green(CheckName::Clock, "host", format_args!("it is synchronised")),
        None => found.green(CheckName::Clock, "host", format_args!("its date makes sense")),
    }
}

pub(super) fn judge_disks(facts: &DoctorFacts, found: &mut Diagnoses) {
    for disk in &facts.disks {
        let (purpose, folder) = (disk.purpose, &disk.folder);
        let megabytes = |bytes: u64| bytes / 1_000_000;
        let free = megabytes(disk.free);
        let room = format_args!("make room there: `du -xh --max-depth=2 {folder} | sort -h`");
        if disk.is_read_only && disk.needed > 0 {
            found.red(
                CheckName::DiskSpace,
                folder,
                format_args!("the disk of {purpose} is read-only, so that no lease can be acknowledged"),
                "see `dmesg` for why, then mount it for writing",
            );
        } else if disk.inodes_free.is_some_and(|free| free < INODES_NEEDED) && disk.needed > 0 {
            found.red(
                CheckName::DiskSpace,
                folder,
                format_args!("the file system of {purpose} takes no more files: it has no inodes left"),
                room,
            );
        } else if disk.free < disk.needed {
            found.red(
                CheckName::DiskSpace,
                folder,
                format_args!("the disk of {purpose} is full: {free} MB are free"),
                room,
            );
        } else if disk.free < disk.wanted {
            found.amber(
                CheckName::DiskSpace,
                folder,
                format_args!(
                    "the disk of {purpose} is nearly full: {free} MB are free, and {} MB should be",
                    megabytes(disk.wanted)
                ),
                room,
            );
        } else {
            found.green(
                CheckName::DiskSpace,
                folder,
                format_args!("{free} MB are free for {purpose}"),
            );
        }
    }
}

pub(super) fn judge_limits(facts: &DoctorFacts, found: &mut Diagnoses) {
    let limits = &facts.limits;
    let hosts = u64::try_from(facts.hosts).unwrap_or(u64::MAX);
    let needed = OPEN_FILES_MAX.min(hosts.saturating_mul(FILES_PER_MACHINE).saturating_add(FILES_SPARE));
    match limits.open_files.into_iter().chain(limits.open_files_all).min() {
        None => {}
        Some(files) if files < needed => found.amber(
            CheckName::OpenFiles,
            "host",
            format_args!("{files} files may be open, and {hosts} hosts that boot at once need {needed}"),
            "raise LimitNOFILE in the unit (or `ulimit -n`), and fs.file-max",
        ),
        Some(files) => found.green(CheckName::OpenFiles, "host", format_args!("{files} files may be open")),
    }
    let needed = hosts.saturating_mul(DATAGRAM_BYTES);
    match limits.rmem_max.unwrap_or(RMEM_DEFAULT) {
        // Whoever is root when it binds may take more than that.
        bytes if bytes < needed && !limits.is_root => found.amber(
            CheckName::ReceiveBuffer,
            "host",
            format_args!("net.core.rmem_max is {bytes}, and the requests of {hosts} hosts at once take {needed} bytes"),
            format_args!("sysctl -w net.core.rmem_max={}", needed.next_power_of_two()),
        ),
        bytes => found.green(
            CheckName::ReceiveBuffer,
            "host",
            format_args!("net.core.rmem_max is {bytes}"),
        ),
    }
    let needed = hosts.saturating_add(NEIGHBOURS_SPARE);
    match limits.neighbours_max.unwrap_or(NEIGHBOURS_DEFAULT) {
        places if places < needed => found.amber(
            CheckName::Neighbours,
            "host",
            format_args!("the kernel remembers {places} neighbours (gc_thresh3), and there are {hosts} hosts"),
            format_args!(
                "sysctl -w net.ipv4.neigh.default.gc_thresh3={0} net.ipv4.neigh.default.gc_thresh2={0}",
                needed.saturating_mul(2).next_power_of_two()
            ),
        ),
        places => found.green(
            CheckName::Neighbours,
            "host",
            format_args!("there are places for {places} neighbours"),
        ),
    }
    let needed = hosts.saturating_mul(CONNECTIONS_PER_MACHINE);
    match limits.conntrack_max {
        Some(connections) if connections < needed => found.amber(
            CheckName::Conntrack,
            "host",
            format_args!(
                "the firewall follows {connections} connections (nf_conntrack_max), and {hosts} hosts that boot at once \
                 have {needed}: what is more is dropped"
            ),
            format_args!("sysctl -w net.netfilter.nf_conntrack_max={}", needed.next_power_of_two()),
        ),
        Some(connections) => found.green(
            CheckName::Conntrack,
            "host",
            format_args!("the firewall follows {connections} connections"),
        ),
        None => {}
    }
}
