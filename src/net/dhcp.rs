//! The DHCP server of one interface: receive, decide, make durable, send.
//!
//! What comes in is taken a batch at a time, and decided under one lock: in a storm the cost of a
//! system call, a lock and a lease change on its way to the disk is shared by many machines, and where
//! one machine asks the batch is that one. Where many keep coming, batches are gathered for a moment (`pace`).

mod commit_queue;
mod conflict_probe;
mod pace;
mod pending_reply;
mod recording;
mod replies;

use self::{
    commit_queue::{CommitQueue, PendingCommit},
    pace::Pace,
    pending_reply::PendingReply,
    recording::BatchPositions,
    replies::{Replies, ReplyChannels},
};
use crate::boot::{
    change::Change,
    engine::{self, DiscoverCache, Ingress, Outcome},
    event::{Event, Machine, Reason, Stage, Step},
    identity_cache::{IdentityCache, Observation},
    machine::identify,
};
use crate::lease::{OverQuota, PortChange};
use crate::model::{
    Mode,
    limits::{DHCP_REQUEST_BYTES_MAX, OFFER_QUOTA_LOG_INTERVAL, POOL_EXHAUSTED_LOG_INTERVAL},
};
use crate::net::{
    intake::batch,
    interface::Interface,
    neighbours::Neighbours,
    probe::Prober,
    rogue::RogueServers,
    socket::{DATAGRAMS_PER_BATCH, FrameSender, Inbox, ReceivedDatagram},
    tasks::TaskTracker,
    threads::ThreadPool,
};
use crate::proto::dhcp::{self, Request};
use crate::state::{Counter, Durable, Shared, calendar, ports};
use crate::store::StoreError;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::{
    net::UdpSocket,
    sync::{
        mpsc::{UnboundedSender, unbounded_channel},
        watch,
    },
    task::yield_now,
};
use tracing::warn;

/// The port that requests come to.
pub const SERVER_PORT: u16 = 67;
/// The port that PXE's second conversation comes to.
pub const PXE_PORT: u16 = 4011;

/// The server of one port of one interface.
pub struct DhcpServer {
    /// What every server shares.
    pub shared: Arc<Shared>,
    /// The socket that requests come in on.
    pub socket: Arc<UdpSocket>,
    /// The port it is bound to.
    pub port: u16,
    /// Whether we give the addresses there.
    pub mode: Mode,
    /// Sends to clients without an address; `None` where the kernel refused one.
    pub frames: Option<Arc<FrameSender>>,
    /// The interface as it is now.
    pub interface: watch::Receiver<Interface>,
    /// What clients sent in the exchanges that are under way.
    pub discovers: Mutex<DiscoverCache>,
    /// Whom the kernel can send to at once.
    pub(super) neighbours: Arc<Neighbours>,
    /// Other servers whose offers machines take here.
    pub(super) rogue_servers: RogueServers,
    /// Probes addresses before they are offered.
    pub(super) prober: Prober,
    /// Where the tasks are started whose replies wait: for the disk, or for a probe.
    pub tasks: TaskTracker,
    /// The thread that this runs on, which lasts as long as anything of this does.
    pub(super) thread: ThreadPool,
}

/// The lease changes of a batch: on their way to the disk, or why they are not; `None` for no changes.
type Appended = Option<Result<Durable, StoreError>>;

impl DhcpServer {
    /// Serves until it is dropped or no new work may begin.
    pub async fn run(self) {
        let server = Arc::new(self);
        let (commit, queue) = unbounded_channel();
        let commits = CommitQueue {
            replies: server.replies(),
            queue,
        };
        let thread = server.thread.clone();
        server.tasks.spawn(async move {
            commits.run().await;
            drop(thread);
        });
        let mut replies = server.replies();
        let common = ("DHCP", &*server.shared, &server.tasks);
        let mut inbox = Inbox::new(DHCP_REQUEST_BYTES_MAX);
        let mut pace = Pace::default();
        while batch(common, &server.socket, &mut inbox).await {
            server.take(&inbox, &mut replies, &commit);
            replies.flush();
            if let Some(rest) = pace.rest_after(server.shared.clock.monotonic(), inbox.len()) {
                if inbox.len() < DATAGRAMS_PER_BATCH {
                    // The thread has nothing else to do. A timer would have each packet wake the event loop all the same.
                    std::thread::sleep(rest);
                }
                // What became durable meanwhile is sent.
                yield_now().await;
            }
        }
    }

