//! What of the settings holds only after a restart, and what of them this process takes over as it goes.

use super::machine_memory;
use crate::config::Appliance;
use crate::state::Shared;

/// How much memory what is kept may take, from now on.
pub(super) fn take_over(shared: &Shared, appliance: &Appliance) {
    shared.recorder.resize(appliance.recorder_bytes);
    let hot_images = machine_memory::for_hot_images(appliance.hot_images);
    shared.hot_images.resize(hot_images);
}

/// The settings that differ and that a running process can't change.
pub(super) fn restart_needed(running: &Appliance, wanted: &Appliance) -> Vec<String> {
    let rows = [
        ("interfaces under [network]", running.interfaces != wanted.interfaces),
        (
            "machines_per_address under [network]",
            running.shared_addresses != wanted.shared_addresses,
        ),
        (
            "router_advertisements under [network]",
            running.router_advertisements != wanted.router_advertisements,
        ),
        ("port under [http]", running.http_port != wanted.http_port),
        ("bulk_streams under [http]", running.bulk_streams != wanted.bulk_streams),
        ("port under [tftp]", running.tftp_port != wanted.tftp_port),
        (
            "single_port under [tftp]",
            running.tftp_single_port != wanted.tftp_single_port,
        ),
        ("enabled under [syslog]", running.syslog != wanted.syslog),
        ("path under [state]", running.state != wanted.state),
        ("socket under [admin]", running.admin_socket != wanted.admin_socket),
    ];
    rows.into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| name.to_owned())
        .collect()
}
