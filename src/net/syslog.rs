//! The log server: lines that machines log to UDP port 514 join the boot of the machine that has their address.
//!
//! Nothing is ever answered. Lines are gathered for a moment, so that a machine makes one event in that time however
//! much it logs, and its last lines are those that stay. Lines of an address that nobody has are counted.

use crate::boot::event::{LoggedLine, LoggedLines, Machine, MachineKey, Step};
use crate::model::limits::{
    SYSLOG_DATAGRAM_BYTES_MAX, SYSLOG_GATHER_INTERVAL, SYSLOG_LINES_AT_ONCE_MAX, SYSLOG_MACHINES_MAX,
    SYSLOG_STRANGERS_MAX,
};
use crate::net::{intake, socket::Inbox, tasks::TaskTracker};
use crate::proto::syslog;
use crate::state::{Counter, Shared};
use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fmt::Display,
    io, mem,
    net::{self, Ipv4Addr},
    sync::Arc,
};
use tokio::{
    net::UdpSocket,
    time::{MissedTickBehavior, interval},
};
use tracing::warn;

/// The log server of one interface.
pub(super) struct SyslogServer {
    shared: Arc<Shared>,
    socket: UdpSocket,
    tasks: TaskTracker,
}

/// Says why an interface has none. No machine waits for it: what it logs is missed later, in what `why` tells.
pub(super) fn warn_of_none(interface: &str, error: &impl Display) {
    warn!(
        event = "no_syslog",
        interface,
        "what machines log is not taken: {error}. Have that program leave the port to us (rsyslog: without its module \
         imudp) and restart bootwright, or set enabled = false under [syslog]"
    );
}

/// What was logged since it was published last.
#[derive(Default)]
struct Gathered {
    machines: HashMap<Ipv4Addr, (Machine, LoggedLines)>,
    /// Addresses that nobody has.
    strangers: HashSet<Ipv4Addr>,
    datagrams: usize,
}

impl SyslogServer {
    /// One that reads from this socket.
    pub(super) fn new(shared: &Arc<Shared>, socket: net::UdpSocket, tasks: &TaskTracker) -> io::Result<SyslogServer> {
        Ok(SyslogServer {
            shared: Arc::clone(shared),
            socket: UdpSocket::from_std(socket)?,
            tasks: tasks.clone(),
        })
    }

    /// Takes lines until no new work may begin.
    pub(super) async fn run(self) {
        let mut inbox = Inbox::new(SYSLOG_DATAGRAM_BYTES_MAX);
        let mut gathered = Gathered::default();
        let mut ticks = interval(SYSLOG_GATHER_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let common = ("syslog", &*self.shared, &self.tasks);
            let is_resting = gathered.datagrams >= SYSLOG_LINES_AT_ONCE_MAX;
            tokio::select! {
                is_open = intake::batch(common, &self.socket, &mut inbox), if !is_resting => match is_open {
                    true => self.take_in(&inbox, &mut gathered),
                    false => break,
                },
                () = self.tasks.stopped() => break,
                _ = ticks.tick(), if gathered.datagrams > 0 => self.publish(&mut gathered),
            }
        }
        self.publish(&mut gathered);
    }

    fn take_in(&self, inbox: &Inbox, gathered: &mut Gathered) {
        let counters = &self.shared.counters;
        counters.add(Counter::SyslogReceived, inbox.len() as u64);
        gathered.datagrams += inbox.len();
        for at in 0..inbox.len() {
            let (received, bytes) = inbox.datagram(at);
            let Some(message) = syslog::parse(bytes) else {
                counters.count(Counter::SyslogEmpty);
                continue;
            };
            match gathered.of(*received.source.ip(), |address| self.shared.machine_at(address)) {
                Ok(lines) => {
                    if lines.push(LoggedLine::from(&message)) {
                        counters.count(Counter::SyslogOmitted);
                    }
                }
                Err(counter) => counters.count(counter),
            }
        }
    }

    fn publish(&self, gathered: &mut Gathered) {
        let Gathered { machines, .. } = mem::take(gathered);
        for (machine, lines) in machines.into_values() {
            self.shared.of_connection(machine, Step::Logged(lines));
        }
    }
}

impl Gathered {
    /// The lines of whoever has that address; what is counted where nobody has it, or too many log at once.
    fn of(
        &mut self,
        address: Ipv4Addr,
        machine_at: impl FnOnce(Ipv4Addr) -> Machine,
    ) -> Result<&mut LoggedLines, Counter> {
        let is_full = self.machines.len() >= SYSLOG_MACHINES_MAX;
        let place = match self.machines.entry(address) {
            Entry::Occupied(known) => return Ok(&mut known.into_mut().1),
            Entry::Vacant(_) if self.strangers.contains(&address) => return Err(Counter::SyslogUnknown),
            Entry::Vacant(_) if is_full => return Err(Counter::SyslogOmitted),
            Entry::Vacant(place) => place,
        };
        let machine = machine_at(address);
        match machine.key {
            MachineKey::Host(_) | MachineKey::Hardware(_) => Ok(&mut place.insert((machine, LoggedLines::default())).1),
            MachineKey::Address(_) | MachineKey::Unknown => {
                if self.strangers.len() < SYSLOG_STRANGERS_MAX {
                    self.strangers.insert(address);
                }
                Err(Counter::SyslogUnknown)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::syslog::parse;
    use std::cell::Cell;

    fn host() -> Machine {
        Machine {
            key: MachineKey::Host("r1u07".parse().unwrap()),
            ..Machine::default()
        }
    }

    #[test]
    fn who_has_an_address_is_asked_once_and_those_that_nobody_has_take_no_place() {
        let mut gathered = Gathered::default();
        let asked = Cell::new(0);
        let nobody = |address: Ipv4Addr| {
            asked.set(asked.get() + 1);
            Machine::default().or_at(address)
        };
        let stranger = Ipv4Addr::new(192, 0, 2, 99);
        for _ in 0..3 {
            assert_eq!(gathered.of(stranger, nobody).err(), Some(Counter::SyslogUnknown));
        }
        assert_eq!(asked.get(), 1);
        for number in 0..100_000 {
            assert!(gathered.of(Ipv4Addr::from_bits(number), nobody).is_err());
        }
        assert_eq!(
            (gathered.machines.len(), gathered.strangers.len()),
            (0, SYSLOG_STRANGERS_MAX)
        );
        let line = LoggedLine::from(&parse(b"hello").unwrap());
        gathered.of(Ipv4Addr::new(192, 0, 2, 7), |_| host()).unwrap().push(line);
        let lines = gathered.of(Ipv4Addr::new(192, 0, 2, 7), nobody).unwrap();
        assert_eq!(lines.lines.len(), 1);
        for number in 0..10_000 {
            let _ = gathered.of(Ipv4Addr::from_bits(number), |_| host());
        }
        assert!(gathered.machines.len() <= SYSLOG_MACHINES_MAX);
        assert!(
            gathered.of(Ipv4Addr::new(192, 0, 2, 7), nobody).is_ok(),
            "who is there goes on"
        );
    }
}
