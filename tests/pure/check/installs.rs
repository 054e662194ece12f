//! Installs that would go to another disk, or could not be written at all; rescue.

use super::{Room, SUBNET, has, shown};
use bootwright::deploy::disks_of;
use bootwright::model::{BootTarget, DiskSelector, ImageFormat, NO_DISK_NAMES, limits::REQUEST_PATH_BYTES_MAX};
use std::os::unix::fs::PermissionsExt;

const DEPLOYS: &str = "[[host]]\nname = \"r1u07\"\nmac = \"52:54:00:00:00:07\"\nboot = \"install\"\n\
                       script = \"deploy\"\nimage = \"debian-13\"\n";

/// A room with a live system, and the disk image `debian-13` of whose `disk` the description says more.
fn room(inventory: &str, says: &str) -> Room {
    let room = Room::new(&format!("{SUBNET}{inventory}"));
    room.image("bootwright-live", "x86_64");
    room.write("images/debian-13/disk.img", "a disk");
    let disk = room.artifact("debian-13", "disk.img").replace(" }", says);
    room.write("images/debian-13/image.toml", &format!("disk = {disk}\n"));
    room
}

#[test]
fn a_rule_for_a_disk_is_read_whole_or_not_at_all() {
    for (written, column, words) in [
        ("{}", 8, &["says nothing of the disk"][..]),
        ("\"/dev/sda\"", 8, &["must be a table", "serial"]),
        (
            "{ seriel = \"S1\" }",
            10,
            &["unknown key `seriel`", "did you mean `serial`?"],
        ),
        (
            "{ serial = \"S1\", size = \"big\" }",
            32,
            &["`big` is no size of a disk", ">=400GB"],
        ),
        ("{ pick = \"fastest\" }", 17, &["`fastest`", "smallest, largest"]),
        ("{ by-id = \"/dev/sda\" }", 18, &["no name below /dev/disk/by-id"]),
        ("{ serial = \"\" }", 19, &["this text is empty"]),
        ("{ nvme = \"yes\" }", 17, &["true or false"]),
    ] {
        let report = Room::new(&format!(
            "{SUBNET}[[host]]\nname = \"a\"\nmac = \"52:54:00:00:00:07\"\ndisk = {written}\n"
        ))
        .report();
        assert!(has(&report, (8, column), words), "{written}: {}", shown(&report.errors));
    }
}

#[test]
fn a_hosts_rule_for_its_disk_takes_the_place_of_its_profiles() {
    let inventory = "[profile.a]\ndisk = { serial = \"S1\", pick = \"largest\" }\n\
                     [[host]]\nname = \"a\"\nmac = \"52:54:00:00:00:07\"\nprofile = \"a\"\n\
                     [[host]]\nname = \"b\"\nmac = \"52:54:00:00:00:08\"\nprofile = \"a\"\n\
                     disk = { by-id = \"/dev/disk/by-id/ata-X\" }\n";
    let loaded = Room::new(&format!("{SUBNET}{inventory}")).compiled();
    let rule = |name: &str| {
        loaded
            .snapshot
            .hosts
            .by_name(name)
            .unwrap()
            .settings
            .disk
            .clone()
            .unwrap()
            .value
    };
    assert_eq!(rule("a").to_string(), "{ serial = \"S1\", pick = \"largest\" }");
    let own = DiskSelector {
        by_id: Some("ata-X".to_owned()),
        ..DiskSelector::default()
    };
    assert_eq!(rule("b"), own);
}

