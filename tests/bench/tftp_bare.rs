//! The least that a TFTP server can do, a row of `make bench-tftp`: it answers each ACK with the next
//! block of a file in memory, from one socket and one thread, and keeps nothing of any client. What it
//! takes is the kernel's, for a packet in and a packet out.
//!
//! `tftp-bare ADDRESS:PORT FILE` takes and sends packet by packet; `tftp-bare ADDRESS:PORT FILE
//! INTERFACE` by the batch, as ours does.

use bootwright::{
    net::socket::{Inbox, SendBatch, udp},
    proto::tftp::wire::{self, Agreed, Packet},
};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::{
    env,
    error::Error,
    fs, io,
    net::{SocketAddrV4, UdpSocket},
    process::exit,
};

const BLOCK_BYTES: usize = 1468;
const PACKET_BYTES_MAX: usize = 600;

/// The answer to a packet, if it gets one.
fn answer(packet: &[u8], file: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    match wire::parse(packet) {
        Ok(Packet::Read(_)) => out.extend(wire::option_ack(&Agreed {
            blksize: Some(BLOCK_BYTES as u16),
            tsize: Some(file.len() as u64),
            ..Agreed::default()
        })),
        Ok(Packet::Ack(number)) => {
            let start = usize::from(number) * BLOCK_BYTES;
            if start > file.len() {
                return false;
            }
            out.extend(wire::data_header(number + 1));
            out.extend(&file[start..file.len().min(start + BLOCK_BYTES)]);
        }
        Ok(Packet::Write | Packet::Data | Packet::Error { .. } | Packet::OptionAck) | Err(_) => return false,
    }
    true
}

fn one_by_one(address: SocketAddrV4, file: &[u8]) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    let (mut packet, mut out) = ([0; PACKET_BYTES_MAX], Vec::new());
    loop {
        let (length, client) = socket.recv_from(&mut packet)?;
        if answer(&packet[..length], file, &mut out) {
            // What is not sent is asked for again.
            let _ = socket.send_to(&out, client);
        }
    }
}

fn in_batches(address: SocketAddrV4, interface: &str, file: &[u8]) -> io::Result<()> {
    let socket = udp(interface, address.port())?;
    let (mut inbox, mut outbox) = (Inbox::new(PACKET_BYTES_MAX), SendBatch::default());
    let (mut out, mut events) = (Vec::new(), [EpollEvent::empty()]);
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    loop {
        epoll.wait(&mut events, EpollTimeout::NONE)?;
        for at in 0..inbox.receive(&socket)? {
            let (received, packet) = inbox.datagram(at);
            if answer(packet, file, &mut out) {
                outbox
                    .push(received.asked, received.source, out.len())
                    .copy_from_slice(&out);
            }
        }
        let _ = outbox.send(&socket);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [address, file] => one_by_one(address.parse()?, &fs::read(file)?)?,
        [address, file, interface] => in_batches(address.parse()?, interface, &fs::read(file)?)?,
        _ => return Err("ADDRESS:PORT FILE [INTERFACE]".into()),
    }
    Ok(())
}

fn main() {
    if let Err(error) = run() {
        eprintln!("tftp-bare: {error}");
        exit(1);
    }
}
