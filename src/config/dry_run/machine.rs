//! What one machine is sent, tried: everything that its loaders and its installer may ask for.

use crate::boot::{
    machine::{Identity, Who},
    render::TemplateError,
    scene::{TemplateContext, sample_identity},
    snapshot::{BootSettings, Origin, Snapshot, Var},
};
use crate::config::{
    causes::Whose,
    cautions::{Caution, MachineWarnings, knows_names},
    formats, installs,
    rendered::{self, Flaw},
    validation_protocol::{self, ValidationStep},
};
use crate::model::{Arch, Cpu, Dialect, Firmware, Name, limits::TEMPLATE_OUTPUT_BYTES_MAX};
use std::net::Ipv4Addr;

/// Stands for our own address in texts that are only tried.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// What failed, and the first value to look at.
pub(super) type FailureKey = (TemplateError, Origin);

/// What was found of one machine.
#[derive(Default, PartialEq, Eq)]
pub(super) struct MachineFindings {
    pub(super) failure: Option<FailureKey>,
    pub(super) flaws: Vec<(Flaw, Origin)>,
    pub(super) cautions: Vec<Caution>,
    /// Some of it stands at this machine's own settings, or hangs on how long its words are.
    is_own: bool,
}

impl MachineFindings {
    /// Whether the same may be said of another machine.
    pub(super) fn may_be_anothers(&self) -> bool {
        let is_of_template = |(error, _): &FailureKey| error.file.is_some();
        !self.is_own && self.failure.as_ref().is_none_or(is_of_template)
    }

    fn add_own(&mut self, flaws: impl IntoIterator<Item = (Flaw, Origin)>) {
        let known = self.flaws.len();
        self.flaws.extend(flaws);
        self.is_own |= self.flaws.len() > known;
    }

    fn note_length(&mut self, length: usize, max: usize) {
        self.is_own |= length > max / 2;
    }
}

/// Tries what it is sent with either firmware.
pub(super) fn machine(
    (snapshot, gives_addresses): (&Snapshot, bool),
    (who, whose): (Who<'_>, Whose<'_>),
    origin: &Origin,
) -> MachineFindings {
    let mut findings = MachineFindings::default();
    let Some(settings) = who.settings() else {
        return findings;
    };
    let nothing_to_render = settings.script.is_none() && settings.answer.is_none();
    if nothing_to_render {
        return findings;
    }
    let mut warnings = MachineWarnings {
        knows_names: !gives_addresses || knows_names(snapshot, settings, who.host().and_then(|host| host.address)),
        cautions: Vec::new(),
    };
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        let identity = sample_identity(snapshot, who, firmware);
        let forms = forms(snapshot, settings, identity.arch);
        if !can_render(snapshot, settings, &forms) {
            findings.cautions = warnings.cautions;
            return findings;
        }
        // What is to be warned of, a first look finds.
        let look = Some(&mut warnings).filter(|_| firmware == Firmware::Bios);
        let rendered = contexts(snapshot, who, &identity, settings).and_then(|contexts| {
            render(
                snapshot,
                (who, settings, whose),
                (&forms, identity.arch),
                &contexts,
                (look, &mut findings),
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
            findings.failure = Some((error, place));
            findings.cautions = warnings.cautions;
            return findings;
        }
    }
    // Most are reported of both firmwares' texts.
    for flaw in std::mem::take(&mut findings.flaws) {
        if !findings.flaws.contains(&flaw) {
            findings.flaws.push(flaw);
        }
    }
    findings.cautions = warnings.cautions;
    findings
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
        .map(|(key, _)| key);
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
    (mut look, findings): (Option<&mut MachineWarnings>, &mut MachineFindings),
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
            let flaw = rendered::script(*form, &sent);
            findings.flaws.extend(flaw.map(|flaw| (flaw, beginning(file))));
            let length = rendered::parameters_length(*form, &sent);
            if let Some(arch) = arch {
                findings.note_length(length, rendered::parameters_max(arch.cpu));
                findings.add_own(too_long((settings, &script.origin), arch.cpu, length));
            }
            findings.note_length(sent.len(), TEMPLATE_OUTPUT_BYTES_MAX);
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
            findings.note_length(sent.len(), TEMPLATE_OUTPUT_BYTES_MAX);
            findings.flaws.extend(found.map(|flaw| {
                let source = templates.source_of_answer(&answer.value, file).unwrap_or_default();
                formats::located(flaw, &sent, (shown, &source))
            }));
            answers.push(sent);
        }
    }
    if let Some(host) = who.host() {
        for script in &scripts {
            findings.add_own(installs::flaws(snapshot, host, (script, &answers)));
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
pub(super) fn announce(file: &str, whose: Whose<'_>) {
    validation_protocol::next(|| ValidationStep::Render(file.to_owned(), whose.to_string()));
}

/// The beginning of a file.
pub(super) fn beginning(file: &str) -> Origin {
    Origin {
        file: file.into(),
        line: 1,
        column: 1,
    }
}
