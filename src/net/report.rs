//! One log line per step of a machine's boot.

use crate::boot::event::{Event, ReservationUnavailable, Step};
use crate::model::{MacAddr, limits::CONFLICT_LOG_INTERVAL};
use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};
use tracing::{Level, debug, info, warn};

/// How many lines one second may have before the rest waits for `debug`: a flood must not fill the
/// disk, nor drown what is said of other machines.
struct Budget {
    lines_per_second_max: u64,
    second: AtomicU64,
    lines: AtomicU64,
}

/// Packets that got no answer.
static IGNORED: Budget = Budget::new(20);
/// Machines that nobody listed: their names cost nothing to invent.
static STRANGERS: Budget = Budget::new(200);
/// Listed machines; a thousand that boot at once say less than this.
static LISTED: Budget = Budget::new(2000);

impl Budget {
    const fn new(lines_per_second_max: u64) -> Budget {
        Budget {
            lines_per_second_max,
            second: AtomicU64::new(0),
            lines: AtomicU64::new(0),
        }
    }

    /// The one that a line about this event is paid from.
    fn of(event: &Event) -> &'static Budget {
        let is_invented = match event.hardware.and_then(|hardware| hardware.mac()) {
            Some(mac) => mac.is_hyphenated(&event.machine),
            None => true,
        };
        match &event.step {
            Step::Ignored { .. } | Step::PoolExhausted { .. } | Step::ChoseOtherServer { .. } => &IGNORED,
            _ if is_invented => &STRANGERS,
            _ => &LISTED,
        }
    }

    /// Whether this second has room for one more line. Two threads at the turn of a second may both
    /// reset the count: a few lines more, never a line lost for good.
    fn has_room(&self, second: u64) -> bool {
        if self.second.swap(second, Ordering::Relaxed) != second {
            let lines = self.lines.swap(0, Ordering::Relaxed);
            let left_out = lines.saturating_sub(self.lines_per_second_max);
            if left_out > 0 {
                warn!("{left_out} lines like the last ones were left out in one second; level debug has them");
            }
        }
        self.lines.fetch_add(1, Ordering::Relaxed) < self.lines_per_second_max
    }
}

/// Says what happened, in one line with target `boot` and the fields `machine`, `mac` and `stage`.
pub fn report(event: &Event) {
    say(event, false);
}

/// Says it to who looks at everything: it was said before, and goes on.
pub(super) fn report_repeat(event: &Event) {
    say(event, true);
}

fn say(event: &Event, is_hushed: bool) {
    // In a storm most lines are left out: the macros put nothing into words that no log takes.
    macro_rules! say {
        ($level:ident) => {
            $level!(
                target: "boot",
                machine = event.machine.as_str(),
                mac = mac(event).as_str(),
                stage = %event.stage,
                quirks = quirks(event).as_deref(),
                "{}",
                message(&event.step),
            )
        };
    }
    match level(&event.step) {
        _ if is_hushed => say!(debug),
        Level::DEBUG => say!(debug),
        _ if !Budget::of(event).has_room(second()) => say!(debug),
        Level::WARN => say!(warn),
        _ => say!(info),
    }
}

fn mac(event: &Event) -> String {
    event
        .hardware
        .map_or_else(|| "-".to_owned(), |hardware| hardware.to_string())
}

/// A field of its own only where there is one: `None` is not written.
fn quirks(event: &Event) -> Option<String> {
    (!event.quirks.is_empty()).then(|| event.quirks.join(","))
}

/// Who should see what happened: whoever looks at the machine closely, whoever follows its boot, or the
/// operator, to do something about it.
fn level(step: &Step) -> Level {
    match step {
        Step::OptionalMissing { .. } => Level::DEBUG,
        Step::Offered { .. }
        | Step::ProxyOffered { .. }
        | Step::Acknowledged { .. }
        | Step::Released { .. }
        | Step::NoIpv6Router
        | Step::Sent { .. }
        | Step::PoolExhausted { .. }
        | Step::ChoseOtherServer { .. }
        | Step::Ignored { .. } => Level::INFO,
        Step::AckShortened { .. }
        | Step::ReservationUnavailable { .. }
        | Step::ReservationConflict { .. }
        | Step::Refused { .. }
        | Step::WrongPort { .. }
        | Step::Declined { .. }
        | Step::AddressInUse { .. }
        | Step::Failed { .. }
        | Step::LoaderLoop { .. } => Level::WARN,
    }
}

