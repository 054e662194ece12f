//! How many files this process may open.

use crate::model::limits::OPEN_FILES_MAX;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A storm of machines needs a descriptor for each socket and file.
pub(super) fn raise() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    let wanted = OPEN_FILES_MAX.max(soft);
    let reached = [wanted.max(hard), hard]
        .into_iter()
        .find(|limit| setrlimit(Resource::RLIMIT_NOFILE, wanted.min(*limit), *limit).is_ok());
    if reached.is_none_or(|limit| limit < wanted) {
        tracing::warn!(
            "only {hard} files may be open at once, and a storm of machines needs {wanted}; raise LimitNOFILE"
        );
    }
}
