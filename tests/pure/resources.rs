//! From a path to what it stands for, on a small room with no files and no sockets.

mod metadata;
mod other_loaders;

use crate::fixtures::{self, draw_token, file_request, nobody_armed, sourced};
use bootwright::boot::{
    change::Change,
    event::{DiskReason, MachineKey, Near, Reason, RequestedFile, ScriptChoice, Stage},
    identity_cache::{IdentityCache, Observation},
    render::Templates,
    resource::{Decided, FileRequest, Inquiry, Refusal, Resolved, Resource, Transport, resource},
    snapshot::{BootSettings, FileStamp, Host, Hosts, Image, Rule, RuleMatch, Snapshot, Subnet, UnknownPolicy, Var},
    verification::{HashResult, Verification},
    world::{FileWorld, World},
};
use bootwright::lease::{LeaseChange, LeaseRecord, LeaseTable};
use bootwright::model::{BootTarget, Dialect, HardwareAddr, MacAddr, Name, Now, WallTime, limits::IDENTITY_CACHE_MAX};
use bootwright::proto::dhcp::RawOption;
use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::{Arc, LazyLock},
    time::Duration,
};

const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 12);
const DYNAMIC: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const NOW: Now = Now {
    monotonic: Duration::from_secs(10),
    wall: WallTime(1_700_000_000),
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn mac(text: &str) -> MacAddr {
    text.parse().unwrap()
}

fn live(boot: BootTarget) -> BootSettings {
    BootSettings {
        boot: Some(sourced(boot)),
        image: Some(sourced(name("debian-12"))),
        script: Some(sourced(name("debian-installer"))),
        answer: Some(sourced(name("preseed"))),
        ..BootSettings::default()
    }
}

fn host(called: &str, last: u8, settings: BootSettings) -> Host {
    Host {
        macs: vec![MacAddr([0x52, 0x54, 0, 0, 0, last])],
        address: Some(Ipv4Addr::new(192, 0, 2, last + 4)),
        settings,
        ..fixtures::host(called)
    }
}

fn room() -> Snapshot {
    let mut templates = Templates::new();
    templates
        .add_script(
            &name("debian-installer"),
            Dialect::Ipxe,
            "debian-installer.ipxe",
            "#!ipxe\nkernel {{ image.kernel }}\n# {{ name }}",
        )
        .unwrap();
    templates
        .add_script(
            &name("local"),
            Dialect::Ipxe,
            "local.ipxe",
            "#!ipxe\n# disk {{ reason }}",
        )
        .unwrap();
    templates
        .add_script(&name("unknown"), Dialect::Ipxe, "unknown.ipxe", "#!ipxe\n# who are you")
        .unwrap();
    templates
        .add_answer(
            &name("preseed"),
            "preseed.cfg",
            "answers/preseed.cfg",
            "for {{ name }} at {{ address }}",
        )
        .unwrap();
    let by_serial = Host {
        macs: Vec::new(),
        address: None,
        serial: Some("SN-9".into()),
        ..host("r1u09", 9, live(BootTarget::Live))
    };
    let mut loaders = bootwright::boot::loader::Loaders::default();
    loaders.add("/usr/lib/ipxe".into(), "snponly.efi".into());
    let stamp = FileStamp {
        length: 3,
        modified_ns: 4,
        changed_ns: 4,
        inode: 5,
    };
    let debian = Image {
        kernel: Some(fixtures::artifact("linux", [0; 32], stamp)),
        ..fixtures::image("debian-12", "/srv/images/debian-12")
    };
    let of_acme = Rule {
        matches: RuleMatch {
            vendor: Some("ACME*".into()),
            ..RuleMatch::default()
        },
        ..fixtures::rule(live(BootTarget::Live))
    };
    Snapshot {
        hosts: Hosts::new(vec![
            host("r1u07", 7, live(BootTarget::Live)),
            host("r1u08", 8, live(BootTarget::Install)),
            by_serial,
        ]),
        rules: vec![of_acme],
        images: [(debian.name.clone(), debian)].into(),
        loaders,
        templates,
        ..fixtures::snapshot()
    }
}

/// What requests are decided from, where no artifact was read yet.
fn files<'s, 't>(
    snapshot: &'s Snapshot,
    leases: &'t mut LeaseTable,
    identities: &'t mut IdentityCache,
) -> FileWorld<'s, 't> {
    static NOTHING_READ: LazyLock<Verification> = LazyLock::new(Verification::default);
    FileWorld {
        world: World {
            now: NOW,
            snapshot,
            leases,
            arming: nobody_armed(),
        },
        identities,
        verification: &NOTHING_READ,
        draw_token,
    }
}

/// Asks over HTTP as `peer`; `path` may have a query.
fn get(
    room: &Snapshot,
    leases: &mut LeaseTable,
    identities: &mut IdentityCache,
    peer: Ipv4Addr,
    path: &str,
) -> Resolved {
    get_with(&Verification::default(), room, leases, identities, peer, path)
}

fn get_with(
    verification: &Verification,
    room: &Snapshot,
    leases: &mut LeaseTable,
    identities: &mut IdentityCache,
    peer: Ipv4Addr,
    path: &str,
) -> Resolved {
    let ask = file_request(Transport::Http, peer, path);
    let files = FileWorld {
        verification,
        ..files(room, leases, identities)
    };
    resource(files, &ask)
}

#[test]
fn what_a_request_changes_goes_with_what_it_comes_to_rendered_or_not() {
    let room = room();
    let change = Change::Lease(LeaseChange::Remove(DYNAMIC));
    for path in ["/boot.ipxe", "/autoexec.ipxe", "/nothing.efi"] {
        let ask = file_request(Transport::Http, HOST, path);
        let (mut leases, mut identities) = (LeaseTable::default(), IdentityCache::default());
        let mut begin = || Inquiry::begin(files(&room, &mut leases, &mut identities), &ask);
        assert_eq!(begin().answer().change, None);
        assert_eq!(begin().that_makes(change.clone()).answer().change, Some(change.clone()));
    }
}

fn get_alone(peer: Ipv4Addr, path: &str) -> Resolved {
    get(
        &room(),
        &mut LeaseTable::default(),
        &mut IdentityCache::default(),
        peer,
        path,
    )
}

#[test]
fn a_text_that_can_not_be_rendered_has_the_name_and_the_machine_that_it_would_have() {
    let (room, mut leases) = (room(), LeaseTable::default());
    for path in ["boot.ipxe", "boot.ipxe?serial=SN-9", "/answer/r1u07/preseed.cfg"] {
        let ask = file_request(Transport::Http, HOST, path);
        let mut inquiry = || Inquiry::begin(files(&room, &mut leases, &mut IdentityCache::default()), &ask);
        let Decided::Unrendered(unanswered, text) = inquiry().decide() else {
            panic!("{path} is decided without a template");
        };
        let whole = inquiry().answer();
        assert_eq!(unanswered.subject, whole.subject, "{path}");
        // Rendered where machines are served, or elsewhere: it is one text.
        assert_eq!(text.render_at_once(&room).map(Ok), Some(whole.result), "{path}");
    }
}

#[test]
fn a_script_that_is_kept_is_the_one_that_would_be_rendered_and_no_other_request_gets_it() {
    let (room, mut leases) = (room(), LeaseTable::default());
    let mut identities = IdentityCache::default();
    // Each is asked for twice, so that one of them may be a kept one.
    let asked = [
        (HOST, "boot.ipxe"),
        (HOST, "boot.ipxe?serial=SN-9"),
        (HOST, "boot.ipxe?serial=SN-8"),
        (HOST, "boot.ipxe?serial=SN-9&arch=arm64"),
        (Ipv4Addr::new(192, 0, 2, 250), "boot.ipxe?mac=02-00-00-00-00-01"),
        (Ipv4Addr::new(192, 0, 2, 250), "boot.ipxe?mac=02-00-00-00-00-02"),
        (Ipv4Addr::new(192, 0, 2, 251), "boot.ipxe?mac=02-00-00-00-00-02"),
    ];
    let mut kept = 0;
    for (peer, path) in asked.into_iter().chain(asked) {
        let ask = file_request(Transport::Http, peer, path);
        let anew = resource(files(&room, &mut leases, &mut identities), &ask);
        let inquiry = Inquiry::begin(files(&room, &mut leases, &mut identities), &ask);
        let resolved = match inquiry.that_keeps_texts().decide() {
            Decided::Unrendered(unanswered, text) => {
                unanswered.with(Ok(text.render_at_once(&room).expect("a plain template")))
            }
            Decided::Resolved(resolved) => {
                kept += 1;
                resolved
            }
        };
        assert_eq!(resolved.subject, anew.subject, "{peer} {path}");
        assert_eq!(resolved.result, anew.result, "{peer} {path}");
    }
    let asked = asked.len();
    assert!((asked..2 * asked).contains(&kept), "{kept} of {} were kept", 2 * asked);
}

/// What events know a listed host by.
fn listed(host: &str) -> MachineKey {
    MachineKey::Host(name(host))
}

/// The script of a host that is to be installed.
fn installer(dialect: Dialect) -> RequestedFile {
    script("debian-installer", dialect, ScriptChoice::Named)
}

/// The script of a machine that nobody listed.
fn unknown(near: Near) -> RequestedFile {
    script("unknown", Dialect::Ipxe, ScriptChoice::Unlisted(near))
}

fn script(script: &str, dialect: Dialect, choice: ScriptChoice) -> RequestedFile {
    RequestedFile::Script {
        script: name(script),
        dialect,
        choice,
        mismatch: None,
        facts: None,
    }
}

fn leased(client: impl Into<HardwareAddr>) -> LeaseTable {
    let mut leases = LeaseTable::default();
    let refused = leases.restore(
        NOW,
        vec![LeaseRecord {
            address: DYNAMIC,
            client: client.into(),
            expires: WallTime(NOW.wall.0 + 3600),
        }],
    );
    assert!(refused.is_empty());
    leases
}

fn text(answered: &Resolved) -> &str {
    match &answered.result {
        Ok(Resource::Text { body, .. }) => body,
        other => panic!("no text but {other:?}"),
    }
}

#[test]
fn a_file_in_a_folder_of_an_answer_is_served_by_its_path() {
    let mut room = room();
    let rules = ("rules/rules.xml", "answers/preseed/rules/rules.xml", "<{{ name }}/>");
    let added = room.templates.add_answer(&name("preseed"), rules.0, rules.1, rules.2);
    added.unwrap();
    let ask = |path: &str| {
        get(
            &room,
            &mut LeaseTable::default(),
            &mut IdentityCache::default(),
            HOST,
            path,
        )
        .result
    };
    let Ok(Resource::Text { body, content_type }) = ask("/answer/r1u07/rules/rules.xml") else {
        panic!("no text");
    };
    assert_eq!((body.as_str(), content_type), ("<r1u07/>", "application/xml"));
    for path in [
        "/answer/r1u07/rules",
        "/answer/r1u07/rules.xml",
        "/answer/r1u07/classes/x.xml",
    ] {
        assert!(matches!(ask(path), Err(Refusal::NotFound { .. })), "{path}");
    }
}

#[test]
fn a_script_names_the_host_that_its_query_names() {
    let answered = get_alone(HOST, "/boot.ipxe?mac=52-54-00-00-00-07");
    assert_eq!(
        text(&answered),
        "#!ipxe\nkernel http://192.0.2.1/image/debian-12/linux\n# r1u07"
    );
    assert_eq!(answered.subject.machine.key, listed("r1u07"));
    assert_eq!(answered.subject.file, installer(Dialect::Ipxe));
    assert_eq!(answered.subject.stage, Stage::Ipxe);
}

#[test]
fn a_machine_one_digit_from_a_host_is_told_from_other_strangers() {
    let what = |mac: &str| get_alone(DYNAMIC, &format!("/boot.ipxe?mac={mac}")).subject.file;
    let near = || unknown(Near(Some(name("r1u07"))));
    assert_eq!([what("52-54-00-00-00-17"), what("52-54-0a-00-00-07")], [near(), near()]);
    assert_eq!(what("52-54-00-00-01-17"), unknown(Near(None)));
}

#[test]
fn who_has_no_name_and_no_mac_is_called_by_its_address() {
    let answered = get_alone(DYNAMIC, "/none.efi");
    let machine = answered.subject.machine;
    assert_eq!(
        (machine.key, machine.hardware),
        (MachineKey::Address(DYNAMIC.into()), None)
    );
    assert_eq!(get_alone(HOST, "/none.efi").subject.machine.key, listed("r1u07"));
}

#[test]
fn an_autoexec_leads_every_machine_to_its_script_by_a_network_that_it_opens() {
    let chain = "chain --replace --autofree http://192.0.2.1/boot.ipxe?mac=${mac:hexhyp}&uuid=${uuid}\
                 &serial=${serial:uristring}&arch=${buildarch}&platform=${platform}\
                 &manufacturer=${manufacturer:uristring}&chip=${chip:uristring}\
                 &ram=${smbios/19.4.8:hexraw}&sb=${efi/SecureBoot} ||";
    for path in [
        "/autoexec.ipxe",
        "/x86_64-efi/autoexec.ipxe",
        "/answer/r1u08/autoexec.ipxe",
    ] {
        let answered = get_alone(HOST, path);
        assert_eq!(
            (&answered.subject.machine.key, &answered.subject.file),
            (&listed("r1u07"), &RequestedFile::Autoexec)
        );
        let text = text(&answered);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..6],
            ["#!ipxe", ":again", "ifopen ||", chain, "dhcp ||", chain],
            "{path}"
        );
        // Without the last line, iPXE gives the machine back to its firmware when we do not answer once.
        assert_eq!(lines.last(), Some(&"goto again"));
        assert_eq!(self::text(&get_alone(DYNAMIC, path)), text, "it is nobody's own");
    }
}

