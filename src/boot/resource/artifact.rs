//! Artifacts of images: what is known of their bytes, as the answer to a request for one.

use super::{Inquiry, Lookup, Outcome, Refusal, Resource};
use crate::boot::{
    event::Stage,
    snapshot::{Artifact, Image},
    verification::{VerificationState, VerifiedStamp},
};

impl Inquiry<'_> {
    pub(super) fn artifact(&self, image: &str, file: &str) -> Lookup {
        Lookup {
            stage: self
                .system_stage()
                .or_else(|| self.another_loader(file))
                .unwrap_or(Stage::Ipxe),
            what: format!("image {image}/{file}"),
            result: self.verified(image, file).map(Outcome::from),
        }
    }

    fn verified(&self, image: &str, file: &str) -> Result<Resource, Refusal> {
        match &self.artifact {
            Some((image, artifact, state)) => Ok(Resource::File {
                root: image.root.clone(),
                file: artifact.file.clone(),
                verified: Some(verified(image, artifact, state)?),
                is_bulk: true,
                content_type: content_type(file),
            }),
            None => Err(Refusal::NotFound {
                reason: match self.snapshot.images.contains_key(image) {
                    true => format!("image {image} has no artifact {file}"),
                    false => format!("no image is called {image}"),
                },
            }),
        }
    }
}

/// The seal of an artifact whose bytes are right; nothing else is served.
fn verified(image: &Image, artifact: &Artifact, state: &VerificationState) -> Result<VerifiedStamp, Refusal> {
    let name = format!("image {}/{}", image.name, artifact.file);
    match state {
        VerificationState::Verified { verified, .. } => Ok(verified.clone()),
        VerificationState::Pending { done } => Err(Refusal::NotReady {
            reason: format!("{name} is being verified, {done} of {} bytes", artifact.stamp.length),
            length: artifact.stamp.length,
        }),
        VerificationState::Mismatch { .. } => Err(Refusal::ServerError {
            reason: format!("{name} is not served: its bytes are not those of its sha256; see `bootwright status`"),
        }),
        VerificationState::Unreadable { reason } => Err(Refusal::ServerError {
            reason: format!("{name} is not served: {reason}"),
        }),
    }
}

/// The media type by the file's name or its path. UEFI HTTP boot takes a loader by its `application/efi` where
/// the path does not tell.
pub fn content_type(file: &str) -> &'static str {
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension {
        "efi" => "application/efi",
        "iso" => "application/vnd.efi-iso",
        "img" => "application/vnd.efi-img",
        "json" | "ign" => "application/json",
        "xml" => "application/xml",
        "yaml" | "yml" => "application/yaml",
        "cfg" | "ks" | "ipxe" | "txt" => "text/plain; charset=utf-8",
        _ if matches!(file, "user-data" | "meta-data" | "vendor-data" | "network-config") => {
            "text/plain; charset=utf-8"
        }
        _ => "application/octet-stream",
    }
}
