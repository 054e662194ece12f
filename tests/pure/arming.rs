//! Armed and unarmed hosts from their DHCP request to their script and answer.

use crate::fixtures::{self, file_request, host, sourced};
use crate::installs::{NOW, OTHER, OWN, SCRIPT, armed, ask, get, text};
use bootwright::boot::{
    arming::{Arming, ArmingChange, HostState, Standing},
    change::Change,
    event::{DiskReason, MachineKey, Reason, ScriptChoice},
    gate::{Gate, gate},
    identity_cache::IdentityCache,
    machine::{Identity, Who},
    render::Templates,
    resource::{Hearing, Promise, Refusal, Resolved, Transport, resource},
    snapshot::{BootSettings, Host, Hosts, Snapshot},
    verification::Verification,
    world::{FileWorld, World},
};
use bootwright::boot::{event::RequestedFile, method::Method, resource::FileRequest};
use bootwright::lease::LeaseTable;
use bootwright::model::{
    BootTarget, By, CallbackDoubt, Dialect, InstallNews, MacAddr, WallTime, limits::INSTALL_TRIES_MAX,
};
use std::net::Ipv4Addr;

/// What its install's URLs begin with, by the token that tests draw.
const BASE: &str = "/callback/r1u07/30313233343536373839616263646566";
const INSTALLS: &str = "#!ipxe\n# installs r1u07 http://192.0.2.1/callback/r1u07/30313233343536373839616263646566/done";
const ANSWER: &str = "/answer/r1u07/preseed.cfg";

fn install(settings: BootSettings) -> BootSettings {
    BootSettings {
        boot: Some(sourced(BootTarget::Install)),
        script: Some(sourced("installer".parse().unwrap())),
        answer: Some(sourced("preseed".parse().unwrap())),
        ..settings
    }
}

fn listed(name: &str, last: u8) -> Host {
    Host {
        macs: vec![MacAddr([2, 0, 0, 0, 0, last])],
        address: Some(Ipv4Addr::new(192, 0, 2, last)),
        settings: install(BootSettings::default()),
        ..host(name)
    }
}

fn room(hosts: Vec<Host>) -> Snapshot {
    let mut templates = Templates::new();
    for (name, text) in [
        ("installer", "#!ipxe\n# installs {{ name }} {{ callback.done }}"),
        ("local", "#!ipxe\n# disk"),
        ("unknown", "#!ipxe\n# who"),
    ] {
        let file = format!("{name}.ipxe");
        templates
            .add_script(&name.parse().unwrap(), Dialect::Ipxe, &file, text)
            .unwrap();
    }
    let preseed = "preseed".parse().unwrap();
    templates
        .add_answer(
            &preseed,
            "preseed.cfg",
            "answers/preseed.cfg",
            "for {{ name }} {{ callback.started }}",
        )
        .unwrap();
    Snapshot {
        hosts: Hosts::new(hosts),
        templates,
        ..fixtures::snapshot()
    }
}

fn both() -> Snapshot {
    room(vec![listed("r1u07", 7), listed("r1u08", 8)])
}

fn gate_of<'s>(snapshot: &'s Snapshot, arming: &mut Arming, who: Who<'s>) -> Gate<'s> {
    let world = World {
        now: NOW,
        snapshot,
        leases: &mut LeaseTable::default(),
        arming,
    };
    gate(&world, who)
}

fn standing(arming: &Arming) -> Standing {
    arming.standing(NOW.wall, &listed("r1u07", 7))
}

#[test]
fn an_armed_host_gets_its_install_at_its_own_address_and_the_disk_knows_it_first() {
    let (snapshot, mut arming) = (both(), armed(&both()));
    let resolved = get(&snapshot, &mut arming, OWN, SCRIPT);
    assert_eq!(text(&resolved), INSTALLS);
    let Some(Change::Arming(ArmingChange::Put { record, news })) = &resolved.change else {
        panic!("{:?}", resolved.change);
    };
    assert_eq!(*news, Some(InstallNews::Begun));
    assert!(matches!(&record.state, HostState::Installing(install) if install.credential.address == OWN));
    assert_eq!(
        text(&get(&snapshot, &mut arming, OWN, ANSWER)),
        format!("for r1u07 http://192.0.2.1{BASE}/started")
    );
}

