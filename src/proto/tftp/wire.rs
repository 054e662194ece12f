//! TFTP packets: lenient reading, strict writing. [`parse`] reads as a server, [`parse_reply`] as a
//! client.

use crate::model::limits::{REQUEST_PATH_BYTES_MAX, TFTP_REQUEST_BYTES_MAX};
use std::fmt;

const RRQ: u16 = 1;
const WRQ: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;

/// Bytes in front of a DATA packet's data: opcode and block number.
pub const DATA_HEADER_BYTES: usize = 4;

/// RFC 1350's block size.
pub const BLOCK_BYTES_DEFAULT: u16 = 512;

/// A packet as a server reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A request to read a file.
    Read(ReadRequest),
    /// A request to write one; this server never lets anybody.
    Write,
    /// A block, as only servers send.
    Data,
    /// The number of the last block that came in order; 0 answers an OACK.
    Ack(u16),
    /// The other side gave up, or never wanted the file.
    Error {
        /// The code (RFC 1350 and 2347).
        code: u16,
        /// The client's words, raw.
        message: Vec<u8>,
    },
    /// Options agreed, as only servers send.
    OptionAck,
}

/// A read request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The file name as the client sent it.
    pub path: Vec<u8>,
    /// How the bytes are to be sent.
    pub mode: TransferMode,
    /// What the client asks for beyond RFC 1350.
    pub options: TransferOptions,
}

/// The transfer mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferMode {
    /// Bytes as they are.
    Octet,
    /// A text, with its line ends rewritten.
    Netascii,
    /// `mail`, or a word that no RFC defines.
    Other,
}

/// The options of a request that are known and make sense; the rest is left out, as RFC 2347 wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferOptions {
    /// Bytes in a block (RFC 2348).
    pub blksize: Option<u16>,
    /// Whether the client wants to know the size (RFC 2349).
    pub tsize: bool,
    /// Seconds before a packet is sent again (RFC 2349).
    pub timeout_s: Option<u8>,
    /// Blocks sent before an acknowledgement is awaited (RFC 7440).
    pub windowsize: Option<u16>,
}

/// Options as agreed: only what was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// Bytes in a block.
    pub blksize: Option<u16>,
    /// Bytes of the file.
    pub tsize: Option<u64>,
    /// Seconds before a packet is sent again.
    pub timeout_s: Option<u8>,
    /// Blocks in a window.
    pub windowsize: Option<u16>,
}

/// A packet as a client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerPacket<'b> {
    /// A block of the file.
    Data {
        /// Its number on the wire.
        number: u16,
        /// Its bytes.
        data: &'b [u8],
    },
    /// Options agreed.
    OptionAck {
        /// Those that a client can have asked for.
        agreed: Agreed,
        /// Something else stands among them: an unknown name, or a value that makes no sense.
        foreign: bool,
    },
    /// The server gave up, or never had the file.
    Error {
        /// The code (RFC 1350 and 2347).
        code: u16,
        /// The server's words, raw.
        message: &'b [u8],
    },
}

/// Why bytes are not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedPacket {
    /// Too short for its opcode.
    Short,
    /// An opcode that no RFC defines, or that the other side has no business to send.
    Opcode,
    /// A request longer than RFC 2347 allows.
    Long,
    /// A request whose file name or mode does not end.
    Unterminated,
    /// A request without a file name.
    NoName,
}

impl fmt::Display for MalformedPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MalformedPacket::Short => "too short",
            MalformedPacket::Opcode => "unexpected opcode",
            MalformedPacket::Long => "request too long",
            MalformedPacket::Unterminated => "file name or mode has no end",
            MalformedPacket::NoName => "no file name",
        })
    }
}

/// An error's code (RFC 1350, 2347).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// 0: see the message.
    Undefined,
    /// 1: no such file.
    NotFound,
    /// 2: not allowed.
    AccessViolation,
    /// 4: not an operation we do.
    IllegalOperation,
    /// 5: not your transfer.
    UnknownTransfer,
    /// 8: the options do not suit (RFC 2347).
    TransferOptions,
}

