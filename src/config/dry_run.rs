//! The dress rehearsal: every host's script and answers rendered once before anything is served,
//! through the same function that serves them.

use super::{
    causes::{CausesByMachine, Whose},
    cautions::{MachineWarnings, Warnings, knows_names},
    formats,
    hosts::HasBrokenAncestry,
    installs,
    problems::Problems,
    rendered::{self, Flaw},
    validation_protocol::{self, ValidationStep},
};
use crate::boot::{
    machine::{Identity, Who},
    render::TemplateError,
    resource::{LOCAL_SCRIPT, UNKNOWN_SCRIPT},
    scene::{STRANGER, TemplateContext, sample_identity},
    snapshot::{BootSettings, Origin, Snapshot, UnknownPolicy, Var},
};
use crate::model::{Arch, Cpu, Dialect, Firmware, Name};
use std::net::Ipv4Addr;

/// Stands for our own address in texts that are only tried.
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// What failed, and the first value to look at.
type FailureKey = (TemplateError, Origin);

/// Who looks on: what fails, and what is to be warned of.
struct DryRunFindings<'a> {
    failures: CausesByMachine<'a, FailureKey>,
    /// What is wrong with a text, and where.
    flaws: CausesByMachine<'a, (Flaw, Origin)>,
    cautions: Warnings<'a>,
    /// Whether addresses and name servers are ours to give.
    gives_addresses: bool,
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
        gives_addresses,
    };
    let is_settled = |origin: &Origin| !in_cycle.contains(origin);
    for host in snapshot.hosts.iter().filter(|host| is_settled(&host.origin)) {
        let whose = Whose::Host(&host.name);
        machine(snapshot, Who::Host(host), whose, &host.origin, &mut audience);
    }
    for rule in snapshot.rules.iter().filter(|rule| is_settled(&rule.origin)) {
        machine(
            snapshot,
            Who::Rule(rule),
            Whose::MachineOfRule,
            &rule.origin,
            &mut audience,
        );
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

fn machine<'a>(
    snapshot: &'a Snapshot,
    who: Who<'a>,
    whose: Whose<'a>,
    origin: &Origin,
    audience: &mut DryRunFindings<'a>,
) {
    let Some(settings) = who.settings() else {
        return;
    };
    let nothing_to_render = settings.script.is_none() && settings.answer.is_none();
    if nothing_to_render {
        return;
    }
    // What is to be warned of, a first look finds.
    let mut look = Some(MachineWarnings {
        whose,
        knows_names: !audience.gives_addresses
            || knows_names(snapshot, settings, who.host().and_then(|host| host.address)),
        cautions: &mut audience.cautions,
    });
    let mut flaws = Vec::new();
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        let identity = sample_identity(snapshot, who, firmware);
        let forms = forms(snapshot, settings, identity.arch);
        if !can_render(snapshot, settings, &forms) {
            return;
        }
        let look = look.take();
        let rendered = contexts(snapshot, who, &identity, settings).and_then(|contexts| {
            render(
                snapshot,
                (who, settings, whose),
                (&forms, identity.arch),
                &contexts,
                (look, &mut flaws),
            )
        });
        if let Err(error) = rendered {
            // One cause is one diagnostic: only an error without a template needs the host's place.
            let place = match &error.file {
                Some(file) => Origin {
                    file: file.as_str().into(),
                    line: error.line.unwrap_or(1),
                    column: 1,
                },
                None => origin.clone(),
            };
            audience.failures.add((error, place), whose);
            return;
        }
    }
    // Most are reported of both firmwares' texts.
    for (place, flaw) in flaws.iter().enumerate() {
        if !flaws[..place].contains(flaw) {
            audience.flaws.add(flaw.clone(), whose);
        }
    }
}

/// The languages that the machine's loaders ask its script in: iPXE's, which its network card may have,
/// that of the loader it is told to load, and that of firmware which needs none. What is missing has been
/// reported.
fn forms(snapshot: &Snapshot, settings: &BootSettings, arch: Option<Arch>) -> Vec<Dialect> {
    let Some(script) = &settings.script else {
        return Vec::new();
    };
    let named = snapshot.named_loader(Some(settings), arch);
    let named = named.and_then(|loader| snapshot.loaders.dialect_of(loader));
    let cpu = arch.map(|arch| arch.cpu);
    let is_asked = |dialect: &Dialect| match dialect {
        Dialect::Ipxe => !cpu.is_some_and(Cpu::boots_by_pxelinux_alone),
        Dialect::Pxelinux => cpu.is_some_and(Cpu::may_boot_by_pxelinux) || named == Some(*dialect),
        Dialect::Grub => named == Some(*dialect),
    };
    let is_there = |dialect: &Dialect| snapshot.templates.has_script_for(script.value.as_str(), *dialect);
    Dialect::ALL.into_iter().filter(is_asked).filter(is_there).collect()
}