/// The step as a person reads it.
fn message(step: &Step) -> String {
    match step {
        Step::Offered { address, boot } => format!("offered {address}: {boot}"),
        Step::ProxyOffered { boot } => format!("told what to boot: {boot}"),
        Step::Acknowledged { address, boot } => format!("acknowledged {address}: {boot}"),
        Step::AckShortened { address, remaining } => format!(
            "acknowledged {address} for {} s only, the rest of the lease that is on disk: the disk takes no later end",
            remaining.as_secs()
        ),
        Step::ReservationUnavailable { given, own, why } => not_its_own(*given, *own, why),
        Step::ReservationConflict { address, by } => disputed(*address, *by),
        Step::Refused { reason } => format!("refused: {reason}"),
        Step::WrongPort { reason } => format!("not answered: {reason}"),
        Step::Released { address } => format!("released {address}"),
        Step::Declined { address } => format!("declined {address}: somebody else uses it"),
        Step::AddressInUse { address, by } => {
            let who = by.map_or_else(|| "somebody".to_owned(), |mac| mac.to_string());
            format!(
                "not offered {address}: {who} answers there. Take the address out of the pool, or that machine off it"
            )
        }
        Step::NoIpv6Router => "told that no IPv6 router is here, so that it waits for none".to_owned(),
        Step::Sent { what, bytes } => format!("sent {what}, {bytes} bytes"),
        Step::Failed { what, reason } => format!("failed {what}: {reason}"),
        Step::OptionalMissing { what } => format!("does without {what}, which is not there"),
        Step::LoaderLoop { loader, times } => format!(
            "loaded {loader} {times} times and never asked for its script: the loader does not start (Secure Boot \
             takes a signed one only), or its network driver finds no network; look at the machine's console, and try another loader (paths.loaders, a host's or a \
             quirk's `loader`)"
        ),
        Step::ChoseOtherServer { server } => format!("ignored: it took the offer of another DHCP server, {server}"),
        Step::Ignored { reason } | Step::PoolExhausted { reason } => format!("ignored: {reason}"),
    }
}

fn not_its_own(given: Ipv4Addr, own: Ipv4Addr, why: &ReservationUnavailable) -> String {
    let advice = match why {
        ReservationUnavailable::OtherSubnet { .. } => "; is it in the wrong rack, or at the wrong port of a switch?",
        ReservationUnavailable::OtherInterface { .. } => {
            "; give each of its interfaces that runs at once a host of its own"
        }
        ReservationUnavailable::Leased { .. } => " until that lease ends",
    };
    format!("gets {given} and not its own address: {own} {why}{advice}")
}

fn disputed(address: Ipv4Addr, by: Option<MacAddr>) -> String {
    let who = by.map_or_else(
        || "somebody uses it who does not answer us".to_owned(),
        |mac| format!("{mac} uses it"),
    );
    format!(
        "declined its own address {address}: {who}. Take that machine off the address, or give this host another \
         one. It may ask again and again; that is said every {} minutes",
        CONFLICT_LOG_INTERVAL.as_secs() / 60
    )
}

fn second() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::event::Stage;
    use crate::model::{HardwareAddr, MacAddr};
    use std::sync::Arc;

    #[test]
    fn a_flood_gets_its_lines_for_the_second_and_no_more() {
        let budget = Budget::new(3);
        let said = |second| (0..10).filter(|_| budget.has_room(second)).count();
        assert_eq!((said(1), said(1), said(2)), (3, 0, 3));
    }

    #[test]
    fn invented_machines_do_not_pay_from_the_budget_of_listed_ones() {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let event = |machine: &str, hardware: Option<HardwareAddr>| Event {
            machine: machine.to_owned(),
            hardware,
            stage: Stage::Unknown,
            quirks: Vec::new(),
            step: Step::Failed {
                what: String::new(),
                reason: String::new(),
            },
        };
        let is_listed = |event: &Event| std::ptr::eq(Budget::of(event), &raw const LISTED);
        assert!(is_listed(&event("r1u07", Some(mac.into()))));
        assert!(!is_listed(&event("02-00-00-00-00-01", Some(mac.into()))));
        assert!(!is_listed(&event("unknown", None)));
    }

    /// The lines of a log that a call writes.
    fn logged(event: &Event) -> String {
        let log = tempfile::NamedTempFile::new().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(Arc::new(log.reopen().unwrap()))
            .finish();
        tracing::subscriber::with_default(subscriber, || report(event));
        std::fs::read_to_string(log.path()).unwrap()
    }

    #[test]
    fn a_line_names_the_quirks_that_matched_and_nothing_where_none_did() {
        let event = |quirks: &[&str]| Event {
            machine: "r1u07".to_owned(),
            hardware: Some(MacAddr([2, 0, 0, 0, 0, 1]).into()),
            stage: Stage::RaspberryPi,
            quirks: quirks.iter().map(|name| (*name).to_owned()).collect(),
            step: Step::LoaderLoop {
                loader: "snponly.efi".to_owned(),
                times: 3,
            },
        };
        let line = logged(&event(&["raspberry-pi", "ours"]));
        assert!(line.contains("quirks=\"raspberry-pi,ours\""), "{line}");
        assert!(line.contains("WARN") && line.contains("loaded snponly.efi 3 times and never asked for its script"));
        let line = logged(&event(&[]));
        assert!(!line.contains("quirks="), "{line}");
    }
}
