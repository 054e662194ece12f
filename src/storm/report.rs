//! What a storm came to: times by stage, failures by cause, bytes and rates.

use super::fault::MachineFault;
use crate::model::MacAddr;
use crate::proto::ipxe::ScriptEnd;
use serde::Serialize;
use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

/// A stage of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StormStage {
    /// DHCP as firmware.
    Firmware,
    /// The loader.
    Loader,
    /// DHCP as iPXE.
    Ipxe,
    /// The script, with those it chains to.
    Script,
    /// The kernel.
    Kernel,
    /// The initrds.
    Initrd,
}

impl StormStage {
    /// Every stage, in their order.
    pub const ALL: [StormStage; 6] = [
        StormStage::Firmware,
        StormStage::Loader,
        StormStage::Ipxe,
        StormStage::Script,
        StormStage::Kernel,
        StormStage::Initrd,
    ];

    /// The stage in words.
    pub fn words(self) -> &'static str {
        match self {
            StormStage::Firmware => "DHCP as firmware",
            StormStage::Loader => "loader",
            StormStage::Ipxe => "DHCP as iPXE",
            StormStage::Script => "script",
            StormStage::Kernel => "kernel",
            StormStage::Initrd => "initrd",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// Why a machine did not come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCause {
    /// No OFFER.
    NoOffer,
    /// An OFFER, and no ACK.
    NoAck,
    /// A NAK.
    Nak,
    /// An ACK of an address that another machine has.
    AddressTwice,
    /// An ACK that names no file.
    NoBootFile,
    /// A file of another server, or of a kind that is not followed.
    Elsewhere,
    /// The leased address is not this host's.
    NotOurAddress,
    /// A TFTP ERROR with its code.
    TftpError(u16),
    /// TFTP without an answer.
    TftpSilent,
    /// TFTP against the protocol.
    TftpUnfit,
    /// HTTP with another status than 200.
    HttpStatus(u16),
    /// A connection that did not come about, or broke.
    HttpBroken,
    /// A connection that went silent.
    HttpSilent,
    /// What came is no script.
    NoScript,
    /// A script that boots no kernel.
    BootsNothing,
    /// A socket of this host.
    Local,
    /// The storm's time was over.
    OutOfTime,
    /// It was to fail.
    Injected(MachineFault),
}

impl From<ScriptEnd> for FailureCause {
    fn from(end: ScriptEnd) -> FailureCause {
        match end {
            ScriptEnd::NoScript => FailureCause::NoScript,
            ScriptEnd::BootsNothing => FailureCause::BootsNothing,
            ScriptEnd::Elsewhere => FailureCause::Elsewhere,
        }
    }
}

impl FailureCause {
    /// The cause in one sentence, with what to look at next.
    pub fn sentence(self) -> String {
        match self {
            FailureCause::NoOffer => "no OFFER came: does the server have a subnet for the relay's address, a route back to it, and addresses left?".into(),
            FailureCause::NoAck => "an OFFER came and no ACK: is the disk that keeps leases full, or the server behind?".into(),
            FailureCause::Nak => "the server took its OFFER back with a NAK: do two servers share one pool?".into(),
            FailureCause::AddressTwice => "it was given an address that another machine has: do two servers share one pool, or were leases lost?".into(),
            FailureCause::NoBootFile => "the ACK names no file to load: are these MACs to boot from the network, and is there a loader for them?".into(),
            FailureCause::Elsewhere => "it was sent to another server or by another protocol, which a storm does not follow".into(),
            FailureCause::NotOurAddress => "this host does not hold the leased address: `ip route add local SUBNET dev lo` gives it the storm's whole subnet".into(),
            FailureCause::TftpError(code) => format!("TFTP ERROR {code}: is the file there, and readable?"),
            FailureCause::TftpSilent => "TFTP went silent: is the server behind, or a firewall between?".into(),
            FailureCause::TftpUnfit => "the TFTP server broke the protocol".into(),
            FailureCause::HttpStatus(status) => format!("HTTP status {status}: see the server's log for why"),
            FailureCause::HttpBroken => "the HTTP connection did not come about, or broke before the file's end".into(),
            FailureCause::HttpSilent => "the HTTP connection went silent for two minutes, iPXE's limit".into(),
            FailureCause::NoScript => "what came is no iPXE script that can be followed".into(),
            FailureCause::BootsNothing => "the script boots no kernel: does the inventory name these MACs (--mac-first), with an image?".into(),
            FailureCause::Local => "this host had no socket left for it: raise `ulimit -n`, or take fewer machines".into(),
            FailureCause::OutOfTime => "the storm's time was over first: see --time-limit".into(),
            FailureCause::Injected(fault) => ["it was to fail: ", fault.name()].concat(),
        }
    }
}

/// What the stages of one machine took; stages that it did not finish are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times([Option<Duration>; StormStage::ALL.len()]);

impl Times {
    /// Adds to a stage: there may be several initrds.
    pub fn add(&mut self, stage: StormStage, took: Duration) {
        *self.0[stage.index()].get_or_insert_default() += took;
    }

