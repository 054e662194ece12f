//! Errors that many machines share: each is reported once, with one machine's name and a count.

use std::{collections::HashMap, hash::Hash};

/// Causes, each with the machine that showed it first and the number of further ones.
pub(super) struct CausesByMachine<K>(Vec<(K, String, usize)>, HashMap<K, usize>);

impl<K> Default for CausesByMachine<K> {
    fn default() -> Self {
        CausesByMachine(Vec::new(), HashMap::new())
    }
}

impl<K: Clone + Eq + Hash> CausesByMachine<K> {
    pub(super) fn add(&mut self, cause: K, whose: String) {
        match self.1.get(&cause) {
            Some(place) => self.0[*place].2 += 1,
            None => {
                self.1.insert(cause.clone(), self.0.len());
                self.0.push((cause, whose, 0));
            }
        }
    }

    /// Each cause with the machine that showed it first and how many more there are.
    pub(super) fn into_summaries(self) -> impl Iterator<Item = (K, String)> {
        self.0.into_iter().map(|(cause, whose, more)| match more {
            0 => (cause, whose),
            1 => (cause, format!("{whose} (and 1 more)")),
            _ => (cause, format!("{whose} (and {} more)", thousands(more))),
        })
    }
}

/// `4999` as `4,999`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}
