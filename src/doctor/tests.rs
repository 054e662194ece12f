//! What is green, amber and red, by tables.

use super::*;
use crate::boot::event::ReasonCode;
use crate::model::{Arch, Cidr, Mode, OwnAddress, Uplink, WallTime};
use std::net::Ipv4Addr;

const NOW: u64 = 1_796_000_000;

fn interface(change: impl FnOnce(&mut InterfaceSeen)) -> InterfaceFacts {
    let address = Ipv4Addr::new(192, 0, 2, 1);
    let mut seen = InterfaceSeen {
        is_on: true,
        has_link: true,
        mtu: Some(1500),
        addresses: vec![OwnAddress {
            address,
            cidr: Cidr::containing(address, 24),
        }],
        uplink: None,
    };
    change(&mut seen);
    InterfaceFacts {
        name: "eno2".to_owned(),
        mode: Mode::Dhcp,
        allow_default_route: false,
        seen: Some(seen),
        similar: None,
    }
}

fn disk(free: u64) -> DiskFacts {
    DiskFacts {
        purpose: "the state",
        folder: "/var/lib/bootwright".to_owned(),
        is_read_only: false,
        free,
        inodes_free: Some(10_000),
        needed: 100,
        wanted: 200,
    }
}

/// A machine on which all is well.
fn healthy() -> DoctorFacts {
    DoctorFacts {
        interfaces: vec![interface(|_| {})],
        subnets: Some(vec![Cidr::containing(Ipv4Addr::new(192, 0, 2, 0), 24)]),
        ports: vec![port(PortState::Free), port(PortState::Ours)],
        tftp_port: 69,
        http_port: 80,
        firewall: Some(firewall::Ruleset::default()),
        other_servers: Some(vec![("eno2".to_owned(), Vec::new())]),
        images: Some(ImageFacts {
            sound: 3,
            read: 3,
            unserved: Vec::new(),
        }),
        clock: Some(clock(NOW)),
        disks: vec![disk(1000)],
        limits: KernelLimits {
            open_files: Some(65_536),
            is_root: true,
            ..KernelLimits::default()
        },
        hosts: 100,
        relays: vec![relay(Some("198.51.100.0/24"))],
        ..DoctorFacts::default()
    }
}

fn port(state: PortState) -> PortFacts {
    PortFacts {
        interface: "eno2".to_owned(),
        protocol: "udp",
        port: 67,
        purpose: "DHCP",
        is_dispensable: false,
        state,
    }
}

fn held_by(name: &str) -> PortState {
    PortState::Held(vec![PortHolder {
        name: name.to_owned(),
        pid: 812,
    }])
}

fn clock(now: u64) -> ClockFacts {
    ClockFacts {
        now: WallTime(now),
        is_synchronised: Some(true),
        newest_file: Some(WallTime(NOW - 10)),
    }
}

fn relay(subnet: Option<&str>) -> RelayFacts {
    let address = Some(Ipv4Addr::new(198, 51, 100, 1));
    RelayFacts {
        address,
        link: address,
        subnet: subnet.map(str::to_owned),
        machines: 1,
        ..RelayFacts::default()
    }
}

fn loader(state: LoaderState) -> LoaderFacts {
    LoaderFacts {
        arch: Arch::from_option_93(7).unwrap(),
        file: Some("shimx64.efi".to_owned()),
        state,
    }
}

fn signed(cas: &[signature::MicrosoftCa]) -> LoaderState {
    let signers = cas.iter().map(|ca| signature::Signer {
        issuer: "Microsoft".to_owned(),
        ca: Some(*ca),
        until: None,
    });
    LoaderState::Efi(signature::Signatures {
        signers: signers.collect(),
        ..signature::Signatures::default()
    })
}

/// What is not green.
fn lights(facts: &DoctorFacts) -> Vec<(CheckName, Light)> {
    let found = judge(facts).into_iter().filter(|one| one.light != Light::Green);
    found.map(|one| (one.check, one.light)).collect()
}

#[test]
fn where_all_is_well_all_is_green_and_nothing_needs_a_remedy() {
    let found = judge(&healthy());
    assert!(found.len() > 12, "{found:#?}");
    assert!(
        found
            .iter()
            .all(|one| one.light == Light::Green && one.remedy.is_none()),
        "{found:#?}"
    );
    // Nothing is judged that was not seen.
    let unseen = judge(&DoctorFacts::default());
    assert!(unseen.iter().all(|one| one.light == Light::Green), "{unseen:#?}");
}

