//! Arms a host that appears in the inventory for the first time: one that this store has been serving without.

use crate::admin::api::InstallTarget;
use crate::boot::{
    arming::{
        Arming, KnownInstalls, Standing, is_install_target,
        served::{Newcomers, ServedHosts, ServedRecord},
    },
    change::Change,
    snapshot::{Host, Snapshot},
};
use crate::model::{
    By, Name,
    limits::{ARMED_FOR_FIRST_APPEARANCE, SERVED_KEYS_MAX},
    text::counted,
};
use crate::state::{Shared, arming::ArmingError};
use crate::store::{
    Store, StoreError, UnlearnedMark,
    records::{arming, birth::EpochId, disks, served},
};
use std::{io, path::Path, sync::Arc};
use tokio::sync::Mutex;

/// What it means for a host to appear in an inventory for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appearing {
    /// It is armed, if it is set to install.
    Arms,
    /// It is only learned: an earlier inventory is put back, and the host with it.
    ArmsNobody,
}

/// What this store has been serving, and who is new to it.
pub(super) struct FirstAppearance {
    served: Mutex<(ServedHosts, UnlearnedMark)>,
}

/// Whose next boot may install, and which hosts were served, as the disk has it. To be called before privileges go: the
/// daemon's user is to own what is made in the store's folder.
///
/// # Errors
///
/// The store can't be read or written.
pub(super) fn restore(
    (store, epoch): (&dyn Store, EpochId),
    folder: &Path,
) -> Result<(Arming, FirstAppearance), StoreError> {
    let (records, others) = arming::load(store, epoch)?;
    if others > 0 {
        tracing::warn!(
            event = "host_states_dropped",
            "the state of {} can't be read, or was written before the store lost something: none of them is armed",
            counted(others, "host")
        );
    }
    let open = records.iter().filter(|record| record.state.is_open()).count();
    if open > 0 {
        tracing::info!(
            event = "armed_restored",
            hosts = open,
            "{} armed or installing",
            counted(open, "host")
        );
    }
    Ok((
        Arming::restored(records).with_disk_reports(disks::told(store)?),
        FirstAppearance::new(ServedHosts::restored(served::load(store, epoch)?), unlearned(folder)),
    ))
}

/// Whether hosts appeared before this start that could not be kept. A disk that has no room for so little keeps nobody
/// from being served.
fn unlearned(folder: &Path) -> UnlearnedMark {
    UnlearnedMark::open(folder).unwrap_or_else(|error| {
        tracing::error!(
            "whether hosts appeared before that could not be kept is not known, because {} has no file for it: {error}",
            folder.display()
        );
        UnlearnedMark::unknown()
    })
}

impl FirstAppearance {
    /// After what was served before.
    fn new(served: ServedHosts, unlearned: UnlearnedMark) -> FirstAppearance {
        FirstAppearance {
            served: Mutex::new((served, unlearned)),
        }
    }

    /// A generation has taken the place of the one before: who installs now and did not then, once whoever is armed and
    /// is another machine since, or gone, is disarmed.
    pub(super) async fn take_over(
        &self,
        shared: &Shared,
        before: &Snapshot,
        appearing: Appearing,
    ) -> Vec<InstallTarget> {
        self.learn_as(shared, appearing).await;
        log_interrupted(shared, before);
        shared.sweep_arming().await;
        let targets = install_targets(shared, before);
        for target in &targets {
            tracing::warn!(
                event = "install_target",
                machine = target.host,
                armed = target.armed,
                "{target}"
            );
        }
        targets
    }

    /// What decides who installs next, now.
    pub(super) async fn known(&self, shared: &Shared) -> KnownInstalls {
        let served = self.served.lock().await.0.clone();
        let now = shared.clock.now();
        let mut leases = shared.lease_table();
        KnownInstalls {
            date: leases.date(now),
            states: leases.arming().in_brief(),
            served,
        }
    }

