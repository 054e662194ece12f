//! From a path to what it stands for: the one function behind TFTP, HTTP and `explain`.
//!
//! A script is for whoever asks; the query string or the file's name, or else the lease of the address
//! that asks, says who that is. An answer may hold secrets, so it goes only to the address of the machine it is
//! for. Artifacts and loaders go to anybody.

mod answer;
mod artifact;
mod autoexec;
mod callback;
mod disks;
mod install;
mod metadata;
mod optional;
mod order;
mod outcome;
mod proxmox;
mod requester;
mod script;
mod ssh_keys;
mod unrendered;

pub use crate::boot::request_path::Transport;
use crate::boot::{
    arming::DiskReportChange,
    change::Change,
    event::{Machine, PathFault, Reason, RequestedFile, Stage, Subject},
    gate::Gate,
    machine::{Identity, Who, identify},
    method::{Method, Methods},
    paths,
    request_path::RequestPath,
    script_path::ScriptPath,
    snapshot::{Artifact, Image, Snapshot},
    verification::VerificationState,
    world::FileWorld,
};
use crate::lease::PortId;
use crate::model::{CallbackDoubt, CallbackWord, MacAddr, Token};
pub use artifact::content_type;
use optional::is_optional;
pub use order::{deploy_order, order_without_pieces};
pub use outcome::{Promise, Refusal, Resolved, Resource};
pub use requester::{is_client_address, machine_at};
pub use script::{LOCAL_SCRIPT, RESCUE_SCRIPT, UNKNOWN_SCRIPT};
use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};
pub use unrendered::{Decided, Text, Unanswered};

/// One request for a file.
#[derive(Clone, Copy, Debug)]
pub struct FileRequest<'a> {
    /// Who serves.
    pub transport: Transport,
    /// What is asked of the path.
    pub method: Method,
    /// The path as the client sent it (HTTP: still percent-encoded, without the query).
    pub path: &'a [u8],
    /// HTTP's query string, still percent-encoded.
    pub query: Option<&'a str>,
    /// What comes with the request, at most [`HTTP_BODY_BYTES_MAX`](crate::model::limits::HTTP_BODY_BYTES_MAX) bytes.
    pub body: &'a [u8],
    /// The media types that who asks takes, as HTTP's header `Accept` has them.
    pub accept: Option<&'a str>,
    /// Who asks; an IPv4 address is never in its IPv6 form (`::ffff:192.0.2.7`).
    pub peer: IpAddr,
    /// The address of ours that was asked: the host of the URLs in what we answer.
    pub server: IpAddr,
    /// Whether who asks receives what is sent to that address.
    pub hearing: Hearing,
}

/// Whether who asks receives what is sent to the address that it asks from: what begins an install waits for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// It shook hands.
    Proven,
    /// Anybody may have sent it, whatever address stands in it: nothing begins by it.
    Unproven {
        /// The MAC that the address has on our wire, where that was asked already.
        link: Option<MacAddr>,
    },
    /// It asked before, and acknowledged what it was sent.
    Acknowledged {
        /// The token that stood in that.
        token: Option<Token>,
        /// The MAC that the address has on our wire, where it has one.
        link: Option<MacAddr>,
    },
}

impl<'a> FileRequest<'a> {
    /// A request to send what a path stands for.
    pub fn get(
        transport: Transport,
        path: &'a [u8],
        peer: impl Into<IpAddr>,
        server: impl Into<IpAddr>,
    ) -> FileRequest<'a> {
        FileRequest {
            transport,
            method: Method::Get,
            path,
            query: None,
            body: &[],
            accept: None,
            peer: peer.into().to_canonical(),
            server: server.into().to_canonical(),
            hearing: Hearing::Proven,
        }
    }
}

