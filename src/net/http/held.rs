//! Requests for image files that can't be sent yet: told to come back, or held with their connection open.
//!
//! Two things are waited for: that an artifact's bytes are verified, and that one of the places for image
//! files becomes free. Who comes back by itself is told to ([`crate::boot::fetcher`]). Everybody else waits,
//! in a line of so many in all and for one machine, and at most `HTTP_HELD_LONGEST`. Whose patience for a
//! head is short has it at once, with the length of what will follow, and waits for the body.

use super::{
    body::{Content, FileContent, Promise},
    response::{Exchange, Wanted, headed, set},
};
use crate::boot::{
    event::{Event, Step},
    fetcher::Manner,
    resource::{Answered, Refusal, Resource, content_type},
    snapshot::Snapshot,
};
use crate::model::limits::{
    HTTP_BUSY_REMINDER, HTTP_HELD_ASK, HTTP_HELD_LONGEST, HTTP_HELD_LOOK, HTTP_PROMPT_BYTES_MAX,
};
use crate::net::{
    Counter, Shared,
    files::{FileError, Opened, hot, open_elsewhere},
    places::{Lack, Place, Rank},
    running::Cut,
    yielding::{GAVE_WAY, Leave},
};
use hyper::{
    Response, Uri,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue},
};
use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::futures::Notified,
    time::{Instant, timeout_at},
};
use tracing::{debug, warn};

/// What becomes of a request for what is not verified yet.
pub(super) enum Settled {
    /// It waited, and has another answer now.
    Answered(Box<Answered>, Box<Hold>),
    Response(Box<Response<Content>>),
}

/// What one request may wait, and its seat once it does.
pub(super) struct Hold {
    pub(super) manner: Manner,
    until: Instant,
    seat: Option<Seat>,
}

/// One of those that wait; dropping it while it does says that its client left, or that we do.
struct Seat {
    shared: Arc<Shared>,
    cut: Cut,
    leave: Leave,
    since: Instant,
    /// `None` once the wait is over.
    left: Option<Event>,
    _place: Place,
}

impl Hold {
    pub(super) fn new(manner: Manner) -> Hold {
        Hold {
            manner,
            until: Instant::now() + HTTP_HELD_LONGEST,
            seat: None,
        }
    }

    /// Whether the request waits from here on; else its client is to be told to come back.
    pub(super) fn begins(&mut self, exchange: &Exchange, answered: &Answered) -> bool {
        if self.manner == Manner::ComesBack {
            return false;
        }
        if self.seat.is_some() {
            return true;
        }
        let Some(place) = exchange.seats.take(&exchange.claim) else {
            exchange.in_vain(answered, "too many wait already");
            return false;
        };
        exchange.shared.counters.count(Counter::HttpHeld);
        debug!(client = %exchange.claim.client, what = answered.what, "waits with its connection open");
        let step = Step::Failed {
            what: answered.what.clone(),
            reason: String::new(),
        };
        self.seat = Some(Seat {
            shared: Arc::clone(&exchange.shared),
            cut: exchange.cut.clone(),
            leave: exchange.claim.leave.clone(),
            since: Instant::now(),
            left: Some(answered.event(step)),
            _place: place,
        });
        true
    }

    /// The rest of it, for a body that goes on waiting.
    pub(super) fn take(&mut self) -> Hold {
        Hold {
            manner: self.manner,
            until: self.until,
            seat: self.seat.take(),
        }
    }

    /// There is nothing to wait for any more; whether it waited until now.
    pub(super) fn ends(&mut self) -> bool {
        let mut seat = self.seat.take();
        if let Some(seat) = &mut seat {
            seat.left = None;
        }
        seat.is_some()
    }

    /// What is left of the time.
    fn time_left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Whether nobody may wait any longer.
    pub(super) fn is_over(&self) -> bool {
        self.time_left().is_zero()
    }

    fn rank(&self) -> Rank {
        match self.manner {
            Manner::WaitsForBody => Rank::First,
            Manner::ComesBack | Manner::Waits => Rank::Second,
        }
    }
}

/// The artifact that was answered, opened.
async fn opened(answered: &mut Answered) -> Result<Opened, FileError> {
    match std::mem::replace(&mut answered.result, Err(Refusal::BadPath { reason: "" })) {
        Ok(Resource::File { root, file, seal, .. }) => open_elsewhere(root, file, seal).await,
        Err(Refusal::NotYet { .. }) => Err(FileError::NotInTime),
        Err(Refusal::NotFound { .. }) => Err(FileError::Missing),
        // Its bytes are wrong, or can't be read; or it is no artifact any more.
        Ok(Resource::Text { .. }) | Err(_) => Err(FileError::Rotten),
    }
}

