//! Rung 4: loaders and firmware of Debian 12, 13 and of the newest suite, with each other. Each row is one
//! power-on, and how far it gets with a script and an answer as shipped. One row of each kind is a test of
//! its own in `firmware`; all of them are [`the_matrix`], which `make test-matrix` runs and prints.

use super::daemon::{Daemon, Line};
use super::firmware::{ANSWER, KERNEL, LOADER};
use super::machine::{Firmware, Machine};
use super::namespace::Wire;
use super::release::Release;
use super::room::Room;
use std::{
    fmt::Write,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

const MAC: &str = "52:54:00:00:00:07";

/// The releases, oldest first: EDK2 2022.11, 2025.02 and 2026.08 or later; iPXE 1.0.0 of 2019,
/// 1.21.1+git20250501 and 2.0.0 or later; GRUB 2.06, 2.12 and 2.14 or later.
const SUITES: [&str; 3] = ["bookworm", "trixie", "sid"];
const OLD: &str = SUITES[0];
const STABLE: &str = SUITES[1];
const NEWEST: &str = SUITES[2];

/// Packages that files are read from. A root has them all, so that it is made once; shim and signed GRUB
/// see to how a system boots, and in a root there is none.
const PACKAGES: [&str; 6] = [
    "ovmf",
    "seabios",
    "ipxe",
    "ipxe-qemu",
    "shim-signed",
    "grub-efi-amd64-signed",
];
/// The same for arm64 machines.
const ARM_PACKAGES: [&str; 2] = ["qemu-efi-aarch64", "ipxe"];
const ARM_INSTALLER: &str = "debian-installer-13-netboot-arm64";
/// The same for RISC-V and for LoongArch machines, from Debian 13 on.
const RISCV_PACKAGES: [&str; 2] = ["qemu-efi-riscv64", "ipxe"];
const RISCV_INSTALLER: &str = "debian-installer-13-netboot-riscv64";
const LOONG_PACKAGES: [&str; 2] = ["qemu-efi-loongarch64", "ipxe"];
/// GRUB of Debian's own netboot tree, which reads its modules and settings beside itself.
const RISCV_GRUB: &str = "debian-installer/riscv64/bootnetriscv64.efi";

/// How far a machine came; each step has those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// We did not hear of it.
    Nothing,
    /// It has an address.
    Address,
    /// It has its loader, or has iPXE in its NIC.
    Loader,
    /// It has its script.
    Script,
    /// The script ran: it has the kernel and its initrd.
    Files,
    /// That kernel runs.
    Kernel,
    /// The installer has its answer.
    ServerReply,
}

/// What the machine boots with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loader {
    /// iPXE in the NIC, of the firmware's release.
    Rom,
    /// A file of package ipxe of that suite.
    Ipxe(&'static str, &'static str),
    /// The newest shim with the signed GRUB of that suite.
    Grub(&'static str),
    /// The unsigned GRUB of Debian 13's netboot tree for RISC-V.
    NetbootTree,
}

/// One power-on.
#[derive(Clone, Copy, Debug)]
struct Row {
    firmware: Firmware,
    /// Whose firmware.
    suite: &'static str,
    loader: Loader,
    /// How far it must come; the row ends there.
    goal: Reach,
}

const fn row(firmware: Firmware, suite: &'static str, loader: Loader, goal: Reach) -> Row {
    Row {
        firmware,
        suite,
        loader,
        goal,
    }
}

/// All rows: every firmware with every loader that its release or another has for it. What users of today
/// have goes to the end.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for suite in SUITES {
        rows.push(row(Firmware::SeaBios, suite, Loader::Rom, Reach::Files));
        let undionly = Loader::Ipxe(suite, "undionly.kpxe");
        rows.push(row(Firmware::SeaBiosPxe, suite, undionly, Reach::Files));
    }
    for firmware in [Firmware::OvmfPxe, Firmware::OvmfHttp] {
        for suite in SUITES {
            for of in SUITES {
                let goal = if (suite, of) == (STABLE, STABLE) {
                    Reach::ServerReply
                } else {
                    Reach::Files
                };
                rows.push(row(firmware, suite, Loader::Ipxe(of, "snponly.efi"), goal));
            }
        }
        for of in [STABLE, NEWEST] {
            rows.push(row(firmware, NEWEST, Loader::Ipxe(of, "ipxe-amd64.efi"), Reach::Files));
        }
    }
    for suite in SUITES {
        for of in SUITES {
            rows.push(row(Firmware::OvmfSecureBoot, suite, Loader::Grub(of), Reach::Files));
            let by_http = match (suite, of) {
                // GRUB 2.06 has no HTTP: it stands at its prompt.
                (_, OLD) => Reach::Loader,
                (STABLE, STABLE) => Reach::ServerReply,
                _ => Reach::Files,
            };
            rows.push(row(Firmware::OvmfSecureHttp, suite, Loader::Grub(of), by_http));
        }
    }
    for of in [STABLE, NEWEST] {
        let loader = Loader::Ipxe(of, "ipxe-arm64.efi");
        for suite in SUITES {
            rows.push(row(Firmware::ArmPxe, suite, loader, Reach::Files));
        }
        rows.push(row(Firmware::ArmHttp, NEWEST, loader, Reach::Files));
    }
    for suite in [STABLE, NEWEST] {
        for of in [STABLE, NEWEST] {
            rows.push(row(
                Firmware::RiscvPxe,
                suite,
                Loader::Ipxe(of, "ipxe-riscv64.efi"),
                Reach::Files,
            ));
            rows.push(row(
                Firmware::LoongPxe,
                suite,
                Loader::Ipxe(of, "ipxe-loong64.efi"),
                Reach::Files,
            ));
        }
        rows.push(row(Firmware::RiscvPxe, suite, Loader::NetbootTree, Reach::Files));
    }
    rows
}

