//! Hosts that are alike: what one of them is sent comes to the same as what the other is sent, whatever is looked at
//! (`dry_run`). So a room of a hundred thousand is tried by a few of them.
//!
//! Two hosts are alike where everything is the same that decides what they are sent: the settings of their profiles and
//! their own, and each value that a template does anything else with than to show it (`TemplateReads`). Of values that
//! are only shown, their pattern has to be the same: which characters beside letters and digits they have, and where;
//! whether a word is of letters, of digits or of both; how long it is, by sixteen; and which of them are equal. That
//! goes for plain words alone ([`is_plain_word`]). Any other value has to be the same, and so has one that is a word
//! of the templates themselves, or that some reader knows ([`KNOWN_WORDS`]).

use crate::boot::{
    render::{TemplateReads, ValueUse},
    snapshot::{BootSettings, Host, Snapshot, Sourced, Var, VarTable},
    unattended::unattended,
};
use crate::model::{Name, limits::ALIKE_WORD_BYTES_MAX};
use std::{collections::HashMap, fmt::Write};

/// Words that mean something to who reads an answer or a script, wherever they stand.
const KNOWN_WORDS: [&str; 20] = [
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "y",
    "n",
    "null",
    "none",
    "nan",
    "inf",
    "infinity",
    "echo",
    "say",
    "d-i",
    "localhost",
    "http:",
    "https:",
    "content-type:",
];
/// So many bytes more or less make no two patterns.
const LENGTH_STEP: usize = 16;

/// Says which hosts are alike.
pub(super) struct Likeness<'s> {
    snapshot: &'s Snapshot,
    /// How the templates of a script and an answer read their values; nothing where that is not known.
    reads: HashMap<(Option<&'s Name>, Option<&'s Name>), Option<TemplateReads>>,
    pattern: Pattern,
}

impl<'s> Likeness<'s> {
    pub(super) fn new(snapshot: &'s Snapshot) -> Likeness<'s> {
        Likeness {
            snapshot,
            reads: HashMap::new(),
            pattern: Pattern::default(),
        }
    }

    /// What all hosts that are like this one have in common; `None` where no other is.
    pub(super) fn pattern_of(&mut self, host: &'s Host) -> Option<&[u8]> {
        let Likeness {
            snapshot,
            reads,
            pattern,
        } = self;
        let reads = reads_of(snapshot, host, reads)?;
        pattern.clear();
        pattern.add_host(snapshot, host, reads);
        Some(&pattern.bytes)
    }

    /// A host that is like this one, and has other words wherever one may be alike and another: what comes to
    /// something else for it hangs on a word.
    pub(super) fn with_other_words(&mut self, host: &'s Host) -> Option<Host> {
        let reads = reads_of(self.snapshot, host, &mut self.reads)?;
        let mut other = host.clone();
        let is_shown = |name: &str| reads.of_value(name) != Some(ValueUse::Decides);
        if is_shown("name") && is_shown("hostname") {
            other.name = other_word(host.name.as_str()).parse().ok()?;
            other.hostname = host.hostname.as_deref().map(other_word);
        }
        if let Some(serial) = host.serial.as_deref().filter(|word| is_plain_word(word, reads)) {
            other.serial = is_shown("serial")
                .then(|| other_word(serial))
                .or_else(|| host.serial.clone());
        }
        for (key, var) in other.settings.vars.iter_mut() {
            match &mut var.value {
                Var::Text(word) if is_plain_word(word, reads) && reads.of_var(key) == Some(ValueUse::Shown) => {
                    *word = other_word(word);
                }
                Var::Integer(number) if reads.of_var(key) == Some(ValueUse::Shown) && *number != 0 => {
                    *number = number.saturating_add(number.signum());
                }
                _ => {}
            }
        }
        Some(other)
    }
}

fn reads_of<'r, 's>(
    snapshot: &'s Snapshot,
    host: &'s Host,
    known: &'r mut HashMap<(Option<&'s Name>, Option<&'s Name>), Option<TemplateReads>>,
) -> Option<&'r TemplateReads> {
    let named = |setting: &'s Option<Sourced<Name>>| setting.as_ref().map(|name| &name.value);
    let (script, answer) = (named(&host.settings.script), named(&host.settings.answer));
    let reads = known.entry((script, answer));
    reads
        .or_insert_with(|| snapshot.templates.reads(script, answer))
        .as_ref()
}

/// What hosts that are alike have in common, as bytes.
#[derive(Default)]
struct Pattern {
    bytes: Vec<u8>,
    /// The plain words so far, one behind the other, and where each ends.
    words: String,
    ends: Vec<usize>,
    shown: String,
}

impl Pattern {
    fn clear(&mut self) {
        self.bytes.clear();
        self.words.clear();
        self.ends.clear();
    }

