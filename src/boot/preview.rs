//! What a listed host would get for a script or a file of its answer, rendered as the servers render it, for people:
//! secrets are blacked out, and the token of its install is a sample.

use crate::boot::{
    event::NoOrder,
    machine::Who,
    paths,
    render::{Template, TemplateError},
    resource::deploy_order,
    scene::{TemplateContext, sample_identity},
    snapshot::{Host, Snapshot},
};
use crate::model::{Dialect, Firmware, Token};
use std::{net::IpAddr, sync::Arc};

/// Why there is nothing to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPreview {
    /// The host has nothing of that name; what it has.
    Unnamed(Vec<String>),
    /// The template fails for it.
    Failed(TemplateError),
    /// Our live system would have nothing to write.
    NoOrder(NoOrder),
}

/// What our live system asks for.
const ORDER: &str = "order";

/// What a host would get by the name of a script (`NAME` or `NAME.ipxe`) or of a file of its answer (`preseed.cfg`, or
/// `preseed/preseed.cfg`), or as the order of our live system (`order`), from the server with that address.
///
/// # Errors
/// See [`NoPreview`].
pub fn preview(snapshot: &Snapshot, host: &Arc<Host>, name: &str, server: IpAddr) -> Result<String, NoPreview> {
    let all = texts(snapshot, host);
    let found = all.iter().find(|(names, _)| names.iter().any(|known| known == name));
    let Some((_, template)) = found else {
        if name == ORDER {
            return order(snapshot, host, server).map_err(NoPreview::NoOrder);
        }
        let first = all.into_iter().filter_map(|(names, _)| names.into_iter().next());
        return Err(NoPreview::Unnamed(first.collect()));
    };
    let who = Who::Host(host);
    let identity = sample_identity(snapshot, who, Firmware::Uefi);
    let context = match template {
        Template::Script(..) => TemplateContext::before_serving(snapshot, who, &identity, server),
        Template::Answer(..) => TemplateContext::of_answer_before_serving(snapshot, who, &identity, server),
    };
    let rendered = context.and_then(|context| snapshot.templates.render(template, &context));
    rendered.map_err(NoPreview::Failed)
}

/// The order by which our live system writes the host's disk.
fn order(snapshot: &Snapshot, host: &Host, server: IpAddr) -> Result<String, NoOrder> {
    let http = paths::http_base(server, snapshot.ports);
    let order = deploy_order(snapshot, host, (Token::SAMPLE, &http))?;
    // Nothing in it can fail.
    Ok(serde_json::to_string_pretty(&order).unwrap_or_default() + "\n")
}

/// Every text of a host: its names, the one to show first, and what it is made from.
fn texts(snapshot: &Snapshot, host: &Arc<Host>) -> Vec<(Vec<String>, Template)> {
    let templates = &snapshot.templates;
    let mut all = Vec::new();
    if let Some(script) = &host.settings.script {
        let written = Dialect::ALL.into_iter();
        for dialect in written.filter(|dialect| templates.has_script_for(script.value.as_str(), *dialect)) {
            let whole = [script.value.as_str(), ".", dialect.extension()].concat();
            let names = vec![whole, script.value.as_str().into()];
            all.push((names, Template::Script(script.value.clone(), dialect)));
        }
    }
    if let Some(answer) = &host.settings.answer {
        for file in templates.answers.get(&answer.value).into_iter().flatten() {
            let whole = [answer.value.as_str(), "/", file].concat();
            let names = vec![file.clone(), whole];
            all.push((names, Template::Answer(answer.value.clone(), file.clone())));
        }
    }
    all
}
