//! A lane carries many transfers over one socket: one task, which owns them all. A thousand clients in lock-step get
//! 479 MB/s from a lane a processor, 361 from one lane alone, and 182 from async-tftp, which has a socket and a task
//! for each transfer (2 processors, `tests/bench/tftp.sh`).
//!
//! Packets are taken and sent a batch at a time, so that a storm costs few system calls; the machines
//! decide, this reads, sends and keeps the time. A client's address chooses its lane, so everything
//! that concerns one client, its limit and its repeated requests too, happens in one place and
//! needs no lock. The transfers of a lane have one port: RFC 1350 tells them apart by both ends'
//! ports, and the client chose its own; a client's two transfers in a row may see the same port of
//! ours, as they do with dnsmasq's `tftp-single-port`.
//!
//! With `single_port` the only lane of an interface is the request port itself.

mod no_place;
mod promised;
mod sending;

use super::{
    RequestFilter, WorkerConfig,
    disk::DiskReads,
    file_bytes::{PendingRead, ReadResult},
    prepare::{Prepared, TransferFiles, TransferRequest},
    recording,
    session::{Session, SessionStatus},
    sessions::{Admission, Sessions},
};
use crate::boot::event::Reason;
use crate::net::{
    eviction::class_of,
    neighbours::Neighbours,
    socket::{Inbox, ReceivedDatagram, SendBatch},
    tasks::TaskTracker,
};
use crate::proto::tftp::wire::{self, MalformedPacket, Packet};
use crate::state::{Counter, Shared};
use promised::prepare_unheard;
use std::{cmp::Reverse, collections::BinaryHeap, io, net::SocketAddrV4, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::Interest,
    net::UdpSocket,
    sync::mpsc,
    task::yield_now,
    time::{Instant, sleep_until},
};
use tracing::debug;

/// Bytes read of a packet: requests are the longest, and longer ones are malformed.
const PACKET_BYTES_MAX: usize = 600;
/// Requests and words that are taken between two looks at the socket.
const TURNS: usize = 32;
/// Turns after which a lane that has more to do lets its thread look at every socket: some two milliseconds.
const TURNS_IN_A_ROW: u32 = 8;
/// How long a lane sleeps that waits for no client.
const IDLE: Duration = Duration::from_secs(3600);

/// A request, and who sent it.
pub(super) type IncomingRequest = (SocketAddrV4, TransferRequest);

/// What comes back to a lane about one of its sessions.
struct WorkerMessage {
    client: SocketAddrV4,
    number: u64,
    news: MessageBody,
}

enum MessageBody {
    Prepared(Box<Prepared>),
    /// The same, since its client was heard.
    Begun(Box<Prepared>),
    ReadResult(ReadResult),
}

/// One socket and its transfers.
pub(super) struct Worker {
    shared: Arc<Shared>,
    files: TransferFiles,
    tasks: TaskTracker,
    filter: RequestFilter,
    neighbours: Arc<Neighbours>,
    socket: UdpSocket,
    /// Its port.
    port: u16,
    /// Whether requests come in on the lane's own socket.
    single_port: bool,
    /// Closed when no new work may begin.
    requests: mpsc::Receiver<IncomingRequest>,
    open: bool,
    sessions: Sessions<Session>,
    /// When which session is to be looked at; what a session says of its alarm counts.
    alarms: BinaryHeap<Reverse<(Duration, SocketAddrV4, u64)>>,
    /// Words come back one for each session that waits for one, so their number has the table's
    /// limit.
    messages: (
        mpsc::UnboundedSender<WorkerMessage>,
        mpsc::UnboundedReceiver<WorkerMessage>,
    ),
    disk: DiskReads,
    inbox: Inbox,
    batch: SendBatch,
}

impl Worker {
    pub(super) fn new(common: WorkerConfig, socket: UdpSocket, requests: mpsc::Receiver<IncomingRequest>) -> Worker {
        let (all_max, per_machine_max) = common.permits;
        let addresses = common.shared_addresses;
        let batch = SendBatch::of_whole_datagrams(&socket);
        Worker {
            shared: common.shared,
            files: common.files,
            tasks: common.tasks,
            filter: common.filter,
            neighbours: common.neighbours,
            port: socket.local_addr().map_or(0, |own| own.port()),
            socket,
            single_port: common.single_port,
            requests,
            open: true,
            disk: DiskReads::new(all_max, per_machine_max, &addresses),
            sessions: Sessions::new(all_max, per_machine_max, addresses),
            alarms: BinaryHeap::new(),
            messages: mpsc::unbounded_channel(),
            inbox: Inbox::new(PACKET_BYTES_MAX),
            batch,
        }
    }