    fn add_host(&mut self, snapshot: &Snapshot, host: &Host, reads: &TemplateReads) {
        let Host {
            name,
            macs,
            links: _,
            uuid,
            serial,
            port: _,
            hostname,
            address,
            locked,
            settings,
            origin: _,
        } = host;
        self.add_settings(settings, reads);
        // Which subnet it is in says its netmask, its router, its name servers and its domain.
        let in_subnet = |address| snapshot.subnets.iter().position(|subnet| subnet.cidr.contains(address));
        let subnet = address.and_then(in_subnet).map_or(0, |place| place + 1);
        self.bytes.extend(subnet.to_le_bytes());
        let is_there = [
            *locked,
            macs.is_empty(),
            uuid.is_some(),
            serial.is_some(),
            hostname.is_some(),
            address.is_some(),
        ];
        self.bytes.extend(is_there.map(u8::from));
        self.add_text(
            name.as_str(),
            used_as(reads, &["name", "answer", "callback", "order"]),
            reads,
        );
        self.add_text(host.host_name(), reads.of_value("hostname"), reads);
        if let Some(serial) = serial {
            self.add_text(serial, reads.of_value("serial"), reads);
        }
        // What these look like is the same for all of their kind.
        if used_as(reads, &["mac", "mac_hyphens"]) == Some(ValueUse::Decides) {
            self.bytes.extend(macs.first().into_iter().flat_map(|mac| mac.0));
        }
        if reads.of_value("uuid") == Some(ValueUse::Decides) {
            self.add_shown(format_args!("{uuid:?}"));
        }
        if reads.of_value("address") == Some(ValueUse::Decides) {
            self.add_shown(format_args!("{address:?}"));
        }
    }

    /// A field that is new has to be looked at here.
    fn add_settings(&mut self, settings: &BootSettings, reads: &TemplateReads) {
        let BootSettings {
            boot,
            image,
            script,
            answer,
            loaders,
            cmdline,
            options,
            install_timeout: _,
            disk,
            grow,
            after,
            vars,
        } = settings;
        for name in [image, script, answer] {
            self.add_exactly(name.as_ref().map_or("", |name| name.value.as_str()));
        }
        self.add_exactly(boot.as_ref().map_or("", |boot| boot.value.name()));
        for words in [loaders, cmdline] {
            self.bytes.extend(words.len().to_le_bytes());
            for word in words {
                self.add_exactly(&word.value);
            }
        }
        for (code, option) in options {
            self.bytes.push(*code);
            self.bytes.extend(option.value.body.len().to_le_bytes());
            self.bytes.extend(&option.value.body);
        }
        self.bytes.push(0);
        if let Some(disk) = disk {
            self.add_shown(format_args!("{:?}", disk.value));
        }
        let written = |is_written: bool| u8::from(is_written);
        self.bytes.extend([written(disk.is_some()), written(after.is_some())]);
        self.bytes.push(grow.as_ref().map_or(2, |grow| u8::from(grow.value)));
        if let Some(after) = after {
            self.add_shown(format_args!("{:?}", after.value));
        }
        self.add_vars(vars, reads);
    }

    fn add_vars(&mut self, vars: &VarTable, reads: &TemplateReads) {
        for (key, var) in vars {
            let used = reads.of_var(key);
            let is_secret = matches!(var.value, Var::Secret(_));
            if used.is_none() && !is_secret {
                continue;
            }
            self.add_exactly(key);
            match (&var.value, used) {
                (Var::Text(text), used) => {
                    self.bytes.push(b't');
                    self.add_text(text, used, reads);
                }
                (Var::Integer(number), Some(ValueUse::Shown)) => {
                    self.bytes.extend([b'i', number.signum().to_le_bytes()[0]]);
                }
                (other, _) => {
                    self.bytes.push(b'v');
                    self.add_shown(format_args!("{other:?}"));
                }
            }
        }
    }

    /// A text that must be the same.
    fn add_exactly(&mut self, text: &str) {
        self.bytes.extend(text.len().to_le_bytes());
        self.bytes.extend(text.as_bytes());
    }

    /// The same of whatever has no text of its own.
    fn add_shown(&mut self, shown: std::fmt::Arguments<'_>) {
        let mut text = std::mem::take(&mut self.shown);
        text.clear();
        // Writing to a String cannot fail.
        let _ = text.write_fmt(shown);
        self.add_exactly(&text);
        self.shown = text;
    }

    /// A text that templates use so.
    fn add_text(&mut self, text: &str, used: Option<ValueUse>, reads: &TemplateReads) {
        match used {
            None => {}
            Some(ValueUse::Shown) if is_plain_word(text, reads) => self.add_pattern(text),
            Some(_) => {
                self.bytes.push(b'x');
                self.add_exactly(text);
            }
        }
    }

