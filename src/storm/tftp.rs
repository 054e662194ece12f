//! Carries TFTP fetches, with the option sets that real loaders' readers send.

use super::{
    FleetFirmware,
    progress::{StormClock, StormProgress},
    report::FailureCause,
};
use crate::model::text;
use crate::proto::{
    ipxe::FileUrl,
    tftp::{
        fetch::{Fetch, FetchEnd},
        wire::{self, ErrorCode, TransferOptions},
    },
};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::atomic::Ordering,
};
use tokio::net::UdpSocket;

/// Room for the largest block that is asked for and its header.
const PACKET_BYTES: usize = 1500;

/// Why a fetch failed, with the server's words.
pub(super) type Failed = (FailureCause, String);

/// Where a machine fetches from, and from which address.
pub(super) struct Tftp<'a> {
    pub local: Ipv4Addr,
    pub server: Ipv4Addr,
    pub clock: StormClock,
    pub progress: &'a StormProgress,
}

/// What firmware asks for with its loader.
pub(super) fn loader_options(firmware: FleetFirmware) -> TransferOptions {
    match firmware {
        // The PXE base code of NICs: its block fits the frame, and there is no window.
        FleetFirmware::Bios => TransferOptions {
            blksize: Some(1456),
            tsize: true,
            ..TransferOptions::default()
        },
        FleetFirmware::Uefi => TransferOptions {
            blksize: Some(1468),
            windowsize: Some(4),
            ..TransferOptions::default()
        },
    }
}

/// What iPXE asks for with any file.
pub(super) fn ipxe_options() -> TransferOptions {
    TransferOptions {
        blksize: Some(1432),
        tsize: true,
        ..TransferOptions::default()
    }
}

/// How far a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TransferBound {
    /// To its end.
    End,
    /// To the size of the file, and no byte of it.
    Size,
    /// To so many percent of it.
    Percent(u64),
}

impl TransferBound {
    /// Whether so many bytes of so many are as much as it takes.
    fn is_reached(self, size: Option<u64>, had: u64) -> bool {
        match (self, size) {
            (TransferBound::Percent(percent), Some(size)) => had * 100 >= size * percent,
            _ => false,
        }
    }
}

impl Tftp<'_> {
    /// EDK2's question for a file's size: a request whose answer is taken back with ERROR 8.
    pub(super) async fn probe(&self, place: &FileUrl) -> Result<(), Failed> {
        let options = TransferOptions {
            blksize: Some(1468),
            tsize: true,
            ..TransferOptions::default()
        };
        self.carry(place, options, TransferBound::Size, 0).await.map(drop)
    }

    /// The beginning of a file, so many percent of it: then it falls silent.
    pub(super) async fn begin(&self, place: &FileUrl, percent: u64) -> Result<(), Failed> {
        let options = TransferOptions {
            tsize: true,
            ..loader_options(FleetFirmware::Uefi)
        };
        self.carry(place, options, TransferBound::Percent(percent), 0)
            .await
            .map(drop)
    }

    /// A whole file; its first `keep` bytes.
    pub(super) async fn fetch(
        &self,
        place: &FileUrl,
        options: TransferOptions,
        keep: usize,
    ) -> Result<Vec<u8>, Failed> {
        self.carry(place, options, TransferBound::End, keep).await
    }

    async fn carry(
        &self,
        place: &FileUrl,
        options: TransferOptions,
        bound: TransferBound,
        keep: usize,
    ) -> Result<Vec<u8>, Failed> {
        let socket = UdpSocket::bind((self.local, 0)).await.map_err(|error| local(&error))?;
        let mut fetch = Fetch::begin(self.clock.now(), place.path.as_bytes(), options);
        let (mut packet, mut outgoing, mut kept) = ([0; PACKET_BYTES], Vec::new(), Vec::new());
        let (mut peer, mut had) = (None, 0);
        loop {
            if bound.is_reached(fetch.size(), had) {
                return Ok(kept);
            }
            if bound == TransferBound::Size && fetch.size().is_some() {
                let _ = socket
                    .send(&wire::error(ErrorCode::TransferOptions, "User aborted the transfer"))
                    .await;
                return Ok(kept);
            }
            if fetch.poll_transmit(&mut outgoing) {
                // What can't be sent now is sent again by the clock.
                let _ = match peer {
                    Some(_) => socket.send(&outgoing).await,
                    None => socket.send_to(&outgoing, (self.server, place.port)).await,
                };
            }
            if let Some(ending) = fetch.ending() {
                self.progress
                    .repeated
                    .fetch_add(fetch.tally().retries, Ordering::Relaxed);
                return outcome(ending).map(|()| kept);
            }
            let deadline = self.clock.at(fetch.deadline().unwrap_or_default());
            let received = match tokio::time::timeout_at(deadline, socket.recv_from(&mut packet)).await {
                Err(_) => {
                    fetch.handle_timeout(self.clock.now());
                    continue;
                }
                // A closed port is told by ICMP: the clock goes on, as firmware's does.
                Ok(Err(_)) => continue,
                Ok(Ok(received)) => received,
            };
            let (length, from) = received;
            if peer.is_none() {
                if from.ip() != IpAddr::V4(self.server) {
                    continue;
                }
                // The transfer's own port from here on (RFC 1350); the kernel drops all others.
                socket.connect(from).await.map_err(|error| local(&error))?;
                peer = Some(from);
            }
            if let Ok(reply) = wire::parse_reply(&packet[..length]) {
                let data = fetch.handle(self.clock.now(), &reply);
                self.progress.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
                had += data.len() as u64;
                let room = keep.saturating_sub(kept.len()).min(data.len());
                kept.extend_from_slice(&data[..room]);
            }
        }
    }
}

fn outcome(ending: &FetchEnd) -> Result<(), Failed> {
    match ending {
        FetchEnd::Complete => Ok(()),
        FetchEnd::Refused { code, message } => Err((FailureCause::TftpError(*code), text::escape(message))),
        FetchEnd::Unfit(why) => Err((FailureCause::TftpUnfit, (*why).to_owned())),
        FetchEnd::Silent => Err((FailureCause::TftpSilent, String::new())),
    }
}

/// What an error of this host's own sockets means.
pub(super) fn local(error: &std::io::Error) -> Failed {
    let cause = match error.kind() {
        std::io::ErrorKind::AddrNotAvailable => FailureCause::NotOurAddress,
        _ => FailureCause::Local,
    };
    (cause, error.to_string())
}
