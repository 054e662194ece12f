//! The files of a machine's answer: they may hold secrets, and go to the machine that boots from us now.

use super::{
    Inquiry, Lookup, Outcome, Refusal, Resource, content_type, optional::is_optional_in_nocloud, requester::is_proven,
};
use crate::boot::{
    event::Stage,
    gate::{Gate, gate},
    machine::{Identity, Who, identify},
    render::Template,
};
use crate::lease::PortId;
use crate::model::Name;

/// A file of a machine's answer.
enum AnswerFile<'w> {
    /// It is a template of the answer with that name.
    Template(&'w Name),
    /// It is not there, and as good as empty.
    Empty,
}

impl Inquiry<'_> {
    /// One file of an answer, for the machine in the path and for nobody else.
    pub(super) fn answer_file(&self, machine: &str, file: &str) -> Lookup {
        let who = identify(self.snapshot, &self.subject);
        let mut what = format!("answer {file}");
        let result = self
            .authorise(machine, &self.subject, who)
            .and_then(|()| self.configured_answer(machine, who, file))
            .and_then(|configured| match configured {
                AnswerFile::Template(answer) => {
                    let template = Template::Answer(answer.clone(), file.to_owned());
                    self.text(template, who, &self.subject, content_type(file))
                }
                AnswerFile::Empty => {
                    what.push_str(" (empty: its folder has none)");
                    Ok(Outcome::from(Resource::Text {
                        body: String::new(),
                        content_type: content_type(file),
                    }))
                }
            });
        Lookup {
            stage: Stage::System,
            what,
            result,
        }
    }

    /// Whether the address that asks belongs to the machine, and the machine boots from us now.
    fn authorise(&self, machine: &str, identity: &Identity, who: Who<'_>) -> Result<(), Refusal> {
        let peer = identify(self.snapshot, &self.peer);
        let same_machine = match (who.host(), peer.host()) {
            (Some(host), Some(peer)) => host.name == peer.name && is_proven(host, &self.peer),
            (None, None) => identity.hardware().is_some() && identity.hardware() == self.peer.hardware(),
            _ => false,
        };
        if !same_machine {
            return Err(Refusal::Forbidden {
                reason: format!(
                    "the answer is for {machine}, and {} is {}",
                    self.request.peer,
                    match self.peer.hardware() {
                        Some(_) => self.peer.name(peer),
                        None =>
                            "nobody's address: no lease and no reservation. Through a NAT no answer is to be had: none \
                                 may stand between a machine and this server"
                                .to_owned(),
                    }
                ),
            });
        }
        match gate(self.snapshot, who) {
            Gate::Network { .. } => self.check_port(who),
            Gate::Disk(reason) => Err(Refusal::Forbidden {
                reason: format!("{machine} gets no answer: {reason}"),
            }),
            Gate::ShowIdentity | Gate::LeaseOnly | Gate::Ignore => Err(Refusal::Forbidden {
                reason: format!("{machine} is not in the inventory, or has not said since the start what a rule asks"),
            }),
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
        Err(Refusal::Forbidden {
            reason: format!(
                "{} belongs to the switch port {port}, and {}",
                host.name,
                self.why_not_there(PortId::of(port))
            ),
        })
    }

    /// Why the address that asks does not count as given at the port, and what to do about it.
    fn why_not_there(&self, own: PortId) -> String {
        let peer = self.request.peer;
        if self.peer_port.is_some() {
            return format!("{peer} was given to it at another: look at its cable, or at the host's `port`");
        }
        match self.subject_given {
            Some((given, port)) if port == own => format!(
                "was given {given} there, and asks from {peer}: through a NAT, which must not stand between it and this \
                 server, or somebody set {peer} by hand"
            ),
            Some((given, _)) => format!(
                "asks from {peer}, and was given {given} at another: look at its cable, or at the host's `port`"
            ),
            None => format!(
                "{peer} was not given there by DHCP, or too long ago: it must ask for its address anew from that port"
            ),
        }
    }

    fn configured_answer<'w>(&self, machine: &str, who: Who<'w>, file: &str) -> Result<AnswerFile<'w>, Refusal> {
        let answer = who.settings().and_then(|settings| settings.answer.as_ref());
        let Some(answer) = answer else {
            return Err(Refusal::NotFound {
                reason: format!("{machine} has no answer in the inventory"),
            });
        };
        let known = self.snapshot.templates.answers.get(&answer.value);
        let files = known.map_or(&[][..], Vec::as_slice);
        if !files.iter().any(|known| known == file) {
            if is_optional_in_nocloud(files, file) {
                return Ok(AnswerFile::Empty);
            }
            return Err(Refusal::NotFound {
                reason: format!("answer {} has the files {}", answer.value, files.join(", ")),
            });
        }
        Ok(AnswerFile::Template(&answer.value))
    }
}
