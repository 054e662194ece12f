//! XML: AutoYaST's profile, and whatever else is XML, as far as it must be well-formed.

use super::{error, place_at};
use crate::config::rendered::Flaw;
use roxmltree::{Document, ParsingOptions};

/// What AutoYaST's elements belong to.
const AUTOYAST: &str = "http://www.suse.com/1.0/yast2ns";

pub(super) fn flaws(text: &str) -> Vec<Flaw> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    let document = match Document::parse_with_options(text, options) {
        Ok(document) => document,
        Err(wrong) => {
            let place = (wrong.pos().row, wrong.pos().col);
            let what = ["the rendered text is not well-formed XML: ", &wrong.to_string()].concat();
            return vec![error(
                Some(place),
                what,
                "correct it; `{{ vars.x | e }}` writes a value as XML wants it",
            )];
        }
    };
    let root = document.root_element();
    let is_profile = root.tag_name().name() == "profile";
    match is_profile && root.tag_name().namespace() != Some(AUTOYAST) {
        false => Vec::new(),
        true => vec![error(
            Some(place_at(text, root.range().start)),
            "the profile's elements are not AutoYaST's, which reads none of them",
            "begin it with <profile xmlns=\"http://www.suse.com/1.0/yast2ns\" xmlns:config=\"http://www.suse.com/1.0/configns\">",
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_is_well_formed_and_a_profile_autoyasts_own() {
        for (text, expected) in [
            ("<?xml version=\"1.0\"?>\n<a/>", None),
            (
                "<?xml version=\"1.0\"?>\n<!DOCTYPE profile>\n<profile xmlns=\"http://www.suse.com/1.0/yast2ns\"/>",
                None,
            ),
            ("<!-- a -->\n <profile/>", Some((2, 2))),
            ("<a>\n  <b></a>", Some((2, 6))),
            ("<a>\n  &b;</a>", Some((2, 3))),
            ("<a>x & y</a>", Some((1, 6))),
        ] {
            let found = flaws(text);
            assert_eq!(found.first().and_then(|flaw| flaw.place), expected, "{text} {found:?}");
        }
    }
}
