//! The files are read again at an operator's word.

use super::{AdminService, arm::asked_by};
use crate::admin::{
    Answers, Caller, Document,
    api::{AdminRefusal, NoParameters, ReloadAccepted},
    routes::PostReload,
};
use crate::daemon::reload::{ReloadOutcome, Trigger};
use tokio::runtime::Handle;

impl Answers<PostReload> for AdminService {
    fn answer(&self, NoParameters {}: NoParameters, caller: &Caller) -> Result<Document<ReloadAccepted>, AdminRefusal> {
        let by = asked_by(caller, &[])?.into();
        match Handle::current().block_on(self.reloader.reload(Trigger::AdminApi { by })) {
            ReloadOutcome::Accepted(accepted) => Ok(Document(accepted)),
            ReloadOutcome::Refused(refusal) => Err(refusal.into()),
            // Only a watcher's reload looks whether anything changed.
            ReloadOutcome::Unchanged => {
                let snapshot = self.shared.snapshot.load();
                Ok(Document(ReloadAccepted {
                    generation: snapshot.generation,
                    hosts: snapshot.hosts.len(),
                    warnings: Vec::new(),
                    restart_needed_for: Vec::new(),
                    install_targets: Vec::new(),
                }))
            }
        }
    }
}
