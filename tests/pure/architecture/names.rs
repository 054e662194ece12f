//! A type has a name of its own: who reads `Request` in one file need not ask which of three it is.

use super::source::sources;
use std::collections::BTreeMap;

/// The type that a line defines: an item, not what an `impl` of a foreign trait must name (`type Error`), which is
/// indented.
fn defined(line: &str) -> Option<&str> {
    let item = line.trim_start();
    let is_indented = item.len() < line.len();
    let item = item.strip_prefix("pub").map_or(item, |rest| {
        let rest = rest
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .map_or(rest, |(_, rest)| rest);
        rest.trim_start()
    });
    let (keyword, rest) = item.split_once(' ')?;
    let is_type = matches!(keyword, "struct" | "enum" | "trait" | "union") || keyword == "type" && !is_indented;
    let length = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    Some(&rest[..length]).filter(|name| is_type && name.starts_with(char::is_uppercase))
}

#[test]
fn a_type_name_is_defined_once() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        let text = std::fs::read_to_string(&source.path).unwrap();
        for name in text.lines().filter_map(defined) {
            let place = source.path.display().to_string();
            places.entry(name.to_owned()).or_default().push(place);
        }
    }
    assert!(places.len() > 300, "the scanner sees {} types", places.len());
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "give each a name of its own: {places:#?}");
}

#[test]
fn the_scanner_sees_types_and_no_associated_ones() {
    for (line, name) in [
        ("pub struct Lease {", Some("Lease")),
        ("    pub(super) enum Reply<'a> {", Some("Reply")),
        ("pub(in crate::net) trait Ask: Send {", Some("Ask")),
        ("type Written = Result<Revision, StoreError>;", Some("Written")),
        ("    type Error = Infallible;", None),
        ("let struct_name = 1;", None),
        ("use enum_map::Map;", None),
    ] {
        assert_eq!(defined(line), name, "{line}");
    }
}
