//! What `explain` says a machine would be told is what it is told: over random inventories and requests, each reply, each
//! script and each file is the one that a real boot gets behind it. And nothing happens by asking.

use crate::fixtures::{self, SERVER, sourced};
use bootwright::boot::{
    arming::Arming,
    engine::{self, DiscoverCache, Ingress, Outcome},
    explain::{
        BootQuestion, Explanation, FileStanding, Places, QuestionError, QuestionWords, RowVerdict, ScratchTables,
        ServedWire, SettingLayer, Sources, Surroundings, TriedExchange, explain, play,
    },
    identity_cache::IdentityCache,
    loader::{Loaders, candidates},
    machine::{Identity, Who},
    render::Templates,
    request_path::Transport,
    resource::{FileRequest, Resolved, Resource, resource},
    snapshot::{
        BootSettings, FileStamp, Host, Hosts, Image, Origin, PortsFrom, Rule, RuleMatch, Secret, SecretSource,
        Snapshot, Subnet, UnknownPolicy, Var,
    },
    verification::{HashResult, Verification},
    world::{FileWorld, World},
};
use bootwright::lease::LeaseTable;
use bootwright::model::{
    Arch, BootTarget, By, Cidr, Cpu, Dialect, MacAddr, Mode, Name, Now, OwnAddress, Token, WallTime,
};
use bootwright::proto::dhcp::{self, RawOption};
use proptest::prelude::*;
use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

const NOW: Now = Now {
    monotonic: Duration::from_secs(100_000),
    wall: WallTime(1_700_000_000),
};
const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const PORTS: [&str; 3] = ["swp7", "leaf1/swp8", "Ethernet1/9"];
const UUIDS: [&str; 2] = [
    "11223344-5566-7788-99aa-bbccddeeff00",
    "21223344-5566-7788-99aa-bbccddeeff00",
];

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn mac(last: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0, 0, last])
}

/// Nothing is known of where values are written.
struct Nowhere;

impl Places for Nowhere {
    fn layers(&self, _: Who<'_>) -> Vec<SettingLayer> {
        Vec::new()
    }

    fn subnet(&self, _: Cidr) -> Option<Origin> {
        None
    }
}

fn stamp(length: u64) -> FileStamp {
    FileStamp {
        length,
        inode: length,
        ..FileStamp::NO_FILE
    }
}

/// Every file is there, as long as its name is.
fn look(path: &Path) -> Result<FileStamp, Box<str>> {
    match path.to_string_lossy().contains("gone") {
        true => Err("No such file or directory (os error 2)".into()),
        false => Ok(stamp(path.file_name().unwrap().len() as u64)),
    }
}

const SOURCES: Sources<'static> = Sources {
    places: &Nowhere,
    look: &look,
};

fn templates() -> Templates {
    let mut templates = Templates::new();
    let ipxe = [
        (
            "live",
            "#!ipxe\n{% for initrd in image.initrds %}\ninitrd {{ initrd.url }} || goto failed\n{% endfor %}\n\
             kernel {{ image.kernel }} fetch={{ http }}/image/other/x {{ cmdline }}\nboot\n:failed\n\
             chain {{ http }}/boot.ipxe?mac=${mac:hexhyp}\n",
        ),
        (
            "install",
            "#!ipxe\ninitrd {{ image.initrds[0].url }}\nkernel {{ image.kernel }} url={{ answer.url }} {% if callback %}\
             bootwright={{ callback.base }} {% endif %}serial={{ serial }}\nboot\n",
        ),
        ("local", "#!ipxe\nsanboot --drive 0x80 # {{ name }} {{ reason }}\n"),
        (
            "unknown",
            "#!ipxe\n:again\necho {{ mac }} {{ serial }}\nchain {{ http }}/boot.ipxe?{{ query }} ||\ngoto again\n",
        ),
        ("broken", "#!ipxe\nkernel {{ image.kernel }}\n"),
    ];
    for (script, text) in ipxe {
        let text = text.replace("{{ query }}", "mac=${mac:hexhyp}");
        templates
            .add_script(&name(script), Dialect::Ipxe, script, &text)
            .unwrap();
    }
    for dialect in [Dialect::Grub, Dialect::Pxelinux] {
        let text = "linux {{ image.path }}{{ image.kernel_file }} url={{ answer.url }}\n# {{ name }}\n";
        templates.add_script(&name("live"), dialect, "live", text).unwrap();
        templates
            .add_script(&name("local"), dialect, "local", "exit\n")
            .unwrap();
    }
    let answer = "for {{ name }} at {{ address }}: {{ vars.root_password }}\n";
    templates
        .add_answer(&name("preseed"), "preseed.cfg", "preseed.cfg", answer)
        .unwrap();
    templates
}

