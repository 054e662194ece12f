//! Validates the operator's files in a subprocess before this process reads them.
//!
//! Templates are programs. What they do is bounded by depth, fuel and output, and still one can be written
//! that eats the stack, the memory or the time of whoever runs it: a list that holds itself, a list of lists
//! that doubles, a text as wide as a number says. None of these can be caught where it happens, and a daemon
//! that serves a site must not find out. So another process reads and validates all of it first, with less stack
//! and bounds of the system on its memory; it reports each step before it begins it, and is killed when a
//! step takes too long. What it died of is reported as an error of the file that it was processing. Afterwards this
//! process reads only files whose bytes were validated so.
//!
//! It serves no machine, binds nothing and writes nothing.

mod termination;

use termination::{ChildExit, end, left, reason};

use super::{
    Diagnostic, LoadReport, Loaded, SecretsAre,
    last_good::{SavedFile, load_last_good, load_last_good_only},
    loading::load_only,
    problems::{TriedBefore, merged},
    validation_protocol::{ChildMessage, FileHashes, ValidationStep, begin_validation, from_wire, say_report, sum},
};
use crate::images::sums::{Deferred, NoImages, Sums};
use crate::model::limits::{VALIDATION_MEMORY_BYTES_MAX, VALIDATION_OUTPUT_BYTES_MAX, VALIDATION_TIMEOUT};
use nix::{
    sys::{
        prctl::set_dumpable,
        resource::{Resource, setrlimit},
    },
    unistd::{AccessFlags, access},
};
use std::{
    fmt,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

/// The hidden command that validates files.
pub const COMMAND: &str = "validate-files";
/// This program, even where an upgrade has put another in its place.
const OURSELVES: &str = "/proc/self/exe";
/// Bytes of its standard error that are read.
const LAST_WORDS_BYTES_MAX: u64 = 4096;

/// Which files are validated.
#[derive(Clone, Copy, Debug)]
pub struct FilesToValidate<'p> {
    /// `bootwright.toml`; of a saved version, where it was.
    pub config: &'p Path,
    /// The folder of the saved version, if that is to be validated.
    pub kept: Option<&'p Path>,
    /// Whether images are skipped.
    pub without_images: bool,
    /// What secrets are read for.
    pub secrets: SecretsAre,
}

/// The bytes of files that were validated.
#[derive(Clone, Debug, Default)]
pub struct TriedFiles(Arc<FileHashes>);

impl TriedFiles {
    /// Whether these are the same bytes, all of them and no others.
    pub fn are(&self, files: &[SavedFile]) -> bool {
        let sums: FileHashes = files.iter().map(|file| sum(&file.bytes)).collect();
        sums == *self.0
    }

    /// What tells these bytes from any others.
    pub(super) fn sums(&self) -> Arc<FileHashes> {
        Arc::clone(&self.0)
    }
}

/// Files that were tried, and what came of it.
#[derive(Debug)]
pub struct ValidatedFiles {
    /// The files that were read.
    files: TriedFiles,
    /// What loaders and images were with which all that is sent was tried.
    rehearsed: Option<[u8; 32]>,
    /// What is wrong with them.
    pub report: LoadReport,
}

/// Tries files: what the hidden command does. Says all of it on standard output.
pub fn run(files: FilesToValidate<'_>) {
    bound_this_process();
    begin_validation();
    let mut sums: Box<dyn Sums> = match files.without_images {
        true => Box::new(NoImages),
        false => Box::new(Deferred),
    };
    let loaded = match files.kept {
        None => load_only(files.config, 0, &mut *sums, (None, files.secrets)),
        Some(kept) => load_last_good(kept, files.config, 0, &mut *sums),
    };
    let report = match &loaded {
        Ok(loaded) => LoadReport {
            errors: Vec::new(),
            warnings: loaded.warnings.clone(),
        },
        Err(report) => report.clone(),
    };
    say_report(report);
    // Nothing waits for its memory to be freed.
    std::process::exit(0);
}

