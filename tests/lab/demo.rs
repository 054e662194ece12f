//! Rung 4: what the demo says when it can't succeed. That it succeeds is for people to see: `make demo`.

use super::namespace::{finish, text};
use super::room::Room;
use std::{
    fs,
    process::{Command, Stdio},
};

/// The shipped configuration with one thing changed, and what `tests/demo.sh` says to it.
fn demo(file: &str, words: &str, by: &str, images: &str) -> String {
    let room = Room::new("").with_debian();
    let config = room.path("config");
    fs::create_dir(&config).expect("a new folder");
    super::room::copy(&super::room::shipped().join("config"), &config);
    let whole = fs::read_to_string(config.join(file)).expect("the file is shipped");
    assert!(whole.contains(words), "{file} has no {words}");
    room.write(&format!("config/{file}"), &whole.replace(words, by));
    let mut command = Command::new(super::room::shipped().join("tests/demo.sh"));
    command
        .env("BOOTWRIGHT", env!("CARGO_BIN_EXE_bootwright"))
        .env("FIRMWARE", "bios")
        .env("CONFIG", &config)
        .env("IMAGES", room.path(images))
        .env("IMAGE", "debian-12")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = finish(command, "tests/demo.sh");
    let printed = text(&output);
    assert!(!output.status.success(), "it claims success:\n{printed}");
    printed
}

mod firmware {
    use super::*;

    #[test]
    fn a_demo_without_an_image_or_with_a_fault_in_its_inventory_does_not_start() {
        let printed = demo("inventory.toml", "\"1h\"", "\"2h\"", "loaders");
        assert!(printed.contains("cannot run: image debian-12 is not in"), "{printed}");
        assert!(printed.contains("make images"), "{printed}");
        let printed = demo(
            "inventory.toml",
            "address = \"192.0.2.11\"",
            "address = \"203.0.113.9\"",
            "images",
        );
        assert!(printed.contains("bootwright check finds this wrong"), "{printed}");
        assert!(printed.contains("203.0.113.9"), "{printed}");
        assert!(!printed.contains("power on"), "{printed}");
    }

    #[test]
    fn a_demo_whose_machine_is_refused_says_so_as_soon_as_it_is() {
        let live = "boot     = \"live\"";
        let printed = demo("inventory.toml", live, "boot     = \"local\"", "images");
        assert!(printed.contains("gave it no installer: "), "{printed}");
        assert!(printed.contains("its disk"), "{printed}");
        let (mac, other) = ("mac     = \"52:54:00:00:00:07\"", "mac     = \"52:54:00:00:00:17\"");
        let printed = demo("inventory.toml", mac, other, "images");
        assert!(
            printed.contains("no host of the inventory has its MAC, 52:54:00:00:00:07"),
            "{printed}"
        );
    }
}