/// A request for a file, once it is known who asks and for whom: everything it is decided from.
/// It holds nothing of the tables that every server shares, so that no machine waits for another's
/// templates to be rendered.
pub struct Inquiry<'a> {
    snapshot: &'a Snapshot,
    request: &'a FileRequest<'a>,
    path: Result<RequestPath, PathFault>,
    /// The script that the path stands for.
    script: Option<ScriptPath>,
    /// The machine that holds the address that asks.
    peer: Identity,
    /// Where that machine stood when DHCP answered it last.
    peer_stage: Option<Stage>,
    /// The switch port at which the address that asks was given to that machine, where that is known.
    peer_port: Option<PortId>,
    /// Which address the machine that the script or the answer is for was given at a switch port, and at which.
    subject_given: Option<(Ipv4Addr, PortId)>,
    /// The largest TFTP block it may be given.
    block_max: Option<u16>,
    /// The machine that the script or the answer is for.
    subject: Identity,
    /// That machine as the inventory knows it.
    who: Who<'a>,
    /// What it boots now.
    gate: Gate<'a>,
    /// The artifact that the path names, and what is known of its bytes.
    artifact: Option<(&'a Image, &'a Artifact, VerificationState)>,
    /// That the address is this machine's says nothing but a broadcast of somebody's.
    is_hearsay: bool,
    /// What the request changes of what is on disk.
    change: Option<Change>,
    /// What begins once who asks is heard.
    promise: Option<Promise>,
    /// What the URLs show by which the machine's install tells of itself, where it is under way.
    install: Option<Token>,
    /// What an installer sent back, and whether it was taken.
    callback: Option<(Option<CallbackWord>, Result<(), CallbackDoubt>)>,
    /// What the machine tells of its disks, on its way to the store.
    told_disks: Vec<DiskReportChange>,
    /// Whether a script may be one that was rendered before, and is kept.
    keeps_texts: bool,
    /// The token of the install whose order is asked for, or why that is not given.
    order: Option<Result<Token, CallbackDoubt>>,
}

/// What a path came to before it is known whose it is.
struct Lookup {
    stage: Stage,
    file: RequestedFile,
    result: Result<LookupResult, Refusal>,
}

/// What a path stands for, as far as no template is needed for it.
enum LookupResult {
    Whole(Resource),
    Unrendered(Text),
}

impl From<Resource> for LookupResult {
    fn from(resource: Resource) -> LookupResult {
        LookupResult::Whole(resource)
    }
}

/// What paths stand for. Servers ask one of these, and hand its changes to the disk.
pub trait Resources: Send + Sync {
    /// What may be asked of a path, as HTTP has it.
    fn methods(&self, path: &[u8]) -> Methods;

    /// Takes a request up, while what it is decided from is locked. A change of that belongs here.
    fn begin<'a>(&self, files: FileWorld<'a, '_>, request: &'a FileRequest<'a>) -> Inquiry<'a>;
}

/// What paths stand for by the inventory: files and texts, and what installers send back.
pub struct InventoryResources;

impl Resources for InventoryResources {
    fn methods(&self, path: &[u8]) -> Methods {
        if paths::may_be_callback(path) {
            Methods::Callback
        } else if paths::may_be_answer(path) || paths::may_be_disks(path) {
            Methods::Answer
        } else {
            Methods::Read
        }
    }

    fn begin<'a>(&self, files: FileWorld<'a, '_>, request: &'a FileRequest<'a>) -> Inquiry<'a> {
        Inquiry::begin(files, request)
    }
}

/// Resolves one request.
pub fn resource(files: FileWorld<'_, '_>, request: &FileRequest<'_>) -> Resolved {
    Inquiry::begin(files, request).answer()
}

