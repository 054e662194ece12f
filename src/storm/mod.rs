//! A virtual fleet against one's own appliance: machines with MACs of their own that do the real
//! boot chain at once, and say what each stage took and why a machine did not come up.
//!
//! Owns the clients' half of the chain. What decides is pure and is handed the time: [`exchange`]
//! (DHCP), [`script`] (what an iPXE script fetches) and [`machine`] (the order of it all); what
//! talks is [`fleet`] with its carriers. Knows nothing of our servers: it meets dnsmasq and nginx as
//! it meets us.
//!
//! The fleet stands behind a relay, which is this host: its DHCP goes to one server's port 67 with a
//! `giaddr` of ours, so nothing is ever broadcast and no machine on the wire is disturbed. Each
//! machine then speaks from the address it was leased, so the server sees as many clients as there
//! are machines.
//!
//! Real clients also sit out fixed pauses (EDK2 collects offers for 4 s, iPXE waits 2 s for a
//! ProxyDHCP). Those are left out: they would only spread the load. The clocks by which they repeat
//! themselves are kept.

mod assigned;
mod dhcp;
pub mod exchange;
pub mod file_url;
pub mod fleet;
mod http;
pub mod machine;
pub mod packets;
pub mod progress;
pub mod report;
pub mod script;
mod tftp;

use crate::model::{
    MacAddr,
    limits::{STORM_MACHINES_MAX, STORM_POWER_CYCLES_MAX, STORM_TIME_MAX},
};
use std::{fmt, net::Ipv4Addr, time::Duration};

/// The firmware that the machines play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetFirmware {
    /// A BIOS with a PXE ROM: TFTP in lock-step.
    Bios,
    /// EDK2: it asks a file's size first, and for windows of four blocks.
    Uefi,
}

impl FleetFirmware {
    /// Option 93.
    pub fn arch(self) -> u16 {
        match self {
            FleetFirmware::Bios => 0,
            FleetFirmware::Uefi => 7,
        }
    }
}

/// How the relay hears answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayMode {
    /// By packets, as real relays and clients do.
    Packets,
    /// By the datagrams of its socket.
    Datagrams,
}

/// A storm as it was asked for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The only address that is ever spoken to.
    pub server: Ipv4Addr,
    /// Our own address, the relay's: where DHCP answers go.
    pub relay: Ipv4Addr,
    /// How those are heard.
    pub relay_mode: RelayMode,
    /// How many machines.
    pub machines: u32,
    /// The first machine's MAC; the others count up from it.
    pub mac_first: MacAddr,
    /// What they play.
    pub firmware: FleetFirmware,
    /// From the first power-on to the last.
    pub spread: Duration,
    /// When machines that are not up yet are given up.
    pub time_limit: Duration,
    /// How often a machine that gave up is powered on again, as whoever stands beside it would.
    pub power_cycles: u32,
}

/// Why a storm does not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError(String);

