//! The operator's side: HTTP/1.1 with JSON over a Unix socket, and the client that the command
//! line uses on it.
//!
//! Every endpoint is a row of [`routes`]: its method, path and role, what it takes and what it answers. A new
//! one is that row and three files: its types in [`api`], the daemon's answer (`daemon::admin_service`) and its
//! command (`cli`).
//!
//! Paths begin with the version of the API, `/v1/status`. What is asked for is one JSON object, or a JSON object
//! a line of a body that is made while it is sent; a refusal is an [`api::AdminRefusal`], whatever it is about. Times
//! are RFC 3339. Who may open the socket (0660: the owner and its group) may do all of this.
//!
//! This module moves requests and responses; what they mean is the daemon's ([`AdminApi`]).

pub mod api;
pub mod client;
mod connections;
mod query;
mod response;
pub mod routes;
mod server;
mod socket;

pub use response::{Document, Lines};
pub use routes::{AdminApi, Answers, Caller};
pub use server::serve;
pub use socket::{AdminSocket, SocketError};
