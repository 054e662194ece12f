//! Whether a machine that asks for an IPv6 router is told that none is here.
//!
//! iPXE configures IPv6 beside IPv4, and where no router answers its solicitation it sits between its ACK and
//! its script: 16 s with Debian 12's build, 4 s with those of 2025 and later. One advertisement of no router
//! ends that at once. It goes to machines in their boot alone, and never where a router advertises: that one
//! answers for itself, and a second voice would cut short what it has to say.
//!
//! Whether a router is here is known before a machine asks: a router says so by itself from its start and every half
//! hour at least, and where a link came up we ask for one, and give it the time that it may take. From then on silence
//! means that there is none. Should its word have been lost, a machine that asks has us ask once more beside that.

use crate::model::{
    MacAddr, Now,
    limits::{ROUTER_PROBE_TIMEOUT, ROUTER_PROBE_TTL, ROUTER_TTL, ROUTER_WAITING_MAX},
};
use std::{net::Ipv6Addr, time::Duration};

/// A machine that solicits: its link-layer address and that of its packet.
pub type Solicitor = (MacAddr, Ipv6Addr);

/// What becomes of a solicitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SolicitationAction {
    /// It is told now that there is no router. Where our last question is old, another is due beside that.
    AdvertiseAbsence {
        /// Whether it is.
        probe: bool,
    },
    /// We ask for a router ourselves; [`Routers::take_waiting`] says, after [`ROUTER_PROBE_TIMEOUT`], who is told then.
    ProbeFirst,
    /// The same, and the question is out already.
    Queued,
    /// A router advertises here.
    RouterHere,
    /// It is no machine in its boot.
    NotInBoot,
    /// Too many wait.
    Full,
}

/// What is known of the routers on one link.
#[derive(Debug, Default)]
pub struct Routers {
    /// When one was heard, by monotonic time.
    heard: Option<Duration>,
    /// When we first asked on this link, of which nothing was heard since.
    first_asked: Option<Duration>,
    /// When we asked last.
    asked: Option<Duration>,
    waiting: Vec<Solicitor>,
}

impl Routers {
    /// A router advertises. True when that is news.
    pub fn router_seen(&mut self, now: Now) -> bool {
        let is_news = !self.is_here(now);
        self.heard = Some(now.monotonic);
        self.probe_not_sent();
        is_news
    }

    /// A link came up, or another one: whether we ask for a router now.
    pub fn probe(&mut self, now: Now) -> bool {
        if self.is_here(now) {
            return false;
        }
        self.note_probe(now);
        true
    }

    /// The link was down, or is another one: what our questions came to there says nothing any more.
    pub fn link_changed(&mut self) {
        (self.first_asked, self.asked) = (None, None);
    }

    /// A machine asks for a router.
    pub fn solicited(&mut self, now: Now, who: Solicitor, is_in_boot: bool) -> SolicitationAction {
        if !is_in_boot {
            return SolicitationAction::NotInBoot;
        }
        if self.is_here(now) {
            return SolicitationAction::RouterHere;
        }
        let since = |asked: Option<Duration>| asked.map(|asked| now.monotonic.saturating_sub(asked));
        match since(self.first_asked) {
            Some(first) if first < ROUTER_PROBE_TIMEOUT => self.wait(who),
            Some(_) => {
                let probe = since(self.asked).is_none_or(|last| last >= ROUTER_PROBE_TTL);
                if probe {
                    self.note_probe(now);
                }
                SolicitationAction::AdvertiseAbsence { probe }
            }
            None => {
                self.note_probe(now);
                self.waiting.clear();
                self.waiting.push(who);
                SolicitationAction::ProbeFirst
            }
        }
    }

    /// Who waited for our own question, which no router has answered.
    pub fn take_waiting(&mut self) -> Vec<Solicitor> {
        std::mem::take(&mut self.waiting)
    }

    /// Our own question could not be sent: it is to be asked again, and who waited for it is told nothing.
    pub fn probe_not_sent(&mut self) {
        self.link_changed();
        self.waiting.clear();
    }

    fn note_probe(&mut self, now: Now) {
        self.first_asked.get_or_insert(now.monotonic);
        self.asked = Some(now.monotonic);
    }

    fn wait(&mut self, who: Solicitor) -> SolicitationAction {
        if self.waiting.contains(&who) {
            return SolicitationAction::Queued;
        }
        if self.waiting.len() >= ROUTER_WAITING_MAX {
            return SolicitationAction::Full;
        }
        self.waiting.push(who);
        SolicitationAction::Queued
    }

