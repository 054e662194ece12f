//! `bootwright-deploy` as a machine runs it: the real program, files and loop devices for disks, and a server that
//! may lie, break off or go away.
//!
//! The machine is a folder with `sys/block` and `dev` in it, whose disks are ours: the program sees no other one.

mod disks;
mod images;
mod partitions;
mod wire;

use crate::fetch_image::server::{Request, Server, answer};
use bootwright::model::{DeployImage, DeployOrder, DiskSelector, ImageFormat, ImageSum, OrderVersion, UnpackedImage};
use sha2::{Digest, Sha256};
use std::{
    fs,
    net::TcpStream,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tempfile::TempDir;

const MIB: usize = 1024 * 1024;

/// A machine with disks.
pub struct Machine {
    root: TempDir,
}

/// A loop device over a file, detached when it is dropped.
pub struct Loop {
    node: PathBuf,
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.node).status();
    }
}

impl Machine {
    /// One whose disk `sda`, serial number `S1`, is a file with these bytes.
    pub fn with_disk(bytes: &[u8]) -> Machine {
        // Not on tmpfs, which has no O_DIRECT.
        let root = tempfile::tempdir_in("/var/tmp").unwrap();
        let machine = Machine { root };
        machine.describe("sda", "S1", bytes.len(), 512);
        fs::write(machine.disk(), bytes).unwrap();
        machine
    }

    /// The same with a loop device before the file.
    pub fn with_loop(bytes: &[u8], sector: u32) -> (Machine, Loop) {
        let machine = Machine::with_disk(&[]);
        machine.describe("sda", "S1", bytes.len(), sector);
        let file = machine.root.path().join("backing");
        fs::write(&file, bytes).unwrap();
        let sector = sector.to_string();
        let made = ran(
            "losetup",
            &["--find", "--show", "--sector-size", &sector, file.to_str().unwrap()],
        );
        let node = PathBuf::from(made.trim());
        fs::remove_file(machine.disk()).unwrap();
        symlink(&node, machine.disk()).unwrap();
        (machine, Loop { node })
    }

    /// What the kernel says of a disk.
    pub fn describe(&self, name: &str, serial: &str, bytes: usize, sector: u32) {
        let at = self.root.path().join("sys/block").join(name);
        for folder in ["device", "queue"] {
            fs::create_dir_all(at.join(folder)).unwrap();
        }
        fs::create_dir_all(self.root.path().join("dev")).unwrap();
        fs::write(at.join("size"), (bytes / 512).to_string()).unwrap();
        fs::write(at.join("device/model"), "DISK OF A TEST  \n").unwrap();
        fs::write(at.join("device/serial"), serial).unwrap();
        fs::write(at.join("queue/logical_block_size"), sector.to_string()).unwrap();
    }

    pub fn disk(&self) -> PathBuf {
        self.root.path().join("dev/sda")
    }

    pub fn bytes(&self) -> Vec<u8> {
        fs::read(self.disk()).unwrap()
    }

    pub fn command(&self, url: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootwright-deploy"));
        command
            .args(["install", url, "--patience", "3s", "--settle", "0s", "--root"])
            .arg(self.root.path());
        command
    }

    /// Runs an install to its end.
    pub fn install(&self, room: &DeployRoom) -> Output {
        self.command(&room.order_url()).output().unwrap()
    }
}

/// How the server gives the image.
type GivesImage = dyn Fn(usize, &Request, &[u8], &mut TcpStream) + Send + Sync;

/// A daemon with an image and an order.
pub struct DeployRoom {
    server: Server,
    order: Arc<Mutex<String>>,
}

impl DeployRoom {
    /// One that is honest.
    pub fn of(file: Vec<u8>) -> DeployRoom {
        DeployRoom::giving(file, |_, request, file, stream| match request.from() {
            None => answer(stream, "200 OK", &[("ETag", "\"1\"")], file),
            Some(from) => crate::fetch_image::server::part(stream, file, from, "\"1\""),
        })
    }