#[test]
fn an_autoexec_names_the_log_server_that_firmware_asked_nobody_for() {
    let logging = Snapshot { syslog: true, ..room() };
    let (mut leases, mut identities) = (LeaseTable::default(), IdentityCache::default());
    let answered = get(&logging, &mut leases, &mut identities, HOST, "/autoexec.ipxe");
    let text = text(&answered);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..3],
        ["#!ipxe", "isset ${syslog} || set syslog 192.0.2.1 ||", ":again"]
    );
}

#[test]
fn an_autoexec_names_no_log_server_where_the_operator_named_one() {
    let theirs = || RawOption {
        code: 7,
        body: vec![192, 0, 2, 200],
        always: false,
    };
    let mut of_subnet = Snapshot { syslog: true, ..room() };
    let named = Subnet {
        options: [(7, sourced(theirs()))].into(),
        ..fixtures::subnet("192.0.2.0/24")
    };
    of_subnet.subnets = vec![named];
    let mut of_host = Snapshot { syslog: true, ..room() };
    let settings = BootSettings {
        options: [(7, sourced(theirs()))].into(),
        ..live(BootTarget::Live)
    };
    of_host.hosts = Hosts::new(vec![host("r1u07", 7, settings)]);
    let (mut leases, mut identities) = (LeaseTable::default(), IdentityCache::default());
    for room in [of_subnet, of_host] {
        let answered = get(&room, &mut leases, &mut identities, HOST, "/autoexec.ipxe");
        let text = text(&answered);
        assert!(text.starts_with("#!ipxe\n:again\n"), "{text}");
    }
}

