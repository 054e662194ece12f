//! What boots came to.

use super::AdminService;
use crate::admin::{
    Answers, Caller, Lines,
    api::{AdminRefusal, AttemptFilter, AttemptStatus, RefusalCode},
    routes::GetAttempts,
};
use crate::attempt::AttemptOwner;
use crate::boot::{event::MachineKey, snapshot::Host};
use std::{net::IpAddr, sync::Arc};

impl Answers<GetAttempts> for AdminService {
    fn answer(
        &self,
        AttemptFilter { machine, all }: AttemptFilter,
        _: &Caller,
    ) -> Result<Lines<AttemptStatus>, AdminRefusal> {
        let wants_all = all.iter().any(|all| all == "true");
        let mut ids = Vec::new();
        for named in &machine {
            let of_machine = self.attempts.ids(Some(&self.owner(named)?));
            let count = if wants_all { of_machine.len() } else { 1 };
            let next = std::iter::once(None).chain(of_machine.iter().copied().map(Some));
            ids.extend(of_machine.iter().copied().zip(next).take(count));
        }
        if machine.is_empty() {
            ids = self.attempts.ids(None).into_iter().map(|id| (id, None)).collect();
        }
        let (attempts, shared) = (Arc::clone(&self.attempts), Arc::clone(&self.shared));
        let (snapshot, reports) = (self.shared.snapshot.load_full(), self.disk_reports());
        Ok(Lines::new(ids.into_iter().filter_map(move |(id, next)| {
            let attempt = attempts.attempt(id)?;
            let silence = match next {
                Some(next) => attempt.silence_before(next),
                None => attempt.silence(shared.clock.now()),
            };
            let host = match &attempt.owner {
                AttemptOwner::Host(name) => snapshot.hosts.by_name(name.as_str()),
                AttemptOwner::Mac(_) => None,
            };
            Some(AttemptStatus {
                disks: host.and_then(|host| reports.told(&snapshot, host)),
                ..AttemptStatus::new(attempt, silence)
            })
        })))
    }
}

impl AdminService {
    /// The machine of this name, MAC, address or serial number.
    pub(super) fn owner(&self, named: &str) -> Result<AttemptOwner, AdminRefusal> {
        let snapshot = self.shared.snapshot.load();
        let hosts = &snapshot.hosts;
        let of_host = |host: &Arc<Host>| AttemptOwner::Host(host.name.clone());
        if let Some(host) = hosts.by_name(named).or_else(|| hosts.with_serial(named)) {
            return Ok(of_host(host));
        }
        if let Ok(mac) = named.parse() {
            return Ok(hosts.by_mac(mac).map_or(AttemptOwner::Mac(mac), of_host));
        }
        let Ok(address) = named.parse::<IpAddr>() else {
            return Err(super::hosts::unknown(hosts, named));
        };
        let owner = match self.shared.machine_at(address).key {
            MachineKey::Host(name) => Some(AttemptOwner::Host(name)),
            MachineKey::Hardware(hardware) => hardware.mac().map(AttemptOwner::Mac),
            MachineKey::Address(_) | MachineKey::Unknown => None,
        };
        owner.ok_or_else(|| {
            AdminRefusal::new(
                RefusalCode::UnknownHost,
                format!("no machine has the address {address} now"),
            )
            .with_help("name its host or its MAC")
        })
    }
}
