//! Real sockets and real programs on loopback: our servers asked by other people's clients, our clients at other
//! people's servers.
//!
//! One program, so that the library is linked once; `cargo test --test servers sockets::` runs one module of it.
//! Who needs well-known ports has a network namespace for its own thread and those it starts, for which it must be
//! root.
#![expect(unreachable_pub, reason = "the modules of a test program are public to each other")]
#![expect(clippy::unwrap_used, reason = "a test's helpers fail as its assertions do")]
#![expect(
    unsafe_code,
    reason = "unshare(2) and setns(2) have no safe name in the crates we use"
)]

mod deploy;
mod fetch;
mod fetch_image;
#[path = "../shared/fixtures.rs"]
mod fixtures;
mod network;
mod sockets;
#[path = "../shared/strace.rs"]
mod strace;