impl ErrorCode {
    fn number(self) -> u16 {
        match self {
            ErrorCode::Undefined => 0,
            ErrorCode::NotFound => 1,
            ErrorCode::AccessViolation => 2,
            ErrorCode::IllegalOperation => 4,
            ErrorCode::UnknownTransfer => 5,
            ErrorCode::TransferOptions => 8,
        }
    }
}

/// Reads one packet.
pub fn parse(bytes: &[u8]) -> Result<Packet, MalformedPacket> {
    let (opcode, rest) = word(bytes)?;
    match opcode {
        RRQ => request(rest).map(Packet::Read),
        WRQ => Ok(Packet::Write),
        DATA => word(rest).map(|_| Packet::Data),
        ACK => word(rest).map(|(block, _)| Packet::Ack(block)),
        ERROR => word(rest).map(|(code, message)| Packet::Error {
            code,
            message: until_nul(message).to_vec(),
        }),
        OACK => Ok(Packet::OptionAck),
        _ => Err(MalformedPacket::Opcode),
    }
}

/// Reads one packet of a server.
pub fn parse_reply(bytes: &[u8]) -> Result<ServerPacket<'_>, MalformedPacket> {
    let (opcode, rest) = word(bytes)?;
    match opcode {
        DATA => word(rest).map(|(number, data)| ServerPacket::Data { number, data }),
        OACK => Ok(agreed(rest)),
        ERROR => word(rest).map(|(code, message)| ServerPacket::Error {
            code,
            message: until_nul(message),
        }),
        _ => Err(MalformedPacket::Opcode),
    }
}

fn until_nul(message: &[u8]) -> &[u8] {
    message.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn word(bytes: &[u8]) -> Result<(u16, &[u8]), MalformedPacket> {
    match bytes {
        [high, low, rest @ ..] => Ok((u16::from_be_bytes([*high, *low]), rest)),
        _ => Err(MalformedPacket::Short),
    }
}

fn request(bytes: &[u8]) -> Result<ReadRequest, MalformedPacket> {
    if bytes.len() + 2 > TFTP_REQUEST_BYTES_MAX {
        return Err(MalformedPacket::Long);
    }
    let (path, rest) = text(bytes).ok_or(MalformedPacket::Unterminated)?;
    let (mode, rest) = text(rest).ok_or(MalformedPacket::Unterminated)?;
    if path.is_empty() || path.len() > REQUEST_PATH_BYTES_MAX {
        return Err(MalformedPacket::NoName);
    }
    Ok(ReadRequest {
        path: path.to_vec(),
        mode: if mode.eq_ignore_ascii_case(b"octet") {
            TransferMode::Octet
        } else if mode.eq_ignore_ascii_case(b"netascii") {
            TransferMode::Netascii
        } else {
            TransferMode::Other
        },
        options: options(rest),
    })
}

/// A NUL-terminated text, and what follows it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// Name and value pairs until one does not end, for firmware pads requests with zeros; `None` for
/// the value of one that is no number.
fn pairs(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], Option<u64>)> {
    std::iter::from_fn(move || {
        let (name, rest) = text(bytes)?;
        let (value, rest) = text(rest)?;
        bytes = rest;
        let number = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
        Some((name, number))
    })
}

/// What a client asks for. Of an option that stands twice the first counts.
fn options(bytes: &[u8]) -> TransferOptions {
    let mut options = TransferOptions::default();
    for (name, number) in pairs(bytes) {
        let Some(number) = number else { continue };
        if name.eq_ignore_ascii_case(b"blksize") {
            // RFC 2348: 8 to 65464; larger words from odd firmware are clamped like those.
            options.blksize = options.blksize.or(clamp(number, 8));
        } else if name.eq_ignore_ascii_case(b"windowsize") {
            options.windowsize = options.windowsize.or(clamp(number, 1));
        } else if name.eq_ignore_ascii_case(b"tsize") {
            options.tsize = true;
        } else if name.eq_ignore_ascii_case(b"timeout") {
            let seconds = u8::try_from(number).ok().filter(|seconds| *seconds > 0);
            options.timeout_s = options.timeout_s.or(seconds);
        }
    }
    options
}

