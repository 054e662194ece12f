//! Requests for image files that can't be sent yet: answered with 503 and Retry-After, or held with their connection
//! open.
//!
//! Two things are waited for: that an artifact's bytes are verified, and that one of the places for image
//! files becomes free. Who comes back by itself is told to ([`crate::boot::user_agent`]). Everybody else waits,
//! in a line of so many in all and for one machine, and at most `HTTP_HELD_TIMEOUT`. Whose patience for a
//! head is short has it at once, with the length of what will follow, and waits for the body.

use super::{
    body::{DeferredFile, FileContent, ResponseBody},
    client_stream::DeliveryTracker,
    response::{ConnectionContext, FileToSend, headed, set, typed},
};
use crate::boot::{
    event::{Reason, Step, Subject, WaitEnd},
    method::Method,
    resource::{Refusal, Resolved, Resource},
    snapshot::Snapshot,
    user_agent::RetryBehaviour,
};
use crate::model::limits::{
    HTTP_BUSY_LOG_INTERVAL, HTTP_HELD_POLL_INTERVAL, HTTP_HELD_RETRY_INTERVAL, HTTP_HELD_TIMEOUT, HTTP_PROMPT_BYTES_MAX,
};
use crate::net::{
    eviction::EvictionNotice,
    files::{FileError, OpenedFile, hot, open_elsewhere},
    limiter::{NoPermit, Permit, Rank},
    tasks::AbortSignal,
};
use crate::state::{Counter, Shared};
use hyper::{Response, Uri, header::CONTENT_LENGTH};
use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::futures::Notified,
    time::{Instant, timeout_at},
};
use tracing::warn;

/// What becomes of a request for what is not verified yet.
pub(super) enum HoldOutcome {
    /// It waited, and has another answer now.
    Resolved(Box<Resolved>, Box<Hold>),
    Response(Box<Response<ResponseBody>>),
}

/// What one request may wait, and its seat once it does.
pub(super) struct Hold {
    pub(super) retry_behaviour: RetryBehaviour,
    until: Instant,
    slot: Option<WaitSlot>,
}

/// One of those that wait; dropping it while it does says that its client left, or that we do.
struct WaitSlot {
    shared: Arc<Shared>,
    tracker: Arc<DeliveryTracker>,
    abort: AbortSignal,
    eviction: EvictionNotice,
    since: Instant,
    /// `None` once the wait is over.
    left: Option<Subject>,
    _place: Permit,
}

impl Hold {
    pub(super) fn new(retry_behaviour: RetryBehaviour) -> Hold {
        Hold {
            retry_behaviour,
            until: Instant::now() + HTTP_HELD_TIMEOUT,
            slot: None,
        }
    }

    /// Whether the request waits from here on, for that reason; else its client is to be sent a 503 with Retry-After.
    pub(super) fn begins(&mut self, context: &ConnectionContext, subject: &Subject, reason: &Reason) -> bool {
        if self.retry_behaviour == RetryBehaviour::Retries {
            return false;
        }
        if self.slot.is_some() {
            return true;
        }
        let Some(permit) = context.wait_slots.take(&context.permit_request) else {
            context.timed_out(subject, &Reason::TooManyWait);
            return false;
        };
        context.shared.counters.count(Counter::HttpHeld);
        let step = Step::Waits {
            file: subject.file.clone(),
            reason: reason.clone(),
        };
        let shared = &context.shared;
        shared.publish(subject.event(shared.clock.now(), step));
        self.slot = Some(WaitSlot {
            shared: Arc::clone(&context.shared),
            tracker: Arc::clone(&context.tracker),
            abort: context.abort.clone(),
            eviction: context.permit_request.eviction.clone(),
            since: Instant::now(),
            left: Some(subject.clone()),
            _place: permit,
        });
        true
    }

    /// The rest of it, for a body that goes on waiting.
    pub(super) fn take(&mut self) -> Hold {
        Hold {
            retry_behaviour: self.retry_behaviour,
            until: self.until,
            slot: self.slot.take(),
        }
    }

    /// There is nothing to wait for any more; whether it waited until now.
    pub(super) fn ends(&mut self) -> bool {
        let mut slot = self.slot.take();
        if let Some(slot) = &mut slot {
            slot.left = None;
        }
        slot.is_some()
    }

    /// What is left of the time.
    fn time_left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Whether no client may wait any longer.
    pub(super) fn is_over(&self) -> bool {
        self.time_left().is_zero()
    }

    fn rank(&self) -> Rank {
        match self.retry_behaviour {
            RetryBehaviour::WaitsForBody => Rank::First,
            RetryBehaviour::Retries | RetryBehaviour::Waits => Rank::Second,
        }
    }
}

