//! What is kept of a host's installs: its state, since when, and by whom.

use super::Fingerprint;
use crate::boot::event::InstallEvent;
use crate::model::{By, InstallFailure, InstallNews, InstallStep, Name, Token, WallTime, limits::INSTALL_TRIES_MAX};
use std::net::Ipv4Addr;

/// A host's state, as it is kept on disk. Who has none was never armed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRecord {
    /// The host: the record's key.
    pub name: Name,
    /// Which machine that was then: of another one it says nothing.
    pub machine: Fingerprint,
    /// How it stands.
    pub state: HostState,
    /// Since when, by the calendar on disk.
    pub since: WallTime,
    /// Who brought it about; of an install, who armed it.
    pub by: By,
}

/// How a host stands that was armed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostState {
    /// Its next boot from the network installs.
    Armed {
        /// Until when.
        until: WallTime,
    },
    /// It was handed an install, which has not ended.
    Installing(Install),
    /// Its install is done.
    Installed {
        /// The install's credential: its last word may come twice.
        by: Credential,
    },
    /// Its install is not done, and never will be.
    Failed {
        /// Why.
        why: InstallFailure,
        /// What was seen of it last.
        last: InstallStep,
        /// The credential of an install that said so itself.
        by: Option<Credential>,
    },
    /// Disarmed: its disk.
    Local,
}

/// An install under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// What it shows with each word that it sends back.
    pub credential: Credential,
    /// How often it was begun since the host was armed.
    pub tries: u8,
    /// What was seen of it last.
    pub last: InstallStep,
    /// When it has failed, unless more is seen of it before.
    pub deadline: WallTime,
}

/// What shows that a word comes from an install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Its token.
    pub token: Token,
    /// The address that was handed it.
    pub address: Ipv4Addr,
}

impl Install {
    /// Why it is not handed out to another boot of its machine.
    pub(super) fn why_not_again(&self) -> Option<InstallFailure> {
        match self.last.is_of_installer() {
            true => Some(InstallFailure::Interrupted),
            false => (self.tries >= INSTALL_TRIES_MAX).then_some(InstallFailure::TooOften { tries: self.tries }),
        }
    }
}

impl HostState {
    /// Its word.
    pub fn name(&self) -> &'static str {
        match self {
            HostState::Armed { .. } => "armed",
            HostState::Installing(_) => "installing",
            HostState::Installed { .. } => "installed",
            HostState::Failed { .. } => "failed",
            HostState::Local => "local",
        }
    }

    /// The same with a sample for its token.
    pub(super) fn without_token(&self) -> HostState {
        let plain = |credential: &Credential| Credential {
            token: Token::SAMPLE,
            ..*credential
        };
        match self {
            HostState::Installing(install) => HostState::Installing(Install {
                credential: plain(&install.credential),
                ..install.clone()
            }),
            HostState::Installed { by } => HostState::Installed { by: plain(by) },
            HostState::Failed { why, last, by } => HostState::Failed {
                why: why.clone(),
                last: last.clone(),
                by: by.as_ref().map(plain),
            },
            HostState::Armed { .. } | HostState::Local => self.clone(),
        }
    }

    /// Whether its next boot from the network may install.
    pub fn is_open(&self) -> bool {
        match self {
            HostState::Armed { .. } | HostState::Installing(_) => true,
            HostState::Installed { .. } | HostState::Failed { .. } | HostState::Local => false,
        }
    }
}

impl HostRecord {
    /// What happened, and the state that the host has since.
    pub(super) fn event(&self, news: InstallNews) -> InstallEvent {
        let plain = InstallEvent {
            news,
            who: self.by.clone(),
            until: None,
            address: None,
            tries: None,
            last: None,
            failure: None,
        };
        match &self.state {
            HostState::Armed { until } => InstallEvent {
                until: Some(*until),
                ..plain
            },
            HostState::Installing(install) => InstallEvent {
                address: Some(install.credential.address),
                tries: Some(install.tries),
                last: Some(install.last.clone()),
                ..plain
            },
            HostState::Installed { by } => InstallEvent {
                address: Some(by.address),
                ..plain
            },
            HostState::Failed { why, last, by } => InstallEvent {
                address: by.map(|by| by.address),
                last: Some(last.clone()),
                failure: Some(why.clone()),
                ..plain
            },
            HostState::Local => plain,
        }
    }
}
