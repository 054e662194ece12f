//! A virtual machine on the wire: real firmware, a serial console, perhaps a disk.

use super::firmware::LOADER;
use super::namespace::{Namespace, TaskTracker, Wire};
use super::release::Release;
use std::{
    cell::Cell,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::{Condvar, Mutex, PoisonError},
    thread::available_parallelism,
    time::Duration,
};
use tempfile::TempDir;

/// How many machines run, whichever test they are of. Emulation without KVM takes a core for itself; more machines
/// than cores only slow each other.
static MACHINES: Mutex<usize> = Mutex::new(0);
static MACHINE_OFF: Condvar = Condvar::new();

/// One of this host's processors, taken by a machine.
struct Turn;

impl Turn {
    fn wait_for() -> Turn {
        let processors = available_parallelism().map_or(1, usize::from);
        let machines = MACHINES.lock().unwrap_or_else(PoisonError::into_inner);
        let free = MACHINE_OFF.wait_while(machines, |machines| *machines >= processors);
        *free.unwrap_or_else(PoisonError::into_inner) += 1;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *MACHINES.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        MACHINE_OFF.notify_one();
    }
}

/// The serial number that every machine's board says.
pub const SERIAL: &str = "SN-77";

/// Megabytes of a machine. Below this the installer stops to say that the memory is low.
pub const MEMORY_MB: u32 = 1024;

/// An iPXE that asks as a plain PXE ROM does, and starts what it is told to, by whichever server told it.
const OLD_ROM: &str = "#!ipxe\nset user-class PXE\nautoboot net0\n";

/// One line, because U-Boot throws away what is typed while it fetches something.
const U_BOOT_COMMANDS: &str = "setenv autoload no; dhcp && pxe get && pxe boot\n";

/// What the machine has in its flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS with the iPXE of its NIC's option ROM.
    SeaBios,
    /// SeaBIOS with a PXE ROM that takes its boot file as PXE says: iPXE, but it does not say so.
    SeaBiosPxe,
    /// OVMF without an option ROM: EDK2's own PXE stack.
    OvmfPxe,
    /// The same with Secure Boot on, and the keys that PCs are sold with.
    OvmfSecureBoot,
    /// OVMF's HTTP boot; PXE is switched off so that it comes first.
    OvmfHttp,
    /// The same with Secure Boot on.
    OvmfSecureHttp,
    /// EDK2 on an arm64 machine: its PXE stack.
    ArmPxe,
    /// The same; HTTP boot.
    ArmHttp,
    /// EDK2 on a RISC-V machine: its PXE stack.
    RiscvPxe,
    /// EDK2 on a LoongArch machine: its PXE stack.
    LoongPxe,
    /// U-Boot on an arm64 board, told on its console to boot by `pxelinux.cfg`; by itself it looks for EFI
    /// programs first.
    UBoot,
    /// An s390x machine, whose boot ROM reads `pxelinux.cfg` itself.
    S390x,
    /// A POWER machine: SLOF, the same.
    Slof,
}

impl Firmware {
    /// The QEMU that has such a machine, and how it finds its firmware. Those of other instruction sets are
    /// in `machines` (tests/other-machines.sh) or in a root of a newer suite, as Debian 12's are too old for
    /// the firmware of today.
    fn program(self) -> (String, Vec<String>) {
        let beside = |name: &str| format!("{}/{name}", machines().display());
        // A program that lies elsewhere than it was built for looks for its firmware beside itself.
        let share = || owned(&["-L", "/usr/share/qemu"]);
        match self {
            Firmware::S390x => (beside("qemu-system-s390x"), share()),
            Firmware::Slof => (beside("qemu-system-ppc64"), share()),
            Firmware::RiscvPxe => newer_qemu("qemu-system-riscv64"),
            Firmware::LoongPxe => newer_qemu("qemu-system-loongarch64"),
            Firmware::UBoot => newer_qemu("qemu-system-aarch64"),
            Firmware::SeaBios
            | Firmware::SeaBiosPxe
            | Firmware::OvmfPxe
            | Firmware::OvmfSecureBoot
            | Firmware::OvmfHttp
            | Firmware::OvmfSecureHttp => ("qemu-system-x86_64".to_owned(), Vec::new()),
            Firmware::ArmPxe | Firmware::ArmHttp => ("qemu-system-aarch64".to_owned(), Vec::new()),
        }
    }

    fn is_arm(self) -> bool {
        matches!(self, Firmware::ArmPxe | Firmware::ArmHttp)
    }