/// Everything the settings name is there and sound.
fn can_render(snapshot: &Snapshot, settings: &BootSettings, forms: &[Dialect]) -> bool {
    let BootSettings {
        image, script, answer, ..
    } = settings;
    let templates = &snapshot.templates;
    let is_sound = |script: &Name| {
        let mut forms = forms.iter();
        templates.has_script(script.as_str()) && forms.all(|form| templates.script_compiles(script.as_str(), *form))
    };
    image
        .as_ref()
        .is_none_or(|image| snapshot.images.contains_key(&image.value))
        && script.as_ref().is_none_or(|script| is_sound(&script.value))
        && answer
            .as_ref()
            .is_none_or(|answer| templates.answer_compiles(answer.value.as_str()))
}

/// What a machine's scripts are rendered with, and its answers where secrets stand in these.
struct Contexts {
    script: TemplateContext,
    answer: Option<TemplateContext>,
}

fn contexts(
    snapshot: &Snapshot,
    who: Who<'_>,
    identity: &Identity,
    settings: &BootSettings,
) -> Result<Contexts, TemplateError> {
    let of_answer = || TemplateContext::of_answer_before_serving(snapshot, who, identity, SERVER);
    Ok(Contexts {
        script: TemplateContext::before_serving(snapshot, who, identity, SERVER)?,
        answer: settings.has_secrets().then(of_answer).transpose()?,
    })
}

/// A secret that a script names, whether or not the machine comes to where it does: anybody may fetch it.
fn refuse_secrets(
    snapshot: &Snapshot,
    settings: &BootSettings,
    (script, form): (&Name, Dialect),
) -> Result<(), TemplateError> {
    let vars = settings.vars.iter();
    let mut secret = vars
        .filter(|(_, var)| matches!(var.value, Var::Secret(_)))
        .map(|(key, _)| key.as_str());
    let found = secret.find_map(|key| snapshot.templates.place_of_var(script.as_str(), form, key));
    found.map_or(Ok(()), Err)
}

/// Renders it all, notes what is wrong with a text, and has the script's first language and the answers
/// looked at.
fn render(
    snapshot: &Snapshot,
    (who, settings, whose): (Who<'_>, &BootSettings, Whose<'_>),
    (forms, arch): (&[Dialect], Option<Arch>),
    Contexts {
        script: context,
        answer: of_answer,
    }: &Contexts,
    (mut look, flaws): (Option<MachineWarnings<'_, '_>>, &mut Vec<(Flaw, Origin)>),
) -> Result<(), TemplateError> {
    let templates = &snapshot.templates;
    let (mut scripts, mut answers) = (Vec::new(), Vec::new());
    if let Some(script) = &settings.script {
        for (place, form) in forms.iter().enumerate() {
            let file = templates.file_of_script(script.value.as_str(), *form);
            announce(file, whose);
            refuse_secrets(snapshot, settings, (&script.value, *form))?;
            let sent = templates.script(&script.value, *form, context)?;
            if let (0, Some(look)) = (place, &mut look) {
                look.at_script(&sent, settings);
            }
            flaws.extend(rendered::script(*form, &sent).map(|flaw| (flaw, beginning(file))));
            let length = rendered::parameters_length(*form, &sent);
            flaws.extend(arch.and_then(|arch| too_long((settings, &script.origin), arch.cpu, length)));
            scripts.push(sent);
        }
    }
    if let Some(answer) = &settings.answer {
        for file in templates.answers.get(&answer.value).into_iter().flatten() {
            let shown = templates.file_of_answer(&answer.value, file);
            announce(shown, whose);
            let sent = templates.answer(&answer.value, file, of_answer.as_ref().unwrap_or(context))?;
            if let Some(look) = &mut look {
                look.at_answer(file, &sent, settings);
            }
            let found = rendered::answer(file, &sent)
                .into_iter()
                .chain(formats::flaws(file, &sent));
            flaws.extend(found.map(|flaw| {
                let source = templates.source_of_answer(&answer.value, file).unwrap_or_default();
                formats::located(flaw, &sent, (shown, &source))
            }));
            answers.push(sent);
        }
    }
    if let Some(host) = who.host() {
        for script in &scripts {
            flaws.extend(installs::flaws(snapshot, host, (script, &answers)));
        }
    }
    Ok(())
}

/// The warning about a kernel's parameters that are longer than it reads, at the longest of the machine's own,
/// and at its script where they are all the image's or the script's.
fn too_long((settings, script): (&BootSettings, &Origin), cpu: Cpu, length: usize) -> Option<(Flaw, Origin)> {
    let max = rendered::parameters_max(cpu);
    if length <= max {
        return None;
    }
    let own = settings.cmdline.iter();
    let longest = own.max_by_key(|parameter| parameter.value.len());
    let place = longest.map_or(script, |parameter| &parameter.origin);
    let flaw = Flaw {
        place: None,
        is_error: false,
        what: format!(
            "the kernel's parameters are longer than the {max} bytes that a kernel for {cpu} reads: the rest is lost"
        )
        .into(),
        help: "shorten them; what is long can be fetched by its URL",
    };
    Some((flaw, place.clone()))
}

/// Says what is rendered next, in case it comes to no end.
fn announce(file: &str, whose: Whose<'_>) {
    validation_protocol::next(|| ValidationStep::Render(file.to_owned(), whose.to_string()));
}

fn beginning(file: &str) -> Origin {
    Origin {
        file: file.into(),
        line: 1,
        column: 1,
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
