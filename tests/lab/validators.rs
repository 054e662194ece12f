//! Rung 3: the shipped answers as the daemon sends them, before the programs that their readers come with: debconf's and
//! cloud-init's own checks, Ignition's validator and pykickstart's. Each of a host that boots it every time, and of one
//! that installs, whose answer tells of itself.

use super::daemon::{Daemon, ask};
use super::installers::script;
use super::namespace::{SERVER, Wire, finish, text};
use super::room::{Room, shipped};
use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

/// An answer's file, and what its host says besides.
struct Shipped {
    file: &'static str,
    answer: &'static str,
    vars: &'static str,
}

const fn answer(answer: &'static str, file: &'static str, vars: &'static str) -> Shipped {
    Shipped { file, answer, vars }
}

const KICKSTART: Shipped = answer("kickstart", "kickstart.ks", "repository = \"http://192.0.2.5/rocky\"");
const OSTREE: Shipped = answer("kickstart", "kickstart.ks", "ostreecontainer = \"quay.io/a/b:c\"");
const BOOTC: Shipped = answer("kickstart", "kickstart.ks", "bootc = \"registry:quay.io/a/b:c\"");
const PRESEED: Shipped = answer("preseed", "preseed.cfg", "locale = \"de_DE.UTF-8\"");
const AUTOINSTALL: Shipped = answer("autoinstall", "user-data", "keyboard = \"de\"");
const IGNITION: Shipped = answer("ignition", "ignition.ign", "plan = \"c3\"");

/// The answer, of a host that boots it every time and of one that installs, each in a file.
fn sent(shipped: &Shipped, check: impl Fn(&str)) {
    let Shipped { file, answer, vars } = shipped;
    for (boot, tells) in [("live", false), ("install", true)] {
        let wire = Wire::new();
        let host = format!(
            "[[host]]\nname = \"r1u07\"\nmac = \"52:54:00:00:00:07\"\naddress = \"192.0.2.11\"\nboot = \"{boot}\"\n\
             script = \"once\"\nanswer = \"{answer}\"\nvars = {{ disk = \"/dev/vda\", password_hash = \"$6$x$y\", \
             ssh_keys = [\"ssh-ed25519 AAAA ada's\"], {vars} }}\n"
        );
        let room = Room::new(&host).with_script("once", "#!ipxe\n# boots {{ name }}\n");
        let daemon = Daemon::start(&wire, &room);
        let client = wire.client_at("52:54:00:00:00:07", "192.0.2.11");
        if tells {
            let armed = ask(&room, &["arm", "r1u07", "--for", "2h"]);
            assert!(armed.status.success(), "{}", text(&armed));
            client.expect("curl", &["-sSf", &format!("http://{SERVER}/boot.ipxe")]);
        }
        let url = format!("http://{SERVER}/answer/r1u07/{file}");
        let body = String::from_utf8(client.expect("curl", &["-sSf", &url])).expect("our own text");
        let says = |word: &str| {
            body.lines()
                .any(|line| line.contains("/callback/r1u07/") && line.contains(word))
        };
        if tells {
            assert!(says("/started") && says("/done"), "{body}");
        }
        assert!(tells || !body.contains("/callback/"), "{body}");
        room.write("rendered", &body);
        check(&room.path("rendered").to_string_lossy());
        drop(daemon);
    }
}

/// Runs a validator that must have nothing to say.
fn is_silent(program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = finish(command, program);
    assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output));
    let said = text(&output).to_lowercase();
    assert!(
        !said.contains("warning") && !said.contains("error") && !said.contains("problem"),
        "{said}"
    );
}

#[test]
fn debconf_takes_the_preseed() {
    sent(&PRESEED, |file| is_silent("debconf-set-selections", &["-c", file]));
}

#[test]
fn ignition_takes_the_configuration() {
    let root = script("newer-root.sh", &["trixie", "ignition"]);
    let root = root.to_string_lossy();
    let inside = "exec chroot \"$0\" ignition-validate - < \"$1\"";
    sent(&IGNITION, |file| is_silent("sh", &["-c", inside, &root, file]));
}

#[test]
fn cloud_init_takes_the_autoinstall_and_what_it_tells() {
    let root = script("newer-root.sh", &["trixie", "cloud-init"]);
    let root = root.to_string_lossy();
    let inside = "cp \"$1\" \"$0/tmp/rendered.$$\" && chroot \"$0\" cloud-init schema -c \"/tmp/rendered.$$\"; rc=$?; \
        rm -f \"$0/tmp/rendered.$$\"; exit $rc";
    sent(&AUTOINSTALL, |file| is_silent("sh", &["-c", inside, &root, file]));
}

/// `None` where PyPI can't be had from here.
fn ksvalidator() -> Option<PathBuf> {
    let made = Command::new(shipped().join("tests/pykickstart.sh"))
        .output()
        .expect("it is shipped");
    if !made.status.success() {
        eprintln!(
            "skipped: pykickstart 3.78 can't be installed from PyPI here: {}",
            text(&made)
        );
        return None;
    }
    Some(PathBuf::from(String::from_utf8_lossy(&made.stdout).trim()))
}

#[test]
fn pykickstart_takes_the_kickstart_in_each_of_its_forms() {
    let Some(ksvalidator) = ksvalidator() else { return };
    let ksvalidator = ksvalidator.to_string_lossy();
    let releases: [(&Shipped, &[&str]); 3] = [
        (&KICKSTART, &["RHEL8", "RHEL9", "RHEL10", "F43"]),
        (&OSTREE, &["RHEL9", "RHEL10", "F43"]),
        (&BOOTC, &["RHEL10", "F43"]),
    ];
    for (shipped, versions) in releases {
        sent(shipped, |file| {
            for version in versions {
                is_silent(&ksvalidator, &["-v", version, file]);
            }
        });
    }
}
