//! The table of the API: a row an endpoint. Both ends of the socket go by it.

use super::{
    api::{
        AdminRefusal, ArmRequest, Armed, AttemptFilter, AttemptStatus, DisarmRequest, Disarmed, EventFilter, EventLine,
        Explanation, GenerationFilter, GenerationStatus, HostFilter, HostStatus, LeaseStatus, NoParameters,
        PacketFilter, PlanBasis, QuestionWords, RecordedPackets, ReloadAccepted, RenderRequest, RenderedText,
        RollbackRequest, RolledBack, Status,
    },
    query,
    response::{Document, Lines, Responder, Response},
};
use hyper::Method;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::{UnixStream, unix::UCred};

/// What a caller may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// See how things are.
    Read,
    /// Change what is served.
    Operate,
}

/// Who asks, as far as the socket tells.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    pub(super) role: Role,
    /// The process that connected.
    pub(super) process: Option<UCred>,
}

impl Caller {
    /// Whom the socket's file lets in may operate: its mode is the check, and there is no finer one.
    pub(super) fn of(stream: &UnixStream) -> Caller {
        Caller {
            role: Role::Operate,
            process: stream.peer_cred().ok(),
        }
    }

    /// Its user.
    pub fn uid(&self) -> Option<u32> {
        self.process.as_ref().map(UCred::uid)
    }
}

/// A row of the table.
pub trait Endpoint {
    /// Its method.
    const METHOD: Method;
    /// Its path below the version.
    const PATH: &'static str;
    /// Who may ask.
    const ROLE: Role;
    /// What it takes: the parameters of the URL, each a list of texts.
    type Request: Serialize + DeserializeOwned;
    /// What it answers: a [`Document`] or [`Lines`].
    type Response: Response;
}

/// What answers an endpoint. It is asked on a thread that may block.
pub trait Answers<E: Endpoint> {
    /// The answer, or why there is none.
    ///
    /// # Errors
    /// Whatever the endpoint refuses.
    fn answer(&self, request: E::Request, caller: &Caller) -> Result<E::Response, AdminRefusal>;
}

macro_rules! endpoints {
    ($($(#[$what:meta])* $name:ident: $method:ident $path:literal, $role:ident, $request:ty => $response:ty;)+) => {
        $(
            $(#[$what])*
            #[derive(Debug)]
            pub enum $name {}

            impl Endpoint for $name {
                const METHOD: Method = Method::$method;
                const PATH: &'static str = $path;
                const ROLE: Role = Role::$role;
                type Request = $request;
                type Response = $response;
            }
        )+

        /// Whoever answers every endpoint.
        pub trait AdminApi: $(Answers<$name> +)+ Send + Sync + 'static {}

        impl<A: $(Answers<$name> +)+ Send + Sync + 'static> AdminApi for A {}

        /// Every row, and who answers it.
        pub(super) fn routes<A: AdminApi>() -> Vec<Route<A>> {
            vec![$(Route::of::<$name>()),+]
        }
    };
}

endpoints! {
    // endpoint: method path, role, request => response;
    /// How the daemon is.
    GetStatus: GET "/status", Read, NoParameters => Document<Status>;
    /// The hosts of the generation in force.
    GetHosts: GET "/hosts", Read, HostFilter => Lines<HostStatus>;
    /// The leases that run, by the clock that can't be set.
    GetLeases: GET "/leases", Read, NoParameters => Lines<LeaseStatus>;
    /// What boots came to.
    GetAttempts: GET "/attempts", Read, AttemptFilter => Lines<AttemptStatus>;
    /// What happened to machines in their boots, and what happens.
    GetEvents: GET "/events", Read, EventFilter => Lines<EventLine>;
    /// What the flight recorder has of a machine. Whoever may read packets sees what machines are told.
    GetPackets: GET "/packets", Operate, PacketFilter => Document<RecordedPackets>;
    /// What a candidate inventory is held against. Its values are in it, and not for everybody who may read.
    GetPlanBasis: GET "/plan-basis", Operate, NoParameters => Document<PlanBasis>;
    /// What a host would get for a script or a file of its answer.
    GetRender: GET "/render", Operate, RenderRequest => Document<RenderedText>;
    /// What a machine would be told now, and why.
    GetExplain: GET "/explain", Operate, QuestionWords => Document<Explanation>;
    /// Arms hosts.
    PostArm: POST "/arm", Operate, ArmRequest => Document<Armed>;
    /// Disarms hosts.
    PostDisarm: POST "/disarm", Operate, DisarmRequest => Document<Disarmed>;
    /// What was in force before, and what it changed.
    GetGenerations: GET "/generations", Operate, GenerationFilter => Lines<GenerationStatus>;
    /// Puts an earlier generation in force again.
    PostRollback: POST "/rollback", Operate, RollbackRequest => Document<RolledBack>;
    /// Reads the operator's files again.
    PostReload: POST "/reload", Operate, NoParameters => Document<ReloadAccepted>;
}

/// A row, as the server reads it.
pub(super) struct Route<A> {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) role: Role,
    /// Finds the answer to a request of this caller's with these parameters and gives it. Blocks.
    pub(super) respond: fn(&A, &Caller, &str, Responder),
}

impl<A> Route<A> {
    fn of<E: Endpoint>() -> Route<A>
    where
        A: Answers<E>,
    {
        Route {
            method: E::METHOD,
            path: E::PATH,
            role: E::ROLE,
            respond: |api, caller, parameters, responder| {
                let answered = query::read(parameters).and_then(|request| api.answer(request, caller));
                match answered {
                    Ok(response) => response.give(responder),
                    Err(refusal) => responder.refuse(&refusal),
                }
            },
        }
    }
}
