//! The catalogue: the shipped one, an operator's, and files from a Debian package.

use super::nginx::{command, run_command};
use super::place::{Place, hex};
use super::server::Server;
use bootwright::config;
use std::{fs, path::Path, process::Command};

#[test]
fn every_shipped_entry_is_vouched_for_and_has_its_script() {
    let entries = config::fetchable(None).unwrap();
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    for name in [
        "ubuntu-26.04",
        "rocky-10",
        "almalinux-10",
        "debian-13-arm64",
        "fedora-44",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    for entry in &entries {
        let vouched = |file: &bootwright::images::catalogue::Remote| {
            file.sha256.is_some() || file.signature.is_some() || !entry.sums.is_empty()
        };
        assert!(entry.files().all(vouched), "{}", entry.name);
        assert!(
            entry.files().next().is_some() || entry.package.is_some(),
            "{}",
            entry.name
        );
        assert!(
            entry.files().all(|file| file.url.starts_with("https://")),
            "{}",
            entry.name
        );
        assert!(entry.cpu.is_some() && !entry.about.is_empty(), "{}", entry.name);
        let script = format!("ipxe-scripts/{}.ipxe", entry.script.as_ref().unwrap());
        assert!(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(&script).exists(),
            "{}: {script}",
            entry.name
        );
    }
    let all = Command::new(env!("CARGO_BIN_EXE_bootwright"))
        .args(["image", "catalogue", "--json"])
        .output()
        .unwrap();
    let all: serde_json::Value = serde_json::from_slice(&all.stdout).unwrap();
    assert_eq!(all.as_array().unwrap().len(), entries.len());
}

/// A catalogue of one's own beside a bootwright.toml that names the folder of images.
fn own(place: &Place, catalogue: &str) -> String {
    let folder = place.0.path();
    fs::write(folder.join("catalogue.toml"), catalogue).unwrap();
    folder.join("catalogue.toml").display().to_string()
}

#[test]
fn an_entry_of_ones_own_takes_the_shipped_ones_place() {
    let (place, server) = (Place::new(), Server::of(vec![("d/linux", b"linux".to_vec())]));
    let catalogue = own(
        &place,
        &format!(
            "[[image]]\nname = \"debian-12\"\nbase = \"{}d/\"\nkernel = {{ file = \"linux\", sha256 = \"{}\" }}\ncmdline = [\"quiet\"]\n",
            server.base,
            hex(b"linux")
        ),
    );
    let (status, told) = run_command(
        &place,
        &["debian-12", "--catalogue", &catalogue, "--as", "bookworm"],
        &[],
    );
    assert!(status.success(), "{told}");
    place.holds("bookworm", b"linux");
    let (status, told) = run_command(&place, &["rokcy-9", "--catalogue", &catalogue], &[]);
    assert!(!status.success() && told.contains("did you mean `rocky-9`?"), "{told}");
}

#[test]
fn a_mistake_in_a_catalogue_is_shown_with_its_place() {
    let place = Place::new();
    for (catalogue, at, words) in [
        (
            "[[image]]\nname = \"a\"\nkernal = \"x\"\n",
            "catalogue.toml:3:1",
            "did you mean `kernel`?",
        ),
        (
            "[[image]]\nname = \"a\"\nkernel = \"linux\"\n",
            "catalogue.toml:3:10",
            "not a URL",
        ),
        (
            "[[image]]\nname = \"a\"\nkernel = \"ftp://a/b\"\n",
            "catalogue.toml:3:10",
            "not a URL",
        ),
        (
            "[[image]]\nname = \"a\"\nbase = \"https://a/b/\"\nsums = [\"S\"]\n",
            "catalogue.toml:1:1",
            "nothing to boot",
        ),
        (
            "[[image]]\nkernel = \"https://a/b\"\n",
            "catalogue.toml:1:1",
            "no `name`",
        ),
        (
            "[[image]]\nname = \"a\"\nkernel = { file = \"https://a/b\", sha256 = \"12\" }\n",
            "catalogue.toml:3:43",
            "not a sha256",
        ),
        (
            "[[image]]\nname = \"a\"\nkernel = \"https://a/b\"\nsums = [{ file = \"https://a/S\", signature = \"inside\" }]\n",
            "catalogue.toml:4:45",
            "needs the keys",
        ),
        (
            "[[image]]\nname = \"a\"\nkeyring = \"/k\"\nkernel = { file = \"https://a/b\", signature = \"inside\" }\n",
            "catalogue.toml:4:46",
            "only a file of checksums carries its signature",
        ),
        (
            "[[image]]\nname = \"a\"\nkernel = \"https://a/b\"\n[[image]]\nname = \"a\"\nkernel = \"https://a/b\"\n",
            "catalogue.toml:5:8",
            "two images are called `a`",
        ),
    ] {
        let file = own(&place, catalogue);
        let report = config::fetchable(Some(Path::new(&file))).unwrap_err();
        let lines: Vec<String> = report.errors.iter().map(ToString::to_string).collect();
        assert!(
            lines.iter().any(|line| line.contains(at) && line.contains(words)),
            "{catalogue}: {lines:#?}"
        );
    }
}

#[test]
fn an_installed_package_serves_without_a_network_and_a_missing_one_is_named() {
    let place = Place::new();
    let folder = place.0.path().join("installer");
    let catalogue = own(
        &place,
        &format!(
            "[[image]]\nname = \"x\"\nbase = \"https://127.0.0.1:9/\"\nkernel = \"linux\"\nsums = [\"SUMS\"]\n\
             package = {{ name = \"installer-x\", folder = \"{}\", kernel = \"linux\" }}\n",
            folder.display()
        ),
    );
    let args = ["x", "--catalogue", &catalogue, "--tries", "1"];
    let offline = ["x", "--catalogue", &catalogue, "--offline"];
    let (status, told) = run_command(&place, &args, &[]);
    let both = told.contains("127.0.0.1:9") && told.contains("apt install installer-x");
    assert!(!status.success() && both, "{told}");
    let (status, told) = run_command(&place, &offline, &[]);
    assert!(!status.success() && told.contains("apt install installer-x"), "{told}");
    let elsewhere = Place::new();
    let nowhere =
        "[[image]]\nname = \"y\"\npackage = { name = \"installer-y\", folder = \"/nonexistent\", kernel = \"y\" }\n";
    let (status, told) = run_command(&elsewhere, &["y", "--catalogue", &own(&elsewhere, nowhere)], &[]);
    let plain = !told.contains("server") && told.contains("apt install installer-y");
    assert!(!status.success() && plain, "{told}");
    let (status, told) = run_command(&place, &["rocky-9", "--offline"], &[]);
    assert!(!status.success() && told.contains("no package is known"), "{told}");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("linux"), "linux").unwrap();
    fs::remove_dir_all(place.images()).unwrap();
    let (status, told) = run_command(&place, &args, &[]);
    assert!(
        status.success() && told.contains("from Debian's package installer-x, which is installed"),
        "{told}"
    );
    place.holds("x", b"linux");
    assert!(folder.join("linux").exists());
}

#[test]
fn a_terminal_shows_how_far_the_copy_of_a_package_is_and_a_pipe_does_not() {
    let place = Place::new();
    let folder = place.0.path().join("installer");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("linux"), vec![7; 8 << 20]).unwrap();
    let catalogue = own(
        &place,
        &format!(
            "[[image]]\nname = \"x\"\npackage = {{ name = \"installer-x\", folder = \"{}\", kernel = \"linux\" }}\n",
            folder.display()
        ),
    );
    let args = ["x", "--catalogue", &catalogue, "--offline"];
    let (status, told) = run_command(&place, &args, &[]);
    assert!(status.success() && !told.contains("MiB"), "{told}");
    let told = on_a_terminal(&command(&place, &[&args[..], &["--force"]].concat(), &[]));
    assert!(told.contains("x [") && told.contains("/8.00 MiB"), "{told}");
    assert!(told.contains("image `x` is in"), "{told}");
}

/// All that a command writes to a terminal, which util-linux's script gives it.
fn on_a_terminal(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"])
        .env("TERM", "xterm")
        .output()
        .unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{told}");
    told
}
