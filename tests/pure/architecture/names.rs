//! A type has a name of its own: who reads `Request` in one file need not ask which of three it is.

use super::source::{Source, sources};
use std::{collections::BTreeMap, path::Path};

#[test]
fn a_type_name_is_defined_once() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        for name in &source.types {
            let place = source.path.display().to_string();
            places.entry(name.clone()).or_default().push(place);
        }
    }
    assert!(places.len() > 300, "the scanner sees {} types", places.len());
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "give each a name of its own: {places:#?}");
}

#[test]
fn every_type_is_seen_and_no_associated_one() {
    let text = "pub struct Lease<'a>(&'a u8);\nimpl Lease<'_> { pub(super) fn f() { enum Within {} type Short = u8; } }\n\
                pub(in crate::net) trait Ask: Send { type Answer; }\ntype Written = Result<u8, u8>;\n\
                impl Ask for u8 { type Answer = u8; }\nmod tests { union Bits { a: u8 } }";
    let source = Source::read(Path::new("lease/planted.rs"), text);
    assert_eq!(source.types, ["Lease", "Within", "Short", "Ask", "Written", "Bits"]);
}
