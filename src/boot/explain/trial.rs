//! A boot that was played, with every answer as the servers would have given it.

use super::FileRole;
use crate::boot::{
    engine::{Ingress, Outcome},
    event::RequestedFile,
    machine::{Identity, Who},
    request_path::Transport,
    resource::{Resolved, Resource},
};
use crate::model::{Dialect, Name};
use std::net::Ipv4Addr;

/// A DHCP exchange that was played: a DISCOVER and, where it was answered, the REQUEST that takes the offer.
pub struct TriedExchange<'s> {
    /// Where the packets came in.
    pub ingress: Ingress,
    /// The DISCOVER.
    pub discover: Vec<u8>,
    /// What became of it.
    pub offer: Outcome,
    /// The REQUEST, and what became of it.
    pub taken: Option<(Vec<u8>, Outcome)>,
    /// What it asks the boot server at port 4011 then, where it does.
    pub at_boot_server: Option<TriedBootServer>,
    /// What the DISCOVER let us know of its machine.
    pub identity: Identity,
    /// The machine as the inventory knows it.
    pub who: Who<'s>,
}

/// A request to a boot server that was played.
pub struct TriedBootServer {
    /// Where it came in.
    pub ingress: Ingress,
    /// The REQUEST.
    pub request: Vec<u8>,
    /// What became of it.
    pub outcome: Outcome,
}

/// A file that was asked for.
pub struct TriedFile {
    /// Who asks for it.
    pub role: FileRole,
    /// Its URL.
    pub url: String,
    /// How it was asked for; `None` for a file of another server.
    pub asked: Option<(Transport, String)>,
    /// What it came to.
    pub resolved: Option<Resolved>,
}

/// A boot that was played.
pub struct BootTrial<'s> {
    /// Its DHCP exchanges: the firmware's, and that of the iPXE which it loads.
    pub exchanges: Vec<TriedExchange<'s>>,
    /// The files that it asked for, in order.
    pub files: Vec<TriedFile>,
    /// What the machine is known by in the end.
    pub identity: Identity,
    /// The machine as the inventory knows it in the end.
    pub who: Who<'s>,
    /// The address that it asks for files from.
    pub address: Option<Ipv4Addr>,
    /// What else people should know.
    pub notes: Vec<String>,
    /// Where its script is among the files.
    pub(super) script: Option<(usize, Dialect)>,
}

impl BootTrial<'_> {
    /// The text of its script, if it gets one.
    pub(super) fn script_sent(&self) -> Option<(&TriedFile, Dialect, &str)> {
        let (place, dialect) = self.script?;
        let file = self.files.get(place)?;
        match &file.resolved.as_ref()?.result {
            Ok(Resource::Text { body, .. }) => Some((file, dialect, body)),
            Ok(Resource::File { .. }) | Err(_) => None,
        }
    }
}

impl TriedFile {
    /// The script that it is, where it is one.
    pub(super) fn script_name(&self) -> Option<Name> {
        match &self.resolved.as_ref()?.subject.file {
            RequestedFile::Script { script, .. } => Some(script.clone()),
            _ => None,
        }
    }
}
