//! A text that is decided and not yet rendered: whose it is, and what it is made from. It borrows nothing, so
//! whoever may not wait for a template hands it to a thread that can be given up.

use super::{Inquiry, LookupResult, Promise, Refusal, Resolved, Resource};
use crate::boot::{
    change::Change,
    event::{Reason, Subject},
    gate::Gate,
    kept_texts::{KeptTextKey, TextSettings},
    machine::{Identity, Who},
    render::{Template, TemplateError, Templates},
    scene::{Scene, Secrets, TemplateContext},
    snapshot::Snapshot,
};
use crate::model::BootTarget;
use std::net::IpAddr;

/// What a request comes to, as far as no template was rendered for it.
#[derive(Debug)]
pub enum Decided {
    /// All of it.
    Resolved(Resolved),
    /// A text, once it is rendered.
    Unrendered(Unanswered, Text),
}

/// A request of which all is known but what it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Whom it is about, and what is asked for.
    pub subject: Subject,
    pub(super) block_max: Option<u16>,
    pub(super) change: Option<Change>,
    pub(super) promise: Option<Promise>,
}

impl Unanswered {
    /// What it comes to.
    pub fn with(self, result: Result<Resource, Refusal>) -> Resolved {
        Resolved {
            subject: self.subject,
            block_max: self.block_max,
            change: self.change,
            promise: self.promise,
            result,
        }
    }
}

/// What is said of a template that fails with secrets: its own words may quote one.
const HUSHED: &str = "it fails with the host's secrets; `bootwright render` shows what it comes to without them";

impl Inquiry<'_> {
    /// The address of the machine that a text is for: its reservation where it has one, else the one that asks.
    pub(super) fn own_address(&self, who: Who<'_>) -> IpAddr {
        let reservation = who.host().and_then(|host| host.address);
        let own = reservation.filter(|reserved| !self.is_outside_reserved_subnet(who, *reserved));
        own.map_or(self.request.peer, IpAddr::from)
    }

    /// What a machine's script is kept by; `None` where it may not be: an install's, and every answer, may have a token
    /// or a secret in it.
    fn key_of(&self, template: &Template, who: Who<'_>, identity: &Identity) -> Option<KeptTextKey> {
        let Template::Script(name, dialect) = template else {
            return None;
        };
        let (target, disk) = match self.gate {
            Gate::Network { target, .. } => (Some(target), None),
            Gate::Disk(why) => (None, Some(why)),
            Gate::ShowIdentity => (Some(BootTarget::Discover), None),
            Gate::LeaseOnly | Gate::Ignore => (None, None),
        };
        if !self.keeps_texts || self.install.is_some() || target == Some(BootTarget::Install) {
            return None;
        }
        Some(KeptTextKey {
            template: (name.clone(), *dialect),
            settings: match who {
                Who::Host(host) => TextSettings::Host(host.name.clone()),
                Who::Rule(rule) => {
                    let mut rules = self.snapshot.rules.iter();
                    TextSettings::Rule(rules.position(|other| std::ptr::eq(other, rule))?)
                }
                Who::Unknown => TextSettings::Unknown,
            },
            target,
            disk,
            mac: identity.mac,
            link: identity.link,
            uuid: identity.uuid,
            serial: identity.serial.clone(),
            vendor: identity.vendor.clone(),
            arch: identity.arch,
            address: self.own_address(who),
            server: self.request.server,
        })
    }

    /// A text for one machine.
    pub(super) fn text(
        &self,
        template: Template,
        who: Who<'_>,
        identity: &Identity,
        content_type: &'static str,
    ) -> Result<LookupResult, Refusal> {
        let key = self.key_of(&template, who, identity);
        if let Some(kept) = key.as_ref().and_then(|key| self.snapshot.kept_texts.get(key)) {
            let body = kept.as_ref().to_owned();
            return Ok(LookupResult::Whole(Resource::Text { body, content_type }));
        }
        let scene = Scene {
            who,
            gate: self.gate,
            install: self.install,
            identity,
            address: Some(self.own_address(who)),
            server: self.request.server,
            secrets: match (&template, self.install) {
                // Whoever gets the answer of an install under way was found to be the host, at its own address.
                (Template::Answer(..), Some(_)) => Secrets::Revealed,
                (Template::Answer(..) | Template::Script(..), _) => Secrets::Withheld,
            },
        };
        match TemplateContext::new(self.snapshot, &scene) {
            Ok(context) => Ok(LookupResult::Unrendered(Text {
                key,
                ..Text::new(template, context, content_type)
            })),
            Err(error) => Err(Refusal::ServerError(Reason::TemplateFailed {
                error: error.to_string().into(),
            })),
        }
    }
}

/// A template, and what one machine has to say in it.
#[derive(Debug)]
pub struct Text {
    /// What it is kept by once it is rendered.
    key: Option<KeptTextKey>,
    template: Template,
    context: TemplateContext,
    content_type: &'static str,
    form: TextForm,
}

/// How a rendered text is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextForm {
    /// As it is.
    Plain,
    /// It is TOML, and goes out as JSON.
    JsonOfToml,
}

impl Text {
    pub(super) fn new(template: Template, context: TemplateContext, content_type: &'static str) -> Text {
        Text {
            key: None,
            template,
            context,
            content_type,
            form: TextForm::Plain,
        }
    }

    /// The same, to be sent in that form.
    pub(super) fn in_form(self, form: TextForm) -> Text {
        Text { form, ..self }
    }

    /// Renders it, however long that takes.
    ///
    /// # Errors
    /// The template fails for this machine.
    pub fn render(&self, templates: &Templates) -> Result<Resource, Refusal> {
        let rendered = templates.render(&self.template, &self.context);
        let broken = |error: TemplateError| {
            let error = match self.context.has_revealed() {
                true => TemplateError {
                    message: HUSHED.to_owned(),
                    ..error
                },
                false => error,
            };
            let error = error.to_string().into();
            Refusal::ServerError(Reason::TemplateFailed { error })
        };
        rendered.map(|body| self.resource(body)).map_err(broken)
    }

    /// Renders it where that is known to take next to no time; `None` where it is not, or came to nothing. What may be
    /// kept is kept.
    pub fn render_at_once(&self, snapshot: &Snapshot) -> Option<Resource> {
        let body = snapshot.templates.render_at_once(&self.template, &self.context)?;
        let rendered = self.resource(body);
        if let (Some(key), Resource::Text { body, .. }) = (&self.key, &rendered) {
            snapshot.kept_texts.keep(key.clone(), body);
        }
        Some(rendered)
    }

    fn resource(&self, body: String) -> Resource {
        let json = match self.form {
            TextForm::Plain => None,
            // What is no TOML goes out as it is, and its reader says where.
            TextForm::JsonOfToml => toml::from_str::<serde_json::Value>(&body).ok(),
        };
        match json {
            Some(json) => Resource::Text {
                body: json.to_string(),
                content_type: "application/json",
            },
            None => Resource::Text {
                body,
                content_type: self.content_type,
            },
        }
    }
}
