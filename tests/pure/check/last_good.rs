//! The files of an accepted version, kept elsewhere: they load to the same whatever became of the originals.

use super::loaders::{IPXE_SHIM, program};
use super::*;
use bootwright::boot::snapshot::FileStamp;
use bootwright::config::{Appliance, KEPT_FOLDERS, files_to_save, load_last_good, rewritten_paths};

/// A host that needs an image, a script, an answer and the loaders.
const HOST: &str = "mac = \"52:54:00:00:00:07\"\nimage = \"debian-12\"\nboot = \"live\"\n\
                    script = \"debian-installer\"\nanswer = \"preseed\"\nvars = { disk = \"/dev/vda\" }";

/// What is kept of a room, as it is written elsewhere.
fn keep(room: &Room) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = files_to_save(&room.compiled().appliance, &room.path("bootwright.toml")).unwrap();
    for kept in KEPT_FOLDERS {
        fs::create_dir(folder.path().join(kept)).unwrap();
    }
    for file in files {
        let path = folder.path().join(file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file.bytes).unwrap();
    }
    folder
}

fn load_back(kept: &TempDir, room: &Room) -> Loaded {
    let loaded = load_last_good(kept.path(), &room.path("bootwright.toml"), 1, &mut Deferred);
    loaded.unwrap_or_else(|report| panic!("{}", report.render(false)))
}

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded.snapshot.hosts.iter().map(|host| host.name.as_str()).collect()
}

#[test]
fn what_is_kept_loads_though_every_original_is_broken_or_gone() {
    let room = Room::new(&host_with(HOST));
    let (kept, accepted) = (keep(&room), room.compiled());
    for folder in ["scripts", "answers", "images/debian-12", "loaders"] {
        fs::remove_dir_all(room.path(folder)).unwrap();
    }
    room.write("inventory.toml", "[[host");
    room.write("bootwright.toml", "");
    let loaded = load_back(&kept, &room);
    assert_eq!(loaded.appliance, accepted.appliance, "paths are those of the originals");
    assert_eq!(names(&loaded), names(&accepted));
    let script = |loaded: &Loaded| script(&loaded.snapshot, "52:54:00:00:00:07", Firmware::Uefi);
    assert_eq!(script(&loaded), script(&accepted));
    let stamps: Vec<FileStamp> = loaded.snapshot.images["debian-12"]
        .artifacts()
        .map(|one| one.stamp)
        .collect();
    assert_eq!(
        stamps,
        [FileStamp::NO_FILE; 3],
        "nothing is taken for an artifact that is gone"
    );
    let reported = shown(&loaded.warnings);
    assert!(
        reported.contains("the artifact `linux`") && reported.contains("no loader for"),
        "{reported}"
    );
}

#[test]
fn an_image_that_was_fetched_anew_is_used_as_it_is_now() {
    let room = Room::new(&host_with(HOST));
    let kept = keep(&room);
    room.write("images/debian-12/linux", "a newer kernel");
    let newer = room.artifact("debian-12", "linux");
    room.write(
        "images/debian-12/image.toml",
        &format!(
            "arch = \"x86_64\"\nkernel = {newer}\ninitrds = {}\n",
            room.artifact("debian-12", "initrd.gz")
        ),
    );
    room.write("inventory.toml", "[[host");
    let sum = |loaded: &Loaded| loaded.snapshot.images["debian-12"].kernel.as_ref().unwrap().sha256;
    let loaded = load_back(&kept, &room);
    assert!(newer.contains(&checksum::hex(&sum(&loaded)).to_string()), "{newer}");
}

#[test]
fn a_folder_of_inventories_and_rows_about_firmware_are_kept_too() {
    let room = Room::new("");
    room.write(
        "bootwright.toml",
        &CONFIG.replace("[paths]", "[paths]\ninventory = \"racks\""),
    );
    room.write("racks/1-subnets.toml", SUBNET);
    room.write("racks/2-hosts.toml", &format!("[[host]]\nname = \"a\"\n{HOST}\n"));
    room.write(
        "quirks.toml",
        "[[quirk]]\nname = \"ours\"\nwhy = \"x\"\nmatch = { oui = [\"52:54:00\"] }\nset = { reply = \"broadcast\" }\n",
    );
    let accepted = room.load().map_err(|report| report.render(false));
    let accepted = accepted.unwrap();
    let kept = keep(&room);
    fs::remove_dir_all(room.path("racks")).unwrap();
    fs::remove_file(room.path("quirks.toml")).unwrap();
    let loaded = load_back(&kept, &room);
    assert_eq!(names(&loaded), names(&accepted));
    assert!(kept.path().join("quirks.toml").exists());
}

