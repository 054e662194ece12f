//! The start, in the order that keeps it safe, and the way out.

use super::{
    admin_service::AdminService,
    attempts::AttemptRecorder,
    commit_log::StoreLog,
    first_appearance, generations, last_good,
    log::{self, LogError, LogFormat},
    memory, open_files,
    open_store::open_store,
    port_limits,
    privileges::{self, Owned, PrivilegeError},
    reload::Reloader,
    restart::take_over,
    run::{self, RunOutcome},
    uptime,
    verifier::Verifier,
};
use crate::admin::{AdminSocket, SocketError, api::Problem};
use crate::boot::snapshot::{Ports, Snapshot};
use crate::config::{self, Appliance, LoadReport, Loaded, report, validation};
use crate::lease::{ClockMark, LeaseTable};
use crate::model::{
    Now, ServedInterface, WallTime,
    limits::{DISK_THREADS_MAX, TEMPLATE_STACK_BYTES},
    text::counted,
};
use crate::net::{
    BindError, ListenConfig, Servers,
    uplink::{self, GuardedInterface},
};
use crate::state::{Clock, Shared};
use crate::store::{
    self, Store, StoreError, Write,
    records::{calendar, leases, lost, ports},
    writer::StoreWriter,
};
use std::{
    fmt,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// What the command line says.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The configuration file.
    pub config: PathBuf,
    /// The user to become, if one was named.
    pub user: Option<String>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines there are.
    pub log_level: String,
}

/// Why the daemon does not start, or did not end well.
#[derive(Debug)]
pub enum StartError {
    /// The log.
    Log(LogError),
    /// The operator's files are unsound.
    Files(LoadReport),
    /// The store.
    Store(StoreError),
    /// An interface that leads to more than machines.
    Uplink(GuardedInterface),
    /// A port.
    Bind(BindError),
    /// The admin socket.
    Socket(SocketError),
    /// Privileges.
    Privileges(PrivilegeError),
    /// The event loop.
    System(io::Error),
    /// The servers ended by themselves.
    Failed,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Log(error) => error.fmt(f),
            // People get the line it is about; a log gets one line an error.
            StartError::Files(report) if io::stderr().is_terminal() => {
                f.write_str(&report.render(report::wants_colours()))?;
                write!(f, "{}: nothing is served", counted(report.errors.len(), "error"))
            }
            StartError::Files(LoadReport { errors, .. }) => {
                for error in errors {
                    writeln!(f, "{}", Problem::from(error))?;
                }
                write!(f, "{}: nothing is served", counted(errors.len(), "error"))
            }
            StartError::Store(error) => error.fmt(f),
            StartError::Uplink(guarded) => guarded.fmt(f),
            StartError::Bind(error) => match error.source.kind() {
                io::ErrorKind::PermissionDenied => write!(
                    f,
                    "{error}; it takes CAP_NET_BIND_SERVICE and CAP_NET_RAW: start it as root (which is given up at once) or through systemd/bootwright.service"
                ),
                _ => error.fmt(f),
            },
            StartError::Socket(error) => error.fmt(f),
            StartError::Privileges(error) => error.fmt(f),
            StartError::System(error) => write!(f, "the system refused the event loop: {error}"),
            StartError::Failed => f.write_str("the servers ended by themselves; this is a bug of bootwright"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Log(error) => Some(error),
            StartError::Store(error) => Some(error),
            StartError::Uplink(error) => Some(error),
            StartError::Bind(error) => Some(error),
            StartError::Socket(error) => Some(error),
            StartError::Privileges(error) => Some(error),
            StartError::System(error) => Some(error),
            StartError::Files(_) | StartError::Failed => None,
        }
    }
}

