//! Warnings about rendered scripts and answers: an unattended installer that starts at every power-on, and servers given
//! by host name where the machine gets no DNS server.
//!
//! Only texts are looked at, as the machine gets them: an operator's own script is judged like a shipped
//! one. Nothing of it keeps the room from booting, so all of it is warned of.

use super::{
    causes::{CausesByMachine, Whose},
    problems::Problems,
};
use crate::boot::{
    snapshot::{BootSettings, Origin, Snapshot, Subnet},
    unattended::{is_for_people, unattended},
};
use crate::model::{BootTarget, Name, text};
use std::{fmt, net::Ipv4Addr, sync::Arc};

/// Where and by which parameter an installer starts; the target's word.
type Unattended = (Origin, &'static str, String, BootTarget);
/// Where the script or the answer is named; what it is, and the server's name in it.
type MissingHostname = (Origin, NamedIn, String);

/// A text that names a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum NamedIn {
    Script(Name),
    /// A file of an answer.
    Answer(Arc<str>),
}

impl fmt::Display for NamedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamedIn::Script(name) => write!(f, "script {name}"),
            NamedIn::Answer(file) => write!(f, "answer {file}"),
        }
    }
}

/// What is to be warned of, each cause once.
#[derive(Default)]
pub(super) struct Warnings<'a> {
    unattended: CausesByMachine<'a, Unattended>,
    nameless: CausesByMachine<'a, MissingHostname>,
}

/// What one machine's texts give cause to warn of, whatever machine it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caution {
    /// An installer, and the parameter by which it starts.
    Unattended(&'static str, String),
    /// A server's name that stands in a text.
    Nameless(NamedIn, String),
}

/// A look at what one machine gets.
pub(super) struct MachineWarnings {
    /// Whether the machine is given a name server.
    pub(super) knows_names: bool,
    /// What is found.
    pub(super) cautions: Vec<Caution>,
}

impl MachineWarnings {
    /// Looks at a script.
    pub(super) fn at_script(&mut self, script: &str, settings: &BootSettings) {
        if let Some(boot) = &settings.boot
            && matches!(boot.value, BootTarget::Live | BootTarget::Rescue)
            && let Some((parameter, installer)) = unattended(script)
        {
            self.cautions.push(Caution::Unattended(installer, parameter.to_owned()));
        }
        if let Some(setting) = &settings.script {
            self.at_names(script, settings, &NamedIn::Script(setting.value.clone()));
        }
    }

    /// Looks at a file of an answer.
    pub(super) fn at_answer(&mut self, file: &str, answer: &str, settings: &BootSettings) {
        self.at_names(answer, settings, &NamedIn::Answer(file.into()));
    }

    fn at_names(&mut self, sent: &str, settings: &BootSettings, what: &NamedIn) {
        let is_sent = |boot: &BootTarget| !matches!(boot, BootTarget::Local | BootTarget::Discover);
        if self.knows_names || !settings.boot.as_ref().map(|boot| &boot.value).is_some_and(is_sent) {
            return;
        }
        let names = server_names(sent).into_iter();
        self.cautions
            .extend(names.map(|name| Caution::Nameless(what.clone(), name.to_owned())));
    }
}

impl<'a> Warnings<'a> {
    /// Notes what is to be said of a machine, at the places of its own settings.
    pub(super) fn add(&mut self, caution: &Caution, settings: &BootSettings, whose: Whose<'a>) {
        match caution {
            Caution::Unattended(installer, parameter) => {
                if let Some(boot) = &settings.boot {
                    let cause = (boot.origin.clone(), *installer, parameter.clone(), boot.value);
                    self.unattended.add(cause, whose);
                }
            }
            Caution::Nameless(what, name) => {
                let setting = match what {
                    NamedIn::Script(_) => &settings.script,
                    NamedIn::Answer(_) => &settings.answer,
                };
                if let Some(setting) = setting {
                    self.nameless
                        .add((setting.origin.clone(), what.clone(), name.clone()), whose);
                }
            }
        }
    }
}

