//! Whom on our own wires the kernel can send to at once.
//!
//! A datagram to an address whose MAC is unknown waits in the kernel for an answer to an ARP
//! question, three seconds long where none comes, and takes room of its socket meanwhile. Anybody can
//! have us answer made-up addresses by the thousand: then there is no room for anybody else, and the
//! kernel's table of neighbours, which all of this host shares, is full of them. So an address is looked
//! up first, and only so many unknown ones a second are asked for. Beside whatever others use of that,
//! routers and relays that the inventory names have some of their own: one that the kernel forgot is found again.
//!
//! Who speaks to us by name is known already: it had to ask for our own MAC, and the kernel remembers who
//! asked.

use crate::model::{
    MacAddr, OwnAddress,
    limits::{ARP_REQUESTS_PER_S, NEIGHBOUR_TTL, NEIGHBOURS_MAX, ROUTER_ARP_REQUESTS_PER_S},
};
use crate::net::{interface::Interface, socket};
use crate::state::Clock;
use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// The neighbours on one interface.
pub(super) struct Neighbours {
    clock: Clock,
    /// The kernel is asked by it.
    socket: OwnedFd,
    interface: watch::Receiver<Interface>,
    state: Mutex<NeighbourTable>,
}

/// Who has which address on the wire of an interface; by default there is no wire that could be asked.
#[derive(Clone, Default)]
pub struct Links(Option<Arc<Neighbours>>);

impl Links {
    pub(super) fn of(neighbours: Neighbours) -> Links {
        Links(Some(Arc::new(neighbours)))
    }

    /// The MAC of whoever has `address` there.
    pub(super) fn mac_of(&self, address: IpAddr) -> Option<MacAddr> {
        match (&self.0, address) {
            (Some(neighbours), IpAddr::V4(address)) => neighbours.mac_of(address),
            (None, _) | (_, IpAddr::V6(_)) => None,
        }
    }
}

#[derive(Debug, Default)]
struct NeighbourTable {
    /// Until when each is taken to be known, so that a relay is not looked up for every reply.
    known: HashMap<Ipv4Addr, Duration>,
    budget: ArpBudget,
}

impl Neighbours {
    pub(super) fn new(clock: Clock, interface: watch::Receiver<Interface>) -> io::Result<Neighbours> {
        Ok(Neighbours {
            clock,
            socket: socket::arp_query_socket()?,
            interface,
            state: Mutex::default(),
        })
    }

    /// Whether a datagram to `address` leaves at once. What lies beyond a router does, as far as we can
    /// tell: there is one neighbour for all of it.
    pub(super) fn knows(&self, address: Ipv4Addr) -> bool {
        let now = self.clock.monotonic();
        if self.state().known.get(&address).is_some_and(|until| now < *until) {
            return true;
        }
        let name = {
            let interface = self.interface.borrow();
            if !interface.has_arp || !is_near(&interface.addresses, address) {
                return true;
            }
            Arc::clone(&interface.name)
        };
        // Where the kernel can't be asked, it has to see to it itself.
        let is_repeat = socket::knows_neighbour(&self.socket, &name, address).unwrap_or(true);
        if is_repeat {
            let known = &mut self.state().known;
            if known.len() >= NEIGHBOURS_MAX {
                known.clear();
            }
            known.insert(address, now + NEIGHBOUR_TTL);
        }
        is_repeat
    }

    /// The MAC of whoever has `address` on this wire. What lies beyond a router has none, and who was just spoken to has
    /// one, if the kernel can be asked.
    pub(super) fn mac_of(&self, address: Ipv4Addr) -> Option<MacAddr> {
        let name = {
            let interface = self.interface.borrow();
            let is_asked = interface.has_arp && is_near(&interface.addresses, address);
            is_asked.then(|| Arc::clone(&interface.name))?
        };
        socket::neighbour_mac(&self.socket, &name, address).ok().flatten()
    }