/// Serves until a signal ends it.
///
/// # Errors
///
/// See [`StartError`]; nothing is served then, and every lease that was acknowledged is on disk.
pub fn serve(options: &ServeOptions) -> Result<(), StartError> {
    let bounded = memory::bound();
    log::start(options.log_format, &options.log_level).map_err(StartError::Log)?;
    if let Err(error) = bounded {
        tracing::warn!("memory that was used once may stay with this process, because it can't be begun anew: {error}");
    }
    run::hold_reload_signal();
    let initial = last_good::begin(&options.config).map_err(StartError::Files)?;
    let Loaded {
        appliance,
        mut snapshot,
        ..
    } = initial.loaded;
    uplink::refuse_uplinks(&appliance.interfaces).map_err(StartError::Uplink)?;
    open_files::raise();
    let clock = Clock::start();
    let (store, epoch) = open_store(&appliance.state).map_err(StartError::Store)?;
    let boot = uptime::boot();
    let served = (&snapshot, &*appliance.interfaces);
    let leases = known_leases(clock.now(), boot, &*store, served).map_err(StartError::Store)?;
    let restored = first_appearance::restore((&*store, epoch), &appliance.state);
    let (arming, appearance) = restored.map_err(StartError::Store)?;
    let servers = Servers::bind(&appliance.interfaces, listen(&appliance)).map_err(StartError::Bind)?;
    let socket = AdminSocket::bind(&appliance.admin_socket).map_err(StartError::Socket)?;
    let ours = ours(&appliance.state, &socket);
    privileges::drop_privileges(options.user.as_deref(), &ours).map_err(StartError::Privileges)?;
    privileges::warn_of_unreadable(&theirs(&appliance, &options.config));
    if let Err((error, help)) = validation::may_start() {
        tracing::warn!("every reload will fail, because no process can be started to try the files: {error}; {help}");
    }
    snapshot.generation = generations::begin(
        (&appliance, &options.config),
        (clock.now().wall, snapshot.hosts.len()),
        initial.fallback.is_some(),
    );

    // Threads from here on.
    log::write_in_background().map_err(StartError::Log)?;
    let writer = Arc::new(StoreWriter::start(Arc::clone(&store)).map_err(StartError::Store)?);
    let commit_log = Box::new(StoreLog {
        writer: Arc::clone(&writer),
        boot,
        epoch,
    });
    let shared = Arc::new(Shared::restored(clock, snapshot, (leases, arming), commit_log));
    take_over(&shared, &appliance);
    let verifier = Verifier::start(Arc::clone(&shared), (&*store, Arc::clone(&writer)), appliance.recheck)
        .map_err(StartError::Store)?;
    let reloader = Arc::new(Reloader::new(
        &options.config,
        appliance,
        Arc::clone(&shared),
        Arc::clone(&verifier),
        (initial.tried, initial.fallback),
        appearance,
    ));
    let attempts = AttemptRecorder::load(Arc::clone(&shared), Arc::clone(&store), Arc::clone(&writer));
    let service = AdminService {
        reloader: Arc::clone(&reloader),
        shared,
        writer,
        store,
        standings: servers.standings(),
        attempts: Arc::new(attempts.map_err(StartError::Store)?),
        events: Arc::default(),
    };
    let lived = live(servers, &socket, &reloader, service);
    verifier.stop();
    lived
}

/// What the settings have the servers listen on.
fn listen(appliance: &Appliance) -> ListenConfig {
    ListenConfig {
        ports: Ports {
            http: appliance.http_port,
            tftp: appliance.tftp_port,
        },
        bulk_streams: appliance.bulk_streams,
        tftp_single_port: appliance.tftp_single_port,
        shared_addresses: appliance.shared_addresses.clone(),
        router_advertisements: appliance.router_advertisements,
        syslog: appliance.syslog,
    }
}

/// How many turns of its tasks a busy thread takes before it looks at the sockets: a turn of a server that is flooded is
/// long, and there may be no other thread that looks.
const EVENT_INTERVAL: u32 = 8;

/// Runs the event loop to its end.
fn live(
    servers: Servers,
    socket: &AdminSocket,
    reloader: &Arc<Reloader>,
    service: AdminService,
) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        // Templates are rendered on its threads.
        .thread_stack_size(TEMPLATE_STACK_BYTES)
        .max_blocking_threads(DISK_THREADS_MAX)
        .build()
        .map_err(StartError::System)?;
    let ended = runtime.block_on(run::run(servers, socket, reloader, service));
    // A reload may be reading a slow disk; it is not waited for any more.
    runtime.shutdown_background();
    match ended.map_err(StartError::System)? {
        RunOutcome::Finished => tracing::info!("stopped"),
        RunOutcome::Aborted => tracing::warn!("stopped at the second signal; running transfers were aborted"),
        RunOutcome::Failed => return Err(StartError::Failed),
    }
    Ok(())
}

