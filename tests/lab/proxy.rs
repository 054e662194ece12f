//! The guest beside another DHCP server: dnsmasq gives the addresses and knows nothing of booting.

use super::namespace::{Namespace, TaskTracker, Wire};
use super::room::Room;
use std::process::Stdio;

/// What dnsmasq gives away.
const POOL: &str = "192.0.2.60,192.0.2.69,255.255.255.0,1h";

/// dnsmasq in a namespace of its own on the wire; ended with its owner.
pub struct OtherServer {
    pub namespace: Namespace,
    _process: TaskTracker,
}

impl OtherServer {
    /// The address of [`OtherServer::start`]'s server.
    pub const ADDRESS: &str = "192.0.2.9";

    /// A server at [`OtherServer::ADDRESS`] with further options.
    pub fn start(wire: &Wire, options: &[&str]) -> OtherServer {
        let namespace = wire.client_at("02:00:c0:00:02:09", Self::ADDRESS);
        let mut command = namespace.command("dnsmasq");
        command.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--user=root",
        ]);
        command.args([
            "--pid-file",
            "--leasefile-ro",
            "--interface=eth0",
            "--dhcp-authoritative",
        ]);
        command.arg(format!("--dhcp-range={POOL}")).args(options);
        let process = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("package dnsmasq-base is installed");
        let server = OtherServer {
            namespace,
            _process: TaskTracker(process),
        };
        server.namespace.wait_for_udp(67, "dnsmasq");
        server
    }
}

#[test]
fn a_system_gets_its_address_from_the_other_server_and_nothing_from_the_guest() {
    let wire = Wire::new();
    let room = Room::new("");
    room.set("mode = \"dhcp\"", "mode = \"proxy\"");
    let daemon = super::daemon::Daemon::start(&wire, &room);
    let _other = OtherServer::start(&wire, &[]);
    let client = wire.client("02:bb:00:00:00:01");
    assert!(client.gets_lease(&[]));
    daemon.wait_for("the DISCOVER", |line| {
        line.is("02-bb-00-00-00-01", "ignored", &["proxy_nothing"])
    });
    let told = daemon.lines().into_iter().find(|line| line.event == "proxy_offered");
    assert!(told.is_none(), "{told:?}");
}

mod firmware {
    use super::super::{
        daemon::Daemon,
        firmware::{ANSWER, KERNEL, LOADER, OTHER_LOADERS, WORKER, boots_to_the_kernel, loads_another_loader},
        machine::{Firmware, Machine},
        namespace::Wire,
        room::Room,
    };
    use super::OtherServer;

    /// Boots the worker beside dnsmasq, until the installer's userland fetched its answer from the
    /// address that dnsmasq gave it.
    fn boot_to_the_answer(firmware: Firmware, stage: &str, loader: Option<&str>) {
        let wire = Wire::new();
        let room = Room::new(WORKER).with_debian();
        room.set("mode = \"dhcp\"", "mode = \"proxy\"");
        let daemon = Daemon::start(&wire, &room);
        // The installer stops to ask for what its DHCP server does not say.
        let printed = [
            "--dhcp-option=3,192.0.2.1",
            "--dhcp-option=6,192.0.2.1",
            "--domain=rack.example",
        ];
        let _other = OtherServer::start(&wire, &printed);
        let _machine = Machine::power_on(&wire, firmware, "52:54:00:00:00:07");
        daemon.wait_for_within("what to boot", LOADER, |line| {
            line.is("r1u07", "proxy_offered", &[]) && line.stage == stage
        });
        boots_to_the_kernel(&daemon, "r1u07", loader);
        daemon.wait_for_within("the answer", ANSWER, |line| {
            line.is("r1u07", "sent", &["answer preseed.cfg"])
        });
        let gave = daemon.lines().into_iter().find(|line| line.event == "offered");
        assert!(gave.is_none(), "a guest offered an address: {gave:?}");
    }

    #[test]
    fn seabios_with_its_own_ipxe_boots_beside_another_server() {
        boot_to_the_answer(Firmware::SeaBios, "ipxe", None);
    }

    #[test]
    fn ovmf_pxe_boots_beside_another_server() {
        boot_to_the_answer(Firmware::OvmfPxe, "uefi-pxe", Some("snponly.efi"));
    }

    #[test]
    fn ovmf_http_boot_boots_beside_another_server() {
        boot_to_the_answer(Firmware::OvmfHttp, "uefi-http", Some("snponly.efi"));
    }

    #[test]
    fn pxelinux_that_has_tftp_alone_boots_beside_another_server() {
        let wire = Wire::new();
        let inventory = OTHER_LOADERS.replace("lpxelinux.0", "pxelinux.0");
        let room = Room::new(&inventory).with_debian().with_other_loaders();
        room.set("mode = \"dhcp\"", "mode = \"proxy\"");
        let daemon = Daemon::start(&wire, &room);
        let _other = OtherServer::start(&wire, &[]);
        let machine = Machine::power_on(&wire, Firmware::SeaBiosPxe, "52:54:00:00:00:07");
        loads_another_loader(&daemon, "bios-pxe", ["pxelinux.0", "ldlinux.c32"], "pxelinux");
        machine.wait_for(
            "Kernel command line: BOOT_IMAGE=tftp://192.0.2.1/image/debian-12/linux",
            KERNEL,
        );
        machine.wait_for(" lab=nocloud;s=$r1u07|#{1} ", KERNEL);
    }
}
