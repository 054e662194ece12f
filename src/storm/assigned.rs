//! Which machine of the fleet has which address: no server may give one to two.

use crate::model::MacAddr;
use crate::proto::dhcp::client::ServerReply;
use std::{collections::HashMap, net::Ipv4Addr, time::Duration};

/// The addresses that the fleet has, as far as it knows.
#[derive(Debug, Default)]
pub(super) struct AssignedAddresses(HashMap<Ipv4Addr, (MacAddr, Duration)>);

impl AssignedAddresses {
    /// Takes an ACK that came now.
    ///
    /// # Errors
    /// When another machine has the address and its lease has not ended: that machine.
    pub(super) fn take(&mut self, now: Duration, answer: &ServerReply) -> Result<(), MacAddr> {
        match self.0.get(&answer.address) {
            Some((other, until)) if *other != answer.mac && now < *until => Err(*other),
            Some(_) | None => {
                self.0.insert(answer.address, (answer.mac, now + answer.lease));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::dhcp::client::ServerReplyKind;

    fn ack(machine: u8, address: u8) -> ServerReply {
        ServerReply {
            kind: ServerReplyKind::Ack,
            xid: 7,
            mac: MacAddr([2, 0, 0, 0, 0, machine]),
            address: Ipv4Addr::new(198, 18, 1, address),
            next_server: Ipv4Addr::UNSPECIFIED,
            server: Ipv4Addr::new(192, 0, 2, 1),
            boot_file: None,
            lease: Duration::from_secs(60),
        }
    }

    #[test]
    fn an_address_is_one_machines_until_its_lease_ends() {
        let mut given = AssignedAddresses::default();
        let at = Duration::from_secs;
        assert_eq!(given.take(at(0), &ack(1, 7)), Ok(()));
        assert_eq!(given.take(at(1), &ack(1, 7)), Ok(()), "firmware, and then iPXE");
        assert_eq!(given.take(at(1), &ack(2, 8)), Ok(()));
        assert_eq!(given.take(at(60), &ack(2, 7)), Err(MacAddr([2, 0, 0, 0, 0, 1])));
        assert_eq!(
            given.take(at(61), &ack(2, 7)),
            Ok(()),
            "the first one's lease has ended"
        );
    }
}
