//! Whether this host is the IPv6 router of an interface, as far as can be told: it forwards there, and something on
//! it may advertise. Of forwarding the kernel is asked by rtnetlink(7), because the service sees no `/proc/sys`
//! (`ProcSubset=pid`).

use nix::sys::socket::{MsgFlags, recv, send};
use std::{io, os::fd::AsRawFd};

/// `struct nlmsghdr`, and `struct netconfmsg` with the room up to its attributes.
const HEADER_BYTES: usize = 16;
const NETCONF_BYTES: usize = 4;
const REQUEST_BYTES: u8 = 28;
/// NETCONFA_IFINDEX and NETCONFA_FORWARDING.
const INDEX: u16 = 1;
const FORWARDING: u16 = 2;
/// The room for the kernel's answer, in bytes: a dozen numbers.
const ANSWER_BYTES: usize = 512;

/// Whether the host forwards IPv6 there. An interface without IPv6 forwards none.
pub(super) fn forwards_ipv6(index: u32) -> io::Result<bool> {
    let socket = super::link_events::netlink()?;
    send(socket.as_raw_fd(), &request(index), MsgFlags::empty())?;
    // The answer is there when the question has gone.
    let mut answer = [0; ANSWER_BYTES];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    Ok(says_forwarding(answer.get(..length).unwrap_or_default()))
}

/// The host's raw sockets of IPv6; a process sees those of its own network namespace.
const RAW_SOCKETS: &str = "/proc/thread-self/net/raw6";
/// How a socket of ICMPv6, protocol 58, ends its address there.
const ICMPV6: &str = ":003A";

/// Whether a program of this host may send Router Advertisements: it needs a raw socket for that. Hosts forward for
/// their containers and virtual machines too, and advertise nothing.
pub(super) fn may_advertise() -> io::Result<bool> {
    Ok(has_icmpv6(&std::fs::read_to_string(RAW_SOCKETS)?))
}

fn has_icmpv6(sockets: &str) -> bool {
    let addresses = sockets.lines().filter_map(|line| line.split_whitespace().nth(1));
    addresses.into_iter().any(|address| address.ends_with(ICMPV6))
}

fn request(index: u32) -> Vec<u8> {
    let mut request = u32::from(REQUEST_BYTES).to_ne_bytes().to_vec();
    request.extend(libc::RTM_GETNETCONF.to_ne_bytes());
    request.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request.extend([0; 8]);
    request.extend([libc::AF_INET6 as u8, 0, 0, 0]);
    request.extend(8_u16.to_ne_bytes());
    request.extend(INDEX.to_ne_bytes());
    request.extend(index.to_ne_bytes());
    request
}

/// Whether an answer is no error, and says that forwarding is on.
fn says_forwarding(answer: &[u8]) -> bool {
    let half = |bytes: &[u8], at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    if half(answer, 4) != Some(libc::RTM_NEWNETCONF) {
        return false;
    }
    let mut attributes = answer.get(HEADER_BYTES + NETCONF_BYTES..).unwrap_or_default();
    while let (Some(length), Some(kind)) = (half(attributes, 0), half(attributes, 2))
        && let Some(attribute) = attributes.get(4..usize::from(length))
    {
        if kind == FORWARDING {
            return attribute.iter().any(|byte| *byte != 0);
        }
        let next = usize::from(length).next_multiple_of(4);
        attributes = attributes.get(next..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u16, forwarding: u32) -> Vec<u8> {
        let mut answer = request(7);
        answer[4..6].copy_from_slice(&kind.to_ne_bytes());
        answer.extend(8_u16.to_ne_bytes());
        answer.extend(FORWARDING.to_ne_bytes());
        answer.extend(forwarding.to_ne_bytes());
        answer
    }

    #[test]
    fn only_an_answer_with_forwarding_on_says_so() {
        assert_eq!(request(7).len(), usize::from(REQUEST_BYTES));
        let on = answer(libc::RTM_NEWNETCONF, 1);
        assert!(says_forwarding(&on));
        assert!(!says_forwarding(&answer(libc::RTM_NEWNETCONF, 0)));
        assert!(!says_forwarding(&answer(libc::NLMSG_ERROR as u16, 1)));
        for length in 0..on.len() {
            assert!(!says_forwarding(&on[..length]), "cut at {length}");
        }
        let mut endless = on;
        endless[20..22].copy_from_slice(&0_u16.to_ne_bytes());
        assert!(!says_forwarding(&endless));
    }

    #[test]
    fn a_raw_socket_of_icmpv6_may_advertise_and_one_of_another_protocol_does_not() {
        let head = "  sl  local_address                         remote_address                        st\n";
        let socket = |protocol: &str| {
            let unspecified = "0".repeat(32);
            format!(
                "{head}   58: {unspecified}:{protocol} {unspecified}:0000 07 00000000:00000000 00:00000000 00000000\n"
            )
        };
        assert!(has_icmpv6(&socket("003A")));
        assert!(!has_icmpv6(&socket("0059")), "OSPF");
        assert!(!has_icmpv6(head));
    }

    #[test]
    fn the_kernel_says_what_its_settings_say() {
        let setting = std::fs::read_to_string("/proc/sys/net/ipv6/conf/lo/forwarding");
        let is_on = setting.is_ok_and(|setting| setting.trim() != "0");
        let index = nix::net::if_::if_nametoindex("lo").unwrap();
        assert_eq!(forwards_ipv6(index).unwrap(), is_on);
        assert!(!forwards_ipv6(u32::MAX >> 1).unwrap(), "no such interface");
    }
}
