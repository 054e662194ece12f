//! Detects boot loops: a machine that fetches the same loader again and again and never asks for its script.
//!
//! What counts is a loader that was sent completely, not an offer or an ACK: firmware repeats its DHCP
//! for many reasons, and takes a whole file for one. The loader's own next request (iPXE's DHCP, or its
//! script) ends the run, and so do another loader and [`LOADER_LOOP_RESET`]. `autoexec.ipxe` does not: the firmware
//! fetches it. Nothing here stops a machine; the operator is warned.

use crate::boot::{
    event::{Event, RequestedFile, Stage, Step},
    identity_cache::RecentMap,
    paths,
};
use crate::model::{
    MacAddr, Now,
    limits::{LOADER_LOOP_RESET, LOADER_LOOP_TIMES},
};
use std::{sync::Arc, time::Duration};

/// The machines that took a loader which was not heard since.
#[derive(Debug, Default)]
pub struct LoaderLoops {
    rows: RecentMap<MacAddr, Run>,
}

/// The same loader, taken again and again.
#[derive(Debug)]
struct Run {
    loader: Arc<str>,
    times: u32,
    /// When the last one was sent completely, on the monotonic clock.
    last: Duration,
}

/// What an event says of the row its machine is in.
enum Signal {
    Loaded(Arc<str>),
    Runs,
}

impl LoaderLoops {
    /// Takes what happened; at every [`LOADER_LOOP_TIMES`]th loader of a row, the alarm.
    pub fn observe(&mut self, now: Now, event: &Event) -> Option<Event> {
        let mac = event.machine.hardware.and_then(|hardware| hardware.mac())?;
        let loader = match signal(event)? {
            Signal::Loaded(loader) => loader,
            Signal::Runs => {
                self.rows.forget(mac);
                return None;
            }
        };
        let before = self
            .rows
            .get(mac)
            .filter(|row| row.loader == loader && now.monotonic.saturating_sub(row.last) <= LOADER_LOOP_RESET)
            .map_or(0, |row| row.times);
        let times = before.saturating_add(1);
        let row = Run {
            loader: Arc::clone(&loader),
            times,
            last: now.monotonic,
        };
        self.rows.record(mac, row);
        times.is_multiple_of(LOADER_LOOP_TIMES).then(|| Event {
            step: Step::LoaderLoop { loader, times },
            ..event.clone()
        })
    }

    /// Whether an event says anything here: most need no lock.
    pub fn concerns(event: &Event) -> bool {
        signal(event).is_some()
    }
}

fn signal(event: &Event) -> Option<Signal> {
    match (event.stage, &event.step) {
        (Stage::Ipxe, step) if step.file().is_some_and(is_autoexec) => None,
        (Stage::Ipxe | Stage::Grub | Stage::Pxelinux, _) => Some(Signal::Runs),
        // A file that firmware asks for is a loader; a HEAD takes nothing.
        (Stage::BiosPxe | Stage::UefiPxe | Stage::UefiHttp, Step::Sent { file, bytes: 1.., .. }) => {
            Some(Signal::Loaded(match file {
                RequestedFile::Loader { file } => Arc::clone(file),
                other => other.short().to_string().into(),
            }))
        }
        (
            Stage::BiosPxe
            | Stage::UefiPxe
            | Stage::UefiHttp
            | Stage::BareIpxe
            | Stage::RaspberryPi
            | Stage::System
            | Stage::Unknown,
            _,
        ) => None,
    }
}

/// Whether it is what leads an iPXE to its script: ours, or the operator's own.
fn is_autoexec(file: &RequestedFile) -> bool {
    match file {
        RequestedFile::Autoexec => true,
        RequestedFile::Loader { file } => file.rsplit('/').next() == Some(paths::AUTOEXEC),
        RequestedFile::Script { .. }
        | RequestedFile::Answer { .. }
        | RequestedFile::Artifact { .. }
        | RequestedFile::Metadata { .. }
        | RequestedFile::Callback { .. }
        | RequestedFile::Order
        | RequestedFile::SshKeys
        | RequestedFile::Disks
        | RequestedFile::Path { .. }
        | RequestedFile::HttpRequest { .. }
        | RequestedFile::TftpWrite { .. }
        | RequestedFile::DhcpReply => false,
    }
}