    /// Carries transfers until no new one may begin and the last has ended.
    pub(super) async fn run(mut self) {
        let mut alarm = pin!(sleep_until(Instant::now()));
        let mut turns: u32 = 0;
        while self.open || !self.sessions.is_empty() {
            let next = self.next_alarm();
            if alarm.deadline() != next {
                alarm.as_mut().reset(next);
            }
            tokio::select! {
                ready = self.socket.readable() => {
                    if let Err(error) = ready {
                        debug!("TFTP: {error}");
                    }
                }
                request = self.requests.recv(), if self.open => self.take_request(request).await,
                Some(word) = self.messages.1.recv() => self.take_message(word),
                () = &mut alarm => {}
            }
            self.run_due_sessions().await;
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(TURNS_IN_A_ROW) {
                // A lane that always has something to do keeps its thread, and nobody looks at the other sockets
                // meanwhile: half of a thousand machines had no answer for a second.
                yield_now().await;
            }
        }
    }

    fn next_alarm(&self) -> Instant {
        let clock = self.shared.clock;
        let next = self.alarms.peek().map(|Reverse((at, _, _))| *at);
        clock.instant(next.unwrap_or_else(|| clock.monotonic() + IDLE))
    }

    /// Takes a share of everything that is here, so that neither packets nor requests nor disks
    /// keep the others waiting, and sends what came of it.
    async fn run_due_sessions(&mut self) {
        let received = self
            .socket
            .try_io(Interest::READABLE, || self.inbox.receive(&self.socket));
        self.take_batch(received).await;
        for _ in 0..TURNS {
            let Ok(word) = self.messages.1.try_recv() else { break };
            self.take_message(word);
        }
        for _ in 0..TURNS {
            let Ok(request) = self.requests.try_recv() else { break };
            self.take_request(Some(request)).await;
        }
        self.take_time().await;
        self.send().await;
    }

    async fn take_batch(&mut self, received: io::Result<usize>) {
        let count = match received {
            Ok(count) => count,
            Err(error) => {
                // Any other error is an ICMP message about a client: its silence says the same.
                if error.kind() != io::ErrorKind::WouldBlock {
                    debug!("TFTP: {error}");
                }
                return;
            }
        };
        let now = self.shared.clock.monotonic();
        for at in 0..count {
            let (received, bytes) = self.inbox.datagram(at);
            let packet = wire::parse(bytes);
            if self.single_port && matches!(packet, Ok(Packet::Read(_) | Packet::Write)) {
                recording::request(&self.shared, &received, bytes);
            }
            self.take(now, &received, packet);
            if self.batch.is_full() {
                self.send().await;
            }
        }
    }

    fn take(&mut self, now: Duration, received: &ReceivedDatagram, packet: Result<Packet, MalformedPacket>) {
        if self.single_port && !matches!(packet, Ok(Packet::Ack(_) | Packet::Error { .. })) {
            if let Some(asked) = self.filter.request(received, packet)
                && self.open
            {
                self.begin(asked);
            }
            return;
        }
        let client = received.source;
        let says = matches!(packet, Ok(Packet::Ack(_)));
        let Some(entry) = self.sessions.session_for(client, says) else {
            return self.reject_foreign_packet(received, packet);
        };
        if let Ok(packet) = packet {
            let mark = self.batch.mark();
            entry.session.handle(now, &packet);
            entry.session.record(&self.shared, now, &packet);
            let turn = entry.session.transmit(&self.shared, &mut self.batch, false);
            let is_reached = now < entry.neighbour_until;
            // Most packets change nothing but their session, which is looked for once.
            if !(matches!(turn, SessionStatus::Continues) && entry.session.is_alarmed()) {
                self.go_on(client, turn);
            }
            if !is_reached {
                self.hold_back(client, mark);
            }
        }
    }

    async fn take_request(&mut self, request: Option<IncomingRequest>) {
        let Some((client, request)) = request else {
            self.open = false;
            return;
        };
        // A client's ERROR comes to this socket and its next request to another: the two can be
        // noticed in the wrong order, but the kernel has had the ERROR since before. Without this,
        // EDK2's request after its size probe would be taken for a repetition now and then.
        if self.sessions.get_mut(client).is_some() {
            while let Ok(count) = self.inbox.receive(&self.socket) {
                self.take_batch(Ok(count)).await;
            }
        }
        self.begin((client, request));
    }

