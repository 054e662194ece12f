//! Artifacts of images: what is known of their bytes, as the answer to a request for one.

use super::{Inquiry, Lookup, LookupResult, Refusal, Resource};
use crate::boot::{
    event::{Reason, RequestedFile, Stage},
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
            file: RequestedFile::Artifact {
                image: self.named(image),
                file: self.named(file),
            },
            result: self.verified(image, file).map(LookupResult::from),
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
            None => {
                let is_known = self.snapshot.images.contains_key(image);
                let (image, file) = (self.named(image), self.named(file));
                Err(Refusal::NotFound(match is_known {
                    true => Reason::ArtifactMissing { image, file },
                    false => Reason::ImageMissing { image },
                }))
            }
        }
    }
}

/// The seal of an artifact whose bytes are right; nothing else is served.
fn verified(image: &Image, artifact: &Artifact, state: &VerificationState) -> Result<VerifiedStamp, Refusal> {
    let name = || (image.name.clone(), artifact.file.as_str().into());
    match state {
        VerificationState::Verified { verified, .. } => Ok(verified.clone()),
        VerificationState::Pending { done } => {
            let ((image, file), length) = (name(), artifact.stamp.length);
            let (done, of) = (*done, length);
            let reason = Reason::Unverified { image, file, done, of };
            Err(Refusal::NotReady { reason, length })
        }
        VerificationState::Mismatch { .. } => {
            let (image, file) = name();
            Err(Refusal::ServerError(Reason::ArtifactWrong { image, file }))
        }
        VerificationState::Unreadable { reason } => {
            let ((image, file), error) = (name(), reason.as_str().into());
            Err(Refusal::ServerError(Reason::ArtifactUnreadable { image, file, error }))
        }
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
        "toml" => "application/toml",
        "xml" => "application/xml",
        "yaml" | "yml" => "application/yaml",
        "cfg" | "ks" | "ipxe" | "txt" => "text/plain; charset=utf-8",
        _ if matches!(file, "user-data" | "meta-data" | "vendor-data" | "network-config") => {
            "text/plain; charset=utf-8"
        }
        _ => "application/octet-stream",
    }
}
