//! Which disk is written to, and which is not touched.

use super::*;
use bootwright::model::DiskInfo;
use std::process::Stdio;

fn untouched(order: impl Fn(&mut DeployOrder), machine: &Machine, reason: &str) {
    let image = noise(3 * MIB);
    let room = DeployRoom::of(image.clone());
    let mut changed = room.order_of(ImageFormat::Raw, &image, &image);
    order(&mut changed);
    room.order(&changed);
    let before = machine.bytes();
    room.assert_failed(&machine.install(&room), reason);
    assert!(machine.bytes() == before, "the disk was written to");
    assert_eq!(room.image_requests().len(), 0);
}

#[test]
fn a_disk_that_does_not_fit_or_is_too_small_stays_as_it_is() {
    let machine = Machine::with_disk(&vec![0xaa; 4 * MIB]);
    untouched(
        |order| order.disk.serial = Some("S2".to_owned()),
        &machine,
        "no disk fits disk = { serial = \"S2\" }",
    );
    let small = Machine::with_disk(&vec![0xaa; 3 * MIB - 512]);
    untouched(|_| {}, &small, "the disk is too small");
    machine.describe("sdb", "S3", 4 * MIB, 512);
    untouched(|_| {}, &machine, "several disks fit");
    for flag in ["ro", "removable"] {
        let machine = Machine::with_disk(&vec![0xaa; 4 * MIB]);
        fs::write(machine.root.path().join("sys/block/sda").join(flag), "1\n").unwrap();
        untouched(|_| {}, &machine, "no disk fits");
    }
}

#[test]
fn a_host_that_is_disarmed_while_it_waits_for_its_image_keeps_its_disk() {
    let image = noise(2 * MIB);
    let room = DeployRoom::of(image.clone());
    let mut order = room.order_of(ImageFormat::Raw, &image, &image);
    order.callback = order.callback.replace("r1u07", "disarmed");
    room.order(&order);
    let machine = Machine::with_disk(&vec![0xaa; 4 * MIB]);
    room.assert_failed(&machine.install(&room), "leave to begin");
    assert_eq!(room.image_requests().len(), 1);
    assert!(is_all(&machine.bytes(), 0xaa), "the disk was written to");
}

