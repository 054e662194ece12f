//! `[syslog]`: whether machines may log to us.

use crate::config::decode::{self, Fields, Reader, Value};

/// Whether they may; they do where the file does not say.
pub(super) fn read(reader: &mut Reader<'_>, value: Option<&Value<'_>>) -> bool {
    let Some(mut fields) = value.and_then(|value| Fields::of(reader, "[syslog]", value)) else {
        return true;
    };
    let enabled = fields.take(reader, "enabled", decode::boolean);
    fields.finish(reader);
    enabled.is_none_or(|written| written.value)
}
