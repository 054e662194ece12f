//! Reads what `nft -j list ruleset` prints (libnftables-json(5)).

use super::{BaseChain, ChainId, Condition, Field, FieldValue, FirewallRule, Hook, RuleAction, RuleChain, Ruleset};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// Families whose chains packets of IPv4 come to. Of a bridge's own rules (`bridge`) and ARP's nothing is known here.
const FAMILIES: &[&str] = &["ip", "inet", "netdev"];
/// Statements that do nothing to where a packet goes.
const HARMLESS: &[&str] = &[
    "counter",
    "log",
    "comment",
    "mangle",
    "set",
    "map",
    "ct helper",
    "ct timeout",
    "flow",
    "meter",
    "masquerade",
    "snat",
    "dup",
    "secmark",
    "last",
];

/// Reads the rules; those of the tables for which `is_elsewhere` (family and name) are read from another program.
///
/// # Errors
/// It is not what nft prints.
pub fn read_nftables(json: &str, is_elsewhere: impl Fn(&str, &str) -> bool) -> Result<Ruleset, serde_json::Error> {
    let document: Value = serde_json::from_str(json)?;
    let objects = document.get("nftables").and_then(Value::as_array);
    let objects: Vec<(&str, &Map<String, Value>)> = objects
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .flat_map(|object| object.iter())
        .filter_map(|(kind, value)| Some((kind.as_str(), value.as_object()?)))
        .filter(|(_, value)| {
            let family = text(value, "family");
            let name = text(value, "table");
            FAMILIES.contains(&family) && !is_elsewhere(family, name)
        })
        .collect();
    let named: NamedSets<'_> = objects
        .iter()
        .filter(|(kind, _)| matches!(*kind, "set" | "map"))
        .filter_map(|(_, set)| Some(((table(set), text(set, "name")), set.get("elem")?.as_array()?)))
        .collect();
    let mut rules = Ruleset::default();
    for (kind, object) in &objects {
        match *kind {
            "chain" => {
                let base = base_chain(object);
                rules.chains.entry(id(object, "name")).or_default().base = base;
            }
            "rule" => {
                let chain: &mut RuleChain = rules.chains.entry(id(object, "chain")).or_default();
                chain.rules.extend(read_rule(object, &named));
            }
            _ => {}
        }
    }
    Ok(rules)
}

/// Named sets and maps of each table.
type NamedSets<'a> = BTreeMap<(String, &'a str), &'a Vec<Value>>;

fn text<'v>(object: &'v Map<String, Value>, key: &str) -> &'v str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn table(object: &Map<String, Value>) -> String {
    ["table", text(object, "family"), text(object, "table")].join(" ")
}

fn id(object: &Map<String, Value>, key: &str) -> ChainId {
    ChainId {
        table: table(object),
        name: text(object, key).into(),
    }
}

fn base_chain(chain: &Map<String, Value>) -> Option<BaseChain> {
    let hook = match text(chain, "hook") {
        "ingress" => Hook::Ingress,
        "prerouting" => Hook::Prerouting,
        "input" => Hook::Input,
        "output" => Hook::Output,
        "postrouting" => Hook::Postrouting,
        // What is passed on is no concern of ours, and a chain without a hook is no base.
        _ => return None,
    };
    Some(BaseChain {
        hook,
        priority: chain.get("prio").and_then(Value::as_i64).unwrap_or(0),
        device: chain.get("dev").and_then(Value::as_str).map(Into::into),
        drops: text(chain, "policy") == "drop",
    })
}

/// A rule, or several where it leads to different places by a value (`vmap`).
fn read_rule(rule: &Map<String, Value>, named: &NamedSets<'_>) -> Vec<FirewallRule> {
    let label = match text(rule, "comment") {
        "" => rule
            .get("handle")
            .map_or_else(String::new, |handle| ["handle ", &handle.to_string()].concat()),
        comment => comment.into(),
    };
    let mut conditions = Vec::new();
    let statements = rule.get("expr").and_then(Value::as_array);
    let table = table(rule);
    let found = |conditions: &[Condition], action| FirewallRule {
        conditions: conditions.to_vec(),
        action,
        label: label.clone(),
    };
    let mut rules = Vec::new();
    for (kind, value) in statements.into_iter().flatten().filter_map(Value::as_object).flatten() {
        let action = match kind.as_str() {
            "match" => {
                conditions.extend(read_match(value, &table, named));
                continue;
            }
            "vmap" => {
                for (own, action) in read_verdict_map(value, &table, named) {
                    let conditions = [conditions.as_slice(), &own].concat();
                    rules.push(found(&conditions, action));
                }
                continue;
            }
            harmless if HARMLESS.contains(&harmless) => continue,
            other => verdict(other, value).unwrap_or_else(|| {
                conditions.push(Condition::Unknown);
                RuleAction::Nothing
            }),
        };
        if action != RuleAction::Nothing {
            rules.push(found(&conditions, action));
        }
    }
    rules
}

