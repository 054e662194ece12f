//! What a host that installs is told to write, and the keys of a machine in rescue: who gets them, and who does not.

use crate::fixtures::{self, artifact, file_request, host, image, sourced};
use crate::installs::{NOW, OTHER, OWN, SCRIPT, armed, ask, asked, get, text};
use bootwright::boot::{
    arming::{Arming, DiskReport, DiskReportChange, Fingerprint, HostState},
    change::Change,
    event::{NoOrder, Reason, RequestedFile},
    method::Method,
    preview::preview,
    render::Templates,
    resource::{FileRequest, Refusal, Transport, deploy_order, order_without_pieces},
    snapshot::{BootSettings, DeployableDisk, FileStamp, Host, Hosts, Image, Snapshot, Var},
};
use bootwright::model::{
    AfterDeploy, BootTarget, CallbackDoubt, DeployImage, DeployOrder, Dialect, DiskSelector, ImageFormat, ImagePieces,
    ImageSum, InstallStep, MacAddr, SeedContent, Token, UnpackedImage,
};
use std::net::Ipv4Addr;

const TOKEN: &str = "30313233343536373839616263646566";
const ORDER: &str = "/order/r1u07/30313233343536373839616263646566";
const KEYS: &str = "/ssh-keys/r1u07";

fn listed(name: &str, last: u8, settings: BootSettings) -> Host {
    Host {
        macs: vec![MacAddr([2, 0, 0, 0, 0, last])],
        address: Some(Ipv4Addr::new(192, 0, 2, last)),
        settings,
        ..host(name)
    }
}

fn boots(target: BootTarget) -> BootSettings {
    BootSettings {
        answer: Some(sourced("cloud".parse().unwrap())),
        image: Some(sourced("debian-13".parse().unwrap())),
        disk: Some(Box::new(sourced(DiskSelector {
            serial: Some("S1".to_owned()),
            ..DiskSelector::default()
        }))),
        vars: [(
            "ssh_keys".to_owned(),
            sourced(Var::List(vec![Var::Text("ssh-ed25519 A ada".to_owned())])),
        )]
        .into(),
        ..fixtures::settings(target, "deploy")
    }
}

fn disk_image() -> Image {
    let stamp = FileStamp {
        length: 5_000_000,
        ..FileStamp::default()
    };
    Image {
        disk: Some(artifact("disk.zst", [7; 32], stamp)),
        deployable: Some(DeployableDisk {
            format: ImageFormat::Zstd,
            unpacked: Some(UnpackedImage {
                bytes: 2_000_000_000,
                sha256: None,
            }),
            pieces: None,
        }),
        ..image("debian-13", "/srv/images/debian-13")
    }
}

fn room(image: Image, target: BootTarget) -> Snapshot {
    let mut templates = Templates::new();
    for (name, text) in [
        (
            "deploy",
            "#!ipxe\n# {{ order.url }} {{ disk.serial }} {{ disk.bytes_min }}",
        ),
        ("local", "#!ipxe\n# disk"),
    ] {
        let added = templates.add_script(&name.parse().unwrap(), Dialect::Ipxe, name, text);
        added.unwrap();
    }
    for file in ["meta-data", "user-data"] {
        let added = templates.add_answer(&"cloud".parse().unwrap(), file, file, "{{ name }}");
        added.unwrap();
    }
    Snapshot {
        hosts: Hosts::new(vec![
            listed("r1u07", 7, boots(target)),
            listed("r1u08", 8, boots(BootTarget::Install)),
        ]),
        images: [(image.name.clone(), image)].into(),
        templates,
        ..fixtures::snapshot()
    }
}

fn installs() -> Snapshot {
    room(disk_image(), BootTarget::Install)
}

fn last_step(snapshot: &Snapshot, arming: &Arming) -> Option<InstallStep> {
    match &arming.record(snapshot.hosts.by_name("r1u07")?)?.state {
        HostState::Installing(install) => Some(install.last.clone()),
        _ => None,
    }
}