#[test]
fn an_autoexec_that_an_image_or_the_operator_has_goes_out_as_it_is() {
    let mut room = room();
    let own = "x86_64-efi/autoexec.ipxe";
    room.loaders.add("/srv/loaders".into(), own.into());
    let image = room.images.get_mut(&name("debian-12")).unwrap();
    let mut script = image.kernel.clone().unwrap();
    script.file = "autoexec.ipxe".into();
    image.initrds.push(script);
    let mut verification = Verification::default();
    for artifact in room.images["debian-12"].artifacts() {
        let path = room.images["debian-12"].path(artifact);
        verification.record(NOW, &path, artifact.stamp, HashResult::Sum(artifact.sha256));
    }
    let ask = |path: &str| {
        let mut leases = LeaseTable::default();
        get_with(
            &verification,
            &room,
            &mut leases,
            &mut IdentityCache::default(),
            HOST,
            path,
        )
    };
    for (path, root, file, what) in [
        (
            format!("/{own}"),
            "/srv/loaders",
            own,
            RequestedFile::Loader { file: own.into() },
        ),
        (
            "/image/debian-12/autoexec.ipxe".into(),
            "/srv/images/debian-12",
            "autoexec.ipxe",
            RequestedFile::Artifact {
                image: "debian-12".into(),
                file: "autoexec.ipxe".into(),
            },
        ),
    ] {
        let answered = ask(&path);
        assert_eq!((answered.subject.stage, answered.subject.file), (Stage::Ipxe, what));
        match answered.result {
            Ok(Resource::File {
                root: of, file: sent, ..
            }) => assert_eq!((of, sent), (root.into(), file.into())),
            other => panic!("{path}: no file but {other:?}"),
        }
    }
    for path in ["/autoexec.ipxe", "/image/fedora/autoexec.ipxe"] {
        assert!(text(&ask(path)).contains("ifopen"), "{path}");
    }
}

