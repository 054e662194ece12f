//! The serving end of the operator's socket.
//!
//! The number of connections is bounded. When all slots are taken, a new connection evicts an idle one: first one that
//! has sent no request yet, then one that does not read its response. A request that is being answered is not evicted.

use super::{AdminApi, AdminSocket, api::Problem};
use crate::model::limits::{
    ADMIN_CONNECTIONS_MAX, ADMIN_HEADER_TIMEOUT, ADMIN_RELOAD_TIMEOUT, ADMIN_SLOT_POLL_INTERVAL,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};
use tokio::{
    net::UnixStream,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::AbortHandle,
};

type ApiResponse = Response<Full<Bytes>>;

/// Answers operators until `stop` becomes true. Answers under way are still given.
///
/// # Errors
///
/// The socket can't be joined to the runtime.
pub async fn serve<O: AdminApi>(
    socket: &AdminSocket,
    operator: Arc<O>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = socket.listener()?;
    let mut places = ConnectionSlots::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stopped| *stopped) => return Ok(()),
        };
        match accepted {
            Ok((stream, _)) => {
                let place = tokio::select! {
                    place = places.take() => place.map_err(io::Error::other)?,
                    _ = stop.wait_for(|stopped| *stopped) => return Ok(()),
                };
                let (operator, standing) = (Arc::clone(&operator), Arc::<ConnectionPhase>::default());
                let theirs = Arc::clone(&standing);
                let task = tokio::spawn(async move {
                    connection(stream, operator, &theirs).await;
                    drop(place);
                });
                places.note(task.abort_handle(), standing);
            }
            Err(error) => {
                tracing::warn!("an operator's connection failed: {error}");
                // Out of descriptors, most likely; the next attempt at once would fail the same.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// What a connection is at.
#[derive(Debug, Default)]
struct ConnectionPhase(AtomicU8);

impl ConnectionPhase {
    /// Nothing was asked yet.
    const SILENT: u8 = 0;
    /// The answer is on its way out.
    const ANSWERED: u8 = 1;
    /// The answer is being found.
    const ASKED: u8 = 2;
}

/// The places for connections, and who has them; the oldest first.
struct ConnectionSlots {
    free: Arc<Semaphore>,
    taken: Vec<(AbortHandle, Arc<ConnectionPhase>)>,
}

impl ConnectionSlots {
    fn new() -> ConnectionSlots {
        ConnectionSlots {
            free: Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX)),
            taken: Vec::new(),
        }
    }

    /// A place for a newcomer, for which another connection may have to end.
    async fn take(&mut self) -> Result<OwnedSemaphorePermit, tokio::sync::AcquireError> {
        loop {
            self.make_room();
            let place = Arc::clone(&self.free).acquire_owned();
            // Where all were being answered, one may be answered by now and not take it.
            if let Ok(place) = tokio::time::timeout(ADMIN_SLOT_POLL_INTERVAL, place).await {
                return place;
            }
        }
    }

    /// Ends a connection that only holds its place, where no place is free.
    fn make_room(&mut self) {
        self.taken.retain(|(task, _)| !task.is_finished());
        if self.free.available_permits() > 0 {
            return;
        }
        let at = |at: u8| {
            let mut taken = self.taken.iter();
            taken.position(|(_, standing)| standing.0.load(Ordering::Relaxed) == at)
        };
        if let Some(place) = at(ConnectionPhase::SILENT).or_else(|| at(ConnectionPhase::ANSWERED)) {
            self.taken.remove(place).0.abort();
        }
    }

    fn note(&mut self, task: AbortHandle, standing: Arc<ConnectionPhase>) {
        self.taken.push((task, standing));
    }
}

async fn connection<O: AdminApi>(stream: UnixStream, operator: Arc<O>, standing: &ConnectionPhase) {
    let service = service_fn(move |request| {
        let operator = Arc::clone(&operator);
        async move {
            standing.0.store(ConnectionPhase::ASKED, Ordering::Relaxed);
            let answer = dispatch(request, operator).await;
            standing.0.store(ConnectionPhase::ANSWERED, Ordering::Relaxed);
            Ok::<_, Infallible>(answer)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ADMIN_HEADER_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // The bound is for a client that never takes its answer.
    match tokio::time::timeout(ADMIN_RELOAD_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("an operator's connection ended early: {error}"),
        Err(_) => tracing::debug!("an operator's connection was cut: its answer was not taken"),
    }
}

/// One row an endpoint.
async fn dispatch<O: AdminApi>(request: Request<Incoming>, operator: Arc<O>) -> ApiResponse {
    let path = request.uri().path().to_owned();
    match (path.as_str(), request.method()) {
        ("/reload", &Method::POST) => match operator.reload().await {
            Ok(accepted) => json(StatusCode::OK, &accepted),
            Err(refusal) => json(StatusCode::UNPROCESSABLE_ENTITY, &refusal),
        },
        ("/status", &Method::GET) => ask(operator, O::status).await,
        ("/hosts", &Method::GET) => ask(operator, O::hosts).await,
        ("/leases", &Method::GET) => ask(operator, O::leases).await,
        ("/reload", _) => not_allowed("POST"),
        ("/status" | "/hosts" | "/leases", _) => not_allowed("GET"),
        (unknown, _) => json(
            StatusCode::NOT_FOUND,
            &Problem::new(format!("nothing is at {}", unknown.escape_debug())),
        ),
    }
}

/// Asks on a thread that may block: the store is read from the disk.
async fn ask<O: AdminApi, T: Serialize + Send + 'static>(
    operator: Arc<O>,
    question: fn(&O) -> Result<T, Problem>,
) -> ApiResponse {
    match tokio::task::spawn_blocking(move || question(&operator)).await {
        Ok(Ok(answer)) => json(StatusCode::OK, &answer),
        Ok(Err(problem)) => json(StatusCode::INTERNAL_SERVER_ERROR, &problem),
        Err(error) => json(StatusCode::INTERNAL_SERVER_ERROR, &Problem::new(error.to_string())),
    }
}

fn not_allowed(allowed: &'static str) -> ApiResponse {
    let problem = Problem::new(format!("this takes {allowed}"));
    let mut answer = json(StatusCode::METHOD_NOT_ALLOWED, &problem);
    answer
        .headers_mut()
        .insert(ALLOW, hyper::header::HeaderValue::from_static(allowed));
    answer
}

fn json(status: StatusCode, value: &impl Serialize) -> ApiResponse {
    let (status, body) = match serde_json::to_vec(value) {
        Ok(body) => (status, body),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into_bytes()),
    };
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/json"),
    );
    answer
}