#[test]
fn an_install_that_does_not_look_at_the_disk_that_it_may_erase_is_an_error() {
    let blind = "[[host]]\nname = \"r1u07\"\nmac = \"52:54:00:00:00:07\"\nboot = \"install\"\nscript = \"blind\"\n\
                 image = \"debian-12\"\ndisk = { serial = \"S1\" }\n";
    let script = |text: &str| {
        let room = room(blind, " }");
        room.write("scripts/blind.ipxe", &format!("#!ipxe\n{text}\n"));
        room.report()
    };
    for text in ["kernel {{ image.kernel }} disk=/dev/sda", "# {{ disk.rule }}"] {
        let report = script(text);
        assert!(
            has(
                &report,
                (11, 8),
                &["neither the script nor the answer", "serial = \"S1\""]
            ),
            "{text}: {}",
            shown(&report.errors)
        );
    }
    for text in [
        "kernel {{ image.kernel }} serial={{ disk.serial }}",
        "params rule={{ disk.rule }}",
    ] {
        let report = script(text);
        assert!(report.errors.is_empty(), "{text}: {}", shown(&report.errors));
    }
    // One that installs at every power-on as well; one that only boots has no disk to lose.
    for (parameter, is_error) in [("auto=true", true), ("quiet", false)] {
        let room = room(&blind.replace("\"install\"", "\"live\""), " }");
        let text = format!("#!ipxe\nkernel {{{{ image.kernel }}}} {parameter}\n");
        room.write("scripts/blind.ipxe", &text);
        assert_eq!(!room.report().errors.is_empty(), is_error, "{parameter}");
    }
    let fenced = room(
        &format!("{DEPLOYS}disk = {{ serial = \"S1\" }}\n"),
        ", format = \"raw\" }",
    );
    fenced.compiled();
}

#[test]
fn an_image_that_can_not_be_written_to_a_disk_is_an_error_where_it_is_to_be() {
    let sums = "\"ab\"".replace("ab", &"ab".repeat(32));
    let errors = |says: &str| {
        let report = room(DEPLOYS, says).report();
        shown(&report.errors)
    };
    assert!(
        errors(" }").contains("is no disk that can be written as it is"),
        "{}",
        errors(" }")
    );
    assert_eq!(errors(", format = \"raw\" }"), "");
    for (says, words) in [
        (", format = \"qcow2\" }".to_owned(), "`qcow2`"),
        (
            ", format = \"zstd\", unpacked = { } }".to_owned(),
            "how long the image is",
        ),
        (
            ", format = \"zstd\", unpacked = { bytes = 0 } }".to_owned(),
            "no number of bytes",
        ),
        (
            format!(", format = \"raw\", pieces = {{ bytes = 65536, sha256 = [{sums}, {sums}] }} }}"),
            "1 pieces of 65536 bytes; 2 checksums",
        ),
        (
            format!(", format = \"raw\", pieces = {{ bytes = 512, sha256 = [{sums}] }} }}"),
            "a piece has 65536 to",
        ),
    ] {
        assert!(errors(&says).contains(words), "{says}: {}", errors(&says));
    }
    let whole = format!(
        ", format = \"zstd\", unpacked = {{ bytes = 1000, sha256 = {sums} }}, pieces = {{ bytes = 65536, sha256 = [{sums}] }} }}"
    );
    let loaded = room(DEPLOYS, &whole).compiled();
    let deployable = loaded.snapshot.images["debian-13"].deployable.clone().unwrap();
    assert_eq!(deployable.format, ImageFormat::Zstd);
    assert_eq!(deployable.unpacked.unwrap().bytes, 1000);
    assert_eq!(deployable.pieces.unwrap().sha256.len(), 1);
    // An installer's image has no disk.
    let inventory = DEPLOYS.replace("debian-13", "bootwright-live");
    let room = room(&inventory, " }");
    let kernel = room.artifact("bootwright-live", "linux");
    let initrd = room.artifact("bootwright-live", "initrd.gz");
    let manifest = format!("arch = \"x86_64\"\nkernel = {kernel}\ninitrds = {initrd}\n");
    room.write("images/bootwright-live/image.toml", &manifest);
    let report = room.report();
    assert!(has(&report, (10, 9), &["has no `disk`"]), "{}", shown(&report.errors));
}

