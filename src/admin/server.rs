//! The serving end of the operator's socket: connections in, a row of the table for each request, its answer out.

use super::{
    AdminSocket,
    api::{API_VERSION, AdminRefusal, RefusalCode},
    connections::{Activity, ConnectionSlots, TrackedStream},
    response::{AdminBody, Responder, problem, refused},
    routes::{AdminApi, Caller, Role, Route, routes},
};
use crate::model::limits::ADMIN_IDLE_TIMEOUT;
use hyper::{
    Method, Request, Response, Uri,
    body::Incoming,
    header::{ALLOW, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use std::{convert::Infallible, io, sync::Arc, time::Duration};
use tokio::{
    net::{UnixStream, unix::UCred},
    sync::watch,
};

/// How long no connection is taken where the system refused one: out of descriptors, most likely.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Answers operators until `stop` becomes true. Answers under way are still given.
///
/// # Errors
///
/// The socket can't be joined to the runtime.
pub async fn serve<A: AdminApi>(socket: &AdminSocket, api: Arc<A>, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let listener = socket.listener()?;
    let server = Arc::new(Server { api, routes: routes() });
    let mut slots = ConnectionSlots::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stopped| *stopped) => return Ok(()),
        };
        match accepted {
            Ok((stream, _)) => {
                let slot = tokio::select! {
                    slot = slots.take() => slot.map_err(io::Error::other)?,
                    _ = stop.wait_for(|stopped| *stopped) => return Ok(()),
                };
                let (server, activity) = (Arc::clone(&server), Arc::<Activity>::default());
                let theirs = Arc::clone(&activity);
                let task = tokio::spawn(async move {
                    connection(stream, server, theirs).await;
                    drop(slot);
                });
                slots.note(task.abort_handle(), activity);
            }
            Err(error) => {
                tracing::warn!("an operator's connection failed: {error}");
                tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
            }
        }
    }
}

