//! A long inventory in pieces, so that all processors read its hosts: each `[[host]]` stands by itself in the text, and
//! some hundred of them are TOML as they stand. All that is no host's is read as one text, with blanks in their places.
//!
//! A piece begins at a line that is `[[host]]`, and ends where a table of something else begins. Where that is not what
//! the text means, as within a text or a list of several lines, one of the parts is no TOML, and whoever reads it takes
//! the whole file; so what is wrong with a file is always said of the whole.

use super::{
    decode::{Reader, Value, as_value},
    problems::Problems,
    source::Source,
};
use crate::model::limits::{INVENTORY_PIECE_BYTES, INVENTORY_READERS_MAX};
use std::{
    num::NonZeroUsize,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};
use toml::de::{DeTable, DeValue};

/// What a host's table begins with.
const HOST: &str = "[[host]]";
/// Texts of several lines may have anything in them.
const LONG_TEXTS: [&str; 2] = ["\"\"\"", "'''"];

/// An inventory, taken apart.
pub(super) struct Stanzas<'s> {
    source: &'s Source,
    /// Where its hosts stand, some hundred each, with the number of lines before.
    pieces: Vec<(Range<usize>, usize)>,
    /// The text with blanks in place of the hosts.
    pub(super) rest: Source,
}

impl<'s> Stanzas<'s> {
    /// Takes a text apart; `None` where it is short, has no hosts, or is not known to fall into such pieces.
    pub(super) fn of(source: &'s Source) -> Option<Stanzas<'s>> {
        let text = source.text.as_str();
        let is_long = text.len() > INVENTORY_PIECE_BYTES;
        if !is_long || LONG_TEXTS.iter().any(|quotes| text.contains(quotes)) {
            return None;
        }
        let mut found = PiecesFound::default();
        let (mut at, mut lines) = (0, 0);
        for line in text.split_inclusive('\n') {
            found.line(line, at, lines)?;
            at += line.len();
            lines += 1;
        }
        let pieces = found.end(at);
        if pieces.is_empty() {
            return None;
        }
        let mut rest = text.as_bytes().to_vec();
        for (range, _) in &pieces {
            // The last byte ends a line, or the text.
            rest[range.start..range.end - 1].fill(b' ');
            rest[range.end - 1] = b'\n';
        }
        let rest = source.with_text(String::from_utf8(rest).ok()?);
        Some(Stanzas { source, pieces, rest })
    }

    /// The rest, where it is sound and has no other hosts.
    pub(super) fn rest_without_hosts(&self) -> Option<Value<'_>> {
        let root = as_value(DeTable::parse(&self.rest.text).ok()?);
        let has_hosts = matches!(root.get_ref(), DeValue::Table(table) if table.contains_key("host"));
        (!has_hosts).then_some(root)
    }

    /// Reads each piece, on all processors; in their order, with what was said of each. `None` where one is not sound.
    pub(super) fn each_piece<T: Send>(
        &self,
        problems: &Problems,
        read: impl Fn(&mut Reader<'_>, &Value<'_>) -> Option<T> + Sync,
    ) -> Option<Vec<(T, Problems)>> {
        let (next, is_unsound) = (AtomicUsize::new(0), AtomicBool::new(false));
        let all: Mutex<Vec<(usize, T, Problems)>> = Mutex::new(Vec::with_capacity(self.pieces.len()));
        let read_some = || {
            while !is_unsound.load(Ordering::Relaxed)
                && let place = next.fetch_add(1, Ordering::Relaxed)
                && let Some((range, lines)) = self.pieces.get(place)
            {
                let source = &self.source.piece(range.clone(), *lines);
                let mut said = problems.empty_alike();
                let reader = &mut Reader {
                    source,
                    problems: &mut said,
                };
                let root = DeTable::parse(&source.text).ok().map(as_value);
                match root.and_then(|root| read(reader, &root)) {
                    Some(read) => all
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((place, read, said)),
                    None => is_unsound.store(true, Ordering::Relaxed),
                }
            }
        };
        let readers = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let helpers = readers
            .min(self.pieces.len())
            .min(INVENTORY_READERS_MAX)
            .saturating_sub(1);
        thread::scope(|scope| {
            for _ in 0..helpers {
                let helper = thread::Builder::new().name("reader".to_owned());
                // Where the system has no thread, one reads it all.
                let _ = helper.spawn_scoped(scope, read_some);
            }
            read_some();
        });
        let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
        all.sort_unstable_by_key(|(place, ..)| *place);
        let is_sound = !is_unsound.load(Ordering::Relaxed);
        is_sound.then(|| all.into_iter().map(|(_, read, said)| (read, said)).collect())
    }
}

/// The pieces found so far.
#[derive(Default)]
struct PiecesFound {
    ended: Vec<(Range<usize>, usize)>,
    /// Where the piece began that is being looked through, after so many lines.
    open: Option<(usize, usize)>,
}

impl PiecesFound {
    /// Looks at the line that stands at `at`; `None` where it is not known what it begins.
    fn line(&mut self, line: &str, at: usize, lines: usize) -> Option<()> {
        let line = line.trim();
        if !line.starts_with('[') {
            return Some(());
        }
        let is_host = line.strip_prefix(HOST).is_some_and(|rest| {
            let rest = rest.trim_start();
            rest.is_empty() || rest.starts_with('#')
        });
        let is_of_host = line.trim_start_matches('[').starts_with("host.");
        match self.open {
            Some((start, _)) if is_host && at - start >= INVENTORY_PIECE_BYTES => {
                self.close(at);
                self.open = Some((at, lines));
            }
            Some(_) if is_host || is_of_host => {}
            Some(_) => self.close(at),
            None if is_host => self.open = Some((at, lines)),
            None if is_of_host => return None,
            None => {}
        }
        Some(())
    }

    fn close(&mut self, at: usize) {
        if let Some((start, lines)) = self.open.take() {
            self.ended.push((start..at, lines));
        }
    }

    fn end(mut self, at: usize) -> Vec<(Range<usize>, usize)> {
        self.close(at);
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_without_hosts_is_not_taken_apart() {
        let long = "# Nothing is said here.\n".repeat(INVENTORY_PIECE_BYTES / 8);
        let of = |hosts: &str| Source::new("a.toml", format!("[profile.base]\nboot = \"local\"\n{long}{hosts}"));
        assert!(Stanzas::of(&of("")).is_none());
        assert_eq!(Stanzas::of(&of("[[host]]\nname = \"n1\"\n")).unwrap().pieces.len(), 1);
    }
}
