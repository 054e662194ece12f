//! The kernel's news of interfaces (rtnetlink(7)): a link, an IPv4 address or a default route that came or went is known
//! at once, and a link that was down for a moment only is not missed.

use super::interface::Link;
use nix::{
    errno::Errno,
    net::if_::InterfaceFlags,
    sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket},
};
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};
use tokio::net::UdpSocket;

/// The room for one datagram of the kernel's, in bytes; it sends no larger ones.
const DATAGRAM_BYTES: usize = 32 * 1024;
/// `struct nlmsghdr`: length, type, flags, number, sender.
const HEADER_BYTES: usize = 16;
/// `struct ifinfomsg`: family, type, index, flags, change mask.
const LINK_BYTES: usize = 16;
/// The group that hears of routes (`RTMGRP_IPV4_ROUTE`, linux/rtnetlink.h).
const IPV4_ROUTES: libc::c_int = 0x40;
/// Where `struct rtmsg` says how many bits of its destination count: none of a default route's.
const ROUTE_LENGTH_AT: usize = HEADER_BYTES + 1;

/// What the kernel told.
#[derive(Debug, Default, PartialEq, Eq)]
struct InterfaceNews {
    /// Links, by the kernel's numbers of their interfaces, in the order in which they changed.
    links: Vec<(u32, Link)>,
    /// Whether there is any that interfaces depend on.
    is_any: bool,
}

/// A subscription to what becomes of links and addresses.
pub(super) struct LinkEvents {
    /// No UDP: tokio waits on any socket of datagrams by that name.
    socket: UdpSocket,
}

impl LinkEvents {
    pub(super) fn subscribe() -> io::Result<LinkEvents> {
        let socket = netlink()?;
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | IPV4_ROUTES;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups.cast_unsigned()))?;
        Ok(LinkEvents {
            socket: UdpSocket::from_std(socket.into())?,
        })
    }

    /// Waits for news and takes all there is: the links that were told of, by the kernel's numbers of their
    /// interfaces, in the order in which they changed. What else there is shows in the interfaces.
    pub(super) async fn next(&self) -> io::Result<Vec<(u32, Link)>> {
        let mut news = InterfaceNews::default();
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            match self.socket.try_recv(&mut buffer) {
                Ok(length) => news.take(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && news.is_any => return Ok(news.links),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.socket.readable().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Some were lost because there were too many: how things are now is looked up then.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => news.is_any = true,
                Err(error) => return Err(error),
            }
        }
    }
}

/// A socket to the kernel's routing (rtnetlink(7)), non-blocking.
pub(super) fn netlink() -> nix::Result<OwnedFd> {
    socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
}

impl InterfaceNews {
    /// Takes in a datagram of netlink messages, each beginning at a multiple of four bytes.
    fn take(&mut self, mut datagram: &[u8]) {
        while let Some(length) = number(datagram, 0).map(|length| length as usize)
            && length >= HEADER_BYTES
            && let Some(message) = datagram.get(..length)
        {
            self.links.extend(link_of(message));
            self.is_any |= is_of_interfaces(message);
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// Whether interfaces depend on what a message is about. Other routes than the default one come and go by the thousand
/// where this host is a router.
fn is_of_interfaces(message: &[u8]) -> bool {
    match kind_of(message) {
        Some(libc::RTM_NEWROUTE | libc::RTM_DELROUTE) => message.get(ROUTE_LENGTH_AT) == Some(&0),
        Some(_) => true,
        None => false,
    }
}

fn kind_of(message: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes([*message.get(4)?, *message.get(5)?]))
}

/// The link in a message, if it is one about a link (RTM_NEWLINK).
fn link_of(message: &[u8]) -> Option<(u32, Link)> {
    let kind = kind_of(message)?;
    let link = message.get(HEADER_BYTES..HEADER_BYTES + LINK_BYTES)?;
    let flags = InterfaceFlags::from_bits_truncate(number(link, 8)?.cast_signed());
    (kind == libc::RTM_NEWLINK).then_some((number(link, 4)?, Link::of(flags)))
}

/// The number of four bytes at a place, in this machine's order as everything in netlink.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message about a link as the kernel writes it, with an attribute behind it.
    fn message(kind: u16, index: u32, flags: u32) -> Vec<u8> {
        let mut message = Vec::new();
        message.extend(41u32.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend([0; 10]);
        message.extend([0, 0, 1, 0]);
        message.extend(index.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(b"attribute");
        message.resize(44, 0);
        message
    }

    fn told(datagram: &[u8]) -> InterfaceNews {
        let mut news = InterfaceNews::default();
        news.take(datagram);
        news
    }

    /// A message about a route to a network of so many bits.
    fn route(kind: u16, bits: u8) -> Vec<u8> {
        let mut message = message(kind, 0, 0);
        message[ROUTE_LENGTH_AT] = bits;
        message
    }

    #[test]
    fn of_routes_the_default_one_is_news_and_a_thousand_others_are_none() {
        let is_news = |datagram: &[u8]| told(datagram).is_any;
        let others = [route(libc::RTM_NEWROUTE, 24), route(libc::RTM_DELROUTE, 1)].concat();
        assert!(!is_news(&others) && !is_news(&[]));
        for kind in [libc::RTM_NEWROUTE, libc::RTM_DELROUTE] {
            assert!(is_news(&[&others[..], &route(kind, 0)].concat()));
        }
        for kind in [libc::RTM_NEWADDR, libc::RTM_DELADDR, libc::RTM_DELLINK] {
            assert!(is_news(&message(kind, 7, 0)));
        }
    }

    #[test]
    fn links_are_told_in_their_order_and_other_news_is_passed_over() {
        let links_of = |datagram: &[u8]| told(datagram).links;
        let (new_link, new_address) = (libc::RTM_NEWLINK, libc::RTM_NEWADDR);
        let datagram = [
            message(new_link, 7, 0x1003),
            message(new_address, 7, 0x1043),
            message(new_link, 7, 0x1_1043),
            message(new_link, 8, 0x1002),
        ]
        .concat();
        assert_eq!(
            links_of(&datagram),
            [(7, Link::NoCarrier), (7, Link::Up), (8, Link::Off)]
        );
        for length in 0..datagram.len() {
            assert!(links_of(&datagram[..length]).len() <= 3, "cut at {length}");
        }
        assert_eq!(links_of(&[0; 64]), []);
        assert_eq!(links_of(&[0xff; 64]), []);
    }
}