/// What a server agreed to.
fn agreed(bytes: &[u8]) -> ServerPacket<'_> {
    let (mut agreed, mut foreign) = (Agreed::default(), false);
    for (name, number) in pairs(bytes) {
        let small = number.and_then(|number| u16::try_from(number).ok());
        if name.eq_ignore_ascii_case(b"tsize") && number.is_some() {
            agreed.tsize = number;
        } else if name.eq_ignore_ascii_case(b"blksize") && small.is_some() {
            agreed.blksize = small;
        } else if name.eq_ignore_ascii_case(b"windowsize") && small.is_some() {
            agreed.windowsize = small;
        } else if name.eq_ignore_ascii_case(b"timeout") && number.is_some_and(|number| number <= 255) {
            agreed.timeout_s = number.and_then(|number| u8::try_from(number).ok());
        } else {
            foreign = true;
        }
    }
    ServerPacket::OptionAck { agreed, foreign }
}

/// `number` as 16 bits, larger ones cut to the largest; `None` below `least`.
fn clamp(number: u64, least: u64) -> Option<u16> {
    (number >= least).then(|| u16::try_from(number).unwrap_or(u16::MAX))
}

/// An OACK.
pub fn option_ack(agreed: &Agreed) -> Vec<u8> {
    let mut bytes = OACK.to_be_bytes().to_vec();
    put_options(&mut bytes, agreed);
    bytes
}

/// A request to read `path` in octet mode.
pub fn read_request(path: &[u8], options: &TransferOptions) -> Vec<u8> {
    let mut bytes = RRQ.to_be_bytes().to_vec();
    bytes.extend_from_slice(path);
    bytes.extend_from_slice(b"\0octet\0");
    let asked = Agreed {
        blksize: options.blksize,
        // RFC 2349: a client that asks says 0.
        tsize: options.tsize.then_some(0),
        timeout_s: options.timeout_s,
        windowsize: options.windowsize,
    };
    put_options(&mut bytes, &asked);
    bytes
}

fn put_options(bytes: &mut Vec<u8>, options: &Agreed) {
    let mut put = |name: &str, value: Option<u64>| {
        if let Some(value) = value {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
            bytes.extend_from_slice(value.to_string().as_bytes());
            bytes.push(0);
        }
    };
    put("blksize", options.blksize.map(u64::from));
    put("tsize", options.tsize);
    put("timeout", options.timeout_s.map(u64::from));
    put("windowsize", options.windowsize.map(u64::from));
}

/// An ACK of the block with that number.
pub fn ack(number: u16) -> [u8; 4] {
    let [a, b] = ACK.to_be_bytes();
    let [c, d] = number.to_be_bytes();
    [a, b, c, d]
}

/// A block's number on the wire: blocks are counted without end, and the count rolls over to 0.
pub fn block_number(block: u64) -> u16 {
    u16::try_from(block & 0xffff).expect("masked to 16 bits")
}

/// The header of the DATA packet with that block number, to be followed by the data.
pub fn data_header(number: u16) -> [u8; DATA_HEADER_BYTES] {
    let [a, b] = DATA.to_be_bytes();
    let [c, d] = number.to_be_bytes();
    [a, b, c, d]
}

/// An ERROR; what is not printable ASCII in `message` is left out, for firmware prints it.
pub fn error(code: ErrorCode, message: &str) -> Vec<u8> {
    let mut bytes = ERROR.to_be_bytes().to_vec();
    bytes.extend_from_slice(&code.number().to_be_bytes());
    bytes.extend(
        message
            .bytes()
            .filter(|byte| (0x20..0x7f).contains(byte))
            .take(ERROR_TEXT_BYTES_MAX),
    );
    bytes.push(0);
    bytes
}

/// An ERROR as a client sent it, for a capture.
pub fn clients_error(code: u16, message: &[u8]) -> Vec<u8> {
    [&ERROR.to_be_bytes(), &code.to_be_bytes(), message, &[0]].concat()
}

