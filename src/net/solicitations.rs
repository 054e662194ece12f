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
use crate::model::{MacAddr, limits::ROUTER_PROBE_TIMEOUT};
use crate::net::{
    forwarding,
    intake::packets,
    interface::Interface,
    socket::{self, FrameSender},
    tasks::TaskTracker,
};
use crate::proto::ndp::{self, RouterMessage};
use crate::state::{Counter, Shared};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{net::UdpSocket, sync::watch};
use tracing::{debug, info};

/// The longest packet that is looked at: an advertisement with a dozen prefixes. A longer one is cut, and says
/// nothing.
const PACKET_BYTES_MAX: usize = 1500;

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
        packets(common, &socket, receive, |mac, packet| server.take(mac, packet)).await;
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

    fn solicited(self: &Arc<Self>, who: Solicitor) {
        let (shared, now) = (&self.shared, self.shared.clock.now());
        let is_in_boot = shared.identities((now, who.0), |identities, (now, mac)| identities.is_in_boot(now, mac));
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
            SolicitationAction::AdvertiseAbsence => self.tell(who),
            SolicitationAction::ProbeFirst => self.ask_first(),
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
    fn ask_first(self: &Arc<Self>) {
        if !self.send(ndp::ALL_ROUTERS_MAC, &ndp::solicitation(self.own)) {
            self.routers().probe_not_sent();
            return;
        }
        let server = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::time::sleep(ROUTER_PROBE_TIMEOUT).await;
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
