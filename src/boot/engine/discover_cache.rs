//! Remembers the options of a client's DISCOVER for the REQUEST of the same exchange.
//!
//! VMware's PXE ROM says what it is (options 60 and 93) in its DISCOVER alone. Its REQUEST looks like a
//! running system's, and an ACK without a boot file is the end of that boot.

use crate::boot::identity_cache::RecentMap;
use crate::model::{
    HardwareAddr, Now, Uuid,
    limits::{EXCHANGE_CLASSES_BYTES_MAX, EXCHANGE_TTL, EXCHANGE_USER_CLASSES_MAX, EXCHANGES_MAX},
};
use crate::proto::dhcp::{IpxeFeatures, Request, RequestKind};
use std::time::Duration;

/// The words of the exchanges that are under way.
#[derive(Debug, Default)]
pub struct DiscoverCache {
    claimed: RecentMap<HardwareAddr, DiscoverInfo>,
}

/// What a DISCOVER told of its client.
#[derive(Debug)]
struct DiscoverInfo {
    xid: u32,
    /// When, on the monotonic clock.
    at: Duration,
    vendor_class: Option<Vec<u8>>,
    archs: Vec<u16>,
    user_classes: Vec<Vec<u8>>,
    ipxe: Option<IpxeFeatures>,
    uuid: Option<Uuid>,
}

impl DiscoverCache {
    /// Notes what a DISCOVER says, and adds it to a REQUEST that takes an offer and does not say it again.
    /// Nothing is added to what is echoed: the client gets back what it sent.
    pub fn complete(&mut self, now: Now, request: &mut Request) {
        let is_mute = request.vendor_class.is_none() && request.archs.is_empty();
        match request.kind {
            RequestKind::Discover if is_mute || !is_small_enough(request) => self.claimed.forget(request.hardware),
            RequestKind::Discover => self.record(now, request),
            RequestKind::Request if is_mute && request.server_identifier.is_some() => self.add(now, request),
            RequestKind::Request
            | RequestKind::Decline
            | RequestKind::Release
            | RequestKind::Inform
            | RequestKind::Bootp
            | RequestKind::Other(_) => {}
        }
    }

    fn record(&mut self, now: Now, request: &Request) {
        self.claimed.record(request.hardware, DiscoverInfo::of(now, request));
        self.claimed.evict(EXCHANGES_MAX, |claimed| claimed.is_over(now));
    }

    fn add(&self, now: Now, request: &mut Request) {
        let Some(claimed) = self.claimed.get(request.hardware) else {
            return;
        };
        if claimed.xid != request.xid || claimed.is_over(now) {
            return;
        }
        request.vendor_class.clone_from(&claimed.vendor_class);
        request.archs.clone_from(&claimed.archs);
        if request.user_classes.is_empty() {
            request.user_classes.clone_from(&claimed.user_classes);
        }
        request.ipxe = request.ipxe.or(claimed.ipxe);
        request.uuid = request.uuid.or(claimed.uuid);
    }
}

impl DiscoverInfo {
    fn of(now: Now, request: &Request) -> DiscoverInfo {
        DiscoverInfo {
            xid: request.xid,
            at: now.monotonic,
            vendor_class: request.vendor_class.clone(),
            archs: request.archs.clone(),
            user_classes: request.user_classes.clone(),
            ipxe: request.ipxe,
            uuid: request.uuid,
        }
    }

    fn is_over(&self, now: Now) -> bool {
        now.monotonic.saturating_sub(self.at) > EXCHANGE_TTL
    }
}

