//! Rung 3: a whole install with a secret in its answer, and no byte of that secret anywhere else.

use super::daemon::{Daemon, ask};
use super::namespace::{Namespace, SERVER, Wire, text};
use super::room::Room;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

const SECRET: &str = "cOrrect-hOrse-of-r1u41";

fn room() -> Room {
    let room = Room::new("");
    let folder = room.path("secrets");
    fs::create_dir(&folder).expect("a new folder");
    let file = folder.join("root");
    fs::write(&file, format!("{SECRET}\n")).expect("a new file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("our own file");
    room.write(
        "scripts/once.ipxe",
        "#!ipxe\n# installs {{ name }} {{ callback.base }}\n",
    );
    room.write(
        "answers/own.cfg",
        "rootpw {{ vars.root_password }}\ndone {{ callback.done }}\n",
    );
    room.write_inventory(&inventory(&file, ""));
    room
}

fn inventory(secret: &Path, more: &str) -> String {
    format!(
        "[[host]]\nname = \"r1u41\"\nmac = \"02:00:00:00:00:41\"\naddress = \"192.0.2.41\"\nboot = \"install\"\n\
         script = \"once\"\nanswer = \"own\"\nvars.root_password = {{ secret = true, file = \"{}\" }}\n{more}",
        secret.display()
    )
}

fn curl(client: &Namespace, url: &str) -> String {
    let output = client.run("curl", &["-sS", "--max-time", "5", "-w", "\n%{http_code}", url]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn has_secret(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

/// Looks through every file of the state; those that are packed, unpacked.
fn look_through(folder: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files += look_through(&path);
            continue;
        }
        files += 1;
        assert!(!has_secret(&fs::read(&path).expect("a file")), "{}", path.display());
    }
    files
}

#[test]
fn no_log_line_no_answer_of_the_api_and_no_file_of_the_store_has_the_secret_of_an_install() {
    let wire = Wire::new();
    let room = room();
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let daemon = Daemon::start(&wire, &room);
    let answer_url = format!("http://{SERVER}/answer/r1u41/own.cfg");
    let script_url = format!("http://{SERVER}/boot.ipxe");
    // A machine with the MAC and the address of a host that is not armed.
    let unarmed = curl(&client, &answer_url);
    assert!(!has_secret(unarmed.as_bytes()) && unarmed.ends_with("403"), "{unarmed}");
    assert!(ask(&room, &["arm", "r1u41"]).status.success());
    let early = curl(&client, &answer_url);
    assert!(!has_secret(early.as_bytes()), "{early}");
    let script = curl(&client, &script_url);
    assert!(
        script.contains("installs r1u41") && !has_secret(script.as_bytes()),
        "{script}"
    );
    let answer = curl(&client, &answer_url);
    assert!(
        answer.starts_with(&format!("rootpw {SECRET}\n")),
        "{answer}\n{}",
        daemon.log_tail()
    );
    let done = answer
        .split("done ")
        .nth(1)
        .and_then(|rest| rest.lines().next())
        .expect("a URL")
        .to_owned();
    let late = [
        vec!["status"],
        vec!["hosts"],
        vec!["leases"],
        vec!["why", "r1u41"],
        vec!["generations"],
        vec!["generations", "1"],
        vec!["plan", "PATH"],
        vec!["render", "r1u41", "own.cfg"],
        vec!["render", "r1u41", "once"],
        vec!["reload"],
    ];
    let config = room.config();
    for arguments in &late {
        let config = config.to_string_lossy();
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|word| if *word == "PATH" { &*config } else { word })
            .collect();
        for json in [&[][..], &["--json"]] {
            let shown = ask(&room, &[&arguments[..], json].concat());
            assert!(
                !has_secret(&shown.stdout) && !has_secret(&shown.stderr),
                "{arguments:?}: {}",
                text(&shown)
            );
        }
    }
    assert!(curl(&client, &done).ends_with("200"), "{}", daemon.log_tail());
    let after = curl(&client, &answer_url);
    assert!(!has_secret(after.as_bytes()) && after.ends_with("403"), "{after}");
    // A template that fails with it.
    room.write("answers/own.cfg", "rootpw {{ vars.root_password | int }}\n");
    assert!(
        !ask(&room, &["reload"]).status.success(),
        "it fails with what stands for the secret too"
    );
    let log = daemon.log();
    assert!(daemon.stop().success());
    let lines = log.take();
    assert!(lines.len() > 5 && !has_secret(lines.join("\n").as_bytes()));
    assert!(look_through(&room.path("state")) > 2);
    for generation in bootwright::store::generations::all(&room.path("state")) {
        let files = bootwright::store::generations::files(&room.path("state"), generation.number).expect("its files");
        assert!(files.iter().all(|(_, bytes)| !has_secret(bytes)) && !files.is_empty());
    }
}
