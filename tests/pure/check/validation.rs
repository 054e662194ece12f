//! What nobody can judge and live: `bootwright check`, as a start and a reload do, tries files in another
//! process, and says of which file that did not come back.

use super::*;
use std::{os::unix::fs::symlink, process::Command};

const HOST: &str = "[[host]]\nname = \"r1u07\"\nmac = \"52:54:00:00:00:07\"\naddress = \"192.0.2.11\"\n\
                    boot = \"live\"\nimage = \"debian-12\"\nscript = \"odd\"\n";

/// The errors of `bootwright check`, by the command itself.
fn errors(room: &Room) -> Vec<serde_json::Value> {
    let mut check = Command::new("timeout");
    check.args(["60", env!("CARGO_BIN_EXE_bootwright"), "check", "--json"]);
    let done = check.arg(room.path("bootwright.toml")).output().unwrap();
    let reported = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{reported}");
    let found: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    found["errors"].as_array().unwrap().clone()
}

/// The errors of a room whose host has that script.
fn errors_of(script: &str) -> Vec<serde_json::Value> {
    let room = Room::new(&format!("{SUBNET}{HOST}"));
    room.write("scripts/odd.ipxe", &format!("#!ipxe\n{script}\n"));
    errors(&room)
}

fn is_of(error: &serde_json::Value, file: &str) -> bool {
    error["file"].as_str().is_some_and(|reported| reported.ends_with(file))
}

/// Names a list that has itself twice in it, again and again.
fn doubled(times: u32) -> String {
    "{% set ns = namespace(a=[1]) %}{% for i in range(TIMES) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}"
        .replace("TIMES", &times.to_string())
}

#[test]
fn a_template_that_takes_all_memory_is_an_error_of_its_file() {
    let errors = errors_of(&format!("{}{{{{ (ns.a ~ 'x') | length }}}}", doubled(40)));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(is_of(&errors[0], "scripts/odd.ipxe"), "{errors:?}");
    let message = errors[0]["message"].as_str().unwrap();
    assert!(message.contains("for host `r1u07`"), "{message}");
}

#[test]
fn a_template_without_end_is_an_error_of_its_file() {
    let twice = "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(50) %}{% set ns.a = [ns.a, ns.a] %}\
                 {% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}";
    let errors = errors_of(twice);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(is_of(&errors[0], "scripts/odd.ipxe"), "{errors:?}");
    assert!(
        errors[0]["message"].as_str().unwrap().contains("given up"),
        "{errors:?}"
    );
}

#[test]
fn every_deep_shape_is_an_error_with_its_line_and_column() {
    let deep = bootwright::model::limits::TEMPLATE_DEPTH_MAX + 1;
    let around = |open: &str, close: &str| format!("{{{{ {}1{} }}}}", open.repeat(deep), close.repeat(deep));
    let room = Room::new(SUBNET);
    let shapes = [
        around("not ", ""),
        around("-", ""),
        around("", " + 1"),
        around("", " | string"),
        around("", ".a"),
        around("1 if name else ", ""),
        around("(", ")"),
        around("[", "]"),
        format!("{{% if name %}}{}{{% endif %}}", "{% elif name %}".repeat(deep)),
        format!("{{% set {}a{} = 1 %}}", "(".repeat(deep), ")".repeat(deep)),
    ];
    for (number, shape) in shapes.iter().enumerate() {
        room.write(&format!("scripts/deep{number}.ipxe"), &format!("#!ipxe\n{shape}\n"));
        room.write(&format!("answers/deep{number}.cfg"), shape);
    }
    let errors = errors(&room);
    assert_eq!(errors.len(), 2 * shapes.len(), "{errors:?}");
    for (number, shape) in shapes.iter().enumerate() {
        let of = |file: String| {
            errors
                .iter()
                .find(|error| is_of(error, &file))
                .map(|error| &error["line"])
        };
        assert_eq!(of(format!("scripts/deep{number}.ipxe")), Some(&2.into()), "{shape:.40}");
        assert_eq!(of(format!("answers/deep{number}.cfg")), Some(&1.into()), "{shape:.40}");
    }
}

#[test]
fn what_is_no_regular_file_is_reported_and_not_waited_for() {
    let kinds = [
        "bootwright.toml",
        "inventory.toml",
        "racks/b.toml",
        "scripts/odd.ipxe",
        "answers/odd.cfg",
        "answers/several/user-data",
        "quirks.toml",
        "images/debian-12/image.toml",
    ];
    for file in kinds {
        for is_fifo in [true, false] {
            let room = Room::new(SUBNET);
            let quirks = "quirks = \"quirks.toml\"\n";
            let racks = "inventory = \"racks\"\n";
            let more = match file {
                "quirks.toml" => quirks,
                "racks/b.toml" => racks,
                _ => "",
            };
            room.write("bootwright.toml", &format!("{CONFIG}{more}"));
            room.write("racks/a.toml", SUBNET);
            let path = room.path(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let _ = fs::remove_file(&path);
            match is_fifo {
                true => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
                false => symlink("/dev/zero", &path).unwrap(),
            }
            let errors = errors(&room);
            let reported = |error: &serde_json::Value| {
                is_of(error, file) && error["message"].as_str().unwrap().contains("not a regular file")
            };
            assert!(errors.iter().any(reported), "{file}: {errors:?}");
        }
    }
}

#[test]
fn a_file_that_is_something_else_altogether_has_some_hundred_errors() {
    let room = Room::new(SUBNET);
    let words = "It is a long text, about [many] things = none of them \"TOML.\n";
    room.write("inventory.toml", &words.repeat(2_000_000 / words.len()));
    let errors = errors(&room);
    assert!((2..=205).contains(&errors.len()), "{}", errors.len());
    assert!(
        errors
            .iter()
            .any(|error| error["message"].as_str().unwrap().ends_with("more errors here"))
    );
    let keys: String = (0..5000).map(|number| format!("key{number} = 1\n")).collect();
    room.write("inventory.toml", &format!("{keys}{SUBNET}"));
    let errors = self::errors(&room);
    assert_eq!(errors[200]["message"], "4800 more errors here", "{:?}", errors.last());
}
