//! Rung 4: machines of other instruction sets, whose firmware needs no loader because it reads
//! `pxelinux.cfg` itself: the boot ROM of s390x, POWER's SLOF, and U-Boot.

mod firmware {
    use crate::daemon::{Daemon, Line};
    use crate::firmware::{KERNEL, LOADER};
    use crate::machine::{Firmware, Machine, machines};
    use crate::namespace::Wire;
    use crate::release::Release;
    use crate::room::Room;

    /// One machine of each kind, one host by its MAC.
    const INVENTORY: &str = r#"
[[host]]
name    = "z1"
mac     = "52:54:00:00:00:31"
address = "192.0.2.31"
image   = "z"
boot    = "live"
script  = "live"

[[host]]
name    = "p1"
mac     = "52:54:00:00:00:32"
address = "192.0.2.32"
image   = "power"
boot    = "live"
script  = "live"
cmdline = ["console=hvc0"]
"#;

    fn room() -> Room {
        let folder = machines();
        let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let files = |arch: &str| [file(&format!("{arch}/linux")), file(&format!("{arch}/initrd"))];
        let [z, power] = [files("s390x"), files("ppc64el")];
        Room::new(INVENTORY)
            .with_image("z", "s390x", [&z[0], &z[1]])
            .with_image("power", "ppc64el", [&power[0], &power[1]])
    }

    /// Waits for each step to the initrd's last byte.
    fn fetches_everything(daemon: &Daemon, machine: &str, [image, initrd]: [&str; 2]) {
        let step = |what: &str, timeout, (event, value): (&str, &str)| {
            daemon.wait_for_within(what, timeout, |line| {
                line.is(machine, event, &[value]) && line.stage == "pxelinux"
            });
        };
        step("what it is told", LOADER, ("acknowledged", "pxelinux"));
        step("the script", LOADER, ("sent", "script live (pxelinux)"));
        for file in ["linux", initrd] {
            step(file, KERNEL, ("sent", &format!("image {image}/{file}")));
        }
        let asked_for_a_url = |line: &Line| line.file.contains("tftp://");
        assert!(
            daemon.lines().iter().all(|line| !asked_for_a_url(line)),
            "{}",
            daemon.log_tail()
        );
    }

    #[test]
    fn the_boot_rom_of_s390x_boots_by_our_pxelinux_script_to_userland() {
        let wire = Wire::new();
        let room = room();
        let daemon = Daemon::start(&wire, &room);
        let machine = Machine::power_on(&wire, Firmware::S390x, "52:54:00:00:00:31");
        fetches_everything(&daemon, "z1", ["z", "initrd"]);
        // The inventory has no parameter for it, and a line APPEND without one would have stopped it.
        machine.wait_for("the initrd runs with:", KERNEL);
    }

    #[test]
    fn slof_fetches_its_kernel_and_initrd_by_our_pxelinux_script() {
        let wire = Wire::new();
        let room = room();
        let daemon = Daemon::start(&wire, &room);
        let _machine = Machine::power_on(&wire, Firmware::Slof, "52:54:00:00:00:32");
        fetches_everything(&daemon, "p1", ["power", "initrd"]);
    }

    #[test]
    fn u_boot_boots_by_our_pxelinux_script_to_its_kernel() {
        let wire = Wire::new();
        let room = Room::new(
            "[[host]]\nname = \"u1\"\nmac = \"52:54:00:00:00:33\"\naddress = \"192.0.2.33\"\nimage = \"debian-12\"\n\
             boot = \"live\"\nscript = \"live\"\ncmdline = [\"console=ttyAMA0\"]\n",
        );
        let release = Release::of("trixie", &["u-boot-qemu", "ipxe", "debian-installer-13-netboot-arm64"]);
        // A board of arm64 may have UEFI as well.
        let ipxe = release.file("usr/lib/ipxe/ipxe-arm64.efi");
        std::fs::copy(ipxe, room.path("loaders/ipxe-arm64.efi")).expect("room for a copy");
        let room = room.with_installer(&release.installer("arm64"), "arm64");
        let daemon = Daemon::start(&wire, &room);
        let machine = Machine::power_on_with_parts(&wire, Firmware::UBoot, &release, "52:54:00:00:00:33");
        fetches_everything(&daemon, "u1", ["debian-12", "initrd.gz"]);
        machine.wait_for("Run /init as init process", KERNEL);
    }
}
