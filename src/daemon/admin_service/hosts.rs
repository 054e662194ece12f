//! The hosts of the generation in force.

use super::AdminService;
use crate::admin::{
    Answers, Lines,
    api::{AdminRefusal, HeldAddress, HostFilter, HostStatus, RefusalCode},
    routes::GetHosts,
};
use crate::boot::snapshot::{Host, Hosts, Sourced};
use crate::config;
use crate::lease::LeaseTable;
use crate::model::{BootTarget, MacAddr, Name, Now};
use crate::state::Shared;
use std::sync::Arc;

impl Answers<GetHosts> for AdminService {
    fn answer(&self, HostFilter { host }: HostFilter) -> Result<Lines<HostStatus>, AdminRefusal> {
        let snapshot = self.shared.snapshot.load();
        let hosts = match host.is_empty() {
            true => snapshot.hosts.iter().map(Arc::clone).collect(),
            false => named(&snapshot.hosts, &host)?,
        };
        let shared = Arc::clone(&self.shared);
        Ok(Lines::new(hosts.into_iter().map(move |host| host_now(&shared, &host))))
    }
}

/// The hosts of these names or MACs, each once.
fn named(hosts: &Hosts, names: &[String]) -> Result<Vec<Arc<Host>>, AdminRefusal> {
    let mut found: Vec<Arc<Host>> = Vec::new();
    for name in names {
        let of_mac = || hosts.by_mac(name.parse().ok()?);
        let host = hosts
            .by_name(name)
            .or_else(of_mac)
            .ok_or_else(|| unknown(hosts, name))?;
        if !found.iter().any(|known| Arc::ptr_eq(known, host)) {
            found.push(Arc::clone(host));
        }
    }
    Ok(found)
}

pub(super) fn unknown(hosts: &Hosts, name: &str) -> AdminRefusal {
    let detail = format!("the inventory has no host `{}`", name.escape_debug());
    let known = hosts.iter().map(|host| host.name.as_str());
    let help = config::nearest(name, known).map_or_else(
        || "`bootwright hosts` lists them all".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    AdminRefusal::new(RefusalCode::UnknownHost, detail).with_help(help)
}

/// A host as it is now. The lease table is ours for this one host only: machines wait for it.
fn host_now(shared: &Shared, listed: &Host) -> HostStatus {
    let now = shared.clock.now();
    let holds = held(now, &shared.lease_table(), listed);
    status(listed, holds)
}

/// The addresses that a host's interfaces have.
fn held(now: Now, leases: &LeaseTable, listed: &Host) -> Vec<HeldAddress> {
    let of = |mac: &MacAddr| {
        let mac = *mac;
        let addresses = leases.held_by(now, mac.into());
        addresses.map(move |address| HeldAddress {
            mac: mac.to_string(),
            address,
        })
    };
    listed.macs.iter().flat_map(of).collect()
}

fn status(listed: &Host, holds: Vec<HeldAddress>) -> HostStatus {
    let settings = &listed.settings;
    let text = |name: &Option<Sourced<Name>>| name.as_ref().map(|name| name.value.to_string());
    let boot = settings.boot.as_ref().map_or(BootTarget::Local, |boot| boot.value);
    HostStatus {
        name: listed.name.to_string(),
        macs: listed
            .macs
            .iter()
            .map(ToString::to_string)
            .chain(listed.links.iter().map(ToString::to_string))
            .collect(),
        address: listed.address,
        holds,
        boot: boot.to_string(),
        image: text(&settings.image),
        script: text(&settings.script),
        loaders: settings.loaders.iter().map(|loader| loader.value.clone()).collect(),
        locked: listed.locked,
        written: format!("{}:{}", listed.origin.file, listed.origin.line),
    }
}