#[test]
fn kept_settings_choose_no_place_to_write_that_those_on_disk_do_not() {
    let room = Room::new(SUBNET);
    let config = room.path("bootwright.toml");
    let named = format!("{CONFIG}\n[state]\npath = \"state\"\n[admin]\nsocket = \"admin.sock\"\n");
    room.write("bootwright.toml", &named);
    let accepted = room.compiled().appliance;
    assert_eq!(rewritten_paths(&accepted, &config), None);
    room.write("bootwright.toml", &named.replace("\"answers\"", "\"answers"));
    assert_eq!(
        rewritten_paths(&accepted, &config),
        None,
        "half of a file names them too"
    );
    let elsewhere = |kept: &Appliance| rewritten_paths(kept, &config).map(|(_, path)| path.to_owned());
    let (state, socket) = (PathBuf::from("/etc"), PathBuf::from("/etc/cron.d/a"));
    let stateful = Appliance {
        state: state.clone(),
        ..accepted.clone()
    };
    assert_eq!(elsewhere(&stateful), Some(state));
    let listening = Appliance {
        admin_socket: socket.clone(),
        ..accepted.clone()
    };
    assert_eq!(elsewhere(&listening), Some(socket));
    let default = Appliance {
        state: "/var/lib/bootwright".into(),
        admin_socket: "/run/bootwright/admin.sock".into(),
        ..accepted.clone()
    };
    room.write("bootwright.toml", "");
    assert_eq!(rewritten_paths(&default, &config), None);
    assert_eq!(
        elsewhere(&accepted),
        Some(accepted.state.clone()),
        "nothing names it any more"
    );
}

#[test]
fn what_was_kept_and_changed_by_somebody_is_refused() {
    let room = Room::new(&host_with(HOST));
    let kept = keep(&room);
    fs::write(kept.path().join("inventory.toml"), "[[host]]\nname = \"a\"\n").unwrap();
    assert!(load_last_good(kept.path(), &room.path("bootwright.toml"), 1, &mut Deferred).is_err());
}

#[test]
fn what_is_kept_loads_though_the_loaders_that_it_names_are_gone() {
    let room = Room::new(&host_with(
        "mac = \"52:54:00:00:00:07\"\nimage = \"debian-12\"\nboot = \"live\"\nscript = \"own\"\nloader = \"shimx64.efi\"",
    ));
    room.write("scripts/own.ipxe", "#!ipxe\nkernel {{ image.kernel }}\nboot\n");
    room.write("loaders/old.kpxe", "loader");
    // Its bytes say that it loads iPXE, and its name GRUB.
    fs::write(room.path("loaders/shimx64.efi"), program(0x8664, 9000, IPXE_SHIM)).unwrap();
    room.write(
        "quirks.toml",
        "[[quirk]]\nname = \"ours\"\nwhy = \"x\"\nmatch = {}\nset = { loader = \"old.kpxe\" }\n",
    );
    let accepted = room.compiled();
    let kept = keep(&room);
    for loader in fs::read_dir(room.path("loaders")).unwrap() {
        fs::remove_file(loader.unwrap().path()).unwrap();
    }
    assert!(!room.report().errors.is_empty(), "the files themselves are refused");
    let loaded = load_back(&kept, &room);
    assert_eq!(names(&loaded), names(&accepted));
    let reported = shown(&loaded.warnings);
    for gone in [
        "there is no loader `old.kpxe`",
        "there is no loader `shimx64.efi`",
        "the script `own` is not written for GRUB",
    ] {
        assert!(reported.contains(gone), "{gone}: {reported}");
    }
}

#[test]
fn what_is_kept_loads_though_its_image_has_no_longer_what_its_script_boots() {
    let room = Room::new(&host_with(HOST));
    let (kept, accepted) = (keep(&room), room.compiled());
    let kernel = room.artifact("debian-12", "linux");
    room.write(
        "images/debian-12/image.toml",
        &format!("arch = \"x86_64\"\nkernel = {kernel}\n"),
    );
    assert!(!room.report().errors.is_empty(), "the files themselves are refused");
    assert_eq!(names(&load_back(&kept, &room)), names(&accepted));
}
