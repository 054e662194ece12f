//! The script of a machine, in the language of the loader that asks: the gate is asked here for every transport.

use super::{Inquiry, Lookup, Refusal};
use crate::boot::{
    event::{Near, Reason, RequestedFile, ScriptChoice, Stage},
    gate::Gate,
    mac_typo,
    machine::{Who, identify, mismatch},
    render::Template,
    request_path::machine_facts,
};
use crate::model::{BootTarget, Dialect, Firmware, MachineFacts, Name};
use std::sync::Arc;

/// The script of a machine that boots its disk.
pub const LOCAL_SCRIPT: &str = "local";
/// The script of a machine that is set to rescue and names none.
pub const RESCUE_SCRIPT: &str = "rescue";
/// The script of an unlisted machine.
pub const UNKNOWN_SCRIPT: &str = "unknown";

/// A script that is yet to be rendered.
struct ChosenScript<'w> {
    who: Who<'w>,
    name: Name,
    /// Whether it goes to the address that asks.
    authorise: Result<(), Refusal>,
    /// What events say of it.
    file: RequestedFile,
}

impl<'a> Inquiry<'a> {
    /// Which script is the machine's that asks, or that the path names.
    fn chosen(&self, dialect: Dialect) -> ChosenScript<'a> {
        let (who, gate) = (self.who, self.gate);
        let authorise = match gate {
            Gate::Network {
                target: BootTarget::Install,
                ..
            } => self.authorise_script(),
            Gate::Network { .. } => self.check_port(who),
            Gate::Disk(_) | Gate::LeaseOnly | Gate::Ignore | Gate::ShowIdentity => Ok(()),
        };
        let (name, choice) = match gate {
            Gate::Network { script, .. } => (script.clone(), ScriptChoice::Named),
            Gate::Disk(why) => (shipped(LOCAL_SCRIPT), ScriptChoice::Disk(why)),
            Gate::LeaseOnly | Gate::Ignore => (shipped(LOCAL_SCRIPT), ScriptChoice::Unlisted(self.mac_typo_hint())),
            Gate::ShowIdentity => (shipped(UNKNOWN_SCRIPT), ScriptChoice::Unlisted(self.mac_typo_hint())),
        };
        ChosenScript {
            who,
            file: RequestedFile::Script {
                script: name.clone(),
                dialect,
                choice,
                mismatch: mismatch(self.snapshot, who, &self.subject),
                facts: self.facts(),
            },
            name,
            authorise,
        }
    }

    /// What the machine tells of itself, where it is the one that asks: anybody may ask for any machine's script.
    fn facts(&self) -> Option<Box<MachineFacts>> {
        let asks_itself = self.peer.hardware().is_some() && self.peer.hardware() == self.subject.hardware();
        let query = self.request.query.filter(|_| asks_itself || self.is_of_same_host())?;
        let facts = machine_facts(query);
        (!facts.is_empty()).then(|| Box::new(facts))
    }

    fn is_of_same_host(&self) -> bool {
        let asking = identify(self.snapshot, &self.peer).host();
        asking.is_some_and(|asking| self.who.host().is_some_and(|host| Arc::ptr_eq(host, asking)))
    }

    /// That script.
    pub(super) fn script_for(&self, dialect: Dialect) -> Lookup {
        let ChosenScript {
            who,
            name,
            authorise,
            file,
        } = self.chosen(dialect);
        let templates = &self.snapshot.templates;
        let result = match templates.has_script_for(name.as_str(), dialect) {
            true => authorise.and_then(|()| {
                let template = Template::Script(name, dialect);
                self.text(template, who, &self.subject, "text/plain; charset=utf-8")
            }),
            // At once: PXELINUX and GRUB have other names to ask for.
            false => Err(Refusal::NotFound(Reason::ScriptForm {
                script: name,
                dialect,
                extension: dialect.extension(),
            })),
        };
        Lookup {
            stage: Stage::of_loader(dialect),
            file,
            result,
        }
    }

    /// That the unlisted machine is nearly one that is.
    fn mac_typo_hint(&self) -> Near {
        mac_typo::mac_typo_hint(&self.snapshot.hosts, self.subject.mac)
    }

    /// The stage of a machine that fetches `file` with a loader other than iPXE: no request tells which
    /// loader it comes from, and the inventory may, or what its firmware sent of itself. The loader itself
    /// is fetched by firmware.
    pub(super) fn another_loader(&self, file: &str) -> Option<Stage> {
        if self.peer.arch.is_some_and(|arch| arch.firmware == Firmware::Pxelinux) {
            return Some(Stage::Pxelinux);
        }
        let settings = identify(self.snapshot, &self.peer).settings();
        let loader = self.snapshot.named_loader(settings, self.peer.arch)?;
        let dialect = self.snapshot.loaders.dialect_of(loader).filter(|_| loader != file)?;
        (dialect != Dialect::Ipxe).then(|| Stage::of_loader(dialect))
    }
}

fn shipped(script: &str) -> Name {
    script.parse().expect("the shipped scripts' names are names")
}
