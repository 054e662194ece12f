//! Templates, rendered for one machine of a small room.

use super::*;
use crate::boot::{
    loader::Loaders,
    machine::{Identity, identify},
    snapshot::{Host, Hosts, Origin, Ports, Snapshot, Sourced, UnknownPolicy, Var},
};
use std::net::Ipv4Addr;

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn sourced<T>(value: T) -> Sourced<T> {
    let origin = Origin {
        file: "inventory.toml".into(),
        line: 1,
        column: 1,
    };
    Sourced { value, origin }
}

fn snapshot(disk: &str) -> Snapshot {
    let mut settings = crate::boot::snapshot::BootSettings::default();
    settings
        .vars
        .insert("disk".to_owned(), sourced(Var::Text(disk.to_owned())));
    let host = Host {
        name: "r1u07".parse().unwrap(),
        macs: vec!["52:54:00:00:00:07".parse().unwrap()],
        uuid: None,
        serial: None,
        port: None,
        address: Some(Ipv4Addr::new(192, 0, 2, 11)),
        hostname: None,
        locked: false,
        settings,
        origin: sourced(()).origin,
    };
    Snapshot {
        generation: 1,
        ports: Ports { http: 80, tftp: 69 },
        subnets: Vec::new(),
        hosts: Hosts::new(vec![host]),
        rules: Vec::new(),
        unknown: UnknownPolicy::Discover,
        images: BTreeMap::new(),
        loaders: Loaders::default(),
        quirks: Default::default(),
        templates: Templates::default(),
    }
}

fn rendered(source: &str, disk: &str) -> Result<String, TemplateError> {
    let snapshot = snapshot(disk);
    let identity = Identity {
        mac: "52:54:00:00:00:07".parse().ok(),
        ..Identity::default()
    };
    let scene = Scene::new(&snapshot, identify(&snapshot, &identity), &identity, None, SERVER)?;
    let name: Name = "test".parse().unwrap();
    let mut templates = Templates::new();
    templates.add_script(&name, "test.ipxe", source)?;
    templates.script(&name, &scene)
}

#[test]
fn a_script_knows_its_machine() {
    let text = rendered(
        "{{ name }} {{ mac }} {{ address }} {{ http }} {{ vars.disk }}\n",
        "/dev/vda",
    );
    assert_eq!(
        text.unwrap(),
        "r1u07 52:54:00:00:00:07 192.0.2.11 http://192.0.2.1 /dev/vda\n"
    );
}

#[test]
fn an_unknown_variable_is_named_with_its_line_even_behind_an_if() {
    let error = rendered("#!ipxe\n{% if false %}\n{{ adress }}\n{% endif %}", "x").unwrap_err();
    assert_eq!((error.file.as_deref(), error.line), (Some("test.ipxe"), Some(3)));
    assert!(error.message.contains("unknown variable `adress`"), "{error}");
}

#[test]
fn a_variable_that_this_machine_lacks_is_named_with_its_line() {
    let error = rendered("#!ipxe\nkernel {{ vars.kernel }}", "x").unwrap_err();
    assert_eq!(error.to_string(), "test.ipxe:2: `vars.kernel` has no value here");
    let error = rendered("#!ipxe\n\nkernel {{ image.kernel }}", "x").unwrap_err();
    assert_eq!(error.line, Some(3), "{error}");
}

#[test]
fn a_syntax_error_has_its_line() {
    let error = rendered("#!ipxe\n{% if %}", "x").unwrap_err();
    assert_eq!(error.line, Some(2), "{error}");
}

#[test]
fn no_value_becomes_a_command_of_a_script() {
    for hostile in [
        "a\nshell",
        "a\u{2028}b",
        "${net0/mac}",
        "a || shell",
        "a && shell",
        "x #",
        "a ; b",
    ] {
        let error = rendered("echo {{ vars.disk }}", hostile).unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    assert!(rendered("echo {{ vars.disk }}", "ds=nocloud-net;s=http://192.0.2.1/a#b").is_ok());
}

#[test]
fn an_argument_stays_one_argument() {
    assert!(rendered("disk={{ vars.disk | arg }}", "/dev/vda init=/bin/sh").is_err());
    assert!(rendered("disk={{ vars.disk | arg }}", "/dev/vda").is_ok());
    let error = rendered("disk={{ vars.dsk | arg }}", "/dev/vda").unwrap_err();
    assert_eq!(error.message, "`vars.dsk` has no value here");
}

#[test]
fn an_endless_template_is_stopped() {
    let source = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
    let error = rendered(source, "x").unwrap_err();
    assert!(error.message.contains("too much work"), "{error}");
}

#[test]
fn an_endless_text_is_stopped() {
    let source = format!("{{% for a in range(9999) %}}{}{{% endfor %}}", "x".repeat(500));
    let error = rendered(&source, "x").unwrap_err();
    assert!(error.message.contains("longer than"), "{error}");
}

#[test]
fn a_template_includes_no_file_of_the_machine() {
    assert!(rendered("{% include '/etc/passwd' %}", "x").is_err());
}
