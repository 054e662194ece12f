//! The keys by which a machine in rescue is entered: the inventory's `vars.ssh_keys`, for that machine alone.

use super::{Inquiry, Lookup, LookupResult, Resource};
use crate::boot::{
    event::{RequestedFile, Stage},
    snapshot::Var,
};

/// The variable of the inventory that has them, as in the shipped answers.
const SSH_KEYS: &str = "ssh_keys";

impl Inquiry<'_> {
    /// A line a key, as `authorized_keys` has it; nothing where the inventory has none.
    pub(super) fn ssh_keys(&self, machine: &str) -> Lookup {
        let result = self.authorise(machine, &self.subject, self.who).map(|()| {
            let settings = self.who.settings();
            let keys = settings.and_then(|settings| settings.vars.get(SSH_KEYS));
            LookupResult::from(Resource::Text {
                body: keys.map(|keys| lines(&keys.value)).unwrap_or_default(),
                content_type: "text/plain; charset=utf-8",
            })
        });
        Lookup {
            stage: Stage::System,
            file: RequestedFile::SshKeys,
            result,
        }
    }
}

/// Each text of a list, or the only one.
fn lines(keys: &Var) -> String {
    match keys {
        Var::Text(key) => [key.trim(), "\n"].concat(),
        Var::List(keys) => keys.iter().map(lines).collect(),
        // A secret goes into the answers of installs alone, and a public key is none.
        Var::Bool(_) | Var::Integer(_) | Var::Float(_) | Var::Table(_) | Var::Secret(_) => String::new(),
    }
}
