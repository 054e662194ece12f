//! A folder of the files that people edit, small enough to be read thousands of times a second, and what
//! must hold of whatever the daemon makes of them.

pub use crate::fixtures::SERVER;
use crate::fixtures::{draw_token, file_request};
use bootwright::boot::{
    arming::Arming,
    identity_cache::IdentityCache,
    resource::{Refusal, Resolved, Resource, Transport, resource},
    snapshot::{Host, Snapshot},
    verification::Verification,
    world::{FileWorld, World},
};
use bootwright::config::{Diagnostic, LoadReport, Loaded, load};
use bootwright::images::sums::Deferred;
use bootwright::lease::LeaseTable;
use bootwright::model::{Cpu, Now, WallTime, limits::TEMPLATE_OUTPUT_BYTES_MAX};
use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

pub const NOW: Now = Now {
    monotonic: Duration::from_secs(1000),
    wall: WallTime(1_700_000_000),
};

/// Files, and what stands in them.
const FILES: [(&str, &str); 13] = [
    (
        "bootwright.toml",
        "[network]\ninterfaces = [\"eno2\"]\n[paths]\nscripts = \"scripts\"\nanswers = \"answers\"\nimages = \"images\"\n\
         loaders = [\"loaders\"]\n[state]\npath = \"state\"\n",
    ),
    ("scripts/local.ipxe", "#!ipxe\nexit\n"),
    ("scripts/local.grub", "exit\n"),
    ("scripts/local.pxelinux", "localboot 0\n"),
    ("scripts/live.pxelinux", "default live\n"),
    ("scripts/unknown.ipxe", "#!ipxe\necho ${mac} {{ server }}\n"),
    (
        "scripts/live.ipxe",
        "#!ipxe\nkernel {{ image.kernel }} {{ cmdline }}{% if vars.disk is defined %} disk={{ vars.disk | arg }}\
         {% endif %}\nboot\n",
    ),
    ("scripts/live.grub", "linux {{ image.path }} {{ cmdline | args }}\n"),
    (
        "answers/preseed.cfg",
        "for {{ name }} at {{ address }} {{ vars.key | default('') | quote }}\n",
    ),
    ("images/debian/linux", "kernel"),
    ("images/debian/initrd.gz", "initrd"),
    ("loaders/undionly.kpxe", "loader"),
    ("loaders/lpxelinux.0", "loader"),
];
const MANIFEST: &str = "arch = \"x86_64\"\ncmdline = \"quiet\"\n";

/// The folder.
pub struct Room(TempDir);

impl Room {
    pub fn new() -> Room {
        let room = Room(tempfile::tempdir().unwrap());
        room.write("inventory.toml", b"[[subnet]]\ncidr = \"192.0.2.0/24\"\n");
        room.put_back();
        for loader in ["snponly.efi", "grubx64.efi"] {
            room.write(&format!("loaders/{loader}"), &program());
        }
        let sum = "0".repeat(64);
        let artifacts = [("kernel", "linux"), ("initrds", "initrd.gz")];
        let lines = artifacts.map(|(key, file)| format!("{key} = {{ file = \"{file}\", sha256 = \"{sum}\" }}\n"));
        let manifest = [MANIFEST, &lines.concat()].concat();
        room.write("images/debian/image.toml", manifest.as_bytes());
        room
    }

