//! At which switch port a machine was given its address, for hosts that belong to one.
//!
//! Only requests that a relay or a switch passes on tell a port (option 82). What comes later does not: a
//! renewal goes straight to us, and so does whoever asks for a file. For these counts what was told when the
//! address was given. It outlives a restart, because a host renews, and is in the middle of its boot, then too.

use crate::model::{HardwareAddr, Now, WallTime, limits};
use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

/// A switch port as it is remembered: the inventory's name for it, whatever its case. Two names of one
/// inventory are never taken for each other but by a chance of one in 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMark(pub u64);

impl PortMark {
    /// That of a port by its name (FNV-1a, 64 bits).
    pub fn of(port: &str) -> PortMark {
        let bytes = port.bytes().map(|byte| u64::from(byte.to_ascii_lowercase()));
        PortMark(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ byte).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }
}

/// Where a machine was given its address, as it is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRecord {
    /// The address: the record's key.
    pub address: Ipv4Addr,
    /// Whose it is.
    pub client: HardwareAddr,
    /// The port.
    pub port: PortMark,
    /// Until when it counts, by the calendar.
    pub expires: WallTime,
}

#[derive(Clone, Copy, Debug)]
struct Stand {
    client: HardwareAddr,
    port: PortMark,
    /// Monotonic.
    ends: Duration,
}

/// The ports at which addresses were given.
#[derive(Debug, Default)]
pub struct PortsGiven(BTreeMap<Ipv4Addr, Stand>);

impl PortsGiven {
    /// `client` was given `address` at `port`, for `lasting`; what is to be kept of that.
    pub fn note(
        &mut self,
        now: Now,
        (client, address): (HardwareAddr, Ipv4Addr),
        port: PortMark,
        lasting: Duration,
    ) -> PortRecord {
        let lasting = lasting.min(limits::LEASE_LONGEST);
        if self.0.len() >= limits::PORTS_GIVEN_MAX {
            self.0.retain(|_, stand| stand.ends > now.monotonic);
        }
        let ends = now.monotonic + lasting;
        if self.0.len() < limits::PORTS_GIVEN_MAX || self.0.contains_key(&address) {
            self.0.insert(address, Stand { client, port, ends });
        }
        PortRecord {
            address,
            client,
            port,
            expires: WallTime(now.wall.0.saturating_add(lasting.as_secs())),
        }
    }

    /// Who was given `address` at a port, and at which, as long as that counts.
    pub fn at(&self, now: Now, address: Ipv4Addr) -> Option<(HardwareAddr, PortMark)> {
        let stand = self.0.get(&address).filter(|stand| stand.ends > now.monotonic)?;
        Some((stand.client, stand.port))
    }

    /// Puts back what the store kept, as far as it still counts by the calendar.
    pub fn restore(&mut self, now: Now, records: impl IntoIterator<Item = PortRecord>) {
        for record in records {
            let remaining = Duration::from_secs(record.expires.0.saturating_sub(now.wall.0));
            if !remaining.is_zero() {
                self.note(now, (record.client, record.address), record.port, remaining);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MacAddr;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);

    fn now(monotonic_s: u64, wall: u64) -> Now {
        Now {
            monotonic: Duration::from_secs(monotonic_s),
            wall: WallTime(wall),
        }
    }

    #[test]
    fn what_was_told_when_an_address_was_given_counts_as_long_as_its_lease_and_over_a_restart() {
        let client = HardwareAddr::from(MacAddr([2, 0, 0, 0, 0, 1]));
        let port = PortMark::of("sw7/Gi1/7");
        let mut given = PortsGiven::default();
        let record = given.note(now(100, 1000), (client, ADDRESS), port, Duration::from_secs(60));
        assert_eq!(
            given.at(now(159, 1059), ADDRESS),
            Some((client, PortMark::of("SW7/gi1/7")))
        );
        assert_eq!(given.at(now(160, 1060), ADDRESS), None);
        let mut restored = PortsGiven::default();
        restored.restore(now(0, 1050), [record.clone()]);
        assert_eq!(restored.at(now(9, 1059), ADDRESS), Some((client, port)));
        assert_eq!(restored.at(now(10, 1060), ADDRESS), None);
        let mut late = PortsGiven::default();
        late.restore(now(0, 1060), [record]);
        assert_eq!(late.at(now(0, 1060), ADDRESS), None);
    }

    #[test]
    fn ports_are_told_apart() {
        let names = ["sw1/Gi1/0/2", "sw1/Gi1/0/1", "sw2/Gi1/0/2", "Gi1/0/2", ""];
        for (at, name) in names.iter().enumerate() {
            for other in &names[at + 1..] {
                assert_ne!(PortMark::of(name), PortMark::of(other));
            }
        }
    }
}