    /// What a stage took.
    pub fn of(&self, stage: StormStage) -> Option<Duration> {
        self.0[stage.index()]
    }
}

/// How one machine ended.
#[derive(Clone, Debug)]
pub struct MachineOutcome {
    /// The machine.
    pub mac: MacAddr,
    /// What its stages took, the last time that it was powered on.
    pub times: Times,
    /// What stopped it before, each time that it was powered on again.
    pub setbacks: Vec<Failure>,
    /// When it was up, from the storm's beginning, and how long after its first power-on; or what
    /// stopped it for good.
    pub ended: Result<(Duration, Duration), Failure>,
}

/// What stopped a machine.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The stage that failed.
    pub stage: StormStage,
    /// The cause.
    pub cause: FailureCause,
    /// The file, and the server's own words.
    pub detail: String,
}

/// A storm's report.
#[derive(Clone, Debug, Serialize)]
pub struct StormReport {
    /// The server that was stormed.
    pub server: Ipv4Addr,
    /// Machines that powered on.
    pub machines: usize,
    /// Machines that came up.
    pub up: usize,
    /// Seconds from the first power-on to the last machine that came up; `None` where none did.
    pub last_up_s: Option<f64>,
    /// Bytes of files.
    pub bytes: u64,
    /// Times that the server answered 503 and was obeyed.
    pub http_busy: u64,
    /// Times that a client sent something again.
    pub repeated: u64,
    /// Machines that gave up and were powered on again.
    pub power_cycled: usize,
    /// What each stage took, of the machines that finished it.
    pub stages: Vec<StageTimes>,
    /// From power-on to the kernel, of the machines that came up.
    pub whole: Option<Percentiles>,
    /// Why machines did not come up, the most frequent first.
    pub failures: Vec<Failures>,
    /// Why machines gave up that were powered on again, by the times it happened.
    pub setbacks: Vec<Failures>,
    /// The machines that were to fail, and how.
    pub faults: BTreeMap<MacAddr, MachineFault>,
}

impl StormReport {
    /// Whether every machine came up, but for those that were to fail.
    pub fn is_as_planned(&self) -> bool {
        self.up + self.faults.len() == self.machines
    }
}

/// A stage over the fleet.
#[derive(Clone, Debug, Serialize)]
pub struct StageTimes {
    /// The stage.
    pub stage: StormStage,
    /// Machines that finished it.
    pub machines: usize,
    /// What it took.
    #[serde(flatten)]
    pub took: Percentiles,
}

/// A spread of times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of the machines were faster.
    pub p50_ms: f64,
    /// Nine of ten.
    pub p90_ms: f64,
    /// Ninety-nine of a hundred.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Percentiles {
    /// By the nearest rank; `None` of nothing.
    pub fn of(mut times: Vec<Duration>) -> Option<Percentiles> {
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        let rank = |hundredths: usize| {
            let at = (times.len() * hundredths).div_ceil(100).saturating_sub(1).min(last);
            times[at].as_secs_f64() * 1000.0
        };
        Some(Percentiles {
            p50_ms: rank(50),
            p90_ms: rank(90),
            p99_ms: rank(99),
            max_ms: rank(100),
        })
    }
}

/// Machines that failed alike.
#[derive(Clone, Debug, Serialize)]
pub struct Failures {
    /// The stage that failed.
    pub stage: StormStage,
    /// The cause.
    pub cause: FailureCause,
    /// Why, in a sentence.
    pub sentence: String,
    /// How many machines.
    pub machines: usize,
    /// The first of them.
    pub example: MacAddr,
    /// What it saw.
    pub detail: String,
}

/// What was counted beside the machines.
#[derive(Clone, Copy, Debug, Default)]
pub struct FleetCounters {
    /// Bytes of files.
    pub bytes: u64,
    /// 503s obeyed.
    pub http_busy: u64,
    /// Packets sent again.
    pub repeated: u64,
}

