//! The metadata tree of EC2: who gets it, and what stands in it.

use super::*;

fn named() -> Snapshot {
    let mut room = room();
    let mut settings = live(BootTarget::Live);
    settings.vars = [("ssh_keys", "ssh-ed25519 AAAA ada"), ("facility", "ams1")]
        .map(|(key, value)| (key.to_owned(), sourced(Var::Text(value.to_owned()))))
        .into();
    let known = Host {
        hostname: Some("web-7".to_owned()),
        ..host("r1u07", 7, settings)
    };
    room.hosts = Hosts::new(vec![known, host("r1u08", 8, live(BootTarget::Local))]);
    room
}

fn ask(peer: Ipv4Addr, path: &str) -> Resolved {
    let (mut leases, mut identities) = (LeaseTable::default(), IdentityCache::default());
    get(&named(), &mut leases, &mut identities, peer, path)
}

#[test]
fn a_host_gets_its_own_tree_by_its_address_with_and_without_a_slash_at_the_end() {
    for (path, expected) in [
        ("2009-04-04/meta-data/instance-id", "r1u07"),
        ("latest/meta-data/hostname", "web-7"),
        ("2021-03-23/meta-data/local-ipv4", "192.0.2.11"),
        ("latest/meta-data/public-keys", "0=key-0"),
        ("latest/meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAA ada"),
        ("latest/meta-data/operating-system/slug", "debian-12"),
        ("latest/meta-data/facility", "ams1"),
        ("latest/user-data", "for r1u07 at 192.0.2.11"),
        ("tootles/instanceID/r1u07/2009-04-04/meta-data/hostname", "web-7"),
    ] {
        for slash in ["", "/"] {
            assert_eq!(text(&ask(HOST, &format!("/{path}{slash}"))), expected, "{path}{slash}");
        }
    }
    let file = RequestedFile::Metadata {
        path: "latest/meta-data/hostname".into(),
    };
    assert_eq!(ask(HOST, "/latest/meta-data/hostname/").subject.file, file);
    assert!(text(&ask(HOST, "/metadata")).contains("\"hostname\":\"web-7\""));
    assert!(matches!(
        ask(HOST, "/latest/meta-data/nothing").result,
        Err(Refusal::OptionalMissing(Reason::MetadataMissing))
    ));
}

#[test]
fn a_stranger_another_host_and_one_that_boots_its_disk_are_refused_as_for_an_answer() {
    let stranger = Ipv4Addr::new(192, 0, 2, 99);
    for path in [
        "metadata",
        "latest/meta-data/",
        "2009-04-04/user-data",
        "latest/nothing",
    ] {
        for (peer, path) in [
            (stranger, format!("/{path}")),
            (OTHER, format!("/{path}")),
            (OTHER, "/tootles/instanceID/r1u07/latest/user-data".to_owned()),
            (stranger, "/tootles/instanceID/r1u07/latest/meta-data/".to_owned()),
        ] {
            let refused = ask(peer, &path).result;
            assert!(
                matches!(refused, Err(Refusal::Forbidden(_))),
                "{peer} {path}: {refused:?}"
            );
        }
    }
}

#[test]
fn a_host_without_an_answer_has_nothing_to_do_and_an_operators_own_file_stands_before_the_tree() {
    let mut room = named();
    let bare = BootSettings {
        answer: None,
        ..live(BootTarget::Live)
    };
    room.hosts = Hosts::new(vec![host("r1u07", 7, bare)]);
    room.loaders.add("/srv/own".into(), "latest/user-data".into());
    let (mut leases, mut identities) = (LeaseTable::default(), IdentityCache::default());
    let mut ask = |path: &str| get(&room, &mut leases, &mut identities, HOST, path);
    let answered = ask("/2009-04-04/user-data");
    let (file, is_empty) = ("user-data".into(), true);
    assert_eq!(answered.subject.file, RequestedFile::Answer { file, is_empty });
    assert_eq!(text(&answered), "");
    assert!(matches!(ask("/latest/user-data").result, Ok(Resource::File { .. })));
}
