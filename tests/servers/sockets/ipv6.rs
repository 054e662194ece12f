//! HTTP on a socket that takes IPv6: whoever asks is answered or told why not, and IPv4 is IPv4 there too.

use super::NoLog;
use crate::{
    fixtures::{host, snapshot},
    network::own_network,
};
use bootwright::{
    boot::{
        event::{MachineKey, ReasonCode},
        snapshot::{Host, Hosts, Snapshot},
    },
    lease::LeaseTable,
    model::SharedAddresses,
    net::{
        files::sealed::SealedCopies,
        http::{HttpServer, HttpThreads, buffers, bulk_places, connection_places, wait_slots},
        tasks::{Shutdown, TaskTracker},
    },
    state::{Clock, Counter, Shared, Subscription},
};
use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::Arc,
};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch};

/// An HTTP server on a socket of our own.
struct Server {
    _runtime: Runtime,
    _stop: watch::Sender<bool>,
    _drain: Shutdown,
    shared: Arc<Shared>,
    port: u16,
}

impl Server {
    fn listening(address: Ipv6Addr) -> Server {
        let listed = Host {
            macs: vec!["52:54:00:00:00:07".parse().unwrap()],
            address: Some(Ipv4Addr::LOCALHOST),
            ..host("r1u07")
        };
        let snapshot = Snapshot {
            hosts: Hosts::new(vec![listed]),
            ..snapshot()
        };
        let shared = Shared::new(Clock::start(), snapshot, LeaseTable::default(), Box::new(NoLog));
        let shared = Arc::new(shared);
        let runtime = Runtime::new().unwrap();
        let (stop, stopped) = watch::channel(false);
        let (tasks, drain) = TaskTracker::new(stopped);
        let port = runtime.block_on(async {
            let listener = TcpListener::bind((address, 0)).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let addresses = SharedAddresses::NONE;
            let server = HttpServer {
                shared: Arc::clone(&shared),
                listener,
                places: connection_places(&addresses),
                bulk: bulk_places(2, &addresses),
                wait_slots: wait_slots(&addresses),
                come_back: Arc::default(),
                hot_files: Arc::default(),
                sealed_copies: SealedCopies::new(Arc::clone(&shared)),
                buffers: buffers(),
                threads: HttpThreads::start(),
                links: Default::default(),
                tasks,
            };
            tokio::spawn(server.run());
            port
        });
        Server {
            _runtime: runtime,
            _stop: stop,
            _drain: drain,
            shared,
            port,
        }
    }

    fn get(&self, address: impl Into<IpAddr>, path: &str) -> String {
        let mut stream = TcpStream::connect(SocketAddr::new(address.into(), self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn events(&self) -> Subscription {
        self.shared.events.subscribe()
    }
}

fn asked(events: &mut Subscription) -> MachineKey {
    events.try_next().expect("each request is an event").machine.key.clone()
}

#[test]
fn who_asks_over_ipv6_gets_what_everybody_gets_and_is_told_why_it_gets_no_answer() {
    own_network();
    let server = Server::listening(Ipv6Addr::LOCALHOST);
    let mut events = server.events();
    let script = server.get(Ipv6Addr::LOCALHOST, "/autoexec.ipxe");
    assert!(script.starts_with("HTTP/1.1 200"), "{script}");
    assert!(
        script.contains("chain --replace --autofree http://[::1]/boot.ipxe?"),
        "{script}"
    );
    assert_eq!(asked(&mut events), MachineKey::Address(Ipv6Addr::LOCALHOST.into()));
    let answer = server.get(Ipv6Addr::LOCALHOST, "/answer/r1u07/preseed.cfg");
    assert!(
        answer.starts_with("HTTP/1.1 403") && answer.contains("::1 is an IPv6 address"),
        "{answer}"
    );
    let counters = &server.shared.counters;
    assert_eq!(counters.reason(ReasonCode::AnswerAddressFamily), 1);
    assert_eq!(
        (
            counters.value(Counter::HttpConnections),
            counters.value(Counter::HttpRefused)
        ),
        (2, 1)
    );
}

#[test]
fn who_asks_over_ipv4_where_ipv6_is_taken_too_is_known_by_its_ipv4_address() {
    own_network();
    let server = Server::listening(Ipv6Addr::UNSPECIFIED);
    let mut events = server.events();
    let script = server.get(Ipv4Addr::LOCALHOST, "/autoexec.ipxe");
    assert!(
        script.contains("chain --replace --autofree http://127.0.0.1/boot.ipxe?"),
        "{script}"
    );
    assert_eq!(asked(&mut events), MachineKey::Host("r1u07".parse().unwrap()));
}