/// What the daemon writes, and so what its user must own.
fn ours(state: &Path, socket: &AdminSocket) -> Owned {
    let mut paths = vec![state.to_owned()];
    // Not what lies in its folders: an operator may have put them there, such as the images.
    paths.extend(
        std::fs::read_dir(state)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path()),
    );
    paths.extend(socket.made().map(Path::to_owned));
    Owned {
        paths,
        all_below: vec![
            store::last_good::folder_in(state),
            store::generations::folder_in(state),
            store::generations::rolled_back_in(state),
        ],
    }
}

/// What the operator writes, and so what the daemon must be able to read.
fn theirs(appliance: &Appliance, config_file: &Path) -> Vec<PathBuf> {
    // A folder beneath one of loaders that is closed to us is passed over, and no reload fails for it.
    let without_loaders = Appliance {
        loaders: Vec::new(),
        ..appliance.clone()
    };
    let mut paths = config::watched(&without_loaders, config_file).folders;
    paths.push(config_file.to_owned());
    paths.push(appliance.inventory.clone());
    paths.extend(appliance.loaders.iter().cloned());
    paths.sort();
    paths.dedup();
    paths
}

/// The lease table as the disk has it; what makes no sense is logged and left out.
///
/// The calendar on disk is gone on with: after a reboot this host's clock may be wrong, and in the same boot
/// it may have been set meanwhile.
fn restore(now: Now, boot: Option<u128>, store: &dyn Store) -> Result<LeaseTable, StoreError> {
    let (records, unreadable) = leases::load(store)?;
    for reason in &unreadable {
        tracing::error!("a lease on disk can't be read and is left out: {reason}");
    }
    let is_corrupt = !unreadable.is_empty();
    let found = records.len();
    let (now, mark, here) = resumed(now, boot, store)?;
    let mut table = LeaseTable::default();
    let rebooted = mark.filter(|mark| !mark.is_in_boot_of(&here));
    // After a reboot the clock may be wrong, and no more than this is sure.
    let at_least = rebooted.map_or(now.wall, |mark| mark.date);
    table.mark_uncertain(now, at_least, &records);
    let refused = table.restore(now, records);
    // The date is written as soon as anybody is served.
    if mark.is_some() || found > 0 {
        table.resume(now);
    }
    for (record, reason) in &refused {
        tracing::warn!(
            "the lease of {} to {} is left out: {reason}",
            record.address,
            record.client
        );
    }
    let (ports, unreadable) = ports::load(store)?;
    if unreadable > 0 {
        tracing::error!(
            "{} of the switch port at which an address was given can't be read and left out",
            counted(unreadable, "record")
        );
    }
    table.ports.mark_uncertain(now, at_least, &ports);
    let ended: Vec<Write> = table.ports.restore(now, ports).iter().map(ports::write).collect();
    if !ended.is_empty()
        && let Err(error) = store.commit(&ended)
    {
        tracing::warn!("where addresses were given once stays on disk though it counts no longer: {error}");
    }
    remember_loss((now, at_least), store, is_corrupt, &mut table)?;
    tracing::info!("restored {}", counted(found - refused.len(), "lease"));
    Ok(table)
}

/// What date it is by the calendar on disk where it is `now` by this host's clock; the date there, and ours.
fn resumed(now: Now, boot: Option<u128>, store: &dyn Store) -> Result<(Now, Option<ClockMark>, ClockMark), StoreError> {
    let mark = calendar::load(store)?;
    let here = uptime::mark(now.wall, boot);
    let wall = mark.map_or(now.wall, |mark| mark.resume(here));
    Ok((Now { wall, ..now }, mark, here))
}

/// Has the table probe addresses if the disk lost leases before, or just now by records that can't be read. These
/// stay on disk until their addresses are given anew, and count as lost at every start before that.
///
/// Only the time counts that surely passed since: by a clock that is ahead after a reboot it would be over early.
fn remember_loss(
    (now, at_least): (Now, WallTime),
    store: &dyn Store,
    is_corrupt: bool,
    table: &mut LeaseTable,
) -> Result<(), StoreError> {
    let before = match is_corrupt {
        true => Some(lost::LossRecord::Undated),
        false => lost::load(store)?,
    };
    let passed = match before {
        None => return Ok(()),
        Some(lost::LossRecord::Undated) => 0,
        Some(lost::LossRecord::At(date)) => at_least.0.saturating_sub(date.0),
    };
    table.lose(now, Duration::from_secs(passed));
    if is_corrupt && let Err(error) = store.commit(&[lost::put(lost::LossRecord::Undated)]) {
        tracing::warn!("that leases were lost can't be written, and the next start may not know it: {error}");
    }
    Ok(())
}

