//! What a machine is told to load, and the boot fields of a reply for it.

use super::{RequestContext, classify};
use crate::boot::{
    event::{BootAction, BootDecision, BootFile, Stage},
    gate::Gate,
};
use crate::model::{Arch, Dialect};
use crate::proto::dhcp::{RawOption, Reply, ReplyOption};
use std::{net::Ipv4Addr, sync::Arc};

/// PXE's vendor options for "boot `file`, and ask no boot server": 43.6 = 8. Without it a BIOS that
/// was sent 60 goes looking for a boot server on port 4011.
const PXE_BOOT_THE_FILE: [u8; 4] = [6, 1, 8, 255];
/// PXE's vendor options for "boot the disk": ask no boot server (43.6 = 3), a menu of one item of type 0 (43.9), which is
/// taken at once (43.10). Without it UEFI drops an offer that has no file, and asks for a minute before it goes on.
const PXE_BOOT_THE_DISK: [u8; 21] = *b"\x06\x01\x03\x09\x07\0\0\x04disk\x0a\x06\0disk.\xff";
/// iPXE's own option for "no ProxyDHCP is coming": 175.176 = 1. Without it iPXE waits two seconds.
const IPXE_NO_PROXY: [u8; 3] = [0xb0, 1, 1];
/// The boot item of PXE's vendor options.
const PXE_BOOT_ITEM: u8 = 71;

/// What a machine is told to load.
pub(super) struct BootInstruction {
    /// For the event.
    pub decision: BootDecision,
    /// For the reply; `None` when the machine gets a lease and nothing else.
    pub fields: Option<BootFields>,
}

/// The part of a reply that makes firmware load something.
pub(super) struct BootFields {
    /// `None` for firmware that knows its files' names.
    file: Option<BootFile>,
    kind: BootFieldsKind,
}

/// What the loader's first reader needs beside the file. Each is one row of what firmware gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BootFieldsKind {
    /// 60 together with 43.6 = 8: without the one the other sends it to port 4011.
    BiosPxe,
    /// No 60: EDK2 then takes the address and the boot file of one offer as they are.
    UefiPxe,
    /// 60 = `HTTPClient`, or the firmware does not count the offer as HTTP boot.
    UefiHttp,
    /// Nothing beside the URL.
    BareIpxe,
    /// The same.
    Ipxe,
    /// Nothing but what a quirk adds.
    RaspberryPi,
    /// Nothing but the server's address.
    Pxelinux,
}

/// What the machine that asks is told to load.
pub(super) fn boot_instruction(context: &RequestContext<'_>) -> BootInstruction {
    let (boot, fields) = by_gate(context);
    let mismatch = context.mismatch.clone();
    BootInstruction {
        decision: BootDecision { boot, mismatch },
        fields,
    }
}

type ProxyOffered = (BootAction, Option<BootFields>);

fn by_gate(context: &RequestContext<'_>) -> ProxyOffered {
    match context.gate {
        Gate::Disk(why) => (BootAction::Disk { why }, None),
        Gate::LeaseOnly => (BootAction::LeaseOnly { near: context.near() }, None),
        Gate::Ignore => (BootAction::Ignore, None),
        Gate::Network { .. } | Gate::ShowIdentity => from_network(context),
    }
}

fn from_network(context: &RequestContext<'_>) -> ProxyOffered {
    let (server, ports) = (context.address, context.snapshot.ports);
    let fixed = |action: BootAction, kind| (action, Some(BootFields { file: None, kind }));
    match context.stage {
        Stage::BiosPxe => with_loader(context, BootFieldsKind::BiosPxe),
        Stage::UefiPxe => with_loader(context, BootFieldsKind::UefiPxe),
        Stage::UefiHttp => with_loader(context, BootFieldsKind::UefiHttp),
        Stage::BareIpxe => with_loader(context, BootFieldsKind::BareIpxe),
        Stage::Ipxe => {
            let file = BootFile::Script { server, ports };
            let fields = BootFields {
                file: Some(file.clone()),
                kind: BootFieldsKind::Ipxe,
            };
            (BootAction::Script { file }, Some(fields))
        }
        // Its ROM asks by TFTP for files with fixed names, which are no loader of ours.
        Stage::RaspberryPi => fixed(BootAction::RaspberryPi, BootFieldsKind::RaspberryPi),
        // It asks us by TFTP for names of its own (`script_path`), and needs to know who we are. A boot
        // file would be fetched for a kernel (SLOF), or its folder put in front of every name (U-Boot).
        Stage::Pxelinux => fixed(BootAction::Pxelinux { server }, BootFieldsKind::Pxelinux),
        // No DHCP request shows GRUB: it has its address from the firmware.
        Stage::System | Stage::Grub | Stage::Unknown => (BootAction::NotFirmware, None),
    }
}