    fn replies(&self) -> Replies {
        Replies::new(ReplyChannels {
            shared: Arc::clone(&self.shared),
            socket: Arc::clone(&self.socket),
            frames: self.frames.clone(),
            port: self.port,
            neighbours: Arc::clone(&self.neighbours),
            tasks: self.tasks.clone(),
        })
    }

    /// Takes a batch of packets.
    fn take(self: &Arc<Self>, inbox: &Inbox, replies: &mut Replies, commit: &UnboundedSender<PendingCommit>) {
        let mut positions = BatchPositions::default();
        let requests: Vec<(Ingress, Request)> = (0..inbox.len())
            .filter_map(|at| {
                let (received, bytes) = inbox.datagram(at);
                let read = self.read(&received, bytes)?;
                positions.add(at);
                Some(read)
            })
            .collect();
        let (outcomes, appended) = self.decide(&requests);
        let now = self.shared.clock.monotonic();
        requests
            .iter()
            .for_each(|(ingress, request)| self.shared.relays.note(now, ingress.mode, request));
        let mut waiting = Vec::new();
        for (place, ((ingress, request), outcome)) in requests.into_iter().zip(outcomes).enumerate() {
            self.record(
                inbox.datagram(positions.of(place)),
                (&ingress, &request),
                &outcome.event,
            );
            if outcome.probe.is_some() {
                self.tasks
                    .spawn(Arc::clone(self).probe_then_offer((ingress, request), outcome));
                continue;
            }
            self.note(&outcome);
            if let (Step::ReservationConflict { address, .. }, Some(mac)) =
                (&outcome.event.step, request.hardware.mac())
            {
                self.reservation_conflict((mac, *address), request.relay.is_some(), outcome.event);
                continue;
            }
            let answer = PendingReply::of(outcome);
            match answer.change {
                Some(_) => waiting.push(answer),
                None => replies.say(answer),
            }
        }
        match appended {
            // The task that sends what was committed outlives this one, unless it was aborted: no client is served then.
            Some(Ok(durable)) => drop(commit.send(PendingCommit::new(durable, waiting))),
            Some(Err(error)) => {
                let error = error.into();
                replies.give_up(waiting, &Reason::LeaseQueueFull { error }, Counter::DhcpQueueFull);
            }
            None => {}
        }
    }

    /// What one packet asks, and where it came in.
    fn read(&self, received: &ReceivedDatagram, bytes: &[u8]) -> Option<(Ingress, Request)> {
        let counters = &self.shared.counters;
        counters.count(Counter::DhcpReceived);
        let mut request = match dhcp::parse(bytes) {
            Ok(request) if !received.is_truncated => request,
            Ok(_) => {
                let source = received.source;
                self.record_malformed(received, bytes);
                self.malformed(Reason::PacketTooLong { source });
                return None;
            }
            Err(fault) => {
                let source = received.source;
                self.record_malformed(received, bytes);
                self.malformed(Reason::Malformed { source, fault });
                return None;
            }
        };
        let mut discovers = self.discovers.lock().unwrap_or_else(PoisonError::into_inner);
        discovers.complete(self.shared.clock.now(), &mut request);
        drop(discovers);
        let interface = self.interface.borrow();
        let Some(own) = interface.answering(received.asked) else {
            let name = Arc::clone(&interface.name);
            drop(interface);
            self.no_address(received, name, &request);
            return None;
        };
        let ingress = Ingress {
            interface: Arc::clone(&interface.name),
            own: Arc::clone(&interface.addresses),
            elsewhere: Arc::clone(&interface.elsewhere),
            address: own.address,
            port: self.port,
            mode: self.mode,
            source: received.source,
            to: received.asked,
        };
        Some((ingress, request))
    }

