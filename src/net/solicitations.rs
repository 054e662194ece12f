//! IPv6 router solicitations of one interface: a machine in its boot is told that no router is here, where
//! none is (`boot::routers` decides).
//!
//! Frames are read and written beside the kernel's own IPv6, which may well be switched off: all that is
//! asked of it is a packet socket.

use crate::boot::{
    event::{Event, Stage, Step},
    machine::identify,
    routers::{Routers, SolicitationAction, Solicitor},
};
use crate::model::{
    MacAddr,
    limits::{EARLY_SOLICITOR_LOOKS_MS, ROUTER_PROBE_PAUSES_S, ROUTER_PROBE_TIMEOUT, ROUTER_WAITING_MAX},
};
use crate::net::{
    forwarding,
    intake::packets,
    interface::{Interface, Link},
    socket::{self, FrameSender},
    tasks::TaskTracker,
};
use crate::proto::ndp::{self, RouterMessage};
use crate::state::{Counter, Shared};
use std::{
    future, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::UdpSocket,
    sync::{Semaphore, watch},
    time::sleep,
};
use tracing::{debug, info};

/// The longest packet that is looked at: an advertisement with a dozen prefixes. A longer one is cut, and says
/// nothing.
const PACKET_BYTES_MAX: usize = 1500;

/// A place for each machine that asked before its ACK.
static EARLY_PLACES: Semaphore = Semaphore::const_new(ROUTER_WAITING_MAX);

/// Answers solicitations on one interface.
pub(super) struct Solicitations {
    pub shared: Arc<Shared>,
    pub interface: watch::Receiver<Interface>,
    pub frames: Arc<FrameSender>,
    /// The interface's own link-layer address.
    pub own: MacAddr,
    pub tasks: TaskTracker,
    pub routers: Mutex<Routers>,
}

impl Solicitations {
    /// Answers until no new work may begin.
    pub(super) async fn run(self, socket: UdpSocket) {
        let server = Arc::new(self);
        let common = ("IPv6 router solicitations", &*server.shared, &server.tasks);
        let receive = (PACKET_BYTES_MAX, socket::receive_packet);
        let answering = packets(common, &socket, receive, |mac, packet| server.take(mac, packet));
        tokio::join!(answering, server.ask_as_links_come_up());
    }

    /// Asks for a router whenever the link came up or changed, before any machine does.
    async fn ask_as_links_come_up(self: &Arc<Self>) {
        let mut interface = self.interface.clone();
        loop {
            let is_up = interface.borrow_and_update().link == Link::Up;
            let questions = async {
                for pause in ROUTER_PROBE_PAUSES_S.into_iter().filter(|_| is_up) {
                    sleep(Duration::from_secs(pause)).await;
                    if self.routers().probe(self.shared.clock.now()) {
                        self.ask();
                    }
                }
                future::pending::<()>().await;
            };
            tokio::select! {
                () = self.tasks.stopped() => return,
                changed = interface.changed() => if changed.is_err() { return },
                () = questions => {}
            }
            self.routers().link_changed();
        }
    }

    fn take(self: &Arc<Self>, mac: MacAddr, packet: &[u8]) {
        match ndp::hear(packet) {
            Some(RouterMessage::Solicitation { from }) if mac != self.own => self.solicited((mac, from)),
            // Another appliance's, or ours.
            Some(RouterMessage::Advertisement { is_empty: true } | RouterMessage::Solicitation { .. }) | None => {}
            Some(RouterMessage::Advertisement { is_empty: false }) => {
                if self.routers().router_seen(self.shared.clock.now()) {
                    let interface = self.interface.borrow();
                    info!(
                        event = "ipv6_router",
                        interface = &*interface.name,
                        mac = %mac,
                        "an IPv6 router advertises here ({mac}): machines are left to it"
                    );
                }
            }
        }
    }

    fn is_in_boot(&self, mac: MacAddr) -> bool {
        let now = self.shared.clock.now();
        self.shared
            .identities((now, mac), |identities, (now, mac)| identities.is_in_boot(now, mac))
    }

