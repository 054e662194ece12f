//! `bootwright capture`.

use super::ask::{AdminArgs, show};
use crate::admin::{
    api::{PacketFilter, PacketStatus, PacketTime, RecordedPackets},
    client,
    routes::GetPackets,
};
use crate::attempt::PacketKind;
use crate::model::{Cidr, OwnAddress, text::counted};
use crate::proto::{
    capture::{CaptureInterface, PcapngWriter, RebuiltPacket, RebuiltTransport},
    ip::Payload,
};
use std::{
    collections::HashMap,
    error::Error,
    fs::OpenOptions,
    io::{self, IsTerminal, Write},
    net::SocketAddrV4,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// The most of a response that one segment stands for: what an IP packet holds, less its headers.
const SEGMENT_BYTES_MAX: usize = 65_495;
/// The name of an interface that a packet's own is not known of.
const UNKNOWN_INTERFACE: &str = "unknown";
/// What a reader should know of such a file.
const COMMENT: &str = "The flight recorder of bootwright: the DHCP, TFTP and HTTP packets of one machine's boots. Ethernet, \
                       IP, UDP and TCP headers were made anew around what was received and sent. Of a TFTP transfer there \
                       are the request, the agreed options, errors, the header of its first block and its first and last \
                       acknowledgements; of HTTP there are the heads, without the connection's beginning and end. What may \
                       be a token or a password is stars.";

/// Writes the packets of a machine's boots that the daemon keeps to a file for Wireshark, tshark or `bootwright replay`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bootwright capture r1u07                    writes r1u07.pcapng
  bootwright capture r1u07 -o - | tshark -r - -V
  bootwright capture 52:54:00:00:00:07 --attempt $(bootwright why r1u07 --json | jq -r '.[0].id')

The daemon keeps packets in memory, [recorder] in bootwright.toml says how many; a restart forgets them. The files that
went out are not in them, nor is what installers were answered: of HTTP there are the heads alone.")]
pub(super) struct CaptureArgs {
    /// The machine: its name, MAC, serial number or address
    #[arg(value_name = "MACHINE")]
    machine: String,
    /// Only one of its attempts, by the `id` that `bootwright why --json` shows
    #[arg(long, value_name = "ID")]
    attempt: Option<String>,
    /// The file, or `-` for standard output; MACHINE.pcapng where it is not named
    #[arg(short, long, value_name = "FILE", conflicts_with = "json")]
    output: Option<PathBuf>,
    #[command(flatten)]
    ask: AdminArgs,
}

/// Asks for the packets, and writes them.
pub(super) fn run(args: CaptureArgs) -> ExitCode {
    let CaptureArgs {
        machine,
        attempt,
        output,
        ask,
    } = args;
    let filter = PacketFilter {
        machine: vec![machine],
        attempt: attempt.into_iter().collect(),
    };
    if ask.is_json() {
        return ask.document::<GetPackets, _>(&filter, |_: &RecordedPackets| String::new());
    }
    super::finish(write(&ask, &filter, output))
}

fn write(ask: &AdminArgs, filter: &PacketFilter, output: Option<PathBuf>) -> Result<(), Box<dyn Error>> {
    let recorded = client::document::<GetPackets, RecordedPackets>(ask.socket(), filter)?;
    if recorded.packets.is_empty() {
        let machine = &recorded.machine;
        return Err(format!(
            "no packet of {machine} is kept: those of boots are, until newer ones take their room or the daemon is started \
             anew; `bootwright why {machine}` has what its boots came to"
        )
        .into());
    }
    let file = encode(&recorded)?;
    let output = output.unwrap_or_else(|| PathBuf::from(format!("{}.pcapng", recorded.machine.replace(':', "-"))));
    if output == Path::new("-") {
        let mut stdout = io::stdout().lock();
        let is_terminal = stdout.is_terminal();
        return print(&file, &mut stdout, is_terminal);
    }
    // What a network says is not for everybody on this host.
    let created = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&output);
    let written = created.and_then(|mut created| created.write_all(&file));
    written.map_err(|error| format!("{}: {error}", output.display()))?;
    let packets = counted(recorded.packets.len(), "packet");
    show(false, &(), |()| {
        format!("{}: {packets} of {}\n", output.display(), recorded.machine)
    })?;
    Ok(())
}