    fn begin(&mut self, (client, request): IncomingRequest) {
        let counters = &self.shared.counters;
        if let Some(entry) = self.sessions.get_mut(client) {
            if entry.session.is_repeated(self.shared.clock.monotonic(), &request) {
                return counters.count(Counter::TftpDuplicate);
            }
            entry.session.abandon(&self.shared);
            self.sessions.remove(client);
        }
        let class = class_of(&self.shared, *client.ip());
        match self.sessions.make_room(*client.ip(), class) {
            Admission::Free => {}
            Admission::EvictedUnknown(stranger, session) => {
                counters.count(Counter::TftpEvicted);
                let mark = self.batch.mark();
                session.fail(&self.shared, &mut self.batch, Reason::GaveWay);
                self.hold_back(stranger, mark);
            }
            Admission::EvictedSilent(session) => self.evict_silent(session),
            Admission::EvictedOwn(own, session) => {
                self.evict_silent(session);
                // Of many machines that ask at the same moment the first ones fail so.
                self.warn_of_the_limit(*client.ip(), Some(own));
            }
            Admission::Full => return self.leave_alone(client, None),
            Admission::ClientFull(own) => return self.leave_alone(client, Some(own)),
        }
        let number = self
            .sessions
            .insert(client, class, Session::new(client, request.clone(), self.port));
        let (shared, messages) = (Arc::clone(&self.shared), self.messages.0.clone());
        let (files, neighbours) = (self.files.clone(), Arc::clone(&self.neighbours));
        self.tasks.spawn(async move {
            let prepared = prepare_unheard((&shared, &files), client, (&request, &neighbours)).await;
            let news = MessageBody::Prepared(Box::new(prepared));
            // The lane is gone when the drain has cut it.
            let _ = messages.send(WorkerMessage { client, number, news });
        });
    }

    fn take_message(&mut self, word: WorkerMessage) {
        let WorkerMessage { client, number, news } = word;
        let mark = self.batch.mark();
        let Some(session) = self.sessions.get_numbered(client, number) else {
            return;
        };
        match news {
            MessageBody::Prepared(prepared) => match session.begin(&self.shared, *prepared, &mut self.batch) {
                true => return self.transmit(client),
                false => drop(self.sessions.remove(client)),
            },
            MessageBody::Begun(prepared) => {
                let turn = session.take_proof(&self.shared, *prepared, &mut self.batch);
                self.go_on(client, turn);
            }
            MessageBody::ReadResult(read) => {
                let turn = session.take_read(&self.shared, read, &mut self.batch);
                self.go_on(client, turn);
            }
        }
        self.hold_back(client, mark);
    }

    /// Sends what a session wants sent.
    fn transmit(&mut self, client: SocketAddrV4) {
        let mark = self.batch.mark();
        if let Some(entry) = self.sessions.get_mut(client) {
            let turn = entry.session.transmit(&self.shared, &mut self.batch, false);
            self.go_on(client, turn);
            self.hold_back(client, mark);
        }
    }

    fn go_on(&mut self, client: SocketAddrV4, turn: SessionStatus) {
        match turn {
            SessionStatus::Ended => drop(self.sessions.remove(client)),
            SessionStatus::Continues => self.set_alarm(client),
            SessionStatus::NeedsRead(reading) => {
                self.set_alarm(client);
                self.read(client, reading);
            }
            SessionStatus::Begins(promise, request) => {
                self.set_alarm(client);
                self.begin_promised(client, (promise, request));
            }
        }
    }

    fn read(&mut self, client: SocketAddrV4, reading: PendingRead) {
        let Some(entry) = self.sessions.get_mut(client) else {
            return;
        };
        let (number, messages) = (entry.number, self.messages.0.clone());
        let take = move |read| {
            let news = MessageBody::ReadResult(read);
            let _ = messages.send(WorkerMessage { client, number, news });
        };
        let is_read = self.disk.read(&self.tasks, *client.ip(), move || reading.read(), take);
        if !is_read {
            let mark = self.batch.mark();
            entry.session.fail(&self.shared, &mut self.batch, Reason::DiskBusy);
            self.sessions.remove(client);
            self.hold_back(client, mark);
        }
    }

    /// A deadline moves on with every packet; an alarm that comes too early is set again then, so
    /// that most packets leave the alarms as they are.
    fn set_alarm(&mut self, client: SocketAddrV4) {
        let Some(entry) = self.sessions.get_mut(client) else {
            return;
        };
        let Some(deadline) = entry.session.deadline() else {
            return;
        };
        if !entry.session.is_alarmed() {
            entry.session.alarm = Some(deadline);
            self.alarms.push(Reverse((deadline, client, entry.number)));
        }
    }

    async fn take_time(&mut self) {
        let now = self.shared.clock.monotonic();
        while let Some(Reverse((at, client, number))) = self.alarms.peek().copied() {
            if at > now {
                return;
            }
            self.alarms.pop();
            let Some(session) = self.sessions.get_numbered(client, number) else {
                continue;
            };
            if session.alarm != Some(at) {
                continue;
            }
            session.alarm = None;
            session.handle_timeout(now);
            self.transmit(client);
            if self.batch.is_full() {
                self.send().await;
            }
        }
    }
}
