//! Errors that many machines share: each is reported once, with one machine's name and a count.

use crate::boot::snapshot::Origin;
use crate::model::Name;
use std::{collections::HashMap, fmt, hash::Hash};

/// Whose settings an error or a warning is about.
#[derive(Clone, Copy)]
pub(super) enum Whose<'a> {
    Host(&'a Name),
    Profile(&'a Name),
    /// The rule where the diagnostic points to.
    Rule,
    /// A machine of the rule where the diagnostic points to.
    MachineOfRule,
    /// A rule somewhere else.
    RuleAt(&'a Origin),
    /// A machine that is not listed.
    Unknown,
}

impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whose::Host(name) => write!(f, "host `{name}`"),
            Whose::Profile(name) => write!(f, "profile `{name}`"),
            Whose::Rule => f.write_str("this rule"),
            Whose::MachineOfRule => f.write_str("a machine of this rule"),
            Whose::RuleAt(origin) => write!(f, "the rule at {}:{}", origin.file, origin.line),
            Whose::Unknown => f.write_str("an unknown machine"),
        }
    }
}

/// Causes, each with the machine that showed it first and the number of further ones.
pub(super) struct CausesByMachine<'a, K>(Vec<(K, FirstOf<'a>)>, HashMap<K, usize>);

/// The machine that showed a cause first, and how many more there are.
pub(super) struct FirstOf<'a> {
    whose: Whose<'a>,
    more: usize,
}

impl fmt::Display for FirstOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whose.fmt(f)?;
        match self.more {
            0 => Ok(()),
            1 => f.write_str(" (and 1 more)"),
            more => write!(f, " (and {} more)", Thousands(more)),
        }
    }
}

impl<K> Default for CausesByMachine<'_, K> {
    fn default() -> Self {
        CausesByMachine(Vec::new(), HashMap::new())
    }
}

impl<'a, K: Clone + Eq + Hash> CausesByMachine<'a, K> {
    pub(super) fn add(&mut self, cause: K, whose: Whose<'a>) {
        match self.1.get(&cause) {
            Some(place) => self.0[*place].1.more += 1,
            None => {
                self.1.insert(cause.clone(), self.0.len());
                self.0.push((cause, FirstOf { whose, more: 0 }));
            }
        }
    }

    /// Each cause with the machine that showed it first and how many more there are.
    pub(super) fn into_summaries(self) -> impl Iterator<Item = (K, FirstOf<'a>)> {
        self.0.into_iter()
    }
}

/// `4999` as `4,999`.
struct Thousands(usize);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            few @ 0..1000 => write!(f, "{few}"),
            many => write!(f, "{},{:03}", Thousands(many / 1000), many % 1000),
        }
    }
}
