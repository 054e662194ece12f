//! `image fetch` against servers that lie, break off, redirect and change, against nginx, and with
//! signatures made here. Everything is on loopback.

mod catalogue;
mod command;
mod disk;
mod killed;
mod lies;
mod nginx;
mod place;
pub mod server;
mod signed;
