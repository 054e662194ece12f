//! What is said of one thing that was looked at.

use serde::Serialize;
use std::fmt::{self, Display};

/// How a thing stands, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Light {
    /// It was seen, and is as it should be.
    Green,
    /// Machines boot, and may not; or it could not be told.
    Amber,
    /// Machines do not boot, or not for long.
    Red,
}

impl Display for Light {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Light::Green => "green",
            Light::Amber => "amber",
            Light::Red => "red",
        })
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckName {
    /// The operator's files.
    Files,
    /// The daemon, where it runs.
    Daemon,
    /// An interface: that it is there, switched on, and has a link.
    Interface,
    /// Its address, and the inventory's subnet for that.
    Address,
    /// How large its packets may be.
    Mtu,
    /// Whether it leads to more than machines.
    Uplink,
    /// A port that our servers need.
    Port,
    /// The firewall.
    Firewall,
    /// Other DHCP servers on the wire.
    OtherDhcpServer,
    /// The loader of an architecture.
    Loader,
    /// Who signed it.
    Signature,
    /// The files of images.
    Image,
    /// The host's clock.
    Clock,
    /// Room on a disk.
    DiskSpace,
    /// How many files may be open.
    OpenFiles,
    /// How much of a storm's packets wait in the kernel.
    ReceiveBuffer,
    /// The kernel's table of neighbours.
    Neighbours,
    /// The kernel's table of connections.
    Conntrack,
    /// Relays.
    Relay,
    /// Switch ports by option 82.
    SwitchPort,
}

impl Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            CheckName::Files => "files",
            CheckName::Daemon => "daemon",
            CheckName::Interface => "interface",
            CheckName::Address => "address",
            CheckName::Mtu => "MTU",
            CheckName::Uplink => "uplink",
            CheckName::Port => "port",
            CheckName::Firewall => "firewall",
            CheckName::OtherDhcpServer => "other DHCP servers",
            CheckName::Loader => "loader",
            CheckName::Signature => "signature",
            CheckName::Image => "image",
            CheckName::Clock => "clock",
            CheckName::DiskSpace => "disk space",
            CheckName::OpenFiles => "open files",
            CheckName::ReceiveBuffer => "receive buffer",
            CheckName::Neighbours => "neighbour table",
            CheckName::Conntrack => "connection table",
            CheckName::Relay => "relay",
            CheckName::SwitchPort => "switch port",
        })
    }
}

/// What is said of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// What was looked at.
    pub check: CheckName,
    /// Which one: an interface, a port, a file.
    pub subject: String,
    /// How it stands.
    pub light: Light,
    /// One sentence.
    pub sentence: String,
    /// What to do; nothing where it is green.
    pub remedy: Option<String>,
}

/// Everything that is said.
#[derive(Debug, Default)]
pub(super) struct Diagnoses(Vec<Diagnosis>);

impl Diagnoses {
    pub(super) fn green(&mut self, check: CheckName, subject: impl Display, sentence: fmt::Arguments<'_>) {
        self.add(check, &subject, (Light::Green, sentence, None));
    }

    pub(super) fn amber(
        &mut self,
        check: CheckName,
        subject: impl Display,
        sentence: fmt::Arguments<'_>,
        remedy: impl Display,
    ) {
        self.add(check, &subject, (Light::Amber, sentence, Some(&remedy)));
    }

    pub(super) fn red(
        &mut self,
        check: CheckName,
        subject: impl Display,
        sentence: fmt::Arguments<'_>,
        remedy: impl Display,
    ) {
        self.add(check, &subject, (Light::Red, sentence, Some(&remedy)));
    }

    fn add(
        &mut self,
        check: CheckName,
        subject: &dyn Display,
        (light, sentence, remedy): (Light, fmt::Arguments<'_>, Option<&dyn Display>),
    ) {
        self.0.push(Diagnosis {
            check,
            subject: subject.to_string(),
            light,
            sentence: sentence.to_string(),
            remedy: remedy.map(ToString::to_string),
        });
    }

    /// The worst first; of one light in the order in which they were found.
    pub(super) fn sorted(mut self) -> Vec<Diagnosis> {
        self.0.sort_by_key(|diagnosis| std::cmp::Reverse(diagnosis.light));
        self.0
    }
}