#[test]
fn a_machine_without_a_mac_that_only_a_rule_knows_gets_its_answer_at_its_own_lease() {
    let mut room = room();
    room.rules[0].matches = RuleMatch::default();
    for client in [
        HardwareAddr::of_guid([0xec, 0x0d, 0x9a, 0x03, 0x00, 0x9c, 0x81, 0xe2]),
        HardwareAddr::of_client_identifier(b"\x00something else"),
    ] {
        let mut leases = leased(client);
        let called = client.hyphenated();
        let mut ask = |peer, machine: &str| {
            let path = format!("/answer/{machine}/preseed.cfg");
            get(&room, &mut leases, &mut IdentityCache::default(), peer, &path)
        };
        assert_eq!(text(&ask(DYNAMIC, &called)), format!("for {called} at {DYNAMIC}"));
        for thief in [HOST, Ipv4Addr::new(192, 0, 2, 101)] {
            assert!(matches!(ask(thief, &called).result, Err(Refusal::Forbidden { .. })));
        }
        let other = called.replace('e', "f");
        assert!(matches!(ask(DYNAMIC, &other).result, Err(Refusal::Forbidden { .. })));
    }
}

#[test]
fn an_unarmed_install_host_gets_the_disk_script_and_no_answer() {
    let script = get_alone(OTHER, "/boot.ipxe?mac=52-54-00-00-00-08");
    assert_eq!(
        text(&script),
        format!("#!ipxe\n# disk {}", DiskReason::NotArmed),
        "its screen has what the log has"
    );
    let answered = get_alone(OTHER, "/answer/r1u08/preseed.cfg");
    let (machine, why) = ("r1u08".into(), DiskReason::NotArmed);
    let refusal = Refusal::Forbidden(Reason::AnswerNotNow { machine, why });
    assert_eq!(answered.result, Err(refusal));
}

