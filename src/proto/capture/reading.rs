//! Reading captures: pcapng, and pcap as libpcap wrote it before.
//!
//! The crate pcap-parser knows the blocks. What it gets wrong is done here: it reads the packets of a big-endian pcap
//! as little-endian ones, and takes no interface's time to be in powers of two.

use super::LinkLayer;
use crate::model::{Cidr, OwnAddress, limits::CAPTURE_INTERFACES_MAX};
use pcap_parser::{
    Block, InterfaceDescriptionBlock, InterfaceStatisticsBlock, parse_block_be, parse_block_le, parse_pcap_frame,
    parse_pcap_frame_be, parse_pcap_header, parse_sectionheaderblock,
};
use std::{fmt, net::Ipv4Addr, time::Duration};

/// How a section of pcapng begins.
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// The option of an interface with its addresses, and of its statistics with the end.
const INTERFACE_ADDRESS: u16 = 4;
const END_TIME: u16 = 3;
/// A resolution of powers of two has this bit.
const BINARY: u8 = 0x80;
const NANOSECONDS_PER_S: u64 = 1_000_000_000;
const NANOSECONDS_PER_US: u64 = 1_000;
/// The last second that is told, of the year 8999: dates are written with four digits, and what is reckoned from a time
/// has to have one, too.
const LAST_SECOND: u64 = 221_845_391_999;

/// Why a file is no capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureError {
    /// It begins like no capture.
    NoCapture,
    /// It makes no sense, from so many bytes on.
    Broken {
        /// Where.
        at: usize,
    },
    /// More interfaces than any machine has.
    TooManyInterfaces,
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaptureError::NoCapture => f.write_str("it is no capture: neither pcapng nor pcap begins so"),
            CaptureError::Broken { at } => {
                write!(f, "it is a broken capture: byte {at} and what follows make no sense")
            }
            CaptureError::TooManyInterfaces => {
                write!(f, "it is a capture of more than {CAPTURE_INTERFACES_MAX} interfaces")
            }
        }
    }
}

impl std::error::Error for CaptureError {}

/// A frame of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapturedFrame<'a> {
    /// When it was on the wire, since 1970.
    pub at: Duration,
    /// What it begins with.
    pub link: LinkLayer,
    /// Its bytes, as far as they were captured.
    pub bytes: &'a [u8],
}

/// A capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureFile<'a> {
    /// Its frames, in the order of the file.
    pub frames: Vec<CapturedFrame<'a>>,
    /// The addresses of the interfaces that it was taken at, where it says so.
    pub own: Vec<OwnAddress>,
    /// When it ended, where it says so.
    pub end: Option<Duration>,
    /// Whether it breaks off in the middle of something: who wrote it was killed, most likely.
    pub is_cut: bool,
}

/// An interface of a section.
#[derive(Clone, Copy)]
struct ReadInterface {
    link: LinkLayer,
    /// Bytes of its packets that were captured at most; 0 is all.
    captured_max: u32,
    resolution: u8,
    offset_s: i64,
}

/// Reads a capture.
///
/// # Errors
/// See [`CaptureError`]. One that only breaks off is read as far as it goes.
pub fn read(bytes: &[u8]) -> Result<CaptureFile<'_>, CaptureError> {
    match bytes.starts_with(&SECTION_HEADER) {
        true => pcapng(bytes),
        false => pcap(bytes),
    }
}

fn pcap(bytes: &[u8]) -> Result<CaptureFile<'_>, CaptureError> {
    let (mut rest, header) = parse_pcap_header(bytes).map_err(|_| CaptureError::NoCapture)?;
    // Above the number of the link are others: how many bytes of checksum each frame ends with.
    let link = LinkLayer::of(header.network.0 & 0xffff);
    let unit = match header.is_nanosecond_precision() {
        true => 1,
        false => NANOSECONDS_PER_US,
    };
    let mut file = CaptureFile::default();
    while !rest.is_empty() {
        let read = match header.is_bigendian() {
            true => parse_pcap_frame_be(rest),
            false => parse_pcap_frame(rest),
        };
        match read {
            Ok((after, frame)) => {
                rest = after;
                let fraction = Duration::from_nanos(u64::from(frame.ts_usec).saturating_mul(unit));
                file.frames.push(CapturedFrame {
                    at: Duration::from_secs(frame.ts_sec.into()).saturating_add(fraction),
                    link,
                    bytes: frame.data,
                });
            }
            Err(error) => {
                file.is_cut = broken(&error, bytes.len() - rest.len())?;
                break;
            }
        }
    }
    Ok(file)
}

fn pcapng(bytes: &[u8]) -> Result<CaptureFile<'_>, CaptureError> {
    let (mut file, mut interfaces) = (CaptureFile::default(), Vec::new());
    let (mut rest, mut is_big) = (bytes, false);
    while !rest.is_empty() {
        let read = match (rest.starts_with(&SECTION_HEADER), is_big) {
            (true, _) => parse_sectionheaderblock(rest).map(|(after, block)| (after, Block::SectionHeader(block))),
            (false, true) => parse_block_be(rest),
            (false, false) => parse_block_le(rest),
        };
        let (after, block) = match read {
            Ok(read) => read,
            // A block that is there whole lacks nothing: what it says makes no sense.
            Err(_) if is_whole(rest, is_big) => {
                return Err(CaptureError::Broken {
                    at: bytes.len() - rest.len(),
                });
            }
            Err(error) => {
                file.is_cut = broken(&error, bytes.len() - rest.len())?;
                break;
            }
        };
        rest = after;
        if let Block::SectionHeader(section) = &block {
            is_big = section.big_endian();
            interfaces.clear();
        }
        take(block, (&mut file, &mut interfaces), is_big)?;
    }
    Ok(file)
}

