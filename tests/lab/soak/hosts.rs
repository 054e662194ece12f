//! The listed hosts: each asks for its address as a system does, and fetches its script and its answer from
//! there. They must succeed after every act.

use super::files::Files;
use super::site::SERVER;
use crate::namespace::Namespace;
use crate::wire::Rack;
use socket2::{Domain, Socket, Type};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A host by its number, which is that of its client in a [`Rack`].
#[derive(Clone, Copy)]
pub struct Listed(u8);

pub const HOSTS: [Listed; 12] = {
    let mut hosts = [Listed(0); 12];
    let mut at = 0;
    while at < hosts.len() {
        hosts[at] = Listed(at as u8 + 1);
        at += 1;
    }
    hosts
};
/// The one that busybox plays, with sockets of its own kind.
pub const REAL: Listed = Listed(100);

impl Listed {
    pub fn name(self) -> String {
        format!("r{}", self.0)
    }

    pub fn mac(self) -> String {
        format!("02:bb:00:00:00:{:02x}", self.0)
    }

    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, 0, 10 + self.0)
    }
}

/// Boots all of them, in a namespace that has their addresses; what did not go as it must.
pub fn boot_all(namespace: &Namespace, files: &Files) -> Vec<String> {
    let rack = Rack::new(namespace);
    let mut odd = Vec::new();
    for host in HOSTS {
        match rack.lease(host.0.into()) {
            Some(address) if address == host.address() => {}
            other => odd.push(format!(
                "host {}: its address is {}, it got {other:?}",
                host.name(),
                host.address()
            )),
        }
    }
    let fetched = namespace.enter(|| HOSTS.map(|host| fetches(host, files)));
    odd.extend(fetched.into_iter().filter_map(Result::err));
    odd
}

/// A host's script, and the answer that the script names.
fn fetches(host: Listed, files: &Files) -> Result<(), String> {
    let name = host.name();
    let get = |path: &str| {
        let got = get(host.address(), path);
        got.map_err(|error| format!("host {name}: {path}: {error}"))
    };
    let script = get(&format!("/boot.ipxe?mac={}", host.mac()))?;
    if !script.contains(&files.script_line(&name)) {
        return Err(format!(
            "host {name}: no `{}` in its script:\n{script}",
            files.script_line(&name)
        ));
    }
    let url = script.split_whitespace().find_map(|word| word.strip_prefix("url="));
    let path = url.and_then(|url| url.strip_prefix(&format!("http://{SERVER}")));
    let answer = get(path.ok_or_else(|| format!("host {name}: its script names no answer:\n{script}"))?)?;
    match answer == files.answer_text(&name) {
        true => Ok(()),
        false => Err(format!(
            "host {name}: its answer is {answer:?}, not {:?}",
            files.answer_text(&name)
        )),
    }
}

/// A connection from one of the namespace's addresses, with the request on its way.
pub fn ask(from: Ipv4Addr, path: &str) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect_timeout(&SocketAddr::from((SERVER, 80)).into(), PATIENCE)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {SERVER}\r\nConnection: close\r\n\r\n"
    )?;
    Ok(stream)
}

/// A whole body.
fn get(from: Ipv4Addr, path: &str) -> Result<String, String> {
    let mut text = String::new();
    ask(from, path)
        .and_then(|mut stream| stream.read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or_else(|| format!("no end of a head: {text:?}"))?;
    match head.starts_with("HTTP/1.1 200 ") {
        true => Ok(body.to_owned()),
        false => Err(head.lines().next().unwrap_or_default().to_owned()),
    }
}
