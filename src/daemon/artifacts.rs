//! What is said of artifacts: to operators, and when a generation begins.

use crate::admin::answer::{Artifacts, Problem, Unserved};
use crate::boot::{
    ledger::{Ledger, Standing},
    snapshot::{Artifact, Image, Snapshot},
};
use crate::config;

/// Every artifact of a generation, by what is known of it.
pub(super) fn known(snapshot: &Snapshot, ledger: &Ledger) -> Artifacts {
    let mut known = Artifacts::default();
    for (image, artifact) in all(snapshot) {
        let standing = ledger.standing(image, artifact);
        match standing {
            Standing::Sound { .. } => known.verified += 1,
            Standing::Unread { .. } | Standing::Wrong { .. } | Standing::Unreadable { .. } => {
                known.unserved.push(unserved(image, artifact, &standing));
            }
        }
    }
    known
}

/// What is odd about a generation's artifacts: those that are known to be wrong.
pub(super) fn warnings(snapshot: &Snapshot, ledger: &Ledger) -> Vec<Problem> {
    let problem = |(image, artifact)| problem(image, artifact, &ledger.standing(image, artifact));
    all(snapshot).filter_map(problem).collect()
}

/// What is wrong with an artifact, in the words of `bootwright check`; nothing where it is only not
/// verified yet.
pub(super) fn problem(image: &Image, artifact: &Artifact, standing: &Standing) -> Option<Problem> {
    match standing {
        Standing::Sound { .. } | Standing::Unread { .. } => None,
        Standing::Wrong { found } => Some(Problem::from(&config::wrong(artifact, found))),
        Standing::Unreadable { reason } => Some(Problem {
            help: Some("see `ls -l` for its mode and owner, and `dmesg` for its disk".to_owned()),
            ..Problem::new(format!("{} can't be read: {reason}", image.path(artifact).display()))
        }),
    }
}

fn unserved(image: &Image, artifact: &Artifact, standing: &Standing) -> Unserved {
    let length = artifact.stamp.length;
    Unserved {
        image: image.name.to_string(),
        file: artifact.file.clone(),
        bytes: length,
        bytes_read: match standing {
            Standing::Unread { done } => *done,
            Standing::Unreadable { .. } => 0,
            Standing::Sound { .. } | Standing::Wrong { .. } => length,
        },
        problem: problem(image, artifact, standing),
    }
}

/// Every artifact of a generation, with its image.
pub(super) fn all(snapshot: &Snapshot) -> impl Iterator<Item = (&Image, &Artifact)> {
    let of = |image| Image::artifacts(image).map(move |artifact| (image, artifact));
    snapshot.images.values().flat_map(of)
}