#[test]
fn a_host_that_only_says_who_it_is_and_installs_or_has_secrets_is_warned_of() {
    let uuid = "uuid = \"4c4c4544-0051-4a10-8057-b2c04f4e4d32\"\n";
    let (installs, live) = (
        "boot = \"install\"\nscript = \"deploy\"\nimage = \"debian-13\"\n",
        "boot = \"local\"\n",
    );
    let warned = |known_by: &str, boots: &str, vars: &str| {
        let room = room(
            &format!("[[host]]\nname = \"r1u07\"\n{known_by}{boots}{vars}"),
            ", format = \"raw\" }",
        );
        room.write("secret", "hunter2");
        let secret = room.path("secret");
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
        let inventory = std::fs::read_to_string(room.path("inventory.toml")).unwrap();
        room.write(
            "inventory.toml",
            &inventory.replace("SECRET", &secret.display().to_string()),
        );
        let loaded = room.compiled();
        let about = loaded
            .warnings
            .iter()
            .filter(|warning| warning.to_string().contains("serial number alone"));
        about.map(|warning| warning.place).collect::<Vec<_>>()
    };
    let secret = "vars = { password = { secret = true, file = \"SECRET\" } }\n";
    let serial = "serial = \"SN-7\"\n";
    assert_eq!(warned(uuid, installs, ""), [Some((8, 8))]);
    assert_eq!(warned(serial, installs, secret), [Some((8, 8))]);
    assert_eq!(warned(uuid, live, secret), [Some((9, 21))]);
    assert!(warned(uuid, live, "").is_empty());
    let mac = "mac = \"52:54:00:00:00:07\"\n";
    assert!(warned(&format!("{uuid}{mac}"), installs, secret).is_empty());
}

#[test]
fn without_our_live_system_check_says_how_it_is_made() {
    for boots in [
        DEPLOYS.to_owned(),
        "[[host]]\nname = \"r1u07\"\nmac = \"52:54:00:00:00:07\"\nboot = \"rescue\"\n".to_owned(),
    ] {
        let room = room(&boots, ", format = \"raw\" }");
        room.compiled();
        std::fs::remove_dir_all(room.path("images/bootwright-live")).unwrap();
        let report = room.report();
        assert!(
            shown(&report.errors).contains("make deployer"),
            "{}",
            shown(&report.errors)
        );
        room.image("mine", "x86_64");
        room.write(
            "bootwright.toml",
            &format!("{}[images]\nlive = \"mine\"\n", super::CONFIG),
        );
        room.compiled();
    }
}

#[test]
fn who_is_set_to_rescue_gets_our_script_whatever_its_profile_installs_with() {
    let inventory = "[profile.worker]\nboot = \"install\"\nscript = \"debian-installer\"\nimage = \"debian-12\"\n\
                     answer = \"preseed\"\nvars = { disk = \"/dev/sda\", ssh_keys = [\"ssh-ed25519 A\"] }\n\
                     [[host]]\nname = \"a\"\nmac = \"52:54:00:00:00:07\"\nprofile = \"worker\"\nboot = \"rescue\"\n\
                     [[host]]\nname = \"b\"\nmac = \"52:54:00:00:00:08\"\nboot = \"rescue\"\n\
                     [[host]]\nname = \"c\"\nmac = \"52:54:00:00:00:09\"\nboot = \"rescue\"\nscript = \"live\"\n\
                     image = \"debian-12\"\n";
    let room = room(inventory, " }");
    let loaded = room.compiled();
    let script = |name: &str| {
        loaded
            .snapshot
            .hosts
            .by_name(name)
            .unwrap()
            .settings
            .script
            .clone()
            .unwrap()
    };
    assert_eq!(script("a").value.as_str(), "rescue");
    assert_eq!(script("b").value.as_str(), "rescue");
    assert_eq!(script("c").value.as_str(), "live");
    let host = loaded.snapshot.hosts.by_name("a").unwrap();
    assert_eq!(host.settings.boot.as_ref().unwrap().value, BootTarget::Rescue);
    std::fs::remove_file(room.path("scripts/rescue.ipxe")).unwrap();
    for other in ["grub", "pxelinux"] {
        std::fs::remove_file(room.path(&format!("scripts/rescue.{other}"))).unwrap();
    }
    let report = room.report();
    assert!(
        shown(&report.errors).contains("there is no script `rescue`"),
        "{}",
        shown(&report.errors)
    );
}