    fn solicited(self: &Arc<Self>, who: Solicitor) {
        match EARLY_PLACES.try_acquire() {
            Ok(place) if !self.is_in_boot(who.0) => {
                let server = Arc::clone(self);
                self.tasks.spawn(async move {
                    let _place = place;
                    server.look_for_its_boot(who.0).await;
                    server.decide(who);
                });
            }
            _ => self.decide(who),
        }
    }

    /// Waits until the machine is in its boot, which it may soon be.
    async fn look_for_its_boot(&self, mac: MacAddr) {
        for pause in EARLY_SOLICITOR_LOOKS_MS.map(Duration::from_millis) {
            tokio::select! {
                () = self.tasks.stopped() => return,
                () = sleep(pause) => {}
            }
            if self.is_in_boot(mac) {
                return;
            }
        }
    }

    fn decide(self: &Arc<Self>, who: Solicitor) {
        let (shared, now) = (&self.shared, self.shared.clock.now());
        let is_in_boot = self.is_in_boot(who.0);
        if is_in_boot && self.is_router() && self.routers().router_seen(now) {
            let interface = self.interface.borrow();
            info!(
                event = "ipv6_forwarding",
                interface = &*interface.name,
                "this host forwards IPv6 here and has a program that may advertise that, so it is taken for the router: \
                 machines that ask for one are told nothing"
            );
        }
        let verdict = self.routers().solicited(now, who, is_in_boot);
        match verdict {
            SolicitationAction::AdvertiseAbsence { probe } => {
                self.tell(who);
                if probe {
                    self.ask();
                }
            }
            SolicitationAction::ProbeFirst => self.ask(),
            SolicitationAction::Queued => {}
            SolicitationAction::RouterHere => shared.counters.count(Counter::RouterPresent),
            SolicitationAction::NotInBoot => shared.counters.count(Counter::RouterIgnored),
            SolicitationAction::Full => shared.counters.count(Counter::RouterFull),
        }
    }

    /// Whether this very host is a router here. What it advertises we don't hear: a packet socket of one protocol
    /// sees no frame that leaves.
    fn is_router(&self) -> bool {
        let index = self.interface.borrow().index;
        let forwards = forwarding::forwards_ipv6(index).unwrap_or_else(|error| {
            debug!("whether this host forwards IPv6 can't be told: {error}");
            false
        });
        let may_advertise = || {
            forwarding::may_advertise().unwrap_or_else(|error| {
                debug!("whether this host may advertise itself as an IPv6 router can't be told: {error}");
                true
            })
        };
        forwards && may_advertise()
    }

    /// Asks for a router, and tells those who wait when none has answered.
    fn ask(self: &Arc<Self>) {
        if !self.send(ndp::ALL_ROUTERS_MAC, &ndp::solicitation(self.own)) {
            self.routers().probe_not_sent();
            return;
        }
        let server = Arc::clone(self);
        self.tasks.spawn(async move {
            sleep(ROUTER_PROBE_TIMEOUT).await;
            let waiting = server.routers().take_waiting();
            for who in waiting {
                server.tell(who);
            }
        });
    }

    fn tell(&self, who: Solicitor) {
        let (mac, address) = who;
        if self.send(mac, &ndp::no_router(self.own, address)) {
            self.shared.counters.count(Counter::RouterAbsenceAdvertised);
            self.shared.publish(self.told(mac));
        }
    }

    fn told(&self, mac: MacAddr) -> Event {
        let snapshot = self.shared.snapshot.load();
        let (identity, stage) = self
            .shared
            .identities(mac, |identities, mac| (identities.of(mac), identities.stage(mac)));
        Event {
            at: self.shared.clock.now(),
            machine: identity.machine(identify(&snapshot, &identity)),
            stage: stage.unwrap_or(Stage::Unknown),
            quirks: Arc::default(),
            step: Step::NoIpv6Router,
        }
    }

    fn send(&self, to: MacAddr, packet: &[u8]) -> bool {
        let sent: io::Result<()> = self.frames.send_ipv6(to, packet);
        if let Err(error) = &sent {
            self.shared.counters.count(Counter::RouterSendFailed);
            debug!(%to, "IPv6 packet not sent: {error}");
        }
        sent.is_ok()
    }

    fn routers(&self) -> MutexGuard<'_, Routers> {
        self.routers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