fn images() -> Vec<Image> {
    let image = |called: &str, cpu| Image {
        cpu,
        kernel: Some(fixtures::artifact("linux", [1; 32], stamp(5))),
        initrds: vec![
            fixtures::artifact("initrd.gz", [2; 32], stamp(9)),
            fixtures::artifact("gone.gz", [3; 32], stamp(7)),
        ],
        ..fixtures::image(called, &["/srv/", called].concat())
    };
    vec![image("amd", Some(Cpu::X86_64)), image("arm", Some(Cpu::Arm64))]
}

prop_compose! {
    fn any_settings()(
        boot in proptest::option::of(proptest::sample::select(vec![
            BootTarget::Live, BootTarget::Install, BootTarget::Local, BootTarget::Discover,
        ])),
        script in proptest::sample::select(vec!["live", "install", "broken"]),
        image in proptest::option::of(proptest::sample::select(vec!["amd", "arm"])),
        has_answer in any::<bool>(),
        loader in proptest::option::of(proptest::sample::select(vec!["grubx64.efi", "lpxelinux.0"])),
        cmdline in proptest::collection::vec(proptest::sample::select(vec!["quiet", "console=ttyS0,115200"]), 0..3),
        option in proptest::option::of((42u8..44, proptest::collection::vec(any::<u8>(), 4..=4), any::<bool>())),
    ) -> BootSettings {
        let secret = Secret::new(SecretSource::File("/etc/s/root".into()), Some("hunter2".into()));
        let raw = option.map(|(code, body, always)| (code, sourced(RawOption { code, body, always })));
        BootSettings {
            boot: boot.map(sourced),
            script: Some(sourced(name(script))),
            image: image.map(|image| sourced(name(image))),
            answer: has_answer.then(|| sourced(name("preseed"))),
            loaders: loader.into_iter().map(|loader| sourced(loader.to_owned())).collect(),
            cmdline: cmdline.into_iter().map(|word| sourced(word.to_owned())).collect(),
            // 43 is the protocol's.
            options: raw.into_iter().filter(|(code, _)| *code != 43).collect(),
            vars: [("root_password".to_owned(), sourced(Var::Secret(secret)))].into(),
            ..BootSettings::default()
        }
    }
}

prop_compose! {
    fn any_host(place: u8)(
        settings in any_settings(),
        known_by in 0..5u8,
        address in proptest::option::of((any::<bool>(), 10 + 10 * place..20 + 10 * place)),
        port in proptest::option::of(0..3usize),
        locked in proptest::bool::weighted(0.1),
    ) -> Host {
        Host {
            macs: if known_by < 3 { vec![mac(place), mac(100 + place)] } else { Vec::new() },
            uuid: (known_by == 1 || known_by == 3).then(|| UUIDS[usize::from(place % 2)].parse().unwrap()),
            serial: (known_by == 4).then(|| format!("SN-{place}")),
            port: port.map(|port| PORTS[port].to_owned()),
            address: address.map(|(near, last)| match near {
                true => Ipv4Addr::new(192, 0, 2, last),
                false => Ipv4Addr::new(198, 51, 100, last),
            }),
            locked,
            settings,
            ..fixtures::host(&format!("r1u{place:02}"))
        }
    }
}

prop_compose! {
    fn any_rule()(
        settings in any_settings(),
        cpu in proptest::option::of(proptest::sample::select(vec![Cpu::X86_64, Cpu::Arm64])),
        vendor in proptest::option::of(proptest::sample::select(vec!["PXEClient*", "ACME*"])),
        mac in proptest::option::of(proptest::sample::select(vec!["52:54:00:*", "02:*"])),
        serial in proptest::option::of(proptest::sample::select(vec!["SN-*", "X*"])),
    ) -> Rule {
        Rule {
            matches: RuleMatch {
                cpu,
                vendor: vendor.map(str::to_owned),
                mac: mac.map(str::to_owned),
                serial: serial.map(str::to_owned),
            },
            ..fixtures::rule(settings)
        }
    }
}

