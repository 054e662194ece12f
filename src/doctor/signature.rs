//! Who signed an EFI program, and until when that one's certificate holds: the names in its Authenticode signatures
//! (Microsoft, "Windows Authenticode Portable Executable Signature Format"; RFC 5652; RFC 5280). Whether a signature is
//! right is for the firmware to say, and firmware looks at no date.

use crate::boot::program;
use std::fmt;

/// `WIN_CERTIFICATE`: length, revision, type; then what that type has. Each begins at a multiple of eight bytes.
const CERTIFICATE_HEADER: usize = 8;
const PKCS_SIGNED_DATA: u16 = 2;
/// Tags of DER (X.690).
const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
const CONTEXT_0: u8 = 0xa0;
/// The object identifier of a common name, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// Parts of a program that Secure Boot may revoke, and which are looked at.
const SBAT_LINES_MAX: usize = 16;

/// An authority of Microsoft by which firmware takes other vendors' programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MicrosoftCa {
    /// Known to nearly all machines; its certificate ended on 27 June 2026.
    Uefi2011,
    /// Known to machines of since 2023, and to those that were told.
    Uefi2023,
}

const MICROSOFT: &[(&str, MicrosoftCa)] = &[
    ("Microsoft Corporation UEFI CA 2011", MicrosoftCa::Uefi2011),
    ("Microsoft UEFI CA 2023", MicrosoftCa::Uefi2023),
];

/// A day, as certificates have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateDate {
    year: u16,
    month: u8,
    day: u8,
}

impl fmt::Display for CertificateDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CertificateDate { year, month, day } = self;
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The authority that the signer's certificate is from.
    pub issuer: String,
    /// Which of Microsoft's it is, if it is one.
    pub ca: Option<MicrosoftCa>,
    /// Until when the authority's certificate holds, where it is there; else the signer's own.
    pub until: Option<CertificateDate>,
}

/// The signatures of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    /// Each of them; none where it is not signed.
    pub signers: Vec<Signer>,
    /// The parts that Secure Boot may revoke, with their generations: `shim,4` (SBAT).
    pub sbat: Vec<String>,
    /// Why one can't be read, if one can't.
    pub unreadable: Option<&'static str>,
}

impl fmt::Display for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Signer { issuer, until, .. }) in self.signers.iter().enumerate() {
            f.write_str(if place == 0 { "signed by " } else { " and " })?;
            f.write_str(issuer)?;
            if let Some(until) = until {
                write!(f, " (until {until})")?;
            }
        }
        match self.sbat.as_slice() {
            [] => Ok(()),
            sbat => write!(f, ", SBAT {}", sbat.join(" ")),
        }
    }
}

/// Reads the signatures of a whole program.
pub fn read(program: &[u8]) -> Signatures {
    let mut found = Signatures {
        sbat: sbat(program),
        ..Signatures::default()
    };
    let mut table = program::signatures(program);
    if table.is_empty() && program::is_signed(program) {
        found.unreadable = Some("it is cut off");
    }
    while let Some((kind, body, rest)) = certificate(table) {
        table = rest;
        match signers(body).filter(|_| kind == PKCS_SIGNED_DATA) {
            Some(signers) => found.signers.extend(signers),
            None => found.unreadable = Some("it is no PKCS #7 signature in DER"),
        }
    }
    found
}

/// The first entry of the table: its type, its content, and what follows.
fn certificate(table: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let header: &[u8; CERTIFICATE_HEADER] = table.first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes([header[0], header[1], header[2], header[3]])).ok()?;
    let body = table.get(CERTIFICATE_HEADER..length)?;
    let rest = table.get(length.next_multiple_of(8)..).unwrap_or_default();
    Some((u16::from_le_bytes([header[6], header[7]]), body, rest))
}

/// One value of DER: its tag and its content. Takes it off `bytes`.
fn take<'b>(bytes: &mut &'b [u8]) -> Option<(u8, &'b [u8])> {
    let (tag, first) = (*bytes.first()?, *bytes.get(1)?);
    let (length, header) = match usize::from(first) {
        short @ 0..=0x7f => (short, 2),
        long @ 0x81..=0x84 => {
            let digits = bytes.get(2..2 + (long - 0x80))?;
            let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
            (length, 2 + digits.len())
        }
        // Of no length that is told (BER), or of more than a file has.
        _ => return None,
    };
    let content = bytes.get(header..header.checked_add(length)?)?;
    *bytes = &bytes[header + length..];
    Some((tag, content))
}

/// The content of the next value, if that has this tag.
fn take_as<'b>(bytes: &mut &'b [u8], wanted: u8) -> Option<&'b [u8]> {
    let (tag, content) = take(bytes)?;
    (tag == wanted).then_some(content)
}

/// A certificate, as far as it is looked at.
struct Issued<'c> {
    serial: &'c [u8],
    issuer: &'c [u8],
    subject: &'c [u8],
    until: Option<CertificateDate>,
}

