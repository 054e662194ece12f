//! What is to be said of a boot that was played: whom its machine was taken for, and what it was made from.

use super::{
    BootQuestion, BootTrial, ExplainedFile, ExplainedReply, ExplainedScript, Explanation, FileStanding, Look, Places,
    ScratchTables, Sources, Surroundings, TriedExchange, TriedFile, matching, options, play, settings,
    words::{destination, text_of},
};
use crate::boot::{
    engine::Outcome,
    event::Step,
    machine::Who,
    paths,
    resource::{Refusal, Resource},
    snapshot::Snapshot,
    written::{WrittenSetting, written_identity, written_settings},
};
use crate::model::{Mode, Name};
use crate::proto::dhcp::client::{ServerReply, parse_reply};
use std::net::Ipv4Addr;

/// Plays the boot, and says what came of it and why.
pub fn explain(
    surroundings: Surroundings<'_>,
    tables: ScratchTables,
    question: &BootQuestion,
    sources: Sources<'_>,
) -> Explanation {
    let trial = &play(surroundings, tables, question);
    let who = trial.who;
    let snapshot = surroundings.snapshot;
    let in_force = who.settings().map(written_settings).unwrap_or_default();
    let layers = sources.places.layers(who);
    let mut notes = trial.notes.clone();
    let is_written = |row: &WrittenSetting| layers.iter().any(|layer| layer.settings.contains(row));
    if !in_force.iter().all(is_written) {
        let note = "the inventory was changed since it was accepted: places are those of the generation in force";
        notes.push(note.into());
    }
    let identity = who.host().map(|host| written_identity(host)).unwrap_or_default();
    Explanation {
        mac: question.mac,
        host: who.host().map(|host| host.name.clone()),
        generation: snapshot.generation,
        arch: question.arch,
        relay: question.relay,
        interface: trial
            .exchanges
            .first()
            .map(|first| first.ingress.interface.as_ref().into()),
        as_if_armed: question.is_armed,
        matches: matching::rows(snapshot, trial),
        settings: settings::explained((identity, in_force), &layers),
        replies: trial
            .exchanges
            .iter()
            .map(|exchange| reply(snapshot, exchange, sources.places))
            .collect(),
        script: script(snapshot, trial),
        files: trial
            .files
            .iter()
            .map(|file| explained_file(file, sources.look))
            .collect(),
        notes,
    }
}

fn reply(snapshot: &Snapshot, exchange: &TriedExchange<'_>, places: &dyn Places) -> ExplainedReply {
    let refused = exchange.taken.as_ref().and_then(|(_, taken)| match &taken.event.step {
        Step::Acknowledged { .. } => None,
        // That one is the other server's to answer.
        _ if exchange.ingress.mode == Mode::Proxy => None,
        other => Some(text_of(other)),
    });
    let at_boot_server = exchange.at_boot_server.as_ref();
    ExplainedReply {
        request: refused,
        at_boot_server: at_boot_server.map(|asked| Box::new(answer(snapshot, (&asked.outcome, exchange.who), places))),
        ..answer(snapshot, (&exchange.offer, exchange.who), places)
    }
}

/// One answer.
fn answer(snapshot: &Snapshot, (outcome, who): (&Outcome, Who<'_>), places: &dyn Places) -> ExplainedReply {
    let bytes = outcome.send.as_ref().map(|send| send.encode());
    let read: Option<ServerReply> = bytes.as_deref().and_then(parse_reply);
    let given = |address: Ipv4Addr| Some(address).filter(|address| !address.is_unspecified());
    ExplainedReply {
        stage: outcome.event.stage,
        quirks: outcome.event.quirks.iter().map(|name| name.as_ref().into()).collect(),
        decision: text_of(&outcome.event.step),
        reason: outcome.event.step.reason().map(|reason| reason.code().name().into()),
        address: read.as_ref().and_then(|read| given(read.address)),
        next_server: read.as_ref().and_then(|read| given(read.next_server)),
        boot_file: read
            .and_then(|read| read.boot_file)
            .map(|file| String::from_utf8_lossy(&file).into()),
        to: outcome.send.as_ref().map(|send| destination(&send.destination)),
        options: bytes
            .as_deref()
            .map(|bytes| options::explained(snapshot, (outcome, who), (bytes, places)))
            .unwrap_or_default(),
        packet: bytes.as_deref().map(hexadecimal),
        request: None,
        at_boot_server: None,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 0x0f)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The script that the machine gets.
fn script(snapshot: &Snapshot, trial: &BootTrial<'_>) -> Option<ExplainedScript> {
    let (file, dialect, text) = trial.script_sent()?;
    let name = file.script_name();
    let template = |name: &Name| -> String { snapshot.templates.file_of_script(name.as_str(), dialect).into() };
    let subject = file.resolved.as_ref().map(|resolved| &resolved.subject.file);
    Some(ExplainedScript {
        url: file.url.clone(),
        dialect: text_of(dialect),
        what: subject.map(text_of).unwrap_or_default(),
        template: name.as_ref().map(template),
        text: text.into(),
    })
}

/// Whether a file is had, now that it was looked at.
fn explained_file(file: &TriedFile, look: Look<'_>) -> ExplainedFile {
    let (standing, bytes, detail) = match &file.resolved {
        None => (FileStanding::Elsewhere, None, None),
        Some(resolved) => standing(&resolved.result, look),
    };
    ExplainedFile {
        role: file.role,
        url: paths::without_token(&file.url).into(),
        standing,
        bytes,
        detail,
    }
}

type Stood = (FileStanding, Option<u64>, Option<String>);

fn standing(result: &Result<Resource, Refusal>, look: Look<'_>) -> Stood {
    let (standing, reason) = match result {
        Ok(Resource::Text { body, .. }) => return (FileStanding::Rendered, Some(body.len() as u64), None),
        Ok(Resource::File {
            root, file, verified, ..
        }) => {
            let stamp = match look(&root.join(file)) {
                Ok(stamp) => stamp,
                Err(why) => return (FileStanding::Missing, None, Some(why.into())),
            };
            return match verified {
                None => (FileStanding::There, Some(stamp.length), None),
                Some(verified) if verified.stamp() == stamp => (FileStanding::Intact, Some(stamp.length), None),
                Some(_) => {
                    let why = "it was changed since its bytes were read";
                    (FileStanding::Wrong, Some(stamp.length), Some(why.into()))
                }
            };
        }
        Err(refusal) => (
            match refusal {
                Refusal::NotFound(_) | Refusal::BadPath(_) => FileStanding::Missing,
                Refusal::OptionalMissing(_) => FileStanding::Optional,
                Refusal::Forbidden(_) => FileStanding::Refused,
                Refusal::ServerError(_) | Refusal::NotStored(_) => FileStanding::Wrong,
                Refusal::NotReady { .. } => FileStanding::Verifying,
            },
            refusal.clone().into_reason(),
        ),
    };
    (standing, None, Some(text_of(reason)))
}