/// A row that was run: when each step was seen, since power-on.
struct Ran {
    row: Row,
    steps: Vec<(Reach, Duration)>,
    /// The end of log and console where it fell short.
    trouble: String,
}

impl Ran {
    fn reach(&self) -> Reach {
        self.steps.last().map_or(Reach::Nothing, |(reach, _)| *reach)
    }

    fn is_short(&self) -> bool {
        self.reach() < self.row.goal
    }
}

impl Row {
    fn release(self, suite: &str) -> Release {
        match self.firmware {
            Firmware::ArmPxe | Firmware::ArmHttp => Release::of(suite, &ARM_PACKAGES),
            Firmware::RiscvPxe => Release::of(suite, &RISCV_PACKAGES),
            Firmware::LoongPxe => Release::of(suite, &LOONG_PACKAGES),
            Firmware::SeaBios
            | Firmware::SeaBiosPxe
            | Firmware::OvmfPxe
            | Firmware::OvmfSecureBoot
            | Firmware::OvmfHttp
            | Firmware::OvmfSecureHttp
            | Firmware::UBoot
            | Firmware::S390x
            | Firmware::Slof => Release::of(suite, &PACKAGES),
        }
    }

    /// The image's architecture, with the folder of a kernel and an initrd for it.
    fn installer(self) -> (&'static str, PathBuf) {
        match self.firmware {
            Firmware::ArmPxe | Firmware::ArmHttp => ("arm64", Release::of(STABLE, &[ARM_INSTALLER]).installer("arm64")),
            Firmware::RiscvPxe => ("riscv64", Release::of(STABLE, &[RISCV_INSTALLER]).installer("riscv64")),
            Firmware::LoongPxe => ("loongarch64", self.release(NEWEST).file("usr/lib/ipxe")),
            Firmware::SeaBios
            | Firmware::SeaBiosPxe
            | Firmware::OvmfPxe
            | Firmware::OvmfSecureBoot
            | Firmware::OvmfHttp
            | Firmware::OvmfSecureHttp
            | Firmware::UBoot
            | Firmware::S390x
            | Firmware::Slof => ("x86_64", Release::own().installer("amd64")),
        }
    }

    fn shows_firmware(self) -> String {
        let name = match self.firmware {
            Firmware::SeaBios => "SeaBIOS",
            Firmware::SeaBiosPxe => "SeaBIOS, old PXE ROM",
            Firmware::OvmfPxe => "OVMF, PXE",
            Firmware::OvmfSecureBoot => "OVMF Secure Boot, PXE",
            Firmware::OvmfHttp => "OVMF, HTTP",
            Firmware::OvmfSecureHttp => "OVMF Secure Boot, HTTP",
            Firmware::ArmPxe => "AAVMF, PXE",
            Firmware::ArmHttp => "AAVMF, HTTP",
            Firmware::RiscvPxe => "RISC-V EDK2, PXE",
            Firmware::LoongPxe => "LoongArch EDK2, PXE",
            Firmware::UBoot => "U-Boot",
            Firmware::S390x => "s390x",
            Firmware::Slof => "SLOF",
        };
        format!("{name} of {}", self.suite)
    }

    fn shows_loader(self) -> String {
        match self.loader {
            Loader::Rom => format!("iPXE ROM of {}", self.suite),
            Loader::Ipxe(suite, file) => format!("{file} of {suite}"),
            Loader::Grub(suite) => format!("shim of {NEWEST}, GRUB of {suite}"),
            Loader::NetbootTree => format!("bootnetriscv64.efi of {STABLE}"),
        }
    }

