//! A secret goes to the installer of its armed host, at its own address, and nowhere else.

use crate::fixtures::{self, draw_token, host, sourced};
use crate::installs::{NOW, OTHER, OWN, SCRIPT, armed, get};
use bootwright::boot::{
    arming::Arming,
    callback::Callback,
    event::Reason,
    plan::Picture,
    preview::{NoPreview, preview},
    render::Templates,
    resource::{Refusal, Resource},
    snapshot::{BLACKED_OUT, BootSettings, Host, Hosts, Secret, SecretSource, Snapshot, Var, VarTable},
};
use bootwright::model::{BootTarget, Dialect, MacAddr};
use std::net::Ipv4Addr;

const SECRET: &str = "cOrrect-hOrse";

fn listed(name: &str, last: u8, target: BootTarget) -> Host {
    let source = SecretSource::File("/etc/bootwright/secrets/root".into());
    let secret = Var::Secret(Secret::new(source, Some(SECRET.into())));
    Host {
        macs: vec![MacAddr([2, 0, 0, 0, 0, last])],
        address: Some(Ipv4Addr::new(192, 0, 2, last)),
        settings: BootSettings {
            answer: Some(sourced("preseed".parse().unwrap())),
            vars: VarTable::from([
                ("root_password".to_owned(), sourced(secret)),
                ("disk".to_owned(), sourced(Var::Text("/dev/vda".to_owned()))),
            ]),
            ..fixtures::settings(target, "installer")
        },
        ..host(name)
    }
}

fn room(script: &str, answer: &str, target: BootTarget) -> Snapshot {
    let mut templates = Templates::new();
    for (name, text) in [("installer", script), ("local", "#!ipxe\n"), ("unknown", "#!ipxe\n")] {
        let file = format!("{name}.ipxe");
        templates
            .add_script(&name.parse().unwrap(), Dialect::Ipxe, &file, text)
            .unwrap();
    }
    let preseed = "preseed".parse().unwrap();
    templates
        .add_answer(&preseed, "preseed.cfg", "preseed.cfg", answer)
        .unwrap();
    Snapshot {
        hosts: Hosts::new(vec![listed("r1u07", 7, target), listed("r1u08", 8, target)]),
        templates,
        ..fixtures::snapshot()
    }
}

const PLAIN: &str = "#!ipxe\n# {{ name }} {{ vars.disk }}\n";
const ANSWER: &str = "rootpw {{ vars.root_password }} on {{ vars.disk }}";

fn answer(snapshot: &Snapshot, arming: &mut Arming, peer: Ipv4Addr) -> Result<Resource, Refusal> {
    get(snapshot, arming, peer, "/answer/r1u07/preseed.cfg").result
}

#[test]
fn a_secret_is_in_the_answer_of_an_install_under_way_and_in_nothing_else() {
    let snapshot = room(PLAIN, ANSWER, BootTarget::Install);
    let is_hushed = |found: &Result<Resource, Refusal>| !format!("{found:?}").contains(SECRET);
    let mut arming = Arming::default();
    let unarmed = answer(&snapshot, &mut arming, OWN);
    assert!(
        matches!(unarmed, Err(Refusal::Forbidden(_))) && is_hushed(&unarmed),
        "{unarmed:?}"
    );
    let mut arming = armed(&snapshot);
    let not_begun = answer(&snapshot, &mut arming, OWN);
    assert!(not_begun.is_err() && is_hushed(&not_begun), "{not_begun:?}");
    let script = get(&snapshot, &mut arming, OWN, SCRIPT).result;
    assert!(script.is_ok() && is_hushed(&script), "{script:?}");
    let Ok(Resource::Text { body, .. }) = answer(&snapshot, &mut arming, OWN) else {
        panic!("it installs");
    };
    assert_eq!(body, format!("rootpw {SECRET} on /dev/vda"));
    for peer in [OTHER, Ipv4Addr::new(192, 0, 2, 99)] {
        let refused = answer(&snapshot, &mut arming, peer);
        assert!(refused.is_err() && is_hushed(&refused), "{refused:?}");
    }
    let own = (&**snapshot.hosts.by_name("r1u07").unwrap(), OWN);
    arming.heard(NOW.wall, own, (draw_token(), Callback::Done)).unwrap();
    let done = answer(&snapshot, &mut arming, OWN);
    assert!(done.is_err() && is_hushed(&done), "{done:?}");
}

