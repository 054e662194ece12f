//! Files of checksums and files that are signed, with keys made here and checked by gpgv.

use super::nginx::command;
use super::place::{Place, hex, request, sha256};
use super::server::Server;
use bootwright::images::catalogue::{Remote, Signature, SumFile};
use std::{
    fs, io,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
};
use tempfile::TempDir;

/// Somebody who signs.
struct Signer(TempDir);

impl Signer {
    fn new(who: &str) -> Signer {
        let signer = Signer(tempfile::tempdir().unwrap());
        signer.start_agent();
        signer.gpg(
            &["--passphrase", "", "--quick-gen-key", who, "ed25519", "sign", "never"],
            b"",
        );
        let keys = signer.gpg(&["--export"], b"");
        fs::write(signer.keyring(), keys).unwrap();
        signer
    }

    /// gpg starts its agent itself, but waits no longer than 5 s for it, which a busy machine may take.
    fn start_agent(&self) {
        let launch = || {
            self.gpgconf(&["--launch", "gpg-agent"])
                .is_ok_and(|status| status.success())
        };
        assert!((0..10).any(|_| launch()), "gpg-agent does not start");
    }

    fn gpgconf(&self, args: &[&str]) -> io::Result<ExitStatus> {
        let mut gpgconf = Command::new("gpgconf");
        gpgconf.arg("--homedir").arg(self.0.path()).args(args);
        gpgconf.status()
    }

    fn keyring(&self) -> PathBuf {
        self.0.path().join("keyring.gpg")
    }

    fn gpg(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let file = self.0.path().join("input");
        fs::write(&file, input).unwrap();
        let gpg = Command::new("gpg")
            .args(["--batch", "--quiet", "--no-tty", "--homedir"])
            .arg(self.0.path())
            .args(args)
            .stdin(fs::File::open(&file).unwrap())
            .stderr(Stdio::null())
            .output()
            .expect("gpg is in the package gpg");
        assert!(gpg.status.success(), "gpg {args:?}");
        gpg.stdout
    }

    fn clear(&self, text: &str) -> Vec<u8> {
        self.gpg(&["--clear-sign"], text.as_bytes())
    }

    fn beside(&self, text: &[u8]) -> Vec<u8> {
        self.gpg(&["--detach-sign"], text)
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        // gpg starts an agent for each home, and it would stay.
        let _ = self.gpgconf(&["--kill", "all"]);
    }
}

fn signature(signer: &Signer, url: Option<String>) -> Signature {
    Signature {
        url,
        keyring: signer.keyring(),
        keyring_from: Some("say `apt install rack-keyring`".to_owned()),
    }
}

/// Orders `linux` of a server, checked by these files of checksums.
fn ordered(server: &Server, sums: Vec<(&str, Option<Signature>)>) -> bootwright::images::fetch::FetchRequest {
    let mut asked = request(format!("{}n/linux", server.base), None);
    let file = |(name, signature)| SumFile {
        url: format!("{}{name}", server.base),
        signature,
    };
    asked.entry.sums = sums.into_iter().map(file).collect();
    asked
}

#[test]
fn a_signed_file_of_checksums_vouches_for_the_files_in_it() {
    let rack = Signer::new("Rack <rack@example.org>");
    let sums = format!("{}  ./n/linux\n", hex(b"linux"));
    let bsd = rack.clear(&format!("# Fedora\nSHA256 (n/linux) = {}\n", hex(b"linux")));
    let beside = rack.beside(sums.as_bytes());
    let files = vec![
        ("n/linux", b"linux".to_vec()),
        ("SUMS", sums.into_bytes()),
        ("SUMS.gpg", beside),
        ("CHECKSUM", bsd),
    ];
    let server = Server::of(files);
    let url = format!("{}SUMS.gpg", server.base);
    for sums in [
        ("SUMS", Some(signature(&rack, Some(url.clone())))),
        ("CHECKSUM", Some(signature(&rack, None))),
    ] {
        let place = Place::new();
        let (done, told) = place.fetch(&ordered(&server, vec![sums]));
        done.unwrap();
        assert!(told.contains("which Rack <rack@example.org> signed"), "{told}");
        place.holds("rescue", b"linux");
    }
}

