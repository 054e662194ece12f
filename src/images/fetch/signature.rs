//! Signatures, checked by GnuPG's `gpgv` with a keyring that the operator's system has.
//!
//! Nothing here reads a key or a signature itself.

use crate::images::{
    error::{ImageError, failed},
    reading::open_regular,
};
use crate::model::text;
use std::{
    fmt, fs,
    io::{ErrorKind, Read},
    path::{self, Path},
    process::{Command, Stdio},
};

const BEGIN: &[u8] = b"-----BEGIN PGP ";
const CLEAR_SIGNED: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const ARMOUR: &[u8] = b"-----BEGIN PGP PUBLIC KEY";

/// Whether it is one text with one signature. gpgv prints the first text of a file, and says of any that
/// it is signed. In a signed text itself no line begins with dashes: they are escaped (RFC 9580, 7.2).
fn is_one_signed_text(body: &[u8]) -> bool {
    let begins = body.split(|byte| *byte == b'\n').filter(|line| line.starts_with(BEGIN));
    let begins: Vec<&[u8]> = begins.map(<[u8]>::trim_ascii_end).collect();
    body.starts_with(CLEAR_SIGNED) && begins == [CLEAR_SIGNED, SIGNATURE]
}

/// Checks `file` against the signature beside it; who signed it, in GnuPG's words.
pub(super) fn check(file: &Path, signature: &Path, keyring: &Path, of: &str) -> Result<String, ImageError> {
    run(keyring, &[signature, file], None, of)
}

/// Checks a text that carries its signature, and returns what of it is signed.
pub(super) fn check_clear(file: &Path, keyring: &Path, of: &str) -> Result<(Vec<u8>, String), ImageError> {
    let body = fs::read(file).map_err(|error| failed("read", file.display(), error))?;
    if !is_one_signed_text(&body) {
        return Err(ImageError::new(format_args!(
            "{of} is not one signed text; it is not trusted"
        )));
    }
    let signed = file.with_extension("signed");
    let signer = run(keyring, &[file], Some(&signed), of)?;
    let text = fs::read(&signed).map_err(|error| failed("read", signed.display(), error))?;
    Ok((text, signer))
}

fn run(keyring: &Path, files: &[&Path], output: Option<&Path>, of: &str) -> Result<String, ImageError> {
    let unread = |error| {
        ImageError::about(
            format_args!("can't check {of}: the keyring {} can't be read", keyring.display()),
            error,
        )
    };
    // gpgv looks for a name without a folder in GnuPG's own, where keys of others may be.
    let keyring = &path::absolute(keyring).map_err(unread)?;
    let mut begins = Vec::new();
    let opened = open_regular(keyring).map_err(unread)?;
    opened
        .take(ARMOUR.len() as u64)
        .read_to_end(&mut begins)
        .map_err(unread)?;
    if begins.starts_with(ARMOUR) {
        return Err(ImageError::new(format_args!(
            "the keyring {0} is armoured, which gpgv can't read; say `gpg --dearmor {0}` and name what it makes",
            keyring.display()
        )));
    }
    let mut gpgv = Command::new("gpgv");
    gpgv.args(["--status-fd", "1", "--keyring"]).arg(keyring);
    if let Some(output) = output {
        // What an earlier run left behind would be asked about.
        let _ = fs::remove_file(output);
        gpgv.arg("--output").arg(output);
    }
    let done = gpgv
        .arg("--")
        .args(files)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => ImageError::new(format_args!(
                "can't check {of}: gpgv is not installed; say `apt install gpgv`"
            ))
            .with_source(error),
            _ => ImageError::about(format_args!("can't check {of}: gpgv does not run"), error),
        })?;
    judge(&String::from_utf8_lossy(&done.stdout)).map_err(|fault| {
        let keyring = keyring.display();
        ImageError::new(format_args!(
            "{of}: {fault}; it was checked with the keys of {keyring}. Nothing of it is used"
        ))
        .with_source(fault)
    })
}

/// Why a signature does not hold.
#[derive(Debug, PartialEq, Eq)]
enum SignatureFault {
    /// It is of other bytes.
    Bad,
    /// The key is expired or revoked.
    OldKey {
        /// Whose it is.
        signer: String,
    },
    /// The key is not in the keyring.
    UnknownKey {
        /// Its number.
        key: String,
    },
    /// There is none.
    Missing,
}

impl fmt::Display for SignatureFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignatureFault::Bad => f.write_str("the signature does not fit: it was changed on the way"),
            SignatureFault::OldKey { signer } => write!(
                f,
                "the key of {signer} is no longer valid; is the keyring's package up to date?"
            ),
            SignatureFault::UnknownKey { key } => {
                write!(f, "it is signed by the key {key}, which is not among ours")
            }
            SignatureFault::Missing => f.write_str("it has no signature that holds"),
        }
    }
}

impl std::error::Error for SignatureFault {}

/// What gpgv says in its status lines. Several may have signed and some be unknown here: one good
/// signature will do, and one bad one will not.
fn judge(status: &str) -> Result<String, SignatureFault> {
    let lines = status.lines().filter_map(|line| line.strip_prefix("[GNUPG:] "));
    let words: Vec<(&str, &str)> = lines.map(|line| line.split_once(' ').unwrap_or((line, ""))).collect();
    let status_of = |word: &str| words.iter().find(|(first, _)| *first == word).map(|(_, rest)| *rest);
    if status_of("BADSIG").is_some() {
        return Err(SignatureFault::Bad);
    }
    if let Some(signer) = status_of("GOODSIG") {
        let who = signer.split_once(' ').map_or(signer, |(_, who)| who);
        return Ok(text::escape(who.as_bytes()));
    }
    let old_key = status_of("EXPKEYSIG").or(status_of("REVKEYSIG"));
    Err(match (old_key, status_of("NO_PUBKEY")) {
        (Some(signer), _) => SignatureFault::OldKey {
            signer: text::escape(signer.as_bytes()),
        },
        (None, Some(key)) => SignatureFault::UnknownKey {
            key: text::escape(key.as_bytes()),
        },
        (None, None) => SignatureFault::Missing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_good_signature_will_do_and_a_bad_one_will_not() {
        let unknown = "[GNUPG:] ERRSIG 0123456789ABCDEF 1 8 00 1 9\n[GNUPG:] NO_PUBKEY 0123456789ABCDEF\n";
        let good = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 89ABCDEF01234567 Rack <rack@example.org>\n[GNUPG:] VALIDSIG x\n";
        let bad = "[GNUPG:] BADSIG 89ABCDEF01234567 Rack <rack@example.org>\n";
        let old = "[GNUPG:] EXPKEYSIG 89ABCDEF01234567 Rack\n[GNUPG:] VALIDSIG x\n";
        assert_eq!(judge(good).unwrap(), "Rack <rack@example.org>");
        assert!(judge(&format!("{unknown}{good}")).is_ok());
        let key = "0123456789ABCDEF".to_owned();
        assert_eq!(judge(unknown), Err(SignatureFault::UnknownKey { key }));
        let signer = "89ABCDEF01234567 Rack".to_owned();
        assert_eq!(judge(old), Err(SignatureFault::OldKey { signer }));
        for (status, fault) in [
            ("", SignatureFault::Missing),
            (bad, SignatureFault::Bad),
            (&format!("{good}{bad}"), SignatureFault::Bad),
        ] {
            assert_eq!(judge(status), Err(fault), "{status}");
        }
    }
}