#[test]
fn an_answer_goes_to_its_own_machine_and_to_no_other_address() {
    assert_eq!(
        text(&get_alone(HOST, "/answer/r1u07/preseed.cfg")),
        "for r1u07 at 192.0.2.11"
    );
    for peer in [OTHER, DYNAMIC, Ipv4Addr::new(198, 51, 100, 9)] {
        let answered = get_alone(peer, "/answer/r1u07/preseed.cfg");
        assert!(matches!(answered.result, Err(Refusal::Forbidden { .. })), "{peer}");
    }
}

#[test]
fn a_machine_that_only_a_rule_knows_gets_its_answer_at_its_own_lease() {
    let (room, mut leases) = (room(), leased(mac("52:54:00:00:00:99")));
    let mut identities = IdentityCache::default();
    let before = get(
        &room,
        &mut leases,
        &mut identities,
        DYNAMIC,
        "/answer/52-54-00-00-00-99/preseed.cfg",
    );
    assert!(matches!(before.result, Err(Refusal::Forbidden { .. })));
    let script = "/boot.ipxe?mac=52-54-00-00-00-99&manufacturer=ACME%20Inc";
    assert!(text(&get(&room, &mut leases, &mut identities, DYNAMIC, script)).ends_with("# 52-54-00-00-00-99"));
    let path = "/answer/52-54-00-00-00-99/preseed.cfg";
    let after = get(&room, &mut leases, &mut identities, DYNAMIC, path);
    assert_eq!(text(&after), "for 52-54-00-00-00-99 at 192.0.2.100");
    let thief = get(&room, &mut leases, &mut identities, HOST, path);
    assert!(matches!(thief.result, Err(Refusal::Forbidden { .. })));
}

