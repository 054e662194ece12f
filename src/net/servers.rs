//! The servers of every interface: bound, run, drained. Which interfaces there are is the watcher's.

mod listen;
mod start;
mod watcher;

pub use listen::ListenConfig;

use crate::model::{MacAddr, ServedInterface, limits::SHUTDOWN_TIMEOUT};
use crate::net::{
    dhcp,
    files::{hot::HotFiles, sealed::SealedCopies},
    holder,
    http::{self, HttpThreads},
    interface::{self, Interface},
    socket::{self, FrameSender},
    syslog,
    tasks::TaskTracker,
    tftp,
};
use crate::proto::{self, ndp};
use crate::state::Shared;
use arc_swap::ArcSwap;
use start::SharedResources;
use std::{
    collections::BTreeMap,
    fmt, io,
    net::{TcpListener, UdpSocket},
    sync::Arc,
};
use tokio::sync::watch;
use tracing::warn;
use watcher::InterfaceWatcher;

/// Why a port of an interface can't be had.
#[derive(Debug)]
pub struct BindError {
    /// The interface's name.
    pub interface: String,
    /// `UDP` or `TCP`.
    pub protocol: &'static str,
    /// The port.
    pub port: u16,
    /// What the kernel says.
    pub source: io::Error,
    /// Who holds the port, where the user that this runs as may see it.
    pub holder: Option<String>,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindError {
            interface,
            protocol,
            port,
            source,
            holder,
        } = self;
        write!(f, "{interface}: {protocol} port {port}: {source}")?;
        match (holder, source.kind()) {
            (Some(holder), _) => write!(f, "; it is held by {holder}"),
            (None, io::ErrorKind::AddrInUse) => {
                let command = holder::shown_by(&protocol.to_ascii_lowercase(), *port);
                write!(f, "; `{command}` names the process that holds it")
            }
            (None, _) => Ok(()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The sockets of one interface.
struct InterfaceSockets {
    /// DHCP's, with their ports.
    dhcp: Vec<(u16, UdpSocket)>,
    tftp: UdpSocket,
    /// TFTP's transfers'; none where they go over its request port.
    transfers: Vec<UdpSocket>,
    http: TcpListener,
    /// `None` where the kernel refused one: replies to clients without an address are broadcast.
    frames: Option<Arc<FrameSender>>,
    /// `None` where the kernel refused one: other DHCP servers go unnoticed.
    replies: Option<UdpSocket>,
    /// With the interface's own link-layer address. `None` where they are not wanted or the kernel refused
    /// one: machines wait for an IPv6 router.
    solicitations: Option<(UdpSocket, MacAddr)>,
    /// `None` where it is not wanted, or another program has the port.
    syslog: Option<UdpSocket>,
}

impl InterfaceSockets {
    fn bind(interface: &Interface, listen: &ListenConfig) -> Result<InterfaceSockets, BindError> {
        let ports = listen.ports;
        let name = &*interface.name;
        let failed = |protocol: &'static str, port| {
            move |source: io::Error| BindError {
                interface: name.to_owned(),
                protocol,
                port,
                holder: (source.kind() == io::ErrorKind::AddrInUse)
                    .then(|| holder::holder(&protocol.to_ascii_lowercase(), port))
                    .flatten(),
                source,
            }
        };
        let udp = |port| socket::udp(name, port).map_err(failed("UDP", port));
        let http = socket::tcp(name, ports.http).map_err(failed("TCP", ports.http))?;
        let frames = FrameSender::new(interface.index)
            .inspect_err(|error| {
                warn!(
                    interface = name,
                    "no packet socket, so every reply is broadcast: {error}"
                )
            })
            .ok()
            .map(Arc::new);
        let replies = socket::dhcp_replies(interface.index)
            .inspect_err(|error| warn!(interface = name, "rogue DHCP servers can't be detected: {error}"))
            .ok();
        let groups = [ndp::ALL_ROUTERS_MAC, ndp::ALL_NODES_MAC];
        let solicitations = listen
            .router_advertisements
            .then(|| socket::router_packets(interface.index, groups))
            .transpose()
            .inspect_err(|error| warn!(interface = name, "machines may wait for an IPv6 router: {error}"))
            .ok()
            .flatten();
        Ok(InterfaceSockets {
            solicitations,
            dhcp: vec![
                (dhcp::SERVER_PORT, udp(dhcp::SERVER_PORT)?),
                (dhcp::PXE_PORT, udp(dhcp::PXE_PORT)?),
            ],
            tftp: udp(ports.tftp)?,
            transfers: (0..if listen.tftp_single_port { 0 } else { tftp::workers() })
                .map(|_| udp(0))
                .collect::<Result<_, _>>()?,
            http,
            frames,
            replies,
            // The last: of an interface that can't be served yet, and is tried again, it is not said each time.
            syslog: listen
                .syslog
                .then(|| udp(proto::syslog::PORT))
                .transpose()
                .inspect_err(|error| syslog::warn_of_none(name, error))
                .ok()
                .flatten(),
        })
    }
}

/// How the interfaces stand that are to be served, as the watcher saw them last.
pub type Standings = Arc<ArcSwap<Vec<interface::InterfaceState>>>;

/// An interface whose sockets are bound, and not served yet.
struct BoundInterface {
    interface: Interface,
    sockets: InterfaceSockets,
}

/// The servers of the configured interfaces.
pub struct Servers {
    wanted: Vec<ServedInterface>,
    listen: ListenConfig,
    bound: Vec<BoundInterface>,
    standings: Standings,
}

impl Servers {
    /// How the interfaces stand, while this serves.
    pub fn standings(&self) -> Standings {
        Arc::clone(&self.standings)
    }

    /// Binds every port on the interfaces that exist now, before threads start and privileges
    /// drop. An interface that is missing is no error: it is served when it appears.
    pub fn bind(wanted: &[ServedInterface], listen: ListenConfig) -> Result<Servers, BindError> {
        let wanted = wanted.to_vec();
        let names = names_of(&wanted);
        let found = interface::survey(&names).unwrap_or_else(|error| {
            warn!("the interfaces can't be listed yet: {error}");
            BTreeMap::new()
        });
        let there = interface::names().unwrap_or_default();
        for name in names.iter().filter(|name| !found.contains_key(*name)) {
            warn!(
                event = "interface_missing",
                interface = name,
                "{}",
                interface::missing(name, &there)
            );
        }
        let bound = found
            .into_values()
            .map(|interface| {
                let sockets = InterfaceSockets::bind(&interface, &listen)?;
                Ok(BoundInterface { interface, sockets })
            })
            .collect::<Result<_, BindError>>()?;
        Ok(Servers {
            wanted,
            listen,
            bound,
            standings: Arc::default(),
        })
    }

    /// Serves until `stop` becomes true (or its sender is gone), then takes no new request and lets
    /// running transfers end until `SHUTDOWN_TIMEOUT`. Interfaces that appear later are bound when
    /// they do.
    pub async fn run(self, shared: Arc<Shared>, stop: watch::Receiver<bool>) {
        let (tasks, drain) = TaskTracker::new(stop);
        // Until the drain's end: what is under way goes on there.
        let threads = HttpThreads::start();
        let hot_files = Arc::<HotFiles>::default();
        let sealed_copies = SealedCopies::new(Arc::clone(&shared));
        let common = SharedResources {
            shared,
            threads: threads.clone(),
            tasks: tasks.clone(),
            transfers_max: tftp::transfers_max(self.wanted.len()),
            connections: http::connection_places(&self.listen.shared_addresses),
            bulk: http::bulk_places(self.listen.bulk_streams, &self.listen.shared_addresses),
            wait_slots: http::wait_slots(&self.listen.shared_addresses),
            come_back: Arc::default(),
            shared_addresses: self.listen.shared_addresses.clone(),
            buffers: http::buffers(),
            tftp_files: tftp::TransferFiles::new(Arc::clone(&hot_files)),
            hot_files,
            sealed_copies,
            standings: self.standings,
        };
        let mut watcher = InterfaceWatcher::new(self.wanted, self.listen, common);
        for bound in self.bound {
            watcher.serve(bound.interface, bound.sockets);
        }
        tokio::select! {
            () = tasks.stopped() => {}
            () = watcher.watch() => {}
        }
        // The watcher's servers and every handle must be gone before the drain can end.
        drop((watcher, tasks));
        if !drain.wait(SHUTDOWN_TIMEOUT).await {
            warn!("transfers were aborted at the shutdown timeout of {SHUTDOWN_TIMEOUT:?}");
        }
    }
}

fn names_of(wanted: &[ServedInterface]) -> Vec<String> {
    wanted.iter().map(|wanted| wanted.name.clone()).collect()
}
