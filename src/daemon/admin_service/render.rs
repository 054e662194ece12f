//! What a host would get for a script or a file of its answer, by the generation in force.

use super::{AdminService, hosts::named};
use crate::admin::{
    Answers, Caller, Document,
    api::{AdminRefusal, Problem, RefusalCode, RenderRequest, RenderedText},
    routes::GetRender,
};
use crate::boot::{
    preview::{NoPreview, preview},
    snapshot::{Host, Snapshot},
};
use crate::net::interface::Presence;
use std::net::Ipv4Addr;

impl Answers<GetRender> for AdminService {
    fn answer(&self, request: RenderRequest, _: &Caller) -> Result<Document<RenderedText>, AdminRefusal> {
        let ([_], [name]) = (&request.host[..], &request.name[..]) else {
            let detail = "one host and one text are to be named";
            return Err(AdminRefusal::new(RefusalCode::BadRequest, detail));
        };
        let snapshot = self.shared.snapshot.load();
        let hosts = named(&snapshot.hosts, &request.host)?;
        let Some(host) = hosts.first() else {
            return Err(AdminRefusal::new(RefusalCode::BadRequest, "no host is named"));
        };
        let server = self.address_for(&snapshot, host).into();
        match preview(&snapshot, host, name, server) {
            Ok(text) => Ok(Document(RenderedText {
                host: host.name.to_string(),
                name: name.clone(),
                text,
            })),
            Err(NoPreview::Unnamed(all)) => {
                let detail = format!(
                    "host {} has no script and no answer's file `{}`",
                    host.name,
                    name.escape_debug()
                );
                let help = match all.is_empty() {
                    true => "it has neither a script nor an answer".to_owned(),
                    false => format!("it has {}", all.join(", ")),
                };
                Err(AdminRefusal::new(RefusalCode::NotFound, detail).with_help(help))
            }
            Err(NoPreview::NoOrder(why)) => {
                let detail = format!("host {} has no order for our live system: {why}", host.name);
                Err(AdminRefusal::new(RefusalCode::NotFound, detail))
            }
            Err(NoPreview::Failed(error)) => Err(AdminRefusal {
                errors: vec![Problem {
                    file: error.file.clone(),
                    line: error.line,
                    column: error.column,
                    ..Problem::new(&error.message)
                }],
                ..AdminRefusal::new(
                    RefusalCode::FilesRefused,
                    format!("the template fails for host {}", host.name),
                )
            }),
        }
    }
}

impl AdminService {
    /// Our address that a host would ask: the one in its subnet, or the first.
    fn address_for(&self, snapshot: &Snapshot, host: &Host) -> Ipv4Addr {
        let standings = self.standings.load();
        let served = standings.iter().filter_map(|standing| match &standing.presence {
            Presence::Served(interface) => Some(interface),
            Presence::Missing { .. } | Presence::Unserved { .. } => None,
        });
        let own: Vec<Ipv4Addr> = served
            .flat_map(|interface| interface.addresses.iter().map(|own| own.address))
            .collect();
        let subnet = host.address.and_then(|address| snapshot.subnet_of(address));
        let near = own
            .iter()
            .find(|address| subnet.is_some_and(|subnet| subnet.cidr.contains(**address)));
        near.or(own.first()).copied().unwrap_or(Ipv4Addr::UNSPECIFIED)
    }
}
