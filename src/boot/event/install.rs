//! What happened to a host's install. Its token is in no event.

use crate::model::{By, InstallFailure, InstallNews, InstallStep, WallTime, limits::INSTALL_TRIES_MAX};
use serde::Serialize;
use std::{fmt, net::Ipv4Addr};

/// What happened to a host's install, and what is known of it then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstallEvent {
    /// What happened.
    pub news: InstallNews,
    /// Who brought it about; of an install, who armed it.
    pub who: By,
    /// Until when it is armed.
    pub until: Option<WallTime>,
    /// Where it installs.
    pub address: Option<Ipv4Addr>,
    /// How often it was begun.
    pub tries: Option<u8>,
    /// What was seen of it last.
    pub last: Option<InstallStep>,
    /// Why it came to nothing.
    pub failure: Option<InstallFailure>,
}

impl InstallEvent {
    /// What happened, in a word: the log's field `event`.
    pub fn name(&self) -> &'static str {
        match self.news {
            InstallNews::Armed => "armed",
            InstallNews::Disarmed => "disarmed",
            InstallNews::Expired => "arming_expired",
            InstallNews::Begun => "install_begun",
            InstallNews::Started => "install_started",
            InstallNews::Progressed => "install_progress",
            InstallNews::Done => "installed",
            InstallNews::Failed => "install_failed",
        }
    }
}

impl fmt::Display for InstallEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InstallEvent { who, .. } = self;
        match self.news {
            InstallNews::Armed => write!(f, "armed by {who}: its next boot from the network installs"),
            InstallNews::Disarmed => write!(f, "disarmed by {who}: it boots its disk"),
            InstallNews::Expired => f.write_str(
                "armed no longer, because nothing was installed in the time that it was armed for: it boots its disk",
            ),
            InstallNews::Begun => match self.tries {
                Some(tries @ 2..) => write!(f, "is handed its install again: try {tries} of {INSTALL_TRIES_MAX}"),
                _ => f.write_str("is handed its install"),
            },
            InstallNews::Started => f.write_str("its installer began"),
            InstallNews::Progressed | InstallNews::Failed | InstallNews::Done => self.end(f),
        }
    }
}

impl InstallEvent {
    fn end(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.failure, &self.last) {
            (Some(failure), Some(last)) => write!(f, "failed to install: {failure}; last seen: {last}"),
            (_, Some(last)) => write!(f, "{last}"),
            (_, None) => f.write_str("installed: it boots its disk from now on"),
        }
    }
}