#[test]
fn each_fault_of_an_interface_has_its_light() {
    type SeenChange = fn(&mut InterfaceSeen);
    let table: [(SeenChange, CheckName, Light); 8] = [
        (|seen| seen.is_on = false, CheckName::Interface, Light::Red),
        (|seen| seen.has_link = false, CheckName::Interface, Light::Red),
        (|seen| seen.addresses.clear(), CheckName::Address, Light::Red),
        (
            |seen| seen.addresses[0].address = Ipv4Addr::new(203, 0, 113, 1),
            CheckName::Address,
            Light::Amber,
        ),
        (
            |seen| seen.addresses[0].cidr = Cidr::containing(Ipv4Addr::new(192, 0, 2, 1), 25),
            CheckName::Address,
            Light::Amber,
        ),
        (|seen| seen.mtu = Some(1400), CheckName::Mtu, Light::Red),
        (
            |seen| seen.uplink = Some(Uplink::DefaultRoute),
            CheckName::Uplink,
            Light::Red,
        ),
        (
            |seen| seen.uplink = Some(Uplink::Wireless),
            CheckName::Uplink,
            Light::Red,
        ),
    ];
    for (change, check, light) in table {
        let facts = DoctorFacts {
            interfaces: vec![interface(change)],
            ..healthy()
        };
        assert_eq!(lights(&facts), [(check, light)]);
    }
    for change in [
        (|seen: &mut InterfaceSeen| seen.mtu = Some(9000)) as SeenChange,
        |seen| seen.mtu = None,
    ] {
        let facts = DoctorFacts {
            interfaces: vec![interface(change)],
            ..healthy()
        };
        assert_eq!(lights(&facts), []);
    }
    let meant = DoctorFacts {
        interfaces: vec![InterfaceFacts {
            allow_default_route: true,
            ..interface(|seen| seen.uplink = Some(Uplink::DefaultRoute))
        }],
        ..healthy()
    };
    assert_eq!(lights(&meant), []);
    let missing = DoctorFacts {
        interfaces: vec![InterfaceFacts {
            seen: None,
            similar: Some("eno22".to_owned()),
            ..interface(|_| {})
        }],
        ..healthy()
    };
    assert_eq!(lights(&missing), [(CheckName::Interface, Light::Red)]);
}

#[test]
fn who_has_a_port_is_named_with_what_to_do() {
    for (holder, remedy) in [
        ("dnsmasq", "disable --now dnsmasq"),
        ("in.tftpd", "tftpd-hpa"),
        ("nginx", "listen"),
        ("systemd-resolve", "resolved.conf"),
        ("strange", "ss -lnpu"),
    ] {
        let facts = DoctorFacts {
            ports: vec![port(held_by(holder))],
            ..healthy()
        };
        let found = judge(&facts);
        assert_eq!((found[0].check, found[0].light), (CheckName::Port, Light::Red));
        assert!(
            found[0].sentence.contains(holder) && found[0].sentence.contains("812"),
            "{:?}",
            found[0]
        );
        assert!(found[0].remedy.as_ref().unwrap().contains(remedy), "{:?}", found[0]);
    }
    let maybe = DoctorFacts {
        ports: vec![port(PortState::MaybeHeld(Vec::new()))],
        ..healthy()
    };
    assert_eq!(lights(&maybe), [(CheckName::Port, Light::Amber)]);
}

#[test]
fn another_dhcp_server_is_wrong_beside_ours_and_needed_beside_a_guest() {
    let server = |boots| DhcpServerFacts {
        address: Ipv4Addr::new(192, 0, 2, 9),
        boots,
    };
    for (mode, servers, expected) in [
        (Mode::Dhcp, vec![server(false)], Some(Light::Red)),
        (Mode::Proxy, vec![server(false)], None),
        (Mode::Proxy, vec![server(true)], Some(Light::Amber)),
        (Mode::Proxy, Vec::new(), Some(Light::Red)),
    ] {
        let facts = DoctorFacts {
            interfaces: vec![InterfaceFacts {
                mode,
                ..interface(|_| {})
            }],
            other_servers: Some(vec![("eno2".to_owned(), servers)]),
            ..healthy()
        };
        let expected: Vec<_> = expected
            .map(|light| (CheckName::OtherDhcpServer, light))
            .into_iter()
            .collect();
        assert_eq!(lights(&facts), expected, "{mode}");
    }
}

