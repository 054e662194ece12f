//! What reasons are made of, as people read it.

use crate::boot::event::{
    DiskReason, FileFault, HttpFault, Near, NoOrder, NoOwnAddress, NotGivenThere, PathFault, PortDoubt, Reason,
    SubnetSource, WaitEnd,
};
use crate::model::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADER_TIMEOUT, HTTP_HEADERS_MAX};
use std::fmt::{self, Display, Formatter};

impl Display for PortDoubt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            PortDoubt::NoSubnet => {
                f.write_str("no [[subnet]] with `ports_from` says whose word on switch ports counts here")
            }
            PortDoubt::NoRelay { subnet } => write!(
                f,
                "it came without a relay, and a machine can write option 82 itself: where a switch on this wire adds it \
                 (DHCP snooping), say so by \"switch\" in `ports_from` of [[subnet]] {subnet}"
            ),
            PortDoubt::OtherRelay { relay, subnet } => write!(
                f,
                "it came through {relay}, which is no relay in `ports_from` of [[subnet]] {subnet}; add it there if it is \
                 yours"
            ),
            PortDoubt::SentByMachine { relay, source } => write!(
                f,
                "it claims to come through the relay {relay}, and was sent from {source}, which is a machine's address"
            ),
            PortDoubt::SentFromElsewhere { relay, source, subnet } => write!(
                f,
                "it claims to come through the relay {relay}, and was sent from {source}, where any machine may be; if \
                 that is the relay's address too, add it to `ports_from` of [[subnet]] {subnet}"
            ),
        }
    }
}

impl Display for SubnetSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SubnetSource::LinkSelection => "the relay's link selection (option 82.5)",
            SubnetSource::Selection => "its subnet selection (option 118)",
            SubnetSource::Relay => "its relay",
            SubnetSource::Interface => "the address of the interface it came in on",
        })
    }
}

impl Display for HttpFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HttpFault::Overdue => {
                return write!(f, "its head did not end in {} s", HTTP_HEADER_TIMEOUT.as_secs());
            }
            HttpFault::TooLarge => {
                return write!(
                    f,
                    "its head has more than {HTTP_HEADERS_MAX} lines or {HTTP_HEAD_BYTES_MAX} bytes"
                );
            }
            HttpFault::Tls => "it speaks TLS, and this port has none: its URL is to begin with http://",
            HttpFault::Http2 => "it speaks HTTP/2, and HTTP/1.1 is served",
            HttpFault::Ssh => "it speaks SSH",
            HttpFault::NotText => "it does not speak HTTP",
            HttpFault::NoVersion => "no version stands behind its path: HTTP/1.1 is served, and no HTTP/0.9",
            HttpFault::Blank => "a blank is in its path or its query: it is written as %20",
            HttpFault::Other(words) => words,
        })
    }
}

impl Display for WaitEnd {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            WaitEnd::Stopped => f.write_str("bootwright stopped"),
            WaitEnd::GaveWay => Reason::GaveWay.fmt(f),
            WaitEnd::ClientLeft => f.write_str("its client left"),
            WaitEnd::ClientGone => f.write_str("its client's machine acknowledged nothing any more"),
        }
    }
}

impl Display for NoOwnAddress {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            NoOwnAddress::Unreserved => f.write_str("it has no address of its own"),
            NoOwnAddress::Unavailable { address, why } => write!(f, "its address {address} {why}"),
        }
    }
}

impl Display for NoOrder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            NoOrder::NoImage => f.write_str("it has no image"),
            NoOrder::ImageMissing { image } => write!(f, "there is no image `{image}`"),
            NoOrder::NoDisk { image } => write!(f, "the image `{image}` has no `disk`"),
            NoOrder::NotADisk { image } => write!(
                f,
                "the `disk` of the image `{image}` is no disk that can be written as it is: raw, or packed by zstd or gzip"
            ),
            NoOrder::Contradiction { why } => f.write_str(why),
        }
    }
}

impl Display for NotGivenThere {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            NotGivenThere::AtAnother { peer } => {
                write!(
                    f,
                    "{peer} was given to it at another: look at its cable, or at the host's `port`"
                )
            }
            NotGivenThere::AsksFromElsewhere { given, peer } => write!(
                f,
                "was given {given} there, and asks from {peer}: through a NAT, which must not stand between it and this \
                 server, or somebody set {peer} by hand"
            ),
            NotGivenThere::GivenElsewhere { given, peer } => write!(
                f,
                "asks from {peer}, and was given {given} at another: look at its cable, or at the host's `port`"
            ),
            NotGivenThere::NotGiven { peer } => write!(
                f,
                "{peer} was not given there by DHCP, or too long ago: it must ask for its address anew from that port"
            ),
        }
    }
}

impl Display for PathFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PathFault::TooLong => "the path is too long",
            PathFault::NotUtf8 => "the path is not UTF-8",
            PathFault::ControlCharacter => "the path has a control character",
            PathFault::Empty => "the path is empty",
            PathFault::OtherServer => "it is a URL of another server: this one has no such address",
            PathFault::Parent => "the path has a `..` component",
            PathFault::NotText => "no text",
        })
    }
}

impl Display for FileFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileFault::Outside => "the path leads out of its folder",
            FileFault::Link => "a symbolic link is on the way",
            FileFault::NotRegular => "not a regular file",
        })
    }
}

impl Display for DiskReason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DiskReason::Configured => "its boot target is local",
            DiskReason::Locked => "it is locked to its disk",
            DiskReason::NotArmed => "it is set to install but not armed, so its disk is left alone",
            DiskReason::Installed => "it is installed",
            DiskReason::InstallFailed => "its install failed, and it is not armed again",
            DiskReason::RuleInstalls => "a rule sets it to install, and only listed hosts are ever armed",
        })
    }
}

/// ` (its MAC is one digit from r1u01)`, where that is so.
impl Display for Near {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(host) => write!(f, " (its MAC is one digit from {host})"),
            None => Ok(()),
        }
    }
}