/// The lease table; for how long addresses are probed because the disk lost leases, now or before, is logged.
fn known_leases(
    now: Now,
    boot: Option<u128>,
    store: &dyn Store,
    (snapshot, interfaces): (&Snapshot, &[ServedInterface]),
) -> Result<LeaseTable, StoreError> {
    let mut leases = restore(now, boot, store)?;
    let (dated, ..) = resumed(now, boot, store)?;
    port_limits::shorten(dated, store, &mut leases, |address| {
        port_limits::longest(interfaces, snapshot.subnet_of(address).map(|subnet| subnet.lease))
    });
    let lasting = snapshot.subnets.iter().map(|subnet| subnet.lease).max();
    let since = leases.since_loss(now).zip(lasting);
    let left = since.map_or(Duration::ZERO, |(since, lasting)| lasting.saturating_sub(since));
    if !left.is_zero() {
        tracing::warn!(
            "leases were lost on disk, now or before: for {} s more no address is given to another machine before it was \
             probed and nobody answered there",
            left.as_secs()
        );
    }
    Ok(leases)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{LeaseChange, LeaseRecord, PortChange, PortId, PortRecord};
    use crate::model::{MacAddr, WallTime, limits::RESERVATION_TRUSTED};
    use crate::state::CommitLog;
    use crate::store::records::birth::EpochId;
    use std::{fs, net::Ipv4Addr};

    #[test]
    fn what_the_disk_lost_is_known_to_every_start_for_as_long_as_a_lease_lasts() {
        const LEASE: Duration = Duration::from_secs(3600);
        let folder = tempfile::tempdir().unwrap();
        let start = |seconds: u64| {
            let now = Now {
                monotonic: Duration::from_secs(5),
                wall: WallTime(1_764_000_000 + seconds),
            };
            let (store, _) = open_store(folder.path()).unwrap();
            (now, restore(now, None, &*store).unwrap(), store)
        };
        let may_have_lost = |seconds: u64| {
            let (now, leases, _) = start(seconds);
            leases.may_have_lost(now, LEASE)
        };
        assert!(!may_have_lost(0), "a beginning");
        fs::write(folder.path().join("bootwright.redb"), b"").unwrap();
        assert!(may_have_lost(100), "found");
        // The process did not live to write when: it counts from here.
        let (now, leases, store) = start(4000);
        assert!(leases.may_have_lost(now, LEASE));
        let writer = Arc::new(StoreWriter::start(store).unwrap());
        let log = StoreLog {
            writer,
            boot: None,
            epoch: EpochId(1),
        };
        let lost = leases.lost_at(now);
        drop(log.redate(leases.date(now), Default::default(), lost).unwrap());
        drop(log);
        assert!(may_have_lost(4000 + 3599));
        // The host may have been off for no time at all, with a clock that is ahead.
        let (now, leases, _) = start(1_000_000);
        let at = |seconds: u64| Now {
            monotonic: now.monotonic + Duration::from_secs(seconds),
            ..now
        };
        assert!(leases.may_have_lost(at(3599), LEASE));
        assert!(!leases.may_have_lost(at(3600), LEASE));
    }

    #[test]
    fn of_the_time_since_a_loss_what_surely_passed_counts() {
        const BEGUN: u64 = 1_764_000_000;
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = open_store(folder.path()).unwrap();
        let found = lost::put(lost::LossRecord::At(WallTime(BEGUN - 3000)));
        let dated = calendar::put(&uptime::mark(WallTime(BEGUN), Some(1)));
        store.commit(&[dated, found]).unwrap();
        let may_have_lost = |boot: u128, lasting: u64| {
            let now = Now {
                monotonic: Duration::from_secs(5),
                wall: WallTime(BEGUN + 1_000_000),
            };
            let leases = restore(now, Some(boot), &*store).unwrap();
            leases.may_have_lost(now, Duration::from_secs(lasting))
        };
        let before_and_after = |boot| [may_have_lost(boot, 3000), may_have_lost(boot, 3600)];
        assert_eq!(before_and_after(1), [false, true]);
        assert_eq!(
            before_and_after(2),
            [false, true],
            "rebooted, with a clock that is ahead"
        );
    }

    #[test]
    fn a_clock_that_is_ahead_after_a_reboot_takes_no_switch_port() {
        const BEGUN: u64 = 1_764_000_000;
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = open_store(folder.path()).unwrap();
        let address = Ipv4Addr::new(192, 0, 2, 11);
        let given = PortRecord {
            address,
            client: MacAddr([2, 0, 0, 0, 0, 1]).into(),
            port: PortId::of("sw7/Gi1/7"),
            expires: WallTime(BEGUN + 3600),
        };
        let dated = calendar::put(&uptime::mark(WallTime(BEGUN), Some(1)));
        let kept = ports::write(&PortChange::Put(given));
        store.commit(&[dated, kept]).unwrap();
        let at = |monotonic_s: u64, seconds: u64| Now {
            monotonic: Duration::from_secs(monotonic_s),
            wall: WallTime(BEGUN + seconds),
        };
        let start = |seconds: u64| restore(at(5, seconds), Some(2), &*store).unwrap();
        let mut leases = start(1_000_000);
        assert_eq!(leases.ports.at(at(5, 1_000_000), address), None);
        assert!(start(60).ports.at(at(5, 60), address).is_some(), "it is on disk still");
        // The clock is set right while the daemon runs.
        let now = at(6, 60);
        assert!(leases.observe_clock(now).is_some());
        assert!(leases.ports.at(now, address).is_some());
        let anew = leases.redate(now).map(|_| leases.port_records(now));
        let expires = leases.date(now).0 + 3540;
        assert_eq!(
            anew.unwrap()[0].expires,
            WallTime(expires),
            "on disk it goes by the later date"
        );
    }

    #[test]
    fn a_lease_that_cant_be_read_is_a_lost_one() {
        let folder = tempfile::tempdir().unwrap();
        let now = Now {
            monotonic: Duration::from_secs(5),
            wall: WallTime(1_764_000_000),
        };
        let (store, _) = open_store(folder.path()).unwrap();
        let may_have_lost = || {
            let leases = restore(now, None, &*store).unwrap();
            leases.may_have_lost(now, Duration::from_secs(60))
        };
        assert!(!may_have_lost());
        let record = LeaseRecord {
            address: Ipv4Addr::new(192, 0, 2, 100),
            client: MacAddr([2, 0, 0, 0, 0, 1]).into(),
            expires: WallTime(1_764_000_600),
        };
        let Write::Put { key, mut value } = leases::write(&LeaseChange::Put(record)) else {
            panic!("a record is put");
        };
        *value.last_mut().unwrap() ^= 1;
        store.commit(&[Write::Put { key, value }]).unwrap();
        assert!(may_have_lost());
        assert_eq!(lost::load(&*store).unwrap(), Some(lost::LossRecord::Undated));
    }

    #[test]
    fn a_reservation_alone_counts_after_a_restart_only_and_not_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let now = |seconds: u64| Now {
            monotonic: Duration::from_secs(seconds),
            wall: WallTime(1_764_000_000 + seconds),
        };
        let (store, _) = open_store(folder.path()).unwrap();
        let first = restore(now(0), None, &*store).unwrap();
        assert!(!first.may_be_in_boot_since_before(now(0)), "nobody was served before");
        let writer = Arc::new(StoreWriter::start(Arc::clone(&store)).unwrap());
        let log = StoreLog {
            writer,
            boot: None,
            epoch: EpochId(1),
        };
        drop(log.redate(first.date(now(0)), Default::default(), None).unwrap());
        drop(log);
        let second = restore(now(5), None, &*store).unwrap();
        let limit = RESERVATION_TRUSTED.as_secs();
        let counts = [5, 5 + limit - 1, 5 + limit].map(|at| second.may_be_in_boot_since_before(now(at)));
        assert_eq!(counts, [true, true, false]);
    }

    #[test]
    fn a_folder_beneath_one_of_loaders_may_be_closed_to_us() {
        let room = tempfile::tempdir().unwrap();
        let at = |file: &str| room.path().join(file);
        fs::create_dir_all(at("loaders/lost+found")).unwrap();
        let settings = "[network]\ninterfaces = [\"eno2\"]\n[paths]\nloaders = [\"loaders\"]\n";
        fs::write(at("bootwright.toml"), settings).unwrap();
        let appliance = config::appliance(&at("bootwright.toml")).unwrap();
        let paths = theirs(&appliance, &at("bootwright.toml"));
        assert!(paths.contains(&at("loaders")), "{paths:?}");
        assert!(!paths.contains(&at("loaders/lost+found")), "{paths:?}");
    }
}
