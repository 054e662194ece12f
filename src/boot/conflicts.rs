//! Hosts that decline their own address again and again, because another machine uses it.
//!
//! A reservation stays the host's, and a client that checks its address first (dhcpcd, NetworkManager) asks
//! for it anew each second or ten: an offer, an ACK and a DECLINE each time. That is logged once, and then now
//! and then while it goes on.

use crate::boot::{
    event::{Event, Stage, Step},
    identity_cache::RecentMap,
};
use crate::model::{
    MacAddr, Now,
    limits::{CONFLICT_DECLINE_INTERVAL_MAX, CONFLICT_LOG_INTERVAL},
};
use std::{net::Ipv4Addr, time::Duration};

/// The hosts that declined their own address of late.
#[derive(Debug, Default)]
pub struct ReservationConflicts {
    rows: RecentMap<MacAddr, Conflict>,
}

#[derive(Clone, Copy, Debug)]
struct Conflict {
    address: Ipv4Addr,
    /// The last DECLINE, by monotonic time.
    declined: Duration,
    /// When it was logged, if it was.
    logged: Option<Duration>,
}

impl Conflict {
    fn continues(&self, now: Now, address: Ipv4Addr) -> bool {
        self.address == address && now.monotonic.saturating_sub(self.declined) <= CONFLICT_DECLINE_INTERVAL_MAX
    }
}

impl ReservationConflicts {
    /// A host declines its own address. True when that is to be logged.
    pub fn declined(&mut self, now: Now, host: MacAddr, address: Ipv4Addr) -> bool {
        let row = self.rows.get(host).filter(|row| row.continues(now, address));
        let logged = row
            .and_then(|row| row.logged)
            .filter(|logged| now.monotonic.saturating_sub(*logged) < CONFLICT_LOG_INTERVAL);
        let row = Conflict {
            address,
            declined: now.monotonic,
            logged: logged.or(Some(now.monotonic)),
        };
        self.rows.record(host, row);
        logged.is_none()
    }

    /// What was to be logged of a host could not be: its next DECLINE is to be logged.
    pub fn not_logged(&mut self, host: MacAddr) {
        if let Some(row) = self.rows.get(host).copied() {
            self.rows.record(host, Conflict { logged: None, ..row });
        }
    }

    /// Whether an event is one more turn of what was logged. Firmware and loaders don't decline: where one of
    /// them asks, the host boots.
    pub fn is_repeat(&self, now: Now, event: &Event) -> bool {
        let Some(mac) = event.machine.hardware.and_then(|hardware| hardware.mac()) else {
            return false;
        };
        match event.step {
            Step::Offered { address, .. } | Step::Acknowledged { address, .. } if event.stage == Stage::System => {
                let row = self.rows.get(mac);
                row.is_some_and(|row| row.logged.is_some() && row.continues(now, address))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::event::{BootAction, BootDecision, Machine, MachineKey};
    use crate::model::WallTime;

    const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
    const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);

    fn at(seconds: u64) -> Now {
        Now {
            monotonic: Duration::from_secs(seconds),
            wall: WallTime(1_700_000_000),
        }
    }

    fn offered(address: Ipv4Addr) -> Event {
        let boot = BootDecision {
            boot: BootAction::NotFirmware,
            mismatch: None,
        };
        Event {
            at: at(0),
            machine: Machine {
                key: MachineKey::Host("r1u07".parse().unwrap()),
                hardware: Some(HOST.into()),
                ..Machine::default()
            },
            stage: Stage::System,
            quirks: Default::default(),
            step: Step::Offered { address, boot },
        }
    }

    #[test]
    fn a_row_of_declines_is_logged_once_and_again_while_it_goes_on() {
        let mut conflicts = ReservationConflicts::default();
        let logged = (0..1300).filter(|second| conflicts.declined(at(*second), HOST, OWN));
        assert_eq!(logged.collect::<Vec<_>>(), [0, 600, 1200]);
    }

    #[test]
    fn what_could_not_be_logged_is_logged_at_the_next_decline() {
        let mut conflicts = ReservationConflicts::default();
        assert!(conflicts.declined(at(1), HOST, OWN));
        conflicts.not_logged(HOST);
        assert!(!conflicts.is_repeat(at(2), &offered(OWN)));
        assert!(conflicts.declined(at(3), HOST, OWN));
        assert!(!conflicts.declined(at(4), HOST, OWN));
    }

    #[test]
    fn what_belongs_to_the_row_is_known_until_it_ends_and_nothing_else_is() {
        let mut conflicts = ReservationConflicts::default();
        assert!(!conflicts.is_repeat(at(1), &offered(OWN)));
        conflicts.declined(at(1), HOST, OWN);
        assert!(conflicts.is_repeat(at(2), &offered(OWN)));
        assert!(!conflicts.is_repeat(at(2), &offered(Ipv4Addr::new(192, 0, 2, 12))));
        let booting = Event {
            stage: Stage::UefiPxe,
            ..offered(OWN)
        };
        assert!(!conflicts.is_repeat(at(2), &booting), "the host was switched on anew");
        let over = at(2 + CONFLICT_DECLINE_INTERVAL_MAX.as_secs());
        assert!(!conflicts.is_repeat(over, &offered(OWN)));
        assert!(conflicts.declined(over, HOST, OWN), "a new row is logged");
    }
}
