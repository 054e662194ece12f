//! YAML: cloud-init's files, Talos' machine configuration, and whatever else is YAML, as far as it must be well-formed.

use super::{
    autoinstall, error,
    node::{child, place, text_of},
    number,
};
use crate::config::rendered::Flaw;
use saphyr::{LoadableYamlNode, MarkedYaml};

const HELP: &str = "correct it; `{{ vars.x | tojson }}` writes a value as YAML wants it";
/// What Talos' machines are.
const TALOS_TYPES: [&str; 4] = ["controlplane", "worker", "init", "join"];

pub(super) fn flaws(text: &str) -> Vec<Flaw> {
    let documents = match MarkedYaml::load_from_str(text) {
        Ok(documents) => documents,
        Err(wrong) => {
            let place = (number(wrong.marker().line()), number(wrong.marker().col() + 1));
            let what = ["the rendered text is not YAML: ", wrong.info()].concat();
            return vec![error(Some(place), what, HELP)];
        }
    };
    let mut flaws = Vec::new();
    for document in &documents {
        if let Some(installer) = child(document, "autoinstall") {
            flaws.extend(autoinstall::flaws(installer));
        }
        flaws.extend(talos(document));
    }
    flaws
}

/// What a Talos machine must be told.
fn talos(document: &MarkedYaml<'_>) -> Vec<Flaw> {
    let is_talos = child(document, "version").and_then(text_of) == Some("v1alpha1");
    let Some(machine) = child(document, "machine").filter(|_| is_talos) else {
        return Vec::new();
    };
    let mut flaws = Vec::new();
    let kind = child(machine, "type");
    if !kind.and_then(text_of).is_some_and(|kind| TALOS_TYPES.contains(&kind)) {
        let at = kind.unwrap_or(machine);
        flaws.push(error(
            Some(place(at)),
            "`machine.type` is none of Talos'",
            "it is controlplane or worker",
        ));
    }
    let endpoint = child(document, "cluster")
        .and_then(|cluster| child(cluster, "controlPlane"))
        .and_then(|plane| child(plane, "endpoint"));
    if !endpoint
        .and_then(text_of)
        .is_some_and(|endpoint| endpoint.starts_with("https://"))
    {
        let at = endpoint.unwrap_or(document);
        let help = "it is as `https://192.0.2.10:6443`";
        flaws.push(error(
            Some(place(at)),
            "`cluster.controlPlane.endpoint` is no https URL",
            help,
        ));
    }
    flaws
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_is_well_formed_and_a_talos_machine_knows_its_cluster() {
        let talos =
            "version: v1alpha1\nmachine:\n  type: worker\ncluster:\n  controlPlane:\n    endpoint: https://a:6443\n";
        for (text, expected) in [
            ("a: 1\nb: [c, {d: e}]\n---\nf: g\n", vec![]),
            ("# only\n", vec![]),
            ("a: [\n", vec![(2, 1)]),
            ("a: b: c\n", vec![(1, 5)]),
            ("a: 1\na: 2\n", vec![(2, 1)]),
            (talos, vec![]),
            (&talos.replace("worker", "wroker"), vec![(3, 9)]),
            (&talos.replace("https", "http"), vec![(6, 15)]),
        ] {
            let found: Vec<_> = flaws(text).iter().filter_map(|flaw| flaw.place).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