impl Warnings<'_> {
    pub(super) fn say(self, problems: &mut Problems) {
        for ((origin, installer, parameter, target), whose) in self.unattended.into_summaries() {
            let parameter = text::escape(parameter.as_bytes());
            let message = format_args!(
                "{whose} boots `{target}` with a script that starts {installer} without a question (`{parameter}`): \
                 it installs, and erases a disk, at every power-on"
            );
            let help = "set boot = \"install\": such a host installs once, when it is armed (`bootwright arm`); or \
                        boot = \"local\" where it is installed already";
            problems.warn(&origin, message, help);
        }
        for ((origin, what, name), whose) in self.nameless.into_summaries() {
            let message = format_args!(
                "{whose} is sent the name {} in {what}, and no name server (`dns`) to look it up",
                text::escape(name.as_bytes())
            );
            let help = "give its [[subnet]], its profile or itself a `dns`, or have the template name an address";
            problems.warn(&origin, message, help);
        }
    }
}

/// Whether a machine at `address`, or at one of any pool, is given a name server.
pub(super) fn knows_names(snapshot: &Snapshot, settings: &BootSettings, address: Option<Ipv4Addr>) -> bool {
    let is_its = |subnet: &&Subnet| address.is_none_or(|address| subnet.cidr.contains(address));
    match settings.dns() {
        Some(own) => !own.is_empty(),
        None => snapshot
            .subnets
            .iter()
            .filter(is_its)
            .any(|subnet| !subnet.dns.is_empty()),
    }
}

/// The names of servers in a text: in its URLs, and in a preseed's lines about the mirror.
fn server_names(sent: &str) -> Vec<&str> {
    let lines: Vec<&str> = sent.lines().filter(|line| !is_for_people(line)).collect();
    let preseeded = |end: &'static str| lines.iter().filter_map(move |line| preseed_value(line, end));
    let is_proxied = preseeded("/proxy").next().is_some();
    let mirrors = preseeded("/hostname").filter(|_| !is_proxied);
    let in_urls = lines
        .iter()
        .map(|line| line.split(" #").next().unwrap_or(line))
        .flat_map(str::split_whitespace)
        .filter(|word| !word.starts_with("xmlns"))
        .flat_map(hosts_of_urls);
    let mut names: Vec<&str> = in_urls.chain(mirrors).filter(|host| is_name(host)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The value of a preseed's line about the mirror whose key ends so; an empty one is none.
fn preseed_value<'l>(line: &'l str, end: &str) -> Option<&'l str> {
    let mut words = line.split_whitespace();
    let (_, key, kind, value) = (words.next()?, words.next()?, words.next()?, words.next()?);
    (key.starts_with("mirror/") && key.ends_with(end) && kind == "string").then_some(value)
}

/// What stands for the server in each URL of a word.
fn hosts_of_urls(word: &str) -> impl Iterator<Item = &str> {
    word.match_indices("://").map(|(at, mark)| {
        let rest = &word[at + mark.len()..];
        let end = rest.find(['/', '?', '#', '"', '\'', ',', ';', ')', '<', '|']);
        let authority = &rest[..end.unwrap_or(rest.len())];
        let host = authority.rsplit('@').next().unwrap_or(authority);
        host.split(':').next().unwrap_or(host)
    })
}

/// A name that has to be looked up: no address, and nothing that is filled in later.
fn is_name(host: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    host != "localhost" && host.chars().all(plain) && host.contains(|c: char| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_to_look_up_are_those_of_urls_and_of_a_preseeds_mirror() {
        let sent = "#cloud-config http://comment.example/\n\
                    url --url=\"http://mirror.example:8080/rocky\"\n\
                    apt: [deb https://user:word@deb.example/debian]\n\
                    a: http://192.0.2.1/x http://[2001:db8::1]/y http://${server}/z http://localhost/ # http://late.example\n\
                    d-i mirror/http/hostname string deb.debian.org\n\
                    d-i mirror/http/proxy string \n\
                    d-i time/zone string UTC\n\
                    <profile xmlns=\"http://www.suse.com/1.0/yast2ns\" xmlns:config=\"http://www.suse.com/1.0/configns\">\n";
        assert_eq!(server_names(sent), ["deb.debian.org", "deb.example", "mirror.example"]);
        // A proxy looks the mirror up; itself it is looked up like any other.
        let proxied =
            "d-i mirror/http/hostname string deb.debian.org\nd-i mirror/http/proxy string http://proxy.example:3128/\n";
        assert_eq!(server_names(proxied), ["proxy.example"]);
    }
}