/// Writes a capture to standard output. What machines said would be commands to a terminal.
fn print(file: &[u8], output: &mut impl Write, is_terminal: bool) -> Result<(), Box<dyn Error>> {
    if is_terminal {
        return Err(
            "a capture is not for a terminal: name a file, or let a program read it: `-o - | tshark -r -`".into(),
        );
    }
    match output.write_all(file) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// The packets as pcapng.
fn encode(recorded: &RecordedPackets) -> Result<Vec<u8>, Box<dyn Error>> {
    let application = concat!("bootwright ", env!("CARGO_PKG_VERSION"));
    let mut writer = PcapngWriter::new(application, COMMENT);
    let mut interfaces: HashMap<&str, u32> = HashMap::new();
    for interface in &recorded.interfaces {
        let addresses = interface.addresses.iter().map(|(address, prefix)| OwnAddress {
            address: *address,
            cidr: Cidr::containing(*address, *prefix),
        });
        let described = CaptureInterface {
            name: interface.name.as_str().into(),
            addresses: addresses.collect(),
        };
        interfaces.insert(&interface.name, writer.interface(&described));
    }
    let mut streams = Streams::default();
    for packet in &recorded.packets {
        let name = packet.interface.as_deref().unwrap_or(UNKNOWN_INTERFACE);
        let interface = *interfaces.entry(name).or_insert_with(|| {
            writer.interface(&CaptureInterface {
                name: name.into(),
                addresses: Vec::new(),
            })
        });
        let bytes = bytes(&packet.bytes).ok_or("the daemon's answer has a packet that is not in hexadecimal digits")?;
        let (transport, length) = streams.of(packet, &bytes);
        let machine = packet.mac;
        let rebuilt = RebuiltPacket {
            at: since_1970(packet.at),
            macs: if packet.sent { (None, machine) } else { (machine, None) },
            from: packet.from,
            to: packet.to,
            transport,
            payload: Payload { bytes: &bytes, length },
        };
        let notes: Vec<&str> = packet.notes.iter().map(String::as_str).collect();
        writer.packet(interface, &rebuilt, &notes);
    }
    Ok(writer.finish(since_1970(recorded.asked)))
}

fn since_1970(time: PacketTime) -> Duration {
    Duration::new(time.s, time.ns)
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let digit = |byte: u8| char::from(byte).to_digit(16);
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}

/// The HTTP connections, as far as their numbers have come.
#[derive(Default)]
struct Streams(HashMap<(SocketAddrV4, SocketAddrV4), StreamPosition>);

/// Where a connection stands.
struct StreamPosition {
    client: u32,
    server: u32,
    /// Whether the last request asked for a head alone.
    is_head: bool,
}

impl Streams {
    /// What is around a packet, and how many bytes there were of it with its body, of which none is kept.
    fn of(&mut self, packet: &PacketStatus, bytes: &[u8]) -> (RebuiltTransport, usize) {
        if packet.kind != PacketKind::HttpHead {
            return (RebuiltTransport::Udp, packet.length);
        }
        let ends = if packet.sent {
            (packet.to, packet.from)
        } else {
            (packet.from, packet.to)
        };
        let position = self.0.entry(ends).or_insert(StreamPosition {
            client: 1,
            server: 1,
            is_head: false,
        });
        let StreamPosition {
            client,
            server,
            is_head,
        } = position;
        let (transport, length, own) = match packet.sent {
            false => {
                *is_head = bytes.starts_with(b"HEAD ");
                let length = with_body(packet, body_bytes(bytes));
                (RebuiltTransport::Tcp(*client, *server), length, client)
            }
            true => {
                let body = if *is_head { 0 } else { body_bytes(bytes) };
                (RebuiltTransport::Tcp(*server, *client), with_body(packet, body), server)
            }
        };
        *own = own.wrapping_add(u32::try_from(length).unwrap_or(u32::MAX));
        (transport, length)
    }
}

/// What a segment of a head and so many bytes of body holds.
fn with_body(packet: &PacketStatus, body: usize) -> usize {
    packet.length.saturating_add(body).min(SEGMENT_BYTES_MAX)
}

/// Bytes of the body behind a request's head or a response's; 0 where it does not say.
fn body_bytes(head: &[u8]) -> usize {
    let value = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(b"content-length:".len())?;
        name.eq_ignore_ascii_case(b"content-length:").then_some(value)
    });
    let value = value.and_then(|value| std::str::from_utf8(value).ok());
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::RecordedInterface;
    use crate::proto::capture::{self, SegmentOrDatagram};

    const REQUEST: &str = "GET /boot.ipxe HTTP/1.1\r\n\r\n";
    const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n";

    fn packet(s: u64, kind: PacketKind, sent: bool, payload: &str) -> PacketStatus {
        let client: SocketAddrV4 = "192.0.2.11:4711".parse().unwrap();
        let server: SocketAddrV4 = "192.0.2.1:80".parse().unwrap();
        let (from, to) = if sent { (server, client) } else { (client, server) };
        PacketStatus {
            at: PacketTime { s, ns: 5 },
            kind,
            sent,
            from,
            to,
            mac: Some("52:54:00:00:00:07".parse().unwrap()),
            interface: sent.then(|| "eno2".to_owned()),
            length: payload.len(),
            bytes: payload.bytes().map(|byte| format!("{byte:02x}")).collect(),
            notes: vec!["sent script who, 700 bytes".to_owned()],
        }
    }

    #[test]
    fn a_file_of_it_has_its_packets_their_times_and_our_addresses() {
        let http = PacketKind::HttpHead;
        let recorded = RecordedPackets {
            machine: "r1u07".to_owned(),
            asked: PacketTime {
                s: 1_764_000_100,
                ns: 0,
            },
            interfaces: vec![RecordedInterface {
                name: "eno2".to_owned(),
                addresses: vec![([192, 0, 2, 1].into(), 24)],
            }],
            packets: vec![
                packet(1_764_000_000, PacketKind::Dhcp, false, "discover"),
                packet(1_764_000_001, http, false, REQUEST),
                packet(1_764_000_001, http, true, RESPONSE),
                packet(1_764_000_002, http, false, REQUEST),
            ],
        };
        let file = encode(&recorded).unwrap();
        let read = capture::read(&file).unwrap();
        assert_eq!(read.end, Some(Duration::from_secs(1_764_000_100)));
        assert_eq!(read.own[0].cidr, "192.0.2.0/24".parse().unwrap());
        assert_eq!(read.frames[0].at, Duration::new(1_764_000_000, 5));
        let dissected: Vec<_> = read
            .frames
            .iter()
            .map(|frame| capture::dissect(frame).unwrap())
            .collect();
        assert_eq!(dissected[0].payload, SegmentOrDatagram::Udp(b"discover"));
        assert_eq!(dissected[0].source_mac, Some("52:54:00:00:00:07".parse().unwrap()));
        let numbers: Vec<(u32, usize)> = dissected[1..]
            .iter()
            .map(|packet| match packet.payload {
                SegmentOrDatagram::Tcp { sequence, bytes, .. } => (sequence, bytes.len()),
                SegmentOrDatagram::Udp(_) => panic!("{packet:?}"),
            })
            .collect();
        let second = 1 + u32::try_from(REQUEST.len()).unwrap();
        assert_eq!(
            numbers,
            [(1, REQUEST.len()), (1, RESPONSE.len()), (second, REQUEST.len())]
        );
    }

    #[test]
    fn what_is_asked_after_a_body_is_no_part_of_it() {
        let http = PacketKind::HttpHead;
        let posted = "POST /answer HTTP/1.1\r\nContent-Length: 500\r\n\r\n";
        let mut streams = Streams::default();
        let mut sequence = |packet: &PacketStatus, text: &str| match streams.of(packet, text.as_bytes()) {
            (RebuiltTransport::Tcp(own, _), _) => own,
            (RebuiltTransport::Udp, _) => panic!("{packet:?}"),
        };
        assert_eq!(sequence(&packet(1, http, false, posted), posted), 1);
        let next = u32::try_from(posted.len()).unwrap() + 501;
        assert_eq!(sequence(&packet(2, http, false, REQUEST), REQUEST), next);
    }

    #[test]
    fn the_body_that_follows_a_head_is_counted_by_its_length_alone() {
        assert_eq!(body_bytes(RESPONSE.as_bytes()), 700);
        assert_eq!(body_bytes(b"HTTP/1.1 200 OK\r\ncontent-length:7\r\n\r\n"), 7);
        assert_eq!(body_bytes(b"HTTP/1.1 304 Not Modified\r\n\r\n"), 0);
        assert_eq!(body_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: much\r\n\r\n"), 0);
    }

    #[test]
    fn what_machines_said_is_not_written_to_a_terminal() {
        let file = b"\x1b]0;renamed\x07";
        let mut output = Vec::new();
        assert!(print(file, &mut output, true).is_err());
        assert_eq!(output, b"");
        assert!(print(file, &mut output, false).is_ok());
        assert_eq!(output, file);
    }
}
