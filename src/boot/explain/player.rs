//! The machine that is played: it asks as the one in question would, and every answer is that of the functions which
//! the servers ask.

mod messages;

use super::{
    BootQuestion, BootTrial, FileRole, ScratchTables, Surroundings, TriedExchange, TriedFile,
    files::{named_files, path_and_query},
    ingress::ingress,
    words::text_of,
};
use crate::boot::{
    engine::{self, Ingress, Outcome},
    event::{BootAction, BootFile},
    machine::{Identity, Who, identify},
    paths::{self, Ports},
    request_path::Transport,
    resource::{FileRequest, Inquiry, Resolved, Resource},
    snapshot::Host,
    world::{FileWorld, World},
};
use crate::model::{By, Dialect, Mode, Token, WallTime, limits::EXPLAINED_SCRIPTS_MAX};
use crate::proto::{
    dhcp::{
        self,
        client::{AcceptedOffer, ClientKind, ServerReply, parse_reply},
    },
    ipxe::{FileTransport, FileUrl, IpxeSettings, expand},
};
use std::net::{IpAddr, Ipv4Addr};

/// The transaction of the packets that are played.
const TRANSACTION: u32 = 0x626f_6f74;

/// Plays the boot of a machine, on tables that are dropped behind it.
pub fn play<'s>(surroundings: Surroundings<'s>, tables: ScratchTables, question: &BootQuestion) -> BootTrial<'s> {
    let mut player = Player::new(surroundings, tables, question);
    player.arm();
    player.boot();
    player.trial
}

/// A machine while its boot is played.
struct Player<'q, 's> {
    surroundings: Surroundings<'s>,
    tables: ScratchTables,
    question: &'q BootQuestion,
    trial: BootTrial<'s>,
    /// Our address, by the last reply.
    server: Ipv4Addr,
}

impl<'q, 's> Player<'q, 's> {
    fn new(surroundings: Surroundings<'s>, tables: ScratchTables, question: &'q BootQuestion) -> Player<'q, 's> {
        let identity = Identity {
            mac: Some(question.mac),
            ..Identity::default()
        };
        Player {
            trial: BootTrial {
                exchanges: Vec::new(),
                files: Vec::new(),
                who: identify(surroundings.snapshot, &identity),
                identity,
                address: None,
                notes: Vec::new(),
                script: None,
            },
            surroundings,
            tables,
            question,
            server: Ipv4Addr::UNSPECIFIED,
        }
    }
}

impl Player<'_, '_> {
    /// Has the host armed, where it is to be played so.
    fn arm(&mut self) {
        let listed = self.question.host.as_ref();
        let host = listed.and_then(|name| self.surroundings.snapshot.hosts.by_name(name.as_str()));
        let Some(host) = host.filter(|_| self.question.is_armed) else {
            return;
        };
        let date = self.tables.leases.date(self.surroundings.now);
        let until = (WallTime(u64::MAX), By::Inventory);
        match self.tables.arming.arm(date, host, until) {
            Ok(change) => self.tables.arming.settle(&change, true),
            Err(_) => self
                .trial
                .notes
                .push("it installs already: that it were armed changes nothing".into()),
        }
    }

    /// DHCP as the machine's firmware, or as whoever asks first; then what that was told to load.
    fn boot(&mut self) {
        let Some(action) = self.exchange(self.question.client()) else {
            return;
        };
        match action {
            BootAction::Loader { file } => self.load(&file),
            BootAction::Script { file } => self.ipxe_script(&file),
            BootAction::Pxelinux { server } => self.own_script(Dialect::Pxelinux, server, FileTransport::Tftp),
            BootAction::RaspberryPi
            | BootAction::Disk { .. }
            | BootAction::LeaseOnly { .. }
            | BootAction::Ignore
            | BootAction::NotFirmware
            | BootAction::NoLoader { .. } => {}
        }
    }

    /// A DISCOVER and the REQUEST behind it; what the machine is told to load.
    fn exchange(&mut self, client: ClientKind) -> Option<BootAction> {
        let Surroundings { snapshot, wires, .. } = self.surroundings;
        let Some(ingress) = ingress(snapshot, wires, self.question) else {
            self.trial
                .notes
                .push("no interface is served, so nobody hears its packets".into());
            return None;
        };
        self.server = ingress.address;
        let discover = self.message(client, None);
        let (offer, identity, who) = self.decide(&ingress, &discover);
        (self.trial.identity, self.trial.who) = (identity.clone(), who);
        let reply = offer.send.as_ref().and_then(|send| parse_reply(&send.encode()));
        let taken = reply.map(|reply| self.request(client, &ingress, &reply));
        if offer.probe.is_some() {
            let note =
                "the address is probed before it is offered, by ARP or a ping: the offer comes where nobody answers";
            self.trial.notes.push(note.into());
        }
        let is_addressed = self.trial.address.is_some();
        let at_boot_server = self.boot_server(client, &ingress, &offer);
        let last = at_boot_server.as_ref().map_or(&offer, |asked| &asked.outcome);
        let action = last.event.step.boot().cloned().filter(|_| is_addressed);
        self.trial.exchanges.push(TriedExchange {
            ingress,
            discover,
            offer,
            taken,
            at_boot_server,
            identity,
            who,
        });
        action
    }