    /// Whether the kernel may be made to ask for an address that it does not know, and that the inventory may name.
    pub(super) fn may_resolve(&self, address: Ipv4Addr, is_named: impl FnOnce() -> bool) -> bool {
        let now = self.clock.monotonic();
        if self.state().budget.take(now) {
            return true;
        }
        // The inventory is looked through while no request waits for it.
        is_named() && self.state().budget.take_named(now, address)
    }

    fn state(&self) -> MutexGuard<'_, NeighbourTable> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an address is another's on the wire of an interface with these addresses.
fn is_near(own: &[OwnAddress], address: Ipv4Addr) -> bool {
    own.iter().any(|own| own.cidr.contains(address)) && !own.iter().any(|own| own.address == address)
}

/// Questions that may be asked: so many a second, and after a pause as many at once.
#[derive(Debug, Default)]
struct ArpBudget {
    since: Duration,
    used: u32,
    /// The routers that were asked for besides.
    routers: HashSet<Ipv4Addr>,
}

impl ArpBudget {
    /// A question for anybody.
    fn take(&mut self, now: Duration) -> bool {
        self.begin(now);
        let is_left = self.used < ARP_REQUESTS_PER_S;
        self.used += u32::from(is_left);
        is_left
    }

    /// A question for a router or a relay that the inventory names: one a second for each, whether it is there or
    /// not.
    fn take_named(&mut self, now: Duration, address: Ipv4Addr) -> bool {
        self.begin(now);
        self.routers.len() < ROUTER_ARP_REQUESTS_PER_S && self.routers.insert(address)
    }

    fn begin(&mut self, now: Duration) {
        if now >= self.since + Duration::from_secs(1) {
            *self = ArpBudget {
                since: now,
                ..ArpBudget::default()
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Cidr;

    /// How many of 5,000 addresses that no host has are asked for.
    fn taken(budget: &mut ArpBudget, at: Duration) -> usize {
        (0..5000).filter(|_| budget.take(at)).count()
    }

    #[test]
    fn a_named_router_is_asked_for_whatever_others_are_made_up_and_whichever_named_ones_are_down() {
        let mut budget = ArpBudget::default();
        let now = Duration::from_secs(100);
        let [dead, router] = [1, 2].map(|last| Ipv4Addr::new(192, 0, 2, last));
        taken(&mut budget, now);
        assert!(!budget.take(now));
        let asked = (0..5000).filter(|_| budget.take_named(now, dead));
        assert_eq!(asked.count(), 1);
        assert!(budget.take_named(now, router));
        let others = (0..5000).filter(|bits| budget.take_named(now, Ipv4Addr::from_bits(*bits)));
        assert_eq!(others.count(), ROUTER_ARP_REQUESTS_PER_S - 2);
        let later = now + Duration::from_secs(1);
        taken(&mut budget, later);
        assert!(budget.take_named(later, router), "in every second");
    }

    #[test]
    fn so_many_unknown_addresses_are_asked_for_in_a_second_and_no_more() {
        let mut budget = ArpBudget::default();
        let start = Duration::from_secs(100);
        assert_eq!(taken(&mut budget, start), ARP_REQUESTS_PER_S as usize);
        assert_eq!(taken(&mut budget, start + Duration::from_millis(999)), 0);
        let later = start + Duration::from_secs(1);
        assert_eq!(taken(&mut budget, later), ARP_REQUESTS_PER_S as usize);
    }

    #[test]
    fn a_neighbour_is_who_is_in_a_subnet_of_the_interface() {
        let own = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 1)].map(|address| OwnAddress {
            address,
            cidr: Cidr::containing(address, 24),
        });
        assert!(is_near(&own, Ipv4Addr::new(198, 51, 100, 77)));
        assert!(!is_near(&own, Ipv4Addr::new(203, 0, 113, 77)));
        assert!(!is_near(&own, own[0].address), "nobody is asked who has our own");
    }
}
