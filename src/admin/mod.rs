//! The operator's side: HTTP/1.1 with JSON over a Unix socket, and the client that the command
//! line uses on it.
//!
//! | request | answer |
//! |---|---|
//! | `POST /reload` | 200 and an [`answer::Accepted`], or 422 and an [`answer::Refusal`] |
//! | `GET /status` | an [`answer::Status`] |
//! | `GET /hosts` | a list of [`answer::Host`] |
//! | `GET /leases` | a list of [`answer::Lease`] |
//!
//! Everything else is an [`answer::Problem`] with status 404, 405 or 500. Who may open the socket
//! (0660: the owner and its group) may do all of this.
//!
//! This room moves questions and answers; what they mean is the daemon's ([`Operator`]).

pub mod answer;
pub mod client;
mod server;
mod socket;

pub use server::serve;
pub use socket::{AdminSocket, SocketError};

use answer::{Accepted, Host, Lease, Problem, Refusal, Status};

/// What the daemon answers an operator. All but `reload` may block for some milliseconds.
pub trait Operator: Send + Sync + 'static {
    /// Reads the operator's files again.
    fn reload(&self) -> impl Future<Output = Result<Accepted, Refusal>> + Send;
    /// How the daemon is.
    fn status(&self) -> Result<Status, Problem>;
    /// The hosts of the generation in force.
    fn hosts(&self) -> Result<Vec<Host>, Problem>;
    /// The leases that run, by the clock that nobody can set.
    fn leases(&self) -> Result<Vec<Lease>, Problem>;
}
