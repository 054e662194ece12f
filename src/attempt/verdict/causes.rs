//! The causes, in the order in which they are tried: what was seen comes before what is guessed from a silence.

mod dhcp;
mod disk;
mod installs;
mod refused;
mod silence;

use super::BootCause;

/// Every cause that is known.
pub fn causes() -> impl Iterator<Item = &'static BootCause> {
    let tables = [
        installs::INSTALLS,
        dhcp::DHCP,
        refused::REFUSED,
        silence::SILENCE,
        disk::DISK,
    ];
    tables.into_iter().flatten()
}
