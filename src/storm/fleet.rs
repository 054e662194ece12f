//! The machines at once: each a task that carries out what its [`VirtualMachine`] says.

use super::{
    Plan, StormError,
    dhcp::Relay,
    fault::{GONE_AT_PERCENT, MachineFault},
    http::Http,
    machine::{NextAction, VirtualMachine},
    progress::{StormClock, StormProgress},
    report::{Failure, FailureCause, FleetCounters, MachineOutcome, StormReport, StormStage, Times},
    tftp::{Failed, Tftp, ipxe_options, loader_options},
};
use crate::model::limits::{STORM_POWER_CYCLE_PAUSE, STORM_SCRIPT_BYTES_MAX};
use crate::proto::{
    dhcp::client::{ClientKind, ClientMessage, ServerReplyKind},
    ipxe::{FileTransport, FileUrl},
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// This host's address towards `server`: the relay's where none is named.
///
/// # Errors
/// When there is no route.
pub fn address_towards(server: Ipv4Addr) -> io::Result<Ipv4Addr> {
    // Connecting a datagram socket asks the routes and sends nothing.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((server, 67))?;
    match socket.local_addr()?.ip() {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

/// Runs a storm to its end.
///
/// # Errors
/// When the plan is over its bounds, or the relay's port is not to be had.
pub async fn run(plan: Plan, progress: Arc<StormProgress>) -> Result<StormReport, StormError> {
    plan.check()?;
    let relay = Arc::new(Relay::bind(plan.relay, plan.server, plan.relay_mode).await?);
    let receiver = tokio::spawn({
        let relay = Arc::clone(&relay);
        async move { relay.receive().await }
    });
    let plan = Arc::new(plan);
    let clock = StormClock::started();
    let faults = plan.faults.choose(plan.machines);
    let machines: Vec<_> = (0..plan.machines)
        .map(|index| {
            let carrier = MachineRunner {
                index,
                fault: faults.get(&index).copied(),
                plan: Arc::clone(&plan),
                clock,
                relay: Arc::clone(&relay),
                progress: Arc::clone(&progress),
            };
            tokio::spawn(carrier.power_on())
        })
        .collect();
    let mut outcomes = Vec::with_capacity(machines.len());
    for machine in machines {
        outcomes.push(machine.await.expect("a machine's task neither panics nor is aborted"));
    }
    receiver.abort();
    let counted = FleetCounters {
        bytes: progress.bytes.load(Ordering::Relaxed),
        http_busy: progress.http_busy.load(Ordering::Relaxed),
        repeated: progress.repeated.load(Ordering::Relaxed),
    };
    let faults = faults.into_iter().map(|(index, fault)| (plan.mac(index), fault));
    Ok(StormReport::of(plan.server, &outcomes, counted, faults.collect()))
}

/// What carries one machine.
struct MachineRunner {
    index: u32,
    /// What is wrong with it.
    fault: Option<MachineFault>,
    plan: Arc<Plan>,
    clock: StormClock,
    relay: Arc<Relay>,
    progress: Arc<StormProgress>,
}

impl MachineRunner {
    /// One machine to its end: up, or failed once more than it may be powered on again.
    async fn power_on(self) -> MachineOutcome {
        let powered = self.plan.power_on(self.index);
        tokio::time::sleep_until(self.clock.at(powered)).await;
        self.progress.powered_on.fetch_add(1, Ordering::Relaxed);
        let began = self.clock.now();
        let mut setbacks = Vec::new();
        let (times, ended) = loop {
            match self.attempt(transactions(setbacks.len())).await {
                (_, Err(failure)) if self.is_powered_on_again(&failure, setbacks.len()) => {
                    self.progress.power_cycled.fetch_add(1, Ordering::Relaxed);
                    setbacks.push(failure);
                    tokio::time::sleep(STORM_POWER_CYCLE_PAUSE).await;
                }
                ended => break ended,
            }
        };
        let counter = match ended {
            Ok(_) => &self.progress.up,
            Err(_) => &self.progress.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        MachineOutcome {
            mac: self.plan.mac(self.index),
            times,
            setbacks,
            ended: ended.map(|now| (now, now.saturating_sub(began))),
        }
    }

    /// From power-on to the kernel, once: what each stage took, and when it was up.
    async fn attempt(&self, transactions: u32) -> (Times, Result<Duration, Failure>) {
        let mac = self.plan.mac(self.index);
        let mut machine = VirtualMachine::new(self.clock.now(), mac, self.plan.firmware, self.plan.server);
        let end = self.clock.at(self.plan.time_limit);
        let done = tokio::time::timeout_at(end, self.boot(&mut machine, transactions))
            .await
            .unwrap_or_else(|_| Err((FailureCause::OutOfTime, String::new())));
        let ended = match done {
            Ok(()) => Ok(self.clock.now()),
            Err((cause, words)) => Err(failure(&machine, cause, &words)),
        };
        (machine.times(), ended)
    }

    fn is_powered_on_again(&self, failure: &Failure, setbacks: usize) -> bool {
        let in_time = self.clock.now() + STORM_POWER_CYCLE_PAUSE < self.plan.time_limit;
        failure.cause != FailureCause::OutOfTime && in_time && setbacks < self.plan.power_cycles as usize
    }

    async fn boot(&self, machine: &mut VirtualMachine, transactions: u32) -> Result<(), Failed> {
        let mut address = Ipv4Addr::UNSPECIFIED;
        let mut http = Http::new(address, self.plan.server, &self.progress);
        loop {
            let stage = machine.stage();
            match machine.step() {
                NextAction::Up => return self.start_system(machine, transactions).await,
                _ if self.fault.is_some_and(|fault| ends_before(fault, stage)) => return Err(self.injected()),
                NextAction::Lease(client) if self.fault == Some(MachineFault::StopsAfterOffer) => {
                    let message = self.message(machine, client, transactions);
                    let offer = ServerReplyKind::Offer;
                    let (ended, _) = self.relay.exchange_to(self.clock, message, offer).await;
                    ended.map_err(|cause| (cause, String::new()))?;
                    return Err(self.injected());
                }
                NextAction::Lease(client) => {
                    let message = self.message(machine, client, transactions);
                    let (ended, repeated) = self.relay.exchange(self.clock, message).await;
                    self.progress.repeated.fetch_add(repeated, Ordering::Relaxed);
                    let answer = ended.map_err(|cause| (cause, String::new()))?;
                    self.relay.given(self.clock.now(), &answer)?;
                    address = answer.address;
                    http = Http::new(address, self.plan.server, &self.progress);
                    machine.leased(self.clock.now(), &answer)
                }
                NextAction::Fetch(place) => {
                    if self.breaks_off(machine, &place, address, &mut http).await? {
                        return Err(self.injected());
                    }
                    let text = self.fetch(machine, &place, address, &mut http).await?;
                    machine.fetched(self.clock.now(), &text)
                }
            }
            .map_err(|cause| (cause, String::new()))?;
            self.progress.finished[stage as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Where some machines fail on purpose, the others are told from them by the address that their system asks for.
    async fn start_system(&self, machine: &VirtualMachine, transactions: u32) -> Result<(), Failed> {
        if self.plan.faults.count == 0 {
            return Ok(());
        }
        if self.fault == Some(MachineFault::NoSystem) {
            return Err(self.injected());
        }
        let message = self.message(machine, ClientKind::System, transactions);
        let (ended, _) = self.relay.exchange(self.clock, message).await;
        ended.map(drop).map_err(|cause| (cause, String::new()))
    }

    fn injected(&self) -> Failed {
        let cause = self.fault.map_or(FailureCause::OutOfTime, FailureCause::Injected);
        (cause, String::new())
    }

    /// Plays a fault that ends in the middle of a file; whether it did.
    async fn breaks_off(
        &self,
        machine: &VirtualMachine,
        place: &FileUrl,
        local: Ipv4Addr,
        http: &mut Http<'_>,
    ) -> Result<bool, Failed> {
        let is_image = matches!(machine.stage(), StormStage::Kernel | StormStage::Initrd);
        let tftp = self.tftp(local);
        match self.fault {
            Some(MachineFault::ProbesLoaderOnly) if machine.stage() == StormStage::Loader => tftp.probe(place).await?,
            Some(MachineFault::StopsInLoader) if machine.stage() == StormStage::Loader => {
                tftp.begin(place, GONE_AT_PERCENT).await?;
            }
            Some(MachineFault::GoneInImage) if is_image => http.begin(place, GONE_AT_PERCENT).await?,
            Some(MachineFault::GoneInImageTwice) if is_image => {
                http.begin(place, GONE_AT_PERCENT).await?;
                http.begin(place, GONE_AT_PERCENT).await?;
            }
            Some(_) | None => return Ok(false),
        }
        Ok(true)
    }

    fn tftp(&self, local: Ipv4Addr) -> Tftp<'_> {
        Tftp {
            local,
            server: self.plan.server,
            clock: self.clock,
            progress: &self.progress,
        }
    }

    fn message(&self, machine: &VirtualMachine, client: ClientKind, transactions: u32) -> ClientMessage<'static> {
        ClientMessage {
            client,
            arch: match self.fault {
                Some(MachineFault::StrangeFirmware) => STRANGE_ARCH,
                Some(_) | None => self.plan.firmware.arch(),
            },
            mac: machine.mac(),
            xid: transactions | transaction(machine, client),
            relay: Some(self.plan.relay),
            takes: None,
            uuid: None,
            circuit_id: None,
        }
    }

    async fn fetch(
        &self,
        machine: &VirtualMachine,
        place: &FileUrl,
        local: Ipv4Addr,
        http: &mut Http<'_>,
    ) -> Result<Vec<u8>, Failed> {
        let keep = if machine.wants_text() {
            STORM_SCRIPT_BYTES_MAX
        } else {
            0
        };
        match place.transport {
            FileTransport::Http => http.fetch(place, keep).await,
            FileTransport::Tftp => {
                let tftp = self.tftp(local);
                if machine.probes_size() {
                    tftp.probe(place).await?;
                }
                let options = match machine.stage() {
                    StormStage::Loader => loader_options(machine.firmware()),
                    _ => ipxe_options(),
                };
                tftp.fetch(place, options, keep).await
            }
        }
    }
}

/// Option 93 of 32-bit UEFI.
const STRANGE_ARCH: u16 = 6;
/// Bits of a transaction that tell machines and speakers apart; those above tell power-ons apart.
const TRANSACTION_BITS: u32 = 25;

/// What the transactions of a machine that failed so often have in common: a late answer to the boot
/// before is none to this one.
fn transactions(setbacks: usize) -> u32 {
    (setbacks as u32) << TRANSACTION_BITS
}

/// A transaction of its own for every machine and speaker: of the MAC's last bytes, which count up.
fn transaction(machine: &VirtualMachine, client: ClientKind) -> u32 {
    let [_, _, _, a, b, c] = machine.mac().0;
    let base = u32::from_be_bytes([0, a, b, c]) << 1;
    match client {
        // The firmware's exchange is long over when the system asks.
        ClientKind::Firmware | ClientKind::HttpFirmware | ClientKind::UBoot | ClientKind::System => base,
        ClientKind::Ipxe | ClientKind::BareIpxe => base | 1,
    }
}

/// Whether such a machine ends where this stage would begin.
fn ends_before(fault: MachineFault, stage: StormStage) -> bool {
    match fault {
        MachineFault::NeverFetchesLoader => stage == StormStage::Loader,
        MachineFault::LoaderHangs => stage == StormStage::Ipxe,
        MachineFault::NeverFetchesScript => stage == StormStage::Script,
        MachineFault::ScriptStops => matches!(stage, StormStage::Kernel | StormStage::Initrd),
        MachineFault::StopsAfterOffer
        | MachineFault::StrangeFirmware
        | MachineFault::ProbesLoaderOnly
        | MachineFault::StopsInLoader
        | MachineFault::GoneInImage
        | MachineFault::GoneInImageTwice
        | MachineFault::NoSystem => false,
    }
}

fn failure(machine: &VirtualMachine, cause: FailureCause, words: &str) -> Failure {
    let place = machine.place().map(FileUrl::to_string).unwrap_or_default();
    let detail = [place.as_str(), words].into_iter().filter(|part| !part.is_empty());
    Failure {
        stage: machine.stage(),
        cause,
        detail: detail.collect::<Vec<_>>().join(": "),
    }
}
