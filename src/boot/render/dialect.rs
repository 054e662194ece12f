//! What a loader reads as more than a value, and the words that keep a value what it is.

use crate::model::text;
use minijinja::{AutoEscape, Error, ErrorKind, Output, State, Value};
use std::borrow::Cow;

/// The filter `arg`: a value that must stay one argument, because neither iPXE nor the kernel's
/// command line can be told so by quoting alone.
pub(super) fn arg(value: &Value) -> Result<String, Error> {
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    let shown = value.to_string();
    let splits = shown.is_empty() || shown.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\'));
    if splits {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!(
                "`{}` can't be one argument of a command line; use a value without spaces and quotes",
                text::escape(shown.as_bytes())
            ),
        ));
    }
    Ok(shown)
}

/// Writes one value into a script, unless iPXE would read it as more than a value. Our own query is
/// meant to be read as more, and marked so.
pub(super) fn write_into_script(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    // Most values are texts already, and go out as they are.
    let text = value
        .as_str()
        .map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed);
    if let Some(reason) = command_in(&text)
        && !value.is_safe()
    {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("`{}` can't stand in a script: {reason}", text::escape(text.as_bytes())),
        ));
    }
    match state.auto_escape() {
        AutoEscape::None => Ok(out.write_str(&text)?),
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// Why iPXE would read more than a value in `shown`. It knows no quotes: words are split at white
/// space, `${` begins a setting, and these words end a command.
fn command_in(shown: &str) -> Option<&'static str> {
    let begins_nothing = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'$' | b'#' | b'|' | b'&' | b';');
    if shown.bytes().all(begins_nothing) {
        return None;
    }
    if text::control_character(shown).is_some() {
        return Some("it has a control character, and a new line is a new command");
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
