//! What a request for a file comes to, by TFTP and by HTTP.

use super::Replay;
use crate::boot::{
    change::Change,
    event::{Event, Machine, MachineKey, Stage, Step, Subject},
    resource::{FileRequest, Hearing, Inquiry, Promise, Refusal, Resolved, Resource},
};
use crate::model::Now;
use std::sync::Arc;

/// What a request for a file comes to.
pub(super) struct ReplayedFile {
    pub(super) subject: Subject,
    pub(super) block_max: Option<u16>,
    /// Bytes of it, or why it is not sent.
    pub(super) result: Result<u64, Refusal>,
}

impl Replay<'_> {
    pub(super) fn file(&mut self, now: Now, request: &FileRequest<'_>) -> ReplayedFile {
        let length_of = self.settings.length_of;
        let mut resolved = Inquiry::begin(self.files(now), request).answer();
        if let Some(Promise { token }) = resolved.promise {
            // The capture has what its client says next.
            let hearing = Hearing::Acknowledged { token, link: None };
            let request = FileRequest { hearing, ..*request };
            resolved = Inquiry::begin(self.files(now), &request).answer();
        }
        let Resolved {
            subject,
            block_max,
            change,
            result,
            ..
        } = resolved;
        if let Some(Change::Arming(change)) = &change {
            self.arming.settle(change, true);
            if let (Some(record), Some(event)) = (change.record(), change.event()) {
                let machine = Machine {
                    key: MachineKey::Host(record.name.clone()),
                    ..Machine::default()
                };
                self.publish(&Event {
                    at: now,
                    machine,
                    stage: Stage::Unknown,
                    quirks: Arc::default(),
                    step: Step::Install(event),
                });
            }
        }
        let result = result.map(|resource| match &resource {
            Resource::Text { body, .. } => body.len() as u64,
            Resource::File {
                verified: Some(verified),
                ..
            } => verified.stamp().length,
            // One that is gone since is as good as one that is there: the configuration found it.
            Resource::File { root, file, .. } => length_of(root, file).unwrap_or(1),
        });
        ReplayedFile {
            subject,
            block_max,
            result,
        }
    }
}

/// What a refusal is to its machine.
pub(super) fn refused(now: Now, subject: &Subject, refusal: Refusal) -> Event {
    let file = subject.file.clone();
    match refusal {
        Refusal::NotReady { reason, .. } => subject.event(now, Step::ComeBack { file, reason }),
        refusal => {
            let is_optional = refusal.is_optional();
            subject.failed(now, refusal.into_reason(), is_optional)
        }
    }
}
