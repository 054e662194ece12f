//! An interface that is served: what it is now, and what is said of it.

use crate::boot::snapshot::Snapshot;
use crate::model::Mode;
use crate::net::interface::{Address, Interface};
use tokio::{sync::watch, task::JoinSet};
use tracing::{info, warn};

/// An interface that is served; dropping it closes its sockets and ends its transfers' intake.
pub(super) struct Served {
    index: u32,
    mode: Mode,
    /// None of its addresses lies in a subnet of the inventory, and that was said.
    is_homeless: bool,
    state: watch::Sender<Interface>,
    _servers: JoinSet<()>,
}

impl Served {
    pub(super) fn new(mode: Mode, state: watch::Sender<Interface>, servers: JoinSet<()>) -> Served {
        let index = state.borrow().index;
        Served {
            index,
            mode,
            is_homeless: false,
            state,
            _servers: servers,
        }
    }

    /// Whether `now` is the interface that the sockets are bound to, and not another of its name.
    pub(super) fn is_same(&self, now: &Interface) -> bool {
        now.index == self.index
    }

    /// Hands changed addresses to the servers; their sockets stay as they are.
    pub(super) fn renew(&self, interface: Interface) {
        self.state.send_if_modified(|state| {
            let changed = *state != interface;
            if changed {
                announce(&interface);
                *state = interface;
            }
            changed
        });
    }

    /// Says once that we give addresses on an interface and have no subnet for its machines.
    pub(super) fn look_for_subnet(&mut self, name: &str, snapshot: &Snapshot) {
        let interface = self.state.borrow();
        let is_known = |own: &Address| snapshot.subnets.iter().any(|subnet| subnet.cidr.contains(own.address));
        let first = interface.addresses.first();
        let is_homeless = self.mode == Mode::Dhcp && first.is_some() && !interface.addresses.iter().any(is_known);
        if let (true, false, Some(own)) = (is_homeless, self.is_homeless, first) {
            warn!(
                interface = name,
                "no subnet of the inventory holds its address {}: only what a relay sends is answered. Add a \
                 [[subnet]] with cidr = \"{}\"",
                own.address,
                own.cidr
            );
        }
        drop(interface);
        self.is_homeless = is_homeless;
    }
}

/// Says what an interface is served with.
pub(super) fn announce(interface: &Interface) {
    let name = interface.name.as_str();
    let addresses: Vec<String> = interface.addresses.iter().map(|own| own.address.to_string()).collect();
    if addresses.is_empty() {
        warn!(
            interface = name,
            "has no IPv4 address: no request is answered until it has one"
        );
    } else {
        info!(interface = name, addresses = addresses.join(" "), "serving");
    }
}
