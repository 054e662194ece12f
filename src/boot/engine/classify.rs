//! Who is asking: the stage of a boot and the machine's identity, from one DHCP request.

use crate::boot::{
    event::Stage,
    machine::{Identity, client_text},
};
use crate::model::{Arch, Cpu, Firmware, MacAddr};
use crate::proto::dhcp::{IpxeFeatures, RelayAgent, Request};

/// The user class of a loader built by us (option 77).
const OWN_LOADER_CLASS: &[u8] = b"bootwright";
/// The user class of iPXE.
const IPXE_CLASS: &[u8] = b"iPXE";
/// How UEFI HTTP boot introduces itself in option 60.
const HTTP_CLIENT: &[u8] = b"HTTPClient";
/// How PXE firmware introduces itself in option 60.
const PXE_CLIENT: &[u8] = b"PXEClient";

/// Address blocks of Raspberry Pi Ltd and the Raspberry Pi Foundation.
const RASPBERRY_PI_BLOCKS: [[u8; 3]; 6] = [
    [0xb8, 0x27, 0xeb],
    [0xdc, 0xa6, 0x32],
    [0xe4, 0x5f, 0x01],
    [0x28, 0xcd, 0xc1],
    [0xd8, 0x3a, 0xdd],
    [0x2c, 0xcf, 0x67],
];

/// What a BIOS from before option 93 is.
const BIOS: Arch = Arch {
    firmware: Firmware::Bios,
    cpu: Cpu::X86_64,
};

/// Where in its boot the machine stands. The order of the questions matters: an iPXE that was
/// loaded by PXE firmware still calls itself a PXEClient in option 60.
pub fn stage(request: &Request) -> Stage {
    let is_ipxe = request.has_user_class(IPXE_CLASS);
    if request.has_user_class(OWN_LOADER_CLASS) || (is_ipxe && can_run_our_scripts(request)) {
        return Stage::Ipxe;
    }
    if vendor_begins(request, HTTP_CLIENT) {
        return Stage::UefiHttp;
    }
    if is_ipxe {
        return Stage::BareIpxe;
    }
    if !vendor_begins(request, PXE_CLIENT) && request.archs.is_empty() {
        return Stage::System;
    }
    if is_raspberry_pi(request) {
        return Stage::RaspberryPi;
    }
    match arch(request).map(|arch| arch.firmware) {
        Some(Firmware::Uefi) => Stage::UefiPxe,
        Some(Firmware::UefiHttp | Firmware::BiosHttp) => Stage::UefiHttp,
        Some(Firmware::RaspberryPi) => Stage::RaspberryPi,
        // An unregistered architecture gets no loader, whatever the stage is called.
        Some(Firmware::Bios) | None => Stage::BiosPxe,
    }
}

/// The architecture that needs a loader: option 93's; else what option 60 says in the same words;
/// else, for firmware that says nothing, a BIOS older than option 93. `None` when it names only
/// architectures that nobody registered.
pub(super) fn arch(request: &Request) -> Option<Arch> {
    if !request.archs.is_empty() {
        return request.arch();
    }
    match vendor_arch(request) {
        Some(value) => Arch::from_option_93(value),
        None => Some(BIOS),
    }
}

/// What one DHCP request lets us know of the machine.
pub fn identity(request: &Request) -> Identity {
    let vendor = request.vendor_class.as_deref();
    Identity {
        mac: request.hardware.mac(),
        uuid: request.uuid,
        serial: None,
        ports: request.relay_agent.as_ref().map(RelayAgent::ports).unwrap_or_default(),
        arch: request
            .arch()
            .or_else(|| vendor_arch(request).and_then(Arch::from_option_93)),
        vendor: vendor
            .and_then(|said| std::str::from_utf8(said).ok())
            .and_then(client_text),
    }
}

/// An iPXE that fetches over HTTP and boots the kind of kernel its platform needs. One that does
/// not say its platform passes with either kind.
fn can_run_our_scripts(request: &Request) -> bool {
    let IpxeFeatures { http, bzimage, efi } = request.ipxe.unwrap_or_default();
    let boots_kernels = match request.arch().map(|arch| arch.firmware) {
        Some(Firmware::Bios | Firmware::BiosHttp) => bzimage,
        Some(Firmware::Uefi | Firmware::UefiHttp) => efi,
        Some(Firmware::RaspberryPi) | None => bzimage || efi,
    };
    http && boots_kernels
}

/// Arch 41, or the boot ROM of a board with one of the Pi's addresses: a Pi 5's says arch 0. A Pi
/// that runs UEFI firmware says arch 11 and is a UEFI machine like any other.
fn is_raspberry_pi(request: &Request) -> bool {
    let has_pi_address = request
        .hardware
        .mac()
        .is_some_and(|MacAddr([a, b, c, ..])| RASPBERRY_PI_BLOCKS.contains(&[a, b, c]));
    match request.arch().map(|arch| arch.firmware) {
        Some(Firmware::RaspberryPi) => true,
        Some(Firmware::Bios) | None => has_pi_address,
        Some(Firmware::Uefi | Firmware::UefiHttp | Firmware::BiosHttp) => false,
    }
}

fn vendor_begins(request: &Request, prefix: &[u8]) -> bool {
    request
        .vendor_class
        .as_ref()
        .is_some_and(|said| said.starts_with(prefix))
}

/// The value in `PXEClient:Arch:00007:UNDI:003016` and `HTTPClient:Arch:00016:…`.
fn vendor_arch(request: &Request) -> Option<u16> {
    let said = std::str::from_utf8(request.vendor_class.as_deref()?).ok()?;
    let mut parts = said.split(':').skip_while(|part| *part != "Arch");
    parts.nth(1)?.parse().ok()
}