/// With the media type of the file that is asked for: UEFI HTTP boot may know a loader by nothing else.
pub(super) fn typed(mut response: Response<Content>, uri: &Uri) -> Response<Content> {
    let content_type = HeaderValue::from_static(content_type(uri.path()));
    set(&mut response, CONTENT_TYPE, content_type);
    response
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(mut event) = self.left.take() else { return };
        let ended_by = match (self.cut.is_made(), self.leave.is_told()) {
            (true, _) => "bootwright stopped",
            (false, true) => GAVE_WAY,
            (false, false) => {
                self.shared.counters.count(Counter::HttpHeldLeft);
                "its client left"
            }
        };
        if let Step::Failed { reason, .. } = &mut event.step {
            let waited_s = self.since.elapsed().as_secs();
            *reason = format!("{ended_by} after it had waited {waited_s} s for its turn");
        }
        self.shared.report(&event);
    }
}

impl Exchange {
    /// Says now and then that too many image files are on their way.
    pub(super) fn say_busy(&self, answered: &Answered) {
        if self.shared.busy.is_due(&self.shared.clock, HTTP_BUSY_REMINDER) {
            match self.bulk.lack(&self.claim) {
                Some(Lack::Own(own)) => warn!(
                    mac = answered.hardware.as_ref().map(display),
                    "machines wait for image files, {} among them: {own} are on their way to {}, as many as one address \
                     may have; if many machines ask from it, say so by machines_per_address under [network]",
                    answered.machine,
                    self.claim.client
                ),
                Some(Lack::Strangers) => warn!(
                    "{} waits for an image file: as many are on their way as addresses may have that nobody was \
                     given by DHCP",
                    self.claim.client
                ),
                Some(Lack::All) | None => warn!(
                    mac = answered.hardware.as_ref().map(display),
                    "machines wait for image files, {} among them: bulk_streams under [http] are all under way",
                    answered.machine
                ),
            }
        }
        debug!(client = %self.claim.client, what = answered.what, "finds no place");
    }

    /// The file's bytes are still being verified: the machine waits, or is told when to come back.
    pub(super) async fn not_yet(
        self: &Arc<Self>,
        answered: &Answered,
        (reason, length): (&str, u64),
        (uri, head): (&Uri, bool),
        mut hold: Hold,
    ) -> Settled {
        let response = |response| Settled::Response(Box::new(response));
        if head && hold.manner != Manner::ComesBack {
            // What it is to know is known, and no byte goes out.
            return response(typed(headed(length), uri));
        }
        if self.shared.unverified.is_due(&self.shared.clock, HTTP_BUSY_REMINDER) {
            warn!(
                mac = answered.hardware.as_ref().map(display),
                "machines wait, {} among them: {reason}", answered.machine
            );
        }
        if !hold.begins(self, answered) {
            self.shared.counters.count(Counter::HttpUnverified);
            debug!(client = %self.claim.client, what = answered.what, "told to come back: {reason}");
            return response(self.come_back(reason, head));
        }
        if hold.manner == Manner::WaitsForBody && length > 0 {
            return response(self.promised(uri, length, hold));
        }
        let later = self.verified(uri, &hold).await;
        Settled::Answered(Box::new(later), Box::new(hold))
    }

    /// The head of an artifact of so many bytes, which waits for its body.
    pub(super) fn promised(self: &Arc<Self>, uri: &Uri, length: u64, hold: Hold) -> Response<Content> {
        let mut promised = Response::new(self.promise_verified(uri.clone(), length, hold));
        set(&mut promised, CONTENT_LENGTH, length);
        typed(promised, uri)
    }

    /// The answer once the artifact is verified; the same as before where that takes too long.
    async fn verified(&self, uri: &Uri, hold: &Hold) -> Answered {
        loop {
            let mut told = pin!(self.shared.verified.notified());
            // From here on: what is found after the next look is not missed.
            told.as_mut().enable();
            let known = self.shared.snapshot.load_full();
            let answered = self.answer(uri).await;
            if !matches!(answered.result, Err(Refusal::NotYet { .. })) || hold.is_over() {
                return answered;
            }
            self.news(told, &known, hold).await;
        }
    }

