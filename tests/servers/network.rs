//! A network for one test and what it starts: a namespace of its own, with nothing but a loopback interface.

use std::process::Command;

/// Makes a network namespace for this thread and those it starts.
pub fn own_network() {
    // SAFETY: unshare(2) takes no pointer; CLONE_NEWNET changes this thread's network alone.
    let made = unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0;
    assert!(made, "making a network namespace takes root: run these tests as root");
    ip("link set lo up");
}

pub fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}
