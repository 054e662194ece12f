//! Follows the interfaces as they come, change and go: binds them, tells their servers, says what is wrong.

use super::{InterfaceSockets, ListenConfig, SharedResources, names_of};
use crate::model::{
    Mode, ServedInterface,
    limits::{INTERFACE_DEBOUNCE, INTERFACE_POLL_INTERVAL},
};
use crate::net::{
    interface::{self, Interface, InterfaceState, Link, Presence},
    link_events::LinkEvents,
    served::{InterfaceServers, announce, announce_link},
    uplink::guarded,
};
use std::{collections::BTreeMap, fmt::Display, future, sync::Arc};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::warn;

/// Everything about the interfaces that are to be served.
pub(super) struct InterfaceWatcher {
    wanted: Vec<ServedInterface>,
    listen: ListenConfig,
    common: SharedResources,
    served: BTreeMap<String, InterfaceServers>,
    /// The last error logged of an interface that can't be bound, so that it is logged once.
    complaints: BTreeMap<String, String>,
}

impl InterfaceWatcher {
    pub(super) fn new(wanted: Vec<ServedInterface>, listen: ListenConfig, common: SharedResources) -> InterfaceWatcher {
        InterfaceWatcher {
            wanted,
            listen,
            common,
            served: BTreeMap::new(),
            complaints: BTreeMap::new(),
        }
    }

    /// Looks at the interfaces whenever the kernel has news of them or another generation is in force. What could
    /// not be bound is tried again now and then.
    pub(super) async fn watch(&mut self) {
        let names = names_of(&self.wanted);
        let shared = Arc::clone(&self.common.shared);
        // Before the first look: nothing that changes after it goes unheard.
        let mut link_events = LinkEvents::subscribe()
            .inspect_err(|error| warn!("changed links are seen every {INTERFACE_POLL_INTERVAL:?} only: {error}"))
            .ok();
        loop {
            let is_complete = self.look(&names);
            let looked = Instant::now();
            tokio::select! {
                () = sleep_until(looked + INTERFACE_POLL_INTERVAL), if !is_complete || link_events.is_none() => {}
                () = shared.generation_changed.notified() => {}
                heard = next(link_events.as_ref()) => match heard {
                    Ok(links) => {
                        self.hear(&links);
                        // A host that starts a hundred containers has much news, and few looks do for all.
                        sleep_until(looked + INTERFACE_DEBOUNCE).await;
                    }
                    Err(error) => {
                        warn!("changed links are seen every {INTERFACE_POLL_INTERVAL:?} only: {error}");
                        link_events = None;
                    }
                },
            }
        }
    }

    /// Takes all interfaces as they are now. Whether that is all: otherwise some are to be tried again.
    fn look(&mut self, names: &[String]) -> bool {
        match interface::survey(names) {
            Ok(found) => self.compare(found),
            Err(error) => {
                warn!("the interfaces can't be listed, which is tried again: {error}");
                return false;
            }
        }
        self.complaints.is_empty()
    }

    fn hear(&self, links: &[(u32, Link)]) {
        for (index, link) in links {
            self.served.values().for_each(|served| served.hear(*index, *link));
        }
    }

    fn compare(&mut self, found: BTreeMap<String, Interface>) {
        self.served.retain(|name, served| {
            let stays = found.get(name).is_some_and(|now| served.is_same(now));
            if !stays {
                warn!(
                    interface = name,
                    "interface removed; it is served again when it reappears"
                );
            }
            stays
        });
        self.complaints.retain(|name, _| found.contains_key(name));
        for (name, interface) in found {
            match self.served.get(&name) {
                Some(served) => served.renew(interface),
                None => self.appear(interface),
            }
        }
        let snapshot = self.common.shared.snapshot.load();
        for (name, served) in &mut self.served {
            served.look_for_subnet(name, &snapshot);
            let wanted = self.wanted.iter().find(|wanted| wanted.name == *name);
            served.look_for_uplink(wanted.and_then(guarded));
        }
        self.publish();
    }

    fn appear(&mut self, interface: Interface) {
        let wanted = self.wanted.iter().find(|wanted| *wanted.name == *interface.name);
        if let Some(guarded) = wanted.and_then(guarded) {
            return self.complain(&interface, "default_route", &guarded);
        }
        match InterfaceSockets::bind(&interface, &self.listen) {
            Ok(sockets) => {
                self.complaints.remove(&*interface.name);
                self.serve(interface, sockets);
            }
            Err(error) => self.complain(&interface, "not_bound", &error),
        }
    }

    /// Logs once why an interface is not served.
    fn complain(&mut self, interface: &Interface, event: &'static str, why: &dyn Display) {
        let (name, complaint) = (&*interface.name, why.to_string());
        if self.complaints.get(name) != Some(&complaint) {
            warn!(event, interface = name, "{complaint}; tried again until it works");
            self.complaints.insert(name.into(), complaint);
        }
    }

    pub(super) fn serve(&mut self, interface: Interface, sockets: InterfaceSockets) {
        announce(&interface);
        if interface.link != Link::Up {
            announce_link(&interface);
        }
        let name = interface.name.to_string();
        let wanted = self.wanted.iter().find(|wanted| wanted.name == name);
        let mode = wanted.map_or_else(Mode::default, |wanted| wanted.mode);
        let (state, states) = watch::channel(interface);
        match self.common.start(sockets, mode, &states) {
            Ok(servers) => {
                self.served.insert(name, InterfaceServers::new(mode, state, servers));
            }
            Err(error) => {
                warn!(interface = name, "its sockets can't be waited on: {error}");
                self.complaints.insert(name, error.to_string());
            }
        }
    }

    /// Tells the operators how the interfaces stand.
    fn publish(&self) {
        let shared = &self.common.shared;
        let before = self.common.standings.load();
        let now = shared.clock.now().wall;
        let standing = |wanted: &ServedInterface| {
            let presence = self.presence(&wanted.name);
            let known = before.iter().find(|known| known.name == wanted.name);
            InterfaceState {
                name: wanted.name.clone(),
                mode: wanted.mode,
                since: known
                    .filter(|known| known.presence.is_as_before(&presence))
                    .map_or(now, |known| known.since),
                presence,
            }
        };
        let all: Vec<InterfaceState> = self.wanted.iter().map(standing).collect();
        if **before != all {
            self.common.standings.store(Arc::new(all));
        }
    }

    fn presence(&self, name: &str) -> Presence {
        match (self.served.get(name), self.complaints.get(name)) {
            (Some(served), _) => Presence::Served(served.interface()),
            (None, Some(reason)) => Presence::Unserved { reason: reason.clone() },
            (None, None) => Presence::Missing {
                there: interface::names().unwrap_or_default(),
            },
        }
    }
}

/// The kernel's next news, if it tells any.
async fn next(link_events: Option<&LinkEvents>) -> std::io::Result<Vec<(u32, Link)>> {
    match link_events {
        Some(link_events) => link_events.next().await,
        None => future::pending().await,
    }
}