#[test]
fn nobody_else_is_handed_the_install_of_an_armed_host() {
    let (snapshot, mut arming) = (both(), armed(&both()));
    for peer in [OTHER, Ipv4Addr::new(192, 0, 2, 99)] {
        let resolved = get(&snapshot, &mut arming, peer, SCRIPT);
        assert!(
            matches!(&resolved.result, Err(Refusal::Forbidden(Reason::InstallOfAnother { host, .. })) if host.as_str() == "r1u07"),
            "{resolved:?}"
        );
        assert_eq!(resolved.change, None);
    }
    assert_eq!(arming.record(&listed("r1u07", 7)).unwrap().state.name(), "armed");
    assert_eq!(
        text(&get(&snapshot, &mut arming, OTHER, "/boot.ipxe")),
        "#!ipxe\n# disk"
    );
}

#[test]
fn a_machine_that_reports_another_uuid_or_serial_number_than_is_listed_beside_its_mac_is_not_installed() {
    let uuid = "b5a1c6b2-1111-2222-3333-445566778899";
    let host = Host {
        uuid: Some(uuid.parse().unwrap()),
        serial: Some("SN-7".to_owned()),
        ..listed("r1u07", 7)
    };
    let snapshot = room(vec![host.clone()]);
    for (said, installs) in [
        ("", true),
        ("&uuid=b5a1c6b2-1111-2222-3333-445566778899&serial=sn-7", true),
        // As firmware has it that writes the fields the other way round.
        ("&uuid=b2c6a1b5-1111-2222-3333-445566778899", true),
        ("&uuid=b5a1c6b2-1111-2222-3333-445566778800", false),
        ("&serial=SN-8", false),
    ] {
        let mut arming = Arming::default();
        let until = (WallTime(NOW.wall.0 + 86_400), By::Inventory);
        let change = arming.arm(NOW.wall, &host, until).unwrap();
        arming.settle(&change, true);
        let query = format!("mac=02-00-00-00-00-07{said}");
        let request = FileRequest {
            query: Some(&query),
            ..file_request(Transport::Http, OWN, "/boot.ipxe")
        };
        let resolved = ask(&snapshot, &mut arming, &request);
        let is_refused = matches!(&resolved.result, Err(Refusal::Forbidden(Reason::OtherHardware { host, .. })) if host.as_str() == "r1u07");
        assert_eq!((resolved.change.is_some(), is_refused), (installs, !installs), "{said}");
        let state = arming.record(&host).unwrap().state.name();
        assert_eq!(state, if installs { "installing" } else { "armed" }, "{said}");
    }
}

#[test]
fn a_callback_behind_another_url_shows_no_token_to_anybody() {
    let (snapshot, mut arming) = (both(), armed(&both()));
    get(&snapshot, &mut arming, OWN, SCRIPT);
    let resolved = get(&snapshot, &mut arming, OWN, &format!("/http://192.0.2.1{BASE}/done"));
    let token = BASE.rsplit('/').next().unwrap();
    assert!(matches!(&resolved.result, Err(Refusal::NotFound(_))), "{resolved:?}");
    assert!(!format!("{resolved:?}").contains(token), "{resolved:?}");
}