#[test]
fn what_the_inventory_says_of_partitions_and_of_the_end_stands_in_the_order() {
    let order = |settings: BootSettings| {
        let mut snapshot = installs();
        snapshot.hosts = Hosts::new(vec![listed("r1u07", 7, settings)]);
        let host = snapshot.hosts.by_name("r1u07").unwrap();
        let text = preview(&snapshot, host, "order", fixtures::SERVER.into()).unwrap();
        let order = DeployOrder::parse(&text).unwrap();
        (order.grow, order.then)
    };
    let plain = boots(BootTarget::Install);
    assert_eq!(order(plain.clone()), (true, AfterDeploy::Reboot));
    let told = |grow, after| BootSettings {
        grow: Some(sourced(grow)),
        after: Some(sourced(after)),
        ..plain.clone()
    };
    assert_eq!(
        order(told(false, AfterDeploy::PowerOff)),
        (false, AfterDeploy::PowerOff)
    );
    assert_eq!(order(told(true, AfterDeploy::Wait)), (true, AfterDeploy::Wait));
}

#[test]
fn whoever_asks_for_disks_alone_is_spared_the_sums_of_pieces() {
    let mut image = disk_image();
    let pieces = ImagePieces {
        bytes: 4 << 20,
        sha256: vec![ImageSum([7; 32]); 2],
    };
    image.deployable.as_mut().unwrap().pieces = Some(pieces.clone());
    let snapshot = room(image, BootTarget::Install);
    let host = snapshot.hosts.by_name("r1u07").unwrap();
    let told = (Token::SAMPLE, "http://192.0.2.1");
    let whole = deploy_order(&snapshot, host, told).unwrap();
    assert_eq!(whole.image.pieces, Some(pieces));
    let without = DeployOrder {
        image: DeployImage {
            pieces: None,
            ..whole.image.clone()
        },
        ..whole
    };
    assert_eq!(order_without_pieces(&snapshot, host, told).unwrap(), without);
}

#[test]
fn a_host_that_installs_is_told_what_to_write_where_and_whom_to_tell() {
    let (snapshot, mut arming) = (installs(), Arming::default());
    assert_eq!(text(&get(&snapshot, &mut arming, OWN, SCRIPT)), "#!ipxe\n# disk");
    let mut arming = armed(&snapshot);
    let script = get(&snapshot, &mut arming, OWN, SCRIPT);
    assert_eq!(text(&script), format!("#!ipxe\n# http://192.0.2.1{ORDER} S1 "));
    let head = FileRequest {
        method: Method::Head,
        ..file_request(Transport::Http, OWN, ORDER)
    };
    assert!(ask(&snapshot, &mut arming, &head).result.is_ok());
    assert_eq!(last_step(&snapshot, &arming), Some(InstallStep::Script));

    let resolved = get(&snapshot, &mut arming, OWN, ORDER);
    assert_eq!(resolved.subject.file, RequestedFile::Order);
    assert_eq!(last_step(&snapshot, &arming), Some(InstallStep::Answer));
    let order = DeployOrder::parse(text(&resolved)).unwrap();
    assert_eq!(order.image.url, "http://192.0.2.1/image/debian-13/disk.zst");
    assert_eq!(
        (order.image.format, order.image.bytes, order.image.sha256),
        (ImageFormat::Zstd, 5_000_000, ImageSum([7; 32]))
    );
    assert_eq!(order.image.disk_bytes(), Some(2_000_000_000));
    assert_eq!(order.disk.serial.as_deref(), Some("S1"));
    assert_eq!(order.callback, format!("http://192.0.2.1/callback/r1u07/{TOKEN}"));
    let seed: Vec<_> = order
        .seed
        .iter()
        .map(|file| (file.name.as_str(), &file.content))
        .collect();
    let at = |file: &str| SeedContent::Url(format!("http://192.0.2.1/answer/r1u07/{file}"));
    assert_eq!(seed, [("meta-data", &at("meta-data")), ("user-data", &at("user-data"))]);
}

