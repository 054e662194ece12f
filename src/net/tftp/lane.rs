//! A lane carries many transfers over one socket: one task, which owns them all.
//!
//! Packets are taken and sent a batch at a time, so that a storm costs few system calls; the machines
//! decide, this reads, sends and keeps the time. A client's address chooses its lane, so everything
//! that concerns one client, its limit and its repeated requests too, happens in one place and
//! needs no lock. The transfers of a lane have one port: RFC 1350 tells them apart by both ends'
//! ports, and the client chose its own; a client's two transfers in a row may see the same port of
//! ours, as they do with dnsmasq's `tftp-single-port`.
//!
//! With `single_port` the only lane of an interface is the request port itself.

use super::{
    Door,
    disk::Disk,
    may_answer,
    prepare::{Prepared, Request, prepare},
    session::{Read, Reading, Session, Turn},
    sessions::{Room, Sessions},
};
use crate::model::{SharedAddresses, limits::TFTP_FULL_REMINDER};
use crate::net::{
    Counter, Shared,
    running::Running,
    socket::{Inbox, Outbox, Received},
    yielding::GAVE_WAY,
};
use crate::proto::tftp::wire::{self, ErrorCode, Malformed, Packet};
use std::{cmp::Reverse, collections::BinaryHeap, io, net::SocketAddrV4, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::Interest,
    net::UdpSocket,
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::{debug, warn};

/// Bytes read of a packet: requests are the longest, and longer ones are malformed.
const PACKET_BYTES_MAX: usize = 600;
/// Requests and words that are taken between two looks at the socket.
const TURNS: usize = 32;
/// How long a lane sleeps that waits for no client.
const IDLE: Duration = Duration::from_secs(3600);

/// A request, and who sent it.
pub(super) type Asked = (SocketAddrV4, Request);

/// What comes back to a lane about one of its sessions.
struct Word {
    client: SocketAddrV4,
    number: u64,
    news: News,
}

enum News {
    Prepared(Box<Prepared>),
    Read(Read),
}

/// One socket and its transfers.
pub(super) struct Lane {
    shared: Arc<Shared>,
    running: Running,
    door: Door,
    socket: UdpSocket,
    /// Whether requests come in on the lane's own socket.
    single_port: bool,
    /// Closed when no new work may begin.
    requests: mpsc::Receiver<Asked>,
    open: bool,
    sessions: Sessions<Session>,
    /// When which session is to be looked at; what a session says of its alarm counts.
    alarms: BinaryHeap<Reverse<(Duration, SocketAddrV4, u64)>>,
    /// Words come back one for each session that waits for one, so their number has the table's
    /// limit.
    words: (mpsc::UnboundedSender<Word>, mpsc::UnboundedReceiver<Word>),
    disk: Disk,
    inbox: Inbox,
    outbox: Outbox,
}

/// What lanes have in common.
pub(super) struct Common {
    pub(super) shared: Arc<Shared>,
    pub(super) running: Running,
    pub(super) door: Door,
    pub(super) single_port: bool,
    /// Transfers in all and for one machine.
    pub(super) places: (usize, usize),
    pub(super) shared_addresses: SharedAddresses,
}

impl Lane {
    pub(super) fn new(common: Common, socket: UdpSocket, requests: mpsc::Receiver<Asked>) -> Lane {
        let (all_max, per_machine_max) = common.places;
        let addresses = common.shared_addresses;
        let outbox = Outbox::of_whole_datagrams(&socket);
        Lane {
            shared: common.shared,
            running: common.running,
            door: common.door,
            socket,
            single_port: common.single_port,
            requests,
            open: true,
            disk: Disk::new(all_max, per_machine_max, &addresses),
            sessions: Sessions::new(all_max, per_machine_max, addresses),
            alarms: BinaryHeap::new(),
            words: mpsc::unbounded_channel(),
            inbox: Inbox::new(PACKET_BYTES_MAX),
            outbox,
        }
    }

    /// Carries transfers until no new one may begin and the last has ended.
    pub(super) async fn run(mut self) {
        let mut alarm = pin!(sleep_until(Instant::now()));
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
                Some(word) = self.words.1.recv() => self.take_word(word),
                () = &mut alarm => {}
            }
            self.take_turns().await;
        }
    }

    fn next_alarm(&self) -> Instant {
        let clock = self.shared.clock;
        let next = self.alarms.peek().map(|Reverse((at, _, _))| *at);
        clock.instant(next.unwrap_or_else(|| clock.monotonic() + IDLE))
    }

    /// Takes a share of everything that is here, so that neither packets nor requests nor disks
    /// keep the others waiting, and sends what came of it.
    async fn take_turns(&mut self) {
        let received = self
            .socket
            .try_io(Interest::READABLE, || self.inbox.receive(&self.socket));
        self.take_batch(received).await;
        for _ in 0..TURNS {
            let Ok(word) = self.words.1.try_recv() else { break };
            self.take_word(word);
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
            self.take(now, &received, packet);
            if self.outbox.is_full() {
                self.send().await;
            }
        }
    }

    fn take(&mut self, now: Duration, received: &Received, packet: Result<Packet, Malformed>) {
        if self.single_port && !matches!(packet, Ok(Packet::Ack(_) | Packet::Error { .. })) {
            if let Some(asked) = self.door.request(received, packet)
                && self.open
            {
                self.begin(asked);
            }
            return;
        }
        let client = received.source;
        let says = matches!(packet, Ok(Packet::Ack(_)));
        let Some(entry) = self.sessions.at_word(client, says) else {
            return self.take_stranger(received, packet);
        };
        if let Ok(packet) = packet {
            entry.session.handle(now, &packet);
            let turn = entry.session.transmit(&self.shared, &mut self.outbox, false);
            // Most packets change nothing but their session, which is looked for once.
            if !(matches!(turn, Turn::Goes) && entry.session.is_alarmed()) {
                self.go_on(client, turn);
            }
        }
    }

    fn take_stranger(&mut self, received: &Received, packet: Result<Packet, Malformed>) {
        if self.single_port {
            // The request port answers nothing that could be an answer.
            return self.shared.counters.count(Counter::TftpUnanswerable);
        }
        self.shared.counters.count(Counter::TftpStranger);
        // Only what can be no answer to an answer gets one.
        if matches!(packet, Ok(Packet::Ack(_))) && may_answer(received.source) && self.door.is_ours(received.asked) {
            let error = wire::error(ErrorCode::UnknownTransfer, "not your transfer");
            self.outbox
                .push(received.asked, received.source, error.len())
                .copy_from_slice(&error);
        }
    }

    async fn take_request(&mut self, request: Option<Asked>) {
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

    fn begin(&mut self, (client, request): Asked) {
        let counters = &self.shared.counters;
        if let Some(entry) = self.sessions.get_mut(client) {
            if entry.session.is_repeated(self.shared.clock.monotonic(), &request) {
                return counters.count(Counter::TftpDuplicate);
            }
            entry.session.abandon(&self.shared);
            self.sessions.remove(client);
        }
        let standing = self.shared.standing(*client.ip());
        match self.sessions.make_room(*client.ip(), standing) {
            Room::Free => {}
            Room::Displaced(stranger, session) => {
                counters.count(Counter::TftpDisplaced);
                debug!(client = %stranger, what = session.what(), "gives way");
                session.fail(&self.shared, &mut self.outbox, GAVE_WAY.to_owned());
            }
            Room::GaveWay(session) => {
                counters.count(Counter::TftpDisplaced);
                debug!(what = session.what(), "never heard, and another client needs the place");
            }
            Room::Full => return self.leave_alone(client, None),
            Room::FullOfItsOwn(own) => return self.leave_alone(client, Some(own)),
        }
        let number = self
            .sessions
            .insert(client, standing, Session::new(client, request.clone()));
        let (shared, words) = (Arc::clone(&self.shared), self.words.0.clone());
        self.running.spawn(async move {
            let news = News::Prepared(Box::new(prepare(&shared, client, &request).await));
            // The lane is gone when the drain has cut it.
            let _ = words.send(Word { client, number, news });
        });
    }

    /// There is no place for a transfer; `own` of them are the client's. It asks again by itself.
    fn leave_alone(&self, client: SocketAddrV4, own: Option<usize>) {
        self.shared.counters.count(Counter::TftpFull);
        debug!(%client, "TFTP request left alone: too many transfers under way");
        let notice = &self.shared.notices.tftp_full;
        if !notice.is_due(&self.shared.clock, TFTP_FULL_REMINDER) {
            return;
        }
        let address = client.ip();
        match own {
            Some(own) => warn!(
                "TFTP requests of {address} wait: {own} transfers to it are under way, as many as one address may have; \
                 if many machines ask from it, say so by machines_per_address under [network]"
            ),
            None => warn!("TFTP requests wait, one of {address} among them: no more transfers can be under way"),
        }
    }

    fn take_word(&mut self, word: Word) {
        let Word { client, number, news } = word;
        let Some(session) = self.sessions.get_numbered(client, number) else {
            return;
        };
        match news {
            News::Prepared(prepared) => match session.begin(&self.shared, *prepared, &mut self.outbox) {
                true => self.transmit(client),
                false => drop(self.sessions.remove(client)),
            },
            News::Read(read) => {
                let turn = session.take_read(&self.shared, read, &mut self.outbox);
                self.go_on(client, turn);
            }
        }
    }

    /// Sends what a session wants sent.
    fn transmit(&mut self, client: SocketAddrV4) {
        if let Some(entry) = self.sessions.get_mut(client) {
            let turn = entry.session.transmit(&self.shared, &mut self.outbox, false);
            self.go_on(client, turn);
        }
    }

    fn go_on(&mut self, client: SocketAddrV4, turn: Turn) {
        match turn {
            Turn::Ended => drop(self.sessions.remove(client)),
            Turn::Goes => self.set_alarm(client),
            Turn::Reads(reading) => {
                self.set_alarm(client);
                self.read(client, reading);
            }
        }
    }

    fn read(&mut self, client: SocketAddrV4, reading: Reading) {
        let Some(entry) = self.sessions.get_mut(client) else {
            return;
        };
        let (number, words) = (entry.number, self.words.0.clone());
        let take = move |read| {
            let news = News::Read(read);
            let _ = words.send(Word { client, number, news });
        };
        let is_read = self
            .disk
            .read(&self.running, *client.ip(), move || reading.read(), take);
        if !is_read {
            let reason = "the disk is still busy with what this machine asked for before".to_owned();
            entry.session.fail(&self.shared, &mut self.outbox, reason);
            self.sessions.remove(client);
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
            if self.outbox.is_full() {
                self.send().await;
            }
        }
    }

    /// Sends what is in the outbox, waiting for room in the kernel.
    async fn send(&mut self) {
        if self.outbox.is_empty() {
            return;
        }
        let (socket, outbox) = (&self.socket, &mut self.outbox);
        match socket.async_io(Interest::WRITABLE, || outbox.send(socket)).await {
            // A datagram that the kernel does not take is a lost one: it is sent again.
            Ok(0) => {}
            Ok(lost) => debug!(lost, "TFTP packets not sent"),
            Err(error) => debug!("TFTP packets not sent: {error}"),
        }
    }
}
