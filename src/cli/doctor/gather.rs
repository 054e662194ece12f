//! Everything that is looked at, in the order in which it is needed.

use super::{DoctorArgs, Unseen, boot, firewall, network, system};
use crate::admin::{
    api::{AttemptFilter, AttemptStatus, NoParameters, RelayStatus, Status},
    client::{self, ClientError},
    routes::{GetAttempts, GetStatus},
};
use crate::cli::hashing::{hashing, kept_by};
use crate::config::{
    Appliance, LoadReport, Loaded,
    validation::{on_disk, try_and_load},
};
use crate::doctor::{BootFault, DaemonFacts, DoctorFacts, FilesFacts, RelayFacts};
use crate::images::{
    reading::ReadVia,
    sums::{Deferred, Sums},
};
use crate::model::Cidr;
use std::{
    io,
    path::{Path, PathBuf},
};

/// What is to be said where the settings themselves can't be used.
pub(super) fn without_settings(report: LoadReport) -> DoctorFacts {
    DoctorFacts {
        files: files(Err(&report)),
        ..DoctorFacts::default()
    }
}

/// Looks at everything.
pub(super) fn facts(args: &DoctorArgs, settings: &Path, appliance: &Appliance, unseen: &mut Unseen) -> DoctorFacts {
    let socket = args.socket.as_ref().unwrap_or(&appliance.admin_socket);
    let status = daemon(socket, settings, unseen);
    let loaded = load(settings, appliance, args.full);
    let interfaces = network::interfaces(appliance, unseen);
    let other_servers = match args.probe {
        true => network::other_servers(appliance, unseen),
        false => {
            unseen.add("other DHCP servers on the wire: --probe asks for them, as a machine would");
            None
        }
    };
    let snapshot = loaded.as_ref().ok().map(|loaded| &loaded.snapshot);
    let hosts = snapshot.map_or(0, |snapshot| snapshot.hosts.len());
    DoctorFacts {
        files: files(loaded.as_ref()),
        daemon: status.as_ref().map(daemon_facts),
        ports: network::ports(appliance, status.as_ref()),
        interfaces,
        subnets: snapshot.map(|snapshot| snapshot.subnets.iter().map(|subnet| subnet.cidr).collect::<Vec<Cidr>>()),
        tftp_port: appliance.tftp_port,
        http_port: appliance.http_port,
        tftp_single_port: appliance.tftp_single_port,
        firewall: firewall::rules(unseen),
        other_servers,
        loaders: snapshot.map_or_else(Vec::new, boot::loaders),
        images: snapshot.map(|snapshot| boot::images(snapshot, appliance, (status.as_ref(), args.full))),
        clock: system::clock(&[settings, &appliance.inventory], unseen),
        disks: system::disks(appliance, hosts, unseen),
        limits: system::limits(status.as_ref().map(|status| status.pid)),
        hosts,
        relays: status.as_ref().map_or_else(Vec::new, relays),
        faults: status.as_ref().map_or_else(Vec::new, |_| faults(socket, unseen)),
    }
}

fn load(settings: &Path, appliance: &Appliance, is_full: bool) -> Result<Loaded, LoadReport> {
    let mut sums: Box<dyn Sums> = match is_full {
        true => Box::new(hashing(kept_by(appliance), ReadVia::Memory)),
        false => Box::new(Deferred),
    };
    try_and_load(on_disk(settings), 1, &mut *sums).map(|(loaded, _)| loaded)
}

fn files(loaded: Result<&Loaded, &LoadReport>) -> FilesFacts {
    match loaded {
        Ok(loaded) => FilesFacts {
            errors: Vec::new(),
            warnings: loaded.warnings.len(),
        },
        Err(report) => {
            let said = report.errors.iter().map(|error| {
                let place = error
                    .place
                    .map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
                ([&error.file, &place, ": ", &error.message].concat(), error.help.clone())
            });
            FilesFacts {
                errors: said.collect(),
                warnings: report.warnings.len(),
            }
        }
    }
}

/// The daemon's own word, if one runs.
fn daemon(socket: &Path, settings: &Path, unseen: &mut Unseen) -> Option<Status> {
    let status = match client::document::<GetStatus, Status>(socket, &NoParameters {}) {
        Ok(status) => status,
        Err(ClientError::NoDaemon { source, .. }) if is_absent(&source) => {
            let socket = socket.display();
            unseen.add(format_args!(
                "what only a daemon knows (relays, boots that failed): none runs at {socket}"
            ));
            return None;
        }
        Err(error) => {
            unseen.add(format_args!("what the daemon knows: {error}"));
            return None;
        }
    };
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    if absolute(&status.config) != absolute(settings) {
        let served = status.config.display();
        unseen.add(format_args!(
            "{served}: the daemon serves that, and looked at was {}",
            settings.display()
        ));
    }
    Some(status)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn daemon_facts(status: &Status) -> DaemonFacts {
    let failure = status.lease_write_failure.as_ref();
    DaemonFacts {
        pid: status.pid,
        version: status.version.clone(),
        generation: status.generation,
        has_refused: status.last_refusal.is_some(),
        unwritable: (!status.leases_writable)
            .then(|| failure.map_or_else(|| "see its log".into(), |failure| failure.message.clone())),
        restart_needed_for: status.restart_needed_for.clone(),
    }
}

fn relays(status: &Status) -> Vec<RelayFacts> {
    let relay = |relay: &RelayStatus| RelayFacts {
        address: relay.relay,
        link: relay.link,
        subnet: relay.subnet.clone(),
        switch: relay.switch.clone(),
        ports: relay.ports.clone(),
        names_a_vlan: relay.names_a_vlan,
        is_believed: relay.is_believed,
        is_proxied: relay.is_proxied,
        machines: relay.machines,
    };
    status.relays.iter().map(relay).collect()
}

/// What machines' last boots came to nothing for, as far as a relay or a switch is behind it.
fn faults(socket: &Path, unseen: &mut Unseen) -> Vec<BootFault> {
    let attempts = client::list::<GetAttempts, AttemptStatus>(socket, &AttemptFilter::default());
    let attempts = attempts.unwrap_or_else(|error| {
        unseen.add(format_args!("what boots came to: {error}"));
        Vec::new()
    });
    let fault = |attempt: &AttemptStatus| {
        // A machine that got past it does not stand before it any more.
        attempt.verdict.as_ref()?;
        let reason = attempt.steps.iter().rev().find_map(|step| step.reason.as_ref())?;
        Some(BootFault {
            machine: attempt.machine(),
            code: reason.code.clone(),
            sentence: reason.sentence.clone().into(),
        })
    };
    attempts.iter().filter_map(fault).collect()
}