prop_compose! {
    fn any_subnets()(
        pools in proptest::collection::vec(proptest::option::of(1..40u8), 2..=2),
        believed in any::<bool>(),
        is_shared in proptest::bool::weighted(0.2),
        router in any::<bool>(),
    ) -> Vec<Subnet> {
        let subnet = |place: usize, net: &str| Subnet {
            router: router.then(|| format!("{net}.254").parse().unwrap()),
            dns: vec![Ipv4Addr::new(192, 0, 2, 53)],
            domain: Some("rack.example".to_owned()),
            pool: pools[place].map(|count| format!("{net}.100-{net}.{}", 99 + count).parse().unwrap()).into_iter().collect(),
            network: is_shared.then(|| name("wire")),
            ports_from: PortsFrom {
                relays: if believed { vec!["198.51.100.0/24".parse().unwrap()] } else { Vec::new() },
                switches: believed,
            },
            ..fixtures::subnet(&format!("{net}.0/24"))
        };
        vec![subnet(0, "192.0.2"), subnet(1, "198.51.100")]
    }
}

/// A room as a failing case shows it.
struct AnyRoom(Snapshot);

impl std::fmt::Debug for AnyRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Snapshot {
            hosts,
            rules,
            subnets,
            unknown,
            loaders,
            ..
        } = &self.0;
        write!(f, "{hosts:#?} {rules:#?} {subnets:#?} {unknown:?} {loaders:?}")
    }
}

prop_compose! {
    fn any_snapshot()(
        hosts in (any_host(0), any_host(1), any_host(2)),
        syslog in any::<bool>(),
        count in 0..=3usize,
        rules in proptest::collection::vec(any_rule(), 0..3),
        subnets in any_subnets(),
        unknown in proptest::sample::select(vec![UnknownPolicy::Discover, UnknownPolicy::Lease, UnknownPolicy::Ignore]),
        without in proptest::option::of(0..4u16),
    ) -> AnyRoom {
        let mut loaders = Loaders::default();
        let skipped = without.and_then(|value| Arch::from_option_93([0, 7, 11, 16][usize::from(value)]));
        for arch in Arch::all().filter(|arch| Some(*arch) != skipped) {
            if let Some(file) = candidates(arch).first() {
                loaders.add("/loaders".into(), (*file).to_owned());
            }
        }
        for (file, arch) in [("grubx64.efi", 7), ("lpxelinux.0", 0)] {
            loaders.add("/loaders".into(), file.to_owned());
            loaders.set_arch(file.to_owned(), Arch::from_option_93(arch).unwrap());
        }
        let (one, two, three) = hosts;
        AnyRoom(Snapshot {
            hosts: Hosts::new([one, two, three].into_iter().take(count).collect()),
            rules,
            subnets,
            unknown,
            loaders,
            images: images().into_iter().map(|image| (image.name.clone(), image)).collect(),
            quirks: bootwright::config::shipped_quirks(),
            templates: templates(),
            syslog,
            ..fixtures::snapshot()
        })
    }
}

prop_compose! {
    fn any_words()(
        machine in proptest::sample::select(vec![0u8, 1, 2, 100, 77]),
        by_name in any::<bool>(),
        arch in proptest::option::of(proptest::sample::select(vec!["x86_64", "arm64", "0", "7", "9", "16", "4711"])),
        stage in proptest::option::of(proptest::sample::select(vec![
            "bios-pxe", "uefi-pxe", "uefi-http", "bare-ipxe", "ipxe", "pxelinux", "system",
        ])),
        port in proptest::option::of(0..3usize),
        relay in proptest::option::of(proptest::sample::select(vec!["198.51.100.1", "203.0.113.1", "none"])),
        uuid in proptest::option::of(0..2usize),
        serial in proptest::option::of(proptest::sample::select(vec!["SN-0", "SN-2", "a b"])),
        armed in any::<bool>(),
    ) -> QuestionWords {
        let list = |word: Option<&str>| word.map(str::to_owned).into_iter().collect();
        let by_mac = mac(machine).to_string();
        QuestionWords {
            machine: vec![if by_name && machine < 3 { format!("r1u{machine:02}") } else { by_mac }],
            arch: list(arch),
            stage: list(stage),
            port: list(port.map(|port| PORTS[port])),
            relay: list(relay),
            uuid: list(uuid.map(|uuid| UUIDS[uuid])),
            serial: list(serial),
            armed: list(armed.then_some("true")),
        }
    }
}

