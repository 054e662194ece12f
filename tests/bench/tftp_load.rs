//! Many TFTP clients at once in one thread, each at an address of its own: the load of
//! `make bench-tftp`. Every byte that comes in is compared with the file's.
//!
//! `tftp-load SERVER:PORT NAME FILE FIRST-ADDRESS CLIENTS BLKSIZE WINDOWSIZE` (0 asks for none)
//! prints `CLIENTS FAILED BYTES SECONDS RETRIES REPEATED EARLY`. With an eighth argument, seconds, the
//! clients fall silent after their first block and it waits so long. It ends by itself after `TIME_MAX`.

use bootwright::proto::tftp::{
    fetch::{Fetch, FetchEnd, Tally},
    wire::{TransferOptions, parse_reply},
};
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    resource::{Resource, setrlimit},
};
use std::{
    env, fs, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    process::exit,
    time::{Duration, Instant},
};

const TIME_MAX: Duration = Duration::from_secs(60);
const CLIENTS_MAX: u32 = 12_000;
/// Transfers that are opened together, and how long that may take.
const OPENED_AT_ONCE: usize = 200;
const OPENING_TIME_MAX: Duration = Duration::from_millis(200);
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(50);

/// One client.
struct Client {
    socket: UdpSocket,
    fetch: Fetch,
    /// The server's address for this transfer: the request's until the first answer.
    transfer: SocketAddrV4,
    answered: bool,
    /// It got wrong bytes.
    spoilt: bool,
}

/// The load, and what its clients have in common.
struct Load {
    clients: Vec<Client>,
    file: Vec<u8>,
    start: Instant,
    packet: Vec<u8>,
    buffer: Vec<u8>,
    tasks: usize,
}

impl Load {
    fn say(&mut self, at: usize) -> bool {
        let client = &mut self.clients[at];
        let mut said = false;
        while client.fetch.poll_transmit(&mut self.packet) {
            said = true;
            // What the kernel does not take is lost, and said again.
            let _ = client.socket.send_to(&self.packet, client.transfer);
        }
        said
    }

    /// Takes what came in for one client.
    fn hear(&mut self, at: usize) {
        loop {
            let client = &mut self.clients[at];
            let Ok((length, SocketAddr::V4(from))) = client.socket.recv_from(&mut self.buffer) else {
                return;
            };
            if !client.answered {
                (client.answered, client.transfer) = (true, from);
            }
            let Ok(reply) = parse_reply(&self.buffer[..length]) else {
                continue;
            };
            if from != client.transfer {
                continue;
            }
            let began = client.fetch.bytes() as usize;
            let was_running = client.fetch.deadline().is_some();
            let data = client.fetch.handle(self.start.elapsed(), &reply);
            client.spoilt |= self.file.get(began..began + data.len()) != Some(data);
            self.tasks -= usize::from(was_running && client.fetch.deadline().is_none());
            // Nothing more comes before what was said is heard.
            if self.say(at) {
                return;
            }
        }
    }

    fn tick(&mut self) {
        let now = self.start.elapsed();
        for at in 0..self.clients.len() {
            let fetch = &mut self.clients[at].fetch;
            if fetch.deadline().is_some_and(|deadline| deadline <= now) {
                fetch.handle_timeout(now);
                self.tasks -= usize::from(fetch.deadline().is_none());
                self.say(at);
            }
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [server, name, file, first, clients, blksize, windowsize, hold @ ..] = &arguments[..] else {
        return Err("SERVER:PORT NAME FILE FIRST-ADDRESS CLIENTS BLKSIZE WINDOWSIZE [SECONDS]".into());
    };
    let (server, first): (SocketAddrV4, Ipv4Addr) = (server.parse()?, first.parse()?);
    let clients = clients.parse::<u32>()?.min(CLIENTS_MAX);
    let asked = |text: &str| {
        text.parse::<u16>()
            .map(|number| Some(number).filter(|number| *number > 0))
    };
    let options = TransferOptions {
        blksize: asked(blksize)?,
        windowsize: asked(windowsize)?,
        tsize: true,
        ..TransferOptions::default()
    };
    let files = u64::from(clients) + 100;
    setrlimit(Resource::RLIMIT_NOFILE, files, files)?;
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    let start = Instant::now();
    let mut load = Load {
        clients: Vec::new(),
        file: fs::read(file)?,
        start,
        packet: Vec::new(),
        buffer: vec![0; 65536],
        tasks: clients as usize,
    };
    for number in 0..clients {
        let socket = UdpSocket::bind((Ipv4Addr::from_bits(first.to_bits() + number), 0))?;
        socket.set_nonblocking(true)?;
        epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, number.into()))?;
        load.clients.push(Client {
            socket,
            fetch: Fetch::begin(start.elapsed(), name.as_bytes(), options),
            transfer: server,
            answered: false,
            spoilt: false,
        });
    }
    match hold {
        [] => fetch(&mut load, &epoll)?,
        [seconds, ..] => open(&mut load, Duration::from_secs(seconds.parse()?).min(TIME_MAX)),
    }
    Ok(())
}

/// Lets every client fetch the whole file, and says how it went.
fn fetch(load: &mut Load, epoll: &Epoll) -> io::Result<()> {
    let began = Instant::now();
    for at in 0..load.clients.len() {
        load.say(at);
    }
    let mut events = vec![EpollEvent::empty(); 1024];
    let mut ticked = Instant::now();
    while load.tasks > 0 && began.elapsed() < TIME_MAX {
        let timeout = EpollTimeout::try_from(TICK).map_err(io::Error::other)?;
        let count = epoll.wait(&mut events, timeout)?;
        for event in &events[..count] {
            load.hear(usize::try_from(event.data()).map_err(io::Error::other)?);
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            load.tick();
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let (mut failed, mut bytes, mut sum) = (0, 0, Tally::default());
    for client in &load.clients {
        let tally = client.fetch.tally();
        let whole = client.fetch.ending() == Some(&FetchEnd::Complete) && !client.spoilt;
        failed += u32::from(!whole || client.fetch.bytes() != load.file.len() as u64);
        bytes += client.fetch.bytes();
        sum.retries += tally.retries;
        sum.repeated += tally.repeated;
        sum.early += tally.early;
    }
    let clients = load.clients.len();
    let Tally {
        retries,
        repeated,
        early,
    } = sum;
    println!("{clients} {failed} {bytes} {seconds:.3} {retries} {repeated} {early}");
    Ok(())
}

/// Lets each client take the options and the first block, and then fall silent: how many transfers
/// are open is said at once, and the sockets are held so long.
fn open(load: &mut Load, hold: Duration) {
    let opened = |load: &Load, at: usize| load.clients[at].fetch.bytes() > 0;
    let clients = load.clients.len();
    for first in (0..clients).step_by(OPENED_AT_ONCE) {
        let group = first..(first + OPENED_AT_ONCE).min(clients);
        for at in group.clone() {
            load.say(at);
        }
        let began = Instant::now();
        while began.elapsed() < OPENING_TIME_MAX && !group.clone().all(|at| opened(load, at)) {
            for at in group.clone() {
                if !opened(load, at) {
                    load.hear(at);
                }
            }
        }
    }
    let count = (0..clients).filter(|at| opened(load, *at)).count();
    println!("{count} transfers open");
    std::thread::sleep(hold);
}

fn main() {
    if let Err(error) = run() {
        eprintln!("tftp-load: {error}");
        exit(1);
    }
}
