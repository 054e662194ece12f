//! The asking end of the operator's socket: one question, one answer, for the command line.

use super::api::{Problem, ReloadAccepted, ReloadRefusal};
use crate::model::limits::{ADMIN_RELOAD_TIMEOUT, ADMIN_RESPONSE_BYTES_MAX, ADMIN_RESPONSE_TIMEOUT};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::{fmt, io, path::Path, time::Duration};
use tokio::net::UnixStream;

/// Why there is no answer.
#[derive(Debug)]
pub struct ClientError(String);

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ClientError {}

/// Asks the daemon at `socket` for what is at `path`.
///
/// # Errors
///
/// No daemon answers there, or it answers with a problem.
pub fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    match ask(socket, Method::GET, path, ADMIN_RESPONSE_TIMEOUT)? {
        (StatusCode::OK, body) => read(&body),
        (_, body) => Err(ClientError(read::<Problem>(&body)?.to_string())),
    }
}

/// Tells the daemon at `socket` to read its files again, and waits until it has.
///
/// # Errors
///
/// No daemon answers there.
pub fn reload(socket: &Path) -> Result<Result<ReloadAccepted, ReloadRefusal>, ClientError> {
    match ask(socket, Method::POST, "/reload", ADMIN_RELOAD_TIMEOUT)? {
        (StatusCode::OK, body) => Ok(Ok(read(&body)?)),
        (StatusCode::UNPROCESSABLE_ENTITY, body) => Ok(Err(read(&body)?)),
        (_, body) => Err(ClientError(read::<Problem>(&body)?.to_string())),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| {
        ClientError(format!(
            "the daemon's answer makes no sense to this bootwright ({error}); is the daemon another version? restart it"
        ))
    })
}

fn ask(socket: &Path, method: Method, path: &str, limit: Duration) -> Result<(StatusCode, Bytes), ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ClientError(format!("no event loop: {error}")))?;
    runtime.block_on(async {
        tokio::time::timeout(limit, exchange(socket, method, path))
            .await
            .unwrap_or_else(|_| {
                Err(ClientError(format!(
                    "the daemon at {} gave no answer in {} s",
                    socket.display(),
                    limit.as_secs()
                )))
            })
    })
}

async fn exchange(socket: &Path, method: Method, path: &str) -> Result<(StatusCode, Bytes), ClientError> {
    let broke =
        |error: &dyn fmt::Display| ClientError(format!("the daemon at {} broke off: {error}", socket.display()));
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| unreachable_daemon(socket, &error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broke(&error))?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "bootwright")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broke(&error))?;
    let response = sender.send_request(request).await.map_err(|error| broke(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ADMIN_RESPONSE_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| broke(&error))?
        .to_bytes();
    connection.abort();
    Ok((status, body))
}

fn unreachable_daemon(socket: &Path, error: &io::Error) -> ClientError {
    let path = socket.display();
    ClientError(match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("{path}: {error}: only root and the group `bootwright` may ask; try sudo, or join the group")
        }
        _ => format!(
            "no daemon answers at {path} ({error}): is `systemctl status bootwright` active? or name its socket with --socket"
        ),
    })
}