fn wires(mode: Mode) -> Vec<ServedWire> {
    vec![ServedWire {
        name: "eno2".into(),
        mode,
        own: [OwnAddress {
            address: SERVER,
            cidr: Cidr::containing(SERVER, 24),
        }]
        .into(),
        elsewhere: Arc::default(),
    }]
}

/// What happened before: leases of others and of the machines themselves, hosts that are armed or install, artifacts that
/// were read.
fn tables(snapshot: &Snapshot, seed: u8) -> ScratchTables {
    let mut tables = ScratchTables::default();
    for image in snapshot.images.values() {
        for (place, artifact) in image.artifacts().enumerate() {
            let found = match (seed >> place) & 3 {
                0 => continue,
                1 => HashResult::Sum([9; 32]),
                _ => HashResult::Sum(artifact.sha256),
            };
            tables
                .verification
                .record(NOW, &image.path(artifact), artifact.stamp, found);
        }
    }
    for (place, host) in snapshot.hosts.iter().enumerate() {
        if (seed >> place) & 1 == 1 {
            let until = (WallTime(NOW.wall.0 + 3600), By::Inventory);
            let change = tables.arming.arm(NOW.wall, host, until).unwrap();
            tables.arming.settle(&change, true);
        }
        if seed & 0x10 != 0 {
            let address = host.address.unwrap_or(Ipv4Addr::new(192, 0, 2, 200));
            tables.arming.hand_out(NOW.wall, (host, address), || Token::SAMPLE);
        }
        tables.identities.update(Identity {
            mac: host.macs.first().copied(),
            serial: (seed & 0x20 != 0).then(|| "SN-7".to_owned()),
            vendor: (seed & 0x40 != 0).then(|| "ACME".to_owned()),
            ..Identity::default()
        });
    }
    tables
}

/// The servers' side of a real boot: what they do with each packet and each request for a file.
struct Servers<'s> {
    snapshot: &'s Snapshot,
    tables: ScratchTables,
    discovers: DiscoverCache,
}

impl Servers<'_> {
    fn packet(&mut self, ingress: &Ingress, bytes: &[u8]) -> Outcome {
        let mut request = dhcp::parse(bytes).unwrap();
        self.discovers.complete(NOW, &mut request);
        let mut world = World {
            now: NOW,
            snapshot: self.snapshot,
            leases: &mut self.tables.leases,
            arming: &mut self.tables.arming,
        };
        let outcome = engine::handle(&mut world, ingress, &request);
        self.tables.identities.record(outcome.observation.clone());
        outcome
    }

    fn file(&mut self, transport: Transport, path: &str, peer: Ipv4Addr) -> Resolved {
        let (path, query) = match (transport, path.split_once('?')) {
            (Transport::Http, Some((path, query))) => (path, Some(query)),
            _ => (path, None),
        };
        let request = FileRequest {
            query,
            ..FileRequest::get(transport, path.as_bytes(), peer, SERVER)
        };
        let files = FileWorld {
            world: World {
                now: NOW,
                snapshot: self.snapshot,
                leases: &mut self.tables.leases,
                arming: &mut self.tables.arming,
            },
            identities: &mut self.tables.identities,
            verification: &self.tables.verification,
            draw_token: || Token::SAMPLE,
        };
        resource(files, &request)
    }
}