fn take<'a>(
    block: Block<'a>,
    (file, interfaces): (&mut CaptureFile<'a>, &mut Vec<ReadInterface>),
    is_big: bool,
) -> Result<(), CaptureError> {
    match block {
        Block::InterfaceDescription(read) => {
            if interfaces.len() >= CAPTURE_INTERFACES_MAX {
                return Err(CaptureError::TooManyInterfaces);
            }
            for own in addresses(&read) {
                if !file.own.contains(&own) && file.own.len() < CAPTURE_INTERFACES_MAX {
                    file.own.push(own);
                }
            }
            interfaces.push(ReadInterface {
                link: LinkLayer::of(read.linktype.0),
                captured_max: read.snaplen,
                resolution: read.if_tsresol,
                // The crate reads it as little-endian, whatever the section is.
                offset_s: if is_big {
                    read.if_tsoffset.swap_bytes()
                } else {
                    read.if_tsoffset
                },
            });
        }
        Block::EnhancedPacket(packet) => {
            let interface = usize::try_from(packet.if_id).ok().and_then(|id| interfaces.get(id));
            if let Some(interface) = interface {
                let captured = usize::try_from(packet.caplen).unwrap_or(usize::MAX);
                file.frames.push(CapturedFrame {
                    at: interface.time(packet.ts_high, packet.ts_low),
                    link: interface.link,
                    bytes: &packet.data[..packet.data.len().min(captured)],
                });
            }
        }
        Block::SimplePacket(packet) => {
            // It has no time of its own.
            if let Some(interface) = interfaces.first() {
                let captured = match interface.captured_max {
                    0 => packet.origlen,
                    max => packet.origlen.min(max),
                };
                let captured = usize::try_from(captured).unwrap_or(usize::MAX);
                file.frames.push(CapturedFrame {
                    at: file.frames.last().map_or(Duration::ZERO, |frame| frame.at),
                    link: interface.link,
                    bytes: &packet.data[..packet.data.len().min(captured)],
                });
            }
        }
        Block::InterfaceStatistics(statistics) => {
            let interface = usize::try_from(statistics.if_id).ok().and_then(|id| interfaces.get(id));
            let end = interface.and_then(|interface| end_of(*interface, &statistics, is_big));
            file.end = file.end.max(end);
        }
        _ => {}
    }
    Ok(())
}

/// When the capture at an interface ended, by its statistics.
fn end_of(interface: ReadInterface, statistics: &InterfaceStatisticsBlock<'_>, is_big: bool) -> Option<Duration> {
    let end = statistics.options.iter().find(|option| option.code.0 == END_TIME)?;
    let [a, b, c, d, e, f, g, h] = <[u8; 8]>::try_from(end.as_bytes().ok()?).ok()?;
    let word = |bytes| {
        if is_big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    };
    Some(interface.time(word([a, b, c, d]), word([e, f, g, h])))
}

impl ReadInterface {
    /// A time in its units.
    fn time(self, high: u32, low: u32) -> Duration {
        let units = (u64::from(high) << 32) | u64::from(low);
        let exponent = u32::from(self.resolution & !BINARY);
        let per_second = match self.resolution & BINARY {
            0 => 10_u64.checked_pow(exponent),
            _ => 1_u64.checked_shl(exponent),
        };
        // Finer than anything that is measured: such a file has no times.
        let Some(per_second) = per_second else {
            return Duration::ZERO;
        };
        let rest = u128::from(units % per_second) * u128::from(NANOSECONDS_PER_S) / u128::from(per_second);
        let seconds = (units / per_second).saturating_add_signed(self.offset_s);
        Duration::new(seconds.min(LAST_SECOND), u32::try_from(rest).unwrap_or(0))
    }
}

/// The addresses of an interface, each with its network's mask.
fn addresses(interface: &InterfaceDescriptionBlock<'_>) -> Vec<OwnAddress> {
    let options = interface.options.iter();
    let pairs = options.filter(|option| option.code.0 == INTERFACE_ADDRESS);
    let own = pairs.filter_map(|option| {
        let [a, b, c, d, mask @ ..] = <[u8; 8]>::try_from(option.as_bytes().ok()?).ok()?;
        let address = Ipv4Addr::new(a, b, c, d);
        let prefix = u8::try_from(u32::from_be_bytes(mask).leading_ones()).unwrap_or(32);
        Some(OwnAddress {
            address,
            cidr: Cidr::containing(address, prefix),
        })
    });
    own.take(CAPTURE_INTERFACES_MAX).collect()
}

/// Whether a file has all of the block that it goes on with, by the length that this says.
fn is_whole(rest: &[u8], is_big: bool) -> bool {
    let length = rest.get(4..8).and_then(|length| <[u8; 4]>::try_from(length).ok());
    let length = length.map(|length| {
        if is_big {
            u32::from_be_bytes(length)
        } else {
            u32::from_le_bytes(length)
        }
    });
    length.is_some_and(|length| usize::try_from(length).is_ok_and(|length| length <= rest.len()))
}

/// Whether a file only breaks off; an error where what is there makes no sense.
fn broken<E>(error: &pcap_parser::nom::Err<E>, at: usize) -> Result<bool, CaptureError> {
    match error {
        pcap_parser::nom::Err::Incomplete(_) => Ok(true),
        pcap_parser::nom::Err::Error(_) | pcap_parser::nom::Err::Failure(_) => Err(CaptureError::Broken { at }),
    }
}