    /// Waits until something was verified, there is another generation than `known`, or it is time to ask anew.
    /// Thousands may wait here: only who has a reason asks, because that takes the lease table's lock.
    async fn news(&self, mut told: Pin<&mut Notified<'_>>, known: &Arc<Snapshot>, hold: &Hold) {
        let ask_at = Instant::now() + hold.time_left().min(HTTP_HELD_ASK);
        loop {
            let look_at = ask_at.min(Instant::now() + HTTP_HELD_LOOK);
            let is_told = timeout_at(look_at, told.as_mut()).await.is_ok();
            if is_told || look_at == ask_at || !Arc::ptr_eq(known, &self.shared.snapshot.load()) {
                return;
            }
        }
    }

    /// Waits until something was verified or there is another generation than `known`, or a while.
    pub(super) async fn changes(&self, known: &Arc<Snapshot>, hold: &Hold) {
        let mut told = pin!(self.shared.verified.notified());
        told.as_mut().enable();
        // What came before this is seen in the snapshot, which is looked at first.
        if Arc::ptr_eq(known, &self.shared.snapshot.load()) {
            self.news(told, known, hold).await;
        }
    }

    /// A place for an image file, where one becomes free in time.
    pub(super) async fn place_in_time(&self, hold: &Hold) -> Option<Place> {
        self.bulk.take_within(hold.time_left(), &self.claim, hold.rank()).await
    }

    /// A body of `length` bytes that is an artifact's, once it is verified and there is a place for it.
    fn promise_verified(self: &Arc<Self>, uri: Uri, length: u64, mut hold: Hold) -> Content {
        let exchange = Arc::clone(self);
        self.promise(length, length, async move {
            let (answered, content) = loop {
                let known = exchange.shared.snapshot.load_full();
                let mut answered = exchange.verified(&uri, &hold).await;
                let opened = opened(&mut answered).await;
                if !matches!(opened, Err(FileError::Changed)) || hold.is_over() {
                    break (answered, opened);
                }
                // Another file has its name by now: the next generation will know.
                exchange.changes(&known, &hold).await;
            };
            let content = content.and_then(|opened| match opened.length() == length {
                true => Ok(hot::Content::File(opened)),
                false => Err(FileError::Changed),
            });
            let wanted = content.map(|content| Wanted {
                content,
                part: None,
                is_bulk: true,
            });
            exchange.keep_promise(&answered, wanted, &mut hold).await
        })
    }

    /// A body that is a file, once there is a place for it.
    pub(super) fn promise_place(self: &Arc<Self>, answered: &Answered, wanted: Wanted, mut hold: Hold) -> Content {
        let (exchange, answered) = (Arc::clone(self), answered.clone());
        self.promise(wanted.size(), wanted.content.stamp().length, async move {
            exchange.keep_promise(&answered, Ok(wanted), &mut hold).await
        })
    }

    fn promise(
        &self,
        size: u64,
        file_length: u64,
        file: impl Future<Output = Result<FileContent, FileError>> + Send + 'static,
    ) -> Content {
        if file_length > HTTP_PROMPT_BYTES_MAX {
            self.outbox.takes_bulk();
        }
        Content::Promised(Promise {
            length: size,
            file: Box::pin(file),
        })
    }

    async fn keep_promise(
        &self,
        answered: &Answered,
        wanted: Result<Wanted, FileError>,
        hold: &mut Hold,
    ) -> Result<FileContent, FileError> {
        let kept = match wanted {
            Ok(wanted) => match self.place_in_time(hold).await {
                Some(place) => Ok((wanted, place)),
                None => Err(FileError::NotInTime),
            },
            Err(error) => Err(error),
        };
        hold.ends();
        match kept {
            Ok((wanted, place)) => Ok(self.content(answered, wanted, Some(place))),
            Err(error) => {
                self.shared.counters.count(Counter::HttpAborted);
                if matches!(error, FileError::NotInTime) {
                    self.shared.counters.count(Counter::HttpHeldInVain);
                }
                self.shared.report(&answered.refused(error.to_string()));
                Err(error)
            }
        }
    }

    /// That a request waited for nothing, or could not wait.
    pub(super) fn in_vain(&self, answered: &Answered, why: &str) {
        self.shared.counters.count(Counter::HttpHeldInVain);
        let notice = &self.shared.notices.too_many_wait;
        if notice.is_due(&self.shared.clock, HTTP_BUSY_REMINDER) {
            warn!(
                mac = answered.hardware.as_ref().map(display),
                "machines are told to come back for image files, and many programs never do, {} ({}) among them: {why}",
                answered.machine,
                self.claim.client
            );
        }
    }
}