fn with_loader(context: &RequestContext<'_>, kind: BootFieldsKind) -> ProxyOffered {
    let arch = classify::arch(context.request);
    let chosen = chosen_loader(context, arch).or_else(|| context.snapshot.loaders.for_arch(arch?));
    let Some(loader) = chosen.map(Arc::<str>::from) else {
        let claimed = context.request.archs.as_slice().into();
        return (
            BootAction::NoLoader {
                arch,
                option_93: claimed,
            },
            None,
        );
    };
    let url = |loader, is_http| BootFile::Url {
        loader,
        server: context.address,
        ports: context.snapshot.ports,
        is_http,
    };
    let file = match kind {
        BootFieldsKind::UefiHttp => url(loader, true),
        BootFieldsKind::BareIpxe => url(loader, false),
        BootFieldsKind::BiosPxe
        | BootFieldsKind::UefiPxe
        | BootFieldsKind::Ipxe
        | BootFieldsKind::RaspberryPi
        | BootFieldsKind::Pxelinux => BootFile::Name { loader },
    };
    let fields = BootFields {
        file: Some(file.clone()),
        kind,
    };
    (BootAction::Loader { file }, Some(fields))
}

/// The loader that is chosen for the machine by name: by a quirk, or else by the inventory.
fn chosen_loader<'a>(context: &'a RequestContext<'_>, arch: Option<Arch>) -> Option<&'a str> {
    let named = || context.snapshot.named_loader(context.who.settings(), Some(arch?));
    context.quirks.set.loader.as_deref().or_else(named)
}

/// The server that a machine is told in its reply, whatever else it is told; `None` for one that is to
/// leave the network alone. Firmware of s390 and POWER asks like any system in its DISCOVER, and gives up
/// an offer that names no server; to systems it means nothing.
pub(super) fn server(context: &RequestContext<'_>) -> Option<Ipv4Addr> {
    match context.gate {
        Gate::Network { .. } | Gate::ShowIdentity => Some(context.address),
        Gate::Disk(_) | Gate::LeaseOnly | Gate::Ignore => None,
    }
}

/// What ends a wait of the machine's firmware, whether there is a file for it or not: at each start, where it is to boot
/// its disk. Whom we give an address alone may get the rest from a ProxyDHCP server, and goes on waiting for it.
pub(super) fn ends_wait(context: &RequestContext<'_>) -> Vec<ReplyOption> {
    match (context.gate, context.stage) {
        (Gate::Network { .. } | Gate::ShowIdentity | Gate::Disk(_), Stage::Ipxe | Stage::BareIpxe) => {
            vec![ReplyOption::Ipxe(IPXE_NO_PROXY.to_vec())]
        }
        (Gate::Disk(_), Stage::UefiPxe) => vec![
            ReplyOption::VendorClass("PXEClient"),
            ReplyOption::VendorOptions(PXE_BOOT_THE_DISK.to_vec()),
        ],
        (_, _) => Vec::new(),
    }
}

/// Whether the machine is told to load another loader than iPXE, or needs none. What it says of itself is
/// known from such a request or not at all.
pub(super) fn loads_other_loader(context: &RequestContext<'_>) -> bool {
    match (context.gate, context.stage) {
        (Gate::Network { .. } | Gate::ShowIdentity, Stage::Pxelinux) => true,
        (
            Gate::Network { .. } | Gate::ShowIdentity,
            Stage::BiosPxe | Stage::UefiPxe | Stage::UefiHttp | Stage::BareIpxe,
        ) => chosen_loader(context, classify::arch(context.request))
            .and_then(|loader| context.snapshot.loaders.dialect_of(loader))
            .is_some_and(|dialect| dialect != Dialect::Ipxe),
        (_, _) => false,
    }
}

