//! Templates, rendered for one machine of a small inventory.

use super::*;
use crate::boot::{
    machine::{Identity, identify},
    scene::TemplateContext,
    snapshot::{Host, Hosts, Snapshot, Var},
};
use crate::fixtures::{self, SERVER, host, sourced};
use std::net::Ipv4Addr;

fn snapshot(disk: &str) -> Snapshot {
    let mut host = Host {
        macs: vec!["52:54:00:00:00:07".parse().unwrap()],
        address: Some(Ipv4Addr::new(192, 0, 2, 11)),
        ..host("r1u07")
    };
    let disk = sourced(Var::Text(disk.to_owned()));
    host.settings.vars.insert("disk".to_owned(), disk);
    Snapshot {
        hosts: Hosts::new(vec![host]),
        ..fixtures::snapshot()
    }
}

fn context(snapshot: &Snapshot, identity: &Identity) -> Result<TemplateContext, TemplateError> {
    let who = identify(snapshot, identity);
    TemplateContext::before_serving(snapshot, who, identity, SERVER)
}

fn rendered(source: &str, disk: &str) -> Result<String, TemplateError> {
    rendered_for(Dialect::Ipxe, source, disk)
}

fn rendered_for(dialect: Dialect, source: &str, disk: &str) -> Result<String, TemplateError> {
    let snapshot = snapshot(disk);
    let identity = Identity {
        mac: "52:54:00:00:00:07".parse().ok(),
        ..Identity::default()
    };
    let context = context(&snapshot, &identity)?;
    let name: Name = "test".parse().unwrap();
    let mut templates = Templates::new();
    templates.add_script(&name, dialect, "test.ipxe", source)?;
    templates.script(&name, dialect, &context)
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
fn every_name_that_a_template_may_use_has_a_value() {
    let snapshot = snapshot("/dev/vda");
    let values = context(&snapshot, &Identity::default()).unwrap().value();
    for name in VARIABLES {
        assert!(!values.get_attr(name).unwrap().is_undefined(), "{name}");
    }
    let listed: Vec<String> = values.try_iter().unwrap().map(|name| name.to_string()).collect();
    assert_eq!(listed, VARIABLES);
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
    assert_eq!(error.to_string(), "test.ipxe:2:11: `vars.kernel` has no value here");
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
fn only_small_and_plain_texts_are_rendered_at_once_and_come_out_the_same() {
    let at_once = |source: &str, disk: &str| {
        let snapshot = snapshot(disk);
        let identity = Identity::default();
        let context = context(&snapshot, &identity).unwrap();
        let mut templates = Templates::new();
        let name: Name = "test".parse().unwrap();
        templates.add_script(&name, Dialect::Ipxe, "test.ipxe", source).unwrap();
        let template = Template::Script(name, Dialect::Ipxe);
        let text = templates.render_at_once(&template, &context);
        assert!(text.is_none() || text == templates.render(&template, &context).ok());
        text
    };
    assert_eq!(
        at_once("{{ name }} {{ server }}", "x").as_deref(),
        Some("unknown 192.0.2.1")
    );
    assert_eq!(at_once("{{ name ~ server }}", "x"), None, "it joins");
    assert_eq!(at_once("{{ vars.disk }}", "x"), None, "it fails");
    assert_eq!(
        at_once("{% for a in name %}{{ vars }}{% endfor %}", "x"),
        Some("{}".repeat(7))
    );
}

#[test]
fn a_machine_with_large_values_has_its_text_rendered_elsewhere() {
    let is_small = |disk: &str| {
        let snapshot = snapshot(disk);
        let identity = Identity {
            mac: "52:54:00:00:00:07".parse().ok(),
            ..Identity::default()
        };
        let context = context(&snapshot, &identity);
        context.unwrap().is_small()
    };
    assert!(is_small("/dev/vda"));
    assert!(!is_small(
        &"x".repeat(crate::model::limits::TEXT_AT_ONCE_VALUES_BYTES_MAX)
    ));
}

#[test]
fn an_endless_template_is_stopped() {
    let source = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
    let error = rendered(source, "x").unwrap_err();
    assert!(error.message.contains("too much work"), "{error}");
}

#[test]
fn a_list_that_would_be_written_without_end_is_stopped_with_its_line() {
    let error = rendered_for(Dialect::Ipxe, "echo\n{{ [0] * 10000000 }}", "x").unwrap_err();
    assert_eq!((error.line, error.column), (Some(2), Some(4)), "{error}");
    assert!(error.message.contains("is longer than"), "{error}");
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

/// A value by itself, in GRUB's language.
fn grub(value: &str) -> Result<String, TemplateError> {
    rendered_for(Dialect::Grub, "echo {{ vars.disk }}", value)
}

/// Kernel parameters, in GRUB's language.
fn grub_args(parameters: &str) -> Result<String, TemplateError> {
    rendered_for(Dialect::Grub, "linux /l {{ vars.disk | args }}", parameters)
}

#[test]
fn no_value_becomes_a_command_of_grub() {
    for hostile in [
        "$root", "${root}", "a;reboot", "a|b", "a & b", "a>b", "<b", "{ a", "a}", "it's", "a\"b", "a\\", "a #b", "*",
        "/[a-z]?",
    ] {
        let error = grub(hostile).unwrap_err();
        assert!(
            error.message.contains("can't stand in a script"),
            "{hostile:?}: {error}"
        );
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    for plain in ["/dev/vda", "R1 (left), 3%: a+b=c@d~e!", "a#b", "größe", "ip=::1"] {
        assert_eq!(grub(plain).unwrap(), format!("echo {plain}"));
    }
}

#[test]
fn kernel_parameters_are_quoted_for_grub_and_arrive_as_they_were_written() {
    for (text, written) in [
        ("console=ttyS0,115200 quiet", "console=ttyS0,115200 quiet"),
        (
            "ds=nocloud-net;s=http://192.0.2.1/a/  x=$a#{b}|&<>*?[c]",
            "'ds=nocloud-net;s=http://192.0.2.1/a/' 'x=$a#{b}|&<>*?[c]'",
        ),
        ("dyndbg=\"file x +p\" a", "'dyndbg=file x +p' a"),
        ("\"dyndbg=file x +p\" a=\"b\"", "'dyndbg=file x +p' a=b"),
        ("", ""),
    ] {
        assert_eq!(grub_args(text).unwrap(), format!("linux /l {written}"));
    }
    for lost in ["a=it's", "a=b\\c", "a\"b\"c", "\"open", "a\nb"] {
        assert!(grub_args(lost).is_err(), "{lost:?}");
    }
    let error = rendered_for(Dialect::Grub, "linux {{ vars.dsk | args }}", "x").unwrap_err();
    assert_eq!(error.message, "`vars.dsk` has no value here");
}

#[test]
fn what_is_joined_to_quoted_parameters_is_looked_at_again() {
    let source = "linux {{ (vars.disk | args) ~ vars.disk }}";
    assert!(rendered_for(Dialect::Grub, source, "a;b").is_err());
}

#[test]
fn no_value_becomes_a_line_or_a_file_of_pxelinux() {
    let pxelinux = |value: &str| rendered_for(Dialect::Pxelinux, "APPEND {{ vars.disk }}", value);
    for hostile in ["a\nLABEL b", "a\u{2028}b", "-", " - ", "quiet initrd=other"] {
        assert!(pxelinux(hostile).is_err(), "{hostile:?}");
    }
    for plain in [
        "ds=nocloud-net;s=http://192.0.2.1/",
        "a=$b#c{d}|&<>",
        "x=\"a b\" y='c'",
        "a - b",
        "rd.initrd=x",
    ] {
        assert_eq!(pxelinux(plain).unwrap(), format!("APPEND {plain}"));
    }
}

#[test]
fn each_loaders_language_has_its_own_templates() {
    let name: Name = "test".parse().unwrap();
    let mut templates = Templates::new();
    templates.add_script(&name, Dialect::Grub, "test.grub", "echo").unwrap();
    assert!(templates.has_script("test") && templates.has_script_for("test", Dialect::Grub));
    assert!(!templates.has_script_for("test", Dialect::Ipxe) && !templates.has_script_for("test", Dialect::Pxelinux));
    assert_eq!(templates.script_names(), ["test"]);
    let error = rendered_for(Dialect::Grub, "{{ query }}", "x").unwrap_err();
    assert!(error.message.contains("unknown variable `query`"), "{error}");
}

#[test]
fn a_script_knows_our_address_on_both_servers_and_that_no_loader_was_named() {
    let source = "(http,{{ server }}) {{ http }} {{ tftp }} [{{ loader }}]";
    let text = rendered_for(Dialect::Grub, source, "x").unwrap();
    assert_eq!(text, "(http,192.0.2.1) http://192.0.2.1 tftp://192.0.2.1 []");
}

#[test]
fn an_installer_tells_of_itself_by_a_line_that_asks_again_and_stops_nothing() {
    let line = |url: &str, filter: &str| {
        let (mut templates, name) = (Templates::new(), "kickstart".parse().unwrap());
        let source = format!("{{{{ {url:?} | {filter} }}}}");
        templates.add_answer(&name, "a.ks", "a.ks", &source).unwrap();
        let snapshot = snapshot("/dev/vda");
        templates.answer(&name, "a.ks", &context(&snapshot, &Identity::default()).unwrap())
    };
    for (filter, program, end) in [
        ("curl", "curl ", " http://192.0.2.1/a || true"),
        ("wget", "wget ", " http://192.0.2.1/a || true"),
        ("busybox", "for i in ", " http://192.0.2.1/a && break; sleep 10; done"),
    ] {
        let written = line("http://192.0.2.1/a", filter).unwrap();
        assert!(written.starts_with(program) && written.ends_with(end), "{written}");
        for odd in ["", "http://a/$(b)", "http://a/'b", "http://a/ b", "a;b"] {
            assert!(line(odd, filter).is_err(), "{odd}");
        }
        assert!(plain::includes(&format!("{{{{ callback.done | {filter} }}}}")).is_some());
    }
}
