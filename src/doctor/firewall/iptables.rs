//! Reads what `iptables-save` prints (iptables(8)), of the legacy rules and of those in nftables.

use super::{BaseChain, ChainId, Condition, Field, FieldValue, FirewallRule, Hook, RuleAction, RuleChain, Ruleset};
use crate::model::{Cidr, text::prefix};
use std::net::Ipv4Addr;

/// Targets that do nothing to where a packet goes.
const HARMLESS: &[&str] = &[
    "LOG",
    "NFLOG",
    "ULOG",
    "MARK",
    "CONNMARK",
    "SECMARK",
    "CONNSECMARK",
    "TCPMSS",
    "TOS",
    "DSCP",
    "TTL",
    "CLASSIFY",
    "AUDIT",
    "TRACE",
    "CT",
    "CHECKSUM",
    "MASQUERADE",
    "SNAT",
    "SET",
    "LED",
    "RATEEST",
];
/// Bytes of a rule that are shown.
const LABEL_BYTES_MAX: usize = 100;

/// Reads the rules of every table; `program` is whose they are, such as `iptables`.
pub fn read_iptables(text: &str, program: &str) -> Ruleset {
    let mut rules = Ruleset::default();
    let mut table = String::new();
    for line in text.lines().map(str::trim) {
        let Some((kind, rest)) = line.split_at_checked(1) else {
            continue;
        };
        match kind {
            "*" => table = [program, rest].join(" "),
            ":" => {
                let mut words = rest.split_ascii_whitespace();
                let (Some(name), Some(policy)) = (words.next(), words.next()) else {
                    continue;
                };
                let chain: &mut RuleChain = rules.chains.entry(id(&table, name)).or_default();
                chain.base = base_chain(name, &table, policy);
            }
            "-" => {
                let words = words(line);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                if let ["-A", name, rest @ ..] = words.as_slice() {
                    let rule = read_rule(rest);
                    rules.chains.entry(id(&table, name)).or_default().rules.push(rule);
                }
            }
            _ => {}
        }
    }
    rules
}

fn id(table: &str, name: &str) -> ChainId {
    ChainId {
        table: table.into(),
        name: name.into(),
    }
}

fn base_chain(name: &str, table: &str, policy: &str) -> Option<BaseChain> {
    let hook = match name {
        "PREROUTING" => Hook::Prerouting,
        "INPUT" => Hook::Input,
        "OUTPUT" => Hook::Output,
        "POSTROUTING" => Hook::Postrouting,
        _ => return None,
    };
    // In the kernel's own order of tables.
    let order = ["raw", "mangle", "nat", "filter", "security"];
    let priority = order.iter().position(|known| table.ends_with(known));
    Some(BaseChain {
        hook,
        priority: priority.and_then(|place| i64::try_from(place).ok()).unwrap_or(0),
        device: None,
        drops: policy == "DROP",
    })
}

/// The words of a line; those in quotation marks are one.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if is_quoted => word.extend(characters.next()),
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            other => word.push(other),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

fn read_rule(words: &[&str]) -> FirewallRule {
    let mut conditions = Vec::new();
    let mut action = RuleAction::Nothing;
    let mut is_negated = false;
    let mut rest = words;
    while let [word, after @ ..] = rest {
        let argument = after.first().copied().unwrap_or_default();
        let mut taken = 2;
        let mut add = |field, values: Vec<FieldValue>| {
            conditions.push(Condition::Is {
                field,
                values,
                is_negated,
            });
        };
        match *word {
            "!" => {
                is_negated = true;
                rest = after;
                continue;
            }
            "-i" => add(Field::InInterface, vec![interface(argument)]),
            "-o" => add(Field::OutInterface, vec![interface(argument)]),
            "-p" => add(Field::Protocol, vec![protocol(argument)]),
            "-s" => add(Field::Source, vec![network(argument)]),
            "-d" => add(Field::Destination, vec![network(argument)]),
            "--sport" | "--sports" => add(Field::SourcePort, ports(argument)),
            "--dport" | "--dports" => add(Field::DestinationPort, ports(argument)),
            "--state" | "--ctstate" => {
                let states = argument
                    .split(',')
                    .map(|state| FieldValue::Name(state.to_ascii_lowercase()));
                add(Field::State, states.collect());
            }
            // The modules whose options are among those above, and a remark.
            "-m" if matches!(
                argument,
                "udp" | "tcp" | "multiport" | "state" | "conntrack" | "comment"
            ) => {}
            "--comment" => {}
            "-j" | "-g" => {
                action = target(word, argument);
                // What follows are the target's own options.
                break;
            }
            _ => {
                conditions.push(Condition::Unknown);
                taken = 1 + after
                    .iter()
                    .take_while(|word| !word.starts_with('-') && **word != "!")
                    .count();
            }
        }
        is_negated = false;
        rest = rest.get(taken..).unwrap_or_default();
    }
    FirewallRule {
        conditions,
        action,
        label: prefix(&words.join(" "), LABEL_BYTES_MAX).into(),
    }
}

fn target(word: &str, name: &str) -> RuleAction {
    match name {
        "ACCEPT" => RuleAction::Accept,
        "DROP" | "REJECT" => RuleAction::Drop,
        "RETURN" => RuleAction::Return,
        "DNAT" | "REDIRECT" | "TPROXY" | "QUEUE" | "NFQUEUE" | "NETMAP" | "SYNPROXY" | "TARPIT" | "NOTRACK" => {
            RuleAction::Unknown
        }
        harmless if HARMLESS.contains(&harmless) => RuleAction::Nothing,
        chain if word == "-g" => RuleAction::Goto(chain.into()),
        chain => RuleAction::Jump(chain.into()),
    }
}

fn interface(written: &str) -> FieldValue {
    FieldValue::Name(match written.strip_suffix('+') {
        Some(beginning) => [beginning, "*"].concat(),
        None => written.into(),
    })
}

fn protocol(name: &str) -> FieldValue {
    let number = match name {
        "all" | "0" => return FieldValue::Numbers((0, u32::MAX)),
        "udp" => 17,
        "tcp" => 6,
        "icmp" => 1,
        "igmp" => 2,
        "esp" => 50,
        "ah" => 51,
        "sctp" => 132,
        other => match other.parse() {
            Ok(number) => number,
            Err(_) => return FieldValue::Unknown,
        },
    };
    FieldValue::Numbers((number, number))
}

fn network(written: &str) -> FieldValue {
    let cidr = match written.parse::<Ipv4Addr>() {
        Ok(address) => Some(Cidr::containing(address, 32)),
        Err(_) => written.parse::<Cidr>().ok(),
    };
    cidr.map_or(FieldValue::Unknown, |cidr| {
        FieldValue::Numbers((cidr.network().to_bits(), cidr.broadcast().to_bits()))
    })
}

/// `67`, `1024:65535`, or several with commas.
fn ports(written: &str) -> Vec<FieldValue> {
    let one = |part: &str| {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        let range = first.parse().ok().zip(last.parse().ok());
        range.map_or(FieldValue::Unknown, FieldValue::Numbers)
    };
    written.split(',').map(one).collect()
}
