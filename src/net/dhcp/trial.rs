//! Offers that wait until a probe finds their address unused, and declines whose cause a probe finds.

use super::{DhcpServer, answer::Answer};
use crate::boot::{
    engine::{Ingress, Outcome, Trial},
    event::{Event, Step},
};
use crate::model::{MacAddr, Probe, limits::PROBES_PER_REQUEST_MAX};
use crate::net::{Counter, probe::Found, report};
use crate::proto::dhcp::Request;
use std::{net::Ipv4Addr, sync::Arc};

impl DhcpServer {
    /// Sends the offer of `outcome` when a probe finds its address unused. Where somebody uses it, the
    /// address is out of use as if a client had declined it, and another one is tried.
    pub(super) async fn try_out(self: Arc<Self>, asked: (Ingress, Request), outcome: Outcome) {
        let client = asked.1.hardware;
        let mut first = Some(outcome);
        for _ in 0..PROBES_PER_REQUEST_MAX {
            let Some(outcome) = first.take().or_else(|| self.decide_anew(&asked)) else {
                break;
            };
            let Some(trial) = outcome.trial else {
                return self.settle(outcome);
            };
            let by = match self.prober.probe(trial, client).await {
                Found::User(by) => by,
                // Better an address that may be in use than none.
                Found::Nobody | Found::NotAsked if self.shared.lease_table().found_unused(client, trial.address) => {
                    return self.settle(outcome);
                }
                Found::Nobody | Found::NotAsked | Found::AskedAlready => break,
            };
            let now = self.shared.clock.now();
            if !self.shared.lease_table().found_used(now, client, trial.address) {
                break;
            }
            self.shared.counters.count(Counter::DhcpProbeAnswered);
            report(&Event {
                step: Step::InUse {
                    address: trial.address,
                    by,
                },
                ..outcome.event
            });
        }
        self.shared.counters.count(Counter::DhcpIgnored);
    }

    /// Says, where that is news, that a host declines its own address, and who uses it: that one is asked.
    /// Where it can't be asked, the next DECLINE is news again.
    pub(super) fn disputed(self: &Arc<Self>, (host, address): (MacAddr, Ipv4Addr), is_relayed: bool, event: Event) {
        let now = self.shared.clock.now();
        if !self.shared.disputes().declined(now, host, address) {
            return;
        }
        let server = Arc::clone(self);
        self.running.spawn(async move {
            let by = if is_relayed { Probe::Ping } else { Probe::Arp };
            let found = server.prober.probe(Trial { address, by }, host.into()).await;
            let by = match found {
                Found::User(by) => by,
                Found::Nobody => None,
                Found::NotAsked | Found::AskedAlready => return server.shared.disputes().unsaid(host),
            };
            report(&Event {
                step: Step::Disputed { address, by },
                ..event
            });
        });
    }

    fn decide_anew(&self, asked: &(Ingress, Request)) -> Option<Outcome> {
        // A DISCOVER changes nothing on disk.
        let (mut outcomes, _) = self.decide(std::slice::from_ref(asked));
        outcomes.pop()
    }

    /// Counts an outcome, and sends what it says.
    fn settle(&self, outcome: Outcome) {
        self.note(&outcome);
        let mut replies = self.replies();
        replies.say(&Answer::of(outcome));
        replies.flush();
    }
}