/// The signers in a `ContentInfo` with `SignedData` (RFC 5652, sections 3 and 5.1).
fn signers(mut content_info: &[u8]) -> Option<Vec<Signer>> {
    let mut info = take_as(&mut content_info, SEQUENCE)?;
    take(&mut info)?;
    let mut explicit = take_as(&mut info, CONTEXT_0)?;
    let mut signed = take_as(&mut explicit, SEQUENCE)?;
    take_as(&mut signed, INTEGER)?;
    take_as(&mut signed, SET)?;
    take_as(&mut signed, SEQUENCE)?;
    let mut certificates = Vec::new();
    let mut infos = None;
    while let Some((tag, mut content)) = take(&mut signed) {
        match tag {
            CONTEXT_0 => {
                while let Some(certificate) = take_as(&mut content, SEQUENCE) {
                    certificates.push(issued(certificate)?);
                }
            }
            SET => infos = Some(content),
            _ => {}
        }
    }
    let mut infos = infos?;
    let mut signers = Vec::new();
    while let Some(mut info) = take_as(&mut infos, SEQUENCE) {
        take_as(&mut info, INTEGER)?;
        let mut named = take_as(&mut info, SEQUENCE)?;
        let issuer = take_as(&mut named, SEQUENCE)?;
        let serial = take_as(&mut named, INTEGER)?;
        signers.push(signer(issuer, serial, &certificates));
    }
    (!signers.is_empty()).then_some(signers)
}

fn signer(issuer: &[u8], serial: &[u8], certificates: &[Issued<'_>]) -> Signer {
    let authority = certificates.iter().find(|certificate| certificate.subject == issuer);
    let own = || {
        let mut own = certificates.iter();
        own.find(|certificate| certificate.issuer == issuer && certificate.serial == serial)
    };
    let name = common_name(issuer).unwrap_or_else(|| "an authority without a name".into());
    let known = MICROSOFT.iter().find(|(known, _)| *known == name);
    Signer {
        ca: known.map(|(_, ca)| *ca),
        until: authority.or_else(own).and_then(|certificate| certificate.until),
        issuer: name,
    }
}

/// A certificate (RFC 5280 section 4.1).
fn issued(mut certificate: &[u8]) -> Option<Issued<'_>> {
    let mut body = take_as(&mut certificate, SEQUENCE)?;
    let mut after_version = body;
    if take_as(&mut after_version, CONTEXT_0).is_some() {
        body = after_version;
    }
    let serial = take_as(&mut body, INTEGER)?;
    take_as(&mut body, SEQUENCE)?;
    let issuer = take_as(&mut body, SEQUENCE)?;
    let mut validity = take_as(&mut body, SEQUENCE)?;
    let subject = take_as(&mut body, SEQUENCE)?;
    take(&mut validity)?;
    let until = take(&mut validity).and_then(|(tag, time)| date(tag, time));
    Some(Issued {
        serial,
        issuer,
        subject,
        until,
    })
}

/// `YYMMDD…` of a UTCTime, whose years begin in 1950, or `YYYYMMDD…`.
fn date(tag: u8, time: &[u8]) -> Option<CertificateDate> {
    let digits = |from: usize, count: usize| -> Option<u16> {
        std::str::from_utf8(time.get(from..from + count)?).ok()?.parse().ok()
    };
    let (year, rest) = match tag {
        UTC_TIME => match digits(0, 2)? {
            late @ 50.. => (1900 + late, 2),
            early => (2000 + early, 2),
        },
        GENERALIZED_TIME => (digits(0, 4)?, 4),
        _ => return None,
    };
    Some(CertificateDate {
        year,
        month: u8::try_from(digits(rest, 2)?).ok()?,
        day: u8::try_from(digits(rest + 2, 2)?).ok()?,
    })
}

/// The common name in a name (RFC 5280 section 4.1.2.4): what is written there is escaped, as it comes from a file.
fn common_name(mut name: &[u8]) -> Option<String> {
    while let Some(mut set) = take_as(&mut name, SET) {
        while let Some(mut pair) = take_as(&mut set, SEQUENCE) {
            let (_, kind) = take(&mut pair)?;
            let (tag, text) = take(&mut pair)?;
            if kind == COMMON_NAME {
                // Letters of two bytes, of which the second alone is looked at in those of a name.
                let text: Vec<u8> = match tag {
                    BMP_STRING => text.iter().skip(1).step_by(2).copied().collect(),
                    _ => text.to_vec(),
                };
                return Some(crate::model::text::escape(&text));
            }
        }
    }
    None
}

/// The names and generations in a program's list of parts, without the list's own.
fn sbat(program: &[u8]) -> Vec<String> {
    let list = program::section(program, b".sbat").unwrap_or_default();
    let lines = list
        .split(|byte| matches!(byte, b'\n' | 0))
        .skip(1)
        .take(SBAT_LINES_MAX);
    let first_two = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b',');
        let (name, generation) = (fields.next()?, fields.next()?);
        Some(crate::model::text::escape(&[name, b",", generation].concat()))
    };
    lines.filter_map(first_two).collect()
}

#[cfg(test)]
mod tests;
