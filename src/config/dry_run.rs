//! The dress rehearsal: every host's script and answers rendered once before anything is served, through the same
//! function that serves them; of hosts that are `alike`, those of the first, and of one with other words.

mod machine;

use super::{
    alike::Likeness,
    causes::{CausesByMachine, Whose},
    cautions::Warnings,
    hosts::HasBrokenAncestry,
    problems::Problems,
    rendered::{self, Flaw},
    validation_protocol,
};
use crate::boot::{
    machine::{Identity, Who},
    resource::{LOCAL_SCRIPT, UNKNOWN_SCRIPT},
    scene::{STRANGER, TemplateContext},
    snapshot::{BootSettings, Host, Origin, Snapshot, UnknownPolicy},
};
use crate::model::{Dialect, Name};
use machine::{FailureKey, MachineFindings, SERVER, announce, beginning, machine};
use std::{collections::HashMap, sync::Arc};

/// Who looks on: what fails, and what is to be warned of.
struct DryRunFindings<'a> {
    failures: CausesByMachine<'a, FailureKey>,
    /// What is wrong with a text, and where.
    flaws: CausesByMachine<'a, (Flaw, Origin)>,
    cautions: Warnings<'a>,
}

impl<'a> DryRunFindings<'a> {
    fn add(&mut self, found: &MachineFindings, settings: &BootSettings, whose: Whose<'a>) {
        for caution in &found.cautions {
            self.cautions.add(caution, settings, whose);
        }
        if let Some(failure) = &found.failure {
            self.failures.add(failure.clone(), whose);
        }
        for flaw in &found.flaws {
            self.flaws.add(flaw.clone(), whose);
        }
    }
}

/// What is known of hosts that are alike.
enum OfAlike {
    /// One was tried.
    One(MachineFindings),
    /// So was one with other words, and it came to the same: that is to be said of all of them.
    All(MachineFindings),
    /// What is to be said of them hangs on their words.
    Each,
}

/// What tells loaders and images, with which texts are tried, from any others: what else decides stands in the
/// operator's files.
pub(super) fn outside(snapshot: &Snapshot) -> [u8; 32] {
    let Snapshot { images, loaders, .. } = snapshot;
    validation_protocol::sum(format!("{images:?}{loaders:?}").as_bytes())
}

/// Renders everything for everybody whose own settings are sound: a missing profile, image or
/// template has been reported, and what it leaves out is no second error. `paths` is where to say that
/// the appliance's own scripts are missing, and `None` where no script could be read.
pub(super) fn dry_run(
    snapshot: &Snapshot,
    (in_cycle, gives_addresses): (&HasBrokenAncestry, bool),
    paths: Option<&Origin>,
    problems: &mut Problems,
) {
    let mut audience = DryRunFindings {
        failures: CausesByMachine::default(),
        flaws: CausesByMachine::default(),
        cautions: Warnings::default(),
    };
    let is_settled = |origin: &Origin| in_cycle.is_empty() || !in_cycle.contains(origin);
    let hosts = snapshot.hosts.iter().filter(|host| is_settled(&host.origin));
    try_hosts((snapshot, gives_addresses), hosts, &mut audience);
    for rule in snapshot.rules.iter().filter(|rule| is_settled(&rule.origin)) {
        let whose = Whose::MachineOfRule;
        let found = machine((snapshot, gives_addresses), (Who::Rule(rule), whose), &rule.origin);
        audience.add(&found, &rule.settings, whose);
    }
    if let Some(paths) = paths {
        own_scripts(snapshot, paths, &mut audience, problems);
    }
    audience.cautions.say(problems);
    for ((error, origin), whose) in audience.failures.into_summaries() {
        let message = format_args!("template: {}; rendered for {whose}", error.message);
        problems.template(&error, &origin, message, help(&error.message));
    }
    for ((flaw, origin), whose) in audience.flaws.into_summaries() {
        let message = format_args!("{}; rendered for {whose}", flaw.what);
        match flaw.is_error {
            true => problems.error(&origin, message, flaw.help),
            false => problems.warn(&origin, message, flaw.help),
        }
    }
}

