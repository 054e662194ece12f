//! The fixed header and the walk over the options: from bytes to whole option bodies by code.
//!
//! Nothing is judged here but shape. A piece that runs over the end of its field is dropped, and
//! only that piece.

use super::MalformedRequest;
use dhcproto::{Decodable, v4::DhcpOption};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// `op` of a request (BOOTREQUEST).
pub(super) const OP_REQUEST: u8 = 1;
/// `op` of a reply (BOOTREPLY).
pub(super) const OP_REPLY: u8 = 2;
/// The magic cookie in front of the options (RFC 2131 section 3).
pub(super) const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// The fixed header with the cookie, in bytes.
pub(super) const HEADER_BYTES: usize = 240;
/// The fixed header alone. A BOOTP request may end there (RFC 951 has no options), as klibc's does.
pub(super) const FIXED_BYTES: usize = 236;
/// What stands in the place of the cookie where a BOOTP request leaves its vendor area empty.
const NO_MAGIC: [u8; 4] = [0; 4];
/// `xid` in the header.
pub(super) const XID: std::ops::Range<usize> = 4..8;
/// `flags` in the header.
pub(super) const FLAGS: std::ops::Range<usize> = 10..12;
/// `ciaddr`, `yiaddr`, `siaddr` and `giaddr` in the header.
pub(super) const ADDRESSES: std::ops::Range<usize> = 12..28;
/// `chaddr` in the header.
pub(super) const CHADDR: std::ops::Range<usize> = 28..44;
/// `sname` in the header.
pub(super) const SNAME: std::ops::Range<usize> = 44..108;
/// `file` in the header.
pub(super) const FILE: std::ops::Range<usize> = 108..236;

/// Option codes with a meaning to the walk itself.
const PAD: u8 = 0;
pub(super) const END: u8 = 255;
pub(super) const OVERLOAD: u8 = 52;

/// The fixed fields of a request that decisions use. `secs` is left out on purpose: iPXE puts debug
/// bits there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub htype: u8,
    pub hlen: u8,
    pub xid: u32,
    pub flags: u16,
    pub ciaddr: Ipv4Addr,
    pub giaddr: Ipv4Addr,
    pub chaddr: [u8; 16],
}

/// Option bodies by code, each joined from all its pieces.
pub(super) type OptionMap = BTreeMap<u8, Vec<u8>>;

/// Reads the header, or says why these bytes are no request.
pub(super) fn header(bytes: &[u8]) -> Result<Header, MalformedRequest> {
    let (fixed, rest) = bytes
        .split_first_chunk::<FIXED_BYTES>()
        .ok_or(MalformedRequest::Short)?;
    if fixed[0] != OP_REQUEST {
        return Err(MalformedRequest::NotARequest);
    }
    match rest.first_chunk() {
        Some(&MAGIC | &NO_MAGIC) => {}
        Some(_) => return Err(MalformedRequest::BadMagic),
        None if rest.is_empty() => {}
        None => return Err(MalformedRequest::Short),
    }
    let word = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let mut chaddr = [0; 16];
    chaddr.copy_from_slice(&fixed[28..44]);
    Ok(Header {
        htype: fixed[1],
        hlen: fixed[2],
        xid: word(4),
        flags: u16::from_be_bytes([fixed[10], fixed[11]]),
        ciaddr: Ipv4Addr::from_bits(word(12)),
        giaddr: Ipv4Addr::from_bits(word(24)),
        chaddr,
    })
}

/// Reads the options behind a header that [`header`] took, overloaded fields included: first `file`,
/// then `sname` (RFC 2131 section 4.1).
pub(super) fn options(bytes: &[u8]) -> OptionMap {
    let mut options = OptionMap::new();
    if bytes.get(FIXED_BYTES..HEADER_BYTES) != Some(&MAGIC) {
        return options;
    }
    walk(bytes.get(HEADER_BYTES..).unwrap_or_default(), &mut options);
    // The overload option counts only where it stands in the options field itself.
    let overload = match options.get(&OVERLOAD).map(Vec::as_slice) {
        Some([value]) => *value,
        Some(_) | None => 0,
    };
    if overload & 1 != 0 {
        walk(bytes.get(FILE).unwrap_or_default(), &mut options);
    }
    if overload & 2 != 0 {
        walk(bytes.get(SNAME).unwrap_or_default(), &mut options);
    }
    options
}

