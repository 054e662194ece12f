//! What an installer sends back is taken, if it shows the token of an install under way and comes from its host.
//! Whoever is refused is told nothing of why.

use super::{Inquiry, Lookup, LookupResult, Refusal, Resource, Transport};
use crate::boot::{
    callback::CallbackPath,
    change::Change,
    event::{Reason, RequestedFile, Stage},
    world::World,
};
use crate::model::CallbackDoubt;
use std::net::IpAddr;

impl<'a> Inquiry<'a> {
    /// Takes a callback, where the path is one's.
    pub(super) fn take_callback(&mut self, world: &mut World<'a, '_>) {
        let Some(path) = self.path.as_ref().ok().and_then(CallbackPath::of) else {
            return;
        };
        let word = path.word;
        let heard = self.hear(world, &path);
        let result = match heard {
            Ok(change) => {
                self.change = Some(change);
                Ok(())
            }
            Err(why) => Err(why),
        };
        self.callback = Some((word, result));
    }

    fn hear(&self, world: &mut World<'a, '_>, path: &CallbackPath<'_>) -> Result<Change, CallbackDoubt> {
        let request = self.request;
        if request.transport != Transport::Http {
            return Err(CallbackDoubt::Path);
        }
        let token = path.token.filter(|_| path.word.is_some()).ok_or(CallbackDoubt::Path)?;
        let host = self.who.host().ok_or(CallbackDoubt::Host)?;
        let date = world.date();
        world.arming.check(date, host, token)?;
        self.authorise_install().map_err(|_| CallbackDoubt::Address)?;
        // Nothing that anybody sends is read before that: the lease table waits meanwhile.
        let said = path.callback(request.method, (request.query, request.body))?;
        let IpAddr::V4(address) = request.peer else {
            return Err(CallbackDoubt::Address);
        };
        let change = world.arming.heard(date, (host, address), (token, said))?;
        Ok(Change::Arming(change))
    }

    /// What the one who sent it is told.
    pub(super) fn callback_lookup(&self) -> Lookup {
        let (word, result) = self.callback.unwrap_or((None, Err(CallbackDoubt::Path)));
        let taken = LookupResult::from(Resource::Text {
            body: "ok\n".to_owned(),
            content_type: "text/plain; charset=utf-8",
        });
        let peer = self.request.peer;
        Lookup {
            stage: Stage::System,
            file: RequestedFile::Callback { word },
            result: result
                .map(|()| taken)
                .map_err(|why| Refusal::Forbidden(Reason::CallbackRefused { peer, why })),
        }
    }
}
