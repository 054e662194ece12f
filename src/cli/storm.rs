//! `bootwright storm`.

use super::ask::table;
use crate::model::{MacAddr, limits::OPEN_FILES_MAX};
use crate::storm::{
    FleetFirmware, Plan, RelayMode,
    fault::{FaultPlan, MachineFault},
    fleet,
    progress::StormProgress,
    report::{Failures, Percentiles, StormReport, StormStage},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{
    error::Error,
    fmt::Write,
    io::{self, IsTerminal},
    net::Ipv4Addr,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

const EXAMPLES: &str = "\
The machines stand behind a relay, which is this host, in a subnet of their own:
  on the appliance   a [[subnet]] with a pool in the inventory, hosts or a rule that name the MACs,
                     and `ip route add 198.18.0.0/16 via THIS-HOST`
  on this host       `ip route add local 198.18.0.0/16 dev lo`

Examples:
  bootwright storm --server 192.0.2.1 --relay 198.18.0.1
  bootwright storm --server 192.0.2.1 --relay 198.18.0.1 --machines 1000 --spread 0
  bootwright storm --server 192.0.2.1 --relay 198.18.0.1 --power-cycles 3
  bootwright storm --server 192.0.2.1 --relay 198.18.0.1 --machines 1000 --faults 100 --seed 7
  bootwright storm --server 192.0.2.1 --relay 198.18.0.1 --firmware bios --json | jq .failures";

/// How often the progress is shown: the bar, and lines where there is no terminal.
const BAR_TICK: Duration = Duration::from_millis(200);
const LINE_TICK: Duration = Duration::from_secs(5);

/// Boots a virtual fleet against your own appliance, and says what each stage took
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StormArgs {
    /// The appliance, by its address; nothing else is ever spoken to
    #[arg(long, value_name = "ADDRESS")]
    server: Ipv4Addr,
    /// This host's address in the machines' subnet; without it the one towards the server
    #[arg(long, value_name = "ADDRESS")]
    relay: Option<Ipv4Addr>,
    /// What the relay reads of its interface; real ones read packets
    #[arg(long, value_enum, default_value = "packets")]
    reads: ReadsArg,
    /// How many machines
    #[arg(long, value_name = "N", default_value_t = 100)]
    machines: u32,
    /// The first machine's MAC; the others count up from it
    #[arg(long, value_name = "MAC", default_value = "02:00:00:00:00:01")]
    mac_first: MacAddr,
    /// The firmware that the machines have
    #[arg(long, value_enum, default_value = "uefi")]
    firmware: FirmwareArg,
    /// How long from the first power-on to the last
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    spread: u32,
    /// After how long machines that are not up are given up
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    time_limit: u32,
    /// How often a machine that gave up is powered on again; one that comes up then is no failure
    #[arg(long, value_name = "N", default_value_t = 0)]
    power_cycles: u32,
    /// How many machines fail on purpose, each in a way that real ones do; hold `bootwright why` against them
    #[arg(long, value_name = "N", default_value_t = 0)]
    faults: u32,
    /// What is wrong with those, by name and as often as wanted; without it, one fault after the other
    #[arg(long, value_name = "FAULT", requires = "faults")]
    fault: Vec<MachineFault>,
    /// Which machines fail: one seed chooses the same again
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FirmwareArg {
    /// A BIOS with a PXE ROM
    Bios,
    /// EDK2
    Uefi,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ReadsArg {
    /// Packets, and the first answer in each, as dhcrelay and nearly all clients do
    Packets,
    /// The datagrams of a UDP socket, which needs no CAP_NET_RAW
    Datagrams,
}

/// Runs the storm; exit code 1 when a machine did not come up that was to.
pub(super) fn run(args: StormArgs) -> ExitCode {
    match storm(&args) {
        Ok(report) if report.is_as_planned() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => super::finish(Err(error)),
    }
}

fn storm(args: &StormArgs) -> Result<StormReport, Box<dyn Error>> {
    let relay = match args.relay {
        Some(relay) => relay,
        None => fleet::address_towards(args.server).map_err(|error| {
            format!(
                "there is no way to {}: {error}; does this host have a route?",
                args.server
            )
        })?,
    };
    let plan = Plan {
        server: args.server,
        relay,
        relay_mode: match args.reads {
            ReadsArg::Packets => RelayMode::Packets,
            ReadsArg::Datagrams => RelayMode::Datagrams,
        },
        machines: args.machines,
        mac_first: args.mac_first,
        firmware: match args.firmware {
            FirmwareArg::Bios => FleetFirmware::Bios,
            FirmwareArg::Uefi => FleetFirmware::Uefi,
        },
        spread: Duration::from_secs(args.spread.into()),
        time_limit: Duration::from_secs(args.time_limit.into()),
        power_cycles: args.power_cycles,
        faults: FaultPlan {
            count: args.faults,
            seed: args.seed,
            kinds: args.fault.clone(),
        },
    };
    plan.check()?;
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let progress = Arc::new(StormProgress::default());
        let watcher = tokio::spawn(watch(Arc::clone(&progress), plan.machines));
        let report = fleet::run(plan, progress).await;
        watcher.abort();
        report
    })?;
    super::ask::show(args.json, &report, text)?;
    Ok(report)
}

/// Every machine holds a socket.
fn raise_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let wanted = OPEN_FILES_MAX.clamp(soft, hard.max(soft));
        // Where it stays low, machines without a socket fail with that cause.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
    }
}

