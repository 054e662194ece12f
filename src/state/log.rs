//! One log line per step of a machine's boot: a sentence, and beside it the same as fields.

use super::Clock;
use crate::boot::event::{BootAction, Event, MachineKey, Reason, Step};
use crate::model::InstallNews;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tracing::{Level, debug, info, warn};

/// How many lines one second may have before the rest waits for `debug`: a flood must not fill the
/// disk, nor drown the lines of other machines.
#[derive(Debug)]
struct Budget {
    lines_per_second_max: u64,
    second: AtomicU64,
    lines: AtomicU64,
}

/// What each kind of line is paid from.
#[derive(Debug)]
pub(super) struct Budgets {
    /// Packets that got no answer.
    ignored: Budget,
    /// Unlisted machines: their names cost nothing to invent.
    unlisted: Budget,
    /// Listed machines; a thousand that boot at once say less than this.
    listed: Budget,
}

impl Default for Budgets {
    fn default() -> Self {
        Budgets {
            ignored: Budget::new(20),
            unlisted: Budget::new(200),
            listed: Budget::new(2000),
        }
    }
}

impl Budgets {
    /// The one that a line about this event is paid from.
    fn of(&self, event: &Event) -> &Budget {
        match (&event.step, &event.machine.key) {
            (Step::Ignored { .. } | Step::PoolExhausted { .. } | Step::ChoseOtherServer { .. }, _) => &self.ignored,
            (_, MachineKey::Host(_)) => &self.listed,
            (_, MachineKey::Hardware(_) | MachineKey::Address(_) | MachineKey::Unknown) => &self.unlisted,
        }
    }
}

impl Budget {
    const fn new(lines_per_second_max: u64) -> Budget {
        Budget {
            lines_per_second_max,
            second: AtomicU64::new(0),
            lines: AtomicU64::new(0),
        }
    }

    /// Whether this second has room for one more line. Two threads at the turn of a second may both
    /// reset the count: a few lines more, never a line lost for good.
    fn has_room(&self, second: u64) -> bool {
        if self.second.fetch_max(second, Ordering::Relaxed) < second {
            let lines = self.lines.swap(0, Ordering::Relaxed);
            let left_out = lines.saturating_sub(self.lines_per_second_max);
            if left_out > 0 {
                warn!("{left_out} lines like the last ones were left out in one second; level debug has them");
            }
        }
        self.lines.fetch_add(1, Ordering::Relaxed) < self.lines_per_second_max
    }
}

/// What is logged now and then, however often it happens.
#[derive(Debug, Default)]
pub struct LogThrottle {
    due_s: AtomicU64,
}

impl LogThrottle {
    /// Whether it is time to say it, `every` so often; the next time is that much later. Two threads
    /// in the same instant may both say it.
    pub fn is_due(&self, clock: &Clock, every: Duration) -> bool {
        let now_s = clock.monotonic().as_secs();
        let is_due = now_s >= self.due_s.load(Ordering::Relaxed);
        if is_due {
            self.due_s.store(now_s + every.as_secs(), Ordering::Relaxed);
        }
        is_due
    }
}

/// Logs what happened, in one line with target `boot`. What was logged before and goes on is for who looks at
/// everything.
pub(super) fn log(event: &Event, is_repeated: bool, budgets: &Budgets) {
    macro_rules! say {
        ($level:ident) => {
            $level!(
                target: "boot",
                event = event.step.name(),
                machine = event.machine.key.to_string().as_str(),
                mac = mac(event).as_str(),
                stage = %event.stage,
                reason = event.step.reason().map(|reason| reason.code().name()),
                address = event.step.address().map(display),
                boot = event.step.boot().map(BootAction::name),
                file = file(&event.step).as_deref(),
                bytes = event.step.bytes(),
                by = by(&event.step).as_deref(),
                port = event.step.reason().and_then(Reason::seen_port).map(display),
                fault = event.step.reason().and_then(Reason::fault),
                relay = event.machine.relay.map(display),
                uuid = event.machine.uuid.map(display),
                quirks = quirks(event).as_deref(),
                "{}",
                event.step,
            )
        };
    }
    match level(&event.step) {
        _ if is_repeated => say!(debug),
        Level::DEBUG => say!(debug),
        _ if !budgets.of(event).has_room(event.at.monotonic.as_secs()) => say!(debug),
        Level::WARN => say!(warn),
        _ => say!(info),
    }
}

/// What is asked for, or the boot file that the machine is told.
fn file(step: &Step) -> Option<String> {
    let told = || Some(step.boot()?.file()?.text());
    step.file().map(|file| file.short().to_string()).or_else(told)
}

/// Who or what brought it about, where that is known: a machine's MAC, or what ended a wait.
fn by(step: &Step) -> Option<String> {
    match (step, step.reason()) {
        (_, Some(Reason::WaitEnded { by, .. })) => Some(by.name().to_owned()),
        (Step::Install(event), _) => Some(event.who.to_string()),
        _ => step.by().map(|mac| mac.to_string()),
    }
}