/// An error's text fits one line of a firmware's screen.
const ERROR_TEXT_BYTES_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_with_its_options_in_any_case() {
        let packet = parse(b"\0\x01snponly.efi\0OCTET\0TSIZE\x000\0BlkSize\x001468\0windowsize\x004\0").unwrap();
        let Packet::Read(request) = packet else {
            panic!("{packet:?}")
        };
        assert_eq!(request.path, b"snponly.efi");
        assert_eq!(request.mode, TransferMode::Octet);
        let expected = TransferOptions {
            blksize: Some(1468),
            tsize: true,
            timeout_s: None,
            windowsize: Some(4),
        };
        assert_eq!(request.options, expected);
    }

    #[test]
    fn options_that_make_no_sense_are_left_out_and_the_rest_is_kept() {
        let bytes = b"\0\x01f\0octet\0blksize\x007\0timeout\x000\0windowsize\0x\0multicast\0\0tsize\x000\0";
        let Ok(Packet::Read(request)) = parse(bytes) else {
            panic!()
        };
        let expected = TransferOptions {
            tsize: true,
            ..TransferOptions::default()
        };
        assert_eq!(request.options, expected);
    }

    #[test]
    fn no_prefix_of_a_request_and_no_garbage_panics() {
        let whole = b"\0\x01a/b\0octet\0blksize\x001432\0tsize\x000\0";
        for length in 0..=whole.len() {
            let _ = parse(&whole[..length]);
        }
        for first in 0..=255_u8 {
            for second in 0..=255_u8 {
                let _ = parse(&[first, second, 0, 255, 0, 0]);
            }
        }
        assert_eq!(parse(&[0]), Err(MalformedPacket::Short));
        assert_eq!(parse(&[0, 9, 0, 0]), Err(MalformedPacket::Opcode));
        assert_eq!(parse(b"\0\x01name"), Err(MalformedPacket::Unterminated));
        assert_eq!(parse(b"\0\x01\0octet\0"), Err(MalformedPacket::NoName));
    }

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let options = TransferOptions {
            blksize: Some(1468),
            tsize: true,
            timeout_s: Some(3),
            windowsize: Some(16),
        };
        let Ok(Packet::Read(request)) = parse(&read_request(b"grub/grub.cfg", &options)) else {
            panic!()
        };
        assert_eq!(
            (request.path.as_slice(), request.options),
            (&b"grub/grub.cfg"[..], options)
        );
        let agreed = Agreed {
            blksize: Some(1432),
            tsize: Some(u64::MAX),
            timeout_s: Some(255),
            windowsize: None,
        };
        let packet = ServerPacket::OptionAck { agreed, foreign: false };
        assert_eq!(parse_reply(&option_ack(&agreed)), Ok(packet));
        assert_eq!(parse(&ack(65535)), Ok(Packet::Ack(65535)));
        let block = [&data_header(7)[..], b"abc"].concat();
        let packet = ServerPacket::Data {
            number: 7,
            data: b"abc",
        };
        assert_eq!(parse_reply(&block), Ok(packet));
        assert_eq!(
            parse_reply(&ack(1)),
            Err(MalformedPacket::Opcode),
            "servers acknowledge no reader"
        );
    }

    #[test]
    fn an_answer_with_an_option_that_no_client_of_ours_asks_for_is_noticed() {
        for strange in [
            &b"multicast\x00224.0.0.1\0"[..],
            b"blksize\0many\0",
            b"windowsize\x0065536\0",
        ] {
            let bytes = [&b"\0\x06tsize\x00700\0"[..], strange].concat();
            let agreed = Agreed {
                tsize: Some(700),
                ..Agreed::default()
            };
            assert_eq!(
                parse_reply(&bytes),
                Ok(ServerPacket::OptionAck { agreed, foreign: true })
            );
        }
    }

    #[test]
    fn an_error_never_carries_a_control_character() {
        assert_eq!(
            error(ErrorCode::NotFound, "no\x1b[2J\r\nfile"),
            b"\0\x05\0\x01no[2Jfile\0"
        );
    }
}
