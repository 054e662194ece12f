//! Keeps the ends of leases on disk right when the host's clock is set.

use super::Shared;
use crate::lease::{LeaseTable, Step};
use crate::model::{
    Now,
    limits::{CLOCK_LOOK, CLOCK_MARK},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

/// Looks now and then, where no machine asks, and writes the date beside the leases, for ever.
pub async fn keep(shared: Arc<Shared>) {
    let mut turn = interval(CLOCK_LOOK);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = Duration::ZERO;
    loop {
        turn.tick().await;
        let now = shared.clock.now();
        let mut leases = shared.lease_table();
        look(&shared, now, &mut leases);
        // What could not be written is tried again at once.
        if now.monotonic >= due || leases.undated(now).is_some() {
            mark(&shared, now, &leases);
            due = now.monotonic + CLOCK_MARK;
        }
    }
}

/// Notices that the clock was set, and has the ends on disk written anew where they have to be: in front of
/// every lease that is given from now on.
pub(super) fn look(shared: &Arc<Shared>, now: Now, leases: &mut LeaseTable) {
    let Some(step) = leases.notice(now) else { return };
    say(step);
    if leases.undated(now).is_some() {
        mark(shared, now, leases);
    }
}

/// Has the date written, with the leases that are dated by another calendar, and with when some were lost.
pub fn mark(shared: &Arc<Shared>, now: Now, leases: &LeaseTable) {
    let (date, lost) = (leases.date(now), leases.lost_at(now));
    let Some((leap, records)) = leases.undated(now) else {
        // Where that fails the next one is as good.
        drop(shared.lease_log.redate(date, Vec::new(), lost));
        return;
    };
    let written = match shared.lease_log.redate(date, records.clone(), lost) {
        Ok(written) => written,
        Err(reason) => return debug!("the ends of leases are not written anew: {reason}"),
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        match written.await {
            Ok(()) => shared.lease_table().redated(shared.clock.now(), leap, records),
            Err(reason) => debug!("the ends of leases were not written anew, which is tried again: {reason}"),
        }
    });
}

fn say(Step { by, leaps }: Step) {
    let long = length(by.unsigned_abs());
    match (by < 0, leaps) {
        (false, true) => warn!(
            "this host's clock was set forwards by {long}: leases run on as they were given, and their ends on disk are \
             written anew"
        ),
        (false, false) => warn!(
            "this host's clock was set forwards by {long}, and is still behind the date by which leases are on disk: \
             they run on as they were given"
        ),
        (true, _) => warn!(
            "this host's clock was set back by {long}, or its battery is empty: leases run on as they were given, and \
             their ends on disk go by the later date until the clock is past it. `timedatectl` shows whether a time \
             server sets it"
        ),
    }
}

/// A length of time as people say it.
fn length(seconds: u64) -> String {
    match seconds {
        0..300 => format!("{seconds} s"),
        300..18_000 => format!("{} min", seconds / 60),
        18_000..432_000 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
