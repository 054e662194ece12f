//! Where the options of a reply stand: behind the header, and those that find no room there in its own fields
//! `file` and `sname`, where nothing else is in them (option 52, RFC 2131 section 4.1). Which options there
//! are, and in what order, is the reply's.

use super::{Encodable, Encoder, OptionCode};
use crate::proto::dhcp::{option_body::PIECE_BYTES_MAX, wire};
use dhcproto::v4::DhcpOption;

/// What stands in front of a piece: its code and its length.
const PIECE_HEAD_BYTES: usize = 2;
/// Option 52 as it is written.
const OVERLOAD_BYTES: usize = 3;
/// What `file` and `sname` hold: the end marker is behind the options, and a zero behind that, as behind any
/// text there.
const FILE_OPTIONS_BYTES: usize = 126;
const SNAME_OPTIONS_BYTES: usize = 62;

/// Bytes that the options of most replies take.
const OPTIONS_BYTES_USUAL: usize = 320;

/// The options that found room, by field, each in its order.
pub(super) struct Layout {
    /// Behind the magic cookie, in `file`, in `sname`.
    fields: [Vec<u8>; 3],
    /// Their codes.
    pub codes: Vec<u8>,
    /// The option that is looked at.
    whole: Vec<u8>,
}

impl Layout {
    /// Puts the options into `room` bytes behind the header.
    pub(super) fn behind_the_header(options: &[&DhcpOption], room: usize) -> Layout {
        Layout::of(options, [room, 0, 0])
    }

    /// Puts them into the header's fields too.
    pub(super) fn in_all_fields(options: &[&DhcpOption], room: usize) -> Layout {
        let room = room.saturating_sub(OVERLOAD_BYTES);
        let mut layout = Layout::of(options, [room, FILE_OPTIONS_BYTES, SNAME_OPTIONS_BYTES]);
        let is_used = |field: usize| u8::from(!layout.fields[field].is_empty());
        let overload = is_used(1) | is_used(2) << 1;
        if overload != 0 {
            layout.fields[0].extend_from_slice(&[wire::OVERLOAD, 1, overload]);
        }
        layout
    }

    fn of(options: &[&DhcpOption], rooms: [usize; 3]) -> Layout {
        let mut layout = Layout {
            fields: [Vec::with_capacity(OPTIONS_BYTES_USUAL), Vec::new(), Vec::new()],
            codes: Vec::with_capacity(options.len()),
            whole: Vec::with_capacity(OPTIONS_BYTES_USUAL),
        };
        for option in options {
            if layout.place(option, rooms) {
                layout.codes.push(OptionCode::from(*option).into());
            }
        }
        layout
    }

    /// Puts an option where it fits undivided, or in pieces wherever there is room: a long one only, because not
    /// every client joins pieces. Whether it found room.
    fn place(&mut self, option: &DhcpOption, rooms: [usize; 3]) -> bool {
        self.whole.clear();
        encode_option(&mut self.whole, option);
        let fits = |field: &usize| self.fields[*field].len() + self.whole.len() <= rooms[*field];
        if let Some(field) = (0..rooms.len()).find(fits) {
            self.fields[field].extend_from_slice(&self.whole);
            return true;
        }
        match option {
            DhcpOption::Unknown(raw) if raw.data().len() > PIECE_BYTES_MAX => {
                self.spread((raw.code().into(), raw.data()), rooms)
            }
            _ => false,
        }
    }

    /// Puts a long option into what the fields have left, in the order that clients join them in (RFC 3396).
    fn spread(&mut self, (code, mut body): (u8, &[u8]), rooms: [usize; 3]) -> bool {
        let left = |fields: &[Vec<u8>; 3], field: usize| rooms[field].saturating_sub(fields[field].len());
        let all: usize = (0..rooms.len()).map(|field| holds(left(&self.fields, field))).sum();
        if all < body.len() {
            return false;
        }
        for field in 0..rooms.len() {
            while !body.is_empty() && left(&self.fields, field) > PIECE_HEAD_BYTES {
                let room = left(&self.fields, field) - PIECE_HEAD_BYTES;
                let (piece, rest) = body.split_at(body.len().min(PIECE_BYTES_MAX).min(room));
                write_piece(&mut self.fields[field], code, piece);
                body = rest;
            }
        }
        true
    }

    /// Writes them behind a header whose `file` and `sname` are empty, if they are used.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        for (place, options) in [(wire::FILE, &self.fields[1]), (wire::SNAME, &self.fields[2])] {
            if let Some(field) = bytes.get_mut(place).filter(|_| !options.is_empty()) {
                field[..options.len()].copy_from_slice(options);
                field[options.len()] = wire::END;
            }
        }
        bytes.extend_from_slice(&self.fields[0]);
    }
}

/// What a room holds of a body that is cut into pieces.
fn holds(room: usize) -> usize {
    let piece = PIECE_HEAD_BYTES + PIECE_BYTES_MAX;
    room / piece * PIECE_BYTES_MAX + (room % piece).saturating_sub(PIECE_HEAD_BYTES)
}

/// An option, in as many pieces as it takes (RFC 3396). dhcproto splits those that it has a type for.
fn encode_option(bytes: &mut Vec<u8>, option: &DhcpOption) {
    match option {
        DhcpOption::Unknown(raw) if raw.data().len() > PIECE_BYTES_MAX => {
            for piece in raw.data().chunks(PIECE_BYTES_MAX) {
                write_piece(bytes, raw.code().into(), piece);
            }
        }
        whole => encode_into(bytes, whole),
    }
}

fn write_piece(bytes: &mut Vec<u8>, code: u8, piece: &[u8]) {
    let length = u8::try_from(piece.len()).expect("a piece has at most 255 bytes");
    bytes.extend_from_slice(&[code, length]);
    bytes.extend_from_slice(piece);
}

/// dhcproto's encoding, into an empty buffer. It fails only for a header field longer than its place,
/// and the only such field is measured before it is set.
pub(super) fn encode_into(bytes: &mut Vec<u8>, part: &impl Encodable) {
    part.encode(&mut Encoder::new(bytes))
        .expect("every field was measured before it was set");
}
