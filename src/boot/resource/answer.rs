//! The files of a machine's answer: they may hold secrets, and go to the machine that boots from us now.

use super::{
    Inquiry, Lookup, LookupResult, Refusal, Resource, content_type, optional::is_optional_in_nocloud,
    requester::is_proven,
};
use crate::boot::{
    event::{MachineKey, NotGivenThere, Reason, RequestedFile, Stage},
    gate::Gate,
    machine::{Identity, Who, identify},
    render::Template,
};
use crate::lease::PortId;
use crate::model::Name;
use std::net::IpAddr;

/// A file of a machine's answer.
enum AnswerFile<'w> {
    /// It is a template of the answer with that name.
    Template(&'w Name),
    /// It is not there, and as good as empty.
    Empty,
}

impl Inquiry<'_> {
    /// One file of an answer, for the machine in the path and for no other.
    pub(super) fn answer_file(&self, machine: &str, file: &str) -> Lookup {
        let who = self.who;
        let configured = self
            .authorise(machine, &self.subject, who)
            .and_then(|()| self.fits_its_facts(machine))
            .and_then(|()| self.configured_answer(machine, who, file));
        let is_empty = matches!(configured, Ok(AnswerFile::Empty));
        let result = configured.and_then(|configured| match configured {
            AnswerFile::Template(answer) => {
                let template = Template::Answer(answer.clone(), file.to_owned());
                let text = self.text(template, who, &self.subject, content_type(file))?;
                Ok(self.in_wanted_form(text, file))
            }
            AnswerFile::Empty => Ok(LookupResult::from(Resource::Text {
                body: String::new(),
                content_type: content_type(file),
            })),
        });
        Lookup {
            stage: Stage::System,
            file: RequestedFile::Answer {
                file: self.named(file),
                is_empty,
            },
            result,
        }
    }

    /// Whether the address that asks belongs to the machine, and the machine boots from us now.
    pub(super) fn authorise(&self, machine: &str, identity: &Identity, who: Who<'_>) -> Result<(), Refusal> {
        let peer = identify(self.snapshot, &self.peer);
        let same_machine = match (who.host(), peer.host()) {
            (Some(host), Some(peer)) => host.name == peer.name && is_proven(host, &self.peer),
            (None, None) => identity.hardware().is_some() && identity.hardware() == self.peer.hardware(),
            _ => false,
        };
        if !same_machine {
            let (machine, asker) = (machine.into(), self.request.peer);
            return Err(Refusal::Forbidden(match self.peer.key(peer) {
                MachineKey::Unknown => match asker {
                    IpAddr::V4(peer) => Reason::AnswerToNobody { machine, peer },
                    IpAddr::V6(peer) => Reason::AnswerAddressFamily { machine, peer },
                },
                holder => Reason::AnswerOfAnother {
                    machine,
                    peer: asker,
                    holder,
                },
            }));
        }
        let machine = || machine.into();
        match self.gate {
            Gate::Network { .. } => self.check_port(who),
            Gate::Disk(why) => Err(Refusal::Forbidden(Reason::AnswerNotNow {
                machine: machine(),
                why,
            })),
            Gate::ShowIdentity | Gate::LeaseOnly | Gate::Ignore => {
                Err(Refusal::Forbidden(Reason::AnswerUnlisted { machine: machine() }))
            }
        }
    }

    /// Whether the address that asks was given at the port of a host that belongs to one: whoever sets that
    /// address by hand elsewhere gets nothing that is the host's own.
    pub(super) fn check_port(&self, who: Who<'_>) -> Result<(), Refusal> {
        let Some((host, port)) = who.host().and_then(|host| Some((host, host.port.as_ref()?))) else {
            return Ok(());
        };
        if self.peer_port == Some(PortId::of(port)) {
            return Ok(());
        }
        Err(Refusal::Forbidden(Reason::NotAtItsPort {
            host: host.name.clone(),
            port: port.as_str().into(),
            why: self.why_not_there(PortId::of(port)),
        }))
    }

    /// Why the address that asks does not count as given at the port, and what to do about it.
    fn why_not_there(&self, own: PortId) -> NotGivenThere {
        let peer = self.request.peer;
        if self.peer_port.is_some() {
            return NotGivenThere::AtAnother { peer };
        }
        match self.subject_given {
            Some((given, port)) if port == own => NotGivenThere::AsksFromElsewhere { given, peer },
            Some((given, _)) => NotGivenThere::GivenElsewhere { given, peer },
            None => NotGivenThere::NotGiven { peer },
        }
    }

    fn configured_answer<'w>(&self, machine: &str, who: Who<'w>, file: &str) -> Result<AnswerFile<'w>, Refusal> {
        let answer = who.settings().and_then(|settings| settings.answer.as_ref());
        let Some(answer) = answer else {
            return Err(Refusal::NotFound(Reason::AnswerUnnamed {
                machine: machine.into(),
            }));
        };
        let known = self.snapshot.templates.answers.get(&answer.value);
        let files = known.map_or(&[][..], Vec::as_slice);
        if !files.iter().any(|known| known == file) {
            if is_optional_in_nocloud(files, file) {
                return Ok(AnswerFile::Empty);
            }
            return Err(Refusal::NotFound(Reason::AnswerFileMissing {
                answer: answer.value.clone(),
                files: files.join(", ").into(),
            }));
        }
        Ok(AnswerFile::Template(&answer.value))
    }
}