#[test]
fn a_script_and_the_answer_of_a_host_that_never_installs_get_no_secret() {
    for script in [
        "#!ipxe\n# {{ vars.root_password }}\n",
        "#!ipxe\n# {{ vars }}\n",
        "#!ipxe\n# {{ vars | tojson }}\n",
        "#!ipxe\n{% for key, value in vars | items %}# {{ value }}\n{% endfor %}",
        "#!ipxe\n# {{ vars['root' ~ '_password'] }}\n",
    ] {
        let snapshot = room(script, ANSWER, BootTarget::Live);
        let found = get(&snapshot, &mut Arming::default(), OWN, SCRIPT).result;
        assert!(!format!("{found:?}").contains(SECRET), "{script}: {found:?}");
        let snapshot = room(script, ANSWER, BootTarget::Install);
        let found = get(&snapshot, &mut armed(&snapshot), OWN, SCRIPT).result;
        assert!(!format!("{found:?}").contains(SECRET), "{script}: {found:?}");
    }
    let snapshot = room(PLAIN, ANSWER, BootTarget::Live);
    let found = answer(&snapshot, &mut Arming::default(), OWN);
    assert!(
        matches!(&found, Err(Refusal::ServerError(Reason::TemplateFailed { .. }))),
        "{found:?}"
    );
    assert!(!format!("{found:?}").contains(SECRET));
}

#[test]
fn a_template_that_fails_with_a_secret_does_not_quote_it() {
    for broken in [
        "{{ vars.root_password | int }}",
        "{{ vars.root_password + 1 }}",
        "{{ vars.root_password.length }}",
        "{% include vars.root_password %}",
        "{{ name | replace(vars.root_password) }}",
    ] {
        let snapshot = room(PLAIN, broken, BootTarget::Install);
        let mut arming = armed(&snapshot);
        get(&snapshot, &mut arming, OWN, SCRIPT);
        let found = answer(&snapshot, &mut arming, OWN);
        let shown = format!("{found:?}");
        assert!(found.is_err(), "{broken}: {shown}");
        assert!(
            !shown.contains(SECRET) && shown.contains("preseed.cfg"),
            "{broken}: {shown}"
        );
    }
}

#[test]
fn what_people_are_shown_has_something_in_a_secrets_place() {
    let snapshot = room(PLAIN, ANSWER, BootTarget::Install);
    let host = snapshot.hosts.by_name("r1u07").unwrap();
    let shown = |name: &str| preview(&snapshot, host, name, fixtures::SERVER.into());
    let answer = format!("rootpw {BLACKED_OUT} on /dev/vda");
    assert_eq!(shown("preseed.cfg"), Ok(answer.clone()));
    assert_eq!(shown("preseed/preseed.cfg"), Ok(answer));
    let script = "#!ipxe\n# r1u07 /dev/vda\n".to_owned();
    assert_eq!(
        (shown("installer"), shown("installer.ipxe")),
        (Ok(script.clone()), Ok(script))
    );
    let there = vec!["installer.ipxe".to_owned(), "preseed.cfg".to_owned()];
    assert_eq!(shown("kickstart"), Err(NoPreview::Unnamed(there)));
    let picture = serde_json::to_string(&Picture::of(&snapshot)).unwrap();
    assert!(
        !picture.contains(SECRET) && picture.contains("/etc/bootwright/secrets/root"),
        "{picture}"
    );
    assert!(!format!("{:?}", snapshot.hosts).contains(SECRET));
}