#[test]
fn a_disk_that_turns_up_late_is_seen_before_one_is_taken_that_has_no_name() {
    let image = noise(2 * MIB);
    let room = DeployRoom::of(image.clone());
    room.order(&room.order_of(ImageFormat::Raw, &image, &image));
    let machine = Machine::with_disk(&vec![0xaa; 4 * MIB]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bootwright-deploy"));
    command.args(["install", &room.order_url(), "--settle", "2s", "--root"]);
    let child = command
        .arg(machine.root.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    machine.describe("sdb", "S2", 8 * MIB, 512);
    room.assert_failed(&child.wait_with_output().unwrap(), "several disks fit");
    assert!(is_all(&machine.bytes(), 0xaa), "the disk was written to");
}

#[test]
fn a_disk_that_turns_out_too_small_is_no_system_any_more() {
    let image = noise(9 * MIB);
    let file = packed("zstd", &image);
    let room = DeployRoom::of(file.clone());
    let mut order = room.order_of(ImageFormat::Zstd, &file, &image);
    order.image.unpacked = None;
    room.order(&order);
    let machine = Machine::with_disk(&vec![0xaa; 6 * MIB]);
    room.assert_failed(
        &machine.install(&room),
        "the disk is too small: the image goes on behind its 6291456 bytes",
    );
    assert!(is_all(&machine.bytes()[..MIB], 0));
}

#[test]
fn a_disk_that_is_mounted_is_busy() {
    let (machine, device) = Machine::with_loop(&vec![0; 16 * MIB], 512);
    ran("mkfs.ext4", &["-q", device.node.to_str().unwrap()]);
    let mounted = machine.root.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    ran("mount", &[device.node.to_str().unwrap(), mounted.to_str().unwrap()]);
    let image = noise(3 * MIB);
    let room = DeployRoom::of(image.clone());
    room.order(&room.order_of(ImageFormat::Raw, &image, &image));
    let output = machine.install(&room);
    ran("umount", &[mounted.to_str().unwrap()]);
    room.assert_failed(&output, "disk is busy: sda");
    ran("fsck.ext4", &["-fn", device.node.to_str().unwrap()]);
    // And once it is free it is taken.
    room.assert_done(&machine.install(&room));
    assert!(machine.bytes().starts_with(&image));
}

#[test]
fn a_disk_is_taken_by_its_serial_number_among_others() {
    let image = noise(2 * MIB);
    let room = DeployRoom::of(image.clone());
    let mut order = room.order_of(ImageFormat::Raw, &image, &image);
    order.disk.serial = Some("S1".to_owned());
    room.order(&order);
    let machine = Machine::with_disk(&vec![0xaa; 4 * MIB]);
    machine.describe("sdb", "S2", 4 * MIB, 512);
    let other = machine.root.path().join("dev/sdb");
    fs::write(&other, vec![0xbb; 4 * MIB]).unwrap();
    room.assert_done(&machine.install(&room));
    assert!(machine.bytes().starts_with(&image));
    assert!(is_all(&fs::read(&other).unwrap(), 0xbb));
    // The server knows of both, before one was chosen and once more.
    let told: Vec<Vec<DiskInfo>> = room
        .words()
        .iter()
        .filter(|(word, body)| word == "started" && !body.is_empty())
        .map(|(_, body)| serde_json::from_str(body).unwrap())
        .collect();
    assert_eq!(told.len(), 2);
    for disks in told {
        let serials: Vec<Option<&str>> = disks.iter().map(|disk| disk.serial.as_deref()).collect();
        assert_eq!(serials, [Some("S1"), Some("S2")]);
    }
}

#[test]
fn a_host_that_may_not_begin_writes_nothing() {
    let image = noise(2 * MIB);
    let room = DeployRoom::of(image.clone());
    let mut order = room.order_of(ImageFormat::Raw, &image, &image);
    order.callback = order.callback.replace("r1u07", "refused");
    room.order(&order);
    let machine = Machine::with_disk(&vec![0xaa; 4 * MIB]);
    let output = machine.install(&room);
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        log.contains("does not give leave to begin") && log.contains("403"),
        "{log}"
    );
    assert!(is_all(&machine.bytes(), 0xaa));
}

#[test]
fn an_install_that_was_killed_is_made_again_from_its_beginning() {
    let image = noise(24 * MIB);
    let room = DeployRoom::giving(image.clone(), |before, _, file, stream| {
        if before == 0 {
            use std::io::Write;
            crate::fetch_image::server::head(stream, "200 OK", file.len(), &[]);
            stream.write_all(&file[..file.len() / 2]).unwrap();
            // For as long as the machine is there.
            let _ = std::io::Read::read(stream, &mut [0]);
        } else {
            answer(stream, "200 OK", &[], file);
        }
    });
    room.order(&room.order_of(ImageFormat::Raw, &image, &image));
    let machine = Machine::with_disk(&vec![0xaa; 32 * MIB]);
    let mut child = machine.command(&room.order_url()).spawn().unwrap();
    let began = std::time::Instant::now();
    while machine.bytes()[4 * MIB..4 * MIB + 512] != image[4 * MIB..4 * MIB + 512] {
        assert!(began.elapsed().as_secs() < 60, "nothing is written");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        is_all(&machine.bytes()[..MIB], 0),
        "a disk that is half written begins as a system does"
    );
    room.assert_done(&machine.install(&room));
    assert!(machine.bytes().starts_with(&image));
}

#[test]
fn a_machine_in_rescue_tells_of_its_disks_and_writes_to_none() {
    let room = DeployRoom::of(Vec::new());
    let machine = Machine::with_disk(&vec![0xaa; 4 * MIB]);
    let url = format!("{}callback/rescue/disks", room.server.base);
    let mut command = Command::new(env!("CARGO_BIN_EXE_bootwright-deploy"));
    let output = command
        .args(["tell", &url, "--root"])
        .arg(machine.root.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let (_, body) = room.last_word();
    let disks: Vec<DiskInfo> = serde_json::from_str(&body).unwrap();
    assert_eq!(disks[0].serial.as_deref(), Some("S1"));
    assert!(is_all(&machine.bytes(), 0xaa));
}
