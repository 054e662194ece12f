//! The verdict: what keeps a machine from coming up, and what to do about it.
//!
//! It is a pure function of the attempt and of how long its machine is silent ([`Verdict::of`]): the causes of [`causes()`] are tried in their
//! order, and the first that fits is it. A cause speaks of what stands in the way still: what a machine got past is
//! none. A machine that boots and was heard a moment ago has no verdict, nor has one that is up.

mod causes;
mod reasons;
mod trace;

pub use causes::causes;
pub use reasons::causes_by_reason;
pub use trace::Trace;

use super::timeline::{Attempt, Progress};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, time::Duration};

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// One cause of several that look the same from here.
    Possible,
    /// What it nearly always is.
    Likely,
    /// It was seen.
    Certain,
}

/// Whether somebody has to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It went as the inventory says.
    AsConfigured,
    /// The machine does not come up, or not as it should.
    Problem,
}

/// One cause: a row of [`causes()`].
#[derive(Clone, Copy, Debug)]
pub struct BootCause {
    /// Its name, in lower case with underscores: `bootwright why --cause NAME`.
    pub name: &'static str,
    /// Whether somebody has to do something.
    pub severity: Severity,
    /// How sure it is where it fits.
    pub confidence: Confidence,
    /// The sentence about one attempt, where it fits.
    pub(super) find: fn(&Trace<'_>) -> Option<String>,
    /// What to do, in one sentence.
    pub action: &'static str,
    /// What lies behind it: a paragraph or two.
    pub page: &'static str,
}

/// What a boot came to, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The cause's name.
    pub cause: Cow<'static, str>,
    /// Whether somebody has to do something.
    pub severity: Severity,
    /// How sure it is.
    pub confidence: Confidence,
    /// What happened, in one sentence.
    pub sentence: String,
    /// How far the machine came.
    pub last: Progress,
    /// What should have come next; `None` at the end.
    pub missing: Option<Progress>,
    /// What to do.
    pub action: Cow<'static, str>,
}

impl Verdict {
    /// That of an attempt whose machine was not heard for so long, or not until its next attempt began; `None` for one
    /// that is up, or on its way.
    pub fn of(attempt: &Attempt, silence: Duration) -> Option<Verdict> {
        let trace = Trace { attempt, silence };
        causes().find_map(|cause| {
            Some(Verdict {
                sentence: (cause.find)(&trace)?,
                cause: Cow::Borrowed(cause.name),
                severity: cause.severity,
                confidence: cause.confidence,
                last: attempt.progress,
                missing: attempt.progress.next(trace.is_install()),
                action: Cow::Borrowed(cause.action),
            })
        })
    }
}

/// The cause of a name.
pub fn cause(name: &str) -> Option<&'static BootCause> {
    causes().find(|cause| cause.name == name)
}

/// Its page, as Markdown.
impl fmt::Display for BootCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sure = match (self.severity, self.confidence) {
            (Severity::AsConfigured, _) => "as the inventory says",
            (Severity::Problem, Confidence::Certain) => "seen",
            (Severity::Problem, Confidence::Likely) => "likely",
            (Severity::Problem, Confidence::Possible) => "possible",
        };
        writeln!(
            f,
            "## {}\n\n{} ({sure})\n\nWhat to do: {}",
            self.name, self.page, self.action
        )
    }
}

impl Progress {
    /// What comes next in a boot; an install goes on where a system is up.
    fn next(self, is_install: bool) -> Option<Progress> {
        Some(match self {
            Progress::Asked => Progress::Offered,
            Progress::Offered => Progress::Addressed,
            Progress::Addressed => Progress::Loader,
            Progress::Loader => Progress::Script,
            Progress::Script => Progress::Artifacts,
            Progress::Artifacts => Progress::System,
            Progress::System if is_install => Progress::Answer,
            Progress::Answer if is_install => Progress::Installer,
            Progress::System | Progress::Answer | Progress::Installer => return None,
        })
    }
}

#[cfg(test)]
mod tests;
