//! Boots as a capture has them, packet by packet.

use super::*;
use crate::attempt::{Progress, verdict::Verdict};
use crate::boot::event::ReasonCode;
use crate::boot::loader::Loaders;
use crate::boot::render::Templates;
use crate::boot::snapshot::{Host, Hosts};
use crate::fixtures;
use crate::model::{BootTarget, Dialect, MacAddr};
use crate::proto::{
    capture::{self, CaptureInterface, PcapngWriter, RebuiltPacket, RebuiltTransport},
    dhcp::client::{AcceptedOffer, ClientKind, ClientMessage},
    ip::Payload,
    tftp::wire::{self, ErrorCode, TransferOptions},
};

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 7]);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const RELAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
const BEGAN: u64 = 1_764_000_000;
/// Bytes of every loader.
const LOADER_BYTES: u64 = 1000;

/// One host, a loader for it, and its script.
fn room(target: BootTarget) -> Snapshot {
    let mut loaders = Loaders::default();
    loaders.add("/usr/lib/ipxe".into(), "snponly.efi".into());
    let mut templates = Templates::default();
    templates
        .add_script(&"who".parse().unwrap(), Dialect::Ipxe, "who.ipxe", "#!ipxe\n")
        .unwrap();
    let host = Host {
        macs: vec![MAC],
        address: Some(CLIENT),
        settings: fixtures::settings(target, "who"),
        ..fixtures::host("r1u07")
    };
    Snapshot {
        subnets: vec![fixtures::subnet("192.0.2.0/24")],
        hosts: Hosts::new(vec![host]),
        loaders,
        templates,
        ..fixtures::snapshot()
    }
}

/// A capture that is being made.
struct Tape {
    writer: PcapngWriter,
    interface: u32,
}

impl Tape {
    fn new() -> Tape {
        let mut writer = PcapngWriter::new("tests", "");
        let own = OwnAddress {
            address: fixtures::SERVER,
            cidr: "192.0.2.0/24".parse().unwrap(),
        };
        let interface = writer.interface(&CaptureInterface {
            name: "eno2".into(),
            addresses: vec![own],
        });
        Tape { writer, interface }
    }

    fn packet(
        mut self,
        ms: u64,
        from: (Ipv4Addr, u16),
        to: (Ipv4Addr, u16),
        transport: RebuiltTransport,
        bytes: &[u8],
    ) -> Tape {
        let packet = RebuiltPacket {
            at: Duration::from_secs(BEGAN) + Duration::from_millis(ms),
            macs: (Some(MAC), None),
            from: SocketAddrV4::new(from.0, from.1),
            to: SocketAddrV4::new(to.0, to.1),
            transport,
            payload: Payload::whole(bytes),
        };
        self.writer.packet(self.interface, &packet, &[]);
        self
    }

    fn dhcp(self, ms: u64, client: ClientKind, takes: Option<Ipv4Addr>) -> Tape {
        let message = ClientMessage {
            client,
            arch: 7,
            mac: MAC,
            xid: 7 + client as u32,
            uuid: None,
            relay: Some(RELAY),
            circuit_id: None,
            takes: takes.map(|address| AcceptedOffer {
                address,
                server: fixtures::SERVER,
            }),
        };
        self.packet(
            ms,
            (RELAY, 67),
            (fixtures::SERVER, 67),
            RebuiltTransport::Udp,
            &message.encode(),
        )
    }

    fn tftp(self, ms: u64, bytes: &[u8]) -> Tape {
        self.packet(ms, (CLIENT, 2070), (fixtures::SERVER, 69), RebuiltTransport::Udp, bytes)
    }

    fn http(self, ms: u64, sequence: u32, head: &str) -> Tape {
        let transport = RebuiltTransport::Tcp(sequence, 1);
        self.packet(ms, (CLIENT, 4711), (fixtures::SERVER, 80), transport, head.as_bytes())
    }

    fn http_reply(self, ms: u64, head: &str) -> Tape {
        let transport = RebuiltTransport::Tcp(1, 1);
        self.packet(ms, (fixtures::SERVER, 80), (CLIENT, 4711), transport, head.as_bytes())
    }

