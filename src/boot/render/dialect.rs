//! What a loader reads as more than a value, and the words that keep a value what it is.
//!
//! A script's value is written out only where its loader reads nothing but a value in it, quoted or not:
//! it can't be told from a template's text whether a place stands in quotes. What a kernel parameter may
//! have all the same goes through a filter that quotes it.

use crate::boot::paths::SCRIPT_QUERY;
use crate::model::{Dialect, limits::TEMPLATE_OUTPUT_BYTES_MAX, text};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, Value};
use std::{borrow::Cow, fmt, fmt::Write};

/// Why a text would be more than a value.
type RefusalReason = Option<&'static str>;

/// Teaches the template engine of a loader's scripts what the loader reads.
pub(super) fn configure(dialect: Dialect, engine: &mut Environment<'static>) {
    match dialect {
        Dialect::Ipxe => {
            engine.set_formatter(|out, state, value| write(out, state, value, more_to_ipxe));
            engine.add_global("query", Value::from_safe_string(SCRIPT_QUERY.to_owned()));
        }
        Dialect::Grub => {
            engine.set_formatter(|out, state, value| write(out, state, value, more_to_grub));
            engine.add_filter("args", args);
        }
        Dialect::Pxelinux => engine.set_formatter(|out, state, value| write(out, state, value, more_to_pxelinux)),
    }
}

/// Writes one value into a script, unless its loader would read it as more than a value. What is ours and
/// meant to be read as more is marked so.
fn write(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
    more: fn(&str) -> RefusalReason,
) -> Result<(), Error> {
    // Most values are texts already, and go out as they are.
    let text = match value.as_str() {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(written_out(value)?),
    };
    if let Some(reason) = more(&text)
        && !value.is_safe()
    {
        return Err(refused(&format!("can't stand in a script: {reason}")));
    }
    match state.auto_escape() {
        AutoEscape::None => Ok(out.write_str(&text)?),
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// A list or another value that is no text, as one: no longer than a whole script may be, because the engine
/// counts only what comes of it.
fn written_out(value: &Value) -> Result<String, Error> {
    let mut text = BoundedText(String::new());
    match write!(text, "{value}") {
        Ok(()) => Ok(text.0),
        Err(_) => Err(refused(&format!(
            "is longer than the {TEMPLATE_OUTPUT_BYTES_MAX} bytes that a text may have"
        ))),
    }
}

/// A text that stops growing at its limit.
struct BoundedText(String);

impl Write for BoundedText {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.0.len() + more.len() > TEMPLATE_OUTPUT_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(more);
        Ok(())
    }
}

/// Why a value may not stand where a template puts it. It goes without the value, which may be a secret
/// and would go to the log; the template's word for it is shown instead.
#[derive(Debug)]
pub(super) struct RefusedValue(pub(super) String);

impl fmt::Display for RefusedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RefusedValue {}

fn refused(why: &str) -> Error {
    let why = RefusedValue(why.to_owned());
    Error::new(ErrorKind::InvalidOperation, why.to_string()).with_source(why)
}

const NEW_LINE: &str = "it has a control character, and a new line is a new command";

/// iPXE knows no quotes: words are split at white space, `${` begins a setting, and some words end a
/// command.
fn more_to_ipxe(shown: &str) -> RefusalReason {
    let begins_nothing = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'$' | b'#' | b'|' | b'&' | b';');
    if shown.bytes().all(begins_nothing) {
        return None;
    }
    if text::control_character(shown).is_some() {
        return Some(NEW_LINE);
    }
    if shown.contains("${") {
        return Some("iPXE would expand the `${`");
    }
    let ends_command = |word: &str| word.starts_with('#') || matches!(word, "||" | "&&" | ";");
    shown
        .split_whitespace()
        .any(ends_command)
        .then_some("iPXE would end the command at `||`, `&&`, `;` or `#`")
}

/// GRUB's shell: quotes, variables, operators, blocks, wildcards, and comments where a word begins.
fn more_to_grub(shown: &str) -> RefusalReason {
    if shown.bytes().all(is_plain_to_grub) {
        return None;
    }
    if text::control_character(shown).is_some() {
        return Some(NEW_LINE);
    }
    if shown.contains(['\'', '"', '\\']) {
        return Some("GRUB would read a quote in it");
    }
    if shown.contains(['$', ';', '|', '&', '<', '>', '{', '}']) {
        return Some("GRUB would read more than a value in it; kernel parameters are quoted by `| args`");
    }
    if shown.contains(['*', '?', '[', ']']) {
        return Some("GRUB would look for files by it; kernel parameters are quoted by `| args`");
    }
    shown
        .split_whitespace()
        .any(|word| word.starts_with('#'))
        .then_some("GRUB would read a comment from the `#` on")
}

fn is_plain_to_grub(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" _.,:=/@%+-".contains(&byte)
}

