//! DHCP as a client: DISCOVER, OFFER, REQUEST, ACK, with the clocks of real firmware.

use super::report::FailureCause;
use crate::proto::dhcp::client::{AcceptedOffer, ClientKind, ClientMessage, ServerReply, ServerReplyKind};
use std::time::Duration;

/// How long PXE firmware waits for an answer, each time (PXE 2.1, and EDK2).
const FIRMWARE_WAITS_S: &[u64] = &[4, 8, 16, 32];
/// The same of iPXE.
const IPXE_WAITS_S: &[u64] = &[1, 2, 4, 8, 10];

/// One exchange; `message.takes` says how far it is.
#[derive(Clone, Debug)]
pub struct DhcpExchange {
    message: ClientMessage<'static>,
    /// Times the present question was asked.
    asked: usize,
    says: bool,
    deadline: Duration,
    ending: Option<Result<ServerReply, FailureCause>>,
}

impl DhcpExchange {
    /// Begins with a DISCOVER.
    pub fn begin(now: Duration, message: ClientMessage<'static>) -> DhcpExchange {
        let mut exchange = DhcpExchange {
            message,
            asked: 0,
            says: false,
            deadline: now,
            ending: None,
        };
        exchange.ask(now);
        exchange
    }

    fn waits(&self) -> &'static [u64] {
        match self.message.client {
            ClientKind::Firmware | ClientKind::HttpFirmware | ClientKind::UBoot => FIRMWARE_WAITS_S,
            // A system is as impatient as iPXE is.
            ClientKind::Ipxe | ClientKind::BareIpxe | ClientKind::System => IPXE_WAITS_S,
        }
    }

    fn ask(&mut self, now: Duration) {
        match self.waits().get(self.asked) {
            Some(wait_s) => {
                self.asked += 1;
                self.says = true;
                self.deadline = now + Duration::from_secs(*wait_s);
            }
            None if self.message.takes.is_some() => self.ending = Some(Err(FailureCause::NoAck)),
            None => self.ending = Some(Err(FailureCause::NoOffer)),
        }
    }

    /// The packet that is to be sent now, if there is one.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.says).then(|| self.message.encode())
    }

    /// Takes an answer; one to another client, transaction or question says nothing.
    pub fn handle(&mut self, now: Duration, answer: ServerReply) {
        if self.ending.is_some() || answer.xid != self.message.xid || answer.mac != self.message.mac {
            return;
        }
        match (answer.kind, self.message.takes) {
            (ServerReplyKind::Offer, None) if !answer.address.is_unspecified() => {
                self.message.takes = Some(AcceptedOffer {
                    address: answer.address,
                    server: answer.server,
                });
                self.asked = 0;
                self.ask(now);
            }
            (ServerReplyKind::Ack, Some(taken)) if taken.server == answer.server && taken.address == answer.address => {
                self.ending = Some(Ok(answer));
            }
            (ServerReplyKind::Nak, Some(taken)) if taken.server == answer.server => {
                self.ending = Some(Err(FailureCause::Nak));
            }
            (ServerReplyKind::Offer | ServerReplyKind::Ack | ServerReplyKind::Nak, _) => {}
        }
    }

    /// Takes the time: what waited too long is asked again, or the server is given up.
    pub fn handle_timeout(&mut self, now: Duration) {
        if now >= self.deadline && self.ending.is_none() {
            self.ask(now);
        }
    }

    /// When [`DhcpExchange::handle_timeout`] wants to be called.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// How it ended, if it did: with the ACK, or not.
    pub fn ending(&self) -> Option<&Result<ServerReply, FailureCause>> {
        self.ending.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MacAddr;
    use crate::proto::dhcp::{RequestKind, parse};
    use std::net::Ipv4Addr;

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const GIVEN: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 100);
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn exchange(client: ClientKind) -> DhcpExchange {
        let message = ClientMessage {
            client,
            arch: 7,
            mac: MAC,
            xid: 7,
            relay: Some(Ipv4Addr::new(198, 51, 100, 1)),
            takes: None,
            uuid: None,
            circuit_id: None,
        };
        DhcpExchange::begin(Duration::ZERO, message)
    }

    fn answer(kind: ServerReplyKind) -> ServerReply {
        ServerReply {
            kind,
            xid: 7,
            mac: MAC,
            address: GIVEN,
            next_server: SERVER,
            server: SERVER,
            boot_file: Some(b"snponly.efi".to_vec()),
            lease: Duration::from_secs(3600),
        }
    }

    fn sent(exchange: &mut DhcpExchange) -> Option<RequestKind> {
        exchange.poll_transmit().map(|bytes| parse(&bytes).unwrap().kind)
    }

    #[test]
    fn an_exchange_is_four_packets() {
        let mut exchange = exchange(ClientKind::Firmware);
        assert_eq!(sent(&mut exchange), Some(RequestKind::Discover));
        exchange.handle(Duration::ZERO, answer(ServerReplyKind::Offer));
        assert_eq!(sent(&mut exchange), Some(RequestKind::Request));
        assert_eq!(sent(&mut exchange), None);
        exchange.handle(Duration::ZERO, answer(ServerReplyKind::Ack));
        assert_eq!(exchange.ending().unwrap().as_ref().unwrap().address, GIVEN);
    }

    /// Seconds from the first packet to each, to a server that says nothing, and what it came to.
    fn alone(mut exchange: DhcpExchange) -> (Vec<u64>, FailureCause) {
        let mut seconds = Vec::new();
        loop {
            let now = exchange.deadline();
            if exchange.poll_transmit().is_some() {
                seconds.push(now.as_secs());
            }
            exchange.handle_timeout(now);
            if let Some(Err(cause)) = exchange.ending() {
                return (seconds, *cause);
            }
        }
    }

    #[test]
    fn a_silent_server_is_asked_by_the_clock_of_the_client_and_then_given_up() {
        // Each moment is the deadline behind the packet.
        assert_eq!(
            alone(exchange(ClientKind::Firmware)),
            (vec![4, 12, 28, 60], FailureCause::NoOffer)
        );
        assert_eq!(
            alone(exchange(ClientKind::Ipxe)),
            (vec![1, 3, 7, 15, 25], FailureCause::NoOffer)
        );
        let mut offered = exchange(ClientKind::Ipxe);
        offered.handle(Duration::ZERO, answer(ServerReplyKind::Offer));
        assert_eq!(alone(offered).1, FailureCause::NoAck);
    }

    #[test]
    fn what_is_for_another_says_nothing_and_a_nak_ends_it() {
        let mut exchange = exchange(ClientKind::Firmware);
        let mut foreign = answer(ServerReplyKind::Offer);
        foreign.xid = 8;
        exchange.handle(Duration::ZERO, foreign);
        exchange.handle(Duration::ZERO, answer(ServerReplyKind::Ack));
        assert_eq!(sent(&mut exchange), Some(RequestKind::Discover));
        assert_eq!(exchange.ending(), None);
        exchange.handle(Duration::ZERO, answer(ServerReplyKind::Offer));
        exchange.handle(Duration::ZERO, answer(ServerReplyKind::Nak));
        assert_eq!(exchange.ending(), Some(&Err(FailureCause::Nak)));
    }
}
