//! The servers of one interface are started, on what those of all interfaces have in common.

use super::{InterfaceSockets, Standings};
use crate::model::{MacAddr, Mode, SharedAddresses, limits::DHCP_DISK_THREADS_MAX};
use crate::net::{
    dhcp::DhcpServer,
    files::{hot::HotFiles, sealed::SealedCopies},
    http::{BufferPool, ComeBackTimes, HttpServer, HttpThreads},
    interface::Interface,
    limiter::FairLimiter,
    neighbours::{Links, Neighbours},
    probe::Prober,
    rogue::{RogueMonitor, RogueServers},
    socket::FrameSender,
    solicitations::Solicitations,
    syslog::SyslogServer,
    tasks::TaskTracker,
    tftp::{TftpServer, TransferFiles},
    threads::ThreadPool,
};
use crate::state::Shared;
use std::{
    io,
    net::UdpSocket,
    sync::{Arc, Mutex},
};
use tokio::{sync::watch, task::JoinSet};

/// What the servers of all interfaces have in common.
pub(super) struct SharedResources {
    pub(super) shared: Arc<Shared>,
    /// Where connections are served.
    pub(super) threads: HttpThreads,
    pub(super) tasks: TaskTracker,
    pub(super) transfers_max: usize,
    pub(super) connections: FairLimiter,
    pub(super) bulk: FairLimiter,
    pub(super) wait_slots: FairLimiter,
    pub(super) come_back: Arc<ComeBackTimes>,
    pub(super) shared_addresses: SharedAddresses,
    pub(super) buffers: BufferPool,
    /// The loaders that machines fetch.
    pub(super) hot_files: Arc<HotFiles>,
    /// Where TFTP reads from.
    pub(super) tftp_files: TransferFiles,
    /// The image files that machines fetch.
    pub(super) sealed_copies: Arc<SealedCopies>,
    /// For operators.
    pub(super) standings: Standings,
}

impl SharedResources {
    pub(super) fn start(
        &self,
        sockets: InterfaceSockets,
        mode: Mode,
        states: &watch::Receiver<Interface>,
    ) -> io::Result<JoinSet<()>> {
        let mut servers = JoinSet::new();
        self.dhcp(sockets.dhcp, sockets.frames.as_ref(), (mode, states), &mut servers)?;
        if let Some(replies) = sockets.replies {
            let watch = RogueMonitor {
                shared: Arc::clone(&self.shared),
                mode,
                interface: states.clone(),
                tasks: self.tasks.clone(),
            };
            servers.spawn(watch.run(tokio::net::UdpSocket::from_std(replies)?));
        }
        if let (Some(bound), Some(frames)) = (sockets.solicitations, sockets.frames) {
            let (solicitations, socket) = self.solicitations(bound, frames, states)?;
            servers.spawn(solicitations.run(socket));
        }
        if let Some(socket) = sockets.syslog {
            let server = SyslogServer::new(&self.shared, socket, &self.tasks)?;
            servers.spawn(server.run());
        }
        let tftp = self.tftp(sockets.tftp, sockets.transfers, states)?;
        servers.spawn(tftp.run());
        let prompt = self.threads.prompt();
        let listener = {
            let _on_its_thread = prompt.enter();
            tokio::net::TcpListener::from_std(sockets.http)?
        };
        let http = HttpServer {
            shared: Arc::clone(&self.shared),
            listener,
            places: self.connections.clone(),
            bulk: self.bulk.clone(),
            wait_slots: self.wait_slots.clone(),
            come_back: Arc::clone(&self.come_back),
            buffers: self.buffers.clone(),
            hot_files: Arc::clone(&self.hot_files),
            sealed_copies: Arc::clone(&self.sealed_copies),
            threads: self.threads.clone(),
            links: Links::of(Neighbours::new(self.shared.clock, states.clone())?),
            tasks: self.tasks.clone(),
        };
        servers.spawn_on(http.run(), &prompt);
        Ok(servers)
    }

    /// All of them on one thread, which is the interface's own.
    fn dhcp(
        &self,
        sockets: Vec<(u16, UdpSocket)>,
        frames: Option<&Arc<FrameSender>>,
        (mode, states): (Mode, &watch::Receiver<Interface>),
        servers: &mut JoinSet<()>,
    ) -> io::Result<()> {
        let dhcp_thread = ThreadPool::single(&format!("dhcp-{}", states.borrow().name), DHCP_DISK_THREADS_MAX);
        let neighbours = || Neighbours::new(self.shared.clock, states.clone()).map(Arc::new);
        for (port, socket) in sockets {
            let on_it = dhcp_thread.first();
            let socket = {
                let _there = on_it.enter();
                Arc::new(tokio::net::UdpSocket::from_std(socket)?)
            };
            let server = DhcpServer {
                shared: Arc::clone(&self.shared),
                socket,
                neighbours: neighbours()?,
                port,
                mode,
                frames: frames.cloned(),
                interface: states.clone(),
                discovers: Mutex::default(),
                rogue_servers: RogueServers::default(),
                prober: Prober::new(
                    Arc::clone(&self.shared),
                    self.tasks.clone(),
                    frames.cloned(),
                    states.borrow().index,
                ),
                tasks: self.tasks.clone(),
                thread: dhcp_thread.clone(),
            };
            servers.spawn_on(server.run(), &on_it);
        }
        Ok(())
    }

    fn tftp(
        &self,
        socket: UdpSocket,
        transfers: Vec<UdpSocket>,
        states: &watch::Receiver<Interface>,
    ) -> io::Result<TftpServer> {
        Ok(TftpServer {
            shared: Arc::clone(&self.shared),
            socket: tokio::net::UdpSocket::from_std(socket)?,
            transfers: transfers
                .into_iter()
                .map(tokio::net::UdpSocket::from_std)
                .collect::<io::Result<_>>()?,
            interface: states.clone(),
            neighbours: Arc::new(Neighbours::new(self.shared.clock, states.clone())?),
            transfers_max: self.transfers_max,
            shared_addresses: self.shared_addresses.clone(),
            files: self.tftp_files.clone(),
            tasks: self.tasks.clone(),
        })
    }

    fn solicitations(
        &self,
        (socket, own): (UdpSocket, MacAddr),
        frames: Arc<FrameSender>,
        states: &watch::Receiver<Interface>,
    ) -> io::Result<(Solicitations, tokio::net::UdpSocket)> {
        let solicitations = Solicitations {
            shared: Arc::clone(&self.shared),
            interface: states.clone(),
            frames,
            own,
            tasks: self.tasks.clone(),
            routers: Mutex::default(),
        };
        Ok((solicitations, tokio::net::UdpSocket::from_std(socket)?))
    }
}