/// The artifact that was answered, opened.
async fn opened(result: Result<Resource, Refusal>) -> Result<OpenedFile, FileError> {
    match result {
        Ok(Resource::File {
            root, file, verified, ..
        }) => open_elsewhere(root, file, verified).await,
        Err(Refusal::NotReady { .. }) => Err(FileError::WaitTimedOut),
        Err(Refusal::NotFound(_)) => Err(FileError::Missing),
        // Its bytes are wrong, or can't be read; or it is no artifact any more.
        Ok(Resource::Text { .. }) | Err(_) => Err(FileError::Corrupt),
    }
}

impl Drop for WaitSlot {
    fn drop(&mut self) {
        let Some(subject) = self.left.take() else { return };
        let by = match (self.abort.is_set(), self.eviction.is_evicted()) {
            (true, _) => WaitEnd::Stopped,
            (false, true) => WaitEnd::GaveWay,
            (false, false) => {
                self.shared.counters.count(Counter::HttpHeldAbandoned);
                self.tracker.wait_end()
            }
        };
        let waited_s = self.since.elapsed().as_secs();
        let reason = Reason::WaitEnded { by, waited_s };
        self.shared
            .publish(subject.failed(self.shared.clock.now(), reason, false));
    }
}

impl ConnectionContext {
    /// Says now and then that too many image files are on their way.
    pub(super) fn log_busy(&self, subject: &Subject) {
        if self.shared.busy.is_due(&self.shared.clock, HTTP_BUSY_LOG_INTERVAL) {
            match self.bulk.no_permit(&self.permit_request) {
                Some(NoPermit::Client(own)) => warn!(
                    event = "image_files_wait", reason = "machines_per_address",
                    machine = %subject.machine.key, mac = subject.machine.hardware.as_ref().map(display),
                    address = %self.permit_request.client,
                    "machines wait for image files, {} among them: {own} are on their way to {}, as many as one address \
                     may have; if many machines ask from it, say so by machines_per_address under [network]",
                    subject.machine.key,
                    self.permit_request.client
                ),
                Some(NoPermit::UnknownClients) => warn!(
                    event = "image_files_wait", reason = "unknown_clients", address = %self.permit_request.client,
                    "{} waits for an image file: transfers to addresses that DHCP did not assign are at their \
                     limit",
                    self.permit_request.client
                ),
                Some(NoPermit::All) | None => warn!(
                    event = "image_files_wait", reason = "bulk_streams",
                    machine = %subject.machine.key, mac = subject.machine.hardware.as_ref().map(display),
                    "machines wait for image files, {} among them: bulk_streams under [http] are all under way",
                    subject.machine.key
                ),
            }
        }
    }

    /// The file's bytes are still being verified: the machine waits, or is told when to come back.
    pub(super) async fn not_yet(
        self: &Arc<Self>,
        subject: &Subject,
        (reason, length): (&Reason, u64),
        (uri, head): (&Uri, bool),
        mut hold: Hold,
    ) -> HoldOutcome {
        let response = |response| HoldOutcome::Response(Box::new(response));
        if head && hold.retry_behaviour != RetryBehaviour::Retries {
            // What it is to know is known, and no byte goes out.
            return response(typed(headed(length), uri));
        }
        if self
            .shared
            .unverified
            .is_due(&self.shared.clock, HTTP_BUSY_LOG_INTERVAL)
        {
            warn!(
                mac = subject.machine.hardware.as_ref().map(display),
                "machines wait, {} among them: {reason}", subject.machine.key
            );
        }
        if !hold.begins(self, subject, reason) {
            self.shared.counters.count(Counter::HttpUnverified);
            return response(self.retry_later(subject, reason.clone(), head));
        }
        if hold.retry_behaviour == RetryBehaviour::WaitsForBody && length > 0 {
            return response(self.promised(uri, length, hold));
        }
        let later = self.verified(uri, &hold).await;
        HoldOutcome::Resolved(Box::new(later), Box::new(hold))
    }

    /// The head of an artifact of so many bytes, which waits for its body.
    pub(super) fn promised(self: &Arc<Self>, uri: &Uri, length: u64, hold: Hold) -> Response<ResponseBody> {
        let mut promised = Response::new(self.defer_until_verified(uri.clone(), length, hold));
        set(&mut promised, CONTENT_LENGTH, length);
        typed(promised, uri)
    }

    /// The answer once the artifact is verified; the same as before where that takes too long.
    async fn verified(&self, uri: &Uri, hold: &Hold) -> Resolved {
        loop {
            let mut evicted = pin!(self.shared.verified.notified());
            // From here on: what is found after the next look is not missed.
            evicted.as_mut().enable();
            let known = self.shared.snapshot.load_full();
            let resolved = self.answer(uri, Method::Get).await;
            if !matches!(resolved.result, Err(Refusal::NotReady { .. })) || hold.is_over() {
                return resolved;
            }
            self.news(evicted, &known, hold).await;
        }
    }