#[test]
fn a_loader_is_judged_by_who_signed_it() {
    use signature::MicrosoftCa::{Uefi2011, Uefi2023};
    for (state, expected) in [
        (LoaderState::Missing, Some((CheckName::Loader, Light::Red))),
        (
            LoaderState::Unreadable("denied".to_owned()),
            Some((CheckName::Loader, Light::Red)),
        ),
        (LoaderState::Unsignable, None),
        (signed(&[]), None),
        (signed(&[Uefi2011, Uefi2023]), None),
        (signed(&[Uefi2011]), Some((CheckName::Signature, Light::Amber))),
        (signed(&[Uefi2023]), Some((CheckName::Signature, Light::Amber))),
    ] {
        let facts = DoctorFacts {
            loaders: vec![loader(state)],
            ..healthy()
        };
        assert_eq!(
            lights(&facts),
            expected.into_iter().collect::<Vec<_>>(),
            "{:?}",
            facts.loaders
        );
    }
}

#[test]
fn an_image_is_red_when_it_is_not_served_and_amber_while_it_is_verified() {
    for (why, light) in [(Some("its bytes differ".to_owned()), Light::Red), (None, Light::Amber)] {
        let facts = DoctorFacts {
            images: Some(ImageFacts {
                sound: 2,
                read: 2,
                unserved: vec![("debian/linux".to_owned(), why)],
            }),
            ..healthy()
        };
        assert_eq!(lights(&facts), [(CheckName::Image, light)]);
    }
}

#[test]
fn a_clock_is_judged_by_its_date_and_by_what_keeps_it() {
    let judged = |clock: ClockFacts| {
        lights(&DoctorFacts {
            clock: Some(clock),
            ..healthy()
        })
    };
    assert_eq!(judged(clock(1_000_000)), [(CheckName::Clock, Light::Red)]);
    assert_eq!(
        judged(clock(NOW - 1000)),
        [(CheckName::Clock, Light::Red)],
        "a file is newer"
    );
    assert_eq!(judged(clock(NOW - 100)), []);
    let alone = ClockFacts {
        is_synchronised: Some(false),
        ..clock(NOW)
    };
    assert_eq!(judged(alone), [(CheckName::Clock, Light::Amber)]);
    let unknown = ClockFacts {
        is_synchronised: None,
        ..clock(NOW)
    };
    assert_eq!(judged(unknown), []);
}

#[test]
fn a_disk_is_red_when_leases_find_no_room() {
    let judged = |disk: DiskFacts| {
        lights(&DoctorFacts {
            disks: vec![disk],
            ..healthy()
        })
    };
    assert_eq!(judged(disk(99)), [(CheckName::DiskSpace, Light::Red)]);
    assert_eq!(judged(disk(150)), [(CheckName::DiskSpace, Light::Amber)]);
    assert_eq!(judged(disk(200)), []);
    let full_of_files = DiskFacts {
        inodes_free: Some(0),
        ..disk(1000)
    };
    assert_eq!(judged(full_of_files), [(CheckName::DiskSpace, Light::Red)]);
    let read_only = DiskFacts {
        is_read_only: true,
        ..disk(1000)
    };
    assert_eq!(judged(read_only), [(CheckName::DiskSpace, Light::Red)]);
}

#[test]
fn the_kernels_limits_are_held_against_the_size_of_the_fleet() {
    let limits = || KernelLimits {
        open_files: Some(1024),
        open_files_all: Some(100_000),
        rmem_max: Some(212_992),
        is_root: false,
        neighbours_max: Some(1024),
        conntrack_max: Some(65_536),
    };
    let judged = |hosts, limits| {
        lights(&DoctorFacts {
            hosts,
            limits,
            ..healthy()
        })
    };
    assert_eq!(judged(100, limits()), []);
    let all = [
        CheckName::OpenFiles,
        CheckName::ReceiveBuffer,
        CheckName::Neighbours,
        CheckName::Conntrack,
    ];
    assert_eq!(judged(10_000, limits()), all.map(|check| (check, Light::Amber)));
    let raised = KernelLimits {
        open_files: Some(65_536),
        is_root: true,
        neighbours_max: Some(32_768),
        conntrack_max: None,
        ..limits()
    };
    assert_eq!(judged(10_000, raised), []);
}

#[test]
fn a_port_that_machines_boot_without_is_amber_where_another_program_has_it() {
    let syslog = |state| DoctorFacts {
        ports: vec![PortFacts {
            port: 514,
            is_dispensable: true,
            ..port(state)
        }],
        ..healthy()
    };
    assert_eq!(lights(&syslog(PortState::Ours)), []);
    let found = judge(&syslog(held_by("rsyslogd")));
    assert_eq!(found[0].light, Light::Amber);
    assert!(found[0].remedy.as_ref().unwrap().contains("imudp"), "{found:?}");
    // Linux gives a port on one interface to nobody while another has it at any address, be it 127.0.0.1.
    for program in ["rsyslogd", "syslog-ng"] {
        let found = judge(&syslog(held_by(program)));
        let remedy = found[0].remedy.as_ref().unwrap();
        assert!(
            remedy.contains("another port (") && remedy.contains("restart bootwright"),
            "{remedy}"
        );
    }
}

