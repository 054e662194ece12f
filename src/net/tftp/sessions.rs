//! The sessions under way, and who gives way when there is no place for another.
//!
//! A request costs its sender one packet with any source address, and holds a place until its
//! client was given up. So a session whose client was never heard gives its place to a newcomer,
//! the oldest first: forged requests keep nobody from booting, neither all machines at once nor one
//! in whose name they are sent. A client that answered once keeps its place.

use super::session::Request;
use crate::model::limits::{TFTP_TRANSFERS_MAX, TFTP_TRANSFERS_PER_CLIENT_MAX};
use crate::net::places::{Place, Places, affordable};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::mpsc;

/// The sessions under way, by the client's address and port.
#[derive(Clone)]
pub struct Sessions {
    places: Places,
    under_way: Arc<Mutex<UnderWay>>,
}

#[derive(Default)]
struct UnderWay {
    sessions: BTreeMap<SocketAddrV4, Entry>,
    /// Those that may still give way, oldest first; one whose client was heard leaves at a look.
    unheard: BTreeMap<u64, SocketAddrV4>,
    begun: u64,
}

struct Entry {
    mailbox: mpsc::Sender<Request>,
    heard: Heard,
    number: u64,
    _place: Place,
}

/// Whether a session's client ever answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<AtomicBool>);

