//! Signatures of programs that are made here, as signers make them.

use super::*;

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82, length[0], length[1]], content].concat()
}

fn all(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    value(tag, &parts.concat())
}

fn name(common: &str) -> Vec<u8> {
    let country = all(SEQUENCE, &[value(6, &[0x55, 0x04, 0x06]), value(0x13, b"US")]);
    let common = all(SEQUENCE, &[value(6, COMMON_NAME), value(0x0c, common.as_bytes())]);
    all(SEQUENCE, &[all(SET, &[country]), all(SET, &[common])])
}

fn certificate_of(subject: &str, issuer: &str, serial: u8, until: Vec<u8>) -> Vec<u8> {
    let validity = all(SEQUENCE, &[value(UTC_TIME, b"110627212245Z"), until]);
    let body = [
        value(CONTEXT_0, &value(INTEGER, &[2])),
        value(INTEGER, &[serial]),
        value(SEQUENCE, b""),
        name(issuer),
        validity,
        name(subject),
        value(SEQUENCE, b"key"),
    ];
    all(SEQUENCE, &[all(SEQUENCE, &body), value(SEQUENCE, b""), value(3, b"")])
}

fn signed_by(issuer: &str, certificates: &[Vec<u8>]) -> Vec<u8> {
    let named = all(SEQUENCE, &[name(issuer), value(INTEGER, &[7])]);
    let info = all(SEQUENCE, &[value(INTEGER, &[1]), named, value(SEQUENCE, b"")]);
    let signed = [
        value(INTEGER, &[1]),
        value(SET, b""),
        value(SEQUENCE, b"what is signed"),
        all(CONTEXT_0, certificates),
        all(SET, &[info]),
    ];
    all(
        SEQUENCE,
        &[value(6, b"signed"), value(CONTEXT_0, &all(SEQUENCE, &signed))],
    )
}

/// A program with these signatures, and with a list of parts.
fn program(signatures: &[Vec<u8>]) -> Vec<u8> {
    let sbat = b"sbat,1,SBAT Version\nshim,4,UEFI shim\nshim.debian,1,Debian\n\0\0\0\0";
    let mut program = vec![0; 0x200];
    program[..2].copy_from_slice(b"MZ");
    program[0x3c] = 0x40;
    program[0x40..0x44].copy_from_slice(b"PE\0\0");
    program[0x44..0x46].copy_from_slice(&0x8664_u16.to_le_bytes());
    program[0x46] = 1;
    program[0x54] = 0xf0;
    program[0x58..0x5a].copy_from_slice(&0x20b_u16.to_le_bytes());
    let section = 0x58 + 0xf0;
    program[section..section + 5].copy_from_slice(b".sbat");
    for (at, number) in [(8, sbat.len() - 4), (16, sbat.len()), (20, 0x200)] {
        let number = u32::try_from(number).unwrap();
        program[section + at..section + at + 4].copy_from_slice(&number.to_le_bytes());
    }
    program.extend_from_slice(sbat);
    program.resize(program.len().next_multiple_of(8), 0);
    let place = program.len();
    for signature in signatures {
        let length = u32::try_from(CERTIFICATE_HEADER + signature.len()).unwrap();
        program.extend_from_slice(&length.to_le_bytes());
        program.extend_from_slice(&[0, 2, 2, 0]);
        program.extend_from_slice(signature);
        program.resize(program.len().next_multiple_of(8), 0);
    }
    for (at, number) in [(SIGNATURES, place), (SIGNATURES + 4, program.len() - place)] {
        let number = u32::try_from(number).unwrap();
        program[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    program
}

/// The fifth directory of a 64-bit program whose header begins at 0x40.
const SIGNATURES: usize = 0x58 + 112 + 4 * 8;
const OLD: &str = "Microsoft Corporation UEFI CA 2011";
const NEW: &str = "Microsoft UEFI CA 2023";

#[test]
fn a_program_with_two_signatures_names_both_authorities_and_until_when_each_holds() {
    let root = "Microsoft Corporation Third Party Marketplace Root";
    let of_2011 = signed_by(
        OLD,
        &[
            certificate_of("signer", OLD, 7, value(UTC_TIME, b"251016201234Z")),
            certificate_of(OLD, root, 8, value(UTC_TIME, b"260627213245Z")),
        ],
    );
    // Without its authority's certificate: the signer's own date.
    let own = certificate_of("signer", NEW, 7, value(GENERALIZED_TIME, b"20380613000000Z"));
    let other = certificate_of("other", NEW, 9, value(UTC_TIME, b"300101000000Z"));
    let found = read(&program(&[of_2011, signed_by(NEW, &[other, own])]));
    let signers: Vec<_> = found
        .signers
        .iter()
        .map(|signer| (signer.ca, signer.until.unwrap().to_string()))
        .collect();
    assert_eq!(
        signers,
        [
            (Some(MicrosoftCa::Uefi2011), "2026-06-27".to_owned()),
            (Some(MicrosoftCa::Uefi2023), "2038-06-13".to_owned())
        ]
    );
    assert_eq!(found.signers[0].issuer, OLD);
    assert_eq!(found.sbat, ["shim,4", "shim.debian,1"]);
    assert_eq!(found.unreadable, None);
}

#[test]
fn another_authority_is_named_and_is_none_of_microsofts() {
    let found = read(&program(&[signed_by("Debian Secure Boot CA", &[])]));
    let [signer] = <[Signer; 1]>::try_from(found.signers).unwrap();
    assert_eq!(
        (signer.issuer.as_str(), signer.ca, signer.until),
        ("Debian Secure Boot CA", None, None)
    );
}

#[test]
fn what_is_not_signed_or_makes_no_sense_is_told_apart() {
    assert_eq!(read(&program(&[])).signers, []);
    assert_eq!(read(&program(&[])).unreadable, None);
    assert_eq!(read(b"").signers, []);
    assert!(read(&program(&[b"rubbish".to_vec()])).unreadable.is_some());
    let whole = program(&[signed_by(
        OLD,
        &[certificate_of(OLD, OLD, 7, value(UTC_TIME, b"260627213245Z"))],
    )]);
    assert!(read(&whole[..whole.len() - 40]).unreadable.is_some(), "it is cut");
    for length in 0..whole.len() {
        let _ = read(&whole[..length]);
    }
    for place in SIGNATURES..whole.len() {
        let mut broken = whole.clone();
        broken[place] ^= 0xff;
        let _ = read(&broken);
    }
}