impl<'a> Inquiry<'a> {
    /// The same request, which makes a change: it is not answered before that is durable.
    #[must_use]
    pub fn that_makes(self, change: Change) -> Inquiry<'a> {
        Inquiry {
            change: Some(change),
            ..self
        }
    }

    /// The same request, which a script may answer that was rendered before with this generation: nobody asks what it
    /// was made of.
    #[must_use]
    pub fn that_keeps_texts(self) -> Inquiry<'a> {
        Inquiry {
            keeps_texts: true,
            ..self
        }
    }

    /// What the machine is known by that the script or the answer is for.
    pub fn subject(&self) -> &Identity {
        &self.subject
    }

    /// Whether the path stands for a script.
    pub fn is_script(&self) -> bool {
        self.script.is_some()
    }

    /// What the request changes, in the order in which it is to be written.
    pub fn changes(&self) -> Vec<Change> {
        let told = self.told_disks.iter().cloned().map(Change::Disks);
        self.change.clone().into_iter().chain(told).collect()
    }

    /// What the request comes to; a text is rendered here.
    pub fn answer(self) -> Resolved {
        let templates = &self.snapshot.templates;
        match self.decide() {
            Decided::Resolved(resolved) => resolved,
            Decided::Unrendered(unanswered, text) => unanswered.with(text.render(templates)),
        }
    }

    /// What the request comes to, as far as no template has to be rendered for it. All of it is decided then:
    /// whoever renders the text needs nothing but the templates.
    pub fn decide(&self) -> Decided {
        let (machine, found) = self.found();
        let unanswered = self.unanswered(machine, found.stage, found.file);
        match found.result {
            Ok(LookupResult::Unrendered(text)) => Decided::Unrendered(unanswered, text),
            Ok(LookupResult::Whole(resource)) => Decided::Resolved(unanswered.with(Ok(resource))),
            Err(refusal) => Decided::Resolved(unanswered.with(Err(refusal))),
        }
    }

    /// What the path stands for, and for which machine.
    fn found(&self) -> (Machine, Lookup) {
        let path = match &self.path {
            Ok(path) => path,
            Err(fault) => {
                let file = match paths::may_be_callback(self.request.path) {
                    // It has a token, and its word may be what can't be read of it.
                    true => RequestedFile::Callback { word: None },
                    false if paths::may_have_token(self.request.path) => RequestedFile::Order,
                    false => RequestedFile::Path {
                        path: paths::refused(self.request.path).into(),
                    },
                };
                let found = Lookup {
                    stage: Stage::Unknown,
                    file,
                    result: Err(Refusal::BadPath(*fault)),
                };
                return (self.subject.machine(self.who), found);
            }
        };
        // Where a file is for whoever asks, that machine is the subject.
        let subject = || self.subject.machine(self.who);
        let asker = || self.peer.machine(identify(self.snapshot, &self.peer));
        if let Some(wanted) = self.script {
            return (subject(), self.script_for(wanted.dialect));
        }
        let components: Vec<&str> = path.components().collect();
        match components[..] {
            [.., paths::AUTOEXEC] if self.artifact.is_none() => (asker(), self.autoexec(path.as_str())),
            [paths::ANSWER] if self.request.method == Method::Post => (asker(), self.answer_of_requester()),
            [paths::ANSWER, machine, ref file @ ..] => (asker(), self.answer_file(machine, &file.join("/"))),
            [paths::CALLBACK, ..] => (asker(), self.callback_lookup()),
            [paths::ORDER, ..] => (asker(), self.order_lookup()),
            [paths::DISKS, machine] if self.request.method == Method::Post => (asker(), self.disks_lookup(machine)),
            [paths::SSH_KEYS, machine] => (asker(), self.ssh_keys(machine)),
            [paths::IMAGE, image, ref file @ ..] => (subject(), self.artifact(image, &file.join("/"))),
            _ => match self.metadata_path(path) {
                Some(wanted) => (asker(), self.metadata(path.as_str(), wanted)),
                None => (subject(), self.loader(path.as_str())),
            },
        }
    }

    fn unanswered(&self, machine: Machine, stage: Stage, file: RequestedFile) -> Unanswered {
        Unanswered {
            subject: Subject {
                machine: machine.or_at(self.request.peer),
                stage,
                file,
            },
            block_max: self.block_max,
            change: self.change.clone(),
            promise: self.promise,
        }
    }

    /// A part of the path for the log: a URL behind another one has a token in it wherever it stands.
    fn named(&self, part: &str) -> Arc<str> {
        let has_token = |path: &RequestPath| matches!(paths::without_token(path.as_str()), Cow::Owned(_));
        match self.path.as_ref().is_ok_and(has_token) {
            true => paths::refused(part.as_bytes()).into(),
            false => part.into(),
        }
    }

    fn loader(&self, file: &str) -> Lookup {
        let stage = match self.request.transport {
            Transport::Http => self.system_stage().unwrap_or(Stage::UefiHttp),
            Transport::Tftp if file.ends_with(".efi") => Stage::UefiPxe,
            Transport::Tftp => self.another_loader(file).unwrap_or(Stage::BiosPxe),
        };
        let loaders = &self.snapshot.loaders;
        let result = match loaders.location_of(file) {
            Some(place) => Ok(LookupResult::from(Resource::File {
                root: place.root.clone(),
                file: place.file.clone(),
                verified: None,
                is_bulk: false,
                content_type: content_type(file),
            })),
            None => {
                let name = Arc::from(&*paths::without_token(file));
                let reason = match loaders.why_unfollowed(file).map(Arc::from) {
                    Some(why) => Reason::LinkUnfollowed { file: name, why },
                    None => Reason::LoaderMissing { file: name },
                };
                Err(match is_optional(file) {
                    true => Refusal::OptionalMissing(reason),
                    false => Refusal::NotFound(reason),
                })
            }
        };
        Lookup {
            stage,
            file: RequestedFile::Loader {
                file: (&*paths::without_token(file)).into(),
            },
            result,
        }
    }
}