/// Tries hosts: of those that are alike the first, and one with other words. Where both come to the same, so do all the
/// others; else each is tried.
fn try_hosts<'a>(
    (snapshot, gives_addresses): (&'a Snapshot, bool),
    hosts: impl Iterator<Item = &'a Arc<Host>>,
    audience: &mut DryRunFindings<'a>,
) {
    let mut likeness = Likeness::new(snapshot);
    let mut known: HashMap<Vec<u8>, OfAlike> = HashMap::new();
    let try_it = |host: &Arc<Host>| {
        let who = (Who::Host(host), Whose::Host(&host.name));
        machine((snapshot, gives_addresses), who, &host.origin)
    };
    for host in hosts {
        let (settings, whose) = (&host.settings, Whose::Host(&host.name));
        let Some(pattern) = likeness.pattern_of(host) else {
            audience.add(&try_it(host), settings, whose);
            continue;
        };
        let Some(of_alike) = known.get_mut(pattern) else {
            let pattern = pattern.to_vec();
            let found = try_it(host);
            audience.add(&found, settings, whose);
            let of_alike = match found.may_be_anothers() {
                true => OfAlike::One(found),
                false => OfAlike::Each,
            };
            known.insert(pattern, of_alike);
            continue;
        };
        if let OfAlike::One(found) = of_alike {
            let other = likeness.with_other_words(host).map(Arc::new);
            let is_same = other.is_some_and(|other| try_it(&other) == *found);
            *of_alike = match is_same {
                true => OfAlike::All(std::mem::take(found)),
                false => OfAlike::Each,
            };
        }
        match of_alike {
            OfAlike::All(found) => audience.add(found, settings, whose),
            OfAlike::One(_) | OfAlike::Each => audience.add(&try_it(host), settings, whose),
        }
    }
}

/// What to add. `image` and `answer` are not among the `vars`, where people would look first.
fn help(message: &str) -> &'static str {
    if message.contains("is a secret") {
        "put it into the answer of a host that installs: anybody may fetch a script, and other answers are fetched at \
         every boot"
    } else if message.contains(" can't ") {
        "change that value in the inventory, or the template; ipxe-scripts/README.md says what no value may have"
    } else if message.contains("`live") {
        "our live system is not there: `make deployer` makes it as the image bootwright-live; one of another name is \
         named by `live` under [images]"
    } else if message.contains("`order") {
        "it writes to a disk, so it is handed out once and to a listed host: set boot = \"install\""
    } else if message.contains("`image") {
        "give the machine or its profile an `image` that has it, or correct the template"
    } else if message.contains("`answer") {
        "give the machine or its profile an `answer`, or correct the template"
    } else {
        "give the machine or its profile what the template asks for, or correct the template"
    }
}

/// The scripts that no inventory names: of a machine that boots its disk, and of a stranger.
fn own_scripts(snapshot: &Snapshot, paths: &Origin, audience: &mut DryRunFindings<'_>, problems: &mut Problems) {
    let wanted = [
        (LOCAL_SCRIPT, true),
        (UNKNOWN_SCRIPT, snapshot.unknown == UnknownPolicy::Discover),
    ];
    for (named, is_needed) in wanted {
        let Ok(name) = named.parse::<Name>() else {
            continue;
        };
        if is_needed && !snapshot.templates.has_script_for(named, Dialect::Ipxe) {
            let message = format_args!("there is no script `{named}`, which the appliance itself needs");
            problems.error(
                paths,
                message,
                format_args!("put the shipped {named}.ipxe into the folder of scripts"),
            );
        } else if is_needed {
            own_script(snapshot, &name, paths, audience);
        }
    }
}

/// One of them, in every language it is written in.
fn own_script(snapshot: &Snapshot, name: &Name, paths: &Origin, audience: &mut DryRunFindings<'_>) {
    let identity = Identity {
        mac: Some(STRANGER),
        ..Identity::default()
    };
    let is_sound = |form: &Dialect| snapshot.templates.script_compiles(name.as_str(), *form);
    for form in Dialect::ALL.into_iter().filter(is_sound) {
        let file = snapshot.templates.file_of_script(name.as_str(), form);
        announce(file, Whose::Unknown);
        let rendered = TemplateContext::before_serving(snapshot, Who::Unknown, &identity, SERVER)
            .and_then(|context| snapshot.templates.script(name, form, &context));
        match rendered {
            Ok(sent) => {
                let place = beginning(file);
                if let Some(flaw) = rendered::script(form, &sent) {
                    audience.flaws.add((flaw, place), Whose::Unknown);
                }
            }
            Err(error) => audience.failures.add((error, paths.clone()), Whose::Unknown),
        }
    }
}
