//! Offers that wait until a probe finds their address unused, and declines whose cause a probe finds.

use super::{DhcpServer, pending_reply::PendingReply};
use crate::boot::{
    engine::{ConflictProbe, Ingress, Outcome},
    event::{Event, Reason, Step},
};
use crate::model::{MacAddr, Probe, limits::PROBES_PER_REQUEST_MAX};
use crate::net::probe::ProbeResult;
use crate::proto::dhcp::Request;
use crate::state::Counter;
use std::{net::Ipv4Addr, sync::Arc};

impl DhcpServer {
    /// Sends the offer of `outcome` when a probe finds its address unused. Where another machine uses it, the
    /// address is out of use as if a client had declined it, and another one is tried.
    pub(super) async fn probe_then_offer(self: Arc<Self>, asked: (Ingress, Request), outcome: Outcome) {
        let client = asked.1.hardware;
        let undecided = |event: &Event, address| Event {
            step: Step::Ignored {
                reason: Reason::ProbeUndecided { address },
            },
            ..event.clone()
        };
        let mut ignored = None;
        let mut first = Some(outcome);
        for _ in 0..PROBES_PER_REQUEST_MAX {
            let Some(outcome) = first.take().or_else(|| self.decide_again(&asked)) else {
                break;
            };
            let Some(probe) = outcome.probe else {
                return self.send_outcome(outcome);
            };
            ignored = Some(undecided(&outcome.event, probe.address));
            let by = match self.prober.probe(probe, client).await {
                ProbeResult::InUse(by) => by,
                // Better an address that may be in use than none.
                ProbeResult::Unused | ProbeResult::NotSent
                    if self.shared.lease_table().probe_passed(client, probe.address) =>
                {
                    return self.send_outcome(outcome);
                }
                ProbeResult::Unused | ProbeResult::NotSent | ProbeResult::AlreadyProbing => break,
            };
            let now = self.shared.clock.now();
            if !self.shared.lease_table().conflict_found(now, client, probe.address) {
                break;
            }
            self.shared.counters.count(Counter::DhcpProbeConflict);
            self.shared.publish(Event {
                step: Step::AddressInUse {
                    address: probe.address,
                    by,
                },
                ..outcome.event
            });
        }
        self.shared.counters.count(Counter::DhcpIgnored);
        if let Some(event) = ignored {
            self.shared.publish(event);
        }
    }

    /// Says, where that is news, that a host declines its own address, and who uses it: that one is asked.
    /// Where it can't be asked, the next DECLINE is news again.
    pub(super) fn reservation_conflict(
        self: &Arc<Self>,
        (host, address): (MacAddr, Ipv4Addr),
        is_relayed: bool,
        event: Event,
    ) {
        let now = self.shared.clock.now();
        if !self.shared.events.conflicts().declined(now, host, address) {
            return;
        }
        let server = Arc::clone(self);
        self.tasks.spawn(async move {
            let by = if is_relayed { Probe::Ping } else { Probe::Arp };
            let found = server.prober.probe(ConflictProbe { address, by }, host.into()).await;
            let by = match found {
                ProbeResult::InUse(by) => by,
                ProbeResult::Unused => None,
                ProbeResult::NotSent | ProbeResult::AlreadyProbing => {
                    return server.shared.events.conflicts().not_logged(host);
                }
            };
            server.shared.publish(Event {
                step: Step::ReservationConflict { address, by },
                ..event
            });
        });
    }

    fn decide_again(&self, asked: &(Ingress, Request)) -> Option<Outcome> {
        // A DISCOVER changes nothing on disk.
        let (mut outcomes, _) = self.decide(std::slice::from_ref(asked));
        outcomes.pop()
    }

    /// Counts an outcome, and sends what it says.
    fn send_outcome(&self, outcome: Outcome) {
        self.note(&outcome);
        let mut replies = self.replies();
        replies.say(PendingReply::of(outcome));
        replies.flush();
    }
}
