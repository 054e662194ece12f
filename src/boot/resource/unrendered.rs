//! A text that is decided and not yet rendered: whose it is, and what it is made from. It borrows nothing, so
//! whoever may not wait for a template hands it to a thread that can be given up.

use super::{Refusal, Resolved, Resource};
use crate::boot::{
    change::Change,
    event::{Reason, Subject},
    render::{Template, TemplateError, Templates},
    scene::TemplateContext,
};

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
}

impl Unanswered {
    /// What it comes to.
    pub fn with(self, result: Result<Resource, Refusal>) -> Resolved {
        Resolved {
            subject: self.subject,
            block_max: self.block_max,
            change: self.change,
            result,
        }
    }
}

/// A template, and what one machine has to say in it.
#[derive(Debug)]
pub struct Text {
    template: Template,
    context: TemplateContext,
    content_type: &'static str,
}

impl Text {
    pub(super) fn new(template: Template, context: TemplateContext, content_type: &'static str) -> Text {
        Text {
            template,
            context,
            content_type,
        }
    }

    /// Renders it, however long that takes.
    ///
    /// # Errors
    /// The template fails for this machine.
    pub fn render(&self, templates: &Templates) -> Result<Resource, Refusal> {
        let rendered = templates.render(&self.template, &self.context);
        let broken = |error: TemplateError| {
            let error = error.to_string().into();
            Refusal::ServerError(Reason::TemplateFailed { error })
        };
        rendered.map(|body| self.resource(body)).map_err(broken)
    }

    /// Renders it where that is known to take next to no time; `None` where it is not, or came to nothing.
    pub fn render_at_once(&self, templates: &Templates) -> Option<Resource> {
        let rendered = templates.render_at_once(&self.template, &self.context);
        rendered.map(|body| self.resource(body))
    }

    fn resource(&self, body: String) -> Resource {
        Resource::Text {
            body,
            content_type: self.content_type,
        }
    }
}