    /// Where a release has EDK2's code and its empty variables.
    fn flash(self) -> (&'static str, &'static str) {
        match self {
            Firmware::ArmPxe | Firmware::ArmHttp => ("usr/share/AAVMF/AAVMF_CODE.fd", "usr/share/AAVMF/AAVMF_VARS.fd"),
            Firmware::RiscvPxe => (
                "usr/share/qemu-efi-riscv64/RISCV_VIRT_CODE.fd",
                "usr/share/qemu-efi-riscv64/RISCV_VIRT_VARS.fd",
            ),
            Firmware::LoongPxe => (
                "usr/share/qemu-efi-loongarch64/QEMU_EFI.fd",
                "usr/share/qemu-efi-loongarch64/QEMU_VARS.fd",
            ),
            Firmware::OvmfSecureBoot | Firmware::OvmfSecureHttp => {
                ("usr/share/OVMF/OVMF_CODE_4M.ms.fd", "usr/share/OVMF/OVMF_VARS_4M.ms.fd")
            }
            Firmware::OvmfPxe | Firmware::OvmfHttp => {
                ("usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd")
            }
            Firmware::SeaBios | Firmware::SeaBiosPxe | Firmware::UBoot | Firmware::S390x | Firmware::Slof => {
                unreachable!("{self:?} is not EDK2")
            }
        }
    }

    fn is_secure(self) -> bool {
        matches!(self, Firmware::OvmfSecureBoot | Firmware::OvmfSecureHttp)
    }

    fn is_http(self) -> bool {
        matches!(self, Firmware::OvmfHttp | Firmware::OvmfSecureHttp | Firmware::ArmHttp)
    }
}

/// The folder with QEMU and kernels for other instruction sets, made where it is not there yet.
pub fn machines() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/other-machines.sh");
    let output = Command::new(script).output().expect("the script is shipped");
    assert!(output.status.success(), "{}", super::namespace::text(&output));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// A QEMU of Debian 13, started by its own dynamic loader with its own libraries.
fn newer_qemu(name: &str) -> (String, Vec<String>) {
    let package = match name {
        "qemu-system-aarch64" => "qemu-system-arm",
        "qemu-system-riscv64" => "qemu-system-riscv",
        _ => "qemu-system-misc",
    };
    let release = Release::of("trixie", &[package]);
    let folder = |path: &str| shown(&release.file(path));
    let libraries = folder("usr/lib/x86_64-linux-gnu");
    let program = folder(&format!("usr/bin/{name}"));
    // Without it this machine's own modules are tried, which are of another build.
    let modules = format!("QEMU_MODULE_DIR={libraries}/qemu");
    let loader = folder("lib64/ld-linux-x86-64.so.2");
    let mut arguments = vec![modules, loader, "--library-path".to_owned(), libraries, program];
    arguments.extend(["-L".to_owned(), folder("usr/share/qemu")]);
    ("env".to_owned(), arguments)
}

thread_local! {
    /// The process of the machine that this test runs; 0 where it runs none.
    static RUNNING: Cell<u32> = const { Cell::new(0) };
}

/// How long this test's machine, if one runs, has waited for a processor of this host so far: where others
/// take them, it gets nowhere, and that is no fault of what it is to do.
pub fn starved() -> Duration {
    let pid = RUNNING.get();
    if pid == 0 {
        return Duration::ZERO;
    }
    // Each thread's nanoseconds on a processor and in the queue for one (the kernel's sched-stats.rst). The one that
    // waited longest is the machine's processor.
    let waited = |thread: fs::DirEntry| -> Option<u64> {
        let stat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split_whitespace().nth(1)?.parse().ok()
    };
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let longest = threads.filter_map(|thread| waited(thread.ok()?)).max();
    Duration::from_nanos(longest.unwrap_or(0))
}

/// A disk that outlives the machine it is in, as do the variables of the firmware beside it.
#[derive(Clone, Copy, Debug)]
pub struct DiskFile<'a> {
    /// Its bytes.
    pub file: &'a Path,
    /// The serial number that it tells.
    pub serial: &'a str,
}

impl DiskFile<'_> {
    fn variables(&self) -> PathBuf {
        self.file.with_extension("variables.fd")
    }
}