/// Adds the options of one field; pieces of one option are joined wherever they stand (RFC 3396).
fn walk(mut field: &[u8], options: &mut OptionMap) {
    while let Some((code, body, rest)) = next(field) {
        options.entry(code).or_default().extend_from_slice(body);
        field = rest;
    }
}

/// The next option of a field: its code, its body, and what follows. `None` at the end marker, at
/// the field's end, and at a body that runs over it.
pub(super) fn next(mut field: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    while let [PAD, rest @ ..] = field {
        field = rest;
    }
    match field {
        [END, ..] | [] | [_] => None,
        [code, length, rest @ ..] => {
            let (body, rest) = rest.split_at_checked(usize::from(*length))?;
            Some((*code, body, rest))
        }
    }
}

/// The sub-options inside an option body, in order. Unlike options they have no pad and no end
/// (RFC 3046), so code 0 and 255 are codes like any other.
pub(super) fn sub_options(body: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut field = body;
    std::iter::from_fn(move || {
        let [code, length, rest @ ..] = field else { return None };
        let (body, rest) = rest.split_at_checked(usize::from(*length))?;
        field = rest;
        Some((*code, body))
    })
}

/// What dhcproto makes of one whole option body. Only for options whose length the caller has
/// checked: dhcproto's debug builds assert some lengths, and it reads past others.
pub(super) fn meaning(code: u8, body: &[u8]) -> Option<DhcpOption> {
    let length = u8::try_from(body.len()).ok()?;
    let mut option = Vec::with_capacity(body.len() + 2);
    option.extend_from_slice(&[code, length]);
    option.extend_from_slice(body);
    DhcpOption::from_bytes(&option).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 236];
        bytes[0] = OP_REQUEST;
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(options);
        bytes
    }

    #[test]
    fn pieces_of_an_option_are_joined_over_another_between_them() {
        let options = options(&packet(&[77, 2, b'i', b'P', 53, 1, 1, 77, 2, b'X', b'E', 255]));
        assert_eq!(options.get(&77).map(Vec::as_slice), Some(&b"iPXE"[..]));
        assert_eq!(options.get(&53).map(Vec::as_slice), Some(&[1][..]));
    }

    #[test]
    fn an_overload_of_three_is_read_file_first_then_sname() {
        let mut bytes = packet(&[52, 1, 3, 77, 1, b'a', 255]);
        bytes[FILE][..4].copy_from_slice(&[77, 1, b'b', 255]);
        bytes[SNAME][..4].copy_from_slice(&[77, 1, b'c', 255]);
        assert_eq!(options(&bytes).get(&77).map(Vec::as_slice), Some(&b"abc"[..]));
    }

    #[test]
    fn an_overload_hidden_in_an_overloaded_field_is_not_obeyed() {
        let mut bytes = packet(&[52, 1, 1, 255]);
        bytes[FILE][..4].copy_from_slice(&[52, 1, 2, 255]);
        bytes[SNAME][..4].copy_from_slice(&[77, 1, b'c', 255]);
        assert_eq!(options(&bytes).get(&77), None);
    }

    #[test]
    fn a_body_that_runs_over_the_end_costs_only_itself() {
        let options = options(&packet(&[53, 1, 1, 60, 200, b'P']));
        assert_eq!(options.keys().copied().collect::<Vec<_>>(), [53]);
    }

    #[test]
    fn a_missing_end_marker_is_no_matter() {
        assert_eq!(options(&packet(&[0, 0, 53, 1, 3])).len(), 1);
    }
}
