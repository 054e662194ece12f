//! IPv6's router discovery, as far as a network without an IPv6 router needs it (RFC 4861): who asks for a
//! router, who is one, and the advertisement that says that none is here.
//!
//! Packets begin with their IPv6 header. Does not own who is answered (`boot::routers`).

use crate::model::MacAddr;
use std::net::Ipv6Addr;

/// Every router on the link, and every host on it.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The link-layer addresses of both (RFC 2464 section 7).
pub const ALL_ROUTERS_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 2]);
/// Of every host.
pub const ALL_NODES_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);

const IP_HEADER_BYTES: usize = 40;
const ICMPV6: u8 = 58;
/// A packet with another hop limit came through a router, and is none of this link's.
const HOP_LIMIT: u8 = 255;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
/// The fixed parts of both, in bytes.
const SOLICITATION_BYTES: usize = 8;
const ADVERTISEMENT_BYTES: usize = 16;
/// Options are counted in this many bytes.
const OPTION_UNIT: usize = 8;
/// The option with the sender's own link-layer address.
const SOURCE_LINK_LAYER: u8 = 1;
/// The flags "addresses by DHCPv6" (M) and "the rest by DHCPv6" (O).
const DHCPV6_FLAGS: u8 = 0xc0;

/// What a packet on the link says of routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterMessage {
    /// A host asks for routers.
    Solicitation {
        /// Its address, unspecified where it has none yet.
        from: Ipv6Addr,
    },
    /// A router, or whoever speaks for one.
    Advertisement {
        /// It offers neither a way out nor a prefix nor DHCPv6, as ours.
        is_empty: bool,
    },
}

/// What an IPv6 packet says of routers, if it is sound (RFC 4861 sections 6.1.1 and 6.1.2); a solicitation
/// from no address that names a link-layer address all the same is let pass.
pub fn hear(packet: &[u8]) -> Option<RouterMessage> {
    let (header, rest) = packet.split_at_checked(IP_HEADER_BYTES)?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let message = rest.get(..length)?;
    let (from, to) = (address(&header[8..24])?, address(&header[24..40])?);
    let is_of_link = header[0] >> 4 == 6 && header[6] == ICMPV6 && header[7] == HOP_LIMIT;
    if !is_of_link || message.get(1) != Some(&0) || checksum(from, to, message) != 0 {
        return None;
    }
    match message[0] {
        ROUTER_SOLICITATION => {
            option_kinds(message.get(SOLICITATION_BYTES..)?)?;
            Some(RouterMessage::Solicitation { from })
        }
        ROUTER_ADVERTISEMENT if from.is_unicast_link_local() => {
            let kinds = option_kinds(message.get(ADVERTISEMENT_BYTES..)?)?;
            Some(RouterMessage::Advertisement {
                is_empty: is_empty(message, &kinds),
            })
        }
        _ => None,
    }
}

/// Lifetime 0, no DHCPv6, and no option but the router's own link-layer address.
fn is_empty(message: &[u8], kinds: &[u8]) -> bool {
    let offers_nothing = message[5] & DHCPV6_FLAGS == 0 && message[6..8] == [0, 0];
    offers_nothing && kinds.iter().all(|kind| *kind == SOURCE_LINK_LAYER)
}

/// The kinds of a message's options; `None` where one has no length, or more than there is.
fn option_kinds(mut options: &[u8]) -> Option<Vec<u8>> {
    let mut kinds = Vec::new();
    while let Some(kind) = options.first() {
        let units = usize::from(*options.get(1)?);
        options = options.get(units * OPTION_UNIT..).filter(|_| units > 0)?;
        kinds.push(*kind);
    }
    Some(kinds)
}

/// The advertisement that ends a host's wait for a router: lifetime 0, so that no host takes it for its router; no
/// prefix; M and O clear; everything else unspecified. For `to` alone, or every host where that is none.
pub fn no_router(own: MacAddr, to: Ipv6Addr) -> Vec<u8> {
    let mut message = [0; ADVERTISEMENT_BYTES];
    message[0] = ROUTER_ADVERTISEMENT;
    let to = if to.is_unicast_link_local() { to } else { ALL_NODES };
    packet(link_local(own), to, &mut message)
}

/// The question whether there is a router. It names our link-layer address, because a router that answers us
/// alone would have to ask for it, and no one answers that where the kernel's IPv6 is switched off.
pub fn solicitation(own: MacAddr) -> Vec<u8> {
    let mut message = [0; SOLICITATION_BYTES + OPTION_UNIT];
    message[0] = ROUTER_SOLICITATION;
    message[SOLICITATION_BYTES..][..2].copy_from_slice(&[SOURCE_LINK_LAYER, 1]);
    message[SOLICITATION_BYTES + 2..].copy_from_slice(&own.0);
    packet(link_local(own), ALL_ROUTERS, &mut message)
}

/// The link-local address that goes with a link-layer address (RFC 4291, appendix A).
fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

