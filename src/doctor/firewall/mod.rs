//! Whether the rules of a firewall let our packets pass.
//!
//! Rules of nftables (`nft`) and of iptables (`iptables`) are read into the same shape, and run for one packet of each
//! kind that a boot has. A condition that is not understood makes what follows unclear and never clear: a rule that may
//! drop is no rule that accepts.

mod iptables;
mod nft;
mod traffic;

pub use iptables::read_iptables;
pub use nft::read_nftables;
pub use traffic::TrafficSettings;

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};
use traffic::BootPacket;

/// Chains that one leads to, one in the other: the kernel's own limit.
const CHAIN_DEPTH_MAX: usize = 16;
/// Addresses, ports and numbers of protocols, the first and the last of a range.
type Range = (u32, u32);

/// The rules of a firewall.
#[derive(Debug, Default)]
pub struct Ruleset {
    chains: BTreeMap<ChainId, RuleChain>,
}

/// A chain's table, as its program names it, and its name there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ChainId {
    table: String,
    name: String,
}

#[derive(Debug, Default)]
struct RuleChain {
    /// Where packets come to it, if not from another chain.
    base: Option<BaseChain>,
    rules: Vec<FirewallRule>,
}

#[derive(Clone, Debug)]
struct BaseChain {
    hook: Hook,
    priority: i64,
    /// The interface of a chain that belongs to one.
    device: Option<String>,
    drops: bool,
}

/// Where in a packet's way a chain stands, in the order of the way in and of the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hook {
    Ingress,
    Prerouting,
    Input,
    Output,
    Postrouting,
}

#[derive(Debug)]
struct FirewallRule {
    conditions: Vec<Condition>,
    action: RuleAction,
    /// What people find it by.
    label: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum RuleAction {
    /// It counts, logs or marks.
    Nothing,
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// It leads elsewhere: another address, a program.
    Unknown,
}

#[derive(Clone, Debug)]
enum Condition {
    /// No packet of ours is meant.
    Never,
    /// It is not understood.
    Unknown,
    Is {
        field: Field,
        values: Vec<FieldValue>,
        is_negated: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    InInterface,
    OutInterface,
    Protocol,
    Source,
    Destination,
    SourcePort,
    DestinationPort,
    /// What conntrack says of its connection.
    State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum FieldValue {
    /// A name, with `*` at its end for any that begins so.
    Name(String),
    Numbers(Range),
    /// Not understood.
    Unknown,
}

/// What holds of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    No,
    Maybe,
    Yes,
}

/// What becomes of a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Passage {
    /// It passes.
    Passes,
    /// That stops it.
    Stopped(RulePlace),
    /// That may stop it.
    Unclear(RulePlace),
}

/// A rule, or a chain's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePlace {
    chain: ChainId,
    /// Nothing is the chain's policy.
    rule: Option<String>,
}

impl Display for RulePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ChainId { table, name } = &self.chain;
        match &self.rule {
            Some(rule) => write!(f, "the rule `{rule}` of chain {name} in {table}"),
            None => write!(f, "the policy of chain {name} in {table}"),
        }
    }
}

/// How the run through a chain ended.
enum ChainEnd {
    Accepted,
    Stopped(RulePlace),
    /// At its end, or by `return`.
    Returned,
}

/// What unclear rules on the way may have done.
#[derive(Default)]
struct Doubt {
    may_stop: Option<RulePlace>,
    may_accept: Option<RulePlace>,
}

impl Doubt {
    fn may_do_either(&mut self, place: impl Fn() -> RulePlace) {
        self.may_stop.get_or_insert_with(&place);
        self.may_accept.get_or_insert_with(&place);
    }
}

