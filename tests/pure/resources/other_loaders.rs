//! GRUB and PXELINUX: what they ask for beside themselves, and what each machine gets.

use super::*;
use bootwright::boot::{event::Step, machine::Identity};
use bootwright::model::Uuid;

const UUID: &str = "11223344-5566-7788-99aa-bbccddeeff00";
/// [`UUID`] as PXELINUX writes it: the bytes of option 97 as they come.
const UUID_OF_PXELINUX: &str = "44332211-6655-8877-99aa-bbccddeeff00";

/// [`room`], with every script for GRUB too and all but the installer's for PXELINUX, and a host that is
/// listed by its UUID.
fn room_of_loaders() -> Snapshot {
    let mut room = room();
    let scripts = [
        (
            "debian-installer",
            Dialect::Grub,
            "linux {{ image.path }} # {{ name }} {{ mac }}",
        ),
        ("local", Dialect::Grub, "exit"),
        ("unknown", Dialect::Grub, "echo who are you"),
        ("local", Dialect::Pxelinux, "LOCALBOOT 0"),
        ("unknown", Dialect::Pxelinux, "SAY who are you"),
    ];
    for (script, dialect, text) in scripts {
        room.templates.add_script(&name(script), dialect, script, text).unwrap();
    }
    let by_uuid = Host {
        macs: Vec::new(),
        address: None,
        uuid: UUID.parse::<Uuid>().ok(),
        ..host("r1u10", 10, live(BootTarget::Live))
    };
    let hosts = room.hosts.iter().map(|listed| Host::clone(listed));
    room.hosts = Hosts::new(hosts.chain([by_uuid]).collect());
    room
}

fn ask(room: &Snapshot, identities: &mut IdentityCache, transport: Transport, peer: Ipv4Addr, path: &str) -> Resolved {
    let ask = file_request(transport, peer, path);
    let mut leases = leased(mac("52:54:00:00:00:99"));
    resource(files(room, &mut leases, identities), &ask)
}

fn fetch(peer: Ipv4Addr, path: &str) -> Resolved {
    ask(
        &room_of_loaders(),
        &mut IdentityCache::default(),
        Transport::Tftp,
        peer,
        path,
    )
}

#[test]
fn grub_gets_its_machines_script_by_the_first_name_that_it_asks_for_on_either_server() {
    let room = room_of_loaders();
    for path in [
        "grub/grub.cfg",
        "grub/grub.cfg-C000020B",
        "boot/grub/grub.cfg-C0000",
        "EFI/debian/grub.cfg-01-52-54-00-00-00-07",
        "grub.cfg-52-54-00-00-00-07",
    ] {
        for transport in [Transport::Tftp, Transport::Http] {
            let answered = ask(&room, &mut IdentityCache::default(), transport, HOST, path);
            assert_eq!(
                text(&answered),
                "linux /image/debian-12/ # r1u07 52:54:00:00:00:07",
                "{path}"
            );
            assert_eq!(answered.subject.file, installer(Dialect::Grub));
            assert_eq!(answered.subject.file.to_string(), "script debian-installer (grub)");
            assert_eq!(answered.subject.stage, Stage::Grub);
            assert_eq!(answered.subject.machine.key, listed("r1u07"));
        }
    }
}

#[test]
fn a_script_that_is_not_written_for_the_loader_is_refused_with_what_is_missing_at_every_name() {
    for path in [
        UUID_OF_PXELINUX,
        "01-52-54-00-00-00-07",
        "C000020B",
        "C000",
        "C",
        "default",
    ] {
        let answered = fetch(HOST, &format!("pxelinux.cfg/{path}"));
        assert_eq!(answered.subject.file, installer(Dialect::Pxelinux), "{path}");
        let reason = Reason::ScriptForm {
            script: name("debian-installer"),
            dialect: Dialect::Pxelinux,
            extension: "pxelinux",
        };
        assert_eq!(answered.result, Err(Refusal::NotFound(reason)), "{path}");
    }
}