fn packet(from: Ipv6Addr, to: Ipv6Addr, message: &mut [u8]) -> Vec<u8> {
    let sum = checksum(from, to, message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let length = u16::try_from(message.len()).expect("router discovery's messages have a few bytes");
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&[ICMPV6, HOP_LIMIT]);
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.octets());
    packet.extend_from_slice(message);
    packet
}

fn address(bytes: &[u8]) -> Option<Ipv6Addr> {
    <[u8; 16]>::try_from(bytes).ok().map(Ipv6Addr::from)
}

/// ICMPv6's checksum over the pseudo header and the message (RFC 4443 section 2.3). Of a message that has
/// its own in it already it is 0.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u64 {
        bytes
            .chunks(2)
            .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
            .sum()
    };
    let length = u64::try_from(message.len()).expect("a packet's length fits");
    let mut sum = words(&from.octets()) + words(&to.octets()) + length + u64::from(ICMPV6) + words(message);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MacAddr = MacAddr([2, 0, 0xc0, 0, 2, 1]);

    #[test]
    fn the_advertisement_offers_nothing_and_is_for_the_one_that_asked() {
        let to: Ipv6Addr = "fe80::5054:ff:fe00:7".parse().unwrap();
        let packet = no_router(OWN, to);
        assert_eq!(packet.len(), 56);
        assert_eq!(packet[..8], [0x60, 0, 0, 0, 0, 16, 58, 255]);
        assert_eq!(address(&packet[8..24]), "fe80::c0ff:fe00:201".parse().ok());
        assert_eq!(address(&packet[24..40]), Some(to));
        assert_eq!(packet[40..42], [134, 0]);
        assert_eq!(packet[44..], [0; 12], "hop limit, flags, lifetime and timers");
        assert_eq!(hear(&packet), Some(RouterMessage::Advertisement { is_empty: true }));
    }

    #[test]
    fn who_has_no_address_yet_is_answered_as_everybody() {
        let packet = no_router(OWN, Ipv6Addr::UNSPECIFIED);
        assert_eq!(address(&packet[24..40]), Some(ALL_NODES));
        let elsewhere = no_router(OWN, "2001:db8::1".parse().unwrap());
        assert_eq!(
            address(&elsewhere[24..40]),
            Some(ALL_NODES),
            "no packet leaves the link"
        );
    }

    #[test]
    fn our_question_is_one_to_every_router() {
        let packet = solicitation(OWN);
        let from = link_local(OWN);
        assert_eq!(hear(&packet), Some(RouterMessage::Solicitation { from }));
        assert_eq!(address(&packet[24..40]), Some(ALL_ROUTERS));
        assert_eq!(packet[48..], [1, 1, 2, 0, 0xc0, 0, 2, 1], "where an answer goes");
    }

    #[test]
    fn a_router_is_told_from_who_only_says_that_there_is_none() {
        let advertised = |change: fn(&mut Vec<u8>)| {
            let mut message = vec![0; ADVERTISEMENT_BYTES];
            message[0] = ROUTER_ADVERTISEMENT;
            change(&mut message);
            hear(&packet(link_local(OWN), ALL_NODES, &mut message))
        };
        let is_empty = |change| advertised(change) == Some(RouterMessage::Advertisement { is_empty: true });
        assert!(is_empty(|_| {}));
        assert!(is_empty(|message| message.extend([1, 1, 2, 0, 0, 0, 0, 1])));
        assert!(!is_empty(|message| message[7] = 30), "a lifetime");
        assert!(!is_empty(|message| message[5] = 0x80), "addresses by DHCPv6");
        assert!(!is_empty(|message| message[5] = 0x40), "the rest by DHCPv6");
        let with_a_prefix = advertised(|message| {
            message.extend([3, 4]);
            message.extend([0; 30]);
        });
        assert_eq!(with_a_prefix, Some(RouterMessage::Advertisement { is_empty: false }));
        // None that RFC 4861 has hosts take.
        assert_eq!(advertised(|message| message.extend([1, 0, 2, 0, 0, 0, 0, 1])), None);
        assert_eq!(advertised(|message| message.extend([3, 4, 0, 0, 0, 0, 0, 0])), None);
        assert_eq!(advertised(|message| message.push(1)), None);
        let mut message = [0; ADVERTISEMENT_BYTES];
        message[0] = ROUTER_ADVERTISEMENT;
        let elsewhere = "2001:db8::1".parse().unwrap();
        assert_eq!(hear(&packet(elsewhere, ALL_NODES, &mut message)), None);
    }

    #[test]
    fn garbage_and_what_a_router_let_through_say_nothing() {
        let whole = solicitation(OWN);
        for length in 0..whole.len() {
            assert_eq!(hear(&whole[..length]), None);
        }
        for (at, value) in [(0, 0x40), (6, 17), (7, 254), (41, 1), (43, 9)] {
            let mut changed = whole.clone();
            changed[at] = value;
            assert_eq!(hear(&changed), None, "byte {at}");
        }
        for length in 0..64 {
            let _ = hear(&vec![0x60; length]);
        }
    }
}
