//! The texts of a machine: what its scripts and answers come to, as checksums, and whether a script of its erases a disk
//! at every power-on.

use crate::boot::{
    machine::Who,
    render::Template,
    resource::{LOCAL_SCRIPT, UNKNOWN_SCRIPT},
    scene::{self, TemplateContext},
    snapshot::Snapshot,
    unattended::unattended,
};
use crate::model::{BootTarget, Dialect, Firmware, Name};
use std::{collections::BTreeMap, fmt::Display, net::Ipv4Addr};

/// Stands for our own address in texts that nobody gets.
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// All texts of a machine, as it would get them while it installs.
#[derive(Default)]
pub(super) struct Texts {
    /// By what each is, with a checksum.
    pub sums: BTreeMap<String, u64>,
    /// The installer that a script of its starts without a question, where it boots that every time.
    pub live_installer: Option<String>,
}

/// Renders them, in every language of the script.
pub(super) fn texts(snapshot: &Snapshot, who: Who<'_>) -> Texts {
    let settings = who.settings();
    let own = |script: &str| script.parse::<Name>().ok();
    let scripts: Vec<Name> = match settings {
        Some(settings) => settings.script.iter().map(|script| script.value.clone()).collect(),
        None => [LOCAL_SCRIPT, UNKNOWN_SCRIPT].into_iter().filter_map(own).collect(),
    };
    let answer = settings.and_then(|settings| settings.answer.as_ref());
    let identity = scene::sample_identity(snapshot, who, Firmware::Uefi);
    let context = TemplateContext::before_serving(snapshot, who, &identity, SERVER);
    let of_answer_context = TemplateContext::of_answer_before_serving(snapshot, who, &identity, SERVER);
    let templates = &snapshot.templates;
    let in_every_language = scripts.into_iter().flat_map(|script| {
        let written = Dialect::ALL.into_iter();
        written
            .filter(|dialect| templates.has_script_for(script.as_str(), *dialect))
            .map(|dialect| {
                let label = labelled("script", format_args!("{script}.{}", dialect.extension()));
                (label, Template::Script(script.clone(), dialect))
            })
            .collect::<Vec<_>>()
    });
    let of_answer = answer.into_iter().flat_map(|answer| {
        let files = templates.answers.get(&answer.value).into_iter().flatten();
        files.map(|file| {
            let label = labelled("answer", format_args!("{}/{file}", answer.value));
            (label, Template::Answer(answer.value.clone(), file.clone()))
        })
    });
    let is_live = settings
        .and_then(|settings| settings.boot.as_ref())
        .map(|boot| boot.value)
        == Some(BootTarget::Live);
    let mut texts = Texts::default();
    for (label, template) in in_every_language.chain(of_answer) {
        let is_script = matches!(template, Template::Script(..));
        let context = match &template {
            Template::Script(..) => &context,
            Template::Answer(..) => &of_answer_context,
        };
        let rendered = match context {
            Ok(context) => templates.render(&template, context),
            Err(error) => Err(error.clone()),
        };
        if let Ok(text) = &rendered
            && is_script
            && is_live
            && let Some((_, installer)) = unattended(text)
        {
            texts.live_installer.get_or_insert_with(|| installer.into());
        }
        let read = rendered.unwrap_or_else(|error| error.message);
        texts.sums.insert(label, checksum(read.as_bytes()));
    }
    texts
}

/// FNV-1a, 64 bits.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

pub(super) fn shown(value: impl Display) -> String {
    value.to_string()
}

pub(super) fn labelled(what: &str, which: impl Display) -> String {
    shown(format_args!("{what} {which}"))
}