    /// The REQUEST that takes an offer. Beside another DHCP server it takes that one's, which has an address for it.
    fn request(&mut self, client: ClientKind, ingress: &Ingress, reply: &ServerReply) -> (Vec<u8>, Outcome) {
        let takes = match ingress.mode {
            Mode::Dhcp => AcceptedOffer {
                address: reply.address,
                server: reply.server,
            },
            Mode::Proxy => self.other_server(ingress),
        };
        let request = self.message(client, Some(takes));
        let (outcome, ..) = self.decide(ingress, &request);
        let acknowledged = outcome.send.as_ref().and_then(|send| parse_reply(&send.encode()));
        self.server = reply.server;
        self.trial.address = match ingress.mode {
            Mode::Dhcp => acknowledged
                .map(|ack| ack.address)
                .filter(|address| !address.is_unspecified()),
            Mode::Proxy => Some(takes.address),
        };
        (request, outcome)
    }

    /// What another server might offer: the reservation where there is one.
    fn other_server(&self, ingress: &Ingress) -> AcceptedOffer {
        let reserved = self.host().and_then(|host| host.address);
        let near = ingress.own.first();
        let last = near.map(|own| Ipv4Addr::from(u32::from(own.cidr.broadcast()).saturating_sub(2)));
        let address = reserved.or(last).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let server = near.map(|own| Ipv4Addr::from(u32::from(own.cidr.broadcast()).saturating_sub(1)));
        AcceptedOffer {
            address,
            server: server.unwrap_or(Ipv4Addr::UNSPECIFIED),
        }
    }

    fn host(&self) -> Option<&Host> {
        let name = self.question.host.as_ref()?;
        self.surroundings
            .snapshot
            .hosts
            .by_name(name.as_str())
            .map(|host| &**host)
    }
}