impl PlanError {
    pub(crate) fn new(why: impl Into<String>) -> PlanError {
        PlanError(why.into())
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PlanError {}

/// The locally administered bit of a MAC: no maker gives such addresses out.
const LOCALLY_ADMINISTERED: u8 = 2;

impl Plan {
    /// Holds the plan against its bounds.
    ///
    /// # Errors
    /// When the server is not one address, when a MAC could be a real machine's, or when there are
    /// more machines, time or power cycles than a storm may take.
    pub fn check(&self) -> Result<(), PlanError> {
        let server = self.server;
        if server.is_unspecified() || server.is_multicast() || server.is_broadcast() {
            return Err(PlanError(format!(
                "{server} is not the address of one server; name your appliance's own, such as 192.0.2.1"
            )));
        }
        if self.relay == server {
            return Err(PlanError(format!(
                "{server} is an address of this host: a storm comes from another one, or from another network namespace"
            )));
        }
        if !(1..=STORM_MACHINES_MAX).contains(&self.machines) {
            return Err(PlanError(format!(
                "{} machines: a storm has 1 to {STORM_MACHINES_MAX}",
                self.machines
            )));
        }
        if self.time_limit > STORM_TIME_MAX || self.spread >= self.time_limit {
            return Err(PlanError(format!(
                "a storm takes {} s at most, and all of its machines power on before its time is over",
                STORM_TIME_MAX.as_secs()
            )));
        }
        if self.power_cycles > STORM_POWER_CYCLES_MAX {
            return Err(PlanError(format!(
                "{} power cycles: a machine that gave up is powered on again {STORM_POWER_CYCLES_MAX} times at most",
                self.power_cycles
            )));
        }
        let [first, last] = [0, self.machines - 1].map(|index| self.mac(index).0[0]);
        if first & LOCALLY_ADMINISTERED == 0 || self.mac_first.is_multicast() || first != last {
            return Err(PlanError(format!(
                "{}: the machines' MACs must be locally administered, so that none is a real machine's; begin at 02:00:00:00:00:01",
                self.mac_first
            )));
        }
        Ok(())
    }

    /// A machine's MAC.
    pub fn mac(&self, index: u32) -> MacAddr {
        let [a, b, c, d, e, f] = self.mac_first.0;
        let sum = u64::from_be_bytes([0, 0, a, b, c, d, e, f]) + u64::from(index);
        let [_, _, a, b, c, d, e, f] = sum.to_be_bytes();
        MacAddr([a, b, c, d, e, f])
    }

    /// When a machine powers on, from the storm's beginning.
    pub fn power_on(&self, index: u32) -> Duration {
        self.spread * index / self.machines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            server: Ipv4Addr::new(192, 0, 2, 1),
            relay: Ipv4Addr::new(198, 51, 100, 1),
            relay_mode: RelayMode::Packets,
            machines: 1000,
            mac_first: MacAddr([2, 0, 0, 0, 0, 1]),
            firmware: FleetFirmware::Uefi,
            spread: Duration::from_secs(10),
            time_limit: Duration::from_secs(600),
            power_cycles: 0,
        }
    }

    fn refused(change: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = plan();
        change(&mut plan);
        plan.check().is_err()
    }

    #[test]
    fn only_one_server_by_its_address_is_stormed() {
        assert_eq!(plan().check(), Ok(()));
        for address in [[0, 0, 0, 0], [255, 255, 255, 255], [224, 0, 0, 1]] {
            assert!(refused(|plan| plan.server = address.into()), "{address:?}");
        }
        assert!(refused(|plan| plan.server = plan.relay));
    }

    #[test]
    fn machines_time_and_power_cycles_are_bounded() {
        assert!(refused(|plan| plan.power_cycles = STORM_POWER_CYCLES_MAX + 1));
        assert!(refused(|plan| plan.machines = 0));
        assert!(refused(|plan| plan.machines = STORM_MACHINES_MAX + 1));
        assert!(refused(|plan| plan.time_limit = STORM_TIME_MAX + Duration::from_secs(1)));
        assert!(refused(|plan| plan.spread = plan.time_limit));
    }

    #[test]
    fn no_mac_can_be_a_real_machines() {
        assert!(refused(|plan| plan.mac_first = MacAddr([0x52 & !2, 0, 0, 0, 0, 1])));
        assert!(refused(|plan| plan.mac_first = MacAddr([3, 0, 0, 0, 0, 1])));
        assert!(refused(|plan| plan.mac_first = MacAddr([2, 255, 255, 255, 255, 255])));
    }

    #[test]
    fn machines_count_up_and_power_on_in_turn() {
        let plan = plan();
        assert_eq!(plan.mac(256).to_string(), "02:00:00:00:01:01");
        assert_eq!(plan.power_on(0), Duration::ZERO);
        assert_eq!(plan.power_on(500), Duration::from_secs(5));
    }
}