fn bytes(outcome: &Outcome) -> Option<Vec<u8>> {
    outcome.send.as_ref().map(|send| send.encode())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn debugged(tables: &ScratchTables) -> String {
    let ScratchTables {
        leases,
        arming,
        identities,
        verification: _,
    } = tables;
    format!("{leases:?} {arming:?} {identities:?}")
}

/// Plays the boot for real that was explained, and holds each step against what was said of it.
fn holds(snapshot: &Snapshot, before: &ScratchTables, question: &BootQuestion, mode: Mode) {
    let wires = wires(mode);
    let surroundings = Surroundings {
        now: NOW,
        snapshot,
        wires: &wires,
    };
    let as_before = debugged(before);
    let trial = play(surroundings, before.clone(), question);
    let explanation = explain(surroundings, before.clone(), question, SOURCES);
    assert_eq!(debugged(before), as_before);
    let mut servers = Servers {
        snapshot,
        tables: before.clone(),
        discovers: DiscoverCache::default(),
    };
    if question.is_armed
        && let Some(host) = question
            .host
            .as_ref()
            .and_then(|host| snapshot.hosts.by_name(host.as_str()))
        && let Ok(change) = servers
            .tables
            .arming
            .arm(NOW.wall, host, (WallTime(u64::MAX), By::Inventory))
    {
        servers.tables.arming.settle(&change, true);
    }
    let mut files = trial.files.iter().zip(&explanation.files);
    assert_eq!(
        (trial.files.len(), trial.exchanges.len()),
        (explanation.files.len(), explanation.replies.len())
    );
    for (place, (exchange, shown)) in trial.exchanges.iter().zip(&explanation.replies).enumerate() {
        let TriedExchange {
            ingress,
            discover,
            offer,
            taken,
            at_boot_server,
            ..
        } = exchange;
        // The loader is fetched between the two, and everything else behind them.
        if place == 1 {
            let (file, shown) = files.next().unwrap();
            let (transport, path) = file.asked.as_ref().unwrap();
            let real = servers.file(*transport, path, trial.address.unwrap());
            assert_eq!(real.result, file.resolved.as_ref().unwrap().result);
            assert!(
                matches!(shown.standing, FileStanding::There | FileStanding::Missing),
                "{shown:?}"
            );
        }
        let real = servers.packet(ingress, discover);
        assert_eq!((bytes(&real), &real.event), (bytes(offer), &offer.event));
        assert_eq!(shown.packet, bytes(&real).as_deref().map(hexadecimal));
        assert_eq!(shown.decision, real.event.step.to_string());
        if let Some((request, outcome)) = taken {
            let real = servers.packet(ingress, request);
            assert_eq!((bytes(&real), &real.event), (bytes(outcome), &outcome.event));
        }
        assert_eq!(at_boot_server.is_some(), shown.at_boot_server.is_some());
        if let (Some(asked), Some(shown)) = (at_boot_server, &shown.at_boot_server) {
            let real = servers.packet(&asked.ingress, &asked.request);
            assert_eq!(
                (bytes(&real), &real.event),
                (bytes(&asked.outcome), &asked.outcome.event)
            );
            assert_eq!(shown.packet, bytes(&real).as_deref().map(hexadecimal));
        }
    }
    for (file, shown) in files {
        let Some((transport, path)) = &file.asked else {
            assert_eq!(
                (shown.standing, file.resolved.is_none()),
                (FileStanding::Elsewhere, true)
            );
            continue;
        };
        let real = servers.file(*transport, path, trial.address.unwrap());
        assert_eq!(real.result, file.resolved.as_ref().unwrap().result, "{path}");
        if let Ok(Resource::Text { body, .. }) = &real.result {
            assert_eq!(
                (shown.standing, shown.bytes),
                (FileStanding::Rendered, Some(body.len() as u64))
            );
            let script = explanation.script.as_ref().filter(|script| script.url == shown.url);
            assert!(script.is_none_or(|script| script.text == *body), "{path}");
        }
    }
    let json = serde_json::to_string(&explanation).unwrap();
    assert!(!json.contains("hunter2"), "{json}");
    let back: Explanation = serde_json::from_str(&json).unwrap();
    assert_eq!(back, explanation);
    assert!(
        explanation
            .matches
            .iter()
            .filter(|row| row.verdict == RowVerdict::Matched)
            .count()
            <= 1
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_real_boot_gets_what_was_explained_before_it(
        snapshot in any_snapshot(),
        words in any_words(),
        seed in any::<u8>(),
        is_proxy in proptest::bool::weighted(0.2),
    ) {
        let AnyRoom(snapshot) = snapshot;
        let before = tables(&snapshot, seed);
        let mode = if is_proxy { Mode::Proxy } else { Mode::Dhcp };
        match BootQuestion::read(&words, (&snapshot, &before.identities), &wires(mode)) {
            Ok(question) => holds(&snapshot, &before, &question, mode),
            Err(QuestionError::UnknownHost(_) | QuestionError::NoSuchArch(..)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn where_a_machine_may_log_is_told_as_what_this_server_says_and_no_file() {
    let snapshot = Snapshot {
        syslog: true,
        ..install_room()
    };
    let words = QuestionWords {
        stage: vec!["ipxe".to_owned()],
        ..named("r1u07")
    };
    let explanation = explained(&snapshot, ScratchTables::default(), &words);
    let shown = serde_json::to_value(&explanation).unwrap().to_string();
    assert!(shown.contains("this server takes logs"), "{shown}");
}

/// A room with one host that installs.
fn install_room() -> Snapshot {
    let settings = BootSettings {
        image: Some(sourced(name("amd"))),
        answer: Some(sourced(name("preseed"))),
        ..fixtures::settings(BootTarget::Install, "install")
    };
    let secret = Secret::new(SecretSource::File("/etc/s/root".into()), Some("hunter2".into()));
    let host = Host {
        macs: vec![mac(7)],
        address: Some(Ipv4Addr::new(192, 0, 2, 11)),
        settings: BootSettings {
            vars: [("root_password".to_owned(), sourced(Var::Secret(secret)))].into(),
            ..settings
        },
        ..fixtures::host("r1u07")
    };
    let mut loaders = Loaders::default();
    loaders.add("/loaders".into(), "snponly.efi".to_owned());
    Snapshot {
        hosts: Hosts::new(vec![host]),
        subnets: vec![fixtures::subnet("192.0.2.0/24")],
        loaders,
        images: images().into_iter().map(|image| (image.name.clone(), image)).collect(),
        templates: templates(),
        ..fixtures::snapshot()
    }
}

fn explained(snapshot: &Snapshot, tables: ScratchTables, words: &QuestionWords) -> Explanation {
    let wires = wires(Mode::Dhcp);
    let surroundings = Surroundings {
        now: NOW,
        snapshot,
        wires: &wires,
    };
    let question = BootQuestion::read(words, (snapshot, &tables.identities), &wires).unwrap();
    explain(surroundings, tables, &question, SOURCES)
}

fn named(machine: &str) -> QuestionWords {
    QuestionWords {
        machine: vec![machine.to_owned()],
        ..QuestionWords::default()
    }
}

#[test]
fn neither_the_token_of_an_install_nor_a_secret_of_its_answer_is_in_what_is_shown() {
    let snapshot = install_room();
    let host = snapshot.hosts.by_name("r1u07").unwrap();
    let token = Token::of_random(*b"0123456789abcdef");
    let mut arming = Arming::default();
    let change = arming.arm(NOW.wall, host, (WallTime(u64::MAX), By::Inventory)).unwrap();
    arming.settle(&change, true);
    arming.hand_out(NOW.wall, (host, Ipv4Addr::new(192, 0, 2, 11)), || token);
    let tables = ScratchTables {
        arming: arming.without_tokens(),
        ..ScratchTables::default()
    };
    let explanation = explained(&snapshot, tables, &named("r1u07"));
    let script = explanation.script.as_ref().unwrap();
    assert!(
        script
            .text
            .contains(&["callback/r1u07/", &Token::SAMPLE.reveal()].concat()),
        "{}",
        script.text
    );
    let answer = explanation
        .files
        .iter()
        .find(|file| file.url.ends_with("/answer/r1u07/preseed.cfg"))
        .unwrap();
    // The secret is in the answer itself: its length tells that it was rendered with it.
    let length = "for r1u07 at 192.0.2.11: hunter2\n".len() as u64;
    assert_eq!((answer.standing, answer.bytes), (FileStanding::Rendered, Some(length)));
    let json = serde_json::to_string(&explanation).unwrap();
    assert!(!json.contains(&token.reveal()) && !json.contains("hunter2"), "{json}");
}

#[test]
fn uefi_beside_another_dhcp_server_is_shown_what_port_4011_answers_it() {
    let snapshot = install_room();
    let wires = wires(Mode::Proxy);
    let surroundings = Surroundings {
        now: NOW,
        snapshot: &snapshot,
        wires: &wires,
    };
    for (stage, asks_there) in [("uefi-pxe", true), ("bios-pxe", false)] {
        let words = QuestionWords {
            stage: vec![stage.to_owned()],
            armed: vec!["true".to_owned()],
            ..named("r1u07")
        };
        let tables = ScratchTables::default();
        let question = BootQuestion::read(&words, (&snapshot, &tables.identities), &wires).unwrap();
        let explanation = explain(surroundings, tables, &question, SOURCES);
        let at_boot_server = explanation.replies[0].at_boot_server.as_ref();
        assert_eq!(at_boot_server.is_some(), asks_there, "{stage}");
        if let Some(answer) = at_boot_server {
            assert_eq!(answer.boot_file.as_deref(), Some("snponly.efi"), "{answer:?}");
            assert_eq!(answer.to.as_deref(), Some("192.0.2.11:4011"), "{answer:?}");
        }
    }
}

#[test]
fn a_switch_ports_bytes_are_digits_and_nothing_that_a_number_may_have_besides() {
    let snapshot = install_room();
    for (written, is_read) in [
        ("0x0004", true),
        ("0x00+1", false),
        ("0x0", false),
        ("0x", false),
        ("swp+1", true),
    ] {
        let words = QuestionWords {
            port: vec![written.to_owned()],
            ..named("r1u07")
        };
        let question = BootQuestion::read(&words, (&snapshot, &IdentityCache::default()), &wires(Mode::Dhcp));
        match question {
            Ok(_) => assert!(is_read, "{written}"),
            Err(error) => {
                assert!(!is_read, "{written}: {error}");
                assert!(
                    error.to_string().contains(written) && error.help().contains("two digits"),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn an_unarmed_host_is_explained_as_it_is_and_as_if_it_were_armed() {
    let snapshot = install_room();
    let plain = explained(&snapshot, ScratchTables::default(), &named("r1u07"));
    assert_eq!(plain.replies.len(), 1);
    assert_eq!((plain.replies[0].boot_file.as_deref(), plain.files.len()), (None, 0));
    let words = QuestionWords {
        armed: vec!["true".to_owned()],
        ..named("r1u07")
    };
    let armed = explained(&snapshot, ScratchTables::default(), &words);
    let files: Vec<(&str, FileStanding)> = armed
        .files
        .iter()
        .map(|file| (file.url.rsplit('/').next().unwrap(), file.standing))
        .collect();
    let script = armed.files[1].url.rsplit('/').next().unwrap();
    let expected = [
        ("snponly.efi", FileStanding::There),
        (script, FileStanding::Rendered),
        ("initrd.gz", FileStanding::Verifying),
        ("linux", FileStanding::Verifying),
        ("preseed.cfg", FileStanding::Rendered),
    ];
    assert_eq!(files, expected);
}

#[test]
fn an_intact_artifact_is_told_from_one_that_is_gone_was_changed_or_has_other_bytes() {
    let snapshot = install_room();
    let image = &snapshot.images["amd"];
    let all: Vec<_> = image.artifacts().collect();
    let mut verification = Verification::default();
    verification.record(NOW, &image.path(all[0]), all[0].stamp, HashResult::Sum(all[0].sha256));
    verification.record(NOW, &image.path(all[1]), all[1].stamp, HashResult::Sum([9; 32]));
    verification.record(NOW, &image.path(all[2]), all[2].stamp, HashResult::Sum(all[2].sha256));
    let mut snapshot = install_room();
    let host = Host {
        settings: BootSettings {
            image: Some(sourced(name("amd"))),
            ..fixtures::settings(BootTarget::Live, "live")
        },
        ..Host::clone(snapshot.hosts.by_name("r1u07").unwrap())
    };
    snapshot.hosts = Hosts::new(vec![host]);
    let standing = |look: &dyn Fn(&Path) -> Result<FileStamp, Box<str>>| {
        let wires = wires(Mode::Dhcp);
        let tables = ScratchTables {
            verification: verification.clone(),
            ..ScratchTables::default()
        };
        let question = BootQuestion::read(&named("r1u07"), (&snapshot, &tables.identities), &wires).unwrap();
        let surroundings = Surroundings {
            now: NOW,
            snapshot: &snapshot,
            wires: &wires,
        };
        let explanation = explain(surroundings, tables, &question, Sources { places: &Nowhere, look });
        let of = |file: &str| {
            explanation
                .files
                .iter()
                .find(|one| one.url.ends_with(file))
                .unwrap()
                .standing
        };
        (of("/linux"), of("/initrd.gz"), of("/gone.gz"), of("/other/x"))
    };
    use FileStanding::{Intact, Missing, Wrong};
    assert_eq!(standing(&look), (Intact, Wrong, Missing, Missing));
    assert_eq!(standing(&|_| Ok(stamp(4711))), (Wrong, Wrong, Wrong, Missing));
}

#[test]
fn what_was_passed_over_is_told_with_its_reason() {
    let mut snapshot = install_room();
    snapshot.rules = vec![
        Rule {
            matches: RuleMatch {
                serial: Some("SN-*".to_owned()),
                ..RuleMatch::default()
            },
            ..fixtures::rule(BootSettings::default())
        },
        fixtures::rule(BootSettings::default()),
        fixtures::rule(BootSettings::default()),
    ];
    // One digit beside r1u07's.
    let explanation = explained(&snapshot, ScratchTables::default(), &named("52:54:00:00:00:17"));
    let rows: Vec<(&str, RowVerdict)> = explanation
        .matches
        .iter()
        .map(|row| (row.what.as_str(), row.verdict))
        .collect();
    let expected = [
        ("host r1u07", RowVerdict::PassedOver),
        ("rule 1", RowVerdict::PassedOver),
        ("rule 2", RowVerdict::Matched),
        ("the rules behind it", RowVerdict::NotAsked),
    ];
    assert_eq!(rows, expected);
    let listed = explained(&snapshot, ScratchTables::default(), &named("r1u07"));
    let rows: Vec<(&str, RowVerdict)> = listed
        .matches
        .iter()
        .map(|row| (row.what.as_str(), row.verdict))
        .collect();
    assert_eq!(
        rows,
        [("host r1u07", RowVerdict::Matched), ("rules", RowVerdict::NotAsked)]
    );
}

#[test]
fn a_reservation_on_another_wire_is_explained_behind_its_relay() {
    let mut snapshot = install_room();
    let host = Host {
        address: Some(Ipv4Addr::new(198, 51, 100, 11)),
        ..Host::clone(snapshot.hosts.by_name("r1u07").unwrap())
    };
    snapshot.hosts = Hosts::new(vec![host]);
    snapshot.subnets.push(Subnet {
        router: Some(RELAY),
        ..fixtures::subnet("198.51.100.0/24")
    });
    let far = explained(&snapshot, ScratchTables::default(), &named("r1u07"));
    assert_eq!(
        (far.relay, far.replies[0].address),
        (Some(RELAY), Some(Ipv4Addr::new(198, 51, 100, 11)))
    );
    assert_eq!(far.replies[0].to.as_deref(), Some("198.51.100.1:67"));
    let words = QuestionWords {
        relay: vec!["none".to_owned()],
        ..named("r1u07")
    };
    let near = explained(&snapshot, ScratchTables::default(), &words);
    assert_eq!((near.relay, near.replies[0].address), (None, None));
    assert!(near.replies[0].reason.is_some());
}

#[test]
fn a_lease_table_of_others_decides_and_is_left_as_it_is() {
    let mut leases = LeaseTable::default();
    let address = Ipv4Addr::new(192, 0, 2, 11);
    leases
        .lease(NOW, mac(9).into(), address, Duration::from_secs(3600))
        .unwrap();
    let tables = ScratchTables {
        leases,
        identities: IdentityCache::default(),
        ..ScratchTables::default()
    };
    let explanation = explained(&install_room(), tables, &named("r1u07"));
    assert_eq!(explanation.replies[0].address, None);
}
