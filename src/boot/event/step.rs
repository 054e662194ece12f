//! What a machine did or got: one value for each kind of thing that happens in a boot.

use super::{
    BootAction, BootDecision, FilePart, InstallEvent, LoggedLines, Mismatch, Reason, RequestedFile,
    ReservationUnavailable,
};
use crate::model::MacAddr;
use serde::Serialize;
use std::{net::Ipv4Addr, sync::Arc, time::Duration};

/// What a machine did or got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Step {
    /// DISCOVER answered.
    Offered {
        /// The address.
        address: Ipv4Addr,
        /// What it is told to load, or why nothing.
        boot: BootDecision,
    },
    /// DISCOVER answered beside another server, which gives the address (proxyDHCP).
    ProxyOffered {
        /// What it is told to load.
        boot: BootDecision,
    },
    /// REQUEST or INFORM answered.
    Acknowledged {
        /// The address.
        address: Ipv4Addr,
        /// What it is told to load, or why nothing.
        boot: BootDecision,
    },
    /// A host was given another address than its own.
    ReservationUnavailable {
        /// What it was given.
        given: Ipv4Addr,
        /// Its own.
        own: Ipv4Addr,
        /// Why it does not get that.
        why: ReservationUnavailable,
    },
    /// REQUEST answered with what is on disk already: a later end could not be written.
    AckShortened {
        /// The address.
        address: Ipv4Addr,
        /// How long its lease runs still.
        remaining: Duration,
    },
    /// REQUEST refused (NAK).
    Refused {
        /// Why.
        reason: Reason,
    },
    /// RELEASE taken.
    Released {
        /// The address.
        address: Ipv4Addr,
    },
    /// DECLINE taken: another machine uses the address.
    Declined {
        /// The address.
        address: Ipv4Addr,
    },
    /// DECLINE of an address that is reserved for the host: it stays so, and only people can say who is to have
    /// it.
    ReservationConflict {
        /// The address.
        address: Ipv4Addr,
        /// Who uses it, where that was found out.
        by: Option<MacAddr>,
    },
    /// A probe found that another machine uses an address that was about to be offered.
    AddressInUse {
        /// The address.
        address: Ipv4Addr,
        /// Who answered, where that can be told.
        by: Option<MacAddr>,
    },
    /// It asked for an IPv6 router and was told that none is here, so that it waits for none.
    NoIpv6Router,
    /// A file, script or answer was sent completely.
    Sent {
        /// What it is.
        file: RequestedFile,
        /// The part of it that was asked for; `None` for all of it.
        part: Option<FilePart>,
        /// Bytes of the body.
        bytes: u64,
    },
    /// A transfer ended before its end, or a request was refused.
    Failed {
        /// What was asked for.
        file: RequestedFile,
        /// The part of it that was asked for; `None` for all of it.
        part: Option<FilePart>,
        /// Why.
        reason: Reason,
    },
    /// A file that is not there was asked for, and the loader goes on without it.
    OptionalMissing {
        /// What was asked for.
        file: RequestedFile,
    },
    /// A request waits, with its connection open.
    Waits {
        /// What was asked for.
        file: RequestedFile,
        /// For what.
        reason: Reason,
    },
    /// A request was told to come back (503, Retry-After).
    ComeBack {
        /// What was asked for.
        file: RequestedFile,
        /// Why.
        reason: Reason,
    },
    /// The client asked for a file's size, and took none of it.
    SizeAsked {
        /// What was asked for.
        file: RequestedFile,
    },
    /// The client began anew before its transfer had ended.
    StartedOver {
        /// What was being sent; `None` where that was not known yet.
        file: Option<RequestedFile>,
    },
    /// A transfer or a connection was ended so that another client has its place.
    Evicted {
        /// What was being sent; `None` where that was not known yet.
        file: Option<RequestedFile>,
        /// Why this one.
        reason: Reason,
    },
    /// A request found no place, and got no answer.
    TurnedAway {
        /// Why.
        reason: Reason,
    },
    /// A host asked from a switch port that is not its own, and got no answer.
    WrongPort {
        /// Where it belongs and where it is.
        reason: Reason,
    },
    /// The same loader went out again and again, and the machine never asked for its script.
    LoaderLoop {
        /// The loader.
        loader: Arc<str>,
        /// How often in a row.
        times: u32,
    },
    /// A REQUEST took another DHCP server's offer, and ours is free again.
    ChoseOtherServer {
        /// That server.
        server: Ipv4Addr,
    },
    /// A machine without an address of its own found its pool used up.
    PoolExhausted {
        /// Which pool, and what else stood in the way.
        reason: Reason,
    },
    /// A packet got no answer.
    Ignored {
        /// Why.
        reason: Reason,
    },
    /// It sent lines of its own log.
    Logged(LoggedLines),
    /// It was armed or disarmed, or its install began, went on or ended.
    Install(InstallEvent),
}