fn verdict(kind: &str, value: &Value) -> Option<RuleAction> {
    let target = || value.get("target").and_then(Value::as_str).unwrap_or_default().into();
    Some(match kind {
        "accept" => RuleAction::Accept,
        "drop" | "reject" => RuleAction::Drop,
        "return" => RuleAction::Return,
        "continue" => RuleAction::Nothing,
        "jump" => RuleAction::Jump(target()),
        "goto" => RuleAction::Goto(target()),
        "queue" | "dnat" | "redirect" | "tproxy" | "synproxy" | "fwd" => RuleAction::Unknown,
        // A limit, a quota, or what this does not know.
        _ => return None,
    })
}

/// What holds where a value is found, and where that leads.
type MappedVerdict = (Vec<Condition>, RuleAction);

fn read_verdict_map(map: &Value, table: &str, named: &NamedSets<'_>) -> Vec<MappedVerdict> {
    let unclear = || (vec![Condition::Unknown], RuleAction::Unknown);
    let elements = map.get("data").and_then(|data| elements(data, table, named));
    let (Some(left), Some(elements)) = (map.get("key"), elements) else {
        return vec![unclear()];
    };
    let read = |element: &Value| {
        let [value, to] = element.as_array()?.as_slice() else {
            return None;
        };
        let (kind, to) = to.as_object()?.iter().next()?;
        let action = verdict(kind, to)?;
        Some((read_comparison(left, value, false, table, named), action))
    };
    elements
        .iter()
        .map(|element| read(element).unwrap_or_else(unclear))
        .collect()
}

fn read_match(statement: &Value, table: &str, named: &NamedSets<'_>) -> Vec<Condition> {
    let is_negated = match statement.get("op").and_then(Value::as_str) {
        Some("==" | "in") | None => false,
        Some("!=") => true,
        Some(_) => return vec![Condition::Unknown],
    };
    match (statement.get("left"), statement.get("right")) {
        (Some(left), Some(right)) => read_comparison(left, right, is_negated, table, named),
        _ => vec![Condition::Unknown],
    }
}

/// What is compared, and what that says besides: a port of UDP is one of no other protocol.
fn read_comparison(
    left: &Value,
    right: &Value,
    is_negated: bool,
    table: &str,
    named: &NamedSets<'_>,
) -> Vec<Condition> {
    let word = |object: &str, key: &str| left.get(object).and_then(|of| of.get(key)).and_then(Value::as_str);
    let (field, implied) = match (word("meta", "key"), word("ct", "key"), word("payload", "protocol")) {
        (Some("iif" | "iifname"), ..) => (Field::InInterface, None),
        (Some("oif" | "oifname"), ..) => (Field::OutInterface, None),
        (Some("l4proto"), ..) => (Field::Protocol, None),
        (Some("nfproto" | "protocol"), ..) => return vec![of_ipv4(right, is_negated)],
        (_, Some("state"), _) => (Field::State, None),
        (_, _, Some(protocol)) => match (protocol, word("payload", "field")) {
            ("ip", Some("saddr")) => (Field::Source, None),
            ("ip", Some("daddr")) => (Field::Destination, None),
            ("ip", Some("protocol")) => (Field::Protocol, None),
            ("udp" | "tcp" | "th", Some("sport")) => (Field::SourcePort, protocol_number(protocol)),
            ("udp" | "tcp" | "th", Some("dport")) => (Field::DestinationPort, protocol_number(protocol)),
            ("udp" | "tcp", _) => return vec![of_protocol(protocol_number(protocol)), Condition::Unknown],
            ("ip6" | "icmp" | "icmpv6" | "arp" | "sctp" | "dccp" | "igmp" | "esp" | "ah", _) => {
                return vec![Condition::Never];
            }
            _ => return vec![Condition::Unknown],
        },
        _ => return vec![Condition::Unknown],
    };
    let Some(values) = values(right, field, table, named) else {
        return vec![Condition::Unknown];
    };
    let compared = Condition::Is {
        field,
        values,
        is_negated,
    };
    match implied {
        Some(number) => vec![of_protocol(Some(number)), compared],
        None => vec![compared],
    }
}