impl StormReport {
    /// The report over all machines' outcomes.
    pub fn of(
        server: Ipv4Addr,
        outcomes: &[MachineOutcome],
        counted: FleetCounters,
        faults: BTreeMap<MacAddr, MachineFault>,
    ) -> StormReport {
        let up: Vec<&(Duration, Duration)> = outcomes.iter().filter_map(|one| one.ended.as_ref().ok()).collect();
        let stage_times = |stage| {
            let times: Vec<Duration> = outcomes.iter().filter_map(|one| one.times.of(stage)).collect();
            let machines = times.len();
            Percentiles::of(times).map(|took| StageTimes { stage, machines, took })
        };
        StormReport {
            server,
            machines: outcomes.len(),
            up: up.len(),
            last_up_s: up.iter().map(|(at, _)| at.as_secs_f64()).reduce(f64::max),
            bytes: counted.bytes,
            http_busy: counted.http_busy,
            repeated: counted.repeated,
            faults,
            stages: StormStage::ALL.into_iter().filter_map(stage_times).collect(),
            whole: Percentiles::of(up.iter().map(|(_, took)| *took).collect()),
            power_cycled: outcomes.iter().filter(|one| !one.setbacks.is_empty()).count(),
            failures: alike(
                outcomes
                    .iter()
                    .filter_map(|one| Some((one.mac, one.ended.as_ref().err()?))),
            ),
            setbacks: alike(
                outcomes
                    .iter()
                    .flat_map(|one| one.setbacks.iter().map(|setback| (one.mac, setback))),
            ),
        }
    }
}

/// Failures by their cause, the most frequent first.
fn alike<'a>(all: impl Iterator<Item = (MacAddr, &'a Failure)>) -> Vec<Failures> {
    let mut by_cause: BTreeMap<(StormStage, FailureCause), Failures> = BTreeMap::new();
    for (mac, failure) in all {
        let alike = by_cause
            .entry((failure.stage, failure.cause))
            .or_insert_with(|| Failures {
                stage: failure.stage,
                cause: failure.cause,
                sentence: failure.cause.sentence(),
                machines: 0,
                example: mac,
                detail: failure.detail.clone(),
            });
        alike.machines += 1;
    }
    let mut failures: Vec<Failures> = by_cause.into_values().collect();
    failures.sort_by_key(|alike| std::cmp::Reverse(alike.machines));
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn percentiles_are_by_the_nearest_rank() {
        let took = Percentiles::of((1..=200).rev().map(ms).collect()).unwrap();
        assert_eq!((took.p50_ms, took.p90_ms), (100.0, 180.0));
        assert_eq!((took.p99_ms, took.max_ms), (198.0, 200.0));
        let one = Percentiles::of(vec![ms(7)]).unwrap();
        assert_eq!((one.p50_ms, one.max_ms), (7.0, 7.0));
        assert_eq!(Percentiles::of(Vec::new()), None);
    }

    #[test]
    fn machines_that_failed_alike_are_counted_together_the_most_first() {
        let failure = |last: u8, stage, cause| Failure {
            stage,
            cause,
            detail: format!("file of {last}"),
        };
        let failed = |last: u8, stage, cause| MachineOutcome {
            mac: MacAddr([2, 0, 0, 0, 0, last]),
            times: Times::default(),
            setbacks: Vec::new(),
            ended: Err(failure(last, stage, cause)),
        };
        let mut outcomes = vec![failed(1, StormStage::Firmware, FailureCause::NoOffer)];
        outcomes.extend((2..5).map(|last| failed(last, StormStage::Loader, FailureCause::TftpError(1))));
        outcomes.push(MachineOutcome {
            mac: MacAddr([2, 0, 0, 0, 0, 9]),
            times: Times::default(),
            setbacks: vec![failure(9, StormStage::Firmware, FailureCause::NoOffer); 2],
            ended: Ok((ms(2500), ms(1500))),
        });
        let report = StormReport::of(
            Ipv4Addr::new(192, 0, 2, 1),
            &outcomes,
            FleetCounters::default(),
            BTreeMap::new(),
        );
        assert_eq!((report.machines, report.up, report.last_up_s), (5, 1, Some(2.5)));
        assert_eq!(report.whole.unwrap().max_ms, 1500.0);
        let counts: Vec<(FailureCause, usize)> = report
            .failures
            .iter()
            .map(|alike| (alike.cause, alike.machines))
            .collect();
        assert_eq!(counts, [(FailureCause::TftpError(1), 3), (FailureCause::NoOffer, 1)]);
        assert_eq!(report.failures[0].detail, "file of 2");
        assert_eq!((report.power_cycled, report.setbacks.len()), (1, 1));
        assert_eq!(
            (report.setbacks[0].cause, report.setbacks[0].machines),
            (FailureCause::NoOffer, 2)
        );
    }
}