#[test]
fn relays_and_switches_that_tell_too_little_are_named() {
    let facts = DoctorFacts {
        relays: vec![relay(None)],
        ..healthy()
    };
    assert_eq!(lights(&facts), [(CheckName::Relay, Light::Amber)]);
    // Beside another DHCP server its machines are told what to boot without any subnet.
    let mut proxied = facts;
    proxied.relays[0].is_proxied = true;
    assert_eq!(lights(&proxied), []);
    let switch = |ports: &[&str], names_a_vlan, machines| DoctorFacts {
        relays: vec![RelayFacts {
            ports: ports.iter().map(|port| (*port).to_owned()).collect(),
            names_a_vlan,
            machines,
            is_believed: true,
            ..relay(Some("198.51.100.0/24"))
        }],
        ..healthy()
    };
    let amber = [(CheckName::SwitchPort, Light::Amber)];
    assert_eq!(lights(&switch(&["vlan10"], true, 1)), amber);
    assert_eq!(lights(&switch(&["vlan10", "vlan20"], true, 8)), amber);
    assert_eq!(lights(&switch(&["back0"], false, 3)), amber);
    assert_eq!(lights(&switch(&[], false, 1)), amber);
    assert_eq!(lights(&switch(&["swp1"], false, 2)), []);
    assert_eq!(lights(&switch(&["swp1", "swp2"], false, 8)), []);
    let mut unbelieved = switch(&["vlan10"], true, 8);
    unbelieved.relays[0].is_believed = false;
    assert_eq!(lights(&unbelieved), []);
    let fault = |code: ReasonCode| BootFault {
        machine: "r1u07".to_owned(),
        code: code.into(),
        sentence: "it says vlan10".to_owned(),
    };
    for (code, check) in [
        (ReasonCode::OtherPortVlan, CheckName::SwitchPort),
        (ReasonCode::NoSubnetHere, CheckName::Relay),
    ] {
        let facts = DoctorFacts {
            relays: Vec::new(),
            faults: vec![fault(code)],
            ..healthy()
        };
        assert_eq!(lights(&facts), [(check, Light::Amber)]);
    }
}

#[test]
fn a_relay_that_is_well_hides_no_machine_that_is_in_no_subnet() {
    let with = |relays: Vec<RelayFacts>, code: ReasonCode| DoctorFacts {
        relays,
        faults: vec![BootFault {
            machine: "r1u07".to_owned(),
            code: code.into(),
            sentence: "no subnet of the inventory holds 192.0.2.1".to_owned(),
        }],
        ..healthy()
    };
    let well = || relay(Some("198.51.100.0/24"));
    // A switch on our own wire that writes into what passes it names no network.
    let switch = || RelayFacts {
        address: None,
        link: None,
        ..relay(None)
    };
    let amber = [(CheckName::Relay, Light::Amber)];
    for code in [ReasonCode::SubnetUnserved, ReasonCode::NoSubnetHere] {
        for relays in [Vec::new(), vec![well()], vec![well(), switch()]] {
            assert_eq!(lights(&with(relays, code)), amber, "{}", code.name());
        }
    }
    // That of a relay which is named already is not said twice.
    assert_eq!(lights(&with(vec![relay(None)], ReasonCode::SubnetUnserved)), amber);
}

#[test]
fn refused_files_and_a_daemon_that_cant_write_are_red() {
    let refused = DoctorFacts {
        files: FilesFacts {
            errors: vec![("inventory.toml:3:1: no".to_owned(), None)],
            warnings: 0,
        },
        ..healthy()
    };
    assert_eq!(lights(&refused), [(CheckName::Files, Light::Red)]);
    let daemon = |unwritable: Option<&str>, has_refused| DoctorFacts {
        daemon: Some(DaemonFacts {
            pid: 812,
            version: "0.1.0".to_owned(),
            generation: 3,
            has_refused,
            unwritable: unwritable.map(str::to_owned),
            restart_needed_for: Vec::new(),
        }),
        ..healthy()
    };
    assert_eq!(lights(&daemon(None, false)), []);
    assert_eq!(lights(&daemon(Some("full"), false)), [(CheckName::Daemon, Light::Red)]);
    assert_eq!(lights(&daemon(None, true)), [(CheckName::Daemon, Light::Amber)]);
}
