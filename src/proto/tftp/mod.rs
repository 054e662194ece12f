//! TFTP (RFC 1350, 2347, 2348, 2349, 7440): read-only; octet mode, and netascii for texts.
//!
//! [`wire`] reads and writes packets, and [`mod@netascii`] texts; [`transfer`] is one outgoing transfer and [`fetch`] one
//! incoming one, each a machine that time and packets are handed to. None has a socket, a clock or
//! a file.

pub mod fetch;
#[cfg(test)]
mod lossy;
mod netascii;
pub mod transfer;
pub mod wire;

pub use netascii::netascii;
