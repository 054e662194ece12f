//! A virtual fleet against one's own appliance: machines with MACs of their own that do the real
//! boot chain at once, and say what each stage took and why a machine did not come up.
//!
//! Owns the clients' half of the chain. What decides is pure and is handed the time: [`exchange`]
//! (DHCP) and [`machine`] (the order of it all, by [`crate::proto::ipxe`]); what
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
mod error;
pub mod exchange;
pub mod fault;
pub mod fleet;
mod http;
pub mod machine;
pub mod packets;
pub mod progress;
pub mod report;
mod tftp;

use crate::model::{
    MacAddr,
    limits::{STORM_MACHINES_MAX, STORM_POWER_CYCLES_MAX, STORM_TIME_MAX},
};
pub use error::{PlanError, StormError};
use fault::FaultPlan;
use std::{net::Ipv4Addr, time::Duration};

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
    /// Which machines fail on purpose. Where some do, all others go on to an address of their system, as real ones
    /// do.
    pub faults: FaultPlan,
}

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
            return Err(PlanError::NotOneServer(server));
        }
        if self.relay == server {
            return Err(PlanError::OwnAddress(server));
        }
        if !(1..=STORM_MACHINES_MAX).contains(&self.machines) {
            return Err(PlanError::Machines(self.machines));
        }
        if self.time_limit > STORM_TIME_MAX || self.spread >= self.time_limit {
            return Err(PlanError::Time);
        }
        if self.faults.count > self.machines || (self.faults.count > 0 && self.power_cycles > 0) {
            return Err(PlanError::Faults);
        }
        if self.power_cycles > STORM_POWER_CYCLES_MAX {
            return Err(PlanError::PowerCycles(self.power_cycles));
        }
        let [first, last] = [0, self.machines - 1].map(|index| self.mac(index).0[0]);
        if first & LOCALLY_ADMINISTERED == 0 || self.mac_first.is_multicast() || first != last {
            return Err(PlanError::Macs(self.mac_first));
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
            faults: FaultPlan::default(),
        }
    }

    fn checked(change: impl FnOnce(&mut Plan)) -> Result<(), PlanError> {
        let mut plan = plan();
        change(&mut plan);
        plan.check()
    }

    #[test]
    fn only_one_server_by_its_address_is_stormed() {
        assert_eq!(plan().check(), Ok(()));
        for address in [[0, 0, 0, 0], [255, 255, 255, 255], [224, 0, 0, 1]].map(Ipv4Addr::from) {
            let refused = checked(|plan| plan.server = address);
            assert_eq!(refused, Err(PlanError::NotOneServer(address)));
        }
        let own = plan().relay;
        assert_eq!(checked(|plan| plan.server = own), Err(PlanError::OwnAddress(own)));
    }

    #[test]
    fn machines_time_and_power_cycles_are_bounded() {
        let cycles = STORM_POWER_CYCLES_MAX + 1;
        assert_eq!(
            checked(|plan| plan.power_cycles = cycles),
            Err(PlanError::PowerCycles(cycles))
        );
        for machines in [0, STORM_MACHINES_MAX + 1] {
            let refused = checked(|plan| plan.machines = machines);
            assert_eq!(refused, Err(PlanError::Machines(machines)));
        }
        assert_eq!(checked(|plan| plan.faults.count = 1001), Err(PlanError::Faults));
        assert_eq!(
            checked(|plan| (plan.faults.count, plan.power_cycles) = (1, 1)),
            Err(PlanError::Faults)
        );
        assert_eq!(checked(|plan| plan.faults.count = 1000), Ok(()));
        let too_long = STORM_TIME_MAX + Duration::from_secs(1);
        assert_eq!(checked(|plan| plan.time_limit = too_long), Err(PlanError::Time));
        assert_eq!(checked(|plan| plan.spread = plan.time_limit), Err(PlanError::Time));
    }

    #[test]
    fn no_mac_can_be_a_real_machines() {
        for first in [
            [0x52 & !2, 0, 0, 0, 0, 1],
            [3, 0, 0, 0, 0, 1],
            [2, 255, 255, 255, 255, 255],
        ]
        .map(MacAddr)
        {
            assert_eq!(checked(|plan| plan.mac_first = first), Err(PlanError::Macs(first)));
        }
    }

    #[test]
    fn machines_count_up_and_power_on_in_turn() {
        let plan = plan();
        assert_eq!(plan.mac(256).to_string(), "02:00:00:00:01:01");
        assert_eq!(plan.power_on(0), Duration::ZERO);
        assert_eq!(plan.power_on(500), Duration::from_secs(5));
    }
}
