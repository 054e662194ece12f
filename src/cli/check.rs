//! `bootwright check`: everything wrong with the operator's files, all at once.

use super::hashing::{hashing, kept_by};
use crate::config::{
    self, Appliance, Diagnostic, LoadReport, Loaded, SecretsAre, report,
    validation::{self, FilesToValidate},
};
use crate::images::{reading::ReadVia, sums::NoImages};
use crate::model::{ServedInterface, text::counted};
use crate::net::interface;
use serde::Serialize;
use std::{
    io::Write,
    mem::ManuallyDrop,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Where a package puts the appliance's settings.
pub(super) const DEFAULT_PATH: &str = "/etc/bootwright/bootwright.toml";
const FILE_NAME: &str = "bootwright.toml";

/// Checks the settings, the inventory, scripts, answers and images: all errors at once
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bootwright check                          /etc/bootwright
  bootwright check config                   the files of a working copy, before it is rolled out
  bootwright check --json config | jq .errors
  bootwright check --stdout config | less
  bootwright check --without-images config  in CI, where the repository has no images

Images are held against their checksums. Whoever may read the daemon's [state] need not wait for
those that it has verified since they changed last; `bootwright image verify` reads every byte.

Exit code: 0 when everything is sound, 1 when something is not.")]
pub(super) struct CheckArgs {
    /// bootwright.toml, or the folder that has it
    #[arg(default_value = DEFAULT_PATH)]
    path: PathBuf,
    /// The same, as `serve` has it
    #[arg(long, value_name = "PATH", hide = true, conflicts_with = "path")]
    config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print errors and warnings to standard output, for a pager or a file
    #[arg(long, conflicts_with = "json")]
    stdout: bool,
    /// Look at no image: whatever image is named is taken to be there, with a kernel, an initrd and a disk
    #[arg(long)]
    without_images: bool,
}

impl CheckArgs {
    fn settings(&self) -> PathBuf {
        settings_file(self.config.as_ref().unwrap_or(&self.path))
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Findings<'a> {
    compiled: bool,
    errors: &'a [Diagnostic],
    warnings: &'a [Diagnostic],
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<CheckCounts>,
}

/// How much was checked.
#[derive(Serialize)]
struct CheckCounts {
    hosts: usize,
    subnets: usize,
    rules: usize,
    /// `None` where no image was looked at.
    images: Option<usize>,
    scripts: usize,
    answers: usize,
}

/// Runs the command: 1 when there is an error.
pub(super) fn run(args: CheckArgs) -> ExitCode {
    let started = Instant::now();
    let settings = args.settings();
    // What is wrong with the settings is reported with everything else.
    let appliance = config::appliance(&settings).ok();
    // Nothing waits for its memory to be freed.
    let loaded = ManuallyDrop::new(load(&settings, appliance.as_ref(), args.without_images));
    let counts = loaded.as_ref().ok().map(|loaded| counts(loaded, args.without_images));
    let mut report = match &*loaded {
        Ok(loaded) => LoadReport {
            errors: Vec::new(),
            warnings: loaded.warnings.clone(),
        },
        Err(report) => report.clone(),
    };
    // Where the images are not, the interfaces are not either.
    if let Some(appliance) = appliance.filter(|_| !args.without_images) {
        report.warnings.extend(misspelt(&appliance.interfaces, &settings));
    }
    let printed = match args.json {
        true => print_json(&report, counts),
        false => print_text(&report, counts, started.elapsed(), args.stdout),
    };
    // A reader that went away (`| head`) is no error of the inventory.
    let _ = printed;
    match report.errors.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Loads what a path names, as `bootwright check` does.
pub(super) fn load_candidate(path: &Path) -> Result<Loaded, LoadReport> {
    let settings = settings_file(path);
    let appliance = config::appliance(&settings).ok();
    load(&settings, appliance.as_ref(), false)
}

/// Loads the files as a start and a reload do: tried in another process first. What is wrong with images is
/// found with what that found.
fn load(settings: &Path, appliance: Option<&Appliance>, without_images: bool) -> Result<Loaded, LoadReport> {
    let files = FilesToValidate {
        without_images,
        // Where the images are not, the secrets are not either.
        secrets: match without_images {
            true => SecretsAre::Elsewhere,
            false => SecretsAre::LookedAt,
        },
        ..validation::on_disk(settings)
    };
    let tried = validation::validate_in_subprocess(files)?;
    match without_images {
        true => validation::load_validated(files, 1, &mut NoImages, &tried),
        false => {
            let kept = appliance.map(kept_by).unwrap_or_default();
            validation::load_validated(files, 1, &mut hashing(kept, ReadVia::Memory), &tried)
        }
    }
}

/// The interfaces that this machine does not have though it has one of nearly that name. Others may come
/// later, or this machine is not the appliance.
fn misspelt(wanted: &[ServedInterface], settings: &Path) -> Vec<Diagnostic> {
    let there = interface::names().unwrap_or_default();
    let hint = |ServedInterface { name, .. }: &ServedInterface| {
        let near = similar_interface(name, &there)?;
        Some(Diagnostic {
            message: format!("this machine has no interface `{name}`"),
            help: Some(format!("did you mean `{near}`?")),
            file: settings.display().to_string(),
            place: None,
        })
    };
    let missing = wanted.iter().filter(|wanted| !there.contains(&wanted.name));
    missing.filter_map(hint).collect()
}

/// The interface that is nearly called `name`, and is not the next one of its card.
pub(super) fn similar_interface<'t>(name: &str, there: &'t [String]) -> Option<&'t str> {
    let there = there.iter().map(String::as_str);
    config::nearest(name, there.filter(|there| !is_next_to(name, there)))
}

/// Whether the names differ in their last digit alone, as those of two interfaces of one card do.
fn is_next_to(name: &str, other: &str) -> bool {
    fn but_last(name: &str) -> Option<&str> {
        let mut characters = name.chars();
        let is_digit = characters.next_back().is_some_and(|last| last.is_ascii_digit());
        is_digit.then_some(characters.as_str())
    }
    but_last(name).is_some_and(|one| but_last(other) == Some(one))
}

/// A folder stands for the settings in it.
pub(super) fn settings_file(path: &Path) -> PathBuf {
    match path.is_dir() {
        true => path.join(FILE_NAME),
        false => path.to_owned(),
    }
}

fn counts(loaded: &Loaded, without_images: bool) -> CheckCounts {
    let snapshot = &loaded.snapshot;
    CheckCounts {
        hosts: snapshot.hosts.len(),
        subnets: snapshot.subnets.len(),
        rules: snapshot.rules.len(),
        images: (!without_images).then_some(snapshot.images.len()),
        scripts: snapshot.templates.script_names().len(),
        answers: snapshot.templates.answers.len(),
    }
}

fn print_json(report: &LoadReport, counts: Option<CheckCounts>) -> std::io::Result<()> {
    let findings = Findings {
        compiled: report.errors.is_empty(),
        errors: &report.errors,
        warnings: &report.warnings,
        counts,
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &findings)?;
    writeln!(out)
}

fn print_text(
    report: &LoadReport,
    counts: Option<CheckCounts>,
    took: Duration,
    to_stdout: bool,
) -> std::io::Result<()> {
    let (mut complaints, colours): (Box<dyn Write>, bool) = match to_stdout {
        true => (
            Box::new(std::io::stdout()),
            report::stream_wants_colours(&std::io::stdout()),
        ),
        false => (Box::new(std::io::stderr()), report::wants_colours()),
    };
    complaints.write_all(report.render(colours).as_bytes())?;
    let warnings = match report.warnings.len() {
        0 => String::new(),
        count => format!(", {}", counted(count, "warning")),
    };
    match counts {
        Some(counts) => {
            let what = [
                counted(counts.hosts, "host"),
                counted(counts.subnets, "subnet"),
                counted(counts.rules, "rule"),
                counts
                    .images
                    .map_or("images not looked at".to_owned(), |images| counted(images, "image")),
                counted(counts.scripts, "script"),
                counted(counts.answers, "answer"),
            ];
            let took_ms = took.as_millis();
            writeln!(std::io::stdout(), "{}: sound{warnings} ({took_ms} ms)", what.join(", "))
        }
        None => writeln!(complaints, "{}{warnings}", counted(report.errors.len(), "error")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches as _};

    fn parsed(arguments: &[&str]) -> Result<CheckArgs, clap::Error> {
        let command = CheckArgs::augment_args(clap::Command::new("check").no_binary_name(true));
        CheckArgs::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    #[test]
    fn who_is_used_to_serve_may_say_config_and_not_both() {
        let path = |arguments: &[&str]| parsed(arguments).unwrap().settings();
        assert_eq!(path(&["--config", "here.toml"]), Path::new("here.toml"));
        assert_eq!(path(&["here.toml"]), Path::new("here.toml"));
        assert_eq!(path(&[]), Path::new(DEFAULT_PATH));
        assert!(parsed(&["here.toml", "--config", "there.toml"]).is_err());
    }

    #[test]
    fn the_other_interface_of_a_card_is_no_slip() {
        for (name, other) in [("eno1", "eno2"), ("eth0", "eth1"), ("enp1s0f0", "enp1s0f1")] {
            assert!(is_next_to(name, other), "{name} {other}");
        }
        for (name, other) in [
            ("eno22", "eno2"),
            ("emo2", "eno2"),
            ("eno", "eno2"),
            ("enp1s0", "enp2s0"),
        ] {
            assert!(!is_next_to(name, other), "{name} {other}");
        }
    }
}