#[test]
fn every_other_question_for_an_order_gets_one_refusal_and_the_log_alone_knows_why() {
    let snapshot = installs();
    let mut arming = armed(&snapshot);
    let refused = |arming: &mut Arming, peer: Ipv4Addr, path: &str| {
        let resolved = get(&snapshot, arming, peer, path);
        let Err(Refusal::Forbidden(reason)) = &resolved.result else {
            panic!("{path}: {resolved:?}");
        };
        let Reason::OrderRefused { why, .. } = reason else {
            panic!("{path}: {reason:?}");
        };
        assert_eq!(reason.to_client(), "refused");
        let shown = format!("{} {reason}", resolved.subject.file);
        assert!(!shown.contains("3031"), "a token is in no log: {shown}");
        *why
    };
    // Armed alone: nothing was handed out, so no token is anything.
    assert_eq!(refused(&mut arming, OWN, ORDER), CallbackDoubt::NoInstall);
    get(&snapshot, &mut arming, OWN, SCRIPT);
    for (peer, path, why) in [
        (OTHER, ORDER.to_owned(), CallbackDoubt::Address),
        (OWN, format!("/order/r1u07/{}", "0".repeat(32)), CallbackDoubt::Token),
        (OTHER, format!("/order/r1u08/{TOKEN}"), CallbackDoubt::NoInstall),
        (OWN, format!("/order/r1u99/{TOKEN}"), CallbackDoubt::Host),
        (OWN, "/order/r1u07/30".to_owned(), CallbackDoubt::Path),
        (OWN, format!("{ORDER}/disk"), CallbackDoubt::Path),
        (OWN, "/order".to_owned(), CallbackDoubt::Path),
    ] {
        assert_eq!(refused(&mut arming, peer, &path), why, "{path}");
    }
    assert_eq!(
        last_step(&snapshot, &arming),
        Some(InstallStep::Script),
        "no sign of life"
    );
    let by_tftp = ask(&snapshot, &mut arming, &file_request(Transport::Tftp, OWN, ORDER));
    assert!(matches!(
        by_tftp.result,
        Err(Refusal::Forbidden(Reason::OrderRefused { .. }))
    ));
    for broken in [format!("{ORDER}%0a"), format!("/%6frder/{}/%ff", &ORDER[7..])] {
        let resolved = get(&snapshot, &mut arming, OWN, &broken);
        let shown = format!("{} {:?}", resolved.subject.file, resolved.result);
        assert!(resolved.result.is_err() && !shown.contains("3031"), "{shown}");
    }
    // What is done is written once.
    assert!(
        get(&snapshot, &mut arming, OWN, &format!("/callback/r1u07/{TOKEN}/done"))
            .result
            .is_ok()
    );
    assert_eq!(refused(&mut arming, OWN, ORDER), CallbackDoubt::Late);
}

#[test]
fn an_image_that_is_no_disk_makes_no_order() {
    let name = || "debian-13".parse().unwrap();
    for (image, why) in [
        (image("debian-13", "/srv/i"), NoOrder::NoDisk { image: name() }),
        (
            Image {
                deployable: None,
                ..disk_image()
            },
            NoOrder::NotADisk { image: name() },
        ),
    ] {
        let snapshot = room(image, BootTarget::Install);
        let mut arming = armed(&snapshot);
        get(&snapshot, &mut arming, OWN, SCRIPT);
        let result = get(&snapshot, &mut arming, OWN, ORDER).result;
        let host = "r1u07".parse().unwrap();
        assert_eq!(result, Err(Refusal::ServerError(Reason::NoOrder { host, why })));
    }
}

#[test]
fn the_keys_of_a_machine_go_to_itself_while_it_boots_from_us() {
    let snapshot = room(disk_image(), BootTarget::Rescue);
    let mut arming = Arming::default();
    let own = get(&snapshot, &mut arming, OWN, KEYS);
    assert_eq!(text(&own), "ssh-ed25519 A ada\n");
    assert_eq!(own.subject.file, RequestedFile::SshKeys);
    let other = get(&snapshot, &mut arming, OTHER, KEYS).result;
    assert!(matches!(other, Err(Refusal::Forbidden(Reason::AnswerOfAnother { .. }))));
    let snapshot = installs();
    let disarmed = get(&snapshot, &mut Arming::default(), OWN, KEYS).result;
    assert!(matches!(disarmed, Err(Refusal::Forbidden(Reason::AnswerNotNow { .. }))));
}

/// What a POST of disks changes on disk, and what it is told.
fn tell(snapshot: &Snapshot, arming: &mut Arming, (peer, path): (Ipv4Addr, &str), body: &[u8]) -> (Vec<Change>, bool) {
    let request = FileRequest {
        method: Method::Post,
        body,
        ..file_request(Transport::Http, peer, path)
    };
    let (changes, resolved) = asked(snapshot, arming, &request);
    (changes, resolved.result.is_ok())
}

