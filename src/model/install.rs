//! What is seen of an install, why it fails, who brings it about, and what its installer says.

use serde::Serialize;
use std::{fmt, net::Ipv4Addr, sync::Arc};

/// What happened to a host's install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InstallNews {
    /// It was armed.
    Armed,
    /// It was disarmed.
    Disarmed,
    /// The time for which it was armed is up.
    Expired,
    /// An install was handed out.
    Begun,
    /// Its installer says that it began.
    Started,
    /// Its installer says how far it is.
    Progressed,
    /// It is done.
    Done,
    /// It failed.
    Failed,
}

/// What was seen of an install.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum InstallStep {
    /// Its script was handed out.
    Script,
    /// It fetched its answer.
    Answer,
    /// Its installer said that it began.
    Started,
    /// Its installer said how far it is.
    Progress {
        /// Of a hundred.
        percent: Option<u8>,
        /// In its own words: without control characters.
        message: Arc<str>,
    },
}

/// Why an install came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum InstallFailure {
    /// Its installer said so.
    Reported {
        /// In its own words: without control characters.
        reason: Arc<str>,
    },
    /// Nothing was seen of it any more.
    Silent,
    /// Its machine began anew although its installer was at work: it was switched off, or crashed.
    Interrupted,
    /// It was begun again and again, and never done.
    TooOften {
        /// How often.
        tries: u8,
    },
}

/// Who brought a state about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum By {
    /// A person.
    Operator {
        /// Who, by the socket that it was asked at.
        name: Arc<str>,
    },
    /// It appeared in the inventory.
    Inventory,
    /// The machine itself.
    Machine {
        /// From where.
        address: Ipv4Addr,
    },
    /// Its time was up.
    Time,
}

impl InstallStep {
    /// Whether the installer itself was heard.
    pub fn is_of_installer(&self) -> bool {
        match self {
            InstallStep::Started | InstallStep::Progress { .. } => true,
            InstallStep::Script | InstallStep::Answer => false,
        }
    }
}

impl fmt::Display for InstallStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InstallStep::Script => f.write_str("it was handed its script"),
            InstallStep::Answer => f.write_str("it fetched its answer"),
            InstallStep::Started => f.write_str("its installer began"),
            InstallStep::Progress { percent, message } => {
                f.write_str("its installer was at")?;
                if let Some(percent) = percent {
                    write!(f, " {percent} %")?;
                }
                match &**message {
                    "" => Ok(()),
                    message => write!(f, " `{message}`"),
                }
            }
        }
    }
}

impl fmt::Display for InstallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InstallFailure::Reported { reason } => write!(f, "its installer says: {reason}"),
            InstallFailure::Silent => f.write_str("nothing was heard of it in time"),
            InstallFailure::Interrupted => {
                f.write_str("its machine was started anew in the middle of it, and what is on its disk is not complete")
            }
            InstallFailure::TooOften { tries } => write!(f, "it was begun {tries} times and never done"),
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            By::Operator { name } => f.write_str(name),
            By::Inventory => f.write_str("its first appearance in the inventory"),
            By::Machine { address } => write!(f, "the machine at {address}"),
            By::Time => f.write_str("its time limit"),
        }
    }
}

/// What an installer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackWord {
    /// It began.
    Started,
    /// How far it is.
    Progress,
    /// It is done.
    Done,
    /// It failed.
    Failed,
    /// cloud-init's module `phone_home`, from the system that was installed: it is up.
    PhoneHome,
    /// An event of cloud-init's, subiquity's or curtin's `reporting` webhook.
    Reporting,
    /// Proxmox's post-installation webhook: it is installed.
    Proxmox,
}

/// Why a callback is refused. Nobody who asks is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackDoubt {
    /// The path is none of a callback, or came by TFTP.
    Path,
    /// What it brings is not what its word stands for.
    Body,
    /// No host is called so.
    Host,
    /// The host has no install, or none any more.
    NoInstall,
    /// It is not that install's token.
    Token,
    /// The token is the install's, and who asks is not the host.
    Address,
    /// The install has ended, or was given up.
    Late,
}

impl CallbackWord {
    /// Every one: in the order of an install, and then those of programs that have their own.
    pub const ALL: [CallbackWord; 7] = [
        CallbackWord::Started,
        CallbackWord::Progress,
        CallbackWord::Done,
        CallbackWord::Failed,
        CallbackWord::PhoneHome,
        CallbackWord::Reporting,
        CallbackWord::Proxmox,
    ];

    /// As it stands in the path.
    pub fn name(self) -> &'static str {
        match self {
            CallbackWord::Started => "started",
            CallbackWord::Progress => "progress",
            CallbackWord::Done => "done",
            CallbackWord::Failed => "failed",
            CallbackWord::PhoneHome => "phone_home",
            CallbackWord::Reporting => "reporting",
            CallbackWord::Proxmox => "proxmox",
        }
    }
}

impl fmt::Display for CallbackDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallbackDoubt::Path => "its path is not one of a callback",
            CallbackDoubt::Body => "what it brings is not what its path stands for",
            CallbackDoubt::Host => "no host is called so",
            CallbackDoubt::NoInstall => "no install of the host is under way",
            CallbackDoubt::Token => "its token is not the install's",
            CallbackDoubt::Address => "it does not come from the host's address",
            CallbackDoubt::Late => "the install has ended",
        })
    }
}