/// Bounds that the system holds; and should it run out of memory, this process goes first. What it refuses us
/// here is a bound less, and no reason not to judge.
fn bound_this_process() {
    let seconds = 2 * VALIDATION_TIMEOUT.as_secs();
    for (resource, most) in [
        (Resource::RLIMIT_DATA, VALIDATION_MEMORY_BYTES_MAX),
        (Resource::RLIMIT_CPU, seconds),
        (Resource::RLIMIT_CORE, 0),
    ] {
        let _ = setrlimit(resource, most, most);
    }
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // A program that takes cores in gets none either, and is not waited for. This closes /proc/self to us.
    let _ = set_dumpable(false);
}

/// Tries files in another process.
///
/// # Errors
/// It came to no end: with the file that it was at.
pub fn validate_in_subprocess(files: FilesToValidate<'_>) -> Result<ValidatedFiles, LoadReport> {
    let failed = |what: fmt::Arguments<'_>, help: &str| LoadReport {
        errors: vec![Diagnostic {
            message: what.to_string(),
            help: Some(help.to_owned()),
            file: files.config.display().to_string(),
            place: None,
        }],
        warnings: Vec::new(),
    };
    left().retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    let mut child = command(files).spawn().map_err(|error| {
        failed(
            format_args!("the files can't be tried, because no process can be started for it: {error}"),
            start_help(error.kind()),
        )
    })?;
    let heard =
        listen(&mut child).map_err(|error| failed(format_args!("the files can't be tried: {error}"), "try again"));
    let mut trial = ValidationState::default();
    let ended = heard.map(|heard| (trial.follow(&heard.words), heard));
    let status = end(child);
    let (ended, heard) = ended?;
    let words = heard.last_words(status.is_some());
    match (ended, trial.report) {
        (ChildExit::Done, Some(report)) => Ok(ValidatedFiles {
            files: TriedFiles(Arc::new(trial.files)),
            rehearsed: trial.rehearsed,
            report,
        }),
        (ended, _) => {
            let file = trial.step.as_ref().and_then(ValidationStep::file);
            let doing: &dyn fmt::Display = match &trial.step {
                Some(step) => step,
                None => &"starting",
            };
            let step = trial.step.as_ref().unwrap_or(&ValidationStep::Validate);
            let (why, help) = reason(ended, status, &words, step);
            let mut report = failed(format_args!("{doing} {why}"), help);
            if let (Some(error), Some(file)) = (report.errors.first_mut(), file) {
                file.clone_into(&mut error.file);
            }
            Err(report)
        }
    }
}

/// What to do where no process is started.
fn start_help(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => {
            "let the user that this runs as execute the program: see `ls -l`, and chmod 755"
        }
        io::ErrorKind::NotFound => "mount /proc where this runs",
        _ => "let this user start one more: see TasksMax and `ulimit -u`",
    }
}

/// Whether whoever we are by now may start the process that tries files.
///
/// # Errors
/// Why not, and what to do.
pub fn may_start() -> Result<(), (io::Error, &'static str)> {
    may_execute(Path::new(OURSELVES)).map_err(|error| {
        let help = start_help(error.kind());
        (error, help)
    })
}

fn may_execute(program: &Path) -> io::Result<()> {
    access(program, AccessFlags::X_OK).map_err(io::Error::from)
}

fn command(files: FilesToValidate<'_>) -> Command {
    let mut command = Command::new(OURSELVES);
    command.arg(COMMAND).arg("--config").arg(files.config);
    if let Some(kept) = files.kept {
        command.arg("--kept").arg(kept);
    }
    if files.without_images {
        command.arg("--without-images");
    }
    match files.secrets {
        SecretsAre::Served => {}
        SecretsAre::LookedAt => drop(command.arg("--look-at-secrets")),
        SecretsAre::Elsewhere => drop(command.arg("--without-secrets")),
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Not systemd's to talk to.
    command.env_remove("NOTIFY_SOCKET");
    command
}

/// What is heard of the other process.
struct ChildOutput {
    words: Receiver<ChildMessage>,
    /// Reads what it says, and what it says of its own end. They end with it.
    readers: (JoinHandle<()>, JoinHandle<String>),
}

impl ChildOutput {
    /// What it reported of its own end, where it has ended: nothing is left of the readers then, and a start may
    /// give up its privileges.
    fn last_words(self, has_ended: bool) -> String {
        let ChildOutput { words, readers } = self;
        drop(words);
        match has_ended {
            true => {
                let _ = readers.0.join();
                readers.1.join().unwrap_or_default()
            }
            false => String::new(),
        }
    }
}

/// Two threads that read its output, so that waiting for it has a timeout.
fn listen(child: &mut Child) -> io::Result<ChildOutput> {
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("nothing can be heard of it"));
    };
    let (word, words) = mpsc::channel();
    let read = move || {
        let mut lines = BufReader::new(out.take(VALIDATION_OUTPUT_BYTES_MAX)).lines();
        while let Some(Ok(line)) = lines.next() {
            let Ok(next) = serde_json::from_str(&line) else {
                return;
            };
            if word.send(next).is_err() {
                return;
            }
        }
    };
    let first = thread::Builder::new().name("trial".to_owned()).spawn(read)?;
    let read = move || {
        let mut bytes = Vec::new();
        let _ = err.take(LAST_WORDS_BYTES_MAX).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let second = thread::Builder::new().name("trial's end".to_owned()).spawn(read)?;
    Ok(ChildOutput {
        words,
        readers: (first, second),
    })
}