impl Step {
    /// What happened, in a word: the log's field `event`.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Offered { .. } => "offered",
            Step::ProxyOffered { .. } => "proxy_offered",
            Step::Acknowledged { .. } => "acknowledged",
            Step::ReservationUnavailable { .. } => "reservation_unavailable",
            Step::AckShortened { .. } => "ack_shortened",
            Step::Refused { .. } => "refused",
            Step::Released { .. } => "released",
            Step::Declined { .. } => "declined",
            Step::ReservationConflict { .. } => "reservation_conflict",
            Step::AddressInUse { .. } => "address_in_use",
            Step::NoIpv6Router => "no_ipv6_router",
            Step::Sent { .. } => "sent",
            Step::Failed { .. } => "failed",
            Step::OptionalMissing { .. } => "optional_missing",
            Step::Waits { .. } => "waits",
            Step::ComeBack { .. } => "come_back",
            Step::SizeAsked { .. } => "size_asked",
            Step::StartedOver { .. } => "started_over",
            Step::Evicted { .. } => "evicted",
            Step::TurnedAway { .. } => "turned_away",
            Step::WrongPort { .. } => "wrong_port",
            Step::LoaderLoop { .. } => "loader_loop",
            Step::ChoseOtherServer { .. } => "chose_other_server",
            Step::PoolExhausted { .. } => "pool_exhausted",
            Step::Ignored { .. } => "ignored",
            Step::Logged(_) => "logged",
            Step::Install(event) => event.name(),
        }
    }

    /// Why it came to that, where there is a reason.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Step::Refused { reason }
            | Step::Failed { reason, .. }
            | Step::Waits { reason, .. }
            | Step::ComeBack { reason, .. }
            | Step::Evicted { reason, .. }
            | Step::TurnedAway { reason }
            | Step::WrongPort { reason }
            | Step::PoolExhausted { reason }
            | Step::Ignored { reason } => Some(reason),
            Step::Offered { .. }
            | Step::ProxyOffered { .. }
            | Step::Acknowledged { .. }
            | Step::ReservationUnavailable { .. }
            | Step::AckShortened { .. }
            | Step::Released { .. }
            | Step::Declined { .. }
            | Step::ReservationConflict { .. }
            | Step::AddressInUse { .. }
            | Step::NoIpv6Router
            | Step::Sent { .. }
            | Step::OptionalMissing { .. }
            | Step::SizeAsked { .. }
            | Step::StartedOver { .. }
            | Step::LoaderLoop { .. }
            | Step::ChoseOtherServer { .. }
            | Step::Logged(_)
            | Step::Install(_) => None,
        }
    }

    /// Bytes that went out.
    pub fn bytes(&self) -> Option<u64> {
        match self {
            Step::Sent { bytes, .. } => Some(*bytes),
            _ => None,
        }
    }

    /// What the machine is told to load.
    pub fn boot(&self) -> Option<&BootAction> {
        match self {
            Step::Offered { boot, .. } | Step::ProxyOffered { boot } | Step::Acknowledged { boot, .. } => {
                Some(&boot.boot)
            }
            _ => None,
        }
    }

    /// What does not fit between the machine's own words and the inventory.
    pub fn mismatch(&self) -> Option<&Mismatch> {
        match self {
            Step::Offered { boot, .. } | Step::ProxyOffered { boot } | Step::Acknowledged { boot, .. } => {
                boot.mismatch.as_ref()
            }
            Step::Sent {
                file: RequestedFile::Script { mismatch, .. },
                ..
            } => mismatch.as_ref(),
            _ => None,
        }
    }

    /// The other machine that uses the address that it is about, where that is known.
    pub fn by(&self) -> Option<MacAddr> {
        match self {
            Step::ReservationConflict { by, .. } | Step::AddressInUse { by, .. } => *by,
            _ => None,
        }
    }

    /// Why a REQUEST was refused.
    pub fn refusal(&self) -> Option<&Reason> {
        match self {
            Step::Refused { reason } => Some(reason),
            _ => None,
        }
    }

    /// The address that it is about.
    pub fn address(&self) -> Option<Ipv4Addr> {
        match self {
            Step::Offered { address, .. }
            | Step::Acknowledged { address, .. }
            | Step::AckShortened { address, .. }
            | Step::Released { address }
            | Step::Declined { address }
            | Step::ReservationConflict { address, .. }
            | Step::AddressInUse { address, .. }
            | Step::ReservationUnavailable { given: address, .. } => Some(*address),
            Step::Install(event) => event.address,
            Step::ProxyOffered { .. }
            | Step::Refused { .. }
            | Step::NoIpv6Router
            | Step::Sent { .. }
            | Step::Failed { .. }
            | Step::OptionalMissing { .. }
            | Step::Waits { .. }
            | Step::ComeBack { .. }
            | Step::SizeAsked { .. }
            | Step::StartedOver { .. }
            | Step::Evicted { .. }
            | Step::TurnedAway { .. }
            | Step::WrongPort { .. }
            | Step::LoaderLoop { .. }
            | Step::ChoseOtherServer { .. }
            | Step::PoolExhausted { .. }
            | Step::Logged(_)
            | Step::Ignored { .. } => None,
        }
    }

    /// The file that it is about.
    pub fn file(&self) -> Option<&RequestedFile> {
        match self {
            Step::Sent { file, .. }
            | Step::Failed { file, .. }
            | Step::OptionalMissing { file }
            | Step::Waits { file, .. }
            | Step::ComeBack { file, .. }
            | Step::SizeAsked { file } => Some(file),
            Step::StartedOver { file } | Step::Evicted { file, .. } => file.as_ref(),
            Step::Offered { .. }
            | Step::ProxyOffered { .. }
            | Step::Acknowledged { .. }
            | Step::ReservationUnavailable { .. }
            | Step::AckShortened { .. }
            | Step::Refused { .. }
            | Step::Released { .. }
            | Step::Declined { .. }
            | Step::ReservationConflict { .. }
            | Step::AddressInUse { .. }
            | Step::NoIpv6Router
            | Step::TurnedAway { .. }
            | Step::WrongPort { .. }
            | Step::LoaderLoop { .. }
            | Step::ChoseOtherServer { .. }
            | Step::PoolExhausted { .. }
            | Step::Logged(_)
            | Step::Install(_)
            | Step::Ignored { .. } => None,
        }
    }
}
