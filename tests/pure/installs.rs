//! A room in which r1u07 is to be installed: who asks, at which time, and what the file path answers.

use crate::fixtures::{draw_token, file_request};
use bootwright::boot::{
    arming::Arming,
    change::Change,
    identity_cache::IdentityCache,
    resource::{FileRequest, Inquiry, Resolved, Resource, Transport},
    snapshot::Snapshot,
    verification::Verification,
    world::{FileWorld, World},
};
use bootwright::lease::LeaseTable;
use bootwright::model::{By, Now, WallTime};
use std::{net::Ipv4Addr, time::Duration};

pub const NOW: Now = Now {
    monotonic: Duration::from_secs(100),
    wall: WallTime(1_764_000_000),
};
/// The address of r1u07.
pub const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
/// That of r1u08.
pub const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 8);
/// What the loader of r1u07 asks for its script.
pub const SCRIPT: &str = "/boot.ipxe?mac=02-00-00-00-00-07";

/// r1u07 of a snapshot, armed for a day.
pub fn armed(snapshot: &Snapshot) -> Arming {
    let mut arming = Arming::default();
    let (until, by) = (WallTime(NOW.wall.0 + 86_400), By::Inventory);
    let host = snapshot.hosts.by_name("r1u07").unwrap();
    let change = arming.arm(NOW.wall, host, (until, by)).unwrap();
    arming.settle(&change, true);
    arming
}

pub fn ask(snapshot: &Snapshot, arming: &mut Arming, request: &FileRequest<'_>) -> Resolved {
    asked(snapshot, arming, request).1
}

/// The same, and all that it changes on disk.
pub fn asked(snapshot: &Snapshot, arming: &mut Arming, request: &FileRequest<'_>) -> (Vec<Change>, Resolved) {
    let files = FileWorld {
        world: World {
            now: NOW,
            snapshot,
            leases: &mut LeaseTable::default(),
            arming,
        },
        identities: &mut IdentityCache::default(),
        verification: &Verification::default(),
        draw_token,
    };
    let inquiry = Inquiry::begin(files, request);
    (inquiry.changes(), inquiry.answer())
}

pub fn get(snapshot: &Snapshot, arming: &mut Arming, peer: Ipv4Addr, path: &str) -> Resolved {
    ask(snapshot, arming, &file_request(Transport::Http, peer, path))
}

pub fn text(resolved: &Resolved) -> &str {
    match &resolved.result {
        Ok(Resource::Text { body, .. }) => body,
        other => panic!("{other:?}"),
    }
}