/// PXELINUX takes a line as it is, but for the file names in `initrd=`, which it fetches, and for an
/// `APPEND -`, which takes the parameters away.
fn more_to_pxelinux(shown: &str) -> RefusalReason {
    if text::control_character(shown).is_some() {
        return Some(NEW_LINE);
    }
    if shown.trim() == "-" {
        return Some("behind APPEND, PXELINUX would take all parameters away");
    }
    shown
        .split_whitespace()
        .any(|word| word.starts_with("initrd="))
        .then_some("PXELINUX would fetch what `initrd=` names")
}

/// The filter `arg`: a value that must stay one argument, because neither a loader nor the kernel's
/// command line can be told so by quoting alone.
pub(super) fn arg(value: &Value) -> Result<String, Error> {
    let shown = defined(value)?;
    let splits = shown.is_empty() || shown.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\'));
    if splits {
        let why = "can't be one argument of a command line; use a value without spaces and quotes";
        return Err(refused(why));
    }
    Ok(shown)
}

/// The filter `args` of GRUB's scripts: kernel parameters, each a word in GRUB's quotes, so that the
/// kernel gets what was written whatever GRUB reads elsewhere in such a text. The kernel's own quotes group a
/// parameter with blanks; GRUB puts them around it again. Neither `'` nor `\` can be handed on: GRUB
/// writes a `\` before each.
fn args(value: &Value) -> Result<Value, Error> {
    let shown = defined(value)?;
    if text::control_character(&shown).is_some() {
        return Err(refused(&format!("can't stand in a script: {NEW_LINE}")));
    }
    if shown.contains(['\'', '\\']) {
        let why = "can't be handed to the kernel: GRUB changes `'` and `\\` on the way";
        return Err(refused(why));
    }
    let words: Option<Vec<String>> = parameters(&shown).into_iter().map(grub_word).collect();
    let Some(words) = words else {
        let why = "has a `\"` inside of a parameter; write it around the parameter or its value";
        return Err(refused(why));
    };
    Ok(Value::from_safe_string(words.join(" ")))
}

/// Splits as the kernel does: at blanks that stand in no double quotes.
fn parameters(line: &str) -> Vec<&str> {
    let mut is_quoted = false;
    line.split(|c: char| {
        is_quoted ^= c == '"';
        c.is_whitespace() && !is_quoted
    })
    .filter(|word| !word.is_empty())
    .collect()
}

/// One parameter as a word of GRUB's; `None` where its double quotes are neither around it nor around
/// its value.
fn grub_word(parameter: &str) -> Option<String> {
    let unquoted = |text: &str| {
        text.strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .map(str::to_owned)
    };
    let whole = unquoted(parameter).or_else(|| {
        let (key, value) = parameter.split_once('=')?;
        Some(format!("{key}={}", unquoted(value)?))
    });
    let plain = whole.unwrap_or_else(|| parameter.to_owned());
    if plain.contains('"') {
        return None;
    }
    let needs_no_quotes = plain.bytes().all(|byte| byte != b' ' && is_plain_to_grub(byte));
    Some(if needs_no_quotes { plain } else { format!("'{plain}'") })
}

/// The filter `quote`: a value as one word of a POSIX shell, whatever is in it. It goes without
/// backslashes, which the files that such a word stands in may read first.
pub(super) fn quote(value: &Value) -> Result<String, Error> {
    let shown = defined(value)?;
    Ok(format!("'{}'", shown.replace('\'', "'\"'\"'")))
}

/// The filters `curl`, `wget` and `busybox`: a command that fetches a URL and throws away what it gets, for an
/// installer that tells of itself. It asks again for a minute or so, and what comes of it stops no installer.
pub(super) fn curl(url: &Value) -> Result<String, Error> {
    let url = shell_url(url)?;
    Ok([
        "curl -fsS -o /dev/null --max-time 30 --retry 6 --retry-delay 10 --retry-connrefused ",
        &url,
        " || true",
    ]
    .concat())
}

/// GNU wget, which takes a refused connection and a 503 for the end unless it is told otherwise.
pub(super) fn wget(url: &Value) -> Result<String, Error> {
    let url = shell_url(url)?;
    let retries = "--tries=7 --waitretry=10 --retry-connrefused --retry-on-http-error=503";
    Ok(["wget -q -O /dev/null --timeout=30 ", retries, " ", &url, " || true"].concat())
}

/// busybox's wget, and that of Debian's installer, which ask once.
pub(super) fn busybox(url: &Value) -> Result<String, Error> {
    let url = shell_url(url)?;
    Ok([
        "for i in 1 2 3 4 5 6; do wget -q -T 30 -O /dev/null ",
        &url,
        " && break; sleep 10; done",
    ]
    .concat())
}

/// A URL as one word of a shell, that needs no quotes: other languages have such commands in theirs.
fn shell_url(url: &Value) -> Result<String, Error> {
    let shown = defined(url)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/._-[]%?=+,@~".contains(&byte);
    if shown.is_empty() || !shown.bytes().all(is_plain) {
        return Err(refused("is not a URL that a shell takes as it is; quote it by hand"));
    }
    Ok(shown)
}

fn defined(value: &Value) -> Result<String, Error> {
    match value.is_undefined() {
        true => Err(ErrorKind::UndefinedError.into()),
        false => Ok(value.to_string()),
    }
}
