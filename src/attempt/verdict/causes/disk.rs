//! Machines that boot their disks, as they were told.

use super::super::{BootCause, Confidence::Certain, Severity::AsConfigured};
use crate::boot::event::Circumstance;

/// The causes of that kind.
pub(super) static DISK: &[BootCause] = &[
    BootCause {
        name: "not_armed",
        severity: AsConfigured,
        confidence: Certain,
        find: |trace| {
            let told = trace.told_disk(&[Circumstance::DiskNotArmed, Circumstance::DiskRuleInstalls])?;
            Some(format!("it was told to boot its disk: {}", told.sentence()))
        },
        action: "`bootwright arm HOST` if it is to be installed: that ERASES its disk",
        page: "`boot = \"install\"` happens once, to a host that somebody armed, or that appeared in the inventory for the first time. All others boot their disks.",
    },
    BootCause {
        name: "install_failed_before",
        severity: AsConfigured,
        confidence: Certain,
        find: |trace| {
            let told = trace.told_disk(&[Circumstance::DiskInstallFailed])?;
            Some(format!("it was told to boot its disk: {}", told.sentence()))
        },
        action: "`bootwright why HOST --all` shows the attempt that failed; arm it again when that is mended",
        page: "A host whose install failed is not installed again by itself.",
    },
    BootCause {
        name: "locked",
        severity: AsConfigured,
        confidence: Certain,
        find: |trace| {
            let told = trace.told_disk(&[Circumstance::DiskLocked])?;
            Some(format!("it was told to boot its disk: {}", told.sentence()))
        },
        action: "take `locked` off the host if it is to boot from the network",
        page: "`locked = true` keeps a host on its disk whatever else is said.",
    },
    BootCause {
        name: "local",
        severity: AsConfigured,
        confidence: Certain,
        find: |trace| {
            let told = trace.told_disk(&[Circumstance::DiskConfigured, Circumstance::DiskInstalled])?;
            Some(format!("it was told to boot its disk: {}", told.sentence()))
        },
        action: "if it does not come up from its disk, see its console: its boot order may name the network alone",
        page: "The inventory says that the machine boots its disk, or it is installed. What happens from then on is not seen here.",
    },
];
