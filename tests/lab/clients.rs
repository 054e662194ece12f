//! Rung 3: the TFTP and HTTP clients that systems and technicians really use.

use super::daemon::Daemon;
use super::namespace::{INTERFACE, Namespace, SERVER, Wire};
use super::room::Room;
use std::fs;
use tempfile::TempDir;

const FETCHER: &str = r#"
[profile.live]
image   = "small"
boot    = "live"
script  = "fetched"

[[host]]
name    = "fetcher"
mac     = "02:00:00:00:00:31"
address = "192.0.2.31"
profile = "live"
"#;

#[test]
fn a_loader_a_script_and_an_image_arrive_byte_by_byte() {
    // Three megabytes and a bit: many blocks, and a last one that is not full.
    let kernel: Vec<u8> = (0..3_000_017_u32)
        .map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let wire = Wire::new();
    let room = Room::new(FETCHER)
        .with_small_image(&kernel)
        .with_script("fetched", "#!ipxe\necho {{ name }}\n");
    let _daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:31", "192.0.2.31");
    let loader = fs::read("/usr/lib/ipxe/snponly.efi").expect("package ipxe is installed");
    let script = "#!ipxe\necho fetcher\n".as_bytes();
    for (path, content) in [("snponly.efi", loader.as_slice()), ("image/small/kernel.bin", &kernel)] {
        for (program, fetched) in fetch_with_everything(&client, path) {
            assert!(
                fetched == content,
                "{program} {path}: {} of {} bytes",
                fetched.len(),
                content.len()
            );
        }
    }
    let url = format!("http://{SERVER}/boot.ipxe?mac=02-00-00-00-00-31");
    assert_eq!(
        client.expect("curl", &["-sSf", &url]),
        script,
        "the script that DHCP points to"
    );
}

#[test]
fn grubs_and_pxelinuxs_configurations_are_the_clients_own_script() {
    let wire = Wire::new();
    let room = Room::new(FETCHER)
        .with_small_image(b"kernel")
        .with_script("fetched", "#!ipxe\n");
    room.write_script(
        "fetched.grub",
        "linux {{ image.path }}{{ image.kernel_file }} {{ name }}\n",
    );
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:31", "192.0.2.31");
    for path in [
        "grub/grub.cfg",
        "grub/grub.cfg-01-02-00-00-00-00-31",
        "boot/grub/grub.cfg-C000021F",
    ] {
        for (program, fetched) in fetch_with_everything(&client, path) {
            let fetched = String::from_utf8_lossy(&fetched);
            assert_eq!(fetched, "linux /image/small/kernel.bin fetcher\n", "{program} {path}");
        }
    }
    daemon.wait_for("its log line", |line| {
        line.is("fetcher", "sent", &["script fetched (grub)"]) && line.stage == "grub"
    });
    // PXELINUX goes on to its next name by each of these.
    for path in [
        "pxelinux.cfg/01-02-00-00-00-00-31",
        "pxelinux.cfg/C000021F",
        "pxelinux.cfg/default",
    ] {
        let printed = client.run("tftp", &["-v", "-m", "binary", SERVER, "-c", "get", path, "/dev/null"]);
        let printed = super::namespace::text(&printed);
        assert!(
            printed.contains("Error code 1: script fetched is not written for PXELINUX"),
            "{path}: {printed}"
        );
    }
    room.write_script("fetched.pxelinux", "SAY {{ name }}\n");
    daemon.wait_for("the new generation", |line| {
        line.has("reloaded", &[("generation", "2")])
    });
    for (program, fetched) in fetch_with_everything(&client, "pxelinux.cfg/01-02-00-00-00-00-31") {
        assert_eq!(String::from_utf8_lossy(&fetched), "SAY fetcher\n", "{program}");
    }
}

#[test]
fn a_loader_that_went_out_once_is_read_from_its_file_no_more() {
    let wire = Wire::new();
    let room = Room::new("");
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:31", "192.0.2.31");
    let length = fetch_with_everything(&client, "snponly.efi")[0].1.len() as u64;
    let before = daemon.read_bytes();
    for (program, fetched) in fetch_with_everything(&client, "snponly.efi") {
        assert_eq!(fetched.len() as u64, length, "{program}");
    }
    let read = daemon.read_bytes() - before;
    assert!(read < length, "{read} bytes read for a file of {length}");
}

#[test]
fn a_loader_goes_out_of_an_interface_whose_frames_are_shorter_than_its_blocks() {
    let wire = Wire::new();
    let room = Room::new(FETCHER)
        .with_small_image(b"kernel")
        .with_script("fetched", "#!ipxe\n");
    let _daemon = Daemon::start(&wire, &room);
    wire.server.expect("ip", &["link", "set", INTERFACE, "mtu", "1000"]);
    let client = wire.client_at("02:00:00:00:00:31", "192.0.2.31");
    let loader = fs::read("/usr/lib/ipxe/snponly.efi").expect("package ipxe is installed");
    for (program, fetched) in fetch_with_everything(&client, "snponly.efi") {
        assert!(
            fetched == loader,
            "{program}: {} of {} bytes",
            fetched.len(),
            loader.len()
        );
    }
}

fn fetch_with_everything(client: &Namespace, path: &str) -> Vec<(&'static str, Vec<u8>)> {
    let folder = TempDir::new().expect("a temporary folder");
    let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap_or_default();
    let (hpa, atftp, windows) = (file("hpa"), file("atftp"), file("windows"));
    let (busybox, tftp_url) = (file("busybox"), format!("tftp://{SERVER}/{path}"));
    client.expect(
        "busybox",
        &["tftp", "-b", "1468", "-g", "-r", path, "-l", &busybox, SERVER],
    );
    client.expect("tftp", &["-m", "binary", SERVER, "-c", "get", path, &hpa]);
    client.expect(
        "atftp",
        &["-g", "-r", path, "-l", &atftp, "--option", "blksize 1432", SERVER],
    );
    client.expect(
        "atftp",
        &[
            "-g",
            "-r",
            path,
            "-l",
            &windows,
            "--option",
            "blksize 1468",
            "--option",
            "windowsize 4",
            SERVER,
        ],
    );
    let url = format!("http://{SERVER}/{path}");
    vec![
        ("curl", client.expect("curl", &["-sSf", &url])),
        ("curl over TFTP", client.expect("curl", &["-sSf", &tftp_url])),
        ("busybox", read("busybox")),
        ("tftp-hpa", read("hpa")),
        ("atftp, 1432-byte blocks", read("atftp")),
        ("atftp, windows of 4", read("windows")),
    ]
}

#[test]
fn a_machine_that_is_not_listed_may_read_images_and_gets_the_unknown_script() {
    let wire = Wire::new();
    let room = Room::new(FETCHER)
        .with_small_image(b"kernel")
        .with_script("fetched", "#!ipxe\necho {{ name }}\n");
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:32", "192.0.2.32");
    let url = format!("http://{SERVER}/boot.ipxe?mac=02-00-00-00-00-32");
    let script = client.expect("curl", &["-sSf", &url]);
    assert!(script.starts_with(b"#!ipxe"), "{}", String::from_utf8_lossy(&script));
    daemon.wait_for("the unknown machine's script", |line| {
        line.event == "sent" && line.file == "script unknown"
    });
}
