//! Many machines' full DHCP exchanges at a fixed rate, from behind a relay address: the light load of
//! `make bench-dhcp`. It says the words that perfdhcp says and takes a small part of its CPU time, so
//! that of both ends of a shared machine the server is the one that is measured.
//!
//! `dhcp-load SERVER INTERFACE RELAY MACHINES RATE SECONDS [packets]` begins RATE exchanges a second, whatever
//! comes of them, by MACHINES machines in turn, and prints `BEGUN DONE LATE-99 CPU-MS`: exchanges begun,
//! those whose every word was answered within `DROP_TIME`, the time that 99 % of them took at most (ms),
//! and its own CPU time. With `packets` it reads those, as relays do, and the first answer in each: what a
//! server leaves for a device to cut up is lost to it, as to them.

use bootwright::{
    model::limits::DHCP_REPLY_BYTES_MAX,
    net::socket::{Inbox, SendBatch, udp},
    storm::packets,
};
use nix::sys::{
    resource::{UsageWho, getrusage},
    socket::{setsockopt, sockopt::RcvBufForce},
};
use socket2::Socket;
use std::{
    env, io,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    process::exit,
    time::{Duration, Instant},
};

const EXCHANGES_MAX: u64 = 4_000_000;
const SECONDS_MAX: u64 = 60;
/// A word that is answered later counts as dropped, as with perfdhcp.
const DROP_TIME: Duration = Duration::from_secs(1);
/// How long it rests where there is nothing to hear and nothing to say.
const TICK: Duration = Duration::from_micros(200);
/// Exchanges that are begun before what came in is heard again.
const BURST: usize = 64;
const SERVER_PORT: u16 = 67;
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Places in a packet.
const XID: std::ops::Range<usize> = 4..8;
const YOUR_ADDRESS: std::ops::Range<usize> = 16..20;
const RELAY: std::ops::Range<usize> = 24..28;
const CHADDR: std::ops::Range<usize> = 28..34;
const OPTIONS: usize = 240;
const KIND: u8 = 53;
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;

/// One exchange, by its number.
#[derive(Clone, Copy)]
struct DhcpExchange {
    began: Instant,
    /// When its last word was said.
    said: Instant,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Discovering,
    Requesting,
    Done,
    Late,
}

struct Load {
    socket: UdpSocket,
    /// What it hears by, if not by that socket.
    packets: Option<Socket>,
    server: SocketAddrV4,
    relay: Ipv4Addr,
    machines: u32,
    exchanges: Vec<DhcpExchange>,
    took: Vec<Duration>,
    inbox: Inbox,
    outbox: SendBatch,
}

impl Load {
    fn discover(&mut self) {
        let now = Instant::now();
        let number = self.exchanges.len();
        self.exchanges.push(DhcpExchange {
            began: now,
            said: now,
            state: State::Discovering,
        });
        self.say(number, DISCOVER, &[]);
    }

    fn say(&mut self, number: usize, kind: u8, options: &[u8]) {
        // What perfdhcp asks for: 1, 28, 2, 3, 15, 6, 12.
        let wanted = [55, 7, 1, 28, 2, 3, 15, 6, 12];
        let tail = [&[KIND, 1, kind][..], options, &wanted, &[255]].concat();
        let number = u32::try_from(number).expect("fewer than EXCHANGES_MAX");
        let packet = self.outbox.push(self.relay, self.server, OPTIONS + tail.len());
        packet[..4].copy_from_slice(&[1, 1, 6, 1]);
        packet[XID].copy_from_slice(&number.to_be_bytes());
        packet[RELAY].copy_from_slice(&self.relay.octets());
        packet[CHADDR][0] = 2;
        packet[CHADDR][2..].copy_from_slice(&(number % self.machines).to_be_bytes());
        packet[OPTIONS - 4..OPTIONS].copy_from_slice(&[99, 130, 83, 99]);
        packet[OPTIONS..].copy_from_slice(&tail);
    }

