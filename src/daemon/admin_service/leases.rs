//! The leases that run.

use super::AdminService;
use crate::admin::{
    Answers, Caller, Lines,
    api::{AdminRefusal, LeaseStatus, NoParameters},
    routes::GetLeases,
};
use crate::boot::{
    machine::{Identity, identify},
    snapshot::Snapshot,
};
use crate::lease;
use crate::model::{Now, WallTime};

impl Answers<GetLeases> for AdminService {
    fn answer(&self, NoParameters {}: NoParameters, _: &Caller) -> Result<Lines<LeaseStatus>, AdminRefusal> {
        let snapshot = self.shared.snapshot.load_full();
        let now = self.shared.clock.now();
        let running: Vec<lease::Lease> = self.shared.lease_table().acknowledged(now).collect();
        let leases = running.into_iter();
        Ok(Lines::new(
            leases.filter_map(move |running| lease(&snapshot, now, &running)),
        ))
    }
}

/// A lease that runs, with its end by this host's clock as it is now.
fn lease(snapshot: &Snapshot, now: Now, running: &lease::Lease) -> Option<LeaseStatus> {
    let hardware = running.client?;
    let client = Identity::of_hardware(hardware);
    let host = identify(snapshot, &client).host();
    let expires = WallTime(now.wall.0.saturating_add(running.remaining.as_secs()));
    Some(LeaseStatus {
        address: running.address,
        client: hardware.to_string(),
        host: host.map(|host| host.name.to_string()),
        expires: expires.into(),
    })
}