/// What a machine has besides.
enum MachineDisk<'a> {
    None,
    /// One that boots and says some words.
    Talks(&'a str),
    Kept(DiskFile<'a>),
}

/// A running machine; powered off on drop.
pub struct Machine {
    process: TaskTracker,
    _folder: TempDir,
    console: PathBuf,
    _turn: Turn,
}

impl Machine {
    /// Powers on a machine without a disk, once a processor is free for it.
    pub fn power_on(wire: &Wire, firmware: Firmware, mac: &str) -> Machine {
        Machine::power_on_with_parts(wire, firmware, &Release::own(), mac)
    }

    /// The same with the firmware and option ROM of a release.
    pub fn power_on_with_parts(wire: &Wire, firmware: Firmware, parts: &Release, mac: &str) -> Machine {
        Machine::start(
            (&wire.server, &wire.tap()),
            (firmware, parts),
            (mac, MEMORY_MB),
            MachineDisk::None,
        )
    }

    /// The same on a tap device of any namespace.
    pub fn power_on_at(namespace: &Namespace, tap: &str, firmware: Firmware, mac: &str) -> Machine {
        Machine::start(
            (namespace, tap),
            (firmware, &Release::own()),
            (mac, MEMORY_MB),
            MachineDisk::None,
        )
    }

    /// The same with a disk that boots and says `words` on the console; the network comes first.
    pub fn power_on_with_disk(wire: &Wire, firmware: Firmware, mac: &str, words: &str) -> Machine {
        Machine::start(
            (&wire.server, &wire.tap()),
            (firmware, &Release::own()),
            (mac, MEMORY_MB),
            MachineDisk::Talks(words),
        )
    }

    /// The same with a disk of whoever calls; the network comes first. Where the machine starts anew it is switched
    /// off instead.
    pub fn power_on_with_disk_file(wire: &Wire, firmware: Firmware, mac: &str, disk: DiskFile<'_>) -> Machine {
        Machine::start(
            (&wire.server, &wire.tap()),
            (firmware, &Release::own()),
            (mac, MEMORY_MB),
            MachineDisk::Kept(disk),
        )
    }

    /// The same without a disk and with so many megabytes of memory.
    pub fn power_on_with_memory(wire: &Wire, firmware: Firmware, mac: &str, megabytes: u32) -> Machine {
        let parts = (firmware, &Release::own());
        Machine::start((&wire.server, &wire.tap()), parts, (mac, megabytes), MachineDisk::None)
    }

    /// Waits until the machine switched itself off, or would have started anew.
    pub fn wait_for_end(&mut self, timeout: Duration) {
        let ended = super::poll_machine(timeout, || self.process.0.try_wait().expect("a child can be asked"));
        assert!(
            ended.is_some(),
            "the machine runs on after {timeout:?}\n{}",
            self.console_tail()
        );
    }

    fn start(
        (namespace, tap): (&Namespace, &str),
        (firmware, parts): (Firmware, &Release),
        (mac, megabytes): (&str, u32),
        disk: MachineDisk<'_>,
    ) -> Machine {
        let turn = Turn::wait_for();
        let folder = TempDir::new().expect("a temporary folder");
        let console = folder.path().join("console");
        let (program, share) = firmware.program();
        let variables = match disk {
            MachineDisk::Kept(disk) => disk.variables(),
            MachineDisk::None | MachineDisk::Talks(_) => folder.path().join("variables.fd"),
        };
        // The network comes first. EDK2 keeps that, and what a system changes in it.
        let (nic_place, disk_place) = match disk {
            MachineDisk::Kept(_) if !variables.exists() => (",bootindex=1", ",bootindex=2"),
            MachineDisk::Kept(_) | MachineDisk::None | MachineDisk::Talks(_) => ("", ""),
        };
        let nic = format!("virtio-net-pci,netdev=net0,mac={mac}{nic_place}");
        let mut command = namespace.command(&program);
        command
            .args(share)
            .args([
                "-accel",
                "tcg",
                "-m",
                &megabytes.to_string(),
                "-nographic",
                "-vga",
                "none",
                "-no-reboot",
            ])
            .args(["-monitor", "none", "-serial", "stdio"])
            .args(identity(firmware))
            .args(["-netdev", &format!("tap,id=net0,ifname={tap},script=no,downscript=no")])
            .args(firmware_arguments(
                firmware,
                parts,
                (mac, &nic),
                (folder.path(), &variables),
            ));
        match disk {
            MachineDisk::None => {}
            MachineDisk::Talks(words) => {
                let file = folder.path().join("disk.img");
                fs::write(&file, talking_disk(words)).expect("a new file in our own folder");
                command.args(["-drive", &format!("file={},format=raw,if=virtio", file.display())]);
            }
            MachineDisk::Kept(DiskFile { file, serial }) => {
                let drive = format!("file={},format=raw,if=none,id=disk0,cache=unsafe", file.display());
                let device = format!("virtio-blk-pci,drive=disk0,serial={serial}{disk_place}");
                command.args(["-drive", &drive, "-device", &device]);
            }
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(File::create(&console).expect("a new file in our own folder"))
            .stderr(Stdio::inherit())
            .spawn()
            .expect("package iproute2 is installed");
        RUNNING.set(process.id());
        let keyboard = process.stdin.take().expect("a pipe, as asked for above");
        let machine = Machine {
            process: TaskTracker(process),
            _folder: folder,
            console,
            _turn: turn,
        };
        if firmware == Firmware::UBoot {
            machine.type_at_the_prompt(keyboard, U_BOOT_COMMANDS);
        }
        machine
    }

    /// Stops U-Boot's countdown and gives it its commands. While it starts it loses keys, so each part
    /// waits for what it answers to.
    fn type_at_the_prompt(&self, mut keyboard: ChildStdin, commands: &str) {
        self.wait_for("Hit any key", LOADER);
        let prompt = super::poll_machine(LOADER, || {
            keyboard.write_all(b"\n").expect("the machine runs");
            self.console().contains("=> ").then_some(())
        });
        assert!(prompt.is_some(), "{}", self.console_tail());
        keyboard.write_all(commands.as_bytes()).expect("the machine runs");
    }

    /// What the serial console showed so far, without its escape sequences.
    pub fn console(&self) -> String {
        plain(&fs::read(&self.console).unwrap_or_default())
    }

    /// Waits for words on the console; panics with its end when they do not come.
    pub fn wait_for(&self, words: &str, timeout: Duration) {
        let seen = super::poll_machine(timeout, || self.console().contains(words).then_some(()));
        assert!(
            seen.is_some(),
            "the console did not show {words:?} in {timeout:?}\n{}",
            self.console_tail()
        );
    }

    /// The end of what it showed.
    pub fn console_tail(&self) -> String {
        format!("--- the machine's console\n{}", super::tail(&self.console(), 30))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        RUNNING.set(0);
        if std::thread::panicking() {
            eprintln!("{}", self.console_tail());
        }
    }
}

/// Its serial number, where QEMU's machine can have one.
fn identity(firmware: Firmware) -> Vec<String> {
    match firmware {
        Firmware::S390x | Firmware::Slof | Firmware::UBoot => Vec::new(),
        Firmware::SeaBios
        | Firmware::SeaBiosPxe
        | Firmware::OvmfPxe
        | Firmware::OvmfSecureBoot
        | Firmware::OvmfHttp
        | Firmware::OvmfSecureHttp
        | Firmware::ArmPxe
        | Firmware::ArmHttp
        | Firmware::RiscvPxe
        | Firmware::LoongPxe => owned(&["-smbios", &format!("type=1,serial={SERIAL}")]),
    }
}

fn firmware_arguments(
    firmware: Firmware,
    parts: &Release,
    (mac, nic): (&str, &str),
    (folder, variables): (&Path, &Path),
) -> Vec<String> {
    match firmware {
        Firmware::S390x => owned(&["-device", &format!("virtio-net-ccw,netdev=net0,mac={mac},bootindex=0")]),
        Firmware::Slof => owned(&["-device", &format!("{nic},romfile=,bootindex=0")]),
        Firmware::UBoot => {
            let code = shown(&parts.file("usr/lib/u-boot/qemu_arm64/u-boot.bin"));
            let nic = format!("{nic},romfile=");
            owned(&[
                "-machine",
                "virt",
                "-cpu",
                "cortex-a57",
                "-bios",
                &code,
                "-device",
                &nic,
            ])
        }
        Firmware::SeaBios => seabios_arguments(parts, nic),
        Firmware::SeaBiosPxe => {
            let script = folder.join("old-rom.ipxe");
            fs::write(&script, OLD_ROM).expect("a new file in our own folder");
            let rom = shown(&Release::own().file("usr/lib/ipxe/ipxe.lkrn"));
            let nic = format!("{nic},romfile=");
            owned(&["-device", &nic, "-kernel", &rom, "-initrd", &shown(&script)])
        }
        Firmware::OvmfPxe
        | Firmware::OvmfSecureBoot
        | Firmware::OvmfHttp
        | Firmware::OvmfSecureHttp
        | Firmware::ArmPxe
        | Firmware::ArmHttp
        | Firmware::RiscvPxe
        | Firmware::LoongPxe => edk2_arguments(firmware, parts, nic, variables),
    }
}

/// QEMU's own choice of ROM for this NIC is iPXE; the network boots before the disk.
fn seabios_arguments(parts: &Release, nic: &str) -> Vec<String> {
    if parts.is_own() {
        return owned(&["-device", nic, "-boot", "order=nc"]);
    }
    let bios = shown(&parts.file("usr/share/seabios/bios-256k.bin"));
    let rom = parts.first(&["usr/share/qemu/pxe-virtio.rom", "usr/lib/ipxe/qemu/pxe-virtio.rom"]);
    let modern = if is_for_modern_virtio(&rom) {
        ",disable-legacy=on"
    } else {
        ""
    };
    let nic = format!("{nic},romfile={}{modern}", shown(&rom));
    owned(&["-bios", &bios, "-device", &nic, "-boot", "order=nc"])
}

/// Whether a ROM names virtio's PCI device of today, 1041 hexadecimal. SeaBIOS runs a ROM for the device that the
/// ROM names and no other, and the one of before is 1000.
fn is_for_modern_virtio(rom: &Path) -> bool {
    let bytes = fs::read(rom).expect("a ROM of a package");
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let described = usize::from(word(0x18));
    word(described + 6) == 0x1041
}

/// EDK2 without an option ROM in the NIC: its own stack is what boots.
fn edk2_arguments(firmware: Firmware, parts: &Release, nic: &str, variables: &Path) -> Vec<String> {
    let (code, variables_of) = firmware.flash();
    if !variables.exists() {
        fs::copy(parts.file(variables_of), variables).expect("room for a copy");
    }
    let mut arguments = Vec::new();
    let mut add = |pair: [&str; 2]| arguments.extend(owned(&pair));
    if firmware.is_arm() {
        add(["-machine", "virt"]);
        add(["-cpu", "cortex-a57"]);
    }
    if matches!(firmware, Firmware::RiscvPxe | Firmware::LoongPxe) {
        add(["-machine", "virt"]);
    }
    if firmware.is_secure() {
        add(["-machine", "q35,smm=on"]);
        add(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
    }
    // Without it EDK2 from 2025.02 on has no network at all.
    add(["-device", "virtio-rng-pci"]);
    let raw = "if=pflash,format=raw";
    add([
        "-drive",
        &format!("{raw},unit=0,readonly=on,file={}", shown(&parts.file(code))),
    ]);
    add(["-drive", &format!("{raw},unit=1,file={}", shown(variables))]);
    add(["-device", &format!("{nic},romfile=")]);
    add(["-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"]);
    if firmware.is_http() {
        add(["-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n"]);
    }
    arguments
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|one| (*one).to_owned()).collect()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A disk whose boot sector prints `words` on the first serial port and halts.
pub fn talking_disk(words: &str) -> Vec<u8> {
    let mut disk = vec![
        0x31, 0xC0, // xor ax, ax
        0x8E, 0xD8, // mov ds, ax
        0xFC, // cld
        0xBE, 0x16, 0x7C, // mov si, 0x7C16: the text behind the code
        0xBA, 0xF8, 0x03, // mov dx, 0x3F8: the first serial port
        0xAC, // next: lodsb
        0x84, 0xC0, // test al, al
        0x74, 0x03, // jz done
        0xEE, // out dx, al
        0xEB, 0xF8, // jmp next
        0xF4, // done: hlt
        0xEB, 0xFD, // jmp done
    ];
    disk.extend_from_slice(words.as_bytes());
    assert!(disk.len() < 510, "a boot sector has room for few words");
    disk.resize(510, 0);
    disk.extend_from_slice(&[0x55, 0xAA]);
    disk.resize(1024 * 1024, 0);
    disk
}

/// Text without terminal control: sequences that move the cursor count as a space, since firmware
/// draws words apart with them.
fn plain(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' if characters.peek() == Some(&'[') => {
                let end = characters.by_ref().find(char::is_ascii_alphabetic);
                if end != Some('m') {
                    plain.push(' ');
                }
            }
            '\n' | '\t' => plain.push(character),
            other if other.is_control() => {}
            other => plain.push(other),
        }
    }
    plain
}
