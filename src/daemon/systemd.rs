//! Notifies systemd (sd_notify(3)); outside systemd all of it does nothing.
//!
//! A systemd that hangs does not read its socket, and must not block us: important messages wait for it at most a
//! second, watchdog messages not at all.

use crate::model::limits::NOTIFY_TIMEOUT;
use crate::state::Shared;
use sd_notify::NotifyState;
use std::{
    ffi::OsStr,
    fmt::Write,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::Arc,
    time::Duration,
};

/// The variable with the address of systemd's socket.
const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";

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
    send_within(NOTIFY_TIMEOUT, messages);
}

/// Tells systemd, which has that long to take it.
fn send_within(patience: Duration, messages: &[NotifyState<'_>]) {
    let Some(socket) = std::env::var_os(SOCKET_VARIABLE) else {
        return;
    };
    let mut text = String::new();
    for message in messages {
        let _ = writeln!(text, "{message}");
    }
    if let Err(error) = tell(&socket, text.as_bytes(), patience) {
        tracing::debug!("systemd was not told {messages:?}: {error}");
    }
}

/// Sends one message to the socket that is named as systemd names it: a path, or `@` and an abstract name.
fn tell(socket: &OsStr, message: &[u8], patience: Duration) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let ours = UnixDatagram::unbound()?;
    if patience.is_zero() {
        ours.set_nonblocking(true)?;
    } else {
        ours.set_write_timeout(Some(patience))?;
    }
    ours.connect_addr(&address)?;
    ours.send(message).map(drop)
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
        send_within(Duration::ZERO, &[NotifyState::Watchdog]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn a_systemd_that_hangs_stops_nobody_and_hears_again_what_it_has_room_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        let mut refused = None;
        for _ in 0..100_000 {
            if let Err(error) = tell(path.as_os_str(), b"WATCHDOG=1\n", Duration::ZERO) {
                refused = Some(error.kind());
                break;
            }
        }
        assert_eq!(refused, Some(io::ErrorKind::WouldBlock));
        let late = tell(path.as_os_str(), b"READY=1\n", SHORT).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::WouldBlock);
        systemd.recv(&mut [0; 64]).unwrap();
        tell(path.as_os_str(), b"READY=1\n", SHORT).unwrap();
    }

    #[test]
    fn an_abstract_name_is_as_good_as_a_path() {
        let name = format!("bootwright-test-{}", std::process::id());
        let systemd = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        tell(OsStr::new(&format!("@{name}")), b"READY=1\n", SHORT).unwrap();
        let mut message = [0; 64];
        let length = systemd.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1\n");
    }
}