impl Ruleset {
    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.chains.values().map(|chain| chain.rules.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is a table of that name, with its family: `table ip filter`.
    pub fn has_table(&self, name: &str) -> bool {
        self.chains.keys().any(|id| id.table == name)
    }

    /// Adds the rules of another program.
    pub fn extend(&mut self, other: Ruleset) {
        self.chains.extend(other.chains);
    }

    /// What becomes of each kind of packet that a boot has.
    pub fn passages(&self, traffic: &TrafficSettings<'_>) -> Vec<(&'static str, Passage)> {
        let packets = traffic.packets().into_iter();
        packets.map(|packet| (packet.what, self.passage(&packet))).collect()
    }

    fn passage(&self, packet: &BootPacket<'_>) -> Passage {
        let mut bases: Vec<(&BaseChain, &ChainId, &RuleChain)> = self
            .chains
            .iter()
            .filter_map(|(id, chain)| Some((chain.base.as_ref()?, id, chain)))
            .filter(|(base, ..)| packet.meets(base))
            .collect();
        bases.sort_by_key(|(base, ..)| (base.hook, base.priority));
        let mut unclear = None;
        for (base, id, chain) in bases {
            let mut doubt = Doubt::default();
            let end = match self.run((id, chain), packet, 0, &mut doubt) {
                ChainEnd::Returned if base.drops => ChainEnd::Stopped(RulePlace {
                    chain: id.clone(),
                    rule: None,
                }),
                ChainEnd::Returned => ChainEnd::Accepted,
                end => end,
            };
            match (end, doubt) {
                (ChainEnd::Stopped(place), Doubt { may_accept: None, .. }) => return Passage::Stopped(place),
                (ChainEnd::Stopped(_), Doubt { may_accept, .. }) => unclear = unclear.or(may_accept),
                (ChainEnd::Accepted | ChainEnd::Returned, Doubt { may_stop, .. }) => unclear = unclear.or(may_stop),
            }
        }
        unclear.map_or(Passage::Passes, Passage::Unclear)
    }

    fn run(
        &self,
        (id, chain): (&ChainId, &RuleChain),
        packet: &BootPacket<'_>,
        depth: usize,
        doubt: &mut Doubt,
    ) -> ChainEnd {
        for rule in &chain.rules {
            let truth = rule.holds_for(packet);
            let place = || RulePlace {
                chain: id.clone(),
                rule: Some(rule.label.clone()),
            };
            if truth == Truth::No {
                continue;
            }
            let (end, is_goto) = match &rule.action {
                RuleAction::Nothing => continue,
                RuleAction::Accept => (ChainEnd::Accepted, false),
                RuleAction::Drop => (ChainEnd::Stopped(place()), false),
                RuleAction::Return => (ChainEnd::Returned, true),
                RuleAction::Unknown => {
                    doubt.may_do_either(place);
                    continue;
                }
                RuleAction::Jump(to) | RuleAction::Goto(to) => {
                    let is_goto = matches!(rule.action, RuleAction::Goto(_));
                    match self.run_other(id, to, packet, depth, doubt) {
                        Some(end) => (end, is_goto),
                        None => {
                            doubt.may_do_either(place);
                            continue;
                        }
                    }
                }
            };
            match (truth, end) {
                (Truth::Yes, ChainEnd::Returned) if !is_goto => {}
                (Truth::Yes, end) => return end,
                (_, ChainEnd::Stopped(_)) => drop(doubt.may_stop.get_or_insert_with(place)),
                (_, ChainEnd::Accepted) => drop(doubt.may_accept.get_or_insert_with(place)),
                // What would have followed may be passed over: both may be.
                (_, ChainEnd::Returned) if is_goto => doubt.may_do_either(place),
                (_, ChainEnd::Returned) => {}
            }
        }
        ChainEnd::Returned
    }

    /// `None` where there is no such chain, or too many lead to it.
    fn run_other(
        &self,
        from: &ChainId,
        to: &str,
        packet: &BootPacket<'_>,
        depth: usize,
        doubt: &mut Doubt,
    ) -> Option<ChainEnd> {
        let id = ChainId {
            table: from.table.clone(),
            name: to.into(),
        };
        let (id, chain) = self.chains.get_key_value(&id).filter(|_| depth < CHAIN_DEPTH_MAX)?;
        Some(self.run((id, chain), packet, depth + 1, doubt))
    }
}

impl FirewallRule {
    fn holds_for(&self, packet: &BootPacket<'_>) -> Truth {
        let truths = self.conditions.iter().map(|condition| condition.holds_for(packet));
        truths.fold(Truth::Yes, |all, one| match (all, one) {
            (Truth::No, _) | (_, Truth::No) => Truth::No,
            (Truth::Maybe, _) | (_, Truth::Maybe) => Truth::Maybe,
            (Truth::Yes, Truth::Yes) => Truth::Yes,
        })
    }
}

impl Condition {
    fn holds_for(&self, packet: &BootPacket<'_>) -> Truth {
        match self {
            Condition::Never => Truth::No,
            Condition::Unknown => Truth::Maybe,
            Condition::Is {
                field,
                values,
                is_negated,
            } => {
                let truths = values.iter().map(|value| packet.is(*field, value));
                let any = truths.fold(Truth::No, |any, one| match (any, one) {
                    (Truth::Yes, _) | (_, Truth::Yes) => Truth::Yes,
                    (Truth::Maybe, _) | (_, Truth::Maybe) => Truth::Maybe,
                    (Truth::No, Truth::No) => Truth::No,
                });
                match (any, is_negated) {
                    (Truth::Yes, true) => Truth::No,
                    (Truth::No, true) => Truth::Yes,
                    (any, _) => any,
                }
            }
        }
    }

    fn is(field: Field, values: Vec<FieldValue>) -> Condition {
        Condition::Is {
            field,
            values,
            is_negated: false,
        }
    }
}

#[cfg(test)]
mod tests;