#[test]
fn a_host_listed_by_serial_is_still_known_when_its_installer_asks() {
    let (room, mut leases) = (room(), leased(mac("52:54:00:00:00:09")));
    let mut identities = IdentityCache::default();
    let script = get(
        &room,
        &mut leases,
        &mut identities,
        DYNAMIC,
        "/boot.ipxe?mac=52-54-00-00-00-09&serial=SN-9",
    );
    assert_eq!(script.subject.machine.key, listed("r1u09"));
    let answer = get(
        &room,
        &mut leases,
        &mut identities,
        DYNAMIC,
        "/answer/r1u09/preseed.cfg",
    );
    assert_eq!(text(&answer), "for r1u09 at 192.0.2.100");
}

#[test]
fn an_answer_that_is_not_the_hosts_is_not_found() {
    let answered = get_alone(HOST, "/answer/r1u07/user-data");
    let (answer, files) = (name("preseed"), "preseed.cfg".into());
    let refusal = Refusal::NotFound(Reason::AnswerFileMissing { answer, files });
    assert_eq!(answered.result, Err(refusal));
}

#[test]
fn optional_files_of_a_nocloud_folder_that_are_not_there_are_empty_and_not_missing() {
    let mut room = room();
    for file in ["user-data", "meta-data"] {
        let template = format!("answers/autoinstall/{file}");
        room.templates
            .add_answer(&name("autoinstall"), file, &template, "for {{ name }}")
            .unwrap();
    }
    let settings = BootSettings {
        answer: Some(sourced(name("autoinstall"))),
        ..live(BootTarget::Live)
    };
    room.hosts = Hosts::new(vec![host("r1u07", 7, settings)]);
    let ask = |peer, file: &str| {
        let path = format!("/answer/r1u07/{file}");
        get(
            &room,
            &mut LeaseTable::default(),
            &mut IdentityCache::default(),
            peer,
            &path,
        )
    };
    assert_eq!(text(&ask(HOST, "user-data")), "for r1u07");
    for file in ["network-config", "vendor-data"] {
        let answered = ask(HOST, file);
        let (shown, is_empty) = (file.into(), true);
        let expected = RequestedFile::Answer { file: shown, is_empty };
        assert_eq!((text(&answered), &answered.subject.file), ("", &expected));
        assert!(
            matches!(ask(OTHER, file).result, Err(Refusal::Forbidden { .. })),
            "{file}"
        );
    }
    assert!(matches!(ask(HOST, "preseed.cfg").result, Err(Refusal::NotFound { .. })));
    let preseed = get_alone(HOST, "/answer/r1u07/network-config");
    assert!(
        matches!(preseed.result, Err(Refusal::NotFound { .. })),
        "no NoCloud folder"
    );
}

#[test]
fn an_artifact_is_served_once_its_bytes_are_known_and_nothing_else_of_its_image_is() {
    let room = room();
    let image = &room.images["debian-12"];
    let kernel = image.kernel.as_ref().unwrap();
    let path = image.path(kernel);
    let mut verification = Verification::default();
    let ask = |verification: &Verification| {
        let mut identities = IdentityCache::default();
        let mut leases = LeaseTable::default();
        get_with(
            verification,
            &room,
            &mut leases,
            &mut identities,
            OTHER,
            "/image/debian-12/linux",
        )
        .result
    };
    verification.record_progress(&path, kernel.stamp, 2);
    let refused = ask(&verification);
    let (image, file) = (name("debian-12"), Arc::<str>::from("linux"));
    let reason = Reason::Unverified {
        image: image.clone(),
        file: Arc::clone(&file),
        done: 2,
        of: 3,
    };
    assert_eq!(refused, Err(Refusal::NotReady { reason, length: 3 }));
    verification.record(NOW, &path, kernel.stamp, HashResult::Sum(kernel.sha256));
    let served = ask(&verification);
    assert!(
        matches!(&served, Ok(Resource::File { verified: Some(verified), .. }) if verified.stamp().inode == 5),
        "{served:?}"
    );
    let error: Arc<str> = "Input/output error".into();
    let wrong = Reason::ArtifactWrong {
        image: image.clone(),
        file: Arc::clone(&file),
    };
    for (finding, reason) in [
        (HashResult::Sum([1; 32]), wrong),
        (
            HashResult::Unreadable(error.to_string()),
            Reason::ArtifactUnreadable { image, file, error },
        ),
    ] {
        verification.record(NOW, &path, kernel.stamp, finding);
        assert_eq!(ask(&verification), Err(Refusal::ServerError(reason)));
    }
    for path in [
        "/image/debian-12/image.toml",
        "/image/debian-12",
        "/image/nothing/linux",
    ] {
        assert!(
            matches!(get_alone(OTHER, path).result, Err(Refusal::NotFound { .. })),
            "{path}"
        );
    }
}

