//! Why a storm does not begin.

use super::packets::SERVER_PORT;
use crate::model::{
    MacAddr,
    limits::{STORM_MACHINES_MAX, STORM_POWER_CYCLES_MAX, STORM_TIME_MAX},
};
use std::{error::Error, fmt, io, net::Ipv4Addr};

/// Which bound a plan is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// That is not the address of one server.
    NotOneServer(Ipv4Addr),
    /// The server is this host itself.
    OwnAddress(Ipv4Addr),
    /// So many machines are none, or too many.
    Machines(u32),
    /// It takes too long, or machines power on when its time is over.
    Time,
    /// A machine that gave up is powered on too often.
    PowerCycles(u32),
    /// More machines are to fail than there are, or such are to be powered on again.
    Faults,
    /// The MACs from there on could be real machines'.
    Macs(MacAddr),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlanError::NotOneServer(server) => write!(
                f,
                "{server} is not the address of one server; name your appliance's own, such as 192.0.2.1"
            ),
            PlanError::OwnAddress(server) => write!(
                f,
                "{server} is an address of this host: a storm comes from another one, or from another network namespace"
            ),
            PlanError::Machines(machines) => write!(f, "{machines} machines: a storm has 1 to {STORM_MACHINES_MAX}"),
            PlanError::Time => write!(
                f,
                "a storm takes {} s at most, and all of its machines power on before its time is over",
                STORM_TIME_MAX.as_secs()
            ),
            PlanError::PowerCycles(cycles) => write!(
                f,
                "{cycles} power cycles: a machine that gave up is powered on again {STORM_POWER_CYCLES_MAX} times at most"
            ),
            PlanError::Faults => f.write_str(
                "as many machines can fail as there are, and none of a storm with faults is powered on again",
            ),
            PlanError::Macs(first) => write!(
                f,
                "{first}: the machines' MACs must be locally administered, so that none is a real machine's; begin at 02:00:00:00:00:01"
            ),
        }
    }
}

impl Error for PlanError {}

/// Why a storm does not begin.
#[derive(Debug)]
pub enum StormError {
    /// The plan is over its bounds.
    Plan(PlanError),
    /// The relay's port is not to be had.
    Port {
        /// The relay's address.
        relay: Ipv4Addr,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives no packet socket.
    NoPacketSocket(io::Error),
}

impl fmt::Display for StormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StormError::Plan(error) => error.fmt(f),
            StormError::Port { relay, source } => write!(
                f,
                "{relay} port {SERVER_PORT}: {source}; a relay's answers come there: be root, stop what listens there, \
                 and give this host the address"
            ),
            StormError::NoPacketSocket(error) => write!(
                f,
                "no packet socket: {error}; be root (CAP_NET_RAW), or let the relay read datagrams (--reads datagrams)"
            ),
        }
    }
}

impl Error for StormError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StormError::Plan(error) => Some(error),
            StormError::Port { source, .. } => Some(source),
            StormError::NoPacketSocket(error) => Some(error),
        }
    }
}

impl From<PlanError> for StormError {
    fn from(error: PlanError) -> StormError {
        StormError::Plan(error)
    }
}