/// Whether what is remembered of a DISCOVER is no more than firmware says: anybody may send one, of 9 KiB.
fn is_small_enough(request: &Request) -> bool {
    let classes = &request.user_classes;
    let bytes = request.vendor_class.as_ref().map_or(0, Vec::len)
        + size_of_val(request.archs.as_slice())
        + classes.iter().map(Vec::len).sum::<usize>();
    classes.len() <= EXCHANGE_USER_CLASSES_MAX && bytes <= EXCHANGE_CLASSES_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WallTime;
    use crate::proto::dhcp;

    fn at(seconds: u64) -> Now {
        Now {
            monotonic: Duration::from_secs(seconds),
            wall: WallTime(1_700_000_000 + seconds),
        }
    }

    /// A DISCOVER (1), or a REQUEST (3) that takes an offer, of the machine with that number.
    fn packet(kind: u8, machine: u32, words: &[(u8, &[u8])]) -> Request {
        let mut bytes = vec![0; 240];
        bytes[..8].copy_from_slice(&[1, 1, 6, 0, 1, 2, 3, 4]);
        bytes[28..34].copy_from_slice(&[0x52, 0x54, 0, 0, 0, 0]);
        bytes[30..34].copy_from_slice(&machine.to_be_bytes());
        bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
        bytes.extend([53, 1, kind]);
        if kind == 3 {
            bytes.extend([54, 4, 192, 0, 2, 1]);
        }
        for (code, body) in words {
            // More than 255 bytes go in several options (RFC 3396).
            for part in body.chunks(255) {
                bytes.extend([*code, u8::try_from(part.len()).unwrap()]);
                bytes.extend(part);
            }
        }
        bytes.push(255);
        dhcp::parse(&bytes).unwrap()
    }

    fn discover(words: &mut DiscoverCache, seconds: u64, machine: u32, claimed: &[(u8, &[u8])]) {
        words.complete(at(seconds), &mut packet(1, machine, claimed));
    }

    /// What the REQUEST of a machine that says nothing is taken to say of option 60.
    fn vendor_class(words: &mut DiscoverCache, seconds: u64, machine: u32) -> Option<Vec<u8>> {
        let mut request = packet(3, machine, &[]);
        words.complete(at(seconds), &mut request);
        request.vendor_class
    }

    #[test]
    fn no_more_words_are_remembered_than_firmware_says() {
        let class = b"PXEClient:Arch:00007:UNDI:003016";
        let long = [b'x'; 481];
        let eight = b"\x01a\x01b\x01c\x01d\x01e\x01f\x01g\x01h";
        let nine = b"\x01a\x01b\x01c\x01d\x01e\x01f\x01g\x01h\x01i";
        let archs = [0, 7].repeat(241);
        for (more, is_remembered) in [
            ((93, &[0, 7][..]), true),
            ((77, &eight[..]), true),
            ((77, &long[..480]), true),
            ((93, &archs[..480]), true),
            ((77, &nine[..]), false),
            ((77, &long[..]), false),
            ((93, &archs[..]), false),
        ] {
            let mut words = DiscoverCache::default();
            discover(&mut words, 0, 1, &[(60, class)]);
            discover(&mut words, 0, 1, &[(60, class), more]);
            let known = vendor_class(&mut words, 1, 1);
            assert_eq!(known.as_deref(), is_remembered.then_some(&class[..]), "{more:?}");
        }
        let mut words = DiscoverCache::default();
        discover(&mut words, 0, 1, &[(60, &[b'x'; 513])]);
        assert_eq!(vendor_class(&mut words, 1, 1), None);
    }

    #[test]
    fn a_flood_of_forged_machines_is_remembered_in_bounded_memory_and_no_longer_than_an_exchange() {
        let mut words = DiscoverCache::default();
        let flood = u32::try_from(EXCHANGES_MAX).unwrap() + 10;
        for machine in 0..flood {
            discover(&mut words, 0, machine, &[(60, b"PXEClient")]);
        }
        assert_eq!(words.claimed.len(), EXCHANGES_MAX);
        assert_eq!(vendor_class(&mut words, 1, 9), None);
        assert!(vendor_class(&mut words, 1, flood - 1).is_some());
        // One that is there already takes the place of no other.
        discover(&mut words, 1, flood - 1, &[(60, b"PXEClient")]);
        assert!(vendor_class(&mut words, 1, 10).is_some());
        discover(&mut words, EXCHANGE_TTL.as_secs() + 1, flood, &[(60, b"PXEClient")]);
        assert_eq!(words.claimed.len(), 2, "the two that are not over");
    }
}