impl<'s> Player<'_, 's> {
    /// What the engine decides of a packet; its machine is remembered as the DHCP server remembers it.
    fn decide(&mut self, ingress: &Ingress, packet: &[u8]) -> (Outcome, Identity, Who<'s>) {
        let request = dhcp::parse(packet).expect("our own client writes requests");
        let mut world = World {
            now: self.surroundings.now,
            snapshot: self.surroundings.snapshot,
            leases: &mut self.tables.leases,
            arming: &mut self.tables.arming,
        };
        let engine::Recognised { identity, who, .. } = engine::recognise(&world, ingress, &request);
        let outcome = engine::handle(&mut world, ingress, &request);
        self.tables.identities.record(outcome.observation.clone());
        if let Some(probe) = outcome.probe {
            self.tables.leases.probe_passed(request.hardware, probe.address);
        }
        (outcome, identity, who)
    }

    /// The loader, and then what it does.
    fn load(&mut self, file: &BootFile) {
        let (loader, url) = match file {
            BootFile::Name { loader } => (loader, Some(FileUrl::tftp(self.server, loader))),
            BootFile::Url { loader, .. } => (loader, FileUrl::url(&file.text())),
            BootFile::Script { .. } => return,
        };
        let Some(url) = url else { return };
        let dialect = self.surroundings.snapshot.loaders.dialect_of(loader);
        self.fetch(FileRole::Loader, &url);
        match dialect {
            None | Some(Dialect::Ipxe) => {
                if let Some(BootAction::Script { file }) = self.exchange(ClientKind::Ipxe) {
                    self.ipxe_script(&file);
                }
            }
            Some(other) => self.own_script(other, self.server, url.transport),
        }
    }

    /// The script of an iPXE, which says who it is.
    fn ipxe_script(&mut self, file: &BootFile) {
        let settings = self.question.ipxe_settings(self.trial.address, self.server);
        if let Some(url) = FileUrl::url(&expand(&file.text(), &settings)) {
            self.run(Dialect::Ipxe, &url, &settings);
        }
    }

    /// The script of GRUB or PXELINUX, which ask for it by the interface.
    fn own_script(&mut self, dialect: Dialect, server: Ipv4Addr, transport: FileTransport) {
        let mac = self.question.mac.hyphenated();
        let path = match dialect {
            Dialect::Pxelinux => ["/pxelinux.cfg/01-", &mac].concat(),
            Dialect::Grub | Dialect::Ipxe => ["/grub/grub.cfg-01-", &mac].concat(),
        };
        let base = match transport {
            FileTransport::Http => paths::http_base(server, self.ports()),
            FileTransport::Tftp => paths::tftp_base(server, self.ports()),
        };
        if let Some(url) = FileUrl::url(&[base, path].concat()) {
            self.run(dialect, &url, &IpxeSettings::new());
        }
    }

    fn ports(&self) -> Ports {
        self.surroundings.snapshot.ports
    }

    /// Asks for a script, and for what it names, and so on from script to script.
    fn run(&mut self, dialect: Dialect, url: &FileUrl, settings: &IpxeSettings) {
        let mut scripts = vec![url.clone()];
        let mut next = 0;
        while let Some(url) = scripts.get(next).cloned() {
            next += 1;
            let place = self.fetch(FileRole::Script, &url);
            if self.trial.script.is_none() {
                self.trial.script = Some((place, dialect));
            }
            let text = match self.trial.files[place]
                .resolved
                .as_ref()
                .map(|resolved| &resolved.result)
            {
                Some(Ok(Resource::Text { body, .. })) => body.clone(),
                _ => continue,
            };
            for named in named_files(dialect, &text, &url, settings) {
                let is_script = named.role == FileRole::Script || named.url.path.starts_with("/boot.ipxe");
                let is_new = !scripts
                    .iter()
                    .any(|known| path_and_query(known).0 == path_and_query(&named.url).0);
                match is_script {
                    true if is_new && scripts.len() < EXPLAINED_SCRIPTS_MAX => scripts.push(named.url),
                    true => {}
                    false => self.named(named.role, &named.url),
                }
            }
        }
    }

    /// A file that a script names. Where a machine tells of itself is none, and of a folder its files are asked for.
    fn named(&mut self, role: FileRole, url: &FileUrl) {
        let (path, _) = path_and_query(url);
        let is_told_there = paths::may_be_callback(path.as_bytes()) || paths::may_be_disks(path.as_bytes());
        if is_told_there {
            return;
        }
        let is_folder = path.ends_with('/');
        let is_answer = paths::may_be_answer(path.as_bytes());
        if !is_folder {
            self.fetch(role, url);
            return;
        }
        let answer = self.trial.who.settings().and_then(|settings| settings.answer.as_ref());
        let files = answer.and_then(|answer| self.surroundings.snapshot.templates.answers.get(&answer.value));
        for file in files.into_iter().flatten().filter(|_| is_answer) {
            if let Some(url) = url.join(file) {
                self.fetch(role, &url);
            }
        }
    }

    /// Asks for a file; its place among all.
    fn fetch(&mut self, role: FileRole, url: &FileUrl) -> usize {
        let mut file = TriedFile {
            role,
            url: text_of(url),
            asked: None,
            resolved: None,
        };
        if let (true, Some(peer)) = (self.is_ours(url), self.trial.address) {
            let transport = match url.transport {
                FileTransport::Tftp => Transport::Tftp,
                FileTransport::Http => Transport::Http,
            };
            file.resolved = Some(self.resolve(transport, url, peer));
            file.asked = Some((transport, url.path.clone()));
        }
        self.trial.files.push(file);
        self.trial.files.len() - 1
    }

    fn is_ours(&self, url: &FileUrl) -> bool {
        let port = match url.transport {
            FileTransport::Tftp => self.ports().tftp,
            FileTransport::Http => self.ports().http,
        };
        // A loader's name is asked for at the port that its firmware knows.
        url.is_on(self.server) && (url.port == port || url.transport == FileTransport::Tftp)
    }

    fn resolve(&mut self, transport: Transport, url: &FileUrl, peer: Ipv4Addr) -> Resolved {
        let (path, query) = path_and_query(url);
        let request = FileRequest {
            query,
            ..FileRequest::get(transport, path.as_bytes(), peer, IpAddr::from(self.server))
        };
        let tables = &mut self.tables;
        let files = FileWorld {
            world: World {
                now: self.surroundings.now,
                snapshot: self.surroundings.snapshot,
                leases: &mut tables.leases,
                arming: &mut tables.arming,
            },
            identities: &mut tables.identities,
            verification: &tables.verification,
            draw_token: || Token::SAMPLE,
        };
        let inquiry = Inquiry::begin(files, &request);
        if inquiry.is_script() {
            let subject = inquiry.subject().clone();
            self.trial.who = identify(self.surroundings.snapshot, &subject);
            self.trial.identity = subject;
        }
        inquiry.answer()
    }
}
