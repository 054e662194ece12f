//! What is known of an artifact's bytes, as the answer to a request for it.

use super::Refusal;
use crate::boot::{
    ledger::{Seal, Standing},
    snapshot::{Artifact, Image},
};

/// The seal of an artifact whose bytes are right; nothing else is served.
pub(super) fn seal(image: &Image, artifact: &Artifact, standing: &Standing) -> Result<Seal, Refusal> {
    let name = format!("image {}/{}", image.name, artifact.file);
    match standing {
        Standing::Sound { seal, .. } => Ok(seal.clone()),
        Standing::Unread { done } => Err(Refusal::NotYet {
            reason: format!("{name} is being verified, {done} of {} bytes", artifact.stamp.length),
            length: artifact.stamp.length,
        }),
        Standing::Wrong { .. } => Err(Refusal::Broken {
            reason: format!("{name} is not served: its bytes are not those of its sha256; see `bootwright status`"),
        }),
        Standing::Unreadable { reason } => Err(Refusal::Broken {
            reason: format!("{name} is not served: {reason}"),
        }),
    }
}