/// The same request, of whoever is known to hear so much.
fn heard(request: FileRequest<'_>, hearing: Hearing) -> FileRequest<'_> {
    FileRequest { hearing, ..request }
}

#[test]
fn whose_sender_was_not_heard_begins_nothing_and_is_told_what_it_will_begin() {
    let (snapshot, mut arming) = (both(), armed(&both()));
    let request = file_request(Transport::Tftp, OWN, "boot.ipxe");
    let host = listed("r1u07", 7);
    let begins = |arming: &mut Arming| {
        let before = arming.record(&host).cloned();
        let promised = ask(&snapshot, arming, &heard(request, Hearing::Unproven { link: None }));
        assert_eq!(
            (promised.change.as_ref(), arming.record(&host)),
            (None, before.as_ref())
        );
        let Promise { token } = promised.promise.expect("something begins");
        let begun = ask(
            &snapshot,
            arming,
            &heard(request, Hearing::Acknowledged { token, link: None }),
        );
        assert_eq!((text(&begun), begun.promise), (text(&promised), None));
        assert!(matches!(begun.change, Some(Change::Arming(_))));
        text(&begun).to_owned()
    };
    // Its size is asked for in a transfer of its own, and the same boot asks once more.
    for _ in 0..2 {
        assert_eq!(begins(&mut arming), INSTALLS);
        assert_eq!(arming.record(&host).unwrap().state.name(), "installing");
    }
    // What was begun too often is begun no more, and that is found out the same way.
    for _ in 1..INSTALL_TRIES_MAX {
        arming.power_on(&host);
        assert_eq!(begins(&mut arming), INSTALLS);
    }
    arming.power_on(&host);
    assert_eq!(begins(&mut arming), "#!ipxe\n# disk");
    assert_eq!(arming.record(&host).unwrap().state.name(), "failed");
}

#[test]
fn an_answer_by_tftp_is_no_sign_of_life_before_its_client_was_heard() {
    let (snapshot, mut arming) = (both(), armed(&both()));
    get(&snapshot, &mut arming, OWN, SCRIPT);
    let request = file_request(Transport::Tftp, OWN, ANSWER);
    let host = listed("r1u07", 7);
    let before = arming.record(&host).cloned();
    let promised = ask(
        &snapshot,
        &mut arming,
        &heard(request, Hearing::Unproven { link: None }),
    );
    assert_eq!(arming.record(&host), before.as_ref());
    let Promise { token } = promised.promise.expect("it is a sign of life once it is heard");
    ask(
        &snapshot,
        &mut arming,
        &heard(request, Hearing::Acknowledged { token, link: None }),
    );
    assert_ne!(arming.record(&host), before.as_ref());
}

#[test]
fn who_is_a_host_by_a_broadcast_alone_is_it_by_its_mac_on_the_wire() {
    let uuid = "4c4c4544-0042-3510-8051-b4c04f475931".parse().unwrap();
    let by_uuid = Host {
        macs: Vec::new(),
        uuid: Some(uuid),
        ..listed("r1u07", 7)
    };
    let (own, other) = (MacAddr([2, 0, 0, 0, 0, 7]), MacAddr([2, 0, 0, 0, 0, 66]));
    let peer = Ipv4Addr::new(192, 0, 2, 66);
    for snapshot in [both(), room(vec![by_uuid, listed("r1u08", 8)])] {
        let mut identities = IdentityCache::default();
        identities.update(Identity {
            mac: Some(own),
            uuid: Some(uuid),
            ..Identity::default()
        });
        identities.record_address(peer, own);
        let request = file_request(Transport::Http, peer, "/boot.ipxe");
        let mut asks = |arming: &mut Arming, hearing| {
            let files = FileWorld {
                world: World {
                    now: NOW,
                    snapshot: &snapshot,
                    leases: &mut LeaseTable::default(),
                    arming,
                },
                identities: &mut identities,
                verification: &Verification::default(),
                draw_token: fixtures::draw_token,
            };
            resource(files, &heard(request, hearing))
        };
        for (link, installs) in [(Some(own), true), (Some(other), false), (None, true)] {
            let mut arming = armed(&snapshot);
            let promised = asks(&mut arming, Hearing::Proven);
            assert_eq!(promised.change, None, "{link:?}");
            let Promise { token } = promised.promise.expect("something begins");
            let begun = asks(&mut arming, Hearing::Acknowledged { token, link });
            assert_eq!(begun.change.is_some(), installs, "{link:?}: {:?}", begun.result);
            let is_refused = matches!(&begun.result, Err(Refusal::Forbidden(Reason::InstallOfAnother { holder: MachineKey::Hardware(holder), .. })) if *holder == other.into());
            assert_eq!(is_refused, !installs, "{link:?}: {:?}", begun.result);
        }
    }
}

#[test]
fn a_question_and_a_script_that_is_not_there_begin_nothing() {
    let (snapshot, mut arming) = (both(), armed(&both()));
    let head = FileRequest {
        method: Method::Head,
        ..file_request(Transport::Http, OWN, SCRIPT)
    };
    assert_eq!(ask(&snapshot, &mut arming, &head).change, None);
    let grub = file_request(Transport::Tftp, OWN, "grub/grub.cfg-01-02-00-00-00-00-07");
    assert_eq!(ask(&snapshot, &mut arming, &grub).change, None);
    assert_eq!(get(&snapshot, &mut arming, OWN, ANSWER).change, None);
    assert_eq!(arming.record(&listed("r1u07", 7)).unwrap().state.name(), "armed");
}

#[test]
fn a_host_that_is_not_armed_or_no_more_boots_its_disk_and_gets_no_answer() {
    let (snapshot, mut disarmed) = (both(), armed(&both()));
    disarmed.disarm(NOW.wall, &"r1u07".parse().unwrap(), By::Time).unwrap();
    for mut arming in [Arming::default(), disarmed] {
        let resolved = get(&snapshot, &mut arming, OWN, SCRIPT);
        assert_eq!((text(&resolved), &resolved.change), ("#!ipxe\n# disk", &None));
        assert!(matches!(
            &resolved.subject.file,
            RequestedFile::Script {
                choice: ScriptChoice::Disk(DiskReason::NotArmed),
                ..
            }
        ));
        let answer = get(&snapshot, &mut arming, OWN, ANSWER);
        assert!(matches!(&answer.result, Err(Refusal::Forbidden(_))), "{answer:?}");
    }
}

#[test]
fn lock_rule_and_another_machine_win_over_an_arming() {
    let locked = room(vec![Host {
        locked: true,
        ..listed("r1u07", 7)
    }]);
    let host = locked.hosts.by_name("r1u07").unwrap();
    assert_eq!(
        gate_of(&locked, &mut armed(&both()), Who::Host(host)),
        Gate::Disk(DiskReason::Locked)
    );

    let of_rule = Snapshot {
        rules: vec![fixtures::rule(install(BootSettings::default()))],
        ..room(vec![])
    };
    let by_rule = Who::Rule(&of_rule.rules[0]);
    assert_eq!(
        gate_of(&of_rule, &mut armed(&both()), by_rule),
        Gate::Disk(DiskReason::RuleInstalls)
    );

    // Its MAC is another host's, and its name another machine's.
    let swapped = room(vec![listed("r1u08", 7), listed("r1u07", 9)]);
    for name in ["r1u07", "r1u08"] {
        let host = swapped.hosts.by_name(name).unwrap();
        assert_eq!(
            gate_of(&swapped, &mut armed(&both()), Who::Host(host)),
            Gate::Disk(DiskReason::NotArmed),
            "{name}"
        );
    }
}

#[test]
fn a_script_by_name_of_the_address_or_by_tftp_asks_the_same_gate() {
    let (snapshot, mut arming) = (both(), armed(&both()));
    let plain = get(&snapshot, &mut arming, OWN, "/boot.ipxe");
    assert_eq!(text(&plain), INSTALLS);
    let by_tftp = ask(&snapshot, &mut arming, &file_request(Transport::Tftp, OWN, "boot.ipxe"));
    assert_eq!(text(&by_tftp), INSTALLS);
    assert_eq!(standing(&arming), Standing::Open);
    arming.disarm(NOW.wall, &"r1u07".parse().unwrap(), By::Time).unwrap();
    let by_tftp = ask(&snapshot, &mut arming, &file_request(Transport::Tftp, OWN, "boot.ipxe"));
    assert_eq!(text(&by_tftp), "#!ipxe\n# disk");
}

/// Who asks for what, and how.
fn call(snapshot: &Snapshot, arming: &mut Arming, peer: Ipv4Addr, path: &str) -> Resolved {
    get(snapshot, arming, peer, path)
}

#[test]
fn an_installs_own_word_is_taken_and_changes_the_disk() {
    let (snapshot, mut arming) = (both(), armed(&both()));
    get(&snapshot, &mut arming, OWN, SCRIPT);
    for (word, expected) in [
        ("started", InstallNews::Started),
        ("progress/40", InstallNews::Progressed),
        ("done", InstallNews::Done),
    ] {
        let resolved = call(&snapshot, &mut arming, OWN, &format!("{BASE}/{word}"));
        assert_eq!(text(&resolved), "ok\n");
        let Some(Change::Arming(ArmingChange::Put { news, .. })) = resolved.change else {
            panic!("{word} changes nothing");
        };
        assert_eq!(news, Some(expected));
    }
    assert_eq!(standing(&arming), Standing::Installed);
    assert_eq!(text(&get(&snapshot, &mut arming, OWN, SCRIPT)), "#!ipxe\n# disk");
}

#[test]
fn what_programs_send_of_themselves_counts_and_after_the_end_changes_nothing() {
    let (snapshot, mut arming) = (both(), armed(&both()));
    get(&snapshot, &mut arming, OWN, SCRIPT);
    let mut post = |word: &str, body: &str| {
        let path = format!("{BASE}/{word}");
        let request = FileRequest {
            method: Method::Post,
            body: body.as_bytes(),
            ..file_request(Transport::Http, OWN, &path)
        };
        let resolved = ask(&snapshot, &mut arming, &request);
        match (resolved.result, resolved.change) {
            (Ok(_), Some(Change::Arming(ArmingChange::Put { record, news }))) => Ok((news, record.state.name())),
            (Err(Refusal::Forbidden(Reason::CallbackRefused { why, .. })), None) => Err(why),
            other => panic!("{word}: {other:?}"),
        }
    };
    let event = r#"{"name": "init-network", "description": "searching", "event_type": "start"}"#;
    let end = r#"{"name": "init-network", "event_type": "finish", "result": "SUCCESS"}"#;
    let home = "instance_id=r1u07&hostname=web-7";
    for (word, body, expected) in [
        ("reporting", event, Ok((Some(InstallNews::Progressed), "installing"))),
        ("reporting", event, Ok((None, "installing"))),
        ("reporting", end, Ok((None, "installing"))),
        ("reporting", "searching", Err(CallbackDoubt::Body)),
        ("phone_home", "", Err(CallbackDoubt::Body)),
        ("phone_home", home, Ok((Some(InstallNews::Done), "installed"))),
        ("phone_home", home, Ok((None, "installed"))),
        ("proxmox", r#"{"$schema":{"version":"1.2"}}"#, Ok((None, "installed"))),
        ("reporting", event, Ok((None, "installed"))),
        ("progress", "percent=40", Err(CallbackDoubt::Late)),
    ] {
        assert_eq!(post(word, body), expected, "{word} {body}");
    }
    assert_eq!(standing(&arming), Standing::Installed);
}

#[test]
fn every_other_callback_gets_one_refusal_and_the_log_alone_knows_why() {
    let (snapshot, mut arming) = (both(), armed(&both()));
    get(&snapshot, &mut arming, OWN, SCRIPT);
    let done = format!("{BASE}/done");
    let of = |host: &str, token: &str| format!("/callback/{host}/{token}/done");
    let own = "30313233343536373839616263646566";
    for (peer, path, expected) in [
        (OTHER, done.clone(), CallbackDoubt::Address),
        (Ipv4Addr::new(192, 0, 2, 99), done.clone(), CallbackDoubt::Address),
        (OWN, of("r1u07", &"0".repeat(32)), CallbackDoubt::Token),
        (OTHER, of("r1u08", own), CallbackDoubt::NoInstall),
        (OWN, of("r1u99", own), CallbackDoubt::Host),
        (OWN, of("r1u07", "30"), CallbackDoubt::Path),
        (OWN, format!("{BASE}/finished"), CallbackDoubt::Path),
        (OWN, "/callback".to_owned(), CallbackDoubt::Path),
    ] {
        let resolved = call(&snapshot, &mut arming, peer, &path);
        assert_eq!(resolved.change, None, "{path}");
        let Err(Refusal::Forbidden(reason)) = &resolved.result else {
            panic!("{path}: {resolved:?}");
        };
        assert_eq!(
            *reason,
            Reason::CallbackRefused {
                peer: peer.into(),
                why: expected
            },
            "{path}"
        );
        assert_eq!(reason.to_client(), "refused");
        let shown = format!("{} {reason}", resolved.subject.file);
        assert!(!shown.contains("3031"), "a token is in no log: {shown}");
    }
    let by_tftp = file_request(Transport::Tftp, OWN, &done);
    let refused = ask(&snapshot, &mut arming, &by_tftp);
    assert!(matches!(
        refused.result,
        Err(Refusal::Forbidden(Reason::CallbackRefused { .. }))
    ));
    assert_eq!(standing(&arming), Standing::Open);
}

#[test]
fn a_callback_whose_path_is_broken_shows_its_token_in_no_event() {
    let (snapshot, mut arming) = (both(), armed(&both()));
    get(&snapshot, &mut arming, OWN, SCRIPT);
    for path in [
        format!("{BASE}/progress/40%0a"),
        format!("{BASE}/done/%ff"),
        format!("{BASE}/../done"),
        format!("/%63{}/done%00", &BASE[2..]),
    ] {
        let resolved = get(&snapshot, &mut arming, OWN, &path);
        let Err(refusal) = resolved.result else {
            panic!("{path} is taken");
        };
        let shown = format!("{} {}", resolved.subject.file, refusal.into_reason());
        assert!(!shown.contains("3031"), "a token is in no log: {shown}");
    }
    assert_eq!(standing(&arming), Standing::Open);
}

#[test]
fn another_machine_on_our_wire_is_sent_no_block_of_what_an_install_is_told() {
    let (snapshot, mut arming) = (both(), armed(&both()));
    get(&snapshot, &mut arming, OWN, SCRIPT);
    let (own, other) = (MacAddr([2, 0, 0, 0, 0, 7]), MacAddr([2, 0, 0, 0, 0, 66]));
    let peer = Ipv4Addr::new(192, 0, 2, 66);
    // Whoever has that address says by a broadcast that the host has it.
    let mut identities = IdentityCache::default();
    identities.record_address(peer, own);
    let mut asks = |path: &str, link| {
        let files = FileWorld {
            world: World {
                now: NOW,
                snapshot: &snapshot,
                leases: &mut LeaseTable::default(),
                arming: &mut arming,
            },
            identities: &mut identities,
            verification: &Verification::default(),
            draw_token: fixtures::draw_token,
        };
        let request = file_request(Transport::Tftp, peer, path);
        resource(files, &heard(request, Hearing::Unproven { link }))
    };
    for path in ["boot.ipxe", ANSWER] {
        for (link, is_told) in [(Some(own), true), (None, true), (Some(other), false)] {
            let resolved = asks(path, link);
            assert_eq!(resolved.promise.is_some(), is_told, "{path} {link:?}");
            let shown = format!("{:?}", resolved.result);
            assert_eq!(shown.contains(BASE), is_told, "{path} {link:?}: {shown}");
        }
    }
}