    /// Decides a batch in the order in which it came.
    fn decide(&self, requests: &[(Ingress, Request)]) -> (Vec<Outcome>, Appended) {
        let snapshot = self.shared.snapshot.load();
        let mut leases = self.shared.lease_table();
        let now = self.shared.clock.now();
        calendar::look(&self.shared, now, &mut leases);
        let mut world = leases.world(now, &snapshot);
        let outcomes: Vec<Outcome> = requests
            .iter()
            .map(|(ingress, request)| engine::handle(&mut world, ingress, request))
            .collect();
        let changes = outcomes.iter().filter_map(|outcome| outcome.change.clone());
        let changes: Vec<Change> = changes.map(Change::Lease).collect();
        let appended = (!changes.is_empty()).then(|| leases.log().append(changes));
        let port_changes: Vec<PortChange> = outcomes
            .iter()
            .flat_map(|outcome| outcome.port_changes.clone())
            .collect();
        ports::keep(&self.shared, &mut leases, port_changes);
        (outcomes, appended)
    }

    /// Counts an outcome, and passes on what it tells the rest of the daemon.
    fn note(&self, outcome: &Outcome) {
        let counters = &self.shared.counters;
        if outcome.observation != Observation::default() {
            self.shared
                .identities(outcome.observation.clone(), IdentityCache::record);
        }
        if let Some(over_quota) = &outcome.over_quota {
            self.crowded(over_quota);
        }
        if let Some(notice) = &outcome.notice {
            counters.count(Counter::DhcpReservationUnavailable);
            self.shared.publish(notice.clone());
        }
        match (&outcome.event.step, &outcome.send) {
            (Step::ReservationConflict { .. }, _) => counters.count(Counter::DhcpReservationConflict),
            (Step::WrongPort { .. }, _) => counters.count(Counter::DhcpWrongPort),
            (Step::PoolExhausted { reason }, _) => self.exhausted(reason),
            (Step::ChoseOtherServer { server }, _) => {
                counters.count(Counter::DhcpIgnored);
                self.rogue_servers
                    .take(&self.shared, &self.interface.borrow().name, *server);
            }
            (_, None) => counters.count(Counter::DhcpIgnored),
            (_, Some(_)) => {}
        }
    }

    /// Counts every machine that a pool has no address for, and says it once a minute.
    fn exhausted(&self, reason: &Reason) {
        self.shared.counters.count(Counter::DhcpPoolExhausted);
        if self
            .shared
            .exhausted
            .is_due(&self.shared.clock, POOL_EXHAUSTED_LOG_INTERVAL)
        {
            warn!(
                event = "pool_exhausted",
                reason = reason.code().name(),
                subnet = reason.subnet().map(display),
                "a machine gets no address: {reason}; make the subnet's `pool` larger or its `lease` shorter"
            );
        }
    }

    /// Counts every offer that a crowded attachment point cost, and names the port once a minute.
    fn crowded(&self, OverQuota { port, offers }: &OverQuota) {
        self.shared.counters.count(Counter::DhcpOfferQuota);
        if self.shared.crowded.is_due(&self.shared.clock, OFFER_QUOTA_LOG_INTERVAL) {
            warn!(
                "possible DHCP starvation (MAC spoofing) at {port}: {offers} unlisted machines hold offers and do not \
                 request them. The oldest of these offers are given to others. Where so many machines power on at once, \
                 this is no attack"
            );
        }
    }

    /// A packet that is no request.
    fn malformed(&self, reason: Reason) {
        self.shared.counters.count(Counter::DhcpMalformed);
        self.unanswered(Machine::default(), Stage::Unknown, reason);
    }

    /// A request that can't be answered: the interface has no address.
    fn no_address(&self, received: &ReceivedDatagram, interface: Arc<str>, request: &Request) {
        self.shared.counters.count(Counter::DhcpNoAddress);
        let identity = engine::identity(request);
        let who = identity.machine(identify(&self.shared.snapshot.load(), &identity));
        let source = received.source;
        let reason = Reason::NoInterfaceAddress { source, interface };
        self.unanswered(who, engine::stage(request), reason);
    }

    fn unanswered(&self, machine: Machine, stage: Stage, reason: Reason) {
        self.shared.publish(Event {
            at: self.shared.clock.now(),
            machine,
            stage,
            quirks: Arc::default(),
            step: Step::Ignored { reason },
        });
    }
}
