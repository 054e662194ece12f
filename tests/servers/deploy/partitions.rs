//! What is done to a disk once the image is on it: its table, its last partition, its seed, the boot menu.

use super::*;
use bootwright::model::{BootEntry, SeedContent, SeedFile};

/// An image of 12 MiB with partitions 1, 14 and 15, as Debian's have them, made by sfdisk.
fn image(sector: u32) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new_in("/var/tmp").unwrap();
    file_of(file.path(), 12 * MIB);
    let per_mib = MIB / usize::try_from(sector).unwrap();
    let script = format!(
        "label: gpt\nunit: sectors\nsector-size: {sector}\n\
         1 : start={}, size={}, type=L, name=\"root\", attrs=\"GUID:59\"\n\
         14 : start={}, size={}, type=21686148-6449-6E6F-744E-656564454649\n\
         15 : start={}, size={}, type=U\n",
        4 * per_mib,
        7 * per_mib,
        per_mib,
        per_mib,
        2 * per_mib,
        2 * per_mib
    );
    let device = ran(
        "losetup",
        &[
            "--find",
            "--show",
            "--sector-size",
            &sector.to_string(),
            file.path().to_str().unwrap(),
        ],
    );
    let device = Loop {
        node: device.trim().into(),
    };
    let script_file = tempfile::NamedTempFile::new().unwrap();
    fs::write(script_file.path(), script).unwrap();
    let made = Command::new("sfdisk")
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(&device.node)
        .stdin(fs::File::open(script_file.path()).unwrap())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    drop(device);
    let mut image = fs::read(file.path()).unwrap();
    image[4 * MIB..10 * MIB].copy_from_slice(&noise(6 * MIB));
    image
}

fn seed() -> Vec<SeedFile> {
    let text = |name: &str, text: &str| SeedFile {
        name: name.to_owned(),
        content: SeedContent::Text(text.to_owned()),
    };
    vec![
        text("meta-data", "instance-id: r1u07-1\n"),
        text("user-data", "#cloud-config\nhostname: r1u07\n"),
        text("network-config", "version: 2\n"),
        text("vendor-data", ""),
    ]
}

fn table(node: &Path) -> serde_json::Value {
    let text = ran("sfdisk", &["--json", node.to_str().unwrap()]);
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["partitiontable"].clone()
}