#[test]
fn a_loader_is_found_by_name_and_by_no_other_path() {
    let answered = get_alone(OTHER, "/snponly.efi");
    assert!(matches!(
        &answered.result,
        Ok(Resource::File {
            content_type: "application/efi",
            verified: None,
            ..
        })
    ));
    assert!(matches!(
        get_alone(OTHER, "/etc/passwd").result,
        Err(Refusal::NotFound { .. })
    ));
    assert!(matches!(
        get_alone(OTHER, "/%2e%2e/passwd").result,
        Err(Refusal::BadPath { .. })
    ));
}

/// [`room`], with r1u07 listed by a serial number and a UUID beside its MAC.
fn room_with_a_serial() -> Snapshot {
    let host = Host {
        serial: Some("SN-7".into()),
        ..host("r1u07", 7, live(BootTarget::Live))
    };
    Snapshot {
        hosts: Hosts::new(vec![host]),
        ..room()
    }
}

#[test]
fn a_stranger_that_says_a_hosts_serial_does_not_get_its_answer() {
    let (room, mut leases) = (room_with_a_serial(), leased(mac("52:54:00:00:00:99")));
    let mut identities = IdentityCache::default();
    let claim = "/boot.ipxe?mac=52-54-00-00-00-99&serial=SN-7";
    get(&room, &mut leases, &mut identities, DYNAMIC, claim);
    for path in ["/answer/r1u07/preseed.cfg", "/answer/52-54-00-00-00-99/preseed.cfg"] {
        let answered = get(&room, &mut leases, &mut identities, DYNAMIC, path);
        assert!(matches!(answered.result, Err(Refusal::Forbidden { .. })), "{path}");
    }
    assert!(
        text(&get(
            &room,
            &mut leases,
            &mut identities,
            HOST,
            "/answer/r1u07/preseed.cfg"
        ))
        .starts_with("for r1u07")
    );
}

#[test]
fn nobody_changes_what_another_machine_said_of_itself() {
    let (room, mut leases) = (room(), leased(mac("52:54:00:00:00:09")));
    let mut identities = IdentityCache::default();
    let own = "/boot.ipxe?mac=52-54-00-00-00-09&serial=SN-9";
    get(&room, &mut leases, &mut identities, DYNAMIC, own);
    let forged = "/boot.ipxe?mac=52-54-00-00-00-09&serial=SN-OTHER";
    get(
        &room,
        &mut leases,
        &mut identities,
        Ipv4Addr::new(192, 0, 2, 66),
        forged,
    );
    let answer = get(
        &room,
        &mut leases,
        &mut identities,
        DYNAMIC,
        "/answer/r1u09/preseed.cfg",
    );
    assert_eq!(text(&answer), "for r1u09 at 192.0.2.100");
}

#[test]
fn invented_machines_do_not_push_a_real_one_out_of_memory() {
    let (room, mut leases) = (room(), leased(mac("52:54:00:00:00:09")));
    let mut identities = IdentityCache::default();
    let own = "/boot.ipxe?mac=52-54-00-00-00-09&serial=SN-9";
    get(&room, &mut leases, &mut identities, DYNAMIC, own);
    for number in 0..=IDENTITY_CACHE_MAX {
        let [_, _, _, _, _, a, b, c] = number.to_be_bytes();
        let forged = format!("/boot.ipxe?mac=02-00-00-{a:02x}-{b:02x}-{c:02x}&serial=X");
        get(
            &room,
            &mut leases,
            &mut identities,
            Ipv4Addr::new(192, 0, 2, 66),
            &forged,
        );
    }
    let answer = get(
        &room,
        &mut leases,
        &mut identities,
        DYNAMIC,
        "/answer/r1u09/preseed.cfg",
    );
    assert_eq!(text(&answer), "for r1u09 at 192.0.2.100");
}

