//! Keeps the ends of leases on disk right when the host's clock is set.

use super::{LeaseGuard, Shared, ports};
use crate::lease::ClockStep;
use crate::model::{
    Now,
    limits::{CLOCK_MARK_INTERVAL, CLOCK_POLL_INTERVAL},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

/// Looks now and then, where no machine asks, and writes the date beside the leases, for ever.
pub async fn keep(shared: Arc<Shared>) {
    let mut turn = interval(CLOCK_POLL_INTERVAL);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = Duration::ZERO;
    loop {
        turn.tick().await;
        let now = shared.clock.now();
        let mut leases = shared.lease_table();
        look(&shared, now, &mut leases);
        ports::keep_unwritten(&shared, now, &mut leases);
        // What could not be written is tried again at once, and while it is under way nothing is.
        if now.monotonic >= due || leases.is_undated() {
            mark(&shared, now, &mut leases);
            due = now.monotonic + CLOCK_MARK_INTERVAL;
        }
    }
}

/// Notices that the clock was set, and has the ends on disk written anew where they have to be: in front of
/// every lease that is given from now on.
pub fn look(shared: &Arc<Shared>, now: Now, leases: &mut LeaseGuard<'_>) {
    let Some(step) = leases.observe_clock(now) else { return };
    say(step);
    if leases.is_undated() {
        mark(shared, now, leases);
    }
}

/// Has the date written, with the leases and switch ports that are dated by another calendar, and with when some
/// leases were lost. Where those are under way already it writes nothing: the date alone would end them early after
/// a restart, should they not come to the disk.
pub fn mark(shared: &Arc<Shared>, now: Now, leases: &mut LeaseGuard<'_>) {
    let (date, lost) = (leases.date(now), leases.lost_at(now));
    if !leases.is_undated() {
        // Where that fails the next one is as good.
        drop(leases.log().redate(date, Default::default(), lost));
        return;
    }
    let Some((leap, records)) = leases.redate(now) else {
        return;
    };
    let dated = (records.clone(), leases.port_records(now));
    let written = match leases.log().redate(date, dated, lost) {
        Ok(written) => written,
        Err(reason) => {
            leases.not_redated();
            return debug!("the ends of leases are not written anew: {reason}");
        }
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let result = written.await;
        let mut leases = shared.lease_table();
        match result {
            Ok(()) => leases.redated(shared.clock.now(), leap, &records),
            Err(reason) => {
                leases.not_redated();
                debug!("the ends of leases were not written anew, which is tried again: {reason}");
            }
        }
    });
}

fn say(ClockStep { by, leaps }: ClockStep) {
    let long = length(by.unsigned_abs());
    let event = "clock_set";
    match (by < 0, leaps) {
        (false, true) => warn!(
            event,
            seconds = by,
            "this host's clock was set forwards by {long}: leases run on as they were given, and their ends on disk are \
             written anew"
        ),
        (false, false) => warn!(
            event,
            seconds = by,
            "this host's clock was set forwards by {long}, and is still behind the date by which leases are on disk: \
             they run on as they were given"
        ),
        (true, _) => warn!(
            event,
            seconds = by,
            "this host's clock was set back by {long}, or its battery is empty: leases run on as they were given, and \
             their ends on disk go by the later date until the clock is past it. `timedatectl` shows whether a time \
             server sets it"
        ),
    }
}

/// A length of time as people say it, to the nearest: whoever sets a clock back by 300 days may do it a second
/// after the last whole one.
fn length(seconds: u64) -> String {
    let nearest = |unit: u64| seconds.saturating_add(unit / 2) / unit;
    match seconds {
        0..300 => format!("{seconds} s"),
        300..18_000 => format!("{} min", nearest(60)),
        18_000..432_000 => format!("{} h", nearest(3_600)),
        _ => format!("{} days", nearest(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::change::Change;
    use crate::lease::{LeaseRecord, PortRecord};
    use crate::model::{MacAddr, WallTime};
    use crate::state::{CommitLog, Durable, tests::shared_with};
    use crate::store::StoreError;
    use std::{net::Ipv4Addr, sync::Mutex};
    use tokio::sync::oneshot;

    /// What came, and how many leases it had; each is written when the test says so.
    type Came = Arc<Mutex<Vec<(usize, oneshot::Sender<Result<(), StoreError>>)>>>;

    /// A disk that hangs.
    struct Hanging(Came);

    impl CommitLog for Hanging {
        fn append(&self, _: Vec<Change>) -> Result<Durable, StoreError> {
            Err(StoreError::unavailable("no test gives leases here"))
        }

        fn redate(
            &self,
            _: WallTime,
            (records, _): (Vec<LeaseRecord>, Vec<PortRecord>),
            _: Option<WallTime>,
        ) -> Result<Durable, StoreError> {
            let (done, written) = oneshot::channel();
            self.0.lock().unwrap().push((records.len(), done));
            Ok(Box::pin(async move { written.await.unwrap() }))
        }
    }

    #[test]
    fn a_second_more_or_less_is_the_same_length_to_people() {
        for seconds in [300 * 86_400 - 1, 300 * 86_400, 300 * 86_400 + 1] {
            assert_eq!(length(seconds), "300 days");
        }
        assert_eq!(
            (length(299), length(3_599), length(35_999)),
            ("299 s".into(), "60 min".into(), "10 h".into())
        );
    }

    #[tokio::test]
    async fn a_disk_that_hangs_is_given_all_leases_once_and_again_when_it_refused_them() {
        let came = Came::default();
        let shared = shared_with(Box::new(Hanging(Arc::clone(&came))));
        let now = shared.clock.now();
        {
            let mut leases = shared.lease_table();
            let client = MacAddr([2, 0, 0, 0, 0, 7]).into();
            let address = Ipv4Addr::new(192, 0, 2, 7);
            assert!(leases.observe_clock(now).is_none());
            assert!(leases.lease(now, client, address, Duration::from_secs(3600)).is_some());
            let later = Now {
                wall: WallTime(now.wall.0 + 86_400),
                ..now
            };
            look(&shared, later, &mut leases);
            for _ in 0..5 {
                mark(&shared, later, &mut leases);
            }
        }
        let sizes = || came.lock().unwrap().iter().map(|(size, _)| *size).collect::<Vec<_>>();
        assert_eq!(sizes(), [1]);
        for (result, is_undated) in [(Err(StoreError::unavailable("no room")), true), (Ok(()), false)] {
            let (_, done) = came.lock().unwrap().remove(0);
            done.send(result).unwrap();
            // It is told on another task of this thread.
            tokio::task::yield_now().await;
            let mut leases = shared.lease_table();
            assert_eq!(leases.is_undated(), is_undated);
            mark(&shared, now, &mut leases);
        }
        assert_eq!(sizes(), [0], "the date alone");
    }
}
