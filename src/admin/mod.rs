//! The operator's side: HTTP/1.1 with JSON over a Unix socket, and the client that the command
//! line uses on it.
//!
//! | request | answer |
//! |---|---|
//! | `POST /reload` | 200 and an [`api::ReloadAccepted`], or 422 and an [`api::ReloadRefusal`] |
//! | `GET /status` | an [`api::Status`] |
//! | `GET /hosts` | a list of [`api::HostStatus`] |
//! | `GET /leases` | a list of [`api::LeaseStatus`] |
//!
//! Everything else is an [`api::Problem`] with status 404, 405 or 500. Who may open the socket
//! (0660: the owner and its group) may do all of this.
//!
//! This module moves requests and responses; what they mean is the daemon's ([`AdminApi`]).

pub mod api;
pub mod client;
mod server;
mod socket;

pub use server::serve;
pub use socket::{AdminSocket, SocketError};

use api::{HostStatus, LeaseStatus, Problem, ReloadAccepted, ReloadRefusal, Status};

/// What the daemon answers an operator. All but `reload` may block for some milliseconds.
pub trait AdminApi: Send + Sync + 'static {
    /// Reads the operator's files again.
    fn reload(&self) -> impl Future<Output = Result<ReloadAccepted, ReloadRefusal>> + Send;
    /// How the daemon is.
    fn status(&self) -> Result<Status, Problem>;
    /// The hosts of the generation in force.
    fn hosts(&self) -> Result<Vec<HostStatus>, Problem>;
    /// The leases that run, by the clock that nobody can set.
    fn leases(&self) -> Result<Vec<LeaseStatus>, Problem>;
}