    /// Writes the scripts and answers, and all else that no input is, as they were.
    pub fn put_back(&self) {
        for (file, text) in FILES {
            self.write(file, text.as_bytes());
        }
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    pub fn write(&self, file: &str, bytes: &[u8]) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// As `bootwright check`, a start and a reload read it.
    pub fn load(&self) -> Result<Loaded, LoadReport> {
        load(&self.path("bootwright.toml"), 1, &mut Deferred)
    }

    /// Loads it, and what must hold of the answer, whatever is in the files; what was accepted.
    pub fn judged(&self) -> Option<Loaded> {
        match self.load() {
            Ok(loaded) => {
                loaded.warnings.iter().for_each(|one| self.assert_said(one));
                Some(loaded)
            }
            Err(report) => {
                assert!(!report.errors.is_empty(), "refused without a word");
                report
                    .errors
                    .iter()
                    .chain(&report.warnings)
                    .for_each(|one| self.assert_said(one));
                assert_text(&report.render(false), "the report");
                None
            }
        }
    }

    /// It names a file of this folder, and a place that is in it; and it steers no terminal.
    fn assert_said(&self, said: &Diagnostic) {
        assert!(!said.message.is_empty());
        for words in [said.message.as_str(), said.help.as_deref().unwrap_or_default()] {
            let is_shown = |c: char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}');
            assert!(words.chars().all(is_shown), "steers a terminal: {said:?}");
        }
        assert!(Path::new(&said.file).starts_with(self.0.path()), "elsewhere: {said:?}");
        if let Some((line, column)) = said.place {
            let bytes = fs::read(&said.file).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            let lines: Vec<&str> = text.split('\n').collect();
            let at = usize::try_from(line).unwrap();
            assert!((1..=lines.len().max(1)).contains(&at), "no such line: {said:?}");
            let length = lines[at - 1].chars().count();
            assert!(
                (1..=length + 2).contains(&usize::try_from(column).unwrap()),
                "no such column: {said:?}"
            );
        }
    }
}

/// An EFI program for x86_64, as far as anybody reads it.
fn program() -> Vec<u8> {
    let mut program = vec![0; 0x100];
    program[..2].copy_from_slice(b"MZ");
    program[0x3c] = 0x40;
    program[0x40..0x44].copy_from_slice(b"PE\0\0");
    program[0x44..0x46].copy_from_slice(&0x8664_u16.to_le_bytes());
    program[0x58..0x5a].copy_from_slice(&0x20b_u16.to_le_bytes());
    program
}

/// Lines of text and nothing that steers a terminal.
pub fn assert_text(text: &str, what: &str) {
    let odd = text.chars().find(|c| c.is_control() && *c != '\n');
    assert!(odd.is_none(), "{what} has {odd:?}");
}

/// What must hold of an inventory that was accepted: what was rendered while it was judged is rendered now.
pub fn assert_served(snapshot: &Snapshot) {
    let mut identities = IdentityCache::default();
    for host in snapshot.hosts.iter() {
        for path in paths(snapshot, host) {
            let answered = ask(snapshot, &mut identities, host.address.unwrap_or(SERVER), &path);
            assert_answered(&answered, &path);
        }
    }
}

/// What a host asks for by HTTP on its way to its system.
fn paths(snapshot: &Snapshot, host: &Host) -> Vec<String> {
    let image = host.settings.image.as_ref();
    let image = image.and_then(|image| snapshot.images.get(&image.value));
    let cpu = image.and_then(|image| image.cpu).unwrap_or(Cpu::X86_64);
    let mac = host.macs.first().map(|mac| mac.to_string()).unwrap_or_default();
    let firmware = [("pcbios", "i386"), ("efi", cpu.name())];
    let scripts = firmware.map(|(platform, arch)| format!("boot.ipxe?mac={mac}&arch={arch}&platform={platform}"));
    let answer = host.settings.answer.as_ref().map(|answer| &answer.value);
    let files = answer.and_then(|answer| snapshot.templates.answers.get(answer));
    let files = files.into_iter().flatten();
    let answers = files.map(|file| format!("answer/{}/{file}", host.name));
    scripts.into_iter().chain(answers).collect()
}

/// Asks over HTTP.
pub fn ask(snapshot: &Snapshot, identities: &mut IdentityCache, peer: Ipv4Addr, path: &str) -> Resolved {
    let ask = file_request(Transport::Http, peer, path);
    let world = World {
        now: NOW,
        snapshot,
        leases: &mut LeaseTable::default(),
        arming: &mut Arming::default(),
    };
    let files = FileWorld {
        world,
        identities,
        verification: &Verification::default(),
        draw_token,
    };
    resource(files, &ask)
}

fn assert_answered(answered: &Resolved, path: &str) {
    match &answered.result {
        Ok(Resource::Text { body, .. }) => {
            assert!(
                body.len() <= TEMPLATE_OUTPUT_BYTES_MAX,
                "{} bytes of {path}",
                body.len()
            );
        }
        Err(Refusal::ServerError(reason)) => panic!("accepted, and then not rendered: {path}: {reason}"),
        Ok(Resource::File { .. }) | Err(_) => {}
    }
}
