//! Which attempt an event belongs to, which are in memory, and which are dropped.
//!
//! In memory are those of machines that were heard lately; the others are on disk, and read from there when their
//! machine is heard again. Unlisted machines have a share of their own: whoever invents them takes nothing from the
//! hosts.

use super::timeline::{Attempt, AttemptHead, AttemptId, AttemptOwner};
use crate::boot::event::{Event, InstallEvent, MachineKey, Step};
use crate::model::{
    InstallNews, Now,
    limits::{
        ATTEMPT_OPEN_MAX, ATTEMPT_SILENCE, ATTEMPT_TTL, ATTEMPTS_DROPPED_MAX, ATTEMPTS_KEPT_MAX,
        ATTEMPTS_PER_COMMIT_MAX, ATTEMPTS_PER_MACHINE_MAX, ATTEMPTS_UNLISTED_MAX,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

/// Reads an attempt that is on disk.
pub type Load<'l> = &'l mut dyn FnMut(AttemptId) -> Option<Attempt>;

/// What is not on disk yet.
#[derive(Debug, Default)]
pub struct Unwritten {
    /// To be written, in the order of their numbers.
    pub changed: Vec<Attempt>,
    /// To be removed.
    pub dropped: Vec<AttemptId>,
}

/// Every attempt that is kept.
#[derive(Debug, Default)]
pub struct Attempts {
    /// Those in memory: what changed since it was written, and the last of each machine that was heard lately.
    memory: BTreeMap<AttemptId, Attempt>,
    /// Hosts' attempts in their order, and whose each is.
    of_hosts: BTreeMap<AttemptId, AttemptOwner>,
    /// Unlisted machines' attempts, the same.
    of_unlisted: BTreeMap<AttemptId, AttemptOwner>,
    /// Each machine's attempts in their order.
    by_owner: HashMap<AttemptOwner, BTreeSet<AttemptId>>,
    /// Those in memory that changed since they were written.
    changed: BTreeSet<AttemptId>,
    /// Those to be removed from disk.
    dropped: Vec<AttemptId>,
}

/// Whose an event is; `None` where too little is known of its machine to find it again.
fn owner(event: &Event) -> Option<AttemptOwner> {
    // What a person or the time decides is of no power-on.
    if matches!(
        &event.step,
        Step::Install(InstallEvent {
            news: InstallNews::Armed | InstallNews::Disarmed | InstallNews::Expired,
            ..
        })
    ) {
        return None;
    }
    match &event.machine.key {
        MachineKey::Host(name) => Some(AttemptOwner::Host(name.clone())),
        MachineKey::Hardware(hardware) => hardware.mac().map(AttemptOwner::Mac),
        MachineKey::Address(_) | MachineKey::Unknown => None,
    }
}

impl Attempts {
    /// Takes one from disk back, as the process starts: `whole` only if its machine was heard just now, for there may
    /// be very many.
    pub fn restore(&mut self, now: Now, head: &AttemptHead, whole: impl FnOnce() -> Option<Attempt>) {
        self.file(head.id, &head.owner);
        if head.silence(now) < ATTEMPT_SILENCE
            && let Some(mut attempt) = whole()
        {
            attempt.resume(now);
            self.memory.insert(attempt.id, attempt);
        }
        self.bound(&head.owner);
    }

    /// Takes an event in, which happened while `generation` was in force.
    pub fn observe(&mut self, event: &Event, generation: u64, load: Load<'_>) {
        let Some(owner) = owner(event) else { return };
        let is_in_boot = event.stage.is_in_boot();
        let latest = self.latest(&owner);
        // Whoever is in its boot and not in memory was silent for long, and begins anew.
        if let Some(id) = latest.filter(|id| !is_in_boot && !self.memory.contains_key(id)) {
            self.recall(id, event.at, load);
        }
        match latest.and_then(|id| self.memory.get_mut(&id)) {
            Some(attempt) if !attempt.is_over_at(event) => {
                attempt.observe(event);
                self.changed.insert(attempt.id);
            }
            Some(_) | None if is_in_boot => self.begin(owner, generation, event),
            // A running system is no boot.
            Some(_) | None => {}
        }
    }

    /// Has an attempt in memory again whose system may be heard now.
    fn recall(&mut self, id: AttemptId, now: Now, load: Load<'_>) {
        if age(now, id) <= ATTEMPT_OPEN_MAX
            && let Some(mut attempt) = load(id)
        {
            attempt.resume(now);
            self.memory.insert(id, attempt);
        }
    }

    fn begin(&mut self, owner: AttemptOwner, generation: u64, event: &Event) {
        let last = [&self.of_hosts, &self.of_unlisted].map(|class| class.last_key_value().map(|(id, _)| *id));
        let last = last.into_iter().flatten().max();
        let next_free = last.map_or(0, |last| last.0.saturating_add(1));
        let id = AttemptId(event.at.wall.0.saturating_mul(1000).max(next_free));
        self.file(id, &owner);
        self.memory
            .insert(id, Attempt::begin(id, owner.clone(), generation, event));
        self.changed.insert(id);
        self.bound(&owner);
    }

    fn file(&mut self, id: AttemptId, owner: &AttemptOwner) {
        let class = match owner {
            AttemptOwner::Host(_) => &mut self.of_hosts,
            AttemptOwner::Mac(_) => &mut self.of_unlisted,
        };
        // One name for all attempts of a machine.
        let known = self.by_owner.get_key_value(owner);
        let owner = known.map_or(owner, |(owner, _)| owner).clone();
        class.insert(id, owner.clone());
        self.by_owner.entry(owner).or_default().insert(id);
    }

    /// Drops the oldest where there are too many: those of the machine that the last one is of, so that one that is
    /// started again and again takes nothing from the others, and then those of all.
    fn bound(&mut self, owner: &AttemptOwner) {
        let of_machine = self.by_owner.get(owner).map_or(0, BTreeSet::len);
        for _ in ATTEMPTS_PER_MACHINE_MAX..of_machine {
            let oldest = self.by_owner.get(owner).and_then(|ids| ids.first().copied());
            if let Some(id) = oldest {
                self.of_hosts.remove(&id);
                self.of_unlisted.remove(&id);
                self.forget(id, owner);
            }
        }
        self.drop_oldest(|_, is_too_many| is_too_many);
    }

    /// Drops of each class the oldest, one by one, while `is_due` says so of it and of whether there are too many.
    fn drop_oldest(&mut self, is_due: impl Fn(AttemptId, bool) -> bool) {
        let classes = [
            (&mut self.of_hosts, ATTEMPTS_KEPT_MAX),
            (&mut self.of_unlisted, ATTEMPTS_UNLISTED_MAX),
        ];
        let mut due = Vec::new();
        for (class, max) in classes {
            let is_oldest_due = |class: &BTreeMap<AttemptId, AttemptOwner>| {
                let oldest = class.first_key_value();
                oldest.is_some_and(|(id, _)| is_due(*id, class.len() > max))
            };
            while is_oldest_due(class) {
                due.extend(class.pop_first());
            }
        }
        for (id, owner) in due {
            self.forget(id, &owner);
        }
    }

    fn forget(&mut self, id: AttemptId, owner: &AttemptOwner) {
        self.memory.remove(&id);
        self.changed.remove(&id);
        // Of those that a disk takes away no more, the next start drops what is too much once more.
        if self.dropped.len() < ATTEMPTS_DROPPED_MAX {
            self.dropped.push(id);
        }
        if let Some(ids) = self.by_owner.get_mut(owner) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_owner.remove(owner);
            }
        }
    }

    /// Drops those that are older than [`ATTEMPT_TTL`], and has those in memory no more that rest.
    pub fn tidy(&mut self, now: Now) {
        self.drop_oldest(|id, _| age(now, id) > ATTEMPT_TTL);
        let (changed, by_owner) = (&self.changed, &self.by_owner);
        self.memory.retain(|id, attempt| {
            let is_latest = || by_owner.get(&attempt.owner).and_then(|ids| ids.last()) == Some(id);
            changed.contains(id) || (attempt.rest(now) < ATTEMPT_SILENCE && is_latest())
        });
    }

    /// What is not on disk yet, at most [`ATTEMPTS_PER_COMMIT_MAX`]; whoever takes it writes it, or gives it back
    /// ([`Attempts::not_written`]).
    pub fn take_unwritten(&mut self) -> Unwritten {
        let mut unwritten = Unwritten::default();
        while unwritten.changed.len() < ATTEMPTS_PER_COMMIT_MAX
            && let Some(id) = self.changed.pop_first()
        {
            unwritten.changed.extend(self.memory.get(&id).cloned());
        }
        let count = self.dropped.len().min(ATTEMPTS_PER_COMMIT_MAX);
        unwritten.dropped.extend(self.dropped.drain(..count));
        unwritten
    }

    /// Takes back what could not be written.
    pub fn not_written(&mut self, unwritten: Unwritten) {
        for attempt in unwritten.changed {
            let is_kept = self.of_hosts.contains_key(&attempt.id) || self.of_unlisted.contains_key(&attempt.id);
            if is_kept {
                self.changed.insert(attempt.id);
                self.memory.entry(attempt.id).or_insert(attempt);
            }
        }
        self.dropped.extend(unwritten.dropped);
        self.dropped.truncate(ATTEMPTS_DROPPED_MAX);
    }

    /// The last attempt of a machine.
    pub fn latest(&self, owner: &AttemptOwner) -> Option<AttemptId> {
        self.by_owner.get(owner)?.last().copied()
    }

    /// Every attempt of a machine, the latest first.
    pub fn of(&self, owner: &AttemptOwner) -> Vec<AttemptId> {
        let ids = self.by_owner.get(owner);
        ids.into_iter().flatten().rev().copied().collect()
    }

    /// The last attempt of every machine, the latest first.
    pub fn latest_of_all(&self) -> Vec<AttemptId> {
        let mut latest: Vec<AttemptId> = self.by_owner.values().filter_map(|ids| ids.last().copied()).collect();
        latest.sort_unstable_by(|one, other| other.cmp(one));
        latest
    }

    /// The machines whose running system may still be heard of its last attempt.
    pub fn followed(&self, now: Now) -> impl Iterator<Item = &AttemptOwner> {
        let last = self
            .by_owner
            .iter()
            .filter_map(|(owner, ids)| Some((owner, ids.last()?)));
        last.filter(move |(_, id)| age(now, **id) <= ATTEMPT_OPEN_MAX)
            .map(|(owner, _)| owner)
    }

    /// One that is in memory; the others are on disk.
    pub fn in_memory(&self, id: AttemptId) -> Option<&Attempt> {
        self.memory.get(&id)
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.of_hosts.len() + self.of_unlisted.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How long ago an attempt began.
fn age(now: Now, id: AttemptId) -> Duration {
    Duration::from_millis(now.wall.0.saturating_mul(1000).saturating_sub(id.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::{
        Progress,
        events::{acknowledged, at, event, logged, mac, offered, sent_artifact, sent_script, unlisted},
    };
    use crate::boot::event::{Machine, Stage};
    use crate::model::WallTime;

    fn host() -> AttemptOwner {
        AttemptOwner::Host("r1u07".parse().unwrap())
    }

    /// None is on disk.
    fn observe(attempts: &mut Attempts, event: &Event) {
        attempts.observe(event, 3, &mut |_| None);
    }

    fn write(attempts: &mut Attempts) -> Vec<Attempt> {
        let Unwritten { changed, dropped } = attempts.take_unwritten();
        assert_eq!(dropped, []);
        changed
    }

    #[test]
    fn each_machine_has_its_own_and_the_next_power_on_is_another() {
        let mut attempts = Attempts::default();
        observe(&mut attempts, &offered(at(100), Stage::UefiPxe));
        observe(&mut attempts, &unlisted(9, offered(at(100), Stage::UefiPxe)));
        observe(&mut attempts, &sent_script(at(110)));
        observe(&mut attempts, &offered(at(120), Stage::UefiPxe));
        assert_eq!(attempts.of(&host()).len(), 2);
        assert_eq!(attempts.of(&AttemptOwner::Mac(mac(9))).len(), 1);
        let written = write(&mut attempts);
        let came: Vec<Progress> = written.iter().map(|attempt| attempt.progress).collect();
        assert_eq!(came, [Progress::Script, Progress::Offered, Progress::Offered]);
        assert!(written.iter().all(|attempt| attempt.generation == 3));
        assert_eq!(write(&mut attempts), []);
    }

    #[test]
    fn a_running_system_begins_none_and_nothing_is_kept_of_whom_nothing_is_known() {
        let mut attempts = Attempts::default();
        observe(&mut attempts, &acknowledged(at(100), Stage::System));
        let mut unknown = offered(at(100), Stage::UefiPxe);
        for key in [MachineKey::Unknown, MachineKey::Address([192, 0, 2, 9].into())] {
            unknown.machine = Machine {
                key,
                ..Machine::default()
            };
            observe(&mut attempts, &unknown);
        }
        assert!(attempts.is_empty());
    }

    #[test]
    fn lines_join_the_boot_of_their_machine_and_begin_none() {
        let mut attempts = Attempts::default();
        observe(&mut attempts, &logged(at(100), &["hello"]));
        assert!(attempts.is_empty());
        observe(&mut attempts, &offered(at(100), Stage::UefiPxe));
        observe(&mut attempts, &logged(at(105), &["hello"]));
        observe(&mut attempts, &unlisted(9, logged(at(105), &["of no boot"])));
        let [id] = attempts.of(&host())[..] else { panic!("one") };
        let lines = &attempts.in_memory(id).unwrap().log.lines;
        assert_eq!((lines.len(), lines[0].at_ms, &*lines[0].line.text), (1, 5000, "hello"));
        assert_eq!(attempts.len(), 1);
        // One that logs on stays in memory: no line reads it from disk.
        write(&mut attempts);
        let later = 105 + ATTEMPT_SILENCE.as_secs() - 1;
        attempts.tidy(at(later));
        assert!(attempts.in_memory(id).is_some());
        attempts.tidy(at(later + 1));
        assert!(attempts.in_memory(id).is_none());
    }

    #[test]
    fn whoever_rests_is_on_disk_alone_and_its_system_is_heard_again() {
        let mut attempts = Attempts::default();
        observe(&mut attempts, &offered(at(100), Stage::UefiPxe));
        let [on_disk] = <[Attempt; 1]>::try_from(write(&mut attempts)).unwrap();
        let later = at(101 + ATTEMPT_SILENCE.as_secs());
        attempts.tidy(at(101));
        assert!(attempts.in_memory(on_disk.id).is_some());
        attempts.tidy(later);
        assert!(attempts.in_memory(on_disk.id).is_none());
        let system = event(later, Stage::System, Step::NoIpv6Router);
        attempts.observe(&system, 4, &mut |id| (id == on_disk.id).then(|| on_disk.clone()));
        let [goes_on] = <[Attempt; 1]>::try_from(write(&mut attempts)).unwrap();
        assert_eq!(
            (goes_on.id, goes_on.generation, goes_on.steps.len()),
            (on_disk.id, 3, 2)
        );
        // A day later it is nothing of that power-on any more.
        attempts.tidy(later.after(ATTEMPT_SILENCE));
        let much_later = event(later.after(ATTEMPT_OPEN_MAX), Stage::System, Step::NoIpv6Router);
        attempts.observe(&much_later, 4, &mut |_| panic!("it is too old to be looked at"));
        assert_eq!(write(&mut attempts), []);
    }

    #[test]
    fn a_restart_in_the_middle_of_a_boot_goes_on_with_it() {
        let mut before = Attempts::default();
        observe(&mut before, &offered(at(100), Stage::UefiPxe));
        observe(&mut before, &sent_script(at(110)));
        let [on_disk] = <[Attempt; 1]>::try_from(write(&mut before)).unwrap();
        let mut after = Attempts::default();
        let start = Now {
            monotonic: Duration::ZERO,
            wall: at(115).wall,
        };
        after.restore(start, &on_disk.head(), || Some(on_disk.clone()));
        let long_ago = AttemptHead {
            began: WallTime(on_disk.began.0 - ATTEMPT_SILENCE.as_secs()),
            ..on_disk.head()
        };
        Attempts::default().restore(start, &long_ago, || panic!("it rests on disk"));
        // Nor are all attempts read into memory where the host's clock began anew.
        let clock_without_battery = Now {
            wall: WallTime(1_500_000_000),
            ..start
        };
        let mut early = Attempts::default();
        early.restore(clock_without_battery, &on_disk.head(), || panic!("it rests on disk"));
        assert_eq!(early.of(&host()), [on_disk.id]);
        let later = start.after(Duration::from_secs(5));
        observe(&mut after, &sent_artifact(later, "linux", 10));
        let [goes_on] = <[Attempt; 1]>::try_from(write(&mut after)).unwrap();
        assert_eq!((goes_on.id, goes_on.progress), (on_disk.id, Progress::Artifacts));
        assert_eq!(goes_on.last_ms, 20_000);
        // A clock that is behind gives no number twice.
        let early = Now {
            monotonic: Duration::from_secs(9),
            wall: at(50).wall,
        };
        observe(&mut after, &unlisted(9, offered(early, Stage::UefiPxe)));
        assert_eq!(write(&mut after)[0].id, AttemptId(on_disk.id.0 + 1));
    }

    #[test]
    fn invented_machines_take_nothing_from_the_hosts() {
        let mut attempts = Attempts::default();
        observe(&mut attempts, &offered(at(100), Stage::UefiPxe));
        let invented = u32::try_from(ATTEMPTS_UNLISTED_MAX + 5).unwrap();
        for number in 0..invented {
            observe(
                &mut attempts,
                &unlisted(1000 + number, offered(at(101), Stage::UefiPxe)),
            );
        }
        assert_eq!(attempts.len(), ATTEMPTS_UNLISTED_MAX + 1);
        assert_eq!(attempts.of(&host()).len(), 1);
        let mut dropped = Vec::new();
        let mut changed = 0;
        loop {
            let unwritten = attempts.take_unwritten();
            if unwritten.changed.is_empty() && unwritten.dropped.is_empty() {
                break;
            }
            assert!(unwritten.changed.len() <= ATTEMPTS_PER_COMMIT_MAX);
            changed += unwritten.changed.len();
            dropped.extend(unwritten.dropped);
        }
        assert_eq!((changed, dropped.len()), (ATTEMPTS_UNLISTED_MAX + 1, 5));
    }

    #[test]
    fn a_machine_that_is_started_again_and_again_takes_nothing_from_the_others_and_a_dead_disk_no_memory() {
        let mut attempts = Attempts::default();
        observe(&mut attempts, &unlisted(1, offered(at(100), Stage::UefiPxe)));
        let starts = u64::try_from(ATTEMPTS_PER_MACHINE_MAX + ATTEMPTS_DROPPED_MAX + 7).unwrap();
        let began = |start: u64| at(100 + start * ATTEMPT_SILENCE.as_secs());
        for start in 0..starts {
            observe(&mut attempts, &offered(began(start), Stage::UefiPxe));
        }
        let kept = attempts.of(&host());
        assert_eq!(kept.len(), ATTEMPTS_PER_MACHINE_MAX);
        assert_eq!(kept[0].0, began(starts - 1).wall.0 * 1000);
        assert_eq!(attempts.of(&AttemptOwner::Mac(mac(1))).len(), 1);
        assert_eq!(attempts.dropped.len(), ATTEMPTS_DROPPED_MAX);
        let unwritten = attempts.take_unwritten();
        observe(&mut attempts, &offered(began(starts), Stage::UefiPxe));
        attempts.not_written(unwritten);
        assert_eq!(attempts.dropped.len(), ATTEMPTS_DROPPED_MAX);
    }

    #[test]
    fn the_old_ones_go_and_what_was_not_written_is_written_later() {
        let mut attempts = Attempts::default();
        observe(&mut attempts, &offered(at(100), Stage::UefiPxe));
        let unwritten = attempts.take_unwritten();
        let id = unwritten.changed[0].id;
        attempts.not_written(unwritten);
        assert_eq!(write(&mut attempts)[0].id, id);
        attempts.tidy(at(101).after(ATTEMPT_TTL));
        assert!(attempts.is_empty() && attempts.latest(&host()).is_none());
        assert_eq!(attempts.take_unwritten().dropped, [id]);
    }
}