    /// The room of one worker whose only loaders are the row's.
    fn room(self) -> Room {
        let console = match self.firmware {
            Firmware::ArmPxe | Firmware::ArmHttp => "ttyAMA0",
            _ => "ttyS0,115200",
        };
        let loader = match self.loader {
            Loader::Grub(_) => "loader  = \"shimx64.efi\"\n".to_owned(),
            Loader::NetbootTree => format!("loader  = \"{RISCV_GRUB}\"\n"),
            Loader::Rom | Loader::Ipxe(..) => String::new(),
        };
        let inventory = format!(
            "[[host]]\nname    = \"r1u07\"\nmac     = \"{MAC}\"\naddress = \"192.0.2.11\"\nimage   = \"debian-12\"\n\
             boot    = \"live\"\nscript  = \"debian-installer\"\nanswer  = \"preseed\"\n{loader}\
             cmdline = [\"console={console}\", \"DEBIAN_FRONTEND=text\"]\nvars    = {{ disk = \"/dev/vda\" }}\n"
        );
        let room = Room::new(&inventory);
        room.set("loaders = [\"loaders\", \"/usr/lib/ipxe\"]", "loaders = [\"loaders\"]");
        for (file, name) in self.loader_files() {
            fs::copy(&file, room.path("loaders").join(name))
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
        for name in self.companions() {
            let file = Release::own().file(&format!("usr/lib/ipxe/{name}"));
            fs::copy(file, room.path("loaders").join(name)).expect("room for a copy");
        }
        let (arch, folder) = self.installer();
        if self.loader == Loader::NetbootTree {
            let tree = room.path("loaders/debian-installer/riscv64");
            super::room::copy(&folder, &tree);
        }
        if self.goal > Reach::Kernel {
            return room.with_installer(&folder, arch);
        }
        // Up to the kernel's first words its initrd is only bytes, and an emulated machine takes a minute for
        // the whole one.
        let light = room.path("installer");
        fs::create_dir(&light).expect("a new folder");
        // No package that is at hand has a kernel for LoongArch; iPXE's file is a program of that format.
        let kernel = match self.firmware {
            Firmware::LoongPxe => "ipxe-loong64.efi",
            _ => "linux",
        };
        fs::copy(folder.join(kernel), light.join("linux")).expect("room for a copy");
        fs::write(light.join("initrd.gz"), vec![0; 4096]).expect("a new file in our own folder");
        room.with_installer(&light, arch)
    }

    /// What `check` wants for firmware that is not the row's: a host says nothing of what it has.
    fn companions(self) -> impl Iterator<Item = &'static str> {
        let own = match self.loader {
            Loader::Rom | Loader::Grub(_) | Loader::NetbootTree => "",
            Loader::Ipxe(_, name) => name,
        };
        let is_pc_efi = own == "snponly.efi" || own == "ipxe-amd64.efi";
        let bios = (own != "undionly.kpxe").then_some("undionly.kpxe");
        bios.into_iter().chain((!is_pc_efi).then_some("snponly.efi"))
    }

    fn loader_files(self) -> Vec<(PathBuf, &'static str)> {
        match self.loader {
            // It is copied whole.
            Loader::Rom | Loader::NetbootTree => Vec::new(),
            Loader::Ipxe(suite, name) => {
                let file = self.release(suite).file(&format!("usr/lib/ipxe/{name}"));
                vec![(file, name)]
            }
            Loader::Grub(suite) => {
                let shim = self.release(NEWEST).file("usr/lib/shim/shimx64.efi.signed");
                let grub = "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed";
                let grub = self.release(suite).file(grub);
                vec![(shim, "shimx64.efi"), (grub, "grubx64.efi")]
            }
        }
    }

    /// Powers the machine on and follows it to its goal, or until a step does not come.
    fn run(self) -> Ran {
        let wire = Wire::new();
        let room = self.room();
        let parts = self.release(self.suite);
        let daemon = Daemon::start(&wire, &room);
        let machine = Machine::power_on_with_parts(&wire, self.firmware, &parts, MAC);
        let start = Instant::now();
        let mut ran = Ran {
            row: self,
            steps: Vec::new(),
            trouble: String::new(),
        };
        for (step, timeout) in [
            (Reach::Address, LOADER),
            (Reach::Loader, LOADER),
            (Reach::Script, LOADER),
            (Reach::Files, KERNEL),
            (Reach::Kernel, KERNEL),
            (Reach::ServerReply, ANSWER),
        ] {
            if step > self.goal {
                break;
            }
            let Some(()) = super::poll(timeout, || self.has_reached(step, &daemon, &machine).then_some(())) else {
                ran.trouble = format!("{}\n{}", daemon.log_tail(), machine.console_tail());
                break;
            };
            ran.steps.push((step, start.elapsed()));
        }
        ran
    }

