//! `bootwright why --follow`: a boot as it goes on, step by step, and what it came to.

use super::{after, moment, standing, sureness, times, what};
use crate::admin::{
    api::{AttemptFilter, AttemptStatus},
    client::{self, ClientError},
    routes::GetAttempts,
};
use crate::attempt::{
    AttemptLine, AttemptOutcome, AttemptStep, Progress, StepKind,
    verdict::{Severity, Verdict},
};
use crate::cli::ask::AdminArgs;
use serde::Serialize;
use std::{
    fmt::{Display, Write as _},
    io::{self, Write},
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A verdict that nothing came after for so long is the last word: firmware that is slow goes on before that.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// A line of `--json`.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum FollowLine<'a> {
    Step(&'a AttemptStep),
    LogLine(&'a AttemptLine),
    Verdict(&'a Verdict),
    CameTo(&'a AttemptStatus),
}

/// What was shown of a boot so far.
#[derive(Default)]
struct FollowedBoot {
    /// The attempt, and how often each of its steps had happened.
    attempt: Option<(String, Vec<(AttemptStep, u32)>)>,
    /// How many lines of the machine's own log there were.
    logged: u64,
    /// The last verdict, and since when it stands.
    verdict: Option<(String, Instant)>,
    /// The attempt that was over before this began, and when it had been heard last.
    passed_over: Option<(String, u64)>,
    is_away: bool,
}

/// Follows a machine's boot to its end: failure where it came to a problem.
pub(super) fn run(machine: &str, ask: &AdminArgs) -> ExitCode {
    let filter = AttemptFilter {
        machine: vec![machine.to_owned()],
        all: Vec::new(),
    };
    let mut shown = FollowedBoot::default();
    let mut is_first = true;
    loop {
        let attempts = match client::list::<GetAttempts, AttemptStatus>(ask.socket(), &filter) {
            Ok(attempts) => attempts,
            // It is started anew, most likely.
            Err(ClientError::NoDaemon { .. } | ClientError::BrokenOff { .. } | ClientError::Silent { .. })
                if !is_first =>
            {
                shown.is_away = true;
                sleep(LOOK_INTERVAL);
                continue;
            }
            Err(error) => return crate::cli::finish(Err(error)),
        };
        let looked = shown.look(attempts.first(), (is_first, ask.is_json()));
        match looked {
            Ok(None) => {}
            Ok(Some(code)) => return code,
            // `bootwright why --follow r1u07 | head` has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Err(error) => return crate::cli::finish(Err(error)),
        }
        is_first = false;
        sleep(LOOK_INTERVAL);
    }
}

impl FollowedBoot {
    /// Shows what is new of the last boot; its exit code once that is over.
    fn look(
        &mut self,
        last: Option<&AttemptStatus>,
        (is_first, is_json): (bool, bool),
    ) -> io::Result<Option<ExitCode>> {
        if is_first {
            self.begin(last, is_json)?;
        }
        if std::mem::take(&mut self.is_away) && !is_json {
            say("... the daemon was away, and is back\n")?;
        }
        let Some(attempt) = last.filter(|last| !self.is_passed_over(last)) else {
            return Ok(None);
        };
        self.passed_over = None;
        self.steps(attempt, is_json)?;
        self.log(attempt, is_json)?;
        let sentence = attempt.verdict.as_ref().map(|verdict| verdict.sentence.clone());
        if sentence.as_ref() != self.verdict.as_ref().map(|(sentence, _)| sentence) {
            if let Some(verdict) = &attempt.verdict {
                show(
                    is_json,
                    &FollowLine::Verdict(verdict),
                    format_args!("  {}\n", verdict.sentence),
                )?;
            }
            self.verdict = sentence.map(|sentence| (sentence, Instant::now()));
        }
        let is_settled = self
            .verdict
            .as_ref()
            .is_some_and(|(_, since)| since.elapsed() >= SETTLED_AFTER);
        if !is_settled && !is_over(attempt) {
            return Ok(None);
        }
        show(is_json, &FollowLine::CameTo(attempt), conclusion(attempt))?;
        let is_problem = attempt
            .verdict
            .as_ref()
            .is_some_and(|verdict| verdict.severity == Severity::Problem);
        Ok(Some(if is_problem {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }))
    }

    /// One that was given up goes on where its machine is heard again: it asks once more, most likely.
    fn is_passed_over(&self, last: &AttemptStatus) -> bool {
        let passed_over = self.passed_over.as_ref().filter(|(id, _)| *id == last.id);
        passed_over.is_some_and(|(_, last_ms)| is_over(last) || last.last_ms <= *last_ms)
    }

    /// A boot that is over already is no news: the next one is followed.
    fn begin(&mut self, last: Option<&AttemptStatus>, is_json: bool) -> io::Result<()> {
        let is_running = last.is_some_and(|last| !is_over(last) && last.verdict.is_none());
        self.passed_over = last.filter(|_| !is_running).map(|last| (last.id.clone(), last.last_ms));
        match last {
            _ if is_json || is_running => Ok(()),
            None => say("no boot of it was seen yet; waiting for it to be switched on\n"),
            Some(last) => say(format_args!(
                "its last boot, of {}, is over ({}); waiting for the next\n",
                last.began,
                standing(last)
            )),
        }
    }

    /// Shows the steps that are new, and those that were repeated.
    fn steps(&mut self, attempt: &AttemptStatus, is_json: bool) -> io::Result<()> {
        if self.attempt.as_ref().is_none_or(|(id, _)| *id != attempt.id) {
            self.attempt = Some((attempt.id.clone(), Vec::new()));
            (self.verdict, self.logged) = (None, 0);
            if !is_json {
                say(format_args!("{}, switched on {}\n", attempt.machine(), attempt.began))?;
            }
        }
        let Some((_, known)) = &mut self.attempt else {
            return Ok(());
        };
        for step in &attempt.steps {
            // A machine that asks for several files at once has several steps at one moment.
            let is_it =
                |(before, _): &&mut (AttemptStep, u32)| before.at_ms == step.at_ms && before.is_repeated_by(step);
            let before = known.iter_mut().find(is_it);
            if before.as_ref().is_some_and(|(_, times)| *times == step.times) {
                continue;
            }
            let row = format!(
                "  {:>16}  {:12}  {} {}\n",
                moment(step),
                step.stage.name(),
                what(step),
                times(step)
            );
            show(is_json, &FollowLine::Step(step), row)?;
            match before {
                Some((_, shown)) => *shown = step.times,
                None => known.push((step.clone(), step.times)),
            }
        }
        Ok(())
    }
}

impl FollowedBoot {
    /// The lines of the machine's own log that were not shown yet, as far as they are kept.
    fn new_lines<'a>(&self, attempt: &'a AttemptStatus) -> &'a [AttemptLine] {
        let log = &attempt.log;
        let new = usize::try_from(log.count().saturating_sub(self.logged)).unwrap_or(usize::MAX);
        &log.lines[log.lines.len().saturating_sub(new)..]
    }

    /// Shows the lines of the machine's own log that are new, as far as they are kept.
    fn log(&mut self, attempt: &AttemptStatus, is_json: bool) -> io::Result<()> {
        let new = self.new_lines(attempt);
        self.logged = attempt.log.count();
        for line in new {
            let row = format!(
                "  {:>16}  {:12}  {}\n",
                after(line.at_ms),
                line.line.severity,
                line.line
            );
            show(is_json, &FollowLine::LogLine(line), row)?;
        }
        Ok(())
    }
}

/// Whether nothing more is to come of a boot.
fn is_over(attempt: &AttemptStatus) -> bool {
    let installs = attempt.steps.iter().any(|step| step.kind == StepKind::InstallBegun);
    match attempt.outcome {
        Some(AttemptOutcome::Installed | AttemptOutcome::InstallFailed | AttemptOutcome::Disk) => true,
        None => attempt.progress >= Progress::System && !installs,
    }
}

fn conclusion(attempt: &AttemptStatus) -> String {
    let mut text = format!("{}: ", attempt.machine());
    // Writing to a String cannot fail.
    let _ = match &attempt.verdict {
        None => writeln!(text, "{}", standing(attempt)),
        Some(verdict) => writeln!(
            text,
            "{}\nWhat to do: {}\n{}",
            verdict.sentence,
            verdict.action,
            sureness(verdict)
        ),
    };
    text
}

fn show(is_json: bool, line: &FollowLine<'_>, text: impl Display) -> io::Result<()> {
    match is_json {
        true => say(serde_json::to_string(line)? + "\n"),
        false => say(text),
    }
}

fn say(text: impl Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{text}")?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(outcome: Option<&str>, progress: &str, steps: &[&str]) -> AttemptStatus {
        let steps = steps.iter().map(
            |event| serde_json::json!({"at_ms": 0, "until_ms": 0, "times": 1, "stage": "uefi-pxe", "event": event}),
        );
        serde_json::from_value(serde_json::json!({
            "id": "1", "host": "r1u07", "mac": null, "address": null, "generation": 1, "began": "2025-11-24T16:00:00Z",
            "last_ms": 0, "progress": progress, "outcome": outcome, "omitted": 0,
            "steps": steps.collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    #[test]
    fn a_boot_is_over_where_its_system_runs_or_its_install_ended() {
        assert!(is_over(&attempt(None, "system", &[])));
        assert!(!is_over(&attempt(None, "artifacts", &[])));
        assert!(
            !is_over(&attempt(None, "system", &["install_begun"])),
            "its installer goes on"
        );
        assert!(is_over(&attempt(Some("installed"), "installer", &["install_begun"])));
        assert!(is_over(&attempt(Some("disk"), "addressed", &[])));
    }

    #[test]
    fn a_step_is_shown_once_and_again_where_it_was_repeated() {
        let mut shown = FollowedBoot::default();
        let first = attempt(None, "offered", &["offered"]);
        shown.steps(&first, true).unwrap();
        let known = |shown: &FollowedBoot| {
            shown
                .attempt
                .as_ref()
                .map(|(_, steps)| steps.iter().map(|(_, times)| *times).collect())
        };
        assert_eq!(known(&shown), Some(vec![1]));
        let mut again = first;
        again.steps[0].times = 3;
        shown.steps(&again, true).unwrap();
        assert_eq!(known(&shown), Some(vec![3]));
        let next = AttemptStatus {
            id: "2".to_owned(),
            ..again
        };
        shown.steps(&next, true).unwrap();
        assert_eq!(known(&shown), Some(vec![3]), "the next boot begins anew");
    }

    #[test]
    fn lines_of_its_own_log_are_shown_once_though_earlier_ones_are_dropped() {
        let log = |texts: &[&str], omitted: u64| {
            let line = |text| serde_json::json!({"at_ms": 5, "severity": "info", "text": text});
            let lines: Vec<_> = texts.iter().map(line).collect();
            serde_json::from_value(serde_json::json!({"lines": lines, "omitted": omitted})).unwrap()
        };
        let new = |shown: &FollowedBoot, boot: &AttemptStatus| -> Vec<String> {
            shown.new_lines(boot).iter().map(|line| line.line.to_string()).collect()
        };
        let mut boot = attempt(None, "script", &["sent"]);
        let mut shown = FollowedBoot::default();
        boot.log = log(&["one", "two"], 0);
        assert_eq!(new(&shown, &boot), ["one", "two"]);
        shown.log(&boot, true).unwrap();
        assert_eq!(new(&shown, &boot), [""; 0]);
        boot.log = log(&["two", "three"], 1);
        assert_eq!(new(&shown, &boot), ["three"]);
        boot.log = log(&["eight", "nine"], 7);
        assert_eq!(new(&shown, &boot), ["eight", "nine"]);
    }

    #[test]
    fn steps_of_one_moment_are_told_apart_by_their_files() {
        let mut shown = FollowedBoot::default();
        let mut boot = attempt(None, "loader", &["sent", "sent"]);
        for (step, (file, times)) in boot.steps.iter_mut().zip([("loader a.efi", 1), ("loader b.efi", 2)]) {
            step.file = Some(file.into());
            step.times = times;
        }
        for _ in 0..2 {
            shown.steps(&boot, true).unwrap();
            let (_, known) = shown.attempt.as_ref().unwrap();
            assert_eq!(known.iter().map(|(_, times)| *times).collect::<Vec<u32>>(), [1, 2]);
        }
    }

    #[test]
    fn a_boot_that_was_given_up_goes_on_where_its_machine_is_heard_again() {
        let stuck = attempt(None, "loader", &["sent"]);
        let mut shown = FollowedBoot {
            passed_over: Some((stuck.id.clone(), stuck.last_ms)),
            ..FollowedBoot::default()
        };
        assert!(shown.look(Some(&stuck), (false, true)).unwrap().is_none());
        assert!(shown.attempt.is_none());
        let mut again = stuck;
        again.last_ms = 5000;
        assert!(shown.look(Some(&again), (false, true)).unwrap().is_none());
        assert!(shown.attempt.is_some());
        let up = AttemptStatus {
            progress: Progress::System,
            ..again
        };
        assert!(
            shown.look(Some(&up), (false, true)).unwrap().is_some(),
            "it came up after all"
        );
        // A system that renews its lease is no boot.
        let mut shown = FollowedBoot {
            passed_over: Some(("1".to_owned(), 0)),
            ..FollowedBoot::default()
        };
        assert!(shown.look(Some(&up), (false, true)).unwrap().is_none());
    }

    #[test]
    fn a_boot_that_is_over_is_passed_over_and_one_that_runs_is_followed() {
        let mut shown = FollowedBoot::default();
        let over = attempt(None, "system", &[]);
        assert!(shown.look(Some(&over), (true, true)).unwrap().is_none());
        assert_eq!(shown.passed_over, Some(("1".to_owned(), 0)));
        let mut shown = FollowedBoot::default();
        let running = attempt(None, "loader", &["offered"]);
        assert!(shown.look(Some(&running), (true, true)).unwrap().is_none());
        assert_eq!(shown.passed_over, None);
        let up = attempt(None, "system", &["offered"]);
        assert!(shown.look(Some(&up), (false, true)).unwrap().is_some());
    }
}
