//! Proxmox's installer, which asks for its answer by POST: with what it knows of its machine as JSON, and a header
//! `Accept` that says in which language it wants the answer. Since 9.2 that is JSON, and TOML where it can't be had.

use super::{Inquiry, Lookup, LookupResult, Refusal, unrendered::TextForm};
use crate::boot::{event::Reason, method::Method, proxmox};

impl Inquiry<'_> {
    /// The one file of the answer of the machine that asks: for a medium that was prepared with one URL for all.
    pub(super) fn answer_of_requester(&self) -> Lookup {
        let machine = self.subject.key(self.who).to_string();
        let named = self.who.settings().and_then(|settings| settings.answer.as_ref());
        let file = named.and_then(|answer| self.snapshot.templates.single_file(answer.value.as_str()));
        self.answer_file(&machine, file.unwrap_or_default())
    }

    /// Whether the interfaces that an installer has are those of the machine that the answer is for, as far as both
    /// are known. That alone proves nothing, and an answer goes to the machine's own address in any case.
    pub(super) fn fits_its_facts(&self, machine: &str) -> Result<(), Refusal> {
        let Some(host) = self.who.host().filter(|host| !host.macs.is_empty()) else {
            return Ok(());
        };
        let macs = match self.request.method {
            Method::Post => proxmox::macs(self.request.body),
            Method::Get | Method::Head => Vec::new(),
        };
        match macs.is_empty() || macs.iter().any(|mac| host.macs.contains(mac)) {
            true => Ok(()),
            false => Err(Refusal::Forbidden(Reason::FactsOfAnother {
                machine: machine.into(),
                peer: self.request.peer,
            })),
        }
    }

    /// A text in the language that who asks prefers.
    pub(super) fn in_wanted_form(&self, text: LookupResult, file: &str) -> LookupResult {
        let wants_json = self.request.method == Method::Post && self.request.accept.is_some_and(proxmox::prefers_json);
        match text {
            LookupResult::Unrendered(text) if wants_json && proxmox::is_toml(file) => {
                LookupResult::Unrendered(text.in_form(TextForm::JsonOfToml))
            }
            other => other,
        }
    }
}
