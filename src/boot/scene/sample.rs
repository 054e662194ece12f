//! The scene of a machine that nobody asked for yet: for texts that are tried, compared or shown, and go to no machine.

use super::{Scene, Secrets, TemplateContext};
use crate::boot::{
    arming::Arming,
    gate::gate,
    machine::{Identity, Who},
    render::TemplateError,
    snapshot::Snapshot,
    world::World,
};
use crate::lease::LeaseTable;
use crate::model::{Arch, BootTarget, By, Cpu, Firmware, MacAddr, Now, Token, WallTime};
use std::net::IpAddr;

/// Stands for a machine that is not listed.
pub const STRANGER: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// What is known of a machine with that firmware where nobody asked yet: its first interface, and that it is what its
/// image is for.
pub fn sample_identity(snapshot: &Snapshot, who: Who<'_>, firmware: Firmware) -> Identity {
    let image = who.settings().and_then(|settings| settings.image.as_ref());
    let image = image.and_then(|image| snapshot.images.get(&image.value));
    let cpu = image.and_then(|image| image.cpu).unwrap_or(Cpu::X86_64);
    let own = who.host().and_then(|host| host.macs.first().copied());
    Identity {
        mac: own.or(Some(STRANGER)),
        arch: Some(Arch { firmware, cpu }),
        ..Identity::default()
    }
}

impl TemplateContext {
    /// The variables of a machine while nothing is known of any but what the inventory says, as before anything is
    /// served. A host that is set to install is armed, and its token is none.
    ///
    /// # Errors
    /// As [`TemplateContext::new`].
    pub fn before_serving(
        snapshot: &Snapshot,
        who: Who<'_>,
        identity: &Identity,
        server: impl Into<IpAddr>,
    ) -> Result<TemplateContext, TemplateError> {
        TemplateContext::untold(snapshot, (who, identity), server.into(), Secrets::Withheld)
    }

    /// The same for a machine's answer, in which something stands for secrets where it may install.
    ///
    /// # Errors
    /// As [`TemplateContext::new`].
    pub fn of_answer_before_serving(
        snapshot: &Snapshot,
        who: Who<'_>,
        identity: &Identity,
        server: impl Into<IpAddr>,
    ) -> Result<TemplateContext, TemplateError> {
        let boot = who
            .host()
            .map(|host| host.settings.boot.as_ref().map(|boot| boot.value));
        let secrets = match boot {
            Some(None | Some(BootTarget::Install | BootTarget::Local)) => Secrets::BlackedOut,
            Some(Some(BootTarget::Live | BootTarget::Rescue | BootTarget::Discover)) | None => Secrets::Withheld,
        };
        TemplateContext::untold(snapshot, (who, identity), server.into(), secrets)
    }

    fn untold(
        snapshot: &Snapshot,
        (who, identity): (Who<'_>, &Identity),
        server: IpAddr,
        secrets: Secrets,
    ) -> Result<TemplateContext, TemplateError> {
        let world = World {
            now: Now::START,
            snapshot,
            leases: &mut LeaseTable::default(),
            arming: &mut armed(who),
        };
        let scene = Scene {
            who,
            install: installs(who).then_some(Token::SAMPLE),
            gate: gate(&world, who),
            identity,
            address: None,
            server,
            secrets,
        };
        TemplateContext::new(snapshot, &scene)
    }
}

/// The machine as it is when its texts matter most: a host that is set to install has them while it is armed alone.
fn armed(who: Who<'_>) -> Arming {
    let mut arming = Arming::default();
    if let Some(host) = who.host()
        && let Ok(change) = arming.arm(Now::START.wall, host, (WallTime(u64::MAX), By::Inventory))
    {
        arming.settle(&change, true);
    }
    arming
}

/// Whether it is a host that is set to install. One that is locked to its disk meanwhile keeps its script.
fn installs(who: Who<'_>) -> bool {
    let boot = who.host().and_then(|host| host.settings.boot.as_ref());
    boot.is_some_and(|boot| boot.value == BootTarget::Install)
}