    /// At a start: arms those hosts of the generation in force that appear for the first time and are set to install.
    /// Every host counts as served from then on. Nobody is armed where hosts appeared before and could not be kept: it
    /// is not known whether these are they.
    pub(super) async fn learn(&self, shared: &Shared) {
        let is_unsure = self.served.lock().await.1.is_set();
        let appearing = match is_unsure {
            true => Appearing::ArmsNobody,
            false => Appearing::Arms,
        };
        if is_unsure {
            tracing::warn!(
                event = "first_appearance_unsure",
                "hosts appeared before this start and could not be kept on disk: whoever appears now may be one of them, \
                 and is not armed by it; `bootwright arm` arms"
            );
        }
        self.learn_as(shared, appearing).await;
    }

    async fn learn_as(&self, shared: &Shared, appearing: Appearing) {
        let snapshot = shared.snapshot.load_full();
        let mut known = self.served.lock().await;
        let (served, unlearned) = &mut *known;
        let Newcomers {
            hosts,
            records,
            is_full,
        } = served.newcomers(&snapshot);
        if is_full {
            tracing::error!(
                event = "served_full",
                "more hosts were served than are kept ({SERVED_KEYS_MAX} names, MACs and the like): nobody is armed any \
                 more by appearing for the first time; arm them by hand"
            );
            return;
        }
        let is_armed = |host: &&Arc<Host>| match appearing {
            Appearing::Arms => shared.lease_table().arming().is_armed_by_appearing(host),
            Appearing::ArmsNobody => false,
        };
        let installs: Vec<Arc<Host>> = hosts.iter().filter(is_armed).cloned().collect();
        match keep(shared, &installs, &records).await {
            Ok(()) => {
                for record in &records {
                    served.note(record);
                }
                // All who were missed are among them.
                log_unmarked(unlearned.set(false));
            }
            Err(error) => {
                served.miss(&hosts);
                log_unlearned(&installs, &error);
                if !hosts.is_empty() {
                    log_unmarked(unlearned.set(true));
                }
            }
        }
    }
}

async fn keep(shared: &Shared, installs: &[Arc<Host>], records: &[ServedRecord]) -> Result<(), ArmingError> {
    if installs.is_empty() && records.is_empty() {
        return Ok(());
    }
    let along = records.iter().cloned().map(Change::Served).collect();
    shared
        .arm(installs, (ARMED_FOR_FIRST_APPEARANCE, By::Inventory), along)
        .await
}

/// Says whose install is left alone by this inventory, and was not by the one before.
fn log_interrupted(shared: &Shared, before: &Snapshot) {
    let now = shared.snapshot.load();
    let interrupted = {
        let mut leases = shared.lease_table();
        let date = leases.date(shared.clock.now());
        let already = leases.arming().interrupted_by(date, before);
        let all = leases.arming().interrupted_by(date, &now).into_iter();
        all.filter(|host| !already.contains(host)).collect::<Vec<Name>>()
    };
    for host in interrupted {
        tracing::warn!(
            event = "install_interrupted",
            machine = host.as_str(),
            "host {host} is being installed, and this inventory does not list that machine by that name: its installer is refused \
             from now on, and its disk may be half written; list it as before until it is done, or arm it anew"
        );
    }
}

fn log_unmarked(marked: io::Result<()>) {
    if let Err(error) = marked {
        tracing::error!(
            event = "hosts_not_learned_unmarked",
            "nor is it on disk that hosts appeared which could not be kept: a restart before they are may arm them by \
             appearing for the first time: {error}"
        );
    }
}

fn log_unlearned(installs: &[Arc<Host>], error: &ArmingError) {
    let hosts = installs.iter().map(|host| host.name.as_str());
    let hosts = hosts.collect::<Vec<&str>>().join(", ");
    tracing::error!(
        event = "hosts_not_learned",
        hosts,
        "which hosts are served is not on disk, so that nobody is armed by appearing for the first time; arm them by \
         hand: {error}"
    );
}