    /// What it comes to, after so many seconds in which nothing was heard.
    fn replayed(self, snapshot: &Snapshot, silence: u64) -> ReplayReport {
        let file = self.writer.finish(Duration::ZERO);
        let capture = capture::read(&file).unwrap();
        let settings = ReplaySettings {
            snapshot,
            server: server_in(snapshot, &capture).expect("it is in the capture"),
            mode: Mode::Dhcp,
            interface: "eno2".into(),
            armed: Vec::new(),
            length_of: &|_, _| Some(LOADER_BYTES),
        };
        replay(&settings, &capture, Duration::from_secs(silence))
    }
}

fn request(path: &str) -> Vec<u8> {
    let options = TransferOptions {
        blksize: Some(600),
        ..TransferOptions::default()
    };
    wire::read_request(path.as_bytes(), &options)
}

fn firmware() -> Tape {
    Tape::new()
        .dhcp(0, ClientKind::Firmware, None)
        .dhcp(4000, ClientKind::Firmware, Some(CLIENT))
}

fn asked(report: &ReplayReport) -> Vec<(&str, Option<&'static str>)> {
    let answers = report.answers.iter();
    answers
        .map(|answer| (&*answer.asked, answer.event.as_ref().map(|event| event.step.name())))
        .collect()
}

fn verdict(report: &ReplayReport) -> Option<String> {
    let (attempt, silence) = report.attempts.last()?;
    Verdict::of(attempt, *silence).map(|verdict| verdict.cause.into_owned())
}