impl Heard {
    /// It did.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What becomes of a request.
pub(super) enum Admission {
    /// Nothing of that client's port was under way.
    Begin(Ticket),
    /// Its session was told and decides.
    Told,
    /// No place is free.
    Full,
}

/// A session's part in the table; dropping it takes the session out, even when it is cut.
pub(super) struct Ticket {
    sessions: Sessions,
    client: SocketAddrV4,
    number: u64,
    /// Repeated requests of the client; closed when the session must give way.
    pub(super) mailbox: mpsc::Receiver<Request>,
    /// To be set when the client answers.
    pub(super) heard: Heard,
}

impl Default for Sessions {
    fn default() -> Self {
        Sessions::new(affordable(TFTP_TRANSFERS_MAX), TFTP_TRANSFERS_PER_CLIENT_MAX)
    }
}

impl Sessions {
    fn new(all_max: usize, per_client_max: usize) -> Sessions {
        Sessions {
            places: Places::new(all_max, per_client_max),
            under_way: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn admit(&self, client: SocketAddrV4, request: &Request) -> Admission {
        let mut under_way = self.lock();
        if let Some(session) = under_way.sessions.get(&client) {
            if !session.mailbox.is_closed() {
                // A full mailbox holds a request already; one more says nothing new.
                let _ = session.mailbox.try_send(request.clone());
                return Admission::Told;
            }
            let number = session.number;
            under_way.remove(client, number);
        }
        let place = self.places.take(*client.ip()).or_else(|| {
            let gave_way = under_way.displace_of(*client.ip()) || under_way.displace_oldest();
            gave_way.then(|| self.places.take(*client.ip()))?
        });
        let Some(place) = place else {
            return Admission::Full;
        };
        let (sender, mailbox) = mpsc::channel(1);
        let (heard, number) = (Heard::default(), under_way.begun);
        under_way.begun += 1;
        under_way.unheard.insert(number, client);
        let entry = Entry {
            mailbox: sender,
            heard: heard.clone(),
            number,
            _place: place,
        };
        under_way.sessions.insert(client, entry);
        Admission::Begin(Ticket {
            sessions: self.clone(),
            client,
            number,
            mailbox,
            heard,
        })
    }
}

impl UnderWay {
    fn remove(&mut self, client: SocketAddrV4, number: u64) {
        // A successor of the same client's port has another number.
        if self.sessions.get(&client).is_some_and(|entry| entry.number == number) {
            self.sessions.remove(&client);
        }
        self.unheard.remove(&number);
    }

    /// Takes the place of the client's own oldest session that was never answered.
    fn displace_of(&mut self, client: Ipv4Addr) -> bool {
        let ports = SocketAddrV4::new(client, 0)..=SocketAddrV4::new(client, u16::MAX);
        let own = self.sessions.range(ports).filter(|(_, entry)| !entry.heard.is_set());
        let oldest = own.min_by_key(|(_, entry)| entry.number);
        let Some((client, number)) = oldest.map(|(client, entry)| (*client, entry.number)) else {
            return false;
        };
        self.remove(client, number);
        true
    }

    /// Takes the place of the oldest session that was never answered.
    fn displace_oldest(&mut self) -> bool {
        while let Some((number, client)) = self.unheard.pop_first() {
            let unheard = |entry: &Entry| entry.number == number && !entry.heard.is_set();
            if self.sessions.get(&client).is_some_and(unheard) {
                self.remove(client, number);
                return true;
            }
        }
        false
    }
}

impl Ticket {
    /// Ends the session, unless a request came in meanwhile: then that is next.
    pub(super) fn leave(&mut self) -> Option<Request> {
        let mut under_way = self.sessions.lock();
        let waiting = self.mailbox.try_recv().ok();
        if waiting.is_none() {
            under_way.remove(self.client, self.number);
        }
        waiting
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.sessions.lock().remove(self.client, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(ip: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, ip), port)
    }

    fn begin(sessions: &Sessions, client: SocketAddrV4) -> Option<Ticket> {
        match sessions.admit(client, &Request::write("eno2".to_owned(), *client.ip())) {
            Admission::Begin(ticket) => Some(ticket),
            Admission::Told | Admission::Full => None,
        }
    }

    fn gave_way(ticket: &mut Ticket) -> bool {
        ticket.mailbox.try_recv() == Err(mpsc::error::TryRecvError::Disconnected)
    }

    #[test]
    fn forged_requests_of_many_addresses_keep_nobody_out() {
        let sessions = Sessions::new(4, 2);
        let mut forged: Vec<Ticket> = (10..14).filter_map(|ip| begin(&sessions, client(ip, 2000))).collect();
        let honest = begin(&sessions, client(99, 2000)).unwrap();
        honest.heard.set();
        let given: Vec<bool> = forged.iter_mut().map(gave_way).collect();
        assert_eq!(given, [true, false, false, false]);
        let more: Vec<_> = (20..60).filter_map(|ip| begin(&sessions, client(ip, 2000))).collect();
        assert_eq!(more.len(), 40);
        let mut honest = honest;
        assert!(!gave_way(&mut honest), "a client that answered keeps its place");
    }

    #[test]
    fn forged_requests_in_one_machines_name_do_not_keep_it_out() {
        let sessions = Sessions::new(9, 2);
        let mut forged: Vec<Ticket> = (1..=2).filter_map(|port| begin(&sessions, client(10, port))).collect();
        let mut other = begin(&sessions, client(11, 1));
        assert!(begin(&sessions, client(10, 2000)).is_some());
        let given: Vec<bool> = forged.iter_mut().chain(&mut other).map(gave_way).collect();
        assert_eq!(given, [true, false, false]);
    }

    #[test]
    fn clients_that_answered_are_never_displaced() {
        let sessions = Sessions::new(2, 2);
        let held: Vec<Ticket> = (1..=2).filter_map(|ip| begin(&sessions, client(ip, 1))).collect();
        held.iter().for_each(|ticket| ticket.heard.set());
        assert!(begin(&sessions, client(3, 1)).is_none());
        drop(held);
        assert!(begin(&sessions, client(3, 1)).is_some());
    }

    #[test]
    fn nothing_is_left_of_sessions_that_ended() {
        let sessions = Sessions::new(2, 2);
        for port in 1..100 {
            let mut ticket = begin(&sessions, client(1, port)).unwrap();
            ticket.heard.set();
            assert!(ticket.leave().is_none());
        }
        let under_way = sessions.lock();
        assert!(under_way.sessions.is_empty() && under_way.unheard.is_empty());
    }
}
