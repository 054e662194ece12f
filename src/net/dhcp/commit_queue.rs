//! Replies that wait for the disk: they leave together, as soon as their lease changes are durable.
//!
//! Where the disk fails or keeps them waiting, a machine whose lease runs is not sent away: what is on
//! disk holds, so it is told the end that stands there. Only new leases are refused.

use super::{
    pending_reply::{PendingReply, given_up},
    replies::Replies,
};
use crate::boot::{
    engine::OutgoingReply,
    event::{Event, Reason, Step},
};
use crate::lease::{LeaseChange, LeaseRecord};
use crate::model::limits::{LEASE_WRITE_POLL_INTERVAL, LEASE_WRITE_TIMEOUT};
use crate::proto::dhcp::ReplyKind;
use crate::state::{Counter, Durable};
use crate::store::StoreError;
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
pub(super) struct PendingCommit {
    durable: Durable,
    answers: Vec<PendingReply>,
    since: Instant,
}

impl PendingCommit {
    pub(super) fn new(durable: Durable, answers: Vec<PendingReply>) -> PendingCommit {
        PendingCommit {
            durable,
            answers,
            since: Instant::now(),
        }
    }
}

/// Keeps the promises of one port of one interface.
pub(super) struct CommitQueue {
    pub replies: Replies,
    /// The oldest first, so that they become durable in this order. The commit log bounds them.
    pub queue: UnboundedReceiver<PendingCommit>,
}

impl CommitQueue {
    /// Sends what becomes durable, until every sender is gone and nothing waits.
    pub(super) async fn run(mut self) {
        let mut waiting = VecDeque::new();
        loop {
            let Some(commit) = waiting.pop_front().or_else(|| self.queue.try_recv().ok()) else {
                self.replies.flush();
                let Some(commit) = self.queue.recv().await else { return };
                waiting.push_back(commit);
                continue;
            };
            self.finish(commit, &mut waiting).await;
        }
    }

    /// Waits for one promise and sends its answers. Those that come meanwhile and wait too long are
    /// looked after.
    async fn finish(&mut self, mut commit: PendingCommit, waiting: &mut VecDeque<PendingCommit>) {
        let written = match is_ready(&mut commit.durable) {
            Some(written) => written,
            None => {
                self.replies.flush();
                self.wait(&mut commit, waiting).await
            }
        };
        let answers = commit.answers;
        match written {
            Ok(()) => self.committed(answers),
            Err(error) => {
                let reason = Reason::LeaseNotStored { error: error.into() };
                self.replies.give_up(answers, &reason, Counter::DhcpStoreFailed);
            }
        }
        if self.replies.is_full() {
            self.replies.flush();
        }
    }

    async fn wait(
        &mut self,
        commit: &mut PendingCommit,
        waiting: &mut VecDeque<PendingCommit>,
    ) -> Result<(), StoreError> {
        let mut deadline = commit.since + LEASE_WRITE_TIMEOUT;
        loop {
            if let Ok(written) = timeout_at(deadline, &mut commit.durable).await {
                return written;
            }
            self.replies.ack_remaining(&mut commit.answers);
            while let Ok(commit) = self.queue.try_recv() {
                waiting.push_back(commit);
            }
            let is_late = |commit: &&mut PendingCommit| commit.since.elapsed() >= LEASE_WRITE_TIMEOUT;
            for late in waiting.iter_mut().filter(is_late) {
                self.replies.ack_remaining(&mut late.answers);
            }
            self.replies.flush();
            deadline = Instant::now() + LEASE_WRITE_POLL_INTERVAL;
        }
    }

    /// Sends what is durable now.
    fn committed(&mut self, answers: Vec<PendingReply>) {
        let shared = self.replies.shared();
        let now = shared.clock.now();
        {
            let mut leases = shared.lease_table();
            for change in answers.iter().filter_map(|answer| answer.change.as_ref()) {
                leases.committed(now, change);
            }
        }
        for answer in answers.into_iter().filter(|answer| !answer.is_answered) {
            self.replies.say(answer);
        }
    }
}

impl Replies {
    /// Sends the replies that still can be sent where lease changes will never be durable; the rest is given up
    /// and counted.
    pub(super) fn give_up(&mut self, mut answers: Vec<PendingReply>, reason: &Reason, counter: Counter) {
        self.ack_remaining(&mut answers);
        for answer in answers.into_iter().filter(|answer| !answer.is_answered) {
            let is_refusal = |sending: &OutgoingReply| sending.reply.kind == ReplyKind::Nak;
            if answer.sending.as_ref().is_some_and(is_refusal) {
                // It promises nothing: at worst its address is kept for longer than it must be.
                self.say(answer);
            } else {
                self.shared().counters.count(counter);
                self.shared().publish(given_up(answer.event, reason.clone()));
            }
        }
    }

    /// Acknowledges the leases that run by what is on disk, until the end that stands there.
    fn ack_remaining(&mut self, answers: &mut [PendingReply]) {
        for answer in answers.iter_mut().filter(|answer| !answer.is_answered) {
            let Some((record, remaining)) = self.remaining(answer) else {
                continue;
            };
            let Some(sending) = &mut answer.sending else { continue };
            sending.reply.limit_lease(remaining);
            self.push(sending, &answer.event);
            self.shared().counters.count(Counter::DhcpAckShortened);
            self.shared().publish(Event {
                step: Step::AckShortened {
                    address: record.address,
                    remaining,
                },
                ..answer.event.clone()
            });
            answer.is_answered = true;
        }
    }

    /// What the disk still promises to the machine of an answer, in whole seconds.
    fn remaining(&self, answer: &PendingReply) -> Option<(LeaseRecord, Duration)> {
        let Some(LeaseChange::Put(record)) = &answer.change else {
            return None;
        };
        let leases = self.shared().lease_table();
        let remaining = leases.committed_remaining(self.shared().clock.now(), record.client, record.address)?;
        let remaining = Duration::from_secs(remaining.as_secs());
        (!remaining.is_zero()).then(|| (record.clone(), remaining))
    }
}

/// What a future has come to, if it has; asked once, without being woken for it.
fn is_ready(durable: &mut Durable) -> Option<Result<(), StoreError>> {
    match durable.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(written) => Some(written),
        Poll::Pending => None,
    }
}
