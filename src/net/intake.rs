//! What the servers' intakes have in common: datagrams until no new work may begin, and a pause
//! after an error.

use crate::net::{
    socket::{self, Inbox, ReceivedDatagram},
    tasks::TaskTracker,
};
use crate::state::{Counter, Shared};
use std::{io, time::Duration};
use tokio::{io::Interest, net::UdpSocket};
use tracing::debug;

/// How long an intake rests after an error that may stay: no descriptors left, interface down.
const PAUSE: Duration = Duration::from_millis(20);

/// Hands each datagram of at most `bytes_max` to `take`, until no new work may begin.
pub(super) async fn datagrams(
    common: (&str, &Shared, &TaskTracker),
    socket: &UdpSocket,
    bytes_max: usize,
    take: impl Fn(&ReceivedDatagram, &[u8]),
) {
    let receive = |socket: &UdpSocket, buffer: &mut [u8]| {
        let received = socket::receive(socket, buffer)?;
        Ok((received.length, received))
    };
    let take = |received, bytes: &[u8]| take(&received, bytes);
    packets(common, socket, (bytes_max, receive), take).await;
}

/// The same for whatever `receive` makes of a packet: its length in the buffer, and what else it tells.
pub(super) async fn packets<T>(
    (server, shared, tasks): (&str, &Shared, &TaskTracker),
    socket: &UdpSocket,
    (bytes_max, receive): (usize, impl Fn(&UdpSocket, &mut [u8]) -> io::Result<(usize, T)>),
    mut take: impl FnMut(T, &[u8]),
) {
    let mut buffer = vec![0; bytes_max];
    tokio::select! {
        () = tasks.stopped() => {}
        () = async {
            loop {
                let received = socket
                    .async_io(Interest::READABLE, || receive(socket, &mut buffer))
                    .await;
                match received {
                    Ok((length, told)) => take(told, &buffer[..length]),
                    Err(error) => recover(shared, server, &error).await,
                }
            }
        } => {}
    }
}

/// Takes the next batch of datagrams into `inbox`; false when no new work may begin. A batch that was
/// taken is its taker's to answer completely, whatever ends meanwhile.
pub(super) async fn batch(
    (server, shared, tasks): (&str, &Shared, &TaskTracker),
    socket: &UdpSocket,
    inbox: &mut Inbox,
) -> bool {
    loop {
        let received = tokio::select! {
            () = tasks.stopped() => return false,
            received = socket.async_io(Interest::READABLE, || inbox.receive(socket)) => received,
        };
        match received {
            Ok(_) => return true,
            Err(error) => recover(shared, server, &error).await,
        }
    }
}

/// After a failed receive or accept: counts, says so, and waits a little, so that an error that
/// stays does not spin.
pub(super) async fn recover(shared: &Shared, server: &str, error: &io::Error) {
    shared.counters.count(Counter::AcceptFailed);
    debug!("{server}: {error}");
    tokio::time::sleep(PAUSE).await;
}