    fn add_pattern(&mut self, word: &str) {
        self.bytes.push(b'p');
        for run in word
            .as_bytes()
            .chunk_by(|one, next| one.is_ascii_alphanumeric() && next.is_ascii_alphanumeric())
        {
            self.bytes.push(kind_of(run));
        }
        self.bytes.push(0);
        self.bytes.extend((word.len() / LENGTH_STEP).to_le_bytes());
        // A key that stands twice in a table is wrong, whatever it is: which of those before is the same?
        let mut begin = 0;
        let is_same = |end: &usize| {
            let known = &self.words[begin..*end];
            begin = *end;
            known == word
        };
        let same = self.ends.iter().position(is_same).unwrap_or(self.ends.len());
        self.bytes.extend(same.to_le_bytes());
        self.words.push_str(word);
        self.ends.push(self.words.len());
    }
}

/// What letters and digits in a row are, or another character by itself.
fn kind_of(run: &[u8]) -> u8 {
    let is_number = run.iter().all(u8::is_ascii_digit);
    match run {
        [other] if !other.is_ascii_alphanumeric() => *other,
        [b'0', _, ..] if is_number => b'z',
        _ if is_number => b'0',
        _ if run.iter().all(u8::is_ascii_alphabetic) => b'a',
        [first, ..] if first.is_ascii_digit() => b'y',
        _ => b'x',
    }
}

/// The most that templates do with a value that goes by several names.
fn used_as(reads: &TemplateReads, names: &[&str]) -> Option<ValueUse> {
    names.iter().filter_map(|name| reads.of_value(name)).max()
}

/// Whether a word of that pattern is as good as any other, as far as anything here can tell.
fn is_plain_word(word: &str, reads: &TemplateReads) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
    let is_known = || KNOWN_WORDS.iter().any(|known| known.eq_ignore_ascii_case(word));
    !word.is_empty()
        && word.len() <= ALIKE_WORD_BYTES_MAX
        && word.bytes().all(is_plain)
        && !is_odd_number(word)
        && !is_known()
        && !reads.has_word(word)
        && unattended(word).is_none()
}

/// Whether it is a number, and not one of digits alone: who reads it may want the one and not the other.
fn is_odd_number(word: &str) -> bool {
    let begins = word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
    let is_prefixed = || ["0x", "0o", "0b"].iter().any(|prefix| word.starts_with(prefix));
    let is_whole = || word.bytes().all(|byte| byte.is_ascii_digit());
    begins && !is_whole() && (is_prefixed() || word.parse::<f64>().is_ok())
}

/// Another word of the same pattern.
fn other_word(word: &str) -> String {
    let other = |c: char| match c {
        'a'..='y' | 'A'..='Y' | '1'..='8' => char::from_u32(u32::from(c) + 1).unwrap_or(c),
        'z' => 'a',
        'Z' => 'A',
        '9' => '1',
        other => other,
    };
    word.chars().map(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern_of(word: &str) -> Vec<u8> {
        let mut pattern = Pattern::default();
        pattern.add_pattern(word);
        pattern.bytes
    }

    #[test]
    fn words_of_one_pattern_differ_in_letters_and_digits_alone() {
        for (one, other) in [
            ("r1u07", "r2499u39"),
            ("/dev/sda", "/dev/vdb"),
            ("sda", "vdbc"),
            ("198.18.1.0", "198.19.200.17"),
            ("db-prod-7", "web-test-12"),
        ] {
            assert_eq!(pattern_of(one), pattern_of(other), "{one} {other}");
        }
        for (one, other) in [
            ("r1u07", "1ru07"),
            ("7", "07"),
            ("a.b", "a-b"),
            ("a7", "a"),
            ("7", "a"),
            ("ab", "a.b"),
            ("short", "a-lot-longer"),
        ] {
            assert_ne!(pattern_of(one), pattern_of(other), "{one} {other}");
        }
    }

    #[test]
    fn a_word_that_somebody_may_know_is_not_plain() {
        let reads = TemplateReads::default();
        for word in [
            "r1u07",
            "/dev/vda",
            "52:54:00:00:00:07",
            "198.18.1.0",
            "0123",
            "SN000123",
        ] {
            assert!(is_plain_word(word, &reads), "{word}");
        }
        for word in [
            "",
            "a b",
            "a=b",
            "True",
            "1e5",
            "1.5",
            "-7",
            "0x1f",
            "autoinstall",
            "é",
            "a\"",
            "$6$a",
            "NaN",
        ] {
            assert!(!is_plain_word(word, &reads), "{word}");
        }
        assert!(!is_plain_word(&"a".repeat(ALIKE_WORD_BYTES_MAX + 1), &reads));
    }

    #[test]
    fn another_word_has_the_same_pattern() {
        for word in ["r1u07", "/dev/vdz", "SN009900", "9.9.9", "Zz-10"] {
            let other = other_word(word);
            assert_ne!(other, word);
            assert_eq!(pattern_of(&other), pattern_of(word), "{word} {other}");
        }
    }
}