/// The reports of disks among changes.
fn reports(changes: &[Change]) -> Vec<&DiskReport> {
    changes
        .iter()
        .filter_map(|change| match change {
            Change::Disks(DiskReportChange::Put(report)) => Some(&**report),
            _ => None,
        })
        .collect()
}

const DISKS: &[u8] = br#"[{"name":"sda","bytes":480,"serial":"S1"}]"#;

#[test]
fn a_machine_tells_of_its_disks_with_the_first_word_of_its_install() {
    let snapshot = installs();
    let mut arming = armed(&snapshot);
    let started = format!("/callback/r1u07/{TOKEN}/started");
    let (changes, is_taken) = tell(&snapshot, &mut arming, (OWN, &started), DISKS);
    assert!(changes.is_empty() && !is_taken, "nothing was handed out");
    get(&snapshot, &mut arming, OWN, SCRIPT);
    let (changes, is_taken) = tell(&snapshot, &mut arming, (OWN, &started), DISKS);
    assert!(is_taken && matches!(changes[0], Change::Arming(_)));
    let [report] = reports(&changes)[..] else {
        panic!("{changes:?}");
    };
    let host = snapshot.hosts.by_name("r1u07").unwrap();
    assert_eq!((report.machine, report.told), (Fingerprint::of(host), NOW.wall));
    assert_eq!(report.disks.disks[0].serial.as_deref(), Some("S1"));
    // The same word says nothing of disks where nothing of them stands in it, and other words never do.
    for (peer, path, body) in [
        (OWN, started.as_str(), &b""[..]),
        (OWN, &started, b"message=disks"),
        (OTHER, &started, DISKS),
        (OWN, &started.replace("started", "progress"), DISKS),
        (OWN, &started.replace('3', "4"), DISKS),
    ] {
        let (changes, _) = tell(&snapshot, &mut arming, (peer, path), body);
        assert!(reports(&changes).is_empty(), "{peer} {path}");
    }
}

#[test]
fn a_machine_in_rescue_tells_of_its_disks_and_nobody_tells_of_anothers() {
    let snapshot = room(disk_image(), BootTarget::Rescue);
    let mut arming = Arming::default();
    let (changes, is_taken) = tell(&snapshot, &mut arming, (OWN, "/disks/r1u07"), DISKS);
    assert!(
        is_taken && reports(&changes).len() == 1 && changes.len() == 1,
        "{changes:?}"
    );
    for (peer, path, body) in [
        (OTHER, "/disks/r1u07", DISKS),
        (OWN, "/disks/r1u08", DISKS),
        (OWN, "/disks/r1u99", DISKS),
        (OWN, "/disks/r1u07/sda", DISKS),
        (OWN, "/disks", DISKS),
        (OWN, "/disks/r1u07", b"sda"),
    ] {
        let (changes, is_taken) = tell(&snapshot, &mut arming, (peer, path), body);
        assert!(!is_taken && changes.is_empty(), "{peer} {path}: {changes:?}");
    }
    // One that boots its disk tells of nothing: no system of ours runs there.
    let snapshot = installs();
    let (changes, is_taken) = tell(&snapshot, &mut Arming::default(), (OWN, "/disks/r1u07"), DISKS);
    assert!(!is_taken && changes.is_empty());
}

#[test]
fn no_event_shows_a_token_wherever_in_a_path_it_stands() {
    let (snapshot, mut arming) = (installs(), Arming::default());
    for path in [
        format!("/image/debian-13/callback/r1u07/{TOKEN}/done"),
        format!("/image/x/http:/192.0.2.1/order/r1u07/{TOKEN}"),
        format!("/answer/r1u07/callback/r1u07/{TOKEN}"),
        format!("/latest/callback/r1u07/{TOKEN}"),
        format!("/x/../callback/r1u07/{TOKEN}/done"),
        format!("/x/%2563allback/r1u07/{TOKEN}/done%00"),
        format!("/callback/r1u07/{TOKEN}/done%0a"),
    ] {
        let resolved = get(&snapshot, &mut arming, OWN, &path);
        let result = resolved.result.map_err(Refusal::into_reason);
        let shown = format!("{:?} {result:?}", resolved.subject);
        assert!(result.is_err() && !shown.contains("3031"), "{path}: {shown}");
    }
}
