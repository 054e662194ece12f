//! The store as a start finds it, and what of that an operator must know.

use crate::model::text::counted;
use crate::store::{
    self, CorruptStore, OpenedStore, Store, StoreError,
    records::{
        birth::{Birth, EpochId},
        leases,
    },
};
use std::{path::Path, sync::Arc};

/// The store, and the epoch of what it remembers; that leases of living machines may be missing in it is logged here, and recorded in it.
pub(super) fn open_store(folder: &Path) -> Result<(Arc<dyn Store>, EpochId), StoreError> {
    let OpenedStore {
        store,
        birth,
        corrupt,
        lost,
        is_copy,
    } = store::open(folder)?;
    log_birth(folder, &birth);
    let is_forgetful = corrupt.is_some() || lost.is_some() || is_copy;
    if is_copy {
        tracing::warn!(
            event = "state_restored",
            "the state in {} was restored from a copy, or moved here by one: nobody is armed, because a host that was \
             armed in it may be installed since. Arm again whom you mean: bootwright arm HOST --for TIME",
            folder.display()
        );
    }
    if let Some(lost) = lost {
        tracing::error!(
            "{lost}, though bootwright ran on {} before: leases that stood there are lost. If you have a copy, stop \
             bootwright, put it there and start again",
            folder.display()
        );
    }
    if let Some(CorruptStore {
        moved_to,
        reason,
        salvaged,
    }) = corrupt
    {
        let leases = salvaged.iter().find(|salvaged| salvaged.kind == leases::NAME);
        let leases = leases.map_or(0, |salvaged| salvaged.records);
        tracing::error!(
            "store corrupt ({reason}), moved to {}: recovered {}; other leases may be lost, and their addresses given to other machines",
            moved_to.display(),
            counted(leases, "lease")
        );
    }
    if is_forgetful {
        tracing::error!(
            "no address is given to another machine, for as long as a lease lasts, before it was probed and nobody \
             answered there: who had it may use it still"
        );
    }
    Ok((store, birth.epoch))
}

/// Says who the store is: at a loss, or a folder that was mixed up, an operator sees it by that.
fn log_birth(folder: &Path, birth: &Birth) {
    let Birth { store, epoch, .. } = birth;
    match birth.is_new {
        true => tracing::info!(%store, %epoch, "the store in {} begins: it knows of nothing before", folder.display()),
        false => tracing::debug!(%store, %epoch, "the store in {}", folder.display()),
    }
}
