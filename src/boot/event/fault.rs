//! What reasons are made of: who claimed it, what was doubted, what was wrong.

use crate::model::{Cidr, HardwareAddr, Name, text};
use serde::{Serialize, Serializer};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

/// Why a machine boots its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskReason {
    /// `boot = "local"`, or no `boot`.
    Configured,
    /// `locked = true`.
    Locked,
    /// `boot = "install"`, and the host is not armed.
    NotArmed,
    /// `boot = "install"`, and the host is installed.
    Installed,
    /// `boot = "install"`, and the host's install failed.
    InstallFailed,
    /// `boot = "install"` of a rule: no unlisted machine is ever armed.
    RuleInstalls,
}

/// The host whose MAC differs in one digit from that of an unlisted machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Near(pub Option<Name>);

/// How long before its event something was, in milliseconds: what is noticed by a wait is told that much later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Ago(pub u64);

impl From<Duration> for Ago {
    fn from(passed: Duration) -> Ago {
        Ago(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s ago", self.0 / 1000)
    }
}

/// A client's own words: data, and escaped where they are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escaped(Arc<[u8]>);

impl From<&[u8]> for Escaped {
    fn from(words: &[u8]) -> Escaped {
        Escaped(words.into())
    }
}

impl fmt::Display for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::escape(&self.0))
    }
}

impl Serialize for Escaped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a machine gets no address of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "own", rename_all = "snake_case")]
pub enum NoOwnAddress {
    /// It has none.
    Unreserved,
    /// It is not to be had.
    Unavailable {
        /// The address.
        address: Ipv4Addr,
        /// Why.
        why: ReservationUnavailable,
    },
}

/// Who named the address that says where a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SubnetSource {
    /// The relay's link selection (option 82.5).
    LinkSelection,
    /// The client's subnet selection (option 118).
    Selection,
    /// The relay's own (`giaddr`).
    Relay,
    /// The interface's.
    Interface,
}

/// Why the switch port that a request tells is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "doubt", rename_all = "snake_case")]
pub enum PortDoubt {
    /// No subnet says whose word counts here.
    NoSubnet,
    /// No relay is between, and no switch is named.
    NoRelay {
        /// Where it is.
        subnet: Cidr,
    },
    /// The relay is none of those that are named.
    OtherRelay {
        /// It.
        relay: Ipv4Addr,
        /// Where it is.
        subnet: Cidr,
    },
    /// It claims a relay, and was sent from a machine's address.
    SentByMachine {
        /// That relay.
        relay: Ipv4Addr,
        /// From where.
        source: Ipv4Addr,
    },
    /// It claims a relay, and was sent from where any machine may be.
    SentFromElsewhere {
        /// That relay.
        relay: Ipv4Addr,
        /// From where.
        source: Ipv4Addr,
        /// Where it is.
        subnet: Cidr,
    },
}

/// Why an address does not count as given at a host's switch port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum NotGivenThere {
    /// It was given at another port.
    AtAnother {
        /// The address that asks.
        peer: IpAddr,
    },
    /// The host was given another address at its port.
    AsksFromElsewhere {
        /// That one.
        given: Ipv4Addr,
        /// The address that asks.
        peer: IpAddr,
    },
    /// The host was given another address, at another port.
    GivenElsewhere {
        /// That one.
        given: Ipv4Addr,
        /// The address that asks.
        peer: IpAddr,
    },
    /// It was not given by DHCP, or too long ago.
    NotGiven {
        /// The address that asks.
        peer: IpAddr,
    },
}

/// Why nothing can be written to a host's disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum NoOrder {
    /// It names no image.
    NoImage,
    /// There is no such image.
    ImageMissing {
        /// What it is called.
        image: Name,
    },
    /// Its image has no `disk`.
    NoDisk {
        /// What it is called.
        image: Name,
    },
    /// The `disk` of its image can't be written to a disk.
    NotADisk {
        /// What it is called.
        image: Name,
    },
    /// What the inventory and the image say can't be.
    Contradiction {
        /// What of it.
        why: &'static str,
    },
}

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathFault {
    /// It is longer than any that is looked at.
    TooLong,
    /// It is not UTF-8.
    NotUtf8,
    /// It has a control character.
    ControlCharacter,
    /// It has no component.
    Empty,
    /// It is a URL of another server.
    OtherServer,
    /// It has a `..` component.
    Parent,
    /// What it stands for is no text.
    NotText,
}

/// Why a name leads to no regular file of its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFault {
    /// The path leads out of its folder.
    Outside,
    /// A symbolic link is on the way.
    Link,
    /// Something else has that name.
    NotRegular,
}

/// What came over an HTTP connection in place of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpFault {
    /// A head that did not end in time.
    Overdue,
    /// A head of too many lines or bytes.
    TooLarge,
    /// TLS.
    Tls,
    /// HTTP/2.
    Http2,
    /// SSH.
    Ssh,
    /// Something that is no text.
    NotText,
    /// A request line without a version.
    NoVersion,
    /// A path or query with a blank in it.
    Blank,
    /// What the parser says.
    Other(Arc<str>),
}

impl WaitEnd {
    /// What it is, in a word: the log's field `by`.
    pub fn name(self) -> &'static str {
        match self {
            WaitEnd::Stopped => "stopped",
            WaitEnd::GaveWay => "gave_way",
            WaitEnd::ClientLeft => "client_left",
            WaitEnd::ClientGone => "client_gone",
        }
    }
}

impl HttpFault {
    /// What it is, in a word: the log's field `fault`.
    pub fn name(&self) -> &'static str {
        match self {
            HttpFault::Overdue => "overdue",
            HttpFault::TooLarge => "too_large",
            HttpFault::Tls => "tls",
            HttpFault::Http2 => "http2",
            HttpFault::Ssh => "ssh",
            HttpFault::NotText => "not_text",
            HttpFault::NoVersion => "no_version",
            HttpFault::Blank => "blank",
            HttpFault::Other(_) => "other",
        }
    }
}

/// Why a change is not on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotStored {
    /// The kind.
    pub fault: StoreFault,
    /// What the store says.
    pub message: Arc<str>,
}

impl fmt::Display for NotStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What kept a change from the disk, as far as whoever waits for it can act upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreFault {
    /// What was to be changed is not as it was when that was decided: it must be decided anew.
    Conflict,
    /// There is no room on the disk.
    Full,
    /// The disk can't be used, or too much waits for it already.
    Unavailable,
    /// What is on the disk makes no sense.
    Corrupt,
}

impl StoreFault {
    /// What it is, in a word: the log's field `fault`.
    pub fn name(self) -> &'static str {
        match self {
            StoreFault::Conflict => "conflict",
            StoreFault::Full => "full",
            StoreFault::Unavailable => "unavailable",
            StoreFault::Corrupt => "corrupt",
        }
    }
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitEnd {
    /// We stopped.
    Stopped,
    /// Its place was needed for another.
    GaveWay,
    /// Its client left.
    ClientLeft,
    /// Its client's machine acknowledges nothing any more.
    ClientGone,
}

/// Why a host does not get its own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReservationUnavailable {
    /// It asks from a subnet that does not hold it.
    OtherSubnet {
        /// Where it is.
        here: Cidr,
    },
    /// Its system uses it on another interface; which one, a restart may have forgotten.
    OtherInterface {
        /// That interface.
        by: Option<HardwareAddr>,
    },
    /// It was a pool's, and is leased to somebody else still.
    Leased {
        /// To whom.
        by: HardwareAddr,
    },
}