#[test]
fn what_a_running_system_fetches_is_a_step_of_the_system_and_no_longer_of_its_loader() {
    let (room, mut leases) = (room(), leased(mac("52:54:00:00:00:07")));
    let mut identities = IdentityCache::default();
    let mut stage_after = |answered_as: Stage, path: &str| {
        identities.record(Observation {
            boot_stage: Some((mac("52:54:00:00:00:07"), answered_as, NOW.monotonic)),
            ..Observation::default()
        });
        get(&room, &mut leases, &mut identities, DYNAMIC, path).subject.stage
    };
    assert_eq!(stage_after(Stage::Ipxe, "/image/debian-12/linux"), Stage::Ipxe);
    assert_eq!(stage_after(Stage::System, "/image/debian-12/linux"), Stage::System);
    assert_eq!(stage_after(Stage::System, "/snponly.efi"), Stage::System);
    // It is powered on again.
    assert_eq!(stage_after(Stage::UefiHttp, "/snponly.efi"), Stage::UefiHttp);
    assert_eq!(stage_after(Stage::Ipxe, "/image/debian-12/linux"), Stage::Ipxe);
}

#[test]
fn a_host_in_the_wrong_rack_gets_the_address_and_the_network_that_it_has_there() {
    let mut room = room();
    let subnet = |net: &str| Subnet {
        router: Some(format!("{net}.254").parse().unwrap()),
        ..fixtures::subnet(&format!("{net}.0/24"))
    };
    room.subnets = vec![subnet("192.0.2"), subnet("198.51.100")];
    let network = "{{ address }} {{ netmask }} {{ router }}";
    room.templates
        .add_answer(&name("preseed"), "preseed.cfg", "answers/preseed.cfg", network)
        .unwrap();
    let there = Ipv4Addr::new(198, 51, 100, 100);
    let mut leases = LeaseTable::default();
    let hour = Duration::from_secs(3600);
    leases.lease(NOW, mac("52:54:00:00:00:07").into(), there, hour).unwrap();
    let mut answer = |peer| {
        let answered = get(
            &room,
            &mut leases,
            &mut IdentityCache::default(),
            peer,
            "/answer/r1u07/preseed.cfg",
        );
        text(&answered).to_owned()
    };
    assert_eq!(answer(there), "198.51.100.100 255.255.255.0 198.51.100.254");
    assert_eq!(answer(HOST), "192.0.2.11 255.255.255.0 192.0.2.254");
}

#[test]
fn who_asks_over_ipv6_is_an_unknown_machine_and_has_urls_of_ipv6() {
    let mut room = room();
    room.templates
        .add_script(
            &name("unknown"),
            Dialect::Ipxe,
            "unknown.ipxe",
            "{{ http }} {{ address }} {{ netmask }}",
        )
        .unwrap();
    let peer: Ipv6Addr = "2001:db8::7".parse().unwrap();
    let asked = FileRequest {
        server: "2001:db8::1".parse().unwrap(),
        ..file_request(Transport::Http, peer, "/boot.ipxe")
    };
    let (mut leases, mut identities) = (leased(mac("52:54:00:00:00:07")), IdentityCache::default());
    let answered = resource(files(&room, &mut leases, &mut identities), &asked);
    assert_eq!(text(&answered), "http://[2001:db8::1] 2001:db8::7 ");
    assert_eq!(answered.subject.machine.key, MachineKey::Address(peer.into()));
    assert_eq!(answered.subject.machine.key.to_string(), "2001:db8::7");
    // An answer goes to the address of its machine alone.
    let asked = file_request(Transport::Http, peer, "/answer/r1u07/preseed.cfg");
    let answered = resource(files(&room, &mut leases, &mut identities), &asked);
    assert!(
        matches!(&answered.result, Err(Refusal::Forbidden(Reason::AnswerAddressFamily { peer: asker, .. })) if *asker == peer)
    );
}

#[test]
fn an_ipv4_address_in_an_ipv6_one_is_that_ipv4_address() {
    let (room, mut identities) = (room(), IdentityCache::default());
    let mapped = HOST.to_ipv6_mapped();
    let asked = file_request(Transport::Http, mapped, "/answer/r1u07/preseed.cfg");
    let answered = resource(files(&room, &mut LeaseTable::default(), &mut identities), &asked);
    assert_eq!(text(&answered), "for r1u07 at 192.0.2.11");
}