#[test]
fn a_signed_release_vouches_for_the_next_file_of_checksums() {
    let rack = Signer::new("Rack <rack@example.org>");
    let sums = format!("{}  ./linux\n", hex(b"linux")).into_bytes();
    let release = rack.clear(&format!(
        "Origin: Rack\nSHA256:\n {} {} n/SUMS\n",
        hex(&sums),
        sums.len()
    ));
    let other = rack.clear("Origin: Rack\nSHA256:\n");
    let wrong = rack.clear(&format!("SHA256:\n {} 5 n/SUMS\n", hex(b"other")));
    let files = vec![
        ("n/linux", b"linux".to_vec()),
        ("n/SUMS", sums),
        ("InRelease", release),
        ("Other", other),
        ("Wrong", wrong),
    ];
    let server = Server::of(files);
    let by = |first| ordered(&server, vec![(first, Some(signature(&rack, None))), ("n/SUMS", None)]);
    let place = Place::new();
    place.fetch(&by("InRelease")).0.unwrap();
    place.holds("rescue", b"linux");
    for (first, words) in [("Other", "says nothing of"), ("Wrong", "is not what")] {
        let place = Place::new();
        let error = place.fetch(&by(first)).0.unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(first), "{error}");
        place.holds_nothing();
    }
}

#[test]
fn what_nobody_that_we_know_signed_is_not_used() {
    let (rack, stranger) = (Signer::new("Rack <rack@example.org>"), Signer::new("Stranger"));
    let sums = format!("{}  n/linux\n", hex(b"linux"));
    let good = rack.clear(&sums);
    let changed = String::from_utf8(good.clone())
        .unwrap()
        .replace(&hex(b"linux"), &hex(b"trojan"))
        .into_bytes();
    let foreign = stranger.clear(&sums);
    // Two texts in one file, of which only the second is signed by somebody that we know.
    let smuggled = [foreign.clone(), good.clone()].concat();
    let unsigned = sums.clone().into_bytes();
    // gpgv prints the first text of these, and would call the second one good.
    let whole = rack.gpg(&["--sign", "--armor"], sums.as_bytes());
    let before_whole = [foreign.clone(), whole].concat();
    let bare = rack.gpg(&["--store", "--armor"], b"trojan");
    let with_bare = [good.clone(), bare].concat();
    let server = Server::of(vec![
        ("n/linux", b"linux".to_vec()),
        ("changed", changed),
        ("foreign", foreign),
        ("smuggled", smuggled),
        ("unsigned", unsigned),
        ("before-whole", before_whole),
        ("with-bare", with_bare),
    ]);
    for (file, words) in [
        ("changed", "the signature does not fit"),
        ("foreign", "is not among ours"),
        ("smuggled", "not one signed text"),
        ("unsigned", "not one signed text"),
        ("before-whole", "not one signed text"),
        ("with-bare", "not one signed text"),
    ] {
        let place = Place::new();
        let (done, _) = place.fetch(&ordered(&server, vec![(file, Some(signature(&rack, None)))]));
        let error = done.unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(file), "{error}");
        place.holds_nothing();
    }
}

#[test]
fn one_signature_that_we_know_is_enough_of_several() {
    let (rack, stranger) = (Signer::new("Rack <rack@example.org>"), Signer::new("Stranger"));
    let sums = format!("{}  n/linux\n", hex(b"linux")).into_bytes();
    let both = [stranger.beside(&sums), rack.beside(&sums)].concat();
    let server = Server::of(vec![("n/linux", b"linux".to_vec()), ("SUMS", sums), ("SUMS.gpg", both)]);
    let place = Place::new();
    let by = signature(&rack, Some(format!("{}SUMS.gpg", server.base)));
    place.fetch(&ordered(&server, vec![("SUMS", Some(by))])).0.unwrap();
    place.holds("rescue", b"linux");
}

