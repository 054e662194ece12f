//! The parts of a YAML document, with their places.

use super::{Place, number};
use saphyr::{MarkedYaml, YamlData};

/// A value of a mapping.
pub(super) fn child<'y, 't>(node: &'y MarkedYaml<'t>, key: &str) -> Option<&'y MarkedYaml<'t>> {
    let YamlData::Mapping(entries) = &node.data else {
        return None;
    };
    entries
        .iter()
        .find(|(own, _)| text_of(own) == Some(key))
        .map(|(_, value)| value)
}

/// The keys of a mapping, with their places; `None` where it is none.
pub(super) fn keys<'y>(node: &'y MarkedYaml<'_>) -> Option<Vec<(&'y str, Place)>> {
    let YamlData::Mapping(entries) = &node.data else {
        return None;
    };
    Some(
        entries
            .iter()
            .filter_map(|(key, _)| Some((text_of(key)?, place(key))))
            .collect(),
    )
}

pub(super) fn text_of<'y>(node: &'y MarkedYaml<'_>) -> Option<&'y str> {
    node.data.as_str()
}

pub(super) fn place(node: &MarkedYaml<'_>) -> Place {
    (number(node.span.start.line()), number(node.span.start.col() + 1))
}