/// Firmware that reads `pxelinux.cfg` itself does not take a URL apart, and U-Boot puts the folder of its
/// configuration in front.
#[test]
fn our_own_url_as_a_tftp_file_name_is_the_file_that_it_names() {
    let whole = |path: &str| fetch(HOST, path);
    let plain = whole("pxelinux.cfg/default");
    for path in [
        "tftp://192.0.2.1/pxelinux.cfg/default",
        "/tftp://192.0.2.1/pxelinux.cfg/default",
        "arm64-efi/tftp://192.0.2.1/pxelinux.cfg/default",
    ] {
        assert_eq!(
            (whole(path).subject, whole(path).result),
            (plain.subject.clone(), plain.result.clone()),
            "{path}"
        );
    }
    for path in [
        "tftp://192.0.2.9/pxelinux.cfg/default",
        "tftp://192.0.2.11/x",
        "xtftp://192.0.2.1/pxelinux.cfg/default",
        "tftp://192.0.2.1/../etc/passwd",
    ] {
        assert!(matches!(whole(path).result, Err(Refusal::BadPath { .. })), "{path}");
    }
}

/// Whether whoever asks goes on without it.
fn is_optional(answered: &Resolved) -> bool {
    answered.result.as_ref().is_err_and(Refusal::is_optional)
}

#[test]
fn u_boots_folder_of_device_trees_is_a_file_it_does_without() {
    for path in ["dtb/", "boot.scr.uimg", "C000020B.img"] {
        assert!(is_optional(&fetch(HOST, path)), "{path}");
    }
}

#[test]
fn a_file_that_loaders_do_without_is_no_failure_and_one_that_a_boot_needs_is() {
    for (path, is_needed) in [
        ("grub/x86_64-efi/fs.lst", false),
        ("shim_certificate_0.efi", false),
        ("grubx64.efi", true),
    ] {
        let answered = fetch(HOST, path);
        assert_eq!(is_optional(&answered), !is_needed, "{path}");
        let reason = Reason::LoaderMissing { file: path.into() };
        let step = answered.subject.failed(NOW, reason, !is_needed).step;
        assert_eq!(matches!(step, Step::Failed { .. }), is_needed, "{path}: {step:?}");
        assert_eq!(
            matches!(step, Step::OptionalMissing { .. }),
            !is_needed,
            "{path}: {step:?}"
        );
    }
}

#[test]
fn every_loader_asks_the_gate() {
    let mut room = room_of_loaders();
    let locked = Host {
        locked: true,
        ..host("r1u11", 11, live(BootTarget::Live))
    };
    let hosts = room.hosts.iter().map(|listed| Host::clone(listed));
    room.hosts = Hosts::new(hosts.chain([locked]).collect());
    // The host that is set to install and not armed, and the one that is locked.
    for mac in ["52-54-00-00-00-08", "52-54-00-00-00-0b"] {
        for (path, disk) in [("grub/grub.cfg-01-", "exit"), ("pxelinux.cfg/01-", "LOCALBOOT 0")] {
            for peer in [OTHER, HOST, DYNAMIC] {
                let path = format!("{path}{mac}");
                let answered = ask(&room, &mut IdentityCache::default(), Transport::Tftp, peer, &path);
                assert_eq!(text(&answered), disk, "{path} by {peer}");
                let file = &answered.subject.file;
                assert!(
                    matches!(
                        file,
                        RequestedFile::Script {
                            choice: ScriptChoice::Disk(_),
                            ..
                        }
                    ),
                    "{file:?}"
                );
            }
        }
    }
}

#[test]
fn a_machine_that_nobody_listed_is_asked_who_it_is_or_sent_to_its_disk() {
    let mut room = room_of_loaders();
    for (policy, expected) in [(UnknownPolicy::Discover, "who are you"), (UnknownPolicy::Lease, "exit")] {
        room.unknown = policy;
        let answered = ask(
            &room,
            &mut IdentityCache::default(),
            Transport::Tftp,
            DYNAMIC,
            "grub/grub.cfg",
        );
        assert!(text(&answered).ends_with(expected), "{answered:?}");
        let stranger = MachineKey::Hardware(mac("52:54:00:00:00:99").into());
        assert_eq!(answered.subject.machine.key, stranger);
    }
}