    /// One that gives the image as it likes. The first argument is how often it was asked for before.
    pub fn giving(
        file: Vec<u8>,
        gives: impl Fn(usize, &Request, &[u8], &mut TcpStream) + Send + Sync + 'static,
    ) -> DeployRoom {
        let order = Arc::new(Mutex::new(String::new()));
        let (given, asked) = (Arc::clone(&order), Mutex::new(0));
        let gives: Box<GivesImage> = Box::new(gives);
        let begun = AtomicUsize::new(0);
        let server = Server::start(move |_, request, stream| match request.path.as_str() {
            "/order" => answer(stream, "200 OK", &[], given.lock().unwrap().as_bytes()),
            "/image" => {
                let before = {
                    let mut asked = asked.lock().unwrap();
                    *asked += 1;
                    *asked - 1
                };
                gives(before, request, &file, stream);
            }
            // Its host is disarmed once it began and told of its disks.
            "/callback/disarmed/0123/started" if begun.fetch_add(1, Ordering::Relaxed) >= 2 => {
                answer(stream, "403 Forbidden", &[], b"");
            }
            path if path.starts_with("/callback/refused/") => answer(stream, "403 Forbidden", &[], b""),
            path if path.starts_with("/callback/") => answer(stream, "200 OK", &[], b""),
            _ => answer(stream, "404 Not Found", &[], b""),
        });
        DeployRoom { server, order }
    }

    pub fn order_url(&self) -> String {
        format!("{}order", self.server.base)
    }

    /// Orders this.
    pub fn order(&self, order: &DeployOrder) {
        *self.order.lock().unwrap() = serde_json::to_string(order).unwrap();
    }

    /// An order for the file as it is, of the image that it unpacks to.
    pub fn order_of(&self, format: ImageFormat, file: &[u8], image: &[u8]) -> DeployOrder {
        DeployOrder {
            version: OrderVersion,
            image: DeployImage {
                url: format!("{}image", self.server.base),
                format,
                bytes: u64::try_from(file.len()).unwrap(),
                sha256: sum(file),
                unpacked: (format != ImageFormat::Raw).then(|| UnpackedImage {
                    bytes: u64::try_from(image.len()).unwrap(),
                    sha256: Some(sum(image)),
                }),
                pieces: None,
            },
            disk: DiskSelector::default(),
            grow: false,
            seed: Vec::new(),
            boot_entry: None,
            then: Default::default(),
            callback: format!("{}callback/r1u07/0123", self.server.base),
        }
    }

    /// The last word that the machine said, and what with it.
    pub fn last_word(&self) -> (String, String) {
        self.words().pop().unwrap()
    }

    pub fn words(&self) -> Vec<(String, String)> {
        let requests = self.server.requests();
        let said = requests.iter().filter(|request| request.path.starts_with("/callback/"));
        let word = |request: &Request| {
            let word = request.path.rsplit('/').next().unwrap().to_owned();
            let body = String::from_utf8(request.body.clone()).unwrap();
            (
                word,
                percent_encoding::percent_decode_str(&body)
                    .decode_utf8()
                    .unwrap()
                    .into_owned(),
            )
        };
        said.map(word).collect()
    }

    pub fn image_requests(&self) -> Vec<Request> {
        let requests = self.server.requests().into_iter();
        requests.filter(|request| request.path == "/image").collect()
    }

    /// The install failed, and this stands in its reason.
    pub fn assert_failed(&self, output: &Output, reason: &str) {
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(output.stdout.is_empty(), "{output:?}");
        let (word, said) = self.last_word();
        assert_eq!(word, "failed", "{log}");
        assert!(said.starts_with("reason=") && said.contains(reason), "{said}\n{log}");
    }

    pub fn assert_done(&self, output: &Output) {
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{log}\n{:?}", self.words());
        assert_eq!(output.stdout, b"reboot\n");
        let words = self.words();
        assert_eq!(words.first().map(|word| word.0.as_str()), Some("started"), "{words:?}");
        assert_eq!(words.last().map(|word| word.0.as_str()), Some("done"), "{words:?}");
    }
}

pub fn sum(bytes: &[u8]) -> ImageSum {
    ImageSum(Sha256::digest(bytes).into())
}

/// Bytes that no packer makes smaller, the same ones each time.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let words = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}

/// What a program says. It must succeed.
pub fn ran(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Bytes packed by the real program.
pub fn packed(program: &str, bytes: &[u8]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let output = Command::new(program)
        .args(["-c", "-1"])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Whether a part of a disk is all the same byte.
pub fn is_all(bytes: &[u8], byte: u8) -> bool {
    bytes.iter().all(|other| *other == byte)
}

pub fn file_of(path: &Path, bytes: usize) {
    fs::File::create(path)
        .unwrap()
        .set_len(u64::try_from(bytes).unwrap())
        .unwrap();
}