#[test]
fn a_table_grows_with_its_disk_and_has_a_seed_behind_it() {
    for sector in [512, 4096] {
        let image = image(sector);
        let file = packed("zstd", &image);
        let room = DeployRoom::of(file.clone());
        room.order(&DeployOrder {
            grow: true,
            seed: seed(),
            ..room.order_of(ImageFormat::Zstd, &file, &image)
        });
        let (machine, device) = Machine::with_loop(&vec![0xaa; 64 * MIB], sector);
        room.assert_done(&machine.install(&room));

        let verified = ran("sfdisk", &["--verify", device.node.to_str().unwrap()]);
        assert!(verified.contains("No errors detected"), "{sector}: {verified}");
        let table = table(&device.node);
        let per_mib = u64::try_from(MIB).unwrap() / u64::from(sector);
        let partitions = table["partitions"].as_array().unwrap();
        let place = |partition: &serde_json::Value| {
            let number = partition["node"]
                .as_str()
                .unwrap()
                .rsplit('p')
                .next()
                .unwrap()
                .to_owned();
            (
                number,
                partition["start"].as_u64().unwrap(),
                partition["size"].as_u64().unwrap(),
            )
        };
        let places: Vec<_> = partitions.iter().map(place).collect();
        let expected = [("1", 4, 56), ("2", 60, 3), ("14", 1, 1), ("15", 2, 2)];
        assert_eq!(
            places,
            expected.map(|(number, start, size)| (number.to_owned(), start * per_mib, size * per_mib)),
            "{sector}"
        );
        assert_eq!(
            (&partitions[0]["name"], &partitions[0]["attrs"]),
            (&"root".into(), &"GUID:59".into())
        );
        assert_eq!(partitions[1]["name"], "CIDATA");
        // Every byte of the image but its table is there, and the copy of the table that lay at the image's end is not.
        let disk = machine.bytes();
        assert!(disk[MIB..11 * MIB] == image[MIB..11 * MIB]);
        assert!(!disk[11 * MIB..59 * MIB].windows(8).any(|bytes| bytes == b"EFI PART"));

        let at = (60 * MIB).to_string();
        let found = ran(
            "blkid",
            &[
                "--probe",
                "--offset",
                &at,
                "--output",
                "export",
                device.node.to_str().unwrap(),
            ],
        );
        assert!(
            found.contains("LABEL=CIDATA\n") && found.contains("TYPE=vfat\n"),
            "{found}"
        );
        // mtools, and no mount: not every kernel that tests run on has the file system.
        let volume = format!("{}@@{at}", device.node.display());
        let read = |file: &SeedFile| ran("mtype", &["-i", &volume, &format!("::{}", file.name)]);
        let read: Vec<String> = seed().iter().map(read).collect();
        let wanted: Vec<SeedContent> = seed().into_iter().map(|file| file.content).collect();
        assert_eq!(read.into_iter().map(SeedContent::Text).collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn without_an_order_to_grow_the_partitions_stay_and_the_backup_moves() {
    let image = image(512);
    let room = DeployRoom::of(image.clone());
    room.order(&room.order_of(ImageFormat::Raw, &image, &image));
    let (machine, device) = Machine::with_loop(&vec![0xaa; 32 * MIB], 512);
    room.assert_done(&machine.install(&room));
    let verified = ran("sfdisk", &["--verify", device.node.to_str().unwrap()]);
    assert!(verified.contains("No errors detected"), "{verified}");
    let sizes: Vec<u64> = table(&device.node)["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|partition| partition["size"].as_u64().unwrap() / 2048)
        .collect();
    assert_eq!(sizes, [7, 1, 2]);
    drop(machine);
}

#[test]
fn an_image_for_other_sectors_and_a_seed_without_a_table_are_refused_before_a_byte_is_written() {
    let (machine, _loop) = Machine::with_loop(&vec![0xaa; 32 * MIB], 4096);
    let for_512 = image(512);
    let room = DeployRoom::of(for_512.clone());
    room.order(&room.order_of(ImageFormat::Raw, &for_512, &for_512));
    room.assert_failed(
        &machine.install(&room),
        "the image's partition table is for sectors of 512 bytes, and the disk's have 4096",
    );
    let bare = noise(4 * MIB);
    let room = DeployRoom::of(bare.clone());
    room.order(&DeployOrder {
        seed: seed(),
        ..room.order_of(ImageFormat::Raw, &bare, &bare)
    });
    room.assert_failed(&machine.install(&room), "no GPT partition table");
    assert!(is_all(&machine.bytes(), 0xaa));
}

#[test]
fn a_disk_without_room_for_the_seed_is_too_small_before_a_byte_is_written() {
    let image = image(512);
    let room = DeployRoom::of(image.clone());
    room.order(&DeployOrder {
        seed: seed(),
        ..room.order_of(ImageFormat::Raw, &image, &image)
    });
    let machine = Machine::with_disk(&vec![0xaa; 13 * MIB]);
    room.assert_failed(&machine.install(&room), "the disk is too small");
    assert!(is_all(&machine.bytes(), 0xaa));
}

#[test]
fn the_boot_menu_of_uefi_has_the_disk_behind_the_network() {
    let image = image(512);
    let room = DeployRoom::of(image.clone());
    room.order(&DeployOrder {
        boot_entry: Some(BootEntry {
            label: "r1u07".to_owned(),
            loader: None,
        }),
        ..room.order_of(ImageFormat::Raw, &image, &image)
    });
    let machine = Machine::with_disk(&vec![0xaa; 16 * MIB]);
    let variables = machine.root.path().join("sys/firmware/efi/efivars");
    fs::create_dir_all(&variables).unwrap();
    let variable = |name: &str| variables.join(format!("{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c"));
    fs::write(variable("BootOrder"), [7, 0, 0, 0, 3, 0, 1, 0]).unwrap();
    fs::write(variable("BootCurrent"), [6, 0, 0, 0, 3, 0]).unwrap();
    room.assert_done(&machine.install(&room));
    assert_eq!(fs::read(variable("BootOrder")).unwrap(), [7, 0, 0, 0, 3, 0, 0, 0, 1, 0]);
    let entry = fs::read(variable("Boot0000")).unwrap();
    let path: Vec<u8> = "\\EFI\\BOOT\\BOOT".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(entry.windows(path.len()).any(|bytes| bytes == path));
    // Partition 15, from 2 MiB on.
    let place = [&15u32.to_le_bytes()[..], &4096u64.to_le_bytes(), &4096u64.to_le_bytes()].concat();
    assert!(entry.windows(place.len()).any(|bytes| bytes == place));
}