    fn is_here(&self, now: Now) -> bool {
        self.heard
            .is_some_and(|heard| now.monotonic.saturating_sub(heard) < ROUTER_TTL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WallTime;

    fn at(monotonic: Duration) -> Now {
        Now {
            monotonic,
            wall: WallTime(1_700_000_000),
        }
    }

    fn machine(last: u8) -> Solicitor {
        (MacAddr([2, 0, 0, 0, 0, last]), Ipv6Addr::LOCALHOST)
    }

    const START: Duration = Duration::from_secs(100);

    const KNOWN_ABSENT: SolicitationAction = SolicitationAction::AdvertiseAbsence { probe: false };

    #[test]
    fn the_first_waits_for_our_own_question_and_the_next_are_told_at_once() {
        let mut routers = Routers::default();
        assert_eq!(
            routers.solicited(at(START), machine(1), true),
            SolicitationAction::ProbeFirst
        );
        let meanwhile = at(START + ROUTER_PROBE_TIMEOUT / 2);
        assert_eq!(
            routers.solicited(meanwhile, machine(2), true),
            SolicitationAction::Queued
        );
        assert_eq!(
            routers.solicited(meanwhile, machine(1), true),
            SolicitationAction::Queued
        );
        assert_eq!(routers.take_waiting(), [machine(1), machine(2)]);
        let later = at(START + ROUTER_PROBE_TIMEOUT);
        assert_eq!(routers.solicited(later, machine(3), true), KNOWN_ABSENT);
    }

    #[test]
    fn who_asks_long_after_our_question_is_told_at_once_and_we_ask_anew_beside_that() {
        let mut routers = Routers::default();
        assert!(routers.probe(at(START)));
        let much_later = at(START + ROUTER_PROBE_TTL);
        assert_eq!(
            routers.solicited(much_later, machine(1), true),
            SolicitationAction::AdvertiseAbsence { probe: true }
        );
        // Nobody waits for that one either.
        assert_eq!(routers.solicited(much_later, machine(2), true), KNOWN_ABSENT);
        assert!(routers.router_seen(much_later));
        assert_eq!(
            routers.solicited(much_later, machine(3), true),
            SolicitationAction::RouterHere
        );
    }

    #[test]
    fn on_a_link_that_went_down_and_up_we_ask_before_anybody_is_told() {
        let mut routers = Routers::default();
        assert!(routers.probe(at(START)));
        let later = START + ROUTER_PROBE_TIMEOUT;
        assert_eq!(routers.solicited(at(later), machine(1), true), KNOWN_ABSENT);
        routers.link_changed();
        assert!(routers.probe(at(later)));
        assert_eq!(
            routers.solicited(at(later), machine(1), true),
            SolicitationAction::Queued
        );
        assert_eq!(routers.take_waiting(), [machine(1)]);
        routers.router_seen(at(later));
        assert!(!routers.probe(at(later)));
    }

    #[test]
    fn where_a_router_advertises_nobody_is_told_that_there_is_none() {
        let mut routers = Routers::default();
        routers.solicited(at(START), machine(1), true);
        assert!(routers.router_seen(at(START)));
        assert_eq!(routers.take_waiting(), []);
        assert!(!routers.router_seen(at(START + ROUTER_PROBE_TIMEOUT)));
        let heard = START + ROUTER_PROBE_TIMEOUT;
        let late = at(heard + ROUTER_TTL - ROUTER_PROBE_TIMEOUT);
        assert_eq!(
            routers.solicited(late, machine(1), true),
            SolicitationAction::RouterHere
        );
        // It has been switched off.
        let gone = at(heard + ROUTER_TTL);
        assert_eq!(
            routers.solicited(gone, machine(1), true),
            SolicitationAction::ProbeFirst
        );
    }

    #[test]
    fn a_running_system_and_a_stranger_are_told_nothing_and_cause_no_question() {
        let mut routers = Routers::default();
        assert_eq!(
            routers.solicited(at(START), machine(1), false),
            SolicitationAction::NotInBoot
        );
        assert_eq!(
            routers.solicited(at(START), machine(2), true),
            SolicitationAction::ProbeFirst
        );
    }

    #[test]
    fn a_question_that_could_not_be_sent_says_nothing_and_is_asked_anew() {
        let mut routers = Routers::default();
        assert_eq!(
            routers.solicited(at(START), machine(1), true),
            SolicitationAction::ProbeFirst
        );
        routers.probe_not_sent();
        assert_eq!(routers.take_waiting(), []);
        let later = at(START + ROUTER_PROBE_TIMEOUT);
        assert_eq!(
            routers.solicited(later, machine(1), true),
            SolicitationAction::ProbeFirst
        );
    }

    #[test]
    fn a_flood_of_solicitors_waits_in_bounded_memory() {
        let mut routers = Routers::default();
        for last in 0..u16::try_from(ROUTER_WAITING_MAX * 2).unwrap() {
            let [high, low] = last.to_be_bytes();
            let who = (MacAddr([2, 0, 0, 0, high, low]), Ipv6Addr::LOCALHOST);
            routers.solicited(at(START), who, true);
        }
        assert_eq!(routers.take_waiting().len(), ROUTER_WAITING_MAX);
    }
}