    /// Whether log or console show that step.
    fn has_reached(self, step: Reach, daemon: &Daemon, machine: &Machine) -> bool {
        let logged = |event: &str, value: &str| {
            let lines = daemon.lines();
            lines.iter().any(|line| line.is("r1u07", event, &[value]))
        };
        let sent = |file: &str| {
            let is_it = |line: &Line| line.is("r1u07", "sent", &[]) && line.file.starts_with(file);
            daemon.lines().iter().any(is_it)
        };
        match step {
            Reach::Nothing => true,
            Reach::Address => logged("acknowledged", "192.0.2.11"),
            Reach::Loader => match (self.loader, self.loader_files().last()) {
                (Loader::NetbootTree, _) => sent(&format!("loader {RISCV_GRUB}")),
                (_, Some((_, name))) => sent(&format!("loader {name}")),
                (_, None) => true,
            },
            Reach::Script => sent("script debian-installer"),
            Reach::Files => sent("image debian-12/linux") && sent("image debian-12/initrd.gz"),
            Reach::Kernel => machine.console().contains("Linux version "),
            Reach::ServerReply => sent("answer preseed"),
        }
    }
}

/// The table as people read it.
fn table(all: &[Ran]) -> String {
    let mut text = format!(
        "{:<34} {:<38} {:<8} seconds since power-on\n",
        "firmware", "loader", "reached"
    );
    for ran in all {
        let seconds: Vec<String> = ran
            .steps
            .iter()
            .map(|(step, at)| format!("{step:?} {:.1}", at.as_secs_f32()).to_lowercase())
            .collect();
        let _ = writeln!(
            text,
            "{:<34} {:<38} {:<8} {}{}",
            ran.row.shows_firmware(),
            ran.row.shows_loader(),
            format!("{:?}", ran.reach()).to_lowercase(),
            seconds.join(", "),
            if ran.is_short() { "   SHORT OF IT" } else { "" },
        );
    }
    text
}

/// Runs rows; says each as soon as it is known, since all of them take half an hour.
fn run(rows: &[Row]) -> Vec<Ran> {
    rows.iter()
        .map(|row| {
            let ran = row.run();
            println!(
                "{}",
                table(std::slice::from_ref(&ran)).lines().last().unwrap_or_default()
            );
            ran
        })
        .collect()
}

/// A row that must come to its goal.
fn reaches(row: Row) {
    let ran = row.run();
    assert!(!ran.is_short(), "{}{}", table(std::slice::from_ref(&ran)), ran.trouble);
}

#[test]
#[ignore = "half an hour: make test-matrix"]
fn the_matrix() {
    // ROWS=text runs the rows that have it in their line.
    let wanted = std::env::var("ROWS").unwrap_or_default();
    let is_wanted = |row: &Row| format!("{} {}", row.shows_firmware(), row.shows_loader()).contains(&wanted);
    let rows: Vec<Row> = rows().into_iter().filter(is_wanted).collect();
    assert!(!rows.is_empty(), "no row has {wanted:?}");
    let all = run(&rows);
    println!("\n{}", table(&all));
    let short: Vec<&Ran> = all.iter().filter(|ran| ran.is_short()).collect();
    for ran in &short {
        println!(
            "== {} with {}\n{}\n",
            ran.row.shows_firmware(),
            ran.row.shows_loader(),
            ran.trouble
        );
    }
    assert!(short.is_empty(), "{} of {} rows fell short", short.len(), all.len());
}

/// One boot of each kind that the machine's own release does not have.
mod firmware {
    use super::*;

    #[test]
    fn ovmf_2025_by_pxe_runs_its_script_through_the_ipxe_of_debian_13() {
        let loader = Loader::Ipxe(STABLE, "snponly.efi");
        reaches(row(Firmware::OvmfPxe, STABLE, loader, Reach::Kernel));
    }

    #[test]
    fn ovmf_2025_by_http_boot_runs_its_script_through_the_ipxe_of_debian_13() {
        let loader = Loader::Ipxe(STABLE, "ipxe-amd64.efi");
        reaches(row(Firmware::OvmfHttp, STABLE, loader, Reach::Files));
    }

    #[test]
    fn seabios_runs_its_script_through_the_rom_of_ipxe_2() {
        reaches(row(Firmware::SeaBios, NEWEST, Loader::Rom, Reach::Files));
    }

    #[test]
    fn secure_boot_by_http_goes_through_the_newest_shim_and_grub_to_a_kernel() {
        let loader = Loader::Grub(NEWEST);
        reaches(row(Firmware::OvmfSecureHttp, NEWEST, loader, Reach::Kernel));
    }
}
