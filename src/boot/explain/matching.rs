//! Which host or rule the machine is taken for, and which were passed over. Whether one holds is asked where every
//! decision asks it (`boot::machine`).

use super::{
    BootTrial, MatchedRow, RowVerdict,
    words::{host_named, rule_named, text_of},
};
use crate::boot::{
    event::{Mismatch, Near, Step},
    mac_typo::mac_typo_hint,
    machine::{Identity, IdentityKind, UnmetCondition, Who, mismatch, unmet},
    snapshot::{Host, Rule, RuleMatch, Snapshot},
};
use crate::model::text;

/// The host, the rules up to the one that holds, and what nearly was the machine's.
pub(super) fn rows(snapshot: &Snapshot, trial: &BootTrial<'_>) -> Vec<MatchedRow> {
    let (identity, who) = (&trial.identity, trial.who);
    let mut rows = Vec::new();
    if let Who::Host(host) = who {
        rows.push(host_row(snapshot, host, trial));
    }
    rows.extend(
        doubts(snapshot, trial)
            .into_iter()
            .filter_map(|doubt| doubt_row(snapshot, &doubt)),
    );
    match who {
        Who::Host(_) if !snapshot.rules.is_empty() => rows.push(MatchedRow {
            what: "rules".into(),
            place: snapshot.rules.first().map(|rule| rule.origin.clone()),
            verdict: RowVerdict::NotAsked,
            why: "a listed host is no rule's".into(),
        }),
        Who::Host(_) => {}
        Who::Rule(_) | Who::Unknown => {
            rows.extend(near_row(snapshot, identity));
            rows.extend(rule_rows(snapshot, identity, who));
            rows.extend(unlisted_row(snapshot, who));
        }
    }
    rows
}

fn host_row(snapshot: &Snapshot, host: &Host, trial: &BootTrial<'_>) -> MatchedRow {
    let is_it = |kind: &&IdentityKind| {
        let found = kind.host(&snapshot.hosts, &trial.identity);
        found.is_some_and(|found| found.name == host.name)
    };
    let why = match IdentityKind::ALL.iter().find(is_it) {
        Some(IdentityKind::Mac) => "it lists the MAC",
        Some(IdentityKind::Link) => "it lists the interface",
        Some(IdentityKind::Port) => "it is whatever machine stands at its switch port",
        Some(IdentityKind::Uuid) => "it lists no MAC, and this UUID",
        Some(IdentityKind::Serial) => "it lists no MAC, and this serial number",
        None => "the machine holds its reserved address, which was given at its switch port",
    };
    let (what, place) = host_named(host);
    MatchedRow {
        what,
        place,
        verdict: RowVerdict::Matched,
        why: why.into(),
    }
}

/// What the machine tells of itself that does not fit, at whatever stage.
fn doubts(snapshot: &Snapshot, trial: &BootTrial<'_>) -> Vec<Mismatch> {
    let by_dhcp = trial
        .exchanges
        .iter()
        .filter_map(|exchange| match &exchange.offer.event.step {
            Step::Offered { boot, .. } | Step::ProxyOffered { boot } | Step::Acknowledged { boot, .. } => {
                boot.mismatch.clone()
            }
            _ => None,
        });
    let mut doubts: Vec<Mismatch> = Vec::new();
    for doubt in by_dhcp.chain(mismatch(snapshot, trial.who, &trial.identity)) {
        if !doubts.contains(&doubt) {
            doubts.push(doubt);
        }
    }
    doubts
}

fn doubt_row(snapshot: &Snapshot, doubt: &Mismatch) -> Option<MatchedRow> {
    let (Mismatch::PortUnbelieved { host, .. } | Mismatch::UuidOfAnother { host } | Mismatch::SerialOfAnother { host }) =
        doubt
    else {
        // What a listed host tells otherwise than is listed.
        return Some(MatchedRow {
            what: "what it tells of itself".into(),
            place: None,
            verdict: RowVerdict::PassedOver,
            why: text_of(doubt),
        });
    };
    let (what, place) = host_named(snapshot.hosts.by_name(host.as_str())?);
    Some(MatchedRow {
        what,
        place,
        verdict: RowVerdict::PassedOver,
        why: text_of(doubt),
    })
}

fn near_row(snapshot: &Snapshot, identity: &Identity) -> Option<MatchedRow> {
    let Near(near) = mac_typo_hint(&snapshot.hosts, identity.mac);
    let host = snapshot.hosts.by_name(near?.as_str())?;
    let (what, place) = host_named(host);
    Some(MatchedRow {
        what,
        place,
        verdict: RowVerdict::PassedOver,
        why: "its MAC differs in one digit: is it mistyped?".into(),
    })
}

/// The rules in their order: each until one holds, and the rest together.
fn rule_rows(snapshot: &Snapshot, identity: &Identity, who: Who<'_>) -> Vec<MatchedRow> {
    let mut rows = Vec::new();
    for (place, rule) in snapshot.rules.iter().enumerate() {
        let (what, written) = rule_named(place, rule);
        let row = |verdict, why: String| MatchedRow {
            what: what.clone(),
            place: written.clone(),
            verdict,
            why,
        };
        match unmet(&rule.matches, identity) {
            Some(condition) => rows.push(row(RowVerdict::PassedOver, why_unmet(condition, rule, identity))),
            None if is_that(who, rule) => {
                rows.push(row(RowVerdict::Matched, "every condition of it holds".into()));
                let left = snapshot.rules.get(place + 1);
                rows.extend(left.map(|next| MatchedRow {
                    what: "the rules behind it".into(),
                    place: Some(next.origin.clone()),
                    verdict: RowVerdict::NotAsked,
                    why: "the first that holds is the machine's".into(),
                }));
                return rows;
            }
            None => rows.push(row(RowVerdict::NotAsked, "another was the machine's".into())),
        }
    }
    rows
}

fn is_that(who: Who<'_>, rule: &Rule) -> bool {
    matches!(who, Who::Rule(own) if std::ptr::eq(own, rule))
}

fn why_unmet(condition: UnmetCondition, rule: &Rule, identity: &Identity) -> String {
    let RuleMatch {
        cpu,
        vendor,
        mac,
        serial,
    } = &rule.matches;
    let (key, wanted, told) = match condition {
        UnmetCondition::Cpu => ("arch", cpu.map(text_of), identity.arch.map(|arch| text_of(arch.cpu))),
        UnmetCondition::Vendor => ("vendor", vendor.clone(), identity.vendor.clone()),
        UnmetCondition::Mac => ("mac", mac.clone(), identity.mac.map(text_of)),
        UnmetCondition::Serial => ("serial", serial.clone(), identity.serial.clone()),
    };
    let wanted = text::escaped(wanted.unwrap_or_default());
    match told.map(text::escaped) {
        Some(told) => text_of(format_args!("{key} `{wanted}` does not fit `{told}`")),
        None => text_of(format_args!(
            "{key} `{wanted}` is wanted, and the machine did not tell its own"
        )),
    }
}

fn unlisted_row(snapshot: &Snapshot, who: Who<'_>) -> Option<MatchedRow> {
    let policy = snapshot.unknown.name();
    matches!(who, Who::Unknown).then(|| MatchedRow {
        what: "unlisted machines".into(),
        place: None,
        verdict: RowVerdict::Matched,
        why: text_of(format_args!(
            "no host lists it and no rule holds: unknown.policy is \"{policy}\""
        )),
    })
}