async fn connection<A: AdminApi>(stream: UnixStream, server: Arc<Server<A>>, activity: Arc<Activity>) {
    let caller = Caller::of(&stream);
    let io = TokioIo::new(TrackedStream::new(stream, Arc::clone(&activity)));
    let service = service_fn(move |request: Request<Incoming>| {
        let (server, activity) = (Arc::clone(&server), Arc::clone(&activity));
        async move {
            activity.asked();
            let response = server.answer(request.method(), request.uri(), &caller).await;
            Ok::<_, Infallible>(response.map(|body| activity.answered(body)))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ADMIN_IDLE_TIMEOUT)
        .serve_connection(io, service);
    if let Err(error) = served.await {
        tracing::debug!("an operator's connection ended early: {error}");
    }
}

/// The table and who answers it.
struct Server<A> {
    api: Arc<A>,
    routes: Vec<Route<A>>,
}

impl<A: AdminApi> Server<A> {
    async fn answer(&self, method: &Method, uri: &Uri, caller: &Caller) -> Response<AdminBody> {
        let Some(path) = below_version(uri.path()) else {
            return of_another_version(uri.path());
        };
        let Some(route) = self.route(method, path) else {
            return self.no_route(path);
        };
        if caller.role < route.role {
            return refused(&forbidden(route.role));
        }
        if route.role > Role::Read {
            log_change(method, path, caller);
        }
        let (responder, response) = Responder::new();
        let (api, respond, caller) = (Arc::clone(&self.api), route.respond, *caller);
        let parameters = uri.query().unwrap_or_default().to_owned();
        tokio::task::spawn_blocking(move || respond(&api, &caller, &parameters, responder));
        response.await.unwrap_or_else(|_| {
            let detail = format!("{method} {path} came to no answer; this is a bug of bootwright, see its log");
            refused(&AdminRefusal::new(RefusalCode::Internal, detail))
        })
    }

    fn route(&self, method: &Method, path: &str) -> Option<&Route<A>> {
        let mut routes = self.routes.iter();
        routes.find(|route| route.path == path && route.method == *method)
    }

    /// No row has this path, or none with this method.
    fn no_route(&self, path: &str) -> Response<AdminBody> {
        let there = self.routes.iter().filter(|route| route.path == path);
        let methods: Vec<&str> = there.map(|route| route.method.as_str()).collect();
        if methods.is_empty() {
            let paths: Vec<String> = self.routes.iter().map(|route| versioned(route.path)).collect();
            let detail = format!("nothing is at {}", versioned(path).escape_debug());
            return refused(
                &AdminRefusal::new(RefusalCode::NotFound, detail).with_help(format!("there is {}", paths.join(", "))),
            );
        }
        let methods = methods.join(", ");
        let detail = format!("{} takes {methods}", versioned(path));
        let mut response = refused(&AdminRefusal::new(RefusalCode::MethodNotAllowed, detail));
        if let Ok(allowed) = HeaderValue::from_str(&methods) {
            response.headers_mut().insert(ALLOW, allowed);
        }
        response
    }
}

/// Who changes what is served is on record.
fn log_change(method: &Method, path: &str, caller: &Caller) {
    let process = caller.process.as_ref();
    let (uid, pid) = (process.map(UCred::uid), process.and_then(UCred::pid));
    tracing::info!(uid, pid, "an operator asked: {method} {path}");
}

fn forbidden(role: Role) -> AdminRefusal {
    let needed = match role {
        Role::Read => "may read",
        Role::Operate => "may operate",
    };
    AdminRefusal::new(RefusalCode::Forbidden, format!("this takes who {needed}"))
}

/// The path as it stands in a URL.
fn versioned(path: &str) -> String {
    format!("/v{API_VERSION}{path}")
}

/// The path below our version; `None` where that is not its beginning.
fn below_version(path: &str) -> Option<&str> {
    let path = path.strip_prefix(&versioned(""))?;
    path.starts_with('/').then_some(path)
}

/// What a client of another version reads: those of before version 1 asked without one, and show
/// `message` and `help`.
#[derive(Serialize)]
struct OtherVersion<'r> {
    #[serde(flatten)]
    refusal: &'r AdminRefusal,
    message: &'r str,
}

fn of_another_version(path: &str) -> Response<AdminBody> {
    let here = format!(
        "this daemon is bootwright {} with API {API_VERSION}",
        env!("CARGO_PKG_VERSION")
    );
    let is_version = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let asked = path.split('/').nth(1).and_then(|first| first.strip_prefix('v'));
    let (detail, help) = match asked.filter(|version| is_version(version)) {
        Some(version) => (
            format!("{here}, and was asked by API {version}"),
            "ask with the `bootwright` of the same version; after an upgrade: systemctl restart bootwright".to_owned(),
        ),
        None => (
            format!("{here}, and was asked for {} without a version", path.escape_debug()),
            format!(
                "ask for {}; a `bootwright` that asks so is older than the daemon: use the one installed with it",
                versioned(path).escape_debug()
            ),
        ),
    };
    let refusal = AdminRefusal::new(RefusalCode::UnsupportedVersion, detail).with_help(help);
    let shown = OtherVersion {
        refusal: &refusal,
        message: &refusal.detail,
    };
    problem(&refusal, &shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::routes::{Answers, Endpoint};

    #[test]
    fn only_what_is_below_our_version_is_ours() {
        assert_eq!(below_version("/v1/status"), Some("/status"));
        for other in ["/status", "/v1", "/v12/status", "/v2/status", "", "/v1status"] {
            assert_eq!(below_version(other), None, "{other}");
        }
    }

    /// Refuses everything that gets as far as to it.
    struct Refusing;

    impl<E: Endpoint> Answers<E> for Refusing {
        fn answer(&self, _: E::Request, _: &Caller) -> Result<E::Response, AdminRefusal> {
            Err(AdminRefusal::new(RefusalCode::Internal, "asked"))
        }
    }

    async fn status(method: Method, path: &'static str, role: Role) -> u16 {
        let server = Server {
            api: Arc::new(Refusing),
            routes: routes(),
        };
        let caller = Caller { role, process: None };
        let response = server.answer(&method, &Uri::from_static(path), &caller).await;
        response.status().as_u16()
    }

    #[tokio::test]
    async fn who_may_only_read_is_not_let_change_what_is_served() {
        assert_eq!(status(Method::GET, "/v1/status", Role::Read).await, 500);
        assert_eq!(status(Method::POST, "/v1/reload", Role::Read).await, 403);
        assert_eq!(status(Method::POST, "/v1/reload", Role::Operate).await, 500);
    }

    #[tokio::test]
    async fn what_is_nowhere_is_told_from_what_takes_another_method_or_version() {
        assert_eq!(status(Method::GET, "/v1/nowhere", Role::Operate).await, 404);
        assert_eq!(status(Method::GET, "/v1/reload", Role::Operate).await, 405);
        assert_eq!(status(Method::GET, "/v2/status", Role::Operate).await, 404);
    }
}
