//! What needs neither root nor a network: decisions, formats, files and commands, through the public surface.
//!
//! One program, so that the library is linked once; `cargo test --test pure check::` runs one module of it. What
//! changes the process for everybody in it (its folder, its environment, its limits) is done in a process of
//! its own. Two tests mount a small disk of their own, for which they must be root.
#![expect(unreachable_pub, reason = "the modules of a test program are public to each other")]
#![expect(clippy::unwrap_used, reason = "a test that can not go on stops where it stands")]

mod admin;
mod architecture;
mod arming;
mod attempts;
mod captures;
mod check;
mod dhcp_conformance;
mod explain;
#[path = "../shared/fixtures.rs"]
mod fixtures;
mod fuzz_corpus;
mod generations;
mod image;
mod import;
mod installs;
mod orders;
mod plan;
mod quirks;
mod resources;
mod secrets;
mod store;
mod storm;
#[path = "../shared/strace.rs"]
mod strace;
mod systemd;

use std::process::Command;

/// The test that runs in a process of its own.
const ALONE: &str = "BOOTWRIGHT_TEST_ALONE";

/// Whether this process is `test`'s own. In the one of all tests it runs that one, and fails as it does.
fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some_and(|alone| alone == test) {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", test, "--nocapture"]).env(ALONE, test).output();
    let output = output.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let ran = output.status.success() && printed.contains("1 passed");
    assert!(ran, "{test}: {printed}{}", String::from_utf8_lossy(&output.stderr));
    false
}