/// Shows the progress on standard error: a bar on a terminal, a line now and then elsewhere.
async fn watch(progress: Arc<StormProgress>, machines: u32) {
    let terminal = io::stderr().is_terminal();
    let target = ProgressDrawTarget::stderr();
    let bar = ProgressBar::with_draw_target(Some(machines.into()), target).with_finish(ProgressFinish::AndClear);
    // `wide_msg` ends where the terminal does: a line that wraps can't be drawn over.
    if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} [{bar:20}] {pos}/{len} up  {wide_msg}") {
        bar.set_style(style);
    }
    let mut tick = tokio::time::interval(if terminal { BAR_TICK } else { LINE_TICK });
    // The first tick is at once.
    tick.tick().await;
    loop {
        tick.tick().await;
        if terminal {
            bar.set_position(progress.up.load(Ordering::Relaxed));
            bar.set_message(moment(&progress));
        } else {
            let up = progress.up.load(Ordering::Relaxed);
            eprintln!("storm: {up}/{machines} up  {}", moment(&progress));
        }
    }
}

/// What is under way: machines by the stage they are at.
fn moment(progress: &StormProgress) -> String {
    let at = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let finished: Vec<String> = StormStage::ALL
        .iter()
        .zip(&progress.finished)
        .map(|(stage, counter)| format!("{} {}", stage.words(), at(counter)))
        .collect();
    format!(
        "on {} · {} · powered on again {} · failed {} · {} MB",
        at(&progress.powered_on),
        finished.join(" · "),
        at(&progress.power_cycled),
        at(&progress.failed),
        at(&progress.bytes) / 1_000_000
    )
}

fn text(report: &StormReport) -> String {
    let row = |name: &str, machines: usize, took: Percentiles| {
        let shown = |ms: f64| format!("{ms:.1}");
        [
            name.to_owned(),
            machines.to_string(),
            shown(took.p50_ms),
            shown(took.p90_ms),
            shown(took.p99_ms),
            shown(took.max_ms),
        ]
    };
    let mut rows: Vec<[String; 6]> = report
        .stages
        .iter()
        .map(|times| row(times.stage.words(), times.machines, times.took))
        .collect();
    rows.extend(report.whole.map(|took| row("power-on to kernel", report.up, took)));
    let mut text = table(["STAGE", "MACHINES", "P50 MS", "P90 MS", "P99 MS", "MAX MS"], &rows);
    for (all, ended) in [(&report.setbacks, "was powered on again"), (&report.failures, "failed")] {
        all.iter().for_each(|alike| stopped(&mut text, alike, ended));
    }
    let _ = write!(text, "{} of {} machines up", report.up, report.machines);
    if let Some(last_up_s) = report.last_up_s {
        let rate = report.bytes as f64 / 1e6 / last_up_s.max(0.001);
        let _ = write!(text, ", the last after {last_up_s:.1} s; {rate:.0} MB/s");
    }
    let _ = writeln!(
        text,
        "; {} MB of files, {} packets sent again, {} times told to wait, {} machines powered on again",
        report.bytes / 1_000_000,
        report.repeated,
        report.http_busy,
        report.power_cycled
    );
    text
}

/// Machines that were stopped alike, and what became of them.
fn stopped(text: &mut String, alike: &Failures, ended: &str) {
    let detail = match alike.detail.as_str() {
        "" => "no more is known",
        detail => detail,
    };
    let (stage, sentence) = (alike.stage.words(), &alike.sentence);
    let _ = writeln!(
        text,
        "{} x {ended} at {stage}: {sentence}\n    such as {}: {detail}",
        alike.machines, alike.example
    );
}