fn mac(event: &Event) -> String {
    event
        .machine
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
        Step::OptionalMissing { .. }
        | Step::Waits { .. }
        | Step::ComeBack { .. }
        | Step::SizeAsked { .. }
        | Step::StartedOver { .. }
        | Step::Evicted { .. }
        | Step::Logged(_)
        | Step::TurnedAway { .. } => Level::DEBUG,
        Step::Offered { .. }
        | Step::ProxyOffered { .. }
        | Step::Acknowledged { .. }
        | Step::Released { .. }
        | Step::NoIpv6Router
        | Step::Sent { .. }
        | Step::PoolExhausted { .. }
        | Step::ChoseOtherServer { .. }
        | Step::Ignored { .. } => Level::INFO,
        Step::Install(event) => match event.news {
            InstallNews::Armed
            | InstallNews::Disarmed
            | InstallNews::Begun
            | InstallNews::Started
            | InstallNews::Done => Level::INFO,
            InstallNews::Progressed => Level::DEBUG,
            InstallNews::Expired | InstallNews::Failed => Level::WARN,
        },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::event::{FilePart, Machine, Reason, RequestedFile, Stage};
    use crate::model::{HardwareAddr, MacAddr, Now, WallTime};
    use std::{collections::BTreeMap, sync::Arc};

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn event(key: MachineKey, hardware: Option<HardwareAddr>, step: Step) -> Event {
        Event {
            at: Now {
                monotonic: Duration::from_secs(1),
                wall: WallTime(1_700_000_000),
            },
            machine: Machine {
                key,
                hardware,
                uuid: None,
                relay: None,
            },
            stage: Stage::Unknown,
            quirks: Arc::default(),
            step,
        }
    }

    fn host() -> MachineKey {
        MachineKey::Host("r1u07".parse().unwrap())
    }

    #[test]
    fn a_flood_gets_its_lines_for_the_second_and_no_more() {
        let budget = Budget::new(3);
        let logged = |second| (0..10).filter(|_| budget.has_room(second)).count();
        assert_eq!((logged(1), logged(1), logged(2)), (3, 0, 3));
        assert_eq!(logged(1), 0, "one that comes late gives nobody anew");
    }

    #[test]
    fn invented_machines_do_not_pay_from_the_budget_of_listed_ones() {
        let budgets = Budgets::default();
        let is_listed = |key| {
            let event = event(key, Some(MAC.into()), Step::NoIpv6Router);
            std::ptr::eq(budgets.of(&event), &raw const budgets.listed)
        };
        assert!(is_listed(host()));
        assert!(!is_listed(MachineKey::Hardware(MAC.into())));
        assert!(!is_listed(MachineKey::Unknown));
    }

    /// The fields of an event's line.
    fn logged(event: &Event) -> BTreeMap<String, serde_json::Value> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(Arc::new(file.reopen().unwrap()))
            .finish();
        let budgets = Budgets::default();
        tracing::subscriber::with_default(subscriber, || log(event, false, &budgets));
        let line = std::fs::read_to_string(file.path()).unwrap();
        let all: BTreeMap<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
        let is_ours = |name: &String| !matches!(name.as_str(), "timestamp" | "target" | "message");
        all.into_iter().filter(|(name, _)| is_ours(name)).collect()
    }

    fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, serde_json::Value> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).into());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_line_names_the_quirks_that_matched_and_nothing_where_none_did() {
        let loops = Step::LoaderLoop {
            loader: "snponly.efi".into(),
            times: 3,
        };
        let mut event = event(host(), Some(MAC.into()), loops);
        let plain = fields(&[
            ("event", "loader_loop"),
            ("level", "WARN"),
            ("mac", "02:00:00:00:00:01"),
            ("machine", "r1u07"),
            ("stage", "-"),
        ]);
        assert_eq!(logged(&event), plain);
        event.quirks = ["raspberry-pi".into(), "ours".into()].into();
        assert_eq!(logged(&event)["quirks"], "raspberry-pi,ours");
    }

    #[test]
    fn a_line_says_as_fields_what_its_sentence_says() {
        let file = RequestedFile::Artifact {
            image: "debian-12".into(),
            file: "initrd.gz".into(),
        };
        let part = Some(FilePart {
            start: 0,
            end: 100,
            of: 700,
        });
        let reason = Reason::ConnectionEnded { had: 1, length: 2 };
        let failed = Step::Failed {
            file: file.clone(),
            part,
            reason,
        };
        assert_eq!(
            failed.to_string(),
            "failed image debian-12/initrd.gz (bytes 0-99 of 700): the connection ended when 1 of 2 bytes had been sent"
        );
        let mut asked = event(host(), None, failed);
        asked.machine.relay = Some("198.51.100.1".parse().unwrap());
        asked.machine.uuid = Some("00112233-4455-6677-8899-aabbccddeeff".parse().unwrap());
        let expected = fields(&[
            ("event", "failed"),
            ("file", "image debian-12/initrd.gz"),
            ("level", "WARN"),
            ("mac", "-"),
            ("machine", "r1u07"),
            ("reason", "connection_ended"),
            ("relay", "198.51.100.1"),
            ("stage", "-"),
            ("uuid", "00112233-4455-6677-8899-aabbccddeeff"),
        ]);
        assert_eq!(logged(&asked), expected);
        let sent = Step::Sent { file, part, bytes: 100 };
        assert_eq!(logged(&event(host(), None, sent))["bytes"], 100);
        let released = Step::Released {
            address: "192.0.2.7".parse().unwrap(),
        };
        assert_eq!(logged(&event(host(), None, released))["address"], "192.0.2.7");
    }
}