/// The hosts that are set to install now, and were not before. Armed is whoever may install, however long since.
fn install_targets(shared: &Shared, before: &Snapshot) -> Vec<InstallTarget> {
    let now = shared.snapshot.load();
    let was = |name: &Name| {
        before
            .hosts
            .by_name(name.as_str())
            .is_some_and(|host| is_install_target(host))
    };
    let is_armed = |host: &Host| {
        let mut leases = shared.lease_table();
        let date = leases.date(shared.clock.now());
        leases.arming().standing(date, host) == Standing::Open
    };
    let new = now
        .hosts
        .iter()
        .filter(|host| is_install_target(host) && !was(&host.name));
    new.map(|host| InstallTarget {
        host: host.name.to_string(),
        armed: is_armed(host),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{
        arming::{HandedInstall, HostState},
        callback::Callback,
        gate::{Gate, gate},
        machine::Who,
        plan::{Picture, PlanBasis, PlannedChanges, next_boots},
        snapshot::{BootSettings, Hosts},
    };
    use crate::fixtures;
    use crate::lease::LeaseTable;
    use crate::model::{BootTarget, MacAddr};
    use crate::state::{Clock, CommitLog, Durable};
    use proptest::prelude::*;
    use std::{
        collections::HashSet,
        sync::atomic::{AtomicBool, Ordering},
    };

    /// A disk that takes everything, or nothing.
    #[derive(Clone, Default)]
    struct Disk {
        is_full: Arc<AtomicBool>,
    }

    impl CommitLog for Disk {
        fn append(&self, _: Vec<Change>) -> Result<Durable, StoreError> {
            match self.is_full.load(Ordering::Relaxed) {
                true => Err(StoreError::unavailable("full")),
                false => Ok(Box::pin(async { Ok(()) })),
            }
        }
    }

    fn target(name: &str, last: u8) -> Host {
        Host {
            macs: vec![MacAddr([2, 0, 0, 0, 0, last])],
            settings: fixtures::settings(BootTarget::Install, "installer"),
            ..fixtures::host(name)
        }
    }

    fn room(hosts: Vec<Host>) -> Snapshot {
        Snapshot {
            hosts: Hosts::new(hosts),
            ..fixtures::snapshot()
        }
    }

    /// What was served, with a disk of its own for what could not be kept.
    fn appearance_of(served: ServedHosts) -> FirstAppearance {
        let folder = tempfile::tempdir().unwrap();
        FirstAppearance::new(served, UnlearnedMark::open(folder.path()).unwrap())
    }

    /// What serves an empty room that it has learned.
    async fn begun(disk: &Disk) -> (Shared, FirstAppearance) {
        let tables = (LeaseTable::default(), Arming::default());
        let shared = Shared::restored(Clock::start(), room(vec![]), tables, Box::new(disk.clone()));
        let appearance = appearance_of(ServedHosts::default());
        appearance.learn(&shared).await;
        (shared, appearance)
    }

    async fn serve(shared: &Shared, appearance: &FirstAppearance, hosts: Vec<Host>) -> Vec<InstallTarget> {
        let before = shared.snapshot.swap(Arc::new(room(hosts)));
        appearance.take_over(shared, &before, Appearing::Arms).await
    }

    fn standing(shared: &Shared, host: &Host) -> Standing {
        let mut leases = shared.lease_table();
        let date = leases.date(shared.clock.now());
        leases.arming().standing(date, host)
    }

    #[tokio::test]
    async fn who_appeared_while_the_disk_was_full_is_not_armed_when_it_works_again() {
        let disk = Disk::default();
        let (shared, appearance) = begun(&disk).await;
        disk.is_full.store(true, Ordering::Relaxed);
        let hosts = [target("r1u07", 7), target("r1u08", 8)];
        serve(&shared, &appearance, hosts.to_vec()).await;
        assert_eq!(standing(&shared, &hosts[0]), Standing::NotArmed);
        disk.is_full.store(false, Ordering::Relaxed);
        // Somebody installed them by hand meanwhile. Who comes now is new all the same.
        let later = target("r1u09", 9);
        let all = [&hosts[..], std::slice::from_ref(&later)].concat();
        serve(&shared, &appearance, all.clone()).await;
        serve(&shared, &appearance, all).await;
        assert_eq!(standing(&shared, &hosts[0]), Standing::NotArmed);
        assert_eq!(standing(&shared, &hosts[1]), Standing::NotArmed);
        assert_eq!(standing(&shared, &later), Standing::Open);
    }

    #[tokio::test]
    async fn who_appeared_while_the_disk_was_full_is_not_armed_by_a_restart_either() {
        let folder = tempfile::tempdir().unwrap();
        let mark = || UnlearnedMark::open(folder.path()).unwrap();
        // The disk has it that an empty room was served, and no more.
        let served = || {
            ServedHosts::restored([ServedRecord {
                number: 0,
                keys: Vec::new(),
            }])
        };
        let begin = |hosts: Vec<Host>, disk: &Disk| {
            let tables = (LeaseTable::default(), Arming::default());
            Shared::restored(Clock::start(), room(hosts), tables, Box::new(disk.clone()))
        };
        let disk = Disk::default();
        disk.is_full.store(true, Ordering::Relaxed);
        let host = target("r1u07", 7);
        let appearance = FirstAppearance::new(served(), mark());
        let shared = begin(vec![], &disk);
        serve(&shared, &appearance, vec![host.clone()]).await;
        // Somebody installs it by hand, the disk is tidied, and the process starts anew, twice.
        disk.is_full.store(false, Ordering::Relaxed);
        let shared = begin(vec![host.clone()], &disk);
        let appearance = FirstAppearance::new(served(), mark());
        appearance.learn(&shared).await;
        assert_eq!(standing(&shared, &host), Standing::NotArmed);
        // It is learned by now, and who comes later is new.
        let later = target("r1u08", 8);
        serve(&shared, &appearance, vec![host.clone(), later.clone()]).await;
        assert_eq!(standing(&shared, &host), Standing::NotArmed);
        assert_eq!(standing(&shared, &later), Standing::Open);
        assert!(!mark().is_set());
        // Without all of that a host is armed that appears at a start.
        let shared = begin(vec![host.clone()], &disk);
        FirstAppearance::new(served(), mark()).learn(&shared).await;
        assert_eq!(standing(&shared, &host), Standing::Open);
    }

    #[tokio::test]
    async fn a_host_that_a_person_armed_is_not_armed_by_appearing_as_well() {
        let disk = Disk::default();
        let (shared, _) = begun(&disk).await;
        let host = Arc::new(target("r1u07", 7));
        let by = By::Operator { name: "ada".into() };
        shared
            .arm(
                &[Arc::clone(&host)],
                (ARMED_FOR_FIRST_APPEARANCE, by.clone()),
                Vec::new(),
            )
            .await
            .unwrap();
        shared.disarm(std::slice::from_ref(&host.name), &by).await.unwrap();
        // The process starts anew with a disk that knows what a person did, and not that the host was served.
        let appearance = appearance_of(ServedHosts::restored([ServedRecord {
            number: 0,
            keys: Vec::new(),
        }]));
        let renamed = target("r1u17", 7);
        serve(&shared, &appearance, vec![Host::clone(&host), target("r1u08", 8)]).await;
        assert_eq!(standing(&shared, &host), Standing::NotArmed);
        assert_eq!(standing(&shared, &target("r1u08", 8)), Standing::Open);
        serve(&shared, &appearance, vec![renamed.clone()]).await;
        assert_eq!(standing(&shared, &renamed), Standing::NotArmed);
    }

    #[tokio::test]
    async fn a_target_that_goes_on_with_its_install_is_not_called_unarmed() {
        let disk = Disk::default();
        let (shared, appearance) = begun(&disk).await;
        let host = target("r1u07", 7);
        serve(&shared, &appearance, vec![host.clone()]).await;
        let handed = {
            let mut leases = shared.lease_table();
            let date = leases.date(shared.clock.now());
            let asker = (&host, [192, 0, 2, 7].into());
            leases.arming().hand_out(date, asker, fixtures::draw_token)
        };
        let Some(HandedInstall { change, .. }) = handed else {
            panic!("it is armed");
        };
        assert!(matches!(change.record().unwrap().state, HostState::Installing(_)));
        let to_its_disk = Host {
            settings: fixtures::settings(BootTarget::Local, "installer"),
            ..host.clone()
        };
        assert!(serve(&shared, &appearance, vec![to_its_disk]).await.is_empty());
        let targets = serve(&shared, &appearance, vec![host]).await;
        assert_eq!((targets.len(), targets[0].armed), (1, true));
    }

    /// A plan of what `hosts` would change, as `bootwright plan` makes it.
    async fn planned(shared: &Shared, appearance: &FirstAppearance, hosts: Vec<Host>) -> PlannedChanges {
        let snapshot = shared.snapshot.load_full();
        let installs = appearance.known(shared).await;
        let basis = PlanBasis {
            version: String::new(),
            generation: 1,
            ports: snapshot.ports,
            picture: Picture::of(&snapshot),
            boots: next_boots(&snapshot, &mut installs.arming(), installs.date),
            installs,
        };
        let sent = serde_json::to_vec(&basis).unwrap();
        PlannedChanges::of(&serde_json::from_slice(&sent).unwrap(), &room(hosts))
    }

    /// A host of few names, MACs and settings, so that they meet again and again.
    fn any_host() -> impl Strategy<Value = Host> {
        let boot = proptest::sample::select(vec![
            None,
            Some(BootTarget::Install),
            Some(BootTarget::Install),
            Some(BootTarget::Local),
            Some(BootTarget::Live),
        ]);
        (0..6_u8, 0..6_u8, boot, any::<bool>(), 0..4_u8, any::<Option<bool>>()).prop_map(
            |(name, mac, boot, is_locked, odd, serial)| Host {
                locked: is_locked && odd == 0,
                serial: serial.map(|serial| format!("SN-{serial}")),
                macs: vec![MacAddr([2, 0, 0, 0, 0, mac])],
                settings: BootSettings {
                    boot: boot.map(fixtures::sourced),
                    script: (odd != 1).then(|| fixtures::sourced("installer".parse().unwrap())),
                    ..BootSettings::default()
                },
                ..fixtures::host(&format!("h{name}"))
            },
        )
    }

    /// An inventory as `config` lets one pass: nobody twice.
    fn any_inventory() -> impl Strategy<Value = Vec<Host>> {
        proptest::collection::vec(any_host(), 0..6).prop_map(|hosts| {
            let (mut names, mut macs, mut serials) = (HashSet::new(), HashSet::new(), HashSet::new());
            let is_new = |host: &Host| {
                let is_new_serial = host.serial.clone().is_none_or(|serial| serials.insert(serial));
                names.insert(host.name.clone()) & macs.insert(host.macs.clone()) & is_new_serial
            };
            hosts.into_iter().filter(is_new).collect()
        })
    }

    /// What happens to hosts while an inventory is served.
    #[derive(Clone, Copy, Debug)]
    enum HostHappening {
        Arm(usize),
        Disarm(usize),
        Begin(usize),
        Done(usize),
        Fail(usize),
        /// The disk takes nothing from now on, or all again.
        Full(bool),
    }

    fn any_happening() -> impl Strategy<Value = HostHappening> {
        let place = 0..6_usize;
        prop_oneof![
            place.clone().prop_map(HostHappening::Arm),
            place.clone().prop_map(HostHappening::Disarm),
            place.clone().prop_map(HostHappening::Begin),
            place.clone().prop_map(HostHappening::Done),
            place.prop_map(HostHappening::Fail),
            any::<bool>().prop_map(HostHappening::Full),
        ]
    }

    async fn happen(shared: &Shared, disk: &Disk, happening: HostHappening) {
        let snapshot = shared.snapshot.load_full();
        let hosts: Vec<&Arc<Host>> = snapshot.hosts.iter().collect();
        let by = By::Operator { name: "ada".into() };
        let said = |shared: &Shared, place: usize, word: Callback| {
            let mut leases = shared.lease_table();
            let date = leases.date(shared.clock.now());
            if let Some(host) = hosts.get(place) {
                let _ = leases
                    .arming()
                    .heard(date, (host, HERE), (fixtures::draw_token(), word));
            }
        };
        match happening {
            HostHappening::Full(is_full) => disk.is_full.store(is_full, Ordering::Relaxed),
            HostHappening::Arm(place) => {
                if let Some(host) = hosts.get(place).filter(|host| is_install_target(host)) {
                    let hosts = [Arc::clone(host)];
                    let _ = shared.arm(&hosts, (ARMED_FOR_FIRST_APPEARANCE, by), Vec::new()).await;
                }
            }
            HostHappening::Disarm(place) => {
                if let Some(host) = hosts.get(place) {
                    let _ = shared.disarm(std::slice::from_ref(&host.name), &by).await;
                }
            }
            HostHappening::Begin(place) => {
                let mut leases = shared.lease_table();
                let date = leases.date(shared.clock.now());
                if let Some(host) = hosts.get(place) {
                    let _ = leases.arming().hand_out(date, (host, HERE), fixtures::draw_token);
                }
            }
            HostHappening::Done(place) => said(shared, place, Callback::Done),
            HostHappening::Fail(place) => said(shared, place, Callback::Failed { reason: "no".into() }),
        }
    }

    const HERE: std::net::Ipv4Addr = std::net::Ipv4Addr::new(192, 0, 2, 7);

    /// Whom the gate lets install.
    fn installing(shared: &Shared) -> Vec<String> {
        let snapshot = shared.snapshot.load_full();
        let mut leases = shared.lease_table();
        let world = leases.world(shared.clock.now(), &snapshot);
        let installs = |host: &&Arc<Host>| {
            let gate = gate(&world, Who::Host(host));
            matches!(
                gate,
                Gate::Network {
                    target: BootTarget::Install,
                    ..
                }
            )
        };
        snapshot
            .hosts
            .iter()
            .filter(installs)
            .map(|host| host.name.to_string())
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn whoever_installs_once_a_candidate_is_taken_was_named_by_its_plan(
            lives in proptest::collection::vec((any_inventory(), proptest::collection::vec(any_happening(), 0..6)), 1..4),
            candidate in any_inventory(),
            learns_first in any::<bool>(),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let disk = Disk::default();
                let tables = (LeaseTable::default(), Arming::default());
                let shared = Shared::restored(Clock::start(), room(vec![]), tables, Box::new(disk.clone()));
                let appearance = appearance_of(ServedHosts::default());
                if learns_first {
                    appearance.learn(&shared).await;
                }
                for (inventory, happenings) in lives {
                    serve(&shared, &appearance, inventory).await;
                    for happening in happenings {
                        happen(&shared, &disk, happening).await;
                    }
                }
                let plan = planned(&shared, &appearance, candidate.clone()).await;
                let named: Vec<&str> = plan.wipes.iter().map(|wipe| wipe.host.as_str()).collect();
                serve(&shared, &appearance, candidate).await;
                let installing = installing(&shared);
                for host in &installing {
                    prop_assert!(named.contains(&host.as_str()), "{host} installs: {plan:?}");
                }
                // Nobody is named for nothing, where the disk takes what arms them.
                if !disk.is_full.load(Ordering::Relaxed) {
                    prop_assert_eq!(installing.len(), named.len(), "{:?}: {:?}", installing, plan);
                }
                Ok(())
            })?;
        }
    }
}
