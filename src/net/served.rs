//! An interface that is served: what it is now, and what was logged of it.

use crate::boot::snapshot::{Snapshot, Subnet};
use crate::model::{Mode, OwnAddress};
use crate::net::{
    interface::{Interface, Link, NO_ADDRESS},
    uplink::GuardedInterface,
};
use std::mem;
use tokio::{sync::watch, task::JoinSet};
use tracing::{info, warn};

/// An interface that is served; dropping it closes its sockets and ends its transfers' intake.
pub(super) struct InterfaceServers {
    index: u32,
    mode: Mode,
    /// None of its addresses lies in a subnet of the inventory, and that was logged.
    has_no_subnet: bool,
    /// The subnets in which it has an address, and that was logged.
    subnets: Vec<String>,
    /// It became an uplink while it was served, and that was logged.
    is_uplink: bool,
    state: watch::Sender<Interface>,
    _servers: JoinSet<()>,
}

impl InterfaceServers {
    pub(super) fn new(mode: Mode, state: watch::Sender<Interface>, servers: JoinSet<()>) -> InterfaceServers {
        let index = state.borrow().index;
        InterfaceServers {
            index,
            mode,
            has_no_subnet: false,
            subnets: Vec::new(),
            is_uplink: false,
            state,
            _servers: servers,
        }
    }

    /// Whether `now` is the interface that the sockets are bound to, and not another of its name.
    pub(super) fn is_same(&self, now: &Interface) -> bool {
        now.index == self.index
    }

    /// Hands a changed link or changed addresses to the servers; their sockets stay as they are.
    pub(super) fn renew(&self, interface: Interface) {
        self.state.send_if_modified(|state| {
            if state.link != interface.link {
                announce_link(&interface);
            }
            if state.addresses != interface.addresses {
                announce(&interface);
            }
            let changed = *state != interface;
            *state = interface;
            changed
        });
    }

    /// Takes what the kernel told of a link, if it is this interface's.
    pub(super) fn hear(&self, index: u32, link: Link) {
        if index == self.index {
            let now = self.interface();
            self.renew(Interface { link, ..now });
        }
    }

    /// The interface as it is now.
    pub(super) fn interface(&self) -> Interface {
        self.state.borrow().clone()
    }

    /// Says once that an interface became an uplink: whoever has addresses from here keeps them.
    pub(super) fn look_for_uplink(&mut self, guarded: Option<GuardedInterface>) {
        let was_uplink = mem::replace(&mut self.is_uplink, guarded.is_some());
        if let Some(GuardedInterface { name, uplink }) = guarded.filter(|_| !was_uplink) {
            warn!(
                event = "default_route",
                interface = name,
                "it {uplink} now, and is served all the same until the next start, which refuses it. Take that route \
                 away, or set allow_default_route = true for {name} where this is meant"
            );
        }
    }

    /// Says once that we give addresses on an interface and have no subnet for its machines.
    pub(super) fn look_for_subnet(&mut self, name: &str, snapshot: &Snapshot) {
        let interface = self.state.borrow();
        let is_repeat = |own: &OwnAddress| snapshot.subnets.iter().any(|subnet| subnet.cidr.contains(own.address));
        let first = interface.addresses.first();
        let has_no_subnet = self.mode == Mode::Dhcp && first.is_some() && !interface.addresses.iter().any(is_repeat);
        if let (true, false, Some(own)) = (has_no_subnet, self.has_no_subnet, first) {
            warn!(
                event = "no_subnet",
                interface = name,
                address = %own.address,
                cidr = %own.cidr,
                "no subnet of the inventory holds its address {}: only what a relay sends is answered. Add a \
                 [[subnet]] with cidr = \"{}\"",
                own.address,
                own.cidr
            );
        }
        let subnets = subnets_of(&interface, snapshot);
        if subnets != self.subnets && self.mode == Mode::Dhcp {
            announce_wire(name, &subnets);
        }
        drop(interface);
        (self.has_no_subnet, self.subnets) = (has_no_subnet, subnets);
    }
}

/// The subnets in which the interface has an address: the primary one's, then the rest in the order in
/// which their pools are used.
fn subnets_of(interface: &Interface, snapshot: &Snapshot) -> Vec<String> {
    let holds = |subnet: &&Subnet| interface.addresses.iter().any(|own| subnet.cidr.contains(own.address));
    let mut subnets: Vec<&Subnet> = snapshot.subnets.iter().filter(holds).collect();
    // A stable sort: the place of the first address that has a subnet decides who is first.
    let first = interface
        .addresses
        .iter()
        .find(|own| subnets.iter().any(|subnet| subnet.cidr.contains(own.address)));
    subnets.sort_by_key(|subnet| !first.is_some_and(|own| subnet.cidr.contains(own.address)));
    subnets.iter().map(|subnet| subnet.cidr.to_string()).collect()
}

/// Says which subnets the interface's machines are served from, where they are several.
fn announce_wire(name: &str, subnets: &[String]) {
    if let [first, others @ ..] = subnets
        && !others.is_empty()
    {
        info!(
            interface = name,
            "has addresses in several subnets, which are taken for one wire: a machine without an address of its own \
             gets one of {first}, and when that pool is used up of {}",
            others.join(", ")
        );
    }
}

/// Says what became of an interface's link.
pub(super) fn announce_link(interface: &Interface) {
    let name = &*interface.name;
    match interface.link_problem() {
        Some(problem) => warn!(event = "link_down", interface = name, "{problem}"),
        None => info!(event = "link_up", interface = name, "link up"),
    }
}

/// Says what an interface is served with.
pub(super) fn announce(interface: &Interface) {
    let name = &*interface.name;
    let addresses: Vec<String> = interface.addresses.iter().map(|own| own.address.to_string()).collect();
    if addresses.is_empty() {
        warn!(event = "no_address", interface = name, "{NO_ADDRESS}");
    } else {
        info!(
            event = "serving",
            interface = name,
            addresses = addresses.join(" "),
            "serving"
        );
    }
}