    /// Waits until something was verified, there is another generation than `known`, or it is time to ask anew.
    /// Thousands may wait here: only who has a reason asks, because that takes the lease table's lock.
    async fn news(&self, mut evicted: Pin<&mut Notified<'_>>, known: &Arc<Snapshot>, hold: &Hold) {
        let ask_at = Instant::now() + hold.time_left().min(HTTP_HELD_RETRY_INTERVAL);
        loop {
            let look_at = ask_at.min(Instant::now() + HTTP_HELD_POLL_INTERVAL);
            let is_evicted = timeout_at(look_at, evicted.as_mut()).await.is_ok();
            if is_evicted || look_at == ask_at || !Arc::ptr_eq(known, &self.shared.snapshot.load()) {
                return;
            }
        }
    }

    /// Waits until something was verified or there is another generation than `known`, or a while.
    pub(super) async fn changes(&self, known: &Arc<Snapshot>, hold: &Hold) {
        let mut evicted = pin!(self.shared.verified.notified());
        evicted.as_mut().enable();
        // What came before this is seen in the snapshot, which is looked at first.
        if Arc::ptr_eq(known, &self.shared.snapshot.load()) {
            self.news(evicted, known, hold).await;
        }
    }

    /// A place for an image file, where one becomes free in time.
    pub(super) async fn permit_in_time(&self, hold: &Hold) -> Option<Permit> {
        self.bulk
            .take_within(hold.time_left(), &self.permit_request, hold.rank())
            .await
    }

    /// A body of `length` bytes that is an artifact's, once it is verified and there is a place for it.
    fn defer_until_verified(self: &Arc<Self>, uri: Uri, length: u64, mut hold: Hold) -> ResponseBody {
        let context = Arc::clone(self);
        self.defer(length, length, async move {
            let (subject, content) = loop {
                let known = context.shared.snapshot.load_full();
                let Resolved { subject, result, .. } = context.verified(&uri, &hold).await;
                let opened = opened(result).await;
                if !matches!(opened, Err(FileError::Changed)) || hold.is_over() {
                    break (subject, opened);
                }
                // Another file has its name by now: the next generation will know.
                context.changes(&known, &hold).await;
            };
            let content = content.and_then(|opened| match opened.length() == length {
                true => Ok(hot::FileSource::File(opened)),
                false => Err(FileError::Changed),
            });
            let wanted = content.map(|content| FileToSend {
                content,
                part: None,
                is_bulk: true,
            });
            context.deliver_deferred(&subject, wanted, &mut hold).await
        })
    }

    /// A body that is a file, once there is a place for it.
    pub(super) fn defer_until_permit(
        self: &Arc<Self>,
        subject: &Subject,
        wanted: FileToSend,
        mut hold: Hold,
    ) -> ResponseBody {
        let (context, subject) = (Arc::clone(self), subject.clone());
        self.defer(wanted.size(), wanted.content.stamp().length, async move {
            context.deliver_deferred(&subject, Ok(wanted), &mut hold).await
        })
    }

    fn defer(
        &self,
        size: u64,
        file_length: u64,
        file: impl Future<Output = Result<FileContent, FileError>> + Send + 'static,
    ) -> ResponseBody {
        if file_length > HTTP_PROMPT_BYTES_MAX {
            self.tracker.takes_bulk();
        }
        self.tracker.set_promised(true);
        ResponseBody::Deferred(DeferredFile {
            length: size,
            file: Box::pin(file),
        })
    }

    async fn deliver_deferred(
        &self,
        subject: &Subject,
        wanted: Result<FileToSend, FileError>,
        hold: &mut Hold,
    ) -> Result<FileContent, FileError> {
        let kept = match wanted {
            Ok(wanted) => match self.permit_in_time(hold).await {
                Some(permit) => Ok((wanted, permit)),
                None => Err(FileError::WaitTimedOut),
            },
            Err(error) => Err(error),
        };
        hold.ends();
        self.tracker.set_promised(false);
        match kept {
            Ok((wanted, permit)) => Ok(self.content(subject, wanted, Some(permit))),
            Err(error) => {
                self.shared.counters.count(Counter::HttpAborted);
                if matches!(error, FileError::WaitTimedOut) {
                    self.shared.counters.count(Counter::HttpHeldTimeout);
                }
                let reason = Reason::from(&error);
                self.shared
                    .publish(subject.failed(self.shared.clock.now(), reason, false));
                Err(error)
            }
        }
    }

    /// That a request waited for nothing, or could not wait.
    pub(super) fn timed_out(&self, subject: &Subject, why: &Reason) {
        self.shared.counters.count(Counter::HttpHeldTimeout);
        let notice = &self.shared.log_throttles.too_many_wait;
        if notice.is_due(&self.shared.clock, HTTP_BUSY_LOG_INTERVAL) {
            warn!(
                event = "image_files_refused",
                reason = why.code().name(),
                mac = subject.machine.hardware.as_ref().map(display),
                "machines get 503 with Retry-After for image files, which many programs take for a failure, {} ({}) among them: {why}",
                subject.machine.key,
                self.permit_request.client
            );
        }
    }
}
