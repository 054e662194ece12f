//! TFTP (RFC 1350, 2347, 2348, 2349, 7440): read-only, octet mode.
//!
//! [`wire`] reads and writes packets; [`transfer`] is one outgoing transfer as a machine that time
//! and packets are handed to. Neither has a socket, a clock or a file.

pub mod transfer;
pub mod wire;
