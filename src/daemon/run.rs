//! The life between READY and the end: signals in, a drain with a deadline out.

use super::{
    admin_service::AdminService,
    attempts,
    reload::{Reloader, Trigger},
    systemd, watch,
};
use crate::admin::{self, AdminSocket};
use crate::model::limits::{REFUSAL_POLL_INTERVAL, SHUTDOWN_TIMEOUT};
use crate::net::Servers;
use crate::state::{arming, calendar, recorder};
use nix::sys::signal::{SigSet, Signal};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch as flag,
    task::JoinHandle,
};

/// What the servers may take beyond their own deadline before they are cut.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// A SIGHUP that comes before we listen would end the process; it waits instead until [`run`] does.
pub(super) fn hold_reload_signal() {
    let _ = reload_signal().thread_block();
}

fn reload_signal() -> SigSet {
    SigSet::from(Signal::SIGHUP)
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunOutcome {
    /// Everything under way was let end, or the deadline cut it.
    Finished,
    /// A second signal cut it.
    Aborted,
    /// The servers ended by themselves, which they never should.
    Failed,
}

/// Serves until a signal says otherwise.
///
/// # Errors
///
/// The system refuses signal handlers or the admin socket.
pub(super) async fn run(
    servers: Servers,
    socket: &AdminSocket,
    reloader: &Arc<Reloader>,
    service: AdminService,
) -> io::Result<RunOutcome> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    // This thread takes it; the others were born with it blocked.
    reload_signal().thread_unblock()?;

    let shared = Arc::clone(&service.shared);
    reloader.learn_hosts().await;
    let (stop, stopped) = flag::channel(false);
    let (end, finished) = flag::channel(false);
    let recording = tokio::spawn(Arc::clone(&service.attempts).follow(shared.events.subscribe_to_boots(), finished));
    let mut serving = tokio::spawn(servers.run(Arc::clone(&shared), stopped.clone()));
    let watchdog = tokio::spawn(systemd::watchdog(Arc::clone(&shared)));
    let dating = tokio::spawn(calendar::keep(Arc::clone(&shared)));
    let disarming = tokio::spawn(arming::keep(Arc::clone(&shared)));
    let logging = tokio::spawn(Arc::clone(&service.events).follow(shared.events.subscribe_to_boots()));
    let filing = tokio::spawn(recorder::keep(Arc::clone(&shared)));
    let watching = tokio::spawn(watch::watch(Arc::clone(reloader)));
    let reminding = tokio::spawn(remind(Arc::clone(reloader)));
    let service = Arc::new(service);
    systemd::ready(&reloader.summary());
    tracing::info!("ready: {}", reloader.summary());
    reloader.keep();

    let operators = admin::serve(socket, service, stopped);
    tokio::pin!(operators);
    let name = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            _ = hangup.recv() => {
                let reloader = Arc::clone(reloader);
                tokio::spawn(async move { reloader.reload(Trigger::Signal).await });
            }
            ended = &mut operators => return ended.map(|()| RunOutcome::Failed),
            _ = &mut serving => return Ok(RunOutcome::Failed),
        }
    };
    tracing::info!(
        event = "draining",
        "{name}: running transfers have {} s to end",
        SHUTDOWN_TIMEOUT.as_secs()
    );
    systemd::stopping("draining transfers");
    watching.abort();
    reminding.abort();
    let _ = stop.send(true);
    let ended = tokio::select! {
        ended = tracked(&mut serving) => ended,
        _ = terminate.recv() => RunOutcome::Aborted,
        _ = interrupt.recv() => RunOutcome::Aborted,
    };
    watchdog.abort();
    dating.abort();
    disarming.abort();
    filing.abort();
    logging.abort();
    attempts::ended(&end, recording).await;
    calendar::mark(&shared, shared.clock.now(), &mut shared.lease_table());
    Ok(ended)
}

/// Refused files are logged again for as long as they are: who follows the log did not see its beginning.
async fn remind(reloader: Arc<Reloader>) {
    let mut look = tokio::time::interval(REFUSAL_POLL_INTERVAL);
    loop {
        look.tick().await;
        reloader.remind();
    }
}

async fn tracked(serving: &mut JoinHandle<()>) -> RunOutcome {
    match tokio::time::timeout(SHUTDOWN_TIMEOUT + DRAIN_GRACE, serving).await {
        Ok(Ok(())) => RunOutcome::Finished,
        Ok(Err(panic)) => {
            tracing::error!("the servers broke while they drained: {panic}");
            RunOutcome::Failed
        }
        Err(_) => {
            tracing::warn!("transfers still ran at the deadline and were cut");
            RunOutcome::Finished
        }
    }
}
