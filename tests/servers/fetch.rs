//! The TFTP client machine against other people's servers: async-tftp, tftpd-hpa and dnsmasq, on a
//! loopback interface in a network namespace of its own, which takes root.

use super::network::{ip, own_network};
use bootwright::proto::tftp::{
    fetch::{Ending, Fetch, Tally},
    wire::{Options, parse_reply},
};
use std::{
    fs,
    net::UdpSocket,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// 1468 × 300: a multiple of the block size, so that the last block is empty.
const FILE_BYTES: u32 = 440_400;
const SERVER: &str = "127.0.0.1:69";
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a fetch is tried until a busy machine lets neither end wait so long that it says something again.
const TRIES: usize = 10;

/// A server of somebody else's, ended with the test.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn peer(program: &str, arguments: &[&str]) -> Peer {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    Peer(
        command
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; see tests/install-packages.sh")),
    )
}

/// A network of the test's own, with an address beside the loopback ones.
fn network() {
    own_network();
    // in.tftpd looks its own address up, which finds none where a machine has but loopback ones.
    ip("addr add 192.0.2.1/24 dev lo");
}

/// A folder with `snponly.efi`, which servers that give up root can read too.
fn folder() -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let bytes: Vec<u8> = (0..FILE_BYTES)
        .map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let file = folder.path().join("snponly.efi");
    fs::write(&file, &bytes).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    (folder, bytes)
}

/// Carries a fetch over a socket to its end; the machine at its end, and the bytes.
fn fetch(server: &str, path: &[u8], options: Options) -> (Fetch, Vec<u8>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    let mut fetch = Fetch::begin(start.elapsed(), path, options);
    let (mut transfer, mut packet, mut buffer, mut got) = (None, Vec::new(), [0; 2048], Vec::new());
    loop {
        while fetch.poll_transmit(&mut packet) {
            match transfer {
                Some(transfer) => socket.send_to(&packet, transfer).unwrap(),
                None => socket.send_to(&packet, server).unwrap(),
            };
        }
        let Some(deadline) = fetch.deadline() else {
            return (fetch, got);
        };
        let wait = deadline.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(wait)).unwrap();
        if let Ok((length, from)) = socket.recv_from(&mut buffer)
            && *transfer.get_or_insert(from) == from
            && let Ok(reply) = parse_reply(&buffer[..length])
        {
            got.extend_from_slice(fetch.handle(start.elapsed(), &reply));
        }
        fetch.handle_timeout(start.elapsed());
    }
}

/// Waits until a server that has just started serves the file.
fn wait_for(server: &str) {
    let began = Instant::now();
    // A port nobody listens on yet answers with an ICMP error or not at all; the request is
    // repeated after a second anyway.
    loop {
        let (fetch, _) = fetch(server, b"snponly.efi", Options::default());
        if fetch.ending() == Some(&Ending::Complete) {
            return;
        }
        assert!(began.elapsed() < START_TIMEOUT, "{server}: {:?}", fetch.ending());
    }
}

/// Every kind of request, byte by byte, and a file that is not there.
fn expect_everything(server: &str, expected: &[u8], knows_windows: bool) {
    wait_for(server);
    let asking = |blksize, windowsize| Options {
        blksize,
        windowsize,
        tsize: true,
        ..Options::default()
    };
    for (blksize, windowsize) in [
        (None, None),
        (Some(1432), None),
        (Some(1468), None),
        (Some(1468), Some(4)),
        (Some(1024), Some(16)),
    ] {
        let what = format!("{server}, blksize {blksize:?}, windowsize {windowsize:?}");
        let whole = || {
            let (fetch, got) = fetch(server, b"snponly.efi", asking(blksize, windowsize));
            assert_eq!(fetch.ending(), Some(&Ending::Complete), "{what}");
            assert!(got == expected, "{what}: {} bytes", got.len());
            fetch
        };
        let mut tries = std::iter::repeat_with(whole).take(TRIES);
        let fetch = tries.find(|fetch| fetch.tally() == Tally::default());
        let fetch = fetch.unwrap_or_else(|| panic!("{what}: something was said again each time"));
        assert_eq!(fetch.size(), Some(FILE_BYTES.into()), "{what}");
        let window = windowsize.filter(|_| knows_windows).unwrap_or(1);
        let agreed = (usize::from(blksize.unwrap_or(512)), u64::from(window));
        assert_eq!(fetch.shape(), agreed, "{what}");
    }
    let (fetch, _) = fetch(server, b"none.efi", Options::default());
    let refused = matches!(fetch.ending(), Some(Ending::Refused { code: 0..=2, .. }));
    assert!(refused, "{server}: {:?}", fetch.ending());
}

#[test]
fn async_tftp_gives_our_client_every_byte() {
    let (folder, expected) = folder();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = socket.local_addr().unwrap().to_string();
    let builder = async_tftp::server::TftpServerBuilder::with_dir_ro(folder.path()).unwrap();
    let builder = builder.std_socket(socket).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { builder.build().await.unwrap().serve().await })
    });
    expect_everything(&server, &expected, true);
}

#[test]
fn tftpd_hpa_gives_our_client_every_byte_and_knows_no_windows() {
    network();
    let (folder, expected) = folder();
    let root = folder.path().to_str().unwrap();
    let arguments = ["-L", "-4", "-u", "root", "-a", SERVER, "-s", root];
    let _server = peer("/usr/sbin/in.tftpd", &arguments);
    expect_everything(SERVER, &expected, false);
}

#[test]
fn dnsmasq_gives_our_client_every_byte_and_knows_no_windows() {
    network();
    let (folder, expected) = folder();
    let root = format!("--tftp-root={}", Path::new(folder.path()).display());
    let arguments = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--pid-file",
        "--enable-tftp",
        &root,
    ];
    let _server = peer("/usr/sbin/dnsmasq", &arguments);
    expect_everything(SERVER, &expected, false);
}
