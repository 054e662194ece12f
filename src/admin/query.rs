//! What a request takes as the parameters of its URL: `host=r1u07&host=r1u08` is `{"host": ["r1u07", "r1u08"]}`.

use super::api::{AdminRefusal, RefusalCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// What may stand in a URL as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b':');

/// Reads parameters; one without a value is an empty text.
pub(super) fn read<T: DeserializeOwned>(parameters: &str) -> Result<T, AdminRefusal> {
    let mut lists: Map<String, Value> = Map::new();
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let (name, value) = (text(name)?, text(value)?);
        if let Value::Array(list) = lists.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
            list.push(value.into());
        }
    }
    serde_json::from_value(lists.into()).map_err(|error| AdminRefusal::new(RefusalCode::BadRequest, error.to_string()))
}

fn text(escaped: &str) -> Result<String, AdminRefusal> {
    let decoded = percent_decode_str(escaped).decode_utf8();
    let decoded = decoded.map_err(|error| AdminRefusal::new(RefusalCode::BadRequest, format!("{escaped}: {error}")))?;
    Ok(decoded.into_owned())
}

/// Writes parameters, with the `?` before them; nothing where there are none.
pub(super) fn write(request: &impl Serialize) -> serde_json::Result<String> {
    let lists: std::collections::BTreeMap<String, Vec<String>> =
        serde_json::from_value(serde_json::to_value(request)?)?;
    let one = |name: &str, value: &str| format!("{}={}", escape(name), escape(value));
    let parameters: Vec<String> = lists
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| one(name, value)))
        .collect();
    Ok(match parameters.is_empty() {
        true => String::new(),
        false => format!("?{}", parameters.join("&")),
    })
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::{HostFilter, NoParameters};

    #[test]
    fn parameters_arrive_as_they_were_written() {
        let filter = HostFilter {
            host: vec!["r1u07".to_owned(), "a&b=c %+ü".to_owned(), String::new()],
        };
        let written = write(&filter).unwrap();
        assert_eq!(written, "?host=r1u07&host=a%26b%3Dc%20%25%2B%C3%BC&host=");
        assert_eq!(read::<HostFilter>(&written[1..]).unwrap(), filter);
        assert_eq!(write(&NoParameters {}).unwrap(), "");
        assert_eq!(read::<HostFilter>("").unwrap(), HostFilter::default());
    }

    #[test]
    fn a_parameter_that_nobody_knows_is_refused_by_its_name() {
        let refusal = read::<HostFilter>("hots=r1u07").unwrap_err();
        assert_eq!(refusal.code, RefusalCode::BadRequest);
        assert!(refusal.detail.contains("`hots`"), "{refusal}");
        let refusal = read::<HostFilter>("host=%ff").unwrap_err();
        assert_eq!(refusal.code, RefusalCode::BadRequest);
    }
}