fn of_protocol(number: Option<u32>) -> Condition {
    match number {
        Some(number) => Condition::is(Field::Protocol, vec![FieldValue::Numbers((number, number))]),
        None => Condition::Unknown,
    }
}

/// Whether packets of IPv4 are meant.
fn of_ipv4(right: &Value, is_negated: bool) -> Condition {
    let is_ipv4 = |word: &Value| matches!(word.as_str(), Some("ipv4" | "ip"));
    let is_meant = match right.get("set").and_then(Value::as_array) {
        Some(set) => set.iter().any(is_ipv4),
        None if right.is_string() => is_ipv4(right),
        None => return Condition::Unknown,
    };
    match is_meant == is_negated {
        true => Condition::Never,
        // Every packet of ours is one.
        false => Condition::is(Field::Protocol, vec![FieldValue::Numbers((0, u32::MAX))]),
    }
}

fn protocol_number(name: &str) -> Option<u32> {
    match name {
        "udp" => Some(17),
        "tcp" => Some(6),
        _ => None,
    }
}

/// The elements of a set that is written out or named.
fn elements<'v>(set: &'v Value, table: &str, named: &NamedSets<'v>) -> Option<&'v Vec<Value>> {
    match set.as_str().and_then(|name| name.strip_prefix('@')) {
        Some(name) => named
            .iter()
            .find(|((of, known), _)| of == table && *known == name)
            .map(|(_, elements)| *elements),
        None => set.get("set").unwrap_or(set).as_array(),
    }
}

fn values(right: &Value, field: Field, table: &str, named: &NamedSets<'_>) -> Option<Vec<FieldValue>> {
    let is_set =
        right.is_array() || right.get("set").is_some() || right.as_str().is_some_and(|name| name.starts_with('@'));
    match is_set {
        true => Some(
            elements(right, table, named)?
                .iter()
                .map(|element| value(element, field))
                .collect(),
        ),
        false => Some(vec![value(right, field)]),
    }
}

fn value(written: &Value, field: Field) -> FieldValue {
    // An element with a counter or a time.
    let written = written
        .get("elem")
        .and_then(|element| element.get("val"))
        .unwrap_or(written);
    let known = match field {
        Field::InInterface | Field::OutInterface | Field::State => {
            written.as_str().map(|name| FieldValue::Name(name.into()))
        }
        Field::Protocol | Field::Source | Field::Destination | Field::SourcePort | Field::DestinationPort => {
            range(written).map(FieldValue::Numbers)
        }
    };
    known.unwrap_or(FieldValue::Unknown)
}

fn range(written: &Value) -> Option<(u32, u32)> {
    if let Some([first, last]) = written.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        return Some((number(first)?, number(last)?));
    }
    if let Some(prefix) = written.get("prefix") {
        let first = number(prefix.get("addr")?)?;
        let length = prefix.get("len")?.as_u64()?;
        let rest = u32::MAX.checked_shr(u32::try_from(length).ok()?).unwrap_or(0);
        return Some((first, first | rest));
    }
    let number = number(written)?;
    Some((number, number))
}

fn number(written: &Value) -> Option<u32> {
    match written {
        Value::Number(number) => u32::try_from(number.as_u64()?).ok(),
        Value::String(text) => match text.parse::<Ipv4Addr>() {
            Ok(address) => Some(address.to_bits()),
            Err(_) => protocol_number(text).or_else(|| other_protocol(text)),
        },
        _ => None,
    }
}

/// Protocols that none of our packets has.
fn other_protocol(name: &str) -> Option<u32> {
    match name {
        "icmp" => Some(1),
        "igmp" => Some(2),
        "esp" => Some(50),
        "ah" => Some(51),
        "icmpv6" | "ipv6-icmp" => Some(58),
        "sctp" => Some(132),
        "vrrp" => Some(112),
        "ospf" => Some(89),
        _ => None,
    }
}
