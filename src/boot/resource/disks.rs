//! What a machine tells of its disks, by the callback `started` of its install or, in any system that it boots from us,
//! at a path of its own: it is kept for whoever arms it. Nothing is decided by it.

use super::{Inquiry, Lookup, LookupResult, Refusal, Resource};
use crate::boot::{
    callback::told_disks,
    event::{Reason, RequestedFile, Stage},
    method::Method,
    paths,
    world::World,
};
use crate::model::CallbackWord;

impl<'a> Inquiry<'a> {
    /// Keeps what a host tells of its disks, where it does: the host itself, at its own address.
    pub(super) fn take_disks(&mut self, world: &mut World<'a, '_>) {
        let is_allowed = match self.callback {
            Some((word, taken)) => word == Some(CallbackWord::Started) && taken.is_ok(),
            None => self
                .tells_disks()
                .is_some_and(|machine| self.authorise(machine, &self.subject, self.who).is_ok()),
        };
        if self.request.method != Method::Post || !is_allowed {
            return;
        }
        if let (Some(host), Some(disks)) = (self.who.host(), told_disks(self.request.body)) {
            let date = world.date();
            self.told_disks = world.arming.tell_disks(date, host, disks);
        }
    }

    /// The machine whose disks are told of at the path of their own.
    fn tells_disks(&self) -> Option<&str> {
        let mut components = self.path.as_ref().ok()?.components();
        let (Some(paths::DISKS), Some(machine), None) = (components.next(), components.next(), components.next())
        else {
            return None;
        };
        Some(machine)
    }

    /// What the one who told of them is told.
    pub(super) fn disks_lookup(&self, machine: &str) -> Lookup {
        let peer = self.request.peer;
        let read = || match told_disks(self.request.body) {
            Some(_) => Ok(LookupResult::from(Resource::Text {
                body: "ok\n".to_owned(),
                content_type: "text/plain; charset=utf-8",
            })),
            None => Err(Refusal::Forbidden(Reason::DisksUnread { peer })),
        };
        Lookup {
            stage: Stage::System,
            file: RequestedFile::Disks,
            result: self.authorise(machine, &self.subject, self.who).and_then(|()| read()),
        }
    }
}