    /// Takes what came in; whether there was anything.
    fn hear(&mut self) -> io::Result<bool> {
        let received = match &self.packets {
            Some(packets) => self.inbox.receive(packets),
            None => self.inbox.receive(&self.socket),
        };
        let count = match received {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        let mut requests = Vec::with_capacity(count);
        for at in 0..count {
            let (_, bytes) = self.inbox.datagram(at);
            let packet = match &self.packets {
                Some(_) => packets::answer(bytes, *self.server.ip(), self.relay).unwrap_or_default(),
                None => bytes,
            };
            let Some((number, kind)) = read(packet) else { continue };
            let Some(exchange) = self.exchanges.get_mut(number) else {
                continue;
            };
            let in_time = now - exchange.said <= DROP_TIME;
            match (exchange.state, kind) {
                (State::Discovering, OFFER) if in_time => {
                    (exchange.state, exchange.said) = (State::Requesting, now);
                    requests.push((number, discovers(packet)));
                }
                (State::Requesting, ACK) if in_time => {
                    exchange.state = State::Done;
                    self.took.push(now - exchange.began);
                }
                (State::Discovering | State::Requesting, _) => exchange.state = State::Late,
                (State::Done | State::Late, _) => {}
            }
        }
        for (number, options) in requests {
            self.say(number, REQUEST, &options);
        }
        Ok(true)
    }

    fn send(&mut self) -> io::Result<()> {
        match self.outbox.send(&self.socket) {
            Ok(0) => Ok(()),
            Ok(lost) => Err(io::Error::other(format!(
                "the kernel did not take {lost} of its own packets"
            ))),
            // The rest goes with the next ones.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The number of the exchange and the kind of a reply.
fn read(packet: &[u8]) -> Option<(usize, u8)> {
    let number = u32::from_be_bytes(packet.get(XID)?.try_into().ok()?);
    Some((usize::try_from(number).ok()?, *option(packet, KIND)?.first()?))
}

/// The REQUEST's options for an OFFER: 54 and 50.
fn discovers(offer: &[u8]) -> Vec<u8> {
    let server = option(offer, 54).unwrap_or(&[0; 4]);
    [&[54, 4][..], server, &[50, 4], &offer[YOUR_ADDRESS]].concat()
}

fn option(packet: &[u8], code: u8) -> Option<&[u8]> {
    let mut rest = packet.get(OPTIONS..)?;
    while let [found, length, tail @ ..] = rest {
        let (body, after) = tail.split_at_checked(usize::from(*length))?;
        if *found == code {
            return Some(body);
        }
        rest = after;
    }
    None
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let ([server, interface, relay, machines, rate, seconds], reads) = (match &arguments[..] {
        [all @ .., reads] if reads == "packets" => (all, true),
        all => (all, false),
    }) else {
        return Err("SERVER INTERFACE RELAY MACHINES RATE SECONDS [packets]".into());
    };
    let (rate, seconds): (u64, u64) = (rate.parse()?, seconds.parse()?);
    let total = rate * seconds.min(SECONDS_MAX);
    if total > EXCHANGES_MAX {
        return Err(format!("at most {EXCHANGES_MAX} exchanges").into());
    }
    let mut load = Load {
        socket: udp(interface, SERVER_PORT)?,
        packets: if reads { Some(packets_with_room()?) } else { None },
        server: SocketAddrV4::new(server.parse()?, SERVER_PORT),
        relay: relay.parse()?,
        machines: machines.parse::<u32>()?.max(1),
        exchanges: Vec::with_capacity(usize::try_from(total)?),
        took: Vec::with_capacity(usize::try_from(total)?),
        inbox: Inbox::new(if reads {
            packets::PACKET_BYTES_MAX
        } else {
            DHCP_REPLY_BYTES_MAX
        }),
        outbox: SendBatch::one_by_one(),
    };
    let start = Instant::now();
    let mut last = start;
    while last.elapsed() <= DROP_TIME {
        let due = (start.elapsed().as_nanos() * u128::from(rate) / 1_000_000_000).min(u128::from(total));
        let missing = usize::try_from(due)?.saturating_sub(load.exchanges.len());
        for _ in 0..missing.min(BURST) {
            load.discover();
        }
        if (load.exchanges.len() as u64) < total {
            last = Instant::now();
        }
        let heard = load.hear()?;
        load.send()?;
        if !heard && missing <= BURST {
            if load.took.len() as u64 == total {
                break;
            }
            std::thread::sleep(TICK);
        }
    }
    tell(&mut load);
    Ok(())
}

/// As much room as the UDP socket has.
fn packets_with_room() -> io::Result<Socket> {
    let socket = packets::open()?;
    setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER_BYTES)?;
    Ok(socket)
}

fn tell(load: &mut Load) {
    load.took.sort_unstable();
    let late = load.took.get(load.took.len() * 99 / 100).copied().unwrap_or_default();
    let cpu_ms = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        let (user, system) = (usage.user_time(), usage.system_time());
        (user.tv_sec() + system.tv_sec()) * 1000 + (user.tv_usec() + system.tv_usec()) / 1000
    });
    println!(
        "{} {} {:.2} {cpu_ms}",
        load.exchanges.len(),
        load.took.len(),
        late.as_secs_f64() * 1000.0
    );
}

fn main() {
    if let Err(error) = run() {
        eprintln!("dhcp-load: {error}");
        exit(1);
    }
}