#[test]
fn a_boot_is_answered_as_the_daemon_would_and_comes_as_far() {
    let script = "GET /boot.ipxe?mac=52-54-00-00-00-07 HTTP/1.1\r\nHost: a\r\n\r\n";
    let whole = firmware()
        .tftp(4100, &request("snponly.efi"))
        .tftp(4110, &wire::ack(0))
        .tftp(4120, &wire::ack(1))
        .tftp(4130, &wire::ack(2))
        .dhcp(9000, ClientKind::Ipxe, None)
        .dhcp(9100, ClientKind::Ipxe, Some(CLIENT))
        .http(9200, 1, script)
        .http_reply(9201, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
    let report = whole.replayed(&room(BootTarget::Live), 1);
    assert_eq!(
        asked(&report),
        [
            ("DHCPDISCOVER", Some("offered")),
            ("DHCPREQUEST", Some("acknowledged")),
            ("TFTP snponly.efi", Some("sent")),
            ("DHCPDISCOVER", Some("offered")),
            ("DHCPREQUEST", Some("acknowledged")),
            ("GET /boot.ipxe", Some("sent")),
        ]
    );
    assert_eq!(report.answers[5].is_same, Some(true));
    let [(attempt, _)] = &report.attempts[..] else {
        panic!("{report:?}")
    };
    assert_eq!((attempt.progress, attempt.began.0), (Progress::Script, BEGAN));
    assert_eq!(attempt.address, Some(CLIENT));
    assert_eq!(verdict(&report), None);
}

#[test]
fn a_transfer_is_what_its_client_makes_of_it() {
    let begun = || firmware().tftp(4100, &request("snponly.efi")).tftp(4110, &wire::ack(0));
    let room = room(BootTarget::Live);
    // Its first block never arrives.
    let silent = begun().replayed(&room, 60);
    assert_eq!(asked(&silent)[2], ("TFTP snponly.efi", Some("failed")));
    assert_eq!(verdict(&silent).as_deref(), Some("tftp_first_block_lost"));
    let stalled = begun().tftp(4120, &wire::ack(1)).replayed(&room, 60);
    assert_eq!(verdict(&stalled).as_deref(), Some("tftp_stalled"));
    // It is not known yet what becomes of it.
    let under_way = begun().replayed(&room, 1);
    assert_eq!(asked(&under_way)[2], ("TFTP snponly.efi", None));
    let error = wire::error(ErrorCode::TransferOptions, "User aborted the transfer");
    let probed = begun().tftp(4111, &error).replayed(&room, 1);
    assert_eq!(asked(&probed)[2], ("TFTP snponly.efi", Some("size_asked")));
    let aborted = begun().tftp(4120, &wire::ack(1)).tftp(4130, &error).replayed(&room, 1);
    let step = aborted.answers[2].event.as_ref().map(|event| event.step.clone());
    let Some(Step::Failed { reason, .. }) = step else {
        panic!("{aborted:?}")
    };
    assert_eq!(reason.code(), ReasonCode::ClientGaveUp);
}

#[test]
fn what_is_not_there_is_said_to_be_and_held_against_the_capture() {
    let missing = firmware()
        .tftp(4100, &request("nothing.efi"))
        .http(9000, 1, "GET /image/none/linux HTTP/1.1\r\n\r\n")
        .http_reply(9001, "HTTP/1.1 200 OK\r\n\r\n")
        .replayed(&room(BootTarget::Live), 5);
    let answers = asked(&missing);
    assert_eq!(answers[2], ("TFTP nothing.efi", Some("failed")));
    assert_eq!(answers[3], ("GET /image/none/linux", Some("failed")));
    assert_eq!(missing.answers[3].is_same, Some(false));
    assert_eq!(verdict(&missing).as_deref(), Some("loader_missing"));
}

#[test]
fn an_install_boots_its_disk_unless_it_is_armed() {
    let room = room(BootTarget::Install);
    let report = firmware().replayed(&room, 5);
    assert_eq!(verdict(&report).as_deref(), Some("not_armed"));
}

#[test]
fn our_own_answer_is_known_again_by_its_bytes() {
    let room = room(BootTarget::Live);
    let offer = firmware().replayed(&room, 0).answers[0].reply.clone().unwrap();
    let reply = |bytes: &[u8]| {
        let tape = Tape::new().dhcp(0, ClientKind::Firmware, None);
        let ends = ((fixtures::SERVER, 67), (RELAY, 67));
        tape.packet(1, ends.0, ends.1, RebuiltTransport::Udp, bytes)
            .replayed(&room, 0)
            .answers[0]
            .is_same
    };
    assert_eq!(reply(&offer), Some(true));
    let mut other = offer;
    other[19] ^= 1;
    assert_eq!(reply(&other), Some(false));
}

#[test]
fn a_head_in_pieces_twice_or_behind_a_body_is_one_request() {
    let room = room(BootTarget::Live);
    let head = "GET /boot.ipxe?mac=52-54-00-00-00-07 HTTP/1.1\r\n\r\n";
    let (first, second) = head.split_at(20);
    let next = 1 + u32::try_from(head.len()).unwrap();
    let pieces = Tape::new()
        .http(0, 1, first)
        .http(1, 1, first)
        .http(2, 21, second)
        .http(
            3,
            next,
            "POST /nothing HTTP/1.1\r\nContent-Length: 40\r\n\r\nGET /no HTTP/1.1\r\n\r\n",
        )
        .http(4, next + 66, "GET /no HTTP/1.1\r\n\r\n")
        .http(5, next + 86, head)
        // What is missing is not waited for.
        .http(6, next + 5000, head)
        .replayed(&room, 0);
    let paths: Vec<&str> = pieces.answers.iter().map(|answer| &*answer.asked).collect();
    assert_eq!(
        paths,
        ["GET /boot.ipxe", "POST /nothing", "GET /boot.ipxe", "GET /boot.ipxe"]
    );
}

#[test]
fn a_token_that_the_recorder_hid_is_no_wrong_one() {
    let hidden = Tape::new()
        .http(
            0,
            1,
            "GET /callback/r1u07/********************************/done HTTP/1.1\r\n\r\n",
        )
        .replayed(&room(BootTarget::Live), 0);
    assert_eq!(hidden.answers[0].event, None);
    assert!(hidden.attempts.is_empty());
}

#[test]
fn a_token_is_shown_of_no_capture_however_it_was_taken() {
    let token = "30313233343536373839616263646566";
    let path = format!("/callback/r1u07/{token}/done");
    let report = firmware()
        .tftp(4100, &request(&path))
        .http(9000, 1, &format!("POST {path} HTTP/1.1\r\n\r\n"))
        .replayed(&room(BootTarget::Live), 1);
    let asked: Vec<&str> = report.answers[2..].iter().map(|answer| &*answer.asked).collect();
    assert_eq!(asked.len(), 2);
    for asked in asked {
        assert!(
            asked.contains("/callback/r1u07/***") && !asked.contains(token),
            "{asked}"
        );
    }
}
