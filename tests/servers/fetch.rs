//! The TFTP client machine against other people's servers: async-tftp, tftpd-hpa and dnsmasq, on a
//! loopback interface in a network namespace of its own, which takes root.

use super::network::{ip, own_network};
use bootwright::proto::tftp::{
    fetch::{Fetch, FetchEnd},
    wire::{TransferOptions, parse_reply},
};
use std::{
    fs,
    io::ErrorKind,
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
/// How long the wire must be silent for the client's clock to go on: a server that may not be there yet is asked
/// again soon, and one that is there is waited for, however busy the machine.
const SOON: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);

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

/// Carries a fetch over a socket to its end; the machine at its end, and the bytes. Its clock stands still but
/// where nothing came for `silence`: then it is the time that the client waits for.
fn fetch(server: &str, path: &[u8], options: TransferOptions, silence: Duration) -> (Fetch, Vec<u8>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(silence)).unwrap();
    let mut now = Duration::ZERO;
    let mut fetch = Fetch::begin(now, path, options);
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
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) if *transfer.get_or_insert(from) == from => {
                if let Ok(reply) = parse_reply(&buffer[..length]) {
                    got.extend_from_slice(fetch.handle(now, &reply));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => now = deadline,
            Ok(_) | Err(_) => {}
        }
        fetch.handle_timeout(now);
    }
}

/// Waits until a server that has just started serves the file.
fn wait_for(server: &str) {
    let began = Instant::now();
    // A port nobody listens on yet answers with an ICMP error or not at all.
    loop {
        let (fetch, _) = fetch(server, b"snponly.efi", TransferOptions::default(), SOON);
        if fetch.ending() == Some(&FetchEnd::Complete) {
            return;
        }
        assert!(began.elapsed() < START_TIMEOUT, "{server}: {:?}", fetch.ending());
    }
}

/// Every kind of request, byte by byte, and a file that is not there.
fn expect_everything(server: &str, expected: &[u8], knows_windows: bool) {
    wait_for(server);
    let asking = |blksize, windowsize| TransferOptions {
        blksize,
        windowsize,
        tsize: true,
        ..TransferOptions::default()
    };
    for (blksize, windowsize) in [
        (None, None),
        (Some(1432), None),
        (Some(1468), None),
        (Some(1468), Some(4)),
        (Some(1024), Some(16)),
    ] {
        let what = format!("{server}, blksize {blksize:?}, windowsize {windowsize:?}");
        let (fetch, got) = fetch(server, b"snponly.efi", asking(blksize, windowsize), PATIENCE);
        assert_eq!(fetch.ending(), Some(&FetchEnd::Complete), "{what}");
        assert!(got == expected, "{what}: {} bytes", got.len());
        // On a busy machine a server may say something again, and is right.
        assert_eq!(fetch.tally().retries, 0, "{what}: {:?}", fetch.tally());
        assert_eq!(fetch.size(), Some(FILE_BYTES.into()), "{what}");
        let window = windowsize.filter(|_| knows_windows).unwrap_or(1);
        let agreed = (usize::from(blksize.unwrap_or(512)), u64::from(window));
        assert_eq!(fetch.shape(), agreed, "{what}");
    }
    let (fetch, _) = fetch(server, b"none.efi", TransferOptions::default(), PATIENCE);
    let refused = matches!(fetch.ending(), Some(FetchEnd::Refused { code: 0..=2, .. }));
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
