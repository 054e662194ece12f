//! Doctor: whether this machine and its network let machines boot, judged from facts that were gathered before.
//!
//! [`judge`] is a pure function of [`DoctorFacts`]: each thing that was looked at is green, amber or red, with one
//! sentence and, where it is not green, its remedy. Who gathers the facts (`cli`) says what it could not see; nothing
//! is green that was not seen.
//!
//! | file | what it owns |
//! |---|---|
//! | `facts` | everything that is judged, as it was found |
//! | `diagnosis` | what is said of one thing |
//! | `network` | interfaces, ports, other DHCP servers |
//! | `firewall` | whether the rules of nftables and iptables let our packets pass |
//! | `files` | the operator's files, loaders and images |
//! | `signature` | who signed an EFI program, and until when that holds |
//! | `host` | clock, disks, the kernel's limits |
//! | `fleet` | what the daemon saw of relays and switch ports |

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod diagnosis;
mod facts;
mod files;
pub mod firewall;
mod fleet;
mod host;
mod network;
pub mod signature;

pub use diagnosis::{CheckName, Diagnosis, Light};
pub use facts::{
    BootFault, ClockFacts, DaemonFacts, DhcpServerFacts, DiskFacts, DoctorFacts, FilesFacts, ImageFacts,
    InterfaceFacts, InterfaceSeen, KernelLimits, LoaderFacts, LoaderState, PortFacts, PortHolder, PortState,
    RelayFacts,
};

use diagnosis::Diagnoses;

/// Judges everything that was gathered, what is red first.
pub fn judge(facts: &DoctorFacts) -> Vec<Diagnosis> {
    let mut found = Diagnoses::default();
    files::judge_files(facts, &mut found);
    network::judge_interfaces(facts, &mut found);
    network::judge_ports(facts, &mut found);
    network::judge_firewall(facts, &mut found);
    network::judge_other_servers(facts, &mut found);
    files::judge_loaders(facts, &mut found);
    files::judge_images(facts, &mut found);
    host::judge_clock(facts, &mut found);
    host::judge_disks(facts, &mut found);
    host::judge_limits(facts, &mut found);
    fleet::judge_boots(facts, &mut found);
    found.sorted()
}

#[cfg(test)]
mod tests;
