//! `GET /leases`: the dynamic leases that have not ended.

use super::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseStatus {
    /// The address.
    pub address: Ipv4Addr,
    /// Whose it is: a link-layer address.
    pub client: String,
    /// The host of that MAC, if one is listed.
    pub host: Option<String>,
    /// When it ends.
    pub expires: Timestamp,
}
