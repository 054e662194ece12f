//! The asking end of the operator's socket, for the command line: a row of the table and its request in, the
//! answer out.

use super::{
    api::{API_VERSION, API_VERSION_HEADER, AdminRefusal, RefusalCode},
    query,
    response::{Document, Lines},
    routes::{Endpoint, Role},
};
use crate::model::limits::{ADMIN_CHANGE_TIMEOUT, ADMIN_RESPONSE_BYTES_MAX, ADMIN_RESPONSE_TIMEOUT};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    HeaderMap, Request,
    body::Incoming,
    client::conn::http1,
    header::{HOST, SERVER},
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::{
    fmt, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{net::UnixStream, task::JoinHandle};

type RequestError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no answer.
#[derive(Debug)]
pub enum ClientError {
    /// No daemon listens at the socket, or we may not ask.
    NoDaemon {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The answer does not come.
    Silent {
        /// The socket.
        socket: PathBuf,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The connection ended before the answer did.
    BrokenOff {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: RequestError,
    },
    /// The daemon has another version of the API.
    OtherVersion {
        /// The socket.
        socket: PathBuf,
        /// The daemon's version, and its API's; nothing where it has none.
        daemon: Option<(String, String)>,
    },
    /// The daemon has our version of the API, and its answer is not of it.
    Unreadable {
        /// The daemon's version.
        daemon: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The daemon says no.
    Refused(Box<AdminRefusal>),
}

const OURS: &str = env!("CARGO_PKG_VERSION");

impl ClientError {
    /// The same in the shape that the daemon has for it.
    pub fn refusal(&self) -> AdminRefusal {
        let code = match self {
            ClientError::Refused(refusal) => return (**refusal).clone(),
            ClientError::NoDaemon { .. } => RefusalCode::NoDaemon,
            ClientError::Silent { .. } | ClientError::BrokenOff { .. } => RefusalCode::NoAnswer,
            ClientError::OtherVersion { .. } | ClientError::Unreadable { .. } => RefusalCode::VersionMismatch,
        };
        AdminRefusal::new(code, self.to_string())
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::NoDaemon { socket, source } if source.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "{}: {source}: only root and the group `bootwright` may ask; try sudo, or join the group",
                socket.display()
            ),
            ClientError::NoDaemon { socket, source } => write!(
                f,
                "no daemon answers at {} ({source}): see `systemctl status bootwright`, or name its socket with --socket",
                socket.display()
            ),
            ClientError::Silent { socket, limit } => write!(
                f,
                "the daemon at {} gave no answer in {} s",
                socket.display(),
                limit.as_secs()
            ),
            ClientError::BrokenOff { socket, source } => {
                write!(f, "the daemon at {} broke off: {source}", socket.display())
            }
            ClientError::OtherVersion { socket, daemon } => {
                write!(f, "the daemon at {} is ", socket.display())?;
                match daemon {
                    Some((version, api)) => write!(f, "{version} with API {api}")?,
                    None => f.write_str("an older bootwright, of before API 1")?,
                }
                write!(
                    f,
                    ", and this is bootwright {OURS} with API {API_VERSION}: after an upgrade `systemctl restart bootwright`, or ask with the daemon's own `bootwright`"
                )
            }
            ClientError::Unreadable { daemon, source } => write!(
                f,
                "the answer of {daemon} with API {API_VERSION} makes no sense to this bootwright {OURS} ({source}); this is a bug of one of them"
            ),
            ClientError::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ClientError::NoDaemon { source, .. } => Some(source),
            ClientError::BrokenOff { source, .. } => Some(&**source),
            ClientError::Unreadable { source, .. } => Some(source),
            ClientError::Silent { .. } | ClientError::OtherVersion { .. } | ClientError::Refused(_) => None,
        }
    }
}

/// Asks the daemon at `socket` for an object.
///
/// # Errors
///
/// See [`ClientError`].
pub fn document<E, T>(socket: &Path, request: &E::Request) -> Result<T, ClientError>
where
    E: Endpoint<Response = Document<T>>,
    T: DeserializeOwned,
{
    wait(socket, async {
        let mut answer = IncomingResponse::to::<E>(socket, request).await?;
        let mut body = Vec::new();
        while let Some(part) = answer.part().await? {
            answer.add(&mut body, &part)?;
        }
        answer.read(&body)
    })
}

/// Asks the daemon at `socket` for a list. It is whole, or an error.
///
/// # Errors
///
/// See [`ClientError`].
pub fn list<E, T>(socket: &Path, request: &E::Request) -> Result<Vec<T>, ClientError>
where
    E: Endpoint<Response = Lines<T>>,
    T: DeserializeOwned,
{
    let mut items = Vec::new();
    each::<E, T>(socket, request, |item| {
        items.push(item);
        ControlFlow::Continue(())
    })?;
    Ok(items)
}

/// Asks the daemon at `socket` for a list, and hands on each item as it comes, until `take` has enough.
///
/// # Errors
///
/// See [`ClientError`].
pub fn each<E, T>(
    socket: &Path,
    request: &E::Request,
    mut take: impl FnMut(T) -> ControlFlow<()>,
) -> Result<(), ClientError>
where
    E: Endpoint<Response = Lines<T>>,
    T: DeserializeOwned,
{
    wait(socket, async {
        let mut answer = IncomingResponse::to::<E>(socket, request).await?;
        let mut begun = Vec::new();
        while let Some(part) = answer.part().await? {
            for piece in part.split_inclusive(|byte| *byte == b'\n') {
                answer.add(&mut begun, piece)?;
                if piece.ends_with(b"\n") {
                    if take(answer.read(&begun)?).is_break() {
                        return Ok(());
                    }
                    begun.clear();
                }
            }
        }
        Ok(())
    })
}

fn wait<T>(socket: &Path, asking: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| broken_off(socket, error))?;
    runtime.block_on(asking)
}

fn broken_off(socket: &Path, source: impl Into<RequestError>) -> ClientError {
    ClientError::BrokenOff {
        socket: socket.to_owned(),
        source: source.into(),
    }
}

/// An answer that comes in.
struct IncomingResponse<'s> {
    socket: &'s Path,
    /// The daemon's version.
    daemon: String,
    body: Incoming,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Drop for IncomingResponse<'_> {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl<'s> IncomingResponse<'s> {
    /// Asks; an answer is one of our version, and no refusal.
    async fn to<E: Endpoint>(socket: &'s Path, request: &E::Request) -> Result<IncomingResponse<'s>, ClientError> {
        let stream = UnixStream::connect(socket).await;
        let stream = stream.map_err(|source| ClientError::NoDaemon {
            socket: socket.to_owned(),
            source,
        })?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| broken_off(socket, error))?;
        let connection = tokio::spawn(connection);
        let parameters = query::write(request).map_err(|error| broken_off(socket, error))?;
        let request = Request::builder()
            .method(E::METHOD)
            .uri(format!("/v{API_VERSION}{}{parameters}", E::PATH))
            .header(HOST, "bootwright")
            .body(Empty::<Bytes>::new())
            .map_err(|error| broken_off(socket, error))?;
        let limit = match E::ROLE {
            Role::Read => ADMIN_RESPONSE_TIMEOUT,
            Role::Operate => ADMIN_CHANGE_TIMEOUT,
        };
        let response = within(socket, limit, sender.send_request(request)).await?;
        let (head, body) = response.map_err(|error| broken_off(socket, error))?.into_parts();
        let daemon = versions(&head.headers);
        match daemon {
            Some((daemon, api)) if api == API_VERSION.to_string() => {
                let mut answer = IncomingResponse {
                    socket,
                    daemon,
                    body,
                    connection,
                };
                match head.status.is_success() {
                    true => Ok(answer),
                    false => Err(answer.refusal().await),
                }
            }
            daemon => Err(ClientError::OtherVersion {
                socket: socket.to_owned(),
                daemon,
            }),
        }
    }

    async fn refusal(&mut self) -> ClientError {
        let mut body = Vec::new();
        loop {
            match self.part().await {
                Ok(Some(part)) => match self.add(&mut body, &part) {
                    Ok(()) => {}
                    Err(error) => return error,
                },
                Ok(None) => break,
                Err(error) => return error,
            }
        }
        match self.read(&body) {
            Ok(refusal) => ClientError::Refused(Box::new(refusal)),
            Err(error) => error,
        }
    }

    /// The next part of the body.
    async fn part(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = within(self.socket, ADMIN_RESPONSE_TIMEOUT, self.body.frame()).await?;
            let frame = frame.transpose().map_err(|error| broken_off(self.socket, error))?;
            match frame.map(hyper::body::Frame::into_data) {
                None => return Ok(None),
                Some(Ok(part)) => return Ok(Some(part)),
                // Trailers, of which there are none.
                Some(Err(_)) => {}
            }
        }
    }

    /// Adds to what was read of an object.
    fn add(&self, begun: &mut Vec<u8>, part: &[u8]) -> Result<(), ClientError> {
        if begun.len() + part.len() > ADMIN_RESPONSE_BYTES_MAX {
            let reason = format!("an answer of more than {ADMIN_RESPONSE_BYTES_MAX} bytes");
            return Err(broken_off(self.socket, reason));
        }
        begun.extend_from_slice(part);
        Ok(())
    }

    fn read<T: DeserializeOwned>(&self, object: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(object).map_err(|source| ClientError::Unreadable {
            daemon: self.daemon.clone(),
            source,
        })
    }
}

/// The daemon's version, `bootwright/0.1.0`, and its API's.
fn versions(headers: &HeaderMap) -> Option<(String, String)> {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let api = text(API_VERSION_HEADER)?;
    let daemon = text(SERVER.as_str()).unwrap_or_else(|| "bootwright".to_owned());
    Some((daemon.replacen('/', " ", 1), api))
}

async fn within<T>(socket: &Path, limit: Duration, waited_for: impl Future<Output = T>) -> Result<T, ClientError> {
    let waited = tokio::time::timeout(limit, waited_for).await;
    waited.map_err(|_| ClientError::Silent {
        socket: socket.to_owned(),
        limit,
    })
}
