//! The EC2-style metadata tree of a machine: to the machine itself, as its answer is.

use super::{Inquiry, Lookup, LookupResult, Refusal, Resource, Transport, content_type};
use crate::boot::{
    event::{Reason, RequestedFile, Stage},
    machine::Who,
    metadata::{Instance, MetadataPath, MetadataWanted},
    render::Template,
    request_path::RequestPath,
    snapshot::{BootSettings, Var},
};
use crate::model::Name;

/// What Tinkerbell's tree has in a word each.
const WORDS: [&str; 3] = ["facility", "iqn", "plan"];

impl Inquiry<'_> {
    /// What the path is in the tree; `None` where it is none of its paths, or the operator's own loader.
    pub(super) fn metadata_path<'p>(&self, path: &'p RequestPath) -> Option<MetadataPath<'p>> {
        let is_http = self.request.transport == Transport::Http;
        let found = MetadataPath::of(path).filter(|_| is_http)?;
        let is_loader = self.snapshot.loaders.location_of(path.as_str()).is_some();
        (!is_loader).then_some(found)
    }

    /// What stands there, for the machine that asks and no other.
    pub(super) fn metadata(&self, shown: &str, path: MetadataPath<'_>) -> Lookup {
        let who = self.who;
        let key = self.subject.key(who).to_string();
        let machine = path.machine.unwrap_or(&key);
        let allowed = self.authorise(machine, &self.subject, who);
        let (file, result) = match path.wanted {
            MetadataWanted::UserData => self.user_data(who),
            MetadataWanted::Json | MetadataWanted::Entry(_) => {
                let file = RequestedFile::Metadata {
                    path: self.named(shown),
                };
                (file, self.entry(path.wanted))
            }
        };
        Lookup {
            stage: Stage::System,
            file,
            result: allowed.and(result),
        }
    }

    /// The machine's answer, as far as it is one for cloud-init or the only file: without one there is nothing to do.
    fn user_data(&self, who: Who<'_>) -> (RequestedFile, Result<LookupResult, Refusal>) {
        match self.user_data_file(who) {
            Some((answer, file)) => {
                let template = Template::Answer(answer.clone(), file.to_owned());
                let text = self.text(template, who, &self.subject, content_type(file));
                let (file, is_empty) = (file.into(), false);
                (RequestedFile::Answer { file, is_empty }, text)
            }
            None => {
                let (file, is_empty) = ("user-data".into(), true);
                let nothing = Resource::Text {
                    body: String::new(),
                    content_type: content_type("user-data"),
                };
                (RequestedFile::Answer { file, is_empty }, Ok(nothing.into()))
            }
        }
    }

    fn user_data_file(&self, who: Who<'_>) -> Option<(&Name, &str)> {
        let named = who.settings().and_then(|settings| settings.answer.as_ref())?;
        let templates = &self.snapshot.templates;
        let (answer, files) = templates.answers.get_key_value(&named.value)?;
        let for_cloud_init = files.iter().find(|file| *file == "user-data").map(String::as_str);
        let file = for_cloud_init.or_else(|| templates.single_file(answer.as_str()))?;
        Some((answer, file))
    }

    fn entry(&self, wanted: MetadataWanted<'_>) -> Result<LookupResult, Refusal> {
        let instance = self.instance();
        let (body, content_type) = match wanted {
            MetadataWanted::Json => (Some(instance.json().to_string()), "application/json"),
            MetadataWanted::Entry(path) => {
                let entry = instance.entry(path).map(|entry| entry.text());
                (entry, "text/plain; charset=utf-8")
            }
            MetadataWanted::UserData => (None, ""),
        };
        match body {
            Some(body) => Ok(Resource::Text { body, content_type }.into()),
            None => Err(Refusal::OptionalMissing(Reason::MetadataMissing)),
        }
    }

    /// What is known of the machine.
    fn instance(&self) -> Instance<'_> {
        let host = self.who.host();
        let settings = self.who.settings();
        let address = self.own_address(self.who);
        let id = self.subject.key(self.who).to_string();
        let texts = |name: &str| texts(settings, name);
        Instance {
            hostname: host.map_or_else(|| id.clone().into(), |host| host.host_name().into()),
            id: id.into(),
            address,
            subnet: self.snapshot.subnet_of(address).map(|subnet| subnet.cidr),
            mac: self.subject.mac,
            image: settings.and_then(|settings| Some(settings.image.as_ref()?.value.as_str())),
            keys: texts("ssh_keys"),
            words: WORDS
                .into_iter()
                .filter_map(|word| Some((word, texts(word).into_iter().next()?)))
                .collect(),
            tags: texts("tags"),
        }
    }
}

/// One of the inventory's `vars`: a text, or the texts of a list.
fn texts<'s>(settings: Option<&'s BootSettings>, name: &str) -> Vec<&'s str> {
    let text = |var: &'s Var| match var {
        Var::Text(text) => Some(text.as_str()),
        Var::Bool(_) | Var::Integer(_) | Var::Float(_) | Var::List(_) | Var::Table(_) | Var::Secret(_) => None,
    };
    match settings
        .and_then(|settings| settings.vars.get(name))
        .map(|var| &var.value)
    {
        Some(Var::List(items)) => items.iter().filter_map(text).collect(),
        Some(other) => text(other).into_iter().collect(),
        None => Vec::new(),
    }
}