/// A disk below a folder that stands for `/sys` and `/dev`: its size in gigabytes, its serial number, its model.
fn plug_in(room: &Room, name: &str, (gigabytes, serial, model): (u64, &str, &str)) {
    let folder = format!("sys/block/{name}");
    let sectors = gigabytes * 1_000_000_000 / 512;
    room.write(&format!("{folder}/size"), &format!("{sectors}\n"));
    room.write(&format!("{folder}/ro"), "0\n");
    room.write(&format!("{folder}/removable"), "0\n");
    room.write(&format!("{folder}/device/model"), &format!("{model}   \n"));
    match name.get(..2) {
        Some("nv") => room.write(&format!("{folder}/device/serial"), &format!("{serial}  \n")),
        Some("vd") => room.write(&format!("{folder}/serial"), serial),
        Some("mm") => {
            room.write(&format!("{folder}/device/serial"), serial);
            room.write(&format!("{folder}/device/name"), &format!("{model}\n"));
        }
        // A page of SCSI's vital product data: four bytes in front.
        _ => {
            let length = char::from(u8::try_from(serial.len()).unwrap());
            room.write(
                &format!("{folder}/device/vpd_pg80"),
                &format!("\0\u{1}\0{length}{serial}"),
            );
        }
    }
    room.write(&format!("dev/{name}"), "");
}

/// The page in which an ATA disk tells its own names: two characters a word, the second one first.
fn ata_page(serial: &str, model: &str) -> Vec<u8> {
    let mut page = vec![0; 60 + 512];
    for (word, words, text) in [(10, 10, serial), (27, 20, model)] {
        let padded = format!("{text:<width$}", width = 2 * words);
        for (place, pair) in padded.as_bytes().chunks(2).enumerate() {
            page[60 + 2 * (word + place)] = pair[1];
            page[60 + 2 * (word + place) + 1] = pair[0];
        }
    }
    page
}

/// A machine of many disks, and of much that is none.
fn machine_of_many_disks(room: &Room) {
    for (name, disk) in [
        ("sda", (480, "S1", "SAMSUNG MZ7LH480")),
        ("sdb", (960, "S2", "SAMSUNG MZ7LH960")),
        ("sdc", (4000, "cut off", "ST4000NM0035-1V4")),
        ("sdd", (64, "STICK", "DataTraveler 3.0")),
        ("sde", (250, "[S]*?", "O'Neil [a-z] 250\\t")),
        ("nvme0n1", (960, "N1", "INTEL P4510")),
        ("nvme0c0n1", (970, "N1", "INTEL P4510")),
        ("vda", (20, "V1", "")),
        ("mmcblk0", (32, "0x1234", "DG4032")),
        ("mmcblk0boot0", (33, "0x1234", "DG4032")),
        ("mmcblk0rpmb", (34, "0x1234", "DG4032")),
        ("sdx", (9000, "HIDDEN", "HIDDEN")),
        ("sdy", (9001, "LOCKED", "LOCKED")),
        ("sdz", (0, "EMPTY", "EMPTY")),
        ("md127", (9002, "RAID", "RAID")),
        ("sr0", (9003, "DVD", "DVD")),
        ("nbd0", (9004, "NET", "NET")),
    ] {
        plug_in(room, name, disk);
    }
    room.write("sys/block/sdd/removable", "1\n");
    room.write("sys/block/sdx/hidden", "1\n");
    room.write("sys/block/sdy/ro", "1\n");
    // No device is behind it.
    room.write("sys/block/bcache0/size", "100000000\n");
    let page = ata_page("ZC1234", "ST4000NM0035-1V4107 whole");
    std::fs::write(room.path("sys/block/sdc/device/vpd_pg89"), page).unwrap();
    let dev = room.path("dev");
    std::fs::create_dir_all(dev.join("disk/by-id")).unwrap();
    std::os::unix::fs::symlink(dev.join("sda"), dev.join("disk/by-id/ata-ONE")).unwrap();
}

