//! `autoexec.ipxe`: what iPXE for EFI runs before it has asked DHCP anything.
//!
//! It is fetched by the firmware's road, before iPXE has a network: since 1.21.1 (2025) every EFI build runs it
//! with its network interface closed (2.0 opens it first), and a machine's whole script would fail there
//! at its first fetch. Nor does its request say who asks. So it is no machine's script, and leads to
//! that one: the interface is opened, which takes over the address that the firmware had (no second DHCP,
//! and no wait for an IPv6 router), and `boot.ipxe` is asked for with the query that says who it is. Where
//! the firmware's address is of no use, DHCP gives another. Firmware asked DHCP for no log server: where none is set,
//! and the inventory names none for the machine or its subnet, it is told ours here. A file of exactly that path beside
//! the loaders is the operator's own, and goes out as it is.

use super::{Inquiry, Lookup, LookupResult, Resource, content_type};
use crate::boot::{
    event::{RequestedFile, Stage},
    machine::identify,
    paths::{self, Ports},
    snapshot::Snapshot,
};
use crate::proto::dhcp::option_body::LOG_SERVERS;
use std::net::IpAddr;

impl Inquiry<'_> {
    /// The same for every machine: who it is, it says to `boot.ipxe`.
    pub(super) fn autoexec(&self, path: &str) -> Lookup {
        if self.snapshot.loaders.location_of(path).is_some() {
            return Lookup {
                stage: Stage::Ipxe,
                ..self.loader(path)
            };
        }
        let Snapshot { ports, syslog, .. } = *self.snapshot;
        let body = script(self.request.server, ports, syslog && !self.has_log_server());
        Lookup {
            stage: Stage::Ipxe,
            file: RequestedFile::Autoexec,
            result: Ok(LookupResult::from(Resource::Text {
                body,
                content_type: content_type(paths::AUTOEXEC),
            })),
        }
    }

    /// Whether the operator named a log server for the machine that asks, or for where it is: it stands before us.
    fn has_log_server(&self) -> bool {
        let own = identify(self.snapshot, &self.peer).settings();
        let subnet = self.snapshot.subnet_of(self.request.peer);
        own.is_some_and(|own| own.options.contains_key(&LOG_SERVERS))
            || subnet.is_some_and(|subnet| subnet.options.contains_key(&LOG_SERVERS))
    }
}

/// A build without one of these commands goes on behind its `||`.
fn script(server: IpAddr, ports: Ports, syslog: bool) -> String {
    let chain = format!("chain --replace --autofree {} ||", paths::script_url(server, ports));
    let log = match syslog {
        true => format!("isset ${{syslog}} || set syslog {server} ||\n"),
        false => String::new(),
    };
    format!(
        "#!ipxe\n\
         {log}\
         :again\n\
         ifopen ||\n\
         {chain}\n\
         dhcp ||\n\
         {chain}\n\
         echo Bootwright: {server} does not answer. Asking again in 15 seconds.\n\
         sleep 15\n\
         goto again\n"
    )
}
