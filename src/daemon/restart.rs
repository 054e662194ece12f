//! What of the settings holds only after a restart.

use crate::config::Appliance;

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