#[test]
fn a_missing_or_armoured_keyring_says_what_to_do() {
    let rack = Signer::new("Rack <rack@example.org>");
    let sums = rack.clear(&format!("{}  n/linux\n", hex(b"linux")));
    let server = Server::of(vec![("n/linux", b"linux".to_vec()), ("SUMS", sums)]);
    let asked = ordered(&server, vec![("SUMS", Some(signature(&rack, None)))]);
    let armoured = rack.gpg(&["--armor", "--export"], b"");
    fs::write(rack.keyring(), armoured).unwrap();
    let error = Place::new().fetch(&asked).0.unwrap_err().to_string();
    assert!(error.contains("gpg --dearmor"), "{error}");
    fs::remove_file(rack.keyring()).unwrap();
    let before = server.requests().len();
    let error = Place::new().fetch(&asked).0.unwrap_err().to_string();
    assert!(
        error.contains("apt install rack-keyring") && error.contains("--unsigned"),
        "{error}"
    );
    assert_eq!(server.requests().len(), before);
}

#[test]
fn a_signature_of_the_file_itself_vouches_for_it() {
    let (rack, stranger) = (Signer::new("Rack <rack@example.org>"), Signer::new("Stranger"));
    let files = vec![
        ("linux", b"linux".to_vec()),
        ("linux.sig", rack.beside(b"linux")),
        ("linux.other", stranger.beside(b"linux")),
    ];
    let server = Server::of(files);
    let by = |name: &str| {
        let mut asked = request(String::new(), None);
        let url = format!("{}linux", server.base);
        let signature = signature(&rack, Some(format!("{}{name}", server.base)));
        asked.entry.kernel = Some(Remote {
            url,
            signature: Some(signature),
            ..Remote::default()
        });
        asked
    };
    let place = Place::new();
    let (done, told) = place.fetch(&by("linux.sig"));
    done.unwrap();
    assert!(told.contains("signed by Rack <rack@example.org>"), "{told}");
    place.holds("rescue", b"linux");
    let place = Place::new();
    let error = place.fetch(&by("linux.other")).0.unwrap_err().to_string();
    assert!(error.contains("is not among ours"), "{error}");
    assert_eq!(place.kept("rescue"), Vec::<String>::new());
    place.holds_nothing();
}

#[test]
fn a_file_of_checksums_over_plain_http_needs_a_signature() {
    let server = Server::of(vec![("SUMS", Vec::new())]);
    let place = Place::new();
    let error = place
        .fetch(&ordered(&server, vec![("SUMS", None)]))
        .0
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("over plain HTTP anybody on the way may change it"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn files_are_taken_out_of_an_archive_whose_version_the_checksums_know() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("boot")).unwrap();
    fs::write(folder.path().join("boot/vmlinuz"), "linux").unwrap();
    fs::write(folder.path().join("boot/initramfs"), "ram").unwrap();
    let tar = Command::new("tar")
        .arg("-cz")
        .arg("-C")
        .arg(folder.path())
        .arg("./boot")
        .output()
        .unwrap()
        .stdout;
    let rack = Signer::new("Rack <rack@example.org>");
    let sums = rack.clear(&format!(
        "{}  net-3.9.tar.gz\n{}  net-3.10.tar.gz\n",
        hex(b"older"),
        hex(&tar)
    ));
    let server = Server::of(vec![("net-3.10.tar.gz", tar), ("SUMS", sums)]);
    let place = Place::new();
    let inside = |member: &str| Remote {
        url: format!("{}net-*.tar.gz", server.base),
        member: Some(member.to_owned()),
        ..Remote::default()
    };
    let mut asked = ordered(&server, vec![("SUMS", Some(signature(&rack, None)))]);
    asked.entry.kernel = Some(inside("boot/vmlinuz"));
    asked.entry.initrds = vec![inside("boot/initramfs")];
    place.fetch(&asked).0.unwrap();
    place.holds("rescue", b"linux");
    assert_eq!(server.requests().len(), 2);
    let place = Place::new();
    asked.entry.initrds = vec![inside("other/vmlinuz")];
    let error = place.fetch(&asked).0.unwrap_err().to_string();
    assert!(error.contains("two files are called `vmlinuz`"), "{error}");
    asked.entry.initrds = vec![inside("boot/missing")];
    let error = place.fetch(&asked).0.unwrap_err().to_string();
    assert!(
        error.contains("can't take boot/missing out of") && error.contains("Not found in archive"),
        "{error}"
    );
    place.holds_nothing();
}