/// What is known of a validation so far.
#[derive(Debug, Default)]
struct ValidationState {
    files: FileHashes,
    rehearsed: Option<[u8; 32]>,
    step: Option<ValidationStep>,
    report: Option<LoadReport>,
}

impl ValidationState {
    /// Reads the subprocess's messages until it has ended, or should have.
    fn follow(&mut self, words: &Receiver<ChildMessage>) -> ChildExit {
        let until = Instant::now() + VALIDATION_TIMEOUT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let step_longest = self.step.as_ref().map_or(VALIDATION_TIMEOUT, ValidationStep::longest);
            match words.recv_timeout(left.min(step_longest)) {
                Ok(ChildMessage::Read(sum)) => drop(self.files.insert(sum)),
                Ok(ChildMessage::Rehearsed(outside)) => self.rehearsed = Some(outside),
                Ok(ChildMessage::Next(step)) => self.step = Some(step),
                Ok(ChildMessage::Done(errors, warnings)) => {
                    self.report = Some(LoadReport {
                        errors: from_wire(errors),
                        warnings: from_wire(warnings),
                    });
                    return ChildExit::Done;
                }
                Err(RecvTimeoutError::Disconnected) => return ChildExit::Died,
                Err(RecvTimeoutError::Timeout) if left <= step_longest => return ChildExit::TooLong,
                Err(RecvTimeoutError::Timeout) => return ChildExit::StepTooLong,
            }
            if left.is_zero() {
                return ChildExit::TooLong;
            }
        }
    }
}

/// Loads files that were validated, and no others.
///
/// # Errors
/// They are not sound, or changed since.
pub fn load_validated(
    files: FilesToValidate<'_>,
    generation: u64,
    sums: &mut dyn Sums,
    tried: &ValidatedFiles,
) -> Result<Loaded, LoadReport> {
    let before = TriedBefore {
        files: Arc::clone(&tried.files.0),
        // What is wrong is said once more, with what is wrong with images.
        rehearsed: tried.rehearsed.filter(|_| tried.report.errors.is_empty()),
    };
    let loaded = match files.kept {
        None => load_only(files.config, generation, sums, (Some(before), files.secrets)),
        Some(kept) => load_last_good_only(kept, files.config, generation, sums, Some(before)),
    };
    // What was rehearsed there was not rehearsed here, so that what it found is to be said all the same.
    loaded.map(|loaded| Loaded {
        warnings: merged(tried.report.warnings.clone(), loaded.warnings),
        ..loaded
    })
}

/// Tries files, and loads them where nothing is wrong with them: what was refused there is not even read here.
///
/// # Errors
/// They are not sound, came to no end, or changed meanwhile.
pub fn try_and_load(
    files: FilesToValidate<'_>,
    generation: u64,
    sums: &mut dyn Sums,
) -> Result<(Loaded, TriedFiles), LoadReport> {
    let tried = validate_in_subprocess(files)?;
    match tried.report.errors.is_empty() {
        true => load_validated(files, generation, sums, &tried).map(|loaded| (loaded, tried.files)),
        false => Err(tried.report),
    }
}

