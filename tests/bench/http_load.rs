//! Many HTTP clients at once, eight at an address of their own: the load of `make bench-http`. Bodies
//! are counted and dropped in the kernel, so that both ends' cores go to the server as far as that
//! can be.
//!
//! `http-load fetch SERVER:PORT PATH FIRST-ADDRESS CONNECTIONS TIMES` fetches a file so many times over
//! each connection and prints `FAILED BYTES SECONDS`; the first failure is said.
//! `http-load probe SERVER:PORT PATH ADDRESS TIMES` asks so many times, one after the other, each over
//! a connection of its own, and prints the `P50 P99` of their milliseconds.
//! Both end by themselves after `TIME_MAX`.

use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Socket, Type};
use std::{
    env,
    error::Error,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    os::fd::AsRawFd,
    process::exit,
    thread,
    time::{Duration, Instant},
};

const TIME_MAX: Duration = Duration::from_secs(60);
const CONNECTIONS_MAX: u32 = 4000;
const CONNECTIONS_PER_ADDRESS: u32 = 8;
/// Bytes dropped by one call.
const DROPPED_MAX: usize = 1024 * 1024;
const STACK_BYTES: usize = 64 * 1024;
const HEAD_BYTES_MAX: usize = 4096;

type Failure = Box<dyn Error + Send + Sync>;

fn connect(server: SocketAddrV4, from: Ipv4Addr) -> Result<TcpStream, Failure> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&SocketAddr::V4(server).into(), TIME_MAX)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(TIME_MAX))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One request and the whole of its response; the bytes of its body.
fn fetch(stream: &mut TcpStream, server: SocketAddrV4, path: &str) -> Result<u64, Failure> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n\r\n").as_bytes())?;
    let mut head = Vec::new();
    let end = loop {
        let mut piece = [0; 512];
        match stream.read(&mut piece)? {
            0 => return Err("closed before the head's end".into()),
            count => head.extend_from_slice(&piece[..count]),
        }
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if head.len() > HEAD_BYTES_MAX {
            return Err("no end of the head".into());
        }
    };
    let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
    if !text.starts_with("http/1.1 200") {
        return Err(text.lines().next().unwrap_or_default().into());
    }
    let length: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .ok_or("no content-length")?
        .parse()?;
    drop_body(stream, length - (head.len() - end) as u64)?;
    Ok(length)
}

/// Takes so many bytes off the connection without copying them (tcp(7), `MSG_TRUNC`).
fn drop_body(stream: &TcpStream, mut left: u64) -> Result<(), Failure> {
    // The kernel writes nothing there; it only looks at the length.
    let mut room = vec![0; DROPPED_MAX];
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(DROPPED_MAX).min(DROPPED_MAX);
        match recv(stream.as_raw_fd(), &mut room[..wanted], MsgFlags::MSG_TRUNC)? {
            0 => return Err(format!("closed {left} bytes before the body's end").into()),
            count => left -= count as u64,
        }
    }
    Ok(())
}

fn fetch_all(server: SocketAddrV4, path: &str, first: Ipv4Addr, arguments: &[String]) -> Result<(), Failure> {
    let [connections, times] = arguments else {
        return Err("fetch SERVER:PORT PATH FIRST-ADDRESS CONNECTIONS TIMES".into());
    };
    let (connections, times) = (connections.parse::<u32>()?.min(CONNECTIONS_MAX), times.parse::<u32>()?);
    let start = Instant::now();
    let clients = (0..connections)
        .map(|number| {
            let (from, path) = (
                Ipv4Addr::from_bits(first.to_bits() + number / CONNECTIONS_PER_ADDRESS),
                path.to_owned(),
            );
            let client = move || {
                let mut stream = connect(server, from)?;
                (0..times).try_fold(0, |bytes, _| {
                    Ok::<_, Failure>(bytes + fetch(&mut stream, server, &path)?)
                })
            };
            thread::Builder::new().stack_size(STACK_BYTES).spawn(client)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let (mut failed, mut bytes) = (0, 0);
    for client in clients {
        match client.join().map_err(|_| "a client panicked")? {
            Ok(taken) => bytes += taken,
            Err(error) => {
                if failed == 0 {
                    eprintln!("http-load: {error}");
                }
                failed += 1;
            }
        }
    }
    println!("{failed} {bytes} {:.3}", start.elapsed().as_secs_f64());
    Ok(())
}

fn probe(server: SocketAddrV4, path: &str, from: Ipv4Addr, arguments: &[String]) -> Result<(), Failure> {
    let [times] = arguments else {
        return Err("probe SERVER:PORT PATH ADDRESS TIMES".into());
    };
    let mut taken_ms = Vec::new();
    for _ in 0..times.parse::<u32>()?.max(1) {
        let start = Instant::now();
        let mut stream = connect(server, from)?;
        fetch(&mut stream, server, path)?;
        taken_ms.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    taken_ms.sort_by(f64::total_cmp);
    let percentile = |percent: usize| taken_ms[(taken_ms.len() - 1) * percent / 100];
    println!("{:.2} {:.2}", percentile(50), percentile(99));
    Ok(())
}

fn run() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [what, server, path, from, rest @ ..] = &arguments[..] else {
        return Err("fetch or probe, SERVER:PORT PATH ADDRESS …".into());
    };
    let (server, from): (SocketAddrV4, Ipv4Addr) = (server.parse()?, from.parse()?);
    thread::spawn(|| {
        thread::sleep(TIME_MAX);
        eprintln!("http-load: not done after {TIME_MAX:?}");
        exit(1);
    });
    match what.as_str() {
        "fetch" => fetch_all(server, path, from, rest),
        "probe" => probe(server, path, from, rest),
        other => Err(format!("{other} is neither fetch nor probe").into()),
    }
}

fn main() {
    if let Err(error) = run() {
        eprintln!("http-load: {error}");
        exit(1);
    }
}
