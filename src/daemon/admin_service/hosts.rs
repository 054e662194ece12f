//! The hosts of the generation in force.

use super::AdminService;
use crate::admin::{
    Answers, Caller, Lines,
    api::{AdminRefusal, HeldAddress, HostFilter, HostStatus, InstallStatus, RefusalCode, Timestamp},
    routes::GetHosts,
};
use crate::boot::{
    arming::{HostRecord, HostState},
    snapshot::{Host, Hosts, Sourced},
};
use crate::config;
use crate::lease::LeaseTable;
use crate::model::{BootTarget, InstallStep, MacAddr, Name, Now, WallTime};
use crate::state::Shared;
use std::sync::Arc;

impl Answers<GetHosts> for AdminService {
    fn answer(&self, HostFilter { host }: HostFilter, _: &Caller) -> Result<Lines<HostStatus>, AdminRefusal> {
        let snapshot = self.shared.snapshot.load_full();
        let hosts = match host.is_empty() {
            true => snapshot.hosts.iter().map(Arc::clone).collect(),
            false => named(&snapshot.hosts, &host)?,
        };
        let (shared, reports) = (Arc::clone(&self.shared), self.disk_reports());
        Ok(Lines::new(hosts.into_iter().map(move |host| HostStatus {
            disks: reports.told(&snapshot, &host),
            ..host_now(&shared, &host)
        })))
    }
}

/// The hosts of these names or MACs, each once.
pub(super) fn named(hosts: &Hosts, names: &[String]) -> Result<Vec<Arc<Host>>, AdminRefusal> {
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
    let (holds, record, date) = {
        let mut leases = shared.lease_table();
        let record = leases.arming().record(listed).cloned();
        (held(now, &leases, listed), record, leases.date(now))
    };
    let install = match &record {
        Some(record) => Some(install_status(record, (now, date))),
        None => unarmed_state(listed),
    };
    HostStatus {
        install,
        ..status(listed, holds)
    }
}

/// A moment by the calendar on disk, as this host's clock has it.
pub(super) fn by_this_clock(shared: &Shared, moment: impl Fn(WallTime) -> u64) -> Timestamp {
    let date = shared.lease_table().date(shared.clock.now());
    at_this_clock(shared, WallTime(moment(date)))
}

/// The same of one moment.
pub(super) fn at_this_clock(shared: &Shared, moment: WallTime) -> Timestamp {
    let now = shared.clock.now();
    let date = shared.lease_table().date(now);
    shown(moment, (now, date))
}

fn shown(moment: WallTime, (now, date): (Now, WallTime)) -> Timestamp {
    WallTime(now.wall.0.saturating_add(moment.0).saturating_sub(date.0)).into()
}

/// The state of a host that was never armed, where it could be.
fn unarmed_state(listed: &Host) -> Option<InstallStatus> {
    let state = match listed.settings.boot.as_ref().map(|boot| boot.value) {
        Some(BootTarget::Install) => "new",
        None | Some(BootTarget::Local) => "local",
        Some(BootTarget::Live | BootTarget::Rescue | BootTarget::Discover) => return None,
    };
    Some(InstallStatus {
        state: state.to_owned(),
        ..InstallStatus::default()
    })
}

fn install_status(record: &HostRecord, clocks: (Now, WallTime)) -> InstallStatus {
    let plain = InstallStatus {
        state: record.state.name().to_owned(),
        since: Some(shown(record.since, clocks)),
        by: Some(record.by.to_string()),
        ..InstallStatus::default()
    };
    match &record.state {
        HostState::Armed { until } => InstallStatus {
            until: Some(shown(*until, clocks)),
            ..plain
        },
        HostState::Installing(install) => InstallStatus {
            until: Some(shown(install.deadline, clocks)),
            address: Some(install.credential.address),
            tries: Some(install.tries),
            percent: percent(&install.last),
            last_step: Some(install.last.to_string()),
            ..plain
        },
        HostState::Failed { why, last, .. } => InstallStatus {
            percent: percent(last),
            last_step: Some(last.to_string()),
            reason: Some(why.to_string()),
            ..plain
        },
        HostState::Installed { .. } | HostState::Local => plain,
    }
}

fn percent(last: &InstallStep) -> Option<u8> {
    match last {
        InstallStep::Progress { percent, .. } => *percent,
        InstallStep::Script | InstallStep::Answer | InstallStep::Started => None,
    }
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
        install: None,
        disks: None,
        written: format!("{}:{}", listed.origin.file, listed.origin.line),
    }
}
