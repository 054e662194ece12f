//! The options of a reply, decoded, each with where it comes from: a line of the inventory, a quirk, or the protocol.

use super::{
    ExplainedOption, Places,
    words::{named as named_machine, text_of},
};
use crate::boot::{
    engine::Outcome,
    machine::Who,
    snapshot::{Origin, Snapshot, Sourced, Subnet},
};
use crate::proto::dhcp::{DescribedOption, RawOption, described_options};
use std::collections::BTreeMap;

/// What says the value of an option.
type OptionSource = (String, Option<Origin>);

/// The options of a reply's bytes.
pub(super) fn explained(
    snapshot: &Snapshot,
    (outcome, who): (&Outcome, Who<'_>),
    (reply, places): (&[u8], &dyn Places),
) -> Vec<ExplainedOption> {
    let address = outcome.send.as_ref().map(|send| send.reply.your_address);
    let subnet = address.and_then(|address| snapshot.subnet_of(address));
    let options = described_options(reply).into_iter();
    options
        .map(|option| {
            let (source, place) = source(snapshot, (outcome, who), subnet, &option);
            let of_subnet = || {
                subnet
                    .filter(|_| source.starts_with("subnet "))
                    .and_then(|subnet| places.subnet(subnet.cidr))
            };
            let place = place.or_else(of_subnet);
            ExplainedOption {
                code: option.code,
                name: option.name().into(),
                value: text_of(&option),
                source,
                place,
            }
        })
        .collect()
}

fn source(
    snapshot: &Snapshot,
    (outcome, who): (&Outcome, Who<'_>),
    subnet: Option<&Subnet>,
    option: &DescribedOption,
) -> OptionSource {
    let code = option.code;
    let quirks = outcome.event.quirks.iter();
    let mut adding = quirks.filter(|name| {
        let rows = snapshot.quirks.0.iter().filter(|quirk| quirk.name == **name);
        rows.flat_map(|quirk| &quirk.set.add).any(|(added, _)| *added == code)
    });
    if let Some(quirk) = adding.next() {
        return (["quirk ", quirk].concat(), None);
    }
    let named = |options: &BTreeMap<u8, Sourced<RawOption>>| options.get(&code).map(|option| option.origin.clone());
    if let Some(place) = who.settings().and_then(|own| named(&own.options)) {
        let (what, _) = named_machine(snapshot, who);
        return (what, Some(place));
    }
    let of_subnet = subnet.map(|subnet| text_of(format_args!("subnet {}", subnet.cidr)));
    if let (Some(what), Some(place)) = (&of_subnet, subnet.and_then(|subnet| named(&subnet.options))) {
        return (what.clone(), Some(place));
    }
    match (code, of_subnet) {
        (1 | 3 | 6 | 15 | 28 | 51 | 58 | 59, Some(what)) => (what, None),
        (12 | 250, _) => named_machine(snapshot, who),
        (61 | 82 | 97 | 118, _) => ("what the client sent".into(), None),
        (43 | 60 | 66 | 67 | 175, _) => ("what it is to load".into(), None),
        (7, _) if snapshot.syslog => ("this server takes logs".into(), None),
        _ => ("DHCP itself".into(), None),
    }
}
