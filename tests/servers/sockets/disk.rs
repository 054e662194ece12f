//! Leases on a disk that fails or hangs: what it holds is kept, and nothing new is promised.

use super::{Appliance, LISTEN, PATIENCE, events::next_event, receive};
use crate::network::{ip, own_network};
use bootwright::{
    boot::{
        change::Change,
        event::{Reason, RequestedFile, Step, StoreFault},
    },
    state::{CommitLog, Counter, Durable},
    store::StoreError,
};
use dhcproto::{
    Decodable, Decoder, Encodable, Encoder,
    v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode, UnknownOption},
};
use std::{
    cell::RefCell,
    future::ready,
    net::{Ipv4Addr, UdpSocket},
};
use tokio::sync::watch;

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const RELAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The lease of the tests' subnet.
const WHOLE_S: u32 = 3600;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    Works,
    Fails,
    /// Another was faster.
    Conflicts,
    Hangs,
    /// So much waits for it that it takes no more.
    Overrun,
}

fn full() -> StoreError {
    StoreError::of_io("the journal", nix::errno::Errno::ENOSPC.into())
}

pub(super) struct Log(pub(super) watch::Receiver<Disk>);

impl CommitLog for Log {
    fn append(&self, _: Vec<Change>) -> Result<Durable, StoreError> {
        let mut disk = self.0.clone();
        let now = *disk.borrow();
        match now {
            Disk::Works => Ok(Box::pin(ready(Ok(())))),
            Disk::Conflicts => Ok(Box::pin(ready(Err(StoreError::Conflict {
                key: b"lease/".to_vec(),
            })))),
            Disk::Fails => Ok(Box::pin(ready(Err(full())))),
            Disk::Hangs => Ok(Box::pin(async move {
                let _ = disk.wait_for(|disk| *disk != Disk::Hangs).await;
                Ok(())
            })),
            Disk::Overrun => Err(StoreError::unavailable("too many changes wait")),
        }
    }
}

/// Machines behind a relay that is answered where it sent from (RFC 8357).
struct Relay(UdpSocket);

impl Relay {
    fn new() -> Relay {
        let socket = UdpSocket::bind((RELAY, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Relay(socket)
    }

    fn say(&self, machine: u8, kind: MessageType, address: Option<Ipv4Addr>) {
        let mut message = Message::default();
        message
            .set_opcode(Opcode::BootRequest)
            .set_chaddr(&[2, 0, 0, 0, 0, machine])
            .set_xid(machine.into())
            .set_flags(Flags::default())
            .set_giaddr(RELAY);
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        if let Some(address) = address {
            options.insert(DhcpOption::RequestedIpAddress(address));
            options.insert(DhcpOption::ServerIdentifier(SERVER));
        }
        let source_port = UnknownOption::new(OptionCode::RelayAgentInformation, vec![19, 2, 0, 0]);
        options.insert(DhcpOption::Unknown(source_port));
        let mut bytes = Vec::new();
        message.encode(&mut Encoder::new(&mut bytes)).unwrap();
        self.0.send_to(&bytes, (SERVER, 67)).unwrap();
    }

    fn heard(&self) -> Message {
        let mut buffer = [0; 1500];
        let (length, _) = receive(&self.0, &mut buffer).unwrap();
        Message::decode(&mut Decoder::new(&buffer[..length])).unwrap()
    }

    /// Asks for an address up to the REQUEST, and does not listen for the ACK.
    fn request(&self, machine: u8) -> Ipv4Addr {
        self.say(machine, MessageType::Discover, None);
        let offer = self.heard();
        assert_eq!(offer.opts().msg_type(), Some(MessageType::Offer));
        self.say(machine, MessageType::Request, Some(offer.yiaddr()));
        offer.yiaddr()
    }

    /// A whole exchange: the lease's seconds.
    fn lease_s(&self, machine: u8) -> u32 {
        let address = self.request(machine);
        let ack = self.heard();
        assert_eq!((ack.opts().msg_type(), ack.yiaddr()), (Some(MessageType::Ack), address));
        match ack.opts().get(OptionCode::AddressLeaseTime) {
            Some(DhcpOption::AddressLeaseTime(seconds)) => *seconds,
            other => panic!("an ACK with {other:?} for its lease time"),
        }
    }
}

#[test]
fn a_disk_that_fails_costs_new_leases_only() {
    own_network();
    // The whole subnet is on loopback; only its first address is the server's own, which it does not serve.
    ip("addr add 192.0.2.1/24 dev lo");
    let (disk, state) = watch::channel(Disk::Works);
    let appliance = Appliance::with_log(&["lo"], LISTEN, Box::new(Log(state)));
    let relay = Relay::new();
    assert_eq!(relay.lease_s(1), WHOLE_S);

    let listener = RefCell::new(appliance.shared.events.subscribe());
    for (state, refused, count, expected) in [
        (Disk::Fails, Counter::DhcpStoreFailed, 1, StoreFault::Full),
        (Disk::Conflicts, Counter::DhcpStoreFailed, 2, StoreFault::Conflict),
        (Disk::Overrun, Counter::DhcpQueueFull, 1, StoreFault::Unavailable),
    ] {
        disk.send(state).unwrap();
        let shortened = appliance.count(Counter::DhcpAckShortened);
        assert!((1..WHOLE_S).contains(&relay.lease_s(1)), "no more than the disk holds");
        appliance.counted(Counter::DhcpAckShortened, shortened + 1);
        relay.request(2);
        appliance.counted(refused, count);
        let failed = next_event(&listener, "lease that was not stored", |step| {
            matches!(
                step,
                Step::Failed {
                    file: RequestedFile::DhcpReply,
                    ..
                }
            )
        });
        let fault = match failed.reason() {
            Some(Reason::LeaseNotStored { error }) => (Counter::DhcpStoreFailed, error.fault),
            Some(Reason::LeaseQueueFull { error }) => (Counter::DhcpQueueFull, error.fault),
            other => panic!("{other:?}"),
        };
        assert_eq!(fault, (refused, expected));
    }

    // A disk that hangs is waited for, and then it is told what stands there.
    disk.send(Disk::Hangs).unwrap();
    assert!((1..WHOLE_S).contains(&relay.lease_s(1)));
    relay.request(3);
    disk.send(Disk::Works).unwrap();
    let late = relay.heard();
    assert_eq!((late.xid(), late.opts().msg_type()), (3, Some(MessageType::Ack)));
    assert_eq!((relay.lease_s(1), relay.lease_s(2)), (WHOLE_S, WHOLE_S));
}