#[test]
fn a_name_that_means_another_machine_gets_what_is_that_machines_own_and_leaves_no_trace() {
    let room = room_of_loaders();
    let mut identities = IdentityCache::default();
    for (path, expected) in [
        // Of the host with that interface, as `boot.ipxe?mac=` says it, and of nobody.
        ("grub/grub.cfg-01-52-54-00-00-00-07", "r1u07"),
        ("grub/grub.cfg-C000020B", "r1u07"),
        ("grub/grub.cfg-01-02-00-00-00-00-01", "who are you"),
        ("grub/grub.cfg-C0000263", "who are you"),
    ] {
        let answered = ask(&room, &mut identities, Transport::Http, DYNAMIC, path);
        assert!(text(&answered).contains(expected), "{path}: {answered:?}");
    }
    let invented = mac("02:00:00:00:00:01");
    assert_eq!(
        identities.of(invented),
        Identity {
            mac: Some(invented),
            ..Identity::default()
        }
    );
    assert!(
        format!("{identities:?}").contains("seen: RecentMap { values: {}"),
        "{identities:?}"
    );
}

#[test]
fn a_host_listed_by_its_uuid_is_known_by_either_order_of_its_bytes_and_a_mac_weighs_more() {
    for uuid in [UUID, UUID_OF_PXELINUX] {
        let path = format!("grub/grub.cfg-{uuid}");
        assert!(text(&fetch(DYNAMIC, &path)).contains("# r1u10"), "{uuid}");
        // Boards are sold with the same placeholder.
        assert!(text(&fetch(HOST, &path)).contains("# r1u07"), "{uuid}");
    }
}

#[test]
fn what_firmware_said_by_dhcp_still_holds_when_grub_asks() {
    let room = room_of_loaders();
    let mut identities = IdentityCache::default();
    let firmware = Identity {
        mac: Some(mac("52:54:00:00:00:99")),
        vendor: Some("ACME:Arch:00007".into()),
        ..Identity::default()
    };
    identities.record(bootwright::boot::identity_cache::Observation {
        firmware: Some(firmware),
        ..Default::default()
    });
    let answered = ask(&room, &mut identities, Transport::Tftp, DYNAMIC, "grub/grub.cfg");
    assert!(text(&answered).contains("# 52-54-00-00-00-99"), "{answered:?}");
}

#[test]
fn a_file_of_exactly_that_name_beside_the_loaders_goes_out_as_it_is() {
    let mut room = room_of_loaders();
    let own = [
        "grub/grub.cfg",
        "grub/grub.cfg-01-52-54-00-00-00-07",
        "pxelinux.cfg/default",
    ];
    for file in own {
        room.loaders.add("/srv/loaders".into(), file.to_owned());
    }
    for file in own {
        let answered = ask(&room, &mut IdentityCache::default(), Transport::Tftp, HOST, file);
        assert!(
            matches!(&answered.result, Ok(Resource::File { file: named, .. }) if named == file),
            "{answered:?}"
        );
        assert_eq!(answered.subject.file, RequestedFile::Loader { file: file.into() });
    }
    let other = ask(
        &room,
        &mut IdentityCache::default(),
        Transport::Tftp,
        HOST,
        "grub/grub.cfg-C000020B",
    );
    assert!(text(&other).contains("# r1u07"));
}

#[test]
fn other_files_beside_a_configuration_are_loaders_or_not_there() {
    for path in [
        "grub/x86_64-efi/command.lst",
        "grub/grub.cfg-theme",
        "pxelinux.cfg/graphics.conf",
        "image/debian-12/grub.cfg",
        "answer/r1u08/grub.cfg",
    ] {
        let answered = fetch(HOST, path);
        assert!(answered.result.is_err(), "{path}");
        let file = &answered.subject.file;
        assert!(!matches!(file, RequestedFile::Script { .. }), "{file:?}");
    }
}
