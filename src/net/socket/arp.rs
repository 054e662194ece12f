//! Whether the kernel knows the link-layer address of a neighbour: its ARP table, entry by entry.

use crate::model::MacAddr;
use nix::{errno::Errno, libc};
use socket2::{Domain, Socket, Type};
use std::{
    io,
    mem::zeroed,
    net::Ipv4Addr,
    os::fd::{AsRawFd, OwnedFd},
};

/// Asks for one entry (arp(7)); libc lacks it for Linux.
const SIOCGARP: u32 = 0x8954;
/// The entry has a link-layer address.
const ATF_COM: libc::c_int = 2;

/// A socket to ask the kernel by: it is bound to nothing, and takes no port.
pub fn arp_query_socket() -> io::Result<OwnedFd> {
    Socket::new(Domain::IPV4, Type::DGRAM, None).map(OwnedFd::from)
}

/// Whether the kernel knows who has `address` on the interface, so that a datagram to it leaves at once
/// and does not wait for an answer to an ARP question. An error says that it can't be asked.
pub fn knows_neighbour(socket: &impl AsRawFd, interface: &str, address: Ipv4Addr) -> io::Result<bool> {
    Ok(entry(socket, interface, address)?.is_some())
}

/// The MAC of whoever has `address` on the interface, where the kernel knows one.
pub fn neighbour_mac(socket: &impl AsRawFd, interface: &str, address: Ipv4Addr) -> io::Result<Option<MacAddr>> {
    let found = entry(socket, interface, address)?;
    let ethernet = found.filter(|found| found.arp_ha.sa_family == libc::ARPHRD_ETHER);
    Ok(ethernet.map(|found| MacAddr(std::array::from_fn(|place| found.arp_ha.sa_data[place] as u8))))
}

/// The kernel's complete entry for `address`.
fn entry(socket: &impl AsRawFd, interface: &str, address: Ipv4Addr) -> io::Result<Option<libc::arpreq>> {
    // SAFETY: these are plain numbers; all zeros is a valid value of them.
    let mut asked: libc::arpreq = unsafe { zeroed() };
    let wanted = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr {
            s_addr: address.to_bits().to_be(),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: both kinds of address have 16 bytes, and any bytes are a valid value of the general one.
    asked.arp_pa = unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(wanted) };
    let room = asked.arp_dev.len() - 1;
    for (place, byte) in asked.arp_dev.iter_mut().zip(interface.bytes().take(room)) {
        *place = byte.cast_signed() as libc::c_char;
    }
    // SAFETY: the kernel reads and writes one value of the kind that this request names, which is alive
    // during the call.
    let told = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGARP as _, &raw mut asked) };
    match Errno::result(told) {
        Ok(_) => Ok((asked.arp_flags & ATF_COM != 0).then_some(asked)),
        Err(Errno::ENXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_nobody_has_is_not_known_and_no_interface_can_be_asked_that_is_not_there() {
        let socket = arp_query_socket().unwrap();
        let unused = Ipv4Addr::new(192, 0, 2, 77);
        assert!(!knows_neighbour(&socket, "lo", unused).unwrap());
        assert!(knows_neighbour(&socket, "none-such0", unused).is_err());
    }
}
