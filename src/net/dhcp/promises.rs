//! Replies that wait for the disk: they leave together, as soon as their lease changes are durable.
//!
//! Where the disk fails or keeps them waiting, a machine whose lease runs is not sent away: what is on
//! disk holds, so it is told the end that stands there. Only new leases are refused.

use super::{
    answer::{Answer, given_up},
    replies::Replies,
};
use crate::boot::{
    engine::Sending,
    event::{Event, Step},
};
use crate::lease::{LeaseChange, LeaseRecord};
use crate::model::limits::{LEASE_WRITE_LOOK, LEASE_WRITE_PATIENCE};
use crate::net::{Counter, Durable};
use crate::proto::dhcp::ReplyKind;
use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, timeout_at},
};

/// Answers that depend on lease changes, which are handed over already.
pub(super) struct Promise {
    durable: Durable,
    answers: Vec<Answer>,
    since: Instant,
}

impl Promise {
    pub(super) fn new(durable: Durable, answers: Vec<Answer>) -> Promise {
        Promise {
            durable,
            answers,
            since: Instant::now(),
        }
    }
}

/// Keeps the promises of one port of one interface.
pub(super) struct Promises {
    pub replies: Replies,
    /// The oldest first, so that they become durable in this order. The lease log bounds them.
    pub queue: UnboundedReceiver<Promise>,
}

impl Promises {
    /// Sends what becomes durable, until nobody promises any more and nothing waits.
    pub(super) async fn run(mut self) {
        let mut waiting = VecDeque::new();
        loop {
            let Some(promise) = waiting.pop_front().or_else(|| self.queue.try_recv().ok()) else {
                self.replies.flush();
                let Some(promise) = self.queue.recv().await else { return };
                waiting.push_back(promise);
                continue;
            };
            self.keep(promise, &mut waiting).await;
        }
    }

    /// Waits for one promise and sends its answers. Those that come meanwhile and wait too long are
    /// looked after.
    async fn keep(&mut self, mut promise: Promise, waiting: &mut VecDeque<Promise>) {
        let written = match is_ready(&mut promise.durable) {
            Some(written) => written,
            None => {
                self.replies.flush();
                self.wait(&mut promise, waiting).await
            }
        };
        let answers = promise.answers;
        match written {
            Ok(()) => self.kept(answers),
            Err(reason) => {
                let reason = format!("its lease is not on disk: {reason}");
                self.replies.give_up(answers, &reason, Counter::DhcpStoreFailed);
            }
        }
        if self.replies.is_full() {
            self.replies.flush();
        }
    }

    async fn wait(&mut self, promise: &mut Promise, waiting: &mut VecDeque<Promise>) -> Result<(), String> {
        let mut deadline = promise.since + LEASE_WRITE_PATIENCE;
        loop {
            if let Ok(written) = timeout_at(deadline, &mut promise.durable).await {
                return written;
            }
            self.replies.assure(&mut promise.answers);
            while let Ok(promise) = self.queue.try_recv() {
                waiting.push_back(promise);
            }
            let is_late = |promise: &&mut Promise| promise.since.elapsed() >= LEASE_WRITE_PATIENCE;
            for late in waiting.iter_mut().filter(is_late) {
                self.replies.assure(&mut late.answers);
            }
            self.replies.flush();
            deadline = Instant::now() + LEASE_WRITE_LOOK;
        }
    }

    /// Sends what is durable now.
    fn kept(&mut self, answers: Vec<Answer>) {
        let shared = self.replies.shared();
        let now = shared.clock.now();
        {
            let mut leases = shared.lease_table();
            for change in answers.iter().filter_map(|answer| answer.change.as_ref()) {
                leases.written(now, change);
            }
        }
        for answer in answers.into_iter().filter(|answer| !answer.is_told) {
            self.replies.say(&answer);
        }
    }
}

impl Replies {
    /// Says what still can be said where lease changes will never be durable; the rest is given up
    /// and counted.
    pub(super) fn give_up(&mut self, mut answers: Vec<Answer>, reason: &str, counter: Counter) {
        self.assure(&mut answers);
        for answer in answers.into_iter().filter(|answer| !answer.is_told) {
            let is_refusal = |sending: &Sending| sending.reply.kind == ReplyKind::Nak;
            if answer.sending.as_ref().is_some_and(is_refusal) {
                // It promises nothing: at worst its address is kept for longer than it must be.
                self.say(&answer);
            } else {
                self.shared().counters.count(counter);
                self.shared().report(&given_up(answer.event, reason));
            }
        }
    }

    /// Acknowledges the leases that run by what is on disk, until the end that stands there.
    fn assure(&mut self, answers: &mut [Answer]) {
        for answer in answers.iter_mut().filter(|answer| !answer.is_told) {
            let Some((record, remaining)) = self.remaining(answer) else {
                continue;
            };
            let Some(sending) = &mut answer.sending else { continue };
            sending.reply.limit_lease(remaining);
            self.push(sending);
            self.shared().counters.count(Counter::DhcpAssured);
            self.shared().report(&Event {
                step: Step::Assured {
                    address: record.address,
                    remaining,
                },
                ..answer.event.clone()
            });
            answer.is_told = true;
        }
    }

    /// What the disk still promises to the machine of an answer, in whole seconds.
    fn remaining(&self, answer: &Answer) -> Option<(LeaseRecord, Duration)> {
        let Some(LeaseChange::Put(record)) = &answer.change else {
            return None;
        };
        let leases = self.shared().lease_table();
        let remaining = leases.assured(self.shared().clock.now(), record.client, record.address)?;
        let remaining = Duration::from_secs(remaining.as_secs());
        (!remaining.is_zero()).then(|| (record.clone(), remaining))
    }
}

/// What a future has come to, if it has; asked once, without being woken for it.
fn is_ready(durable: &mut Durable) -> Option<Result<(), String>> {
    match durable.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(written) => Some(written),
        Poll::Pending => None,
    }
}
