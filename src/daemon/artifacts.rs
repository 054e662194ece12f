//! The artifacts' verification state, as reported to operators and logged when a generation begins.

use crate::admin::api::{ArtifactStatus, Problem, UnservedArtifact};
use crate::boot::{
    snapshot::{Artifact, Image, Snapshot},
    verification::{Verification, VerificationState},
};
use crate::config;
use crate::state::Shared;

/// Every artifact of a generation, by what is known of it.
pub(super) fn known(shared: &Shared, snapshot: &Snapshot) -> ArtifactStatus {
    shared.verification(snapshot, |verification, snapshot| counted(snapshot, verification))
}

fn counted(snapshot: &Snapshot, verification: &Verification) -> ArtifactStatus {
    let mut known = ArtifactStatus::default();
    for (image, artifact) in all(snapshot) {
        let state = verification.state(image, artifact);
        match state {
            VerificationState::Verified { .. } => known.verified += 1,
            VerificationState::Pending { .. }
            | VerificationState::Mismatch { .. }
            | VerificationState::Unreadable { .. } => {
                known.unserved.push(unserved(image, artifact, &state));
            }
        }
    }
    known
}

/// What is odd about a generation's artifacts: those that are known to be wrong.
pub(super) fn warnings(shared: &Shared, snapshot: &Snapshot) -> Vec<Problem> {
    shared.verification(snapshot, |verification, snapshot| {
        let problem = |(image, artifact)| problem(image, artifact, &verification.state(image, artifact));
        all(snapshot).filter_map(problem).collect()
    })
}

/// What is wrong with an artifact, in the words of `bootwright check`; nothing where it is only not
/// verified yet.
pub(super) fn problem(image: &Image, artifact: &Artifact, state: &VerificationState) -> Option<Problem> {
    match state {
        VerificationState::Verified { .. } | VerificationState::Pending { .. } => None,
        VerificationState::Mismatch { found } => Some(Problem::from(&config::wrong(artifact, found))),
        VerificationState::Unreadable { reason } => {
            let path = image.path(artifact);
            let problem = Problem::new(format_args!("{} can't be read: {reason}", path.display()));
            Some(problem.with_help("see `ls -l` for its mode and owner, and `dmesg` for its disk"))
        }
    }
}

/// Logs that an artifact is not served, and where its disk is to blame, that too.
pub(super) fn log_wrong(file: &str, problem: &Problem, has_rotted: bool) {
    tracing::error!(
        event = "artifact_wrong",
        file,
        line = problem.line,
        "{file} is not served: {problem}"
    );
    if has_rotted {
        tracing::error!(
            event = "artifact_rotted",
            file,
            "{file} was right when it was read last, and was not written to since: its disk or this machine's memory \
             fails; see `dmesg` and `smartctl -a`, and put the file there again"
        );
    }
}

fn unserved(image: &Image, artifact: &Artifact, state: &VerificationState) -> UnservedArtifact {
    let length = artifact.stamp.length;
    UnservedArtifact {
        image: image.name.to_string(),
        file: artifact.file.clone(),
        bytes: length,
        bytes_read: match state {
            VerificationState::Pending { done } => *done,
            VerificationState::Unreadable { .. } => 0,
            VerificationState::Verified { .. } | VerificationState::Mismatch { .. } => length,
        },
        problem: problem(image, artifact, state),
    }
}

/// Every artifact of a generation, with its image.
pub(super) fn all(snapshot: &Snapshot) -> impl Iterator<Item = (&Image, &Artifact)> {
    let of = |image| Image::artifacts(image).map(move |artifact| (image, artifact));
    snapshot.images.values().flat_map(of)
}
