//! What an install says of itself.

use super::{Arming, ArmingChange, Credential, Entry, HostState, Install, after, install_timeout};
use crate::boot::{callback::Callback, snapshot::Host};
use crate::model::{
    By, CallbackDoubt, InstallFailure, InstallNews, InstallStep, Token, WallTime, limits::CALLBACK_REPEAT_TTL,
};
use std::{net::Ipv4Addr, sync::Arc};

impl Arming {
    /// Whether a token is that of the host's install, which goes on or ended a little while ago.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, now: WallTime, host: &Host, token: Token) -> Result<(), CallbackDoubt> {
        let record = self.record(host).ok_or(CallbackDoubt::NoInstall)?;
        let (own, end) = match &record.state {
            HostState::Installing(install) => (install.credential, install.deadline),
            HostState::Installed { by } | HostState::Failed { by: Some(by), .. } => {
                (*by, after(record.since, CALLBACK_REPEAT_TTL))
            }
            HostState::Failed { by: None, .. } | HostState::Armed { .. } | HostState::Local => {
                return Err(CallbackDoubt::NoInstall);
            }
        };
        match own.token == token {
            false => Err(CallbackDoubt::Token),
            true if now >= end => Err(CallbackDoubt::Late),
            true => Ok(()),
        }
    }

    /// Takes what an install says of itself at `address`. Its last word may come again, because its answer may be
    /// lost: it changes nothing then, and is on disk all the same once it is answered.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn heard(
        &mut self,
        now: WallTime,
        (host, address): (&Host, Ipv4Addr),
        (token, said): (Token, Callback),
    ) -> Result<ArmingChange, CallbackDoubt> {
        self.check(now, host, token)?;
        let entry = self.hosts.get_mut(host.name.as_str()).ok_or(CallbackDoubt::NoInstall)?;
        let former = Arc::clone(&entry.record);
        let by = Credential { token, address };
        let install = match (&former.state, &said) {
            (HostState::Installing(install), _) => install,
            (HostState::Installed { .. }, Callback::Done) | (HostState::Failed { .. }, Callback::Failed { .. }) => {
                return Ok(entry.put(former.state.clone(), former.since, former.by.clone(), None));
            }
            // It goes on to tell of itself in the system that was installed.
            (HostState::Installed { .. } | HostState::Failed { .. }, Callback::Report { .. }) => {
                return Ok(entry.put(former.state.clone(), former.since, former.by.clone(), None));
            }
            _ => return Err(CallbackDoubt::Late),
        };
        let machine = By::Machine { address };
        Ok(match said {
            Callback::Done => entry.put(HostState::Installed { by }, now, machine, Some(InstallNews::Done)),
            Callback::Failed { reason } => {
                let failed = HostState::Failed {
                    why: InstallFailure::Reported { reason },
                    last: install.last.clone(),
                    by: Some(by),
                };
                entry.put(failed, now, machine, Some(InstallNews::Failed))
            }
            Callback::Started if install.last.is_of_installer() => entry.go_on(install, (now, host), None),
            Callback::Started => {
                let step = (InstallStep::Started, InstallNews::Started);
                entry.go_on(install, (now, host), Some(step))
            }
            Callback::Report { message } if message.is_empty() => entry.go_on(install, (now, host), None),
            Callback::Report { message } => entry.progress(install, (now, host), (None, message)),
            Callback::Progress { percent, message } => entry.progress(install, (now, host), (percent, message)),
        })
    }
}

impl Entry {
    /// The same install, which says how far it is.
    fn progress(
        &mut self,
        install: &Install,
        now: (WallTime, &Host),
        (percent, message): (Option<u8>, Arc<str>),
    ) -> ArmingChange {
        let step = (InstallStep::Progress { percent, message }, InstallNews::Progressed);
        self.go_on(install, now, Some(step).filter(|(step, _)| *step != install.last))
    }

    /// The same install, which was heard of just now.
    fn go_on(
        &mut self,
        install: &Install,
        (now, host): (WallTime, &Host),
        step: Option<(InstallStep, InstallNews)>,
    ) -> ArmingChange {
        let (last, news) = match step {
            Some((last, news)) => (last, Some(news)),
            None => (install.last.clone(), None),
        };
        let state = HostState::Installing(Install {
            last,
            deadline: after(now, install_timeout(host)),
            ..install.clone()
        });
        let former = Arc::clone(&self.record);
        self.put(state, former.since, former.by.clone(), news)
    }
}