impl BootFields {
    /// Writes the fields into a reply on port 67; the boot file that it is to name.
    pub(super) fn write(self, context: &RequestContext<'_>, reply: &mut Reply) -> Option<BootFile> {
        // Not 0.0.0.0 even beside a URL: iPXE then goes looking for a boot server.
        reply.next_server = context.address;
        reply.options.extend(match self.kind {
            BootFieldsKind::BiosPxe => vec![
                ReplyOption::VendorClass("PXEClient"),
                ReplyOption::VendorOptions(PXE_BOOT_THE_FILE.to_vec()),
            ],
            BootFieldsKind::UefiHttp => vec![ReplyOption::VendorClass("HTTPClient")],
            BootFieldsKind::UefiPxe
            | BootFieldsKind::BareIpxe
            | BootFieldsKind::Ipxe
            | BootFieldsKind::RaspberryPi
            | BootFieldsKind::Pxelinux => Vec::new(),
        });
        if context.request.wants(66)
            && matches!(
                self.kind,
                BootFieldsKind::BiosPxe
                    | BootFieldsKind::UefiPxe
                    | BootFieldsKind::RaspberryPi
                    | BootFieldsKind::Pxelinux
            )
        {
            reply
                .options
                .push(ReplyOption::TftpServerName(context.address.to_string()));
        }
        add(context, reply);
        self.file
    }

    /// Writes the fields into a proxyDHCP offer. Every client wants 60 in it; beside 60 a BIOS wants
    /// 43.6 = 8 or goes to port 4011, and UEFI must not have 43 at all: many ignore what it says.
    pub(super) fn write_for_proxy(self, context: &RequestContext<'_>, reply: &mut Reply) -> Option<BootFile> {
        // Not 0.0.0.0: iPXE then makes the trip to port 4011.
        reply.next_server = context.address;
        reply.options.push(ReplyOption::VendorClass(self.vendor_class()));
        if self.kind == BootFieldsKind::BiosPxe {
            reply
                .options
                .push(ReplyOption::VendorOptions(PXE_BOOT_THE_FILE.to_vec()));
        }
        add(context, reply);
        self.file
    }

    fn vendor_class(&self) -> &'static str {
        match self.kind {
            BootFieldsKind::UefiHttp => "HTTPClient",
            BootFieldsKind::BiosPxe
            | BootFieldsKind::UefiPxe
            | BootFieldsKind::BareIpxe
            | BootFieldsKind::Ipxe
            | BootFieldsKind::Pxelinux
            | BootFieldsKind::RaspberryPi => "PXEClient",
        }
    }

    /// Writes the fields into a reply on port 4011, where 60 must be there and the boot item that
    /// the client picked comes back to it.
    pub(super) fn write_for_pxe_port(self, context: &RequestContext<'_>, reply: &mut Reply) -> Option<BootFile> {
        reply.next_server = context.address;
        reply.server_name = Some(context.address.to_string());
        reply.options.push(ReplyOption::VendorClass(self.vendor_class()));
        reply.options.extend(boot_item(context).map(ReplyOption::VendorOptions));
        if self.kind == BootFieldsKind::Ipxe {
            reply.options.push(ReplyOption::Ipxe(IPXE_NO_PROXY.to_vec()));
        }
        add(context, reply);
        self.file
    }
}

/// What quirks add, in place of what stands there with the same code.
fn add(context: &RequestContext<'_>, reply: &mut Reply) {
    let added = &context.quirks.set.add;
    let is_added = |code: u8| added.iter().any(|(added, _)| *added == code);
    reply.options.retain(|option| !is_added(option.code()));
    let quirks = added.iter().map(|(code, body)| {
        ReplyOption::Raw(RawOption {
            code: *code,
            body: body.clone(),
            always: true,
        })
    });
    reply.options.extend(quirks);
}

fn boot_item(context: &RequestContext<'_>) -> Option<Vec<u8>> {
    let item = context.request.boot_item.as_ref()?;
    let length = u8::try_from(item.len()).ok()?;
    let mut body = vec![PXE_BOOT_ITEM, length];
    body.extend_from_slice(item);
    body.push(255);
    Some(body)
}