/// What a rule's fence comes to on that machine, for an install to `/dev/{to}`: whether it goes on, and what it says.
/// Which disk our own live system would take there.
fn fenced(room: &Room, rule: &str, to: &str) -> ((bool, String), Option<String>) {
    let dev = room.path("dev");
    let host = format!(
        "{SUBNET}[[host]]\nname = \"a\"\nmac = \"52:54:00:00:00:07\"\nboot = \"install\"\nscript = \"kickstart\"\n\
         image = \"debian-12\"\nanswer = \"kickstart\"\ndisk = {rule}\n\
         vars = {{ disk = \"{}/{to}\", repository = \"http://192.0.2.1/r\" }}\n",
        dev.display()
    );
    room.write("inventory.toml", &host);
    let loaded = room.compiled();
    let identity = bootwright::boot::machine::Identity {
        mac: "52:54:00:00:00:07".parse().ok(),
        ..Default::default()
    };
    let context = super::context(&loaded.snapshot, &identity);
    let fence = "disk-fence".parse().unwrap();
    let text = loaded
        .snapshot
        .templates
        .answer(&fence, "disk-fence.sh", &context)
        .unwrap();
    // As a preseed has it, too: one line.
    assert_eq!(text.replace("\\\n", " ").trim().lines().count(), 1, "{text}");
    // In place of the one that would ask the network: says what it is asked for.
    room.write("bin/wget", "#!/bin/sh\necho \"asked $*\" >&2\n");
    std::fs::set_permissions(room.path("bin/wget"), PermissionsExt::from_mode(0o755)).unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", &text])
        .env("SYSFS", room.path("sys"))
        .env("DEVICES", &dev)
        .env("CONSOLE", "/dev/null")
        .env("PATH", format!("{}:/usr/bin:/bin", room.path("bin").display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let host = loaded.snapshot.hosts.by_name("a").unwrap();
    let rule = &host.settings.disk.as_ref().unwrap().value;
    let disks = disks_of(&room.path(""));
    let ours = rule.choose(&disks, 0).ok().map(|disk| disk.name.clone());
    ((output.status.success(), said), ours)
}

#[test]
fn the_shipped_answers_go_on_with_the_disk_that_fits_and_with_no_other_as_our_live_system_does() {
    let room = Room::new("");
    machine_of_many_disks(&room);
    for (rule, fitting) in [
        ("{ serial = \"S1\" }", Some("sda")),
        ("{ serial = \" S1 \" }", Some("sda")),
        ("{ serial = \"S9\" }", None),
        ("{ serial = \"N1\" }", Some("nvme0n1")),
        ("{ serial = \"N1\", nvme = true }", Some("nvme0n1")),
        ("{ serial = \"N1\", nvme = false }", None),
        ("{ serial = \"V1\" }", Some("vda")),
        ("{ serial = \"0x1234\" }", Some("mmcblk0")),
        ("{ serial = \"STICK\" }", Some("sdd")),
        ("{ model = \"DataTraveler*\" }", None),
        ("{ serial = \"HIDDEN\" }", None),
        ("{ serial = \"LOCKED\" }", None),
        ("{ serial = \"EMPTY\" }", None),
        ("{ serial = \"RAID\" }", None),
        ("{ serial = \"DVD\" }", None),
        ("{ serial = \"NET\" }", None),
        ("{ nvme = true }", Some("nvme0n1")),
        ("{ nvme = false, size = \"480GB\" }", Some("sda")),
        ("{ model = \"samsung*\" }", None),
        ("{ model = \"samsung*\", pick = \"largest\" }", Some("sdb")),
        ("{ model = \"SAMSUNG*\", pick = \"smallest\" }", Some("sda")),
        ("{ model = \"SAMSUNG\" }", None),
        ("{ model = \"*mz7lh?80\" }", Some("sda")),
        // What is more than itself to a shell is a character as any other.
        ("{ model = \"[S]AMSUNG MZ7LH480\" }", None),
        ("{ model = \"SAMSUNG MZ7LH480|x\" }", None),
        ("{ model = \"O'Neil [a-z] 250\\\\t\" }", Some("sde")),
        ("{ model = \"o'neil*\" }", Some("sde")),
        ("{ serial = \"[S]*?\" }", Some("sde")),
        // ATA's own name is whole.
        ("{ model = \"ST4000NM0035-1V4107 whole\" }", Some("sdc")),
        ("{ serial = \"ZC1234\" }", Some("sdc")),
        ("{ serial = \"cut off\" }", None),
        ("{ pick = \"largest\" }", Some("sdc")),
        ("{ pick = \"smallest\" }", Some("vda")),
        ("{ size = \">=900GB\", model = \"INTEL*\" }", Some("nvme0n1")),
        ("{ size = \">=900GB\", pick = \"smallest\" }", None),
        ("{ size = \"<=30GB\" }", Some("vda")),
        ("{ by-id = \"ata-ONE\" }", Some("sda")),
        ("{ by-id = \"ata-TWO\" }", None),
    ] {
        let to = fitting.unwrap_or("sda");
        let ((went_on, said), ours) = fenced(&room, rule, to);
        assert_eq!(ours.as_deref(), fitting, "{rule}: our live system");
        assert_eq!(went_on, fitting.is_some(), "{rule} {to}: {said}");
        // The server is told why, by the failed callback of the install.
        assert_eq!(said.contains("/failed?reason="), !went_on, "{rule} {to}: {said}");
    }
}

#[test]
fn the_shipped_answers_install_to_no_other_disk_than_the_one_that_fits() {
    let room = Room::new("");
    machine_of_many_disks(&room);
    for (rule, other) in [
        ("{ serial = \"S1\" }", "sdb"),
        ("{ nvme = true }", "nvme0c0n1"),
        ("{ pick = \"largest\" }", "sdy"),
        ("{ by-id = \"ata-ONE\" }", "nvme0n1"),
    ] {
        let ((went_on, said), _) = fenced(&room, rule, other);
        assert!(!went_on && said.contains("/failed?reason="), "{rule} {other}: {said}");
    }
}

#[test]
fn what_the_shipped_fence_tells_of_a_shelf_of_disks_is_no_longer_than_a_server_reads() {
    let room = Room::new("");
    for number in 10..70 {
        let (name, serial) = (format!("sda{number}"), format!("S45PNA0M1234{number}"));
        plug_in(&room, &name, (480, &serial, "SAMSUNG MZ7LH480HAHQ-00005"));
    }
    let ((went_on, said), _) = fenced(&room, "{ serial = \"S9\" }", "sda10");
    let asked = said.lines().find(|line| line.starts_with("asked ")).unwrap();
    assert!(!went_on && asked.contains("no+disk+fits"), "{said}");
    assert!(asked.len() < REQUEST_PATH_BYTES_MAX, "{} bytes", asked.len());
}

#[test]
fn the_shipped_fence_passes_over_what_our_live_system_passes_over() {
    let fence = include_str!("../../../config/answers/disk-fence.sh");
    assert!(fence.contains(&format!("in {}) continue", NO_DISK_NAMES.join("|"))));
}
