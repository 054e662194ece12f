//! Who is asking: the stage of a boot and the machine's identity, from one DHCP request.

use crate::boot::{
    event::Stage,
    machine::{Identity, client_text},
    quirks::vendor_part,
};
use crate::model::{Arch, Cpu, Firmware};
use crate::proto::dhcp::{IpxeFeatures, RelayAgent, Request};

/// The user class of a loader built by us (option 77).
const OWN_LOADER_CLASS: &[u8] = b"bootwright";
/// The user class of iPXE.
const IPXE_CLASS: &[u8] = b"iPXE";
/// How UEFI HTTP boot introduces itself in option 60.
const HTTP_CLIENT: &[u8] = b"HTTPClient";
/// How PXE firmware introduces itself in option 60.
const PXE_CLIENT: &[u8] = b"PXEClient";
/// How U-Boot introduces itself in option 60: `U-BootInstruction.armv8`, or the bare word where option 93 has no
/// number for it.
const U_BOOT: &[u8] = b"U-Boot";

/// What a BIOS from before option 93 is.
const BIOS: Arch = Arch {
    firmware: Firmware::Bios,
    cpu: Cpu::X86_64,
};

/// Where in its boot the machine stands, by the protocol alone: what firmware of one make needs is
/// a quirk's to say. The order of the questions matters: an iPXE that was
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
    if vendor_begins(request, U_BOOT) {
        return Stage::Pxelinux;
    }
    if !vendor_begins(request, PXE_CLIENT) && request.archs.is_empty() {
        return Stage::System;
    }
    match arch(request).map(|arch| arch.firmware) {
        Some(Firmware::Uefi) => Stage::UefiPxe,
        Some(Firmware::UefiHttp | Firmware::BiosHttp) => Stage::UefiHttp,
        Some(Firmware::Pxelinux) => Stage::Pxelinux,
        // What has no loader gets none, whatever the stage is called. The Pi's answer is a quirk's.
        Some(Firmware::Bios | Firmware::RaspberryPi) | None => Stage::BiosPxe,
    }
}

/// The architecture that needs a loader: option 93's; else what option 60 says in the same words;
/// else, for firmware that says nothing, a BIOS older than option 93. `None` when it names only
/// architectures that IANA has not registered.
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
        uuid: request.uuid,
        serial: None,
        ports: request.relay_agent.as_ref().map(RelayAgent::ports).unwrap_or_default(),
        arch: request
            .arch()
            .or_else(|| vendor_arch(request).and_then(Arch::from_option_93)),
        vendor: vendor
            .and_then(|claimed| std::str::from_utf8(claimed).ok())
            .and_then(client_text),
        ..Identity::of_hardware(request.hardware)
    }
}

/// An iPXE that fetches over HTTP and boots the kind of kernel its platform needs. One that does
/// not say its platform passes with either kind.
fn can_run_our_scripts(request: &Request) -> bool {
    let IpxeFeatures { http, bzimage, efi } = request.ipxe.unwrap_or_default();
    let boots_kernels = match request.arch().map(|arch| arch.firmware) {
        Some(Firmware::Bios | Firmware::BiosHttp) => bzimage,
        Some(Firmware::Uefi | Firmware::UefiHttp) => efi,
        Some(Firmware::RaspberryPi | Firmware::Pxelinux) | None => bzimage || efi,
    };
    http && boots_kernels
}

fn vendor_begins(request: &Request, prefix: &[u8]) -> bool {
    request
        .vendor_class
        .as_ref()
        .is_some_and(|claimed| claimed.starts_with(prefix))
}

fn vendor_arch(request: &Request) -> Option<u16> {
    vendor_part(request, "Arch")?.parse().ok()
}
