//! Secrets of the inventory, as `check` judges them: it names the place, and never the secret.

use super::*;
use std::os::unix::fs::PermissionsExt;

const SECRET: &str = "cOrrect-hOrse";

/// A room with a host whose password is in a file, or whatever `value` says.
fn room(value: &str, boot: &str) -> Room {
    let room = Room::new("");
    room.write("root", &format!("{SECRET}\n"));
    set_mode(&room, 0o600);
    let value = value.replace("FILE", &room.path("root").to_string_lossy());
    room.write(
        "inventory.toml",
        &format!(
            "{SUBNET}[[host]]\nname = \"r1u07\"\nmac = \"52:54:00:00:00:07\"\naddress = \"192.0.2.11\"\n\
             boot = \"{boot}\"\nscript = \"own\"\nanswer = \"own\"\nvars.root_password = {value}\n"
        ),
    );
    room.write("scripts/own.ipxe", "#!ipxe\necho {{ name }}\n");
    room.write("answers/own.cfg", "rootpw {{ vars.root_password }}\n");
    room
}

fn set_mode(room: &Room, mode: u32) {
    fs::set_permissions(room.path("root"), fs::Permissions::from_mode(mode)).unwrap();
}

fn errors(room: &Room) -> Vec<Diagnostic> {
    match load(&room.path("bootwright.toml"), 1, &mut Deferred) {
        Ok(_) => Vec::new(),
        Err(LoadReport { errors, .. }) => errors,
    }
}

const IN_FILE: &str = "{ secret = true, file = \"FILE\" }";

#[test]
fn a_secret_of_a_file_is_taken_and_one_that_others_may_read_is_an_error() {
    let room = room(IN_FILE, "install");
    assert_eq!(errors(&room), []);
    for mode in [0o640, 0o604, 0o644] {
        set_mode(&room, mode);
        let errors = errors(&room);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].place, Some((12, 22)), "{errors:?}");
        assert!(errors[0].message.contains(&format!("{mode:04o}")), "{errors:?}");
        assert!(errors[0].help.as_ref().is_some_and(|help| help.contains("chmod 600")));
    }
}

#[test]
fn a_script_that_names_a_secret_is_an_error_where_it_does() {
    let room = room(IN_FILE, "install");
    for (script, place) in [
        ("#!ipxe\necho {{ vars.root_password }}\n", Some((2, 9))),
        // Whether or not a machine comes there.
        (
            "#!ipxe\n{% if arch == 'arm64' %}\necho {{ vars.root_password }}\n{% endif %}\n",
            Some((3, 9)),
        ),
    ] {
        room.write("scripts/own.ipxe", script);
        let errors = errors(&room);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(
            (errors[0].place, errors[0].file.ends_with("own.ipxe")),
            (place, true),
            "{errors:?}"
        );
        assert!(!errors[0].message.contains(SECRET));
    }
    let room = self::room(IN_FILE, "live");
    let errors = errors(&room);
    assert!(errors.len() == 1 && errors[0].file.ends_with("own.cfg"), "{errors:?}");
}

#[test]
fn what_is_no_secret_is_named_with_its_place() {
    for value in [
        "{ secret = true }",
        "{ secret = true, file = \"FILE\", credential = \"a\" }",
        "{ secret = false, file = \"FILE\" }",
        "{ secret = true, file = \"root\" }",
        "{ secret = true, file = \"/nonexistent/root\" }",
        "{ secret = true, credential = \"../a\" }",
        "{ secret = true, credential = \"nobody-has-it\" }",
        "{ secret = true, fiel = \"FILE\" }",
        "[{ secret = true, file = \"FILE\" }]",
        "{ deep = { secret = true, file = \"FILE\" } }",
    ] {
        let errors = errors(&room(value, "install"));
        assert!(!errors.is_empty(), "{value}");
        for error in &errors {
            assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
            assert!(error.place.is_some_and(|(line, _)| line == 12), "{error:?}");
        }
    }
    for (place, folder) in [("answers/root", "answers"), ("images/root", "images")] {
        let room = room(&IN_FILE.replace("FILE", &format!("FILE/../{place}")), "install");
        room.write(place, SECRET);
        let path = room.path(place);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let text = fs::read_to_string(room.path("inventory.toml")).unwrap();
        let at = format!("{}/../{place}", room.path("root").to_string_lossy());
        room.write("inventory.toml", &text.replace(&at, &path.to_string_lossy()));
        let errors = errors(&room);
        let is_said = |error: &Diagnostic| error.message.contains("served from") && error.place == Some((12, 22));
        assert!(errors.iter().any(is_said), "{folder}: {errors:?}");
    }
}

#[test]
fn kept_files_have_no_secret_in_them() {
    let room = room(IN_FILE, "install");
    let loaded = load(&room.path("bootwright.toml"), 1, &mut Deferred).unwrap_or_else(|report| panic!("{report:?}"));
    let files = bootwright::config::files_to_save(&loaded.appliance, &room.path("bootwright.toml")).unwrap();
    assert!(files.len() > 3);
    for file in files {
        assert!(
            !String::from_utf8_lossy(&file.bytes).contains(SECRET),
            "{:?}",
            file.path
        );
    }
}
