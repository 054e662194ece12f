//! What systemd is told (sd_notify(3)); outside systemd all of it is nothing.

use crate::net::Shared;
use sd_notify::NotifyState;
use std::{sync::Arc, time::Duration};

/// Everything is bound and served.
pub(super) fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The files are being read again; [`ready`] follows, accepted or refused.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// Transfers are draining.
pub(super) fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

fn send(messages: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(messages) {
        tracing::debug!("systemd was not told {messages:?}: {error}");
    }
}

/// Feeds systemd's watchdog, twice as often as it asks, for as long as the event loop turns and the
/// lease table can be locked: a daemon that hangs in either is better restarted.
pub(super) async fn watchdog(shared: Arc<Shared>) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut turn = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        drop(shared.lease_table());
        send(&[NotifyState::Watchdog]);
    }
}
