//! One client's request and its transfer, on a socket of its own.
//!
//! The socket is not connected, so that a stranger's packet is seen and gets ERROR 5 while the
//! transfer goes on (RFC 1350 section 4).

use crate::boot::{
    event::{Event, Stage, Step},
    resource::{Answered, Ask, Refusal, Resource, Transport},
};
use crate::net::{
    Counter, Shared,
    files::{Opened, open_elsewhere},
    socket,
};
use crate::proto::tftp::{
    transfer::Transfer,
    wire::{self, ErrorCode, Mode},
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};
use tokio::net::UdpSocket;
use tracing::debug;

/// One request as the session needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    interface: String,
    asked: Ipv4Addr,
    /// `None` is a request to write.
    read: Option<wire::Request>,
}

impl Request {
    pub(super) fn read(interface: String, asked: Ipv4Addr, request: wire::Request) -> Request {
        Request {
            interface,
            asked,
            read: Some(request),
        }
    }

    pub(super) fn write(interface: String, asked: Ipv4Addr) -> Request {
        Request {
            interface,
            asked,
            read: None,
        }
    }
}

/// A request that gets an ERROR.
struct Denied {
    code: ErrorCode,
    message: String,
}

impl Denied {
    fn new(code: ErrorCode, message: impl Into<String>) -> Denied {
        Denied {
            code,
            message: message.into(),
        }
    }
}

impl From<&Refusal> for Denied {
    fn from(refusal: &Refusal) -> Denied {
        match refusal {
            Refusal::NotFound { reason } => Denied::new(ErrorCode::NotFound, reason),
            Refusal::BadPath { reason } => Denied::new(ErrorCode::AccessViolation, *reason),
            Refusal::Forbidden { reason } => Denied::new(ErrorCode::AccessViolation, reason),
            Refusal::Broken { reason } => Denied::new(ErrorCode::Undefined, reason),
        }
    }
}

/// What a transfer reads from.
pub(super) enum Source {
    Text(Vec<u8>),
    File(Arc<Opened>),
}

impl Source {
    pub(super) fn length(&self) -> u64 {
        match self {
            Source::Text(text) => text.len() as u64,
            Source::File(opened) => opened.length(),
        }
    }
}

/// A transfer that can begin.
pub(super) struct Prepared {
    pub(super) socket: UdpSocket,
    pub(super) answered: Answered,
    pub(super) transfer: Transfer,
    pub(super) source: Source,
}

/// One request of one client.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) client: SocketAddrV4,
    pub(super) request: Request,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, client: SocketAddrV4, request: Request) -> Session {
        Session {
            shared,
            client,
            request,
        }
    }

    /// A socket, and what the request comes to. `None` once the client was told that it gets
    /// nothing.
    pub(super) async fn prepare(&self) -> Option<Prepared> {
        let socket = socket::transfer(&self.request.interface, self.request.asked).and_then(UdpSocket::from_std);
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => {
                self.shared.counters.count(Counter::AcceptFailed);
                debug!(client = %self.client, "no socket for a TFTP transfer: {error}");
                return None;
            }
        };
        let read = match self.readable() {
            Ok(read) => read,
            Err(denied) => {
                self.deny(&socket, &denied).await;
                self.tell(
                    &self.stranger(),
                    Step::Failed {
                        what: "a TFTP request".to_owned(),
                        reason: denied.message,
                    },
                );
                return None;
            }
        };
        let ask = Ask {
            transport: Transport::Tftp,
            path: &read.path,
            query: None,
            peer: *self.client.ip(),
            server: self.request.asked,
        };
        let answered = self.shared.answer(&ask);
        match source(&answered).await {
            Ok(source) => {
                let mut options = read.options;
                if let Some(largest) = answered.block_max {
                    options.blksize = options.blksize.map(|asked| asked.min(largest));
                }
                let transfer = Transfer::begin(self.now(), &options, source.length());
                Some(Prepared {
                    socket,
                    answered,
                    transfer,
                    source,
                })
            }
            Err(denied) => {
                self.deny(&socket, &denied).await;
                self.tell(&answered, failed(&answered, denied.message));
                None
            }
        }
    }

    /// The request, if it is one that can be served.
    fn readable(&self) -> Result<&wire::Request, Denied> {
        let denied = |message| Err(Denied::new(ErrorCode::IllegalOperation, message));
        match &self.request.read {
            None => Err(Denied::new(ErrorCode::AccessViolation, "this server is read-only")),
            Some(read) => match read.mode {
                Mode::Octet => Ok(read),
                Mode::Netascii => denied("netascii is not served; use octet (binary) mode"),
                Mode::Other => denied("unknown mode; use octet (binary) mode"),
            },
        }
    }

    async fn deny(&self, socket: &UdpSocket, denied: &Denied) {
        self.shared.counters.count(Counter::TftpRefused);
        let _ = self
            .send(socket, &wire::error(denied.code, &denied.message), self.client)
            .await;
    }

    /// A datagram that the kernel does not take is a lost one: the machine sends it again.
    pub(super) async fn send(&self, socket: &UdpSocket, bytes: &[u8], to: SocketAddrV4) -> io::Result<usize> {
        let sent = socket.send_to(bytes, SocketAddr::V4(to)).await;
        if let Err(error) = &sent {
            debug!(client = %to, "TFTP packet not sent: {error}");
        }
        sent
    }

    pub(super) fn now(&self) -> Duration {
        self.shared.clock.monotonic()
    }

    fn stranger(&self) -> Answered {
        Answered {
            machine: "unknown".to_owned(),
            hardware: None,
            stage: Stage::Unknown,
            what: String::new(),
            block_max: None,
            result: Err(Refusal::BadPath { reason: "" }),
        }
    }

    pub(super) fn tell(&self, answered: &Answered, step: Step) {
        self.shared.report(&Event {
            machine: answered.machine.clone(),
            hardware: answered.hardware,
            stage: answered.stage,
            quirks: Vec::new(),
            step,
        });
    }
}

pub(super) fn failed(answered: &Answered, reason: String) -> Step {
    Step::Failed {
        what: answered.what.clone(),
        reason,
    }
}

async fn source(answered: &Answered) -> Result<Source, Denied> {
    match &answered.result {
        Err(refusal) => Err(Denied::from(refusal)),
        Ok(Resource::Text { body, .. }) => Ok(Source::Text(body.clone().into_bytes())),
        Ok(Resource::File { root, file, stamp, .. }) => match open_elsewhere(root, file, *stamp).await {
            Ok(opened) => Ok(Source::File(Arc::new(opened))),
            Err(error) => Err(Denied::new(
                match error.is_missing() {
                    true => ErrorCode::NotFound,
                    false => ErrorCode::AccessViolation,
                },
                error.to_string(),
            )),
        },
    }
}
