//! One event of a `reporting` webhook, as cloud-init, subiquity and curtin post it: JSON with `name`, `description`,
//! `event_type` (`start` or `finish`), `origin` and, at the end of something, `result` (`SUCCESS`, `WARN`, `FAIL`).
//!
//! What each means to an install: the beginning of something is progress with its description as the message; the end
//! of something is a sign of life, and with a result that is none `SUCCESS` progress that says so. It is never `done`:
//! the same events come of the installer's own live system and of the one that was installed. It is `failed` in one
//! case, when curtin says that its install failed: everything else that fails may be passed over, and an installer that
//! gives up calls `failed` from its error commands. After the install's end they may go on to come, and change nothing.

use super::{Callback, words};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::{borrow::Cow, fmt};

/// The part of an event that counts.
#[derive(Debug, Default)]
struct Report<'b> {
    name: Cow<'b, str>,
    description: Cow<'b, str>,
    event_type: Cow<'b, str>,
    origin: Cow<'b, str>,
    result: Cow<'b, str>,
}

/// Reads fields as they come, and keeps those that it read before the body ends: logs may be at its end.
struct ReportFields<'r, 'b>(&'r mut Report<'b>);

impl<'b> DeserializeSeed<'b> for ReportFields<'_, 'b> {
    type Value = ();

    fn deserialize<D: Deserializer<'b>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'b> Visitor<'b> for ReportFields<'_, 'b> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'b, str>>()? {
            let field = match &*key {
                "name" => &mut self.0.name,
                "description" => &mut self.0.description,
                "event_type" => &mut self.0.event_type,
                "origin" => &mut self.0.origin,
                "result" => &mut self.0.result,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *field = map.next_value()?;
        }
        Ok(())
    }
}

/// What an event says; `None` where it is none.
pub(super) fn callback(body: &[u8]) -> Option<Callback> {
    let mut report = Report::default();
    let mut json = serde_json::Deserializer::from_slice(body);
    // What was read before an error counts.
    let _ = ReportFields(&mut report).deserialize(&mut json);
    if report.name.is_empty() {
        return None;
    }
    let said = match &*report.description {
        "" => &report.name,
        description => description,
    };
    let is_bad = !matches!(&*report.result, "" | "SUCCESS");
    Some(match &*report.event_type {
        "start" => Callback::Report { message: words(said) },
        "finish" if is_bad && report.origin == "curtin" && report.name == "cmd-install" => {
            Callback::Failed { reason: words(said) }
        }
        "finish" if is_bad => Callback::Report {
            message: words(&[&report.result, ": ", said].concat()),
        },
        "finish" => Callback::Report { message: "".into() },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(message: &str) -> Option<Callback> {
        let message = message.into();
        Some(Callback::Report { message })
    }

    #[test]
    fn a_beginning_is_progress_an_end_a_sign_of_life_and_a_failure_is_said_and_ends_nothing() {
        // Those of cloud-init 25.1 and of curtin.
        for (body, expected) in [
            (
                r#"{"name": "init-network/config-ssh", "description": "running config-ssh with frequency once-per-instance", "event_type": "start", "origin": "cloudinit", "timestamp": 1764.5}"#,
                report("running config-ssh with frequency once-per-instance"),
            ),
            (
                r#"{"name": "init-network", "description": "searching", "event_type": "finish", "origin": "cloudinit", "timestamp": 1.0, "result": "SUCCESS"}"#,
                report(""),
            ),
            (
                r#"{"name": "modules-final/config-scripts_user", "description": "running it", "event_type": "finish", "result": "FAIL"}"#,
                report("FAIL: running it"),
            ),
            (
                r#"{"name": "cmd-install", "description": "curtin command install", "event_type": "finish", "origin": "curtin", "result": "FAIL"}"#,
                Some(Callback::Failed {
                    reason: "curtin command install".into(),
                }),
            ),
            (r#"{"name": "a", "event_type": "start"}"#, report("a")),
            (
                r#"{"name": "a", "event_type": "start", "description": "\u001b[31m"}"#,
                report("\\u{1b}[31m"),
            ),
            (r#"{"name": "a", "event_type": "else"}"#, None),
            (r#"{"name": 7, "event_type": "start"}"#, None),
            (r#"["name"]"#, None),
            ("name=a&event_type=start", None),
        ] {
            assert_eq!(callback(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn of_an_event_that_brings_more_than_is_kept_the_beginning_counts() {
        let cut = br#"{"name": "modules-final", "description": "the end", "event_type": "start", "files": [{"content": "QUJD"#;
        assert_eq!(callback(cut), report("the end"));
    }
}