#[test]
fn a_keyring_without_a_folder_in_its_name_is_the_one_here_and_not_gnupgs_own() {
    let (rack, stranger) = (Signer::new("Rack <rack@example.org>"), Signer::new("Stranger"));
    let sums = |signer: &Signer| signer.clear(&format!("{}  linux\n", hex(b"linux")));
    let files = vec![
        ("linux", b"linux".to_vec()),
        ("good", sums(&rack)),
        ("foreign", sums(&stranger)),
    ];
    let server = Server::of(files);
    let (place, home) = (Place::new(), tempfile::tempdir().unwrap());
    // gpgv takes a bare name for one in its own folder, and there somebody else's keys are.
    fs::copy(rack.keyring(), place.0.path().join("keys.gpg")).unwrap();
    fs::create_dir(home.path().join(".gnupg")).unwrap();
    fs::copy(stranger.keyring(), home.path().join(".gnupg/keys.gpg")).unwrap();
    let url = format!("{}linux", server.base);
    let by = |sums: &str| {
        let sums = format!("{}{sums}", server.base);
        let args = ["rescue", "--kernel", &url, "--sums", &sums, "--keyring", "keys.gpg"];
        let home = home.path().display().to_string();
        let output = command(&place, &args, &[("HOME", home.as_str())])
            .current_dir(place.0.path())
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (done, told) = by("foreign");
    assert!(!done && told.contains("is not among ours"), "{told}");
    let (done, told) = by("good");
    assert!(done, "{told}");
}

#[test]
fn an_archive_that_can_not_be_unpacked_says_why() {
    let server = Server::of(vec![("net.tar.gz", b"no archive at all".to_vec())]);
    let place = Place::new();
    let mut asked = request(format!("{}net.tar.gz", server.base), Some(sha256(b"no archive at all")));
    asked.entry.kernel.as_mut().unwrap().member = Some("boot/vmlinuz".to_owned());
    let error = place.fetch(&asked).0.unwrap_err().to_string();
    assert!(
        error.contains("does not look like a tar archive") || error.contains("not in gzip format"),
        "{error}"
    );
}

#[test]
fn two_checksums_for_one_file_are_an_error_and_not_a_matter_of_their_order() {
    let rack = Signer::new("Rack <rack@example.org>");
    for bodies in [["linux", "older"], ["older", "linux"]] {
        let lines = bodies.map(|body| format!("{}  linux\n", hex(body.as_bytes())));
        let sums = rack.clear(&lines.concat());
        let server = Server::of(vec![("linux", b"linux".to_vec()), ("SUMS", sums)]);
        let mut asked = ordered(&server, vec![("SUMS", Some(signature(&rack, None)))]);
        asked.entry.kernel.as_mut().unwrap().url = format!("{}linux", server.base);
        let place = Place::new();
        let error = place.fetch(&asked).0.unwrap_err().to_string();
        assert!(error.contains("has two different checksums"), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
}