/// The files that are kept in `folder` of the appliance with these settings.
pub fn kept_in<'p>(folder: &'p Path, config: &'p Path) -> FilesToValidate<'p> {
    FilesToValidate {
        kept: Some(folder),
        ..on_disk(config)
    }
}

/// The files of an appliance as they are on disk.
pub fn on_disk(config: &Path) -> FilesToValidate<'_> {
    FilesToValidate {
        config,
        kept: None,
        without_images: false,
        secrets: SecretsAre::Served,
    }
}

#[cfg(test)]
mod tests {
    use super::termination::{KILLED_HELP, help_with_size};
    use super::*;
    use nix::sys::signal::Signal;
    use std::os::unix::process::ExitStatusExt;
    use std::{fs, os::unix::fs::PermissionsExt, process::ExitStatus};

    #[test]
    fn one_that_must_be_killed_is_waited_for() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let status = end(child).unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
    }

    #[test]
    fn files_are_those_that_were_tried_where_all_their_bytes_are_and_no_others() {
        let file = |name: &str, text: &str| SavedFile {
            path: name.into(),
            bytes: text.into(),
        };
        let (one, other) = (|| file("a", "one"), || file("b", "other"));
        let tried = TriedFiles(Arc::new([sum(b"one"), sum(b"other")].into()));
        assert!(tried.are(&[one(), other()]) && tried.are(&[other(), one(), file("c", "one")]));
        assert!(!tried.are(&[one()]), "one is not there any more");
        assert!(!tried.are(&[one(), file("b", "others")]), "one is another");
        assert!(!tried.are(&[one(), other(), file("c", "new")]), "one is new");
        assert!(!TriedFiles::default().are(&[one()]));
    }

    #[test]
    fn a_program_that_may_not_be_executed_is_no_lack_of_tasks() {
        let room = tempfile::tempdir().unwrap();
        let program = room.path().join("bootwright");
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o600)).unwrap();
        let refused = may_execute(&program).unwrap_err();
        assert!(start_help(refused.kind()).contains("chmod"), "{refused}");
        let gone = may_execute(&room.path().join("gone")).unwrap_err();
        assert!(start_help(gone.kind()).contains("/proc"), "{gone}");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        may_execute(&program).unwrap();
        assert!(start_help(io::ErrorKind::WouldBlock).contains("TasksMax"));
    }

    #[test]
    fn a_slow_folder_is_not_told_to_look_at_its_lists() {
        let help = |ended, step: &ValidationStep| reason(ended, None, "", step).1;
        let file = || "a".to_owned();
        for (step, word) in [
            (ValidationStep::Read(file()), "disk"),
            (ValidationStep::Compile(file()), "calls itself"),
            (ValidationStep::Render(file(), file()), "calls itself"),
        ] {
            assert!(help(ChildExit::StepTooLong, &step).contains(word), "{step}");
        }
        let folder = ValidationStep::Look(file());
        assert_eq!(folder.longest(), VALIDATION_TIMEOUT);
        assert_eq!(help(ChildExit::TooLong, &folder), folder.help());
        let others = [ValidationStep::Validate, ValidationStep::Read(file())];
        for other in others {
            assert_ne!(help(ChildExit::TooLong, &other), folder.help());
        }
    }

    #[test]
    fn what_to_do_fits_what_the_process_died_of() {
        let file = || "a".to_owned();
        let killed = Some(ExitStatus::from_raw(Signal::SIGKILL as i32));
        let help = |status, words: &str, step: &ValidationStep| reason(ChildExit::Died, status, words, step).1;
        for step in [
            ValidationStep::Read(file()),
            ValidationStep::Look(file()),
            ValidationStep::Validate,
        ] {
            for words in ["memory allocation of 9 bytes failed", "thread has overflowed its stack"] {
                assert_eq!(help(None, words, &step), help_with_size(&step), "{step}");
                assert_ne!(help_with_size(&step), step.help(), "{step}");
            }
            assert_eq!(help(killed, "", &step), KILLED_HELP, "{step}");
            assert_eq!(help(None, "", &step), step.help(), "{step}");
        }
        let template = ValidationStep::Compile(file());
        assert_eq!(help(None, "memory allocation", &template), template.help());
    }
}
