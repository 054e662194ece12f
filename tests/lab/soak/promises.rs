//! What machines were promised: the addresses that they saw acknowledged, and until when. Whoever else gets
//! one before that, or does not find it again, was lied to.

use crate::daemon::expiry_s;
use serde_json::Value;
use std::{
    collections::HashMap,
    net::Ipv4Addr,
    time::{Duration, Instant, UNIX_EPOCH},
};

/// Near a lease's end both sides may differ by the time that an answer takes.
const NEAR: Duration = Duration::from_secs(30);

/// One client's acknowledged lease.
pub struct Acknowledged {
    pub mac: String,
    pub address: Ipv4Addr,
    /// When it began to ask: its lease counts from then, or from later.
    pub asked: Instant,
    pub heard: Instant,
}

struct Held {
    mac: String,
    until: Instant,
}

/// All of them.
#[derive(Default)]
pub struct Promises {
    by_address: HashMap<Ipv4Addr, Held>,
    /// Acknowledged leases that clients saw.
    pub acknowledged: u64,
}

impl Promises {
    /// Takes what clients saw, in the order in which they saw it; what of it must not be.
    pub fn take(&mut self, lease: Duration, seen: Vec<Acknowledged>) -> Vec<String> {
        let mut broken = Vec::new();
        for one in seen {
            self.acknowledged += 1;
            let moved = self
                .by_address
                .iter()
                .find(|(address, held)| held.mac == one.mac && **address != one.address && held.until > one.heard)
                .map(|(address, _)| *address);
            if let Some(before) = moved {
                broken.push(format!("{} had {before}, and was given {}", one.mac, one.address));
            }
            let held = Held {
                mac: one.mac.clone(),
                until: one.asked + lease,
            };
            if let Some(before) = self.by_address.insert(one.address, held)
                && before.mac != one.mac
                && before.until > one.heard
            {
                broken.push(format!(
                    "address twice: {} was given to {} and is still {}'s",
                    one.address, one.mac, before.mac
                ));
            }
        }
        broken
    }

    /// Holds the daemon's list against them, and learns the leases of machines that no client here saw.
    pub fn hold_against(&mut self, leases: &Value) -> Vec<String> {
        let now = Instant::now();
        let wall = UNIX_EPOCH.elapsed().expect("later than 1970");
        let (mut broken, mut listed) = (Vec::new(), HashMap::new());
        self.by_address.retain(|_, held| held.until > now);
        for lease in leases.as_array().expect("a list of leases") {
            let address: Ipv4Addr = lease["address"]
                .as_str()
                .and_then(|text| text.parse().ok())
                .expect("an address");
            let client = lease["client"].as_str().expect("a client").to_owned();
            if let Some(other) = listed.insert(address, client.clone()) {
                broken.push(format!("listed twice: {address} is {other}'s and {client}'s"));
            }
            let left = Duration::from_secs(expiry_s(lease)).saturating_sub(wall);
            self.by_address.entry(address).or_insert(Held {
                mac: client,
                until: now + left,
            });
        }
        for (address, held) in self.by_address.iter().filter(|(_, held)| held.until > now + NEAR) {
            match listed.get(address) {
                Some(client) if *client == held.mac => {}
                Some(client) => broken.push(format!("{address} is {}'s, and listed as {client}'s", held.mac)),
                None => broken.push(format!("lease lost: {address} of {} is not listed", held.mac)),
            }
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bootwright::{admin::api::Timestamp, model::WallTime};
    use serde_json::json;

    const LEASE: Duration = Duration::from_secs(600);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 7);

    fn seen(mac: &str, address: Ipv4Addr, at: Instant) -> Vec<Acknowledged> {
        let (mac, asked, heard) = (mac.to_owned(), at, at + Duration::from_millis(3));
        vec![Acknowledged {
            mac,
            address,
            asked,
            heard,
        }]
    }

    fn listed(rows: &[(&str, Ipv4Addr)]) -> Value {
        let expires = WallTime(UNIX_EPOCH.elapsed().unwrap().as_secs() + LEASE.as_secs());
        let expires = Timestamp::from(expires);
        let row =
            |(client, address): &(&str, Ipv4Addr)| json!({ "address": address, "client": client, "expires": expires });
        rows.iter().map(row).collect()
    }

    #[test]
    fn an_address_is_anothers_only_when_its_lease_is_over() {
        let (mut promises, now) = (Promises::default(), Instant::now());
        assert_eq!(promises.take(LEASE, seen("a", ADDRESS, now)), [""; 0]);
        assert_eq!(promises.take(LEASE, seen("a", ADDRESS, now)), [""; 0], "a renewal");
        let broken = promises.take(LEASE, seen("b", ADDRESS, now));
        assert_eq!(broken.len(), 1);
        assert!(broken[0].starts_with("address twice: 198.18.1.7"), "{broken:?}");
        assert_eq!(promises.take(LEASE, seen("c", ADDRESS, now + LEASE)), [""; 0]);
    }

    #[test]
    fn who_comes_again_finds_its_address() {
        let (mut promises, now) = (Promises::default(), Instant::now());
        promises.take(LEASE, seen("a", ADDRESS, now));
        let broken = promises.take(LEASE, seen("a", Ipv4Addr::new(198, 18, 1, 8), now));
        assert_eq!(broken, ["a had 198.18.1.7, and was given 198.18.1.8"]);
    }

    #[test]
    fn the_daemons_list_has_what_was_acknowledged_and_what_it_had_before() {
        let (mut promises, now) = (Promises::default(), Instant::now());
        let storms = Ipv4Addr::new(198, 19, 1, 1);
        promises.take(LEASE, seen("a", ADDRESS, now));
        assert_eq!(
            promises.hold_against(&listed(&[("a", ADDRESS), ("s", storms)])),
            [""; 0]
        );
        let broken = |rows: &[(&str, Ipv4Addr)]| {
            let mut again = Promises::default();
            again.take(LEASE, seen("a", ADDRESS, now));
            again.hold_against(&listed(&[("a", ADDRESS), ("s", storms)]));
            again.hold_against(&listed(rows)).len()
        };
        assert_eq!(broken(&[("a", ADDRESS)]), 1, "the storm's machine is forgotten");
        assert_eq!(broken(&[("s", storms)]), 1, "the watched one is forgotten");
        assert_eq!(broken(&[("a", ADDRESS), ("t", storms)]), 1, "another has it");
        assert!(
            broken(&[("a", ADDRESS), ("s", storms), ("t", storms)]) >= 1,
            "two have it"
        );
    }
}
