//! `bootwright doctor`: what keeps machines from booting here, before one tries.

mod boot;
mod firewall;
mod gather;
mod network;
mod program;
mod system;

use super::check::{DEFAULT_PATH, settings_file};
use crate::config;
use crate::doctor::{Diagnosis, Light, judge};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
    path::PathBuf,
    process::ExitCode,
};

const EXAMPLES: &str = "\
Examples:
  sudo bootwright doctor                    everything that can be seen without asking the wire
  sudo bootwright doctor --probe            that, and other DHCP servers, asked as a machine would
  bootwright doctor --config ./room --json | jq '.findings[] | select(.light != \"green\")'

Exit codes: 0 all is green or amber · 1 something is red · 2 the arguments make no sense";

/// Says what keeps machines from booting here: ports, interfaces, firewall, loaders, images, disks, limits
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DoctorArgs {
    /// The appliance's bootwright.toml, or the folder that has it
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// The daemon's socket; without it the one that the settings name
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Send DISCOVERs on each interface, as a machine's firmware would, to find other DHCP servers
    #[arg(long)]
    probe: bool,
    /// Read every byte of the images; without it, their sizes and what the daemon knows
    #[arg(long)]
    full: bool,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

/// What could not be seen, and so has no light: a sentence each.
#[derive(Debug, Default)]
struct Unseen(Vec<String>);

impl Unseen {
    fn add(&mut self, what: impl Display) {
        self.0.push(what.to_string());
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct DoctorReport<'a> {
    /// The worst of all lights.
    light: Light,
    findings: &'a [Diagnosis],
    unseen: &'a [String],
}

/// Looks, judges and says: 1 when something is red.
pub(super) fn run(args: DoctorArgs) -> ExitCode {
    let settings = settings_file(&args.config);
    let mut unseen = Unseen::default();
    let facts = match config::appliance(&settings) {
        Ok(appliance) => gather::facts(&args, &settings, &appliance, &mut unseen),
        Err(report) => {
            unseen.add("everything that the settings name: they can't be used");
            gather::without_settings(report)
        }
    };
    let findings = judge(&facts);
    let light = findings.iter().map(|one| one.light).max().unwrap_or(Light::Green);
    let report = DoctorReport {
        light,
        findings: &findings,
        unseen: &unseen.0,
    };
    // A reader that went away (`| head`) changes nothing about this machine.
    let _ = super::ask::show(args.json, &report, text);
    match light {
        Light::Green | Light::Amber => ExitCode::SUCCESS,
        Light::Red => ExitCode::FAILURE,
    }
}

fn text(report: &DoctorReport<'_>) -> String {
    let mut text = String::new();
    let mut counts: BTreeMap<Light, usize> = BTreeMap::new();
    for Diagnosis {
        check,
        subject,
        light,
        sentence,
        remedy,
    } in report.findings
    {
        *counts.entry(*light).or_default() += 1;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{light:5}  {check} {subject}: {sentence}");
        if let Some(remedy) = remedy {
            let _ = writeln!(text, "       What to do: {remedy}");
        }
    }
    for what in report.unseen {
        let _ = writeln!(text, "not seen: {what}");
    }
    let count = |light| counts.get(&light).copied().unwrap_or_default();
    let [red, amber, green] = [Light::Red, Light::Amber, Light::Green].map(count);
    let _ = writeln!(text, "{red} red, {amber} amber, {green} green");
    text
}
