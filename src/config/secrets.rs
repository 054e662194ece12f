//! Secrets of the inventory: `vars.root_password = { secret = true, file = "…" }`, or `credential = "…"`.
//!
//! A value is read where it is served, and wherever whoever runs this may read it; nothing that is said of it quotes it.
//! It is in no file that is kept, because the inventory has only its place.

use super::{
    appliance::ParsedAppliance,
    decode::{self, Fields, Reader, Value},
    problems::{Problems, SecretsAre},
};
use crate::boot::snapshot::{BootSettings, Secret, SecretSource, Sourced, Var};
use crate::images::reading::open_regular;
use crate::model::{limits::SECRET_BYTES_MAX, text};
use nix::unistd::{User, geteuid};
use std::{
    fs::Metadata,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use toml::de::DeValue;

/// Where systemd puts the credentials of a unit.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// What others than the owner may do with a file, and that it is a program.
const WIDER_THAN_0600: u32 = 0o177;
/// The user of the shipped unit.
const SERVICE_USER: &str = "bootwright";

/// Whether a variable is a secret.
pub(super) fn is_secret(value: &Value<'_>) -> bool {
    matches!(value.get_ref(), DeValue::Table(table) if table.contains_key("secret"))
}

/// A variable that is a secret; `None` where it can't be read, which has been reported.
pub(super) fn read(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Var> {
    let mut fields = Fields::of(reader, "a secret", value)?;
    let is_set = fields.take(reader, "secret", decode::boolean);
    let file = fields.take(reader, "file", decode::some_text);
    let credential = fields.take(reader, "credential", decode::some_text);
    fields.finish(reader);
    if !is_set?.value {
        let help = "write the value itself where it is no secret";
        reader.error(value, "this says secret = false, and where a secret would be", help);
        return None;
    }
    let source = match (file, credential) {
        (Some(file), None) => SecretSource::File(whole(reader, value, &file)?),
        (None, Some(name)) => SecretSource::Credential(plain(reader, value, &name)?),
        (Some(_), Some(_)) | (None, None) => {
            let help = "say file = \"/etc/bootwright/secrets/NAME\" or credential = \"NAME\"";
            reader.error(value, "a secret comes from one place, a file or a credential", help);
            return None;
        }
    };
    let known = match &source {
        SecretSource::File(path) => of_file(path, reader.problems.secrets_are()),
        SecretSource::Credential(name) => of_credential(name, reader.problems.secrets_are()),
    };
    let known = known.unwrap_or_else(|Unusable { what, help }| {
        // What is kept of an earlier version was sound once; its host gets no answer that needs this.
        let at = reader.origin(value);
        reader.problems.outside(|problems| problems.error(&at, what, help));
        None
    });
    Some(Var::Secret(Secret::new(source, known)))
}

fn whole(reader: &mut Reader<'_>, value: &Value<'_>, file: &Sourced<String>) -> Option<PathBuf> {
    let path = PathBuf::from(&file.value);
    if !path.is_absolute() {
        let message = format_args!("`{}` is no whole path", text::escaped(&file.value));
        reader.error(
            value,
            message,
            "write it from the root: \"/etc/bootwright/secrets/NAME\"",
        );
        return None;
    }
    Some(path)
}

fn plain(reader: &mut Reader<'_>, value: &Value<'_>, name: &Sourced<String>) -> Option<String> {
    let is_plain = !name.value.contains('/') && !matches!(name.value.as_str(), "." | "..");
    if !is_plain {
        let message = format_args!("`{}` is no credential's name", text::escaped(&name.value));
        reader.error(value, message, "write it as in LoadCredential=NAME:PATH of the unit");
        return None;
    }
    Some(name.value.clone())
}

/// What is wrong with a secret, and what to do.
struct Unusable {
    what: String,
    help: String,
}

fn unusable(what: impl Into<String>, help: impl Into<String>) -> Unusable {
    Unusable {
        what: what.into(),
        help: help.into(),
    }
}

type Known = Result<Option<Arc<str>>, Unusable>;

fn of_file(path: &Path, secrets: SecretsAre) -> Known {
    if secrets == SecretsAre::Elsewhere {
        return Ok(None);
    }
    let shown = path.display();
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if is_closed(&error, secrets) => return Ok(None),
        Err(error) => {
            return Err(unusable(
                format!("the secret's file {shown} can't be read: {error}"),
                UNREAD,
            ));
        }
    };
    check_owner(path, &metadata)?;
    match open_regular(path) {
        Ok(file) => {
            // What was looked at before may have been replaced.
            let opened = file
                .metadata()
                .map_err(|error| unusable(format!("{shown}: {error}"), UNREAD))?;
            check_owner(path, &opened)?;
            contents(file, &shown.to_string()).map(Some)
        }
        Err(error) if is_closed(&error, secrets) => Ok(None),
        Err(error) => Err(unusable(
            format!("the secret's file {shown} can't be read: {error}"),
            UNREAD,
        )),
    }
}

const UNREAD: &str = "let the service's user own it: chown bootwright FILE; chmod 600 FILE; root's own file is read \
                      through LoadCredential=NAME:FILE of the unit, with credential = \"NAME\" here";

/// Whether it is only we who may not read it, and need not.
fn is_closed(error: &io::Error, secrets: SecretsAre) -> bool {
    secrets == SecretsAre::LookedAt && error.kind() == io::ErrorKind::PermissionDenied
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), Unusable> {
    let (shown, mode) = (path.display(), metadata.mode() & 0o7777);
    if mode & WIDER_THAN_0600 != 0 {
        let what = format!("the secret's file {shown} has the mode {mode:04o}, and others may get at it");
        return Err(unusable(what, format!("chmod 600 {shown}")));
    }
    let service = User::from_name(SERVICE_USER).ok().flatten();
    let may_own = [Some(0), Some(geteuid().as_raw()), service.map(|user| user.uid.as_raw())];
    if !may_own.contains(&Some(metadata.uid())) {
        let what = format!(
            "the secret's file {shown} belongs to uid {}, and neither to root nor to the service's user",
            metadata.uid()
        );
        return Err(unusable(what, format!("chown {SERVICE_USER} {shown}")));
    }
    Ok(())
}

fn of_credential(name: &str, secrets: SecretsAre) -> Known {
    let help = || format!("write LoadCredential={name}:/etc/bootwright/secrets/{name} into the unit, and restart it");
    match (std::env::var_os(CREDENTIALS), secrets) {
        (_, SecretsAre::Elsewhere) | (None, SecretsAre::LookedAt) => Ok(None),
        (None, SecretsAre::Served) => {
            let what = format!("systemd hands this process no credentials, and the secret is one: {name}");
            Err(unusable(what, help()))
        }
        (Some(folder), _) => match open_regular(&Path::new(&folder).join(name)) {
            Ok(file) => contents(file, &format!("credential {name}")).map(Some),
            Err(error) if is_closed(&error, secrets) => Ok(None),
            Err(error) => Err(unusable(
                format!("the credential {name} can't be read: {error}"),
                help(),
            )),
        },
    }
}

/// The text of a secret: one line, without its end. What is wrong with it is said without it.
fn contents(file: std::fs::File, what: &str) -> Result<Arc<str>, Unusable> {
    let mut bytes = Vec::new();
    let read = file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| unusable(format!("the secret in {what} can't be read: {error}"), UNREAD))?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        let max = format!("the secret in {what} is longer than {SECRET_BYTES_MAX} bytes");
        return Err(unusable(max, "a secret is one line"));
    }
    let one_line = "write the secret as one line of UTF-8, and nothing else";
    let Ok(read) = String::from_utf8(bytes) else {
        return Err(unusable(format!("the secret in {what} is not UTF-8"), one_line));
    };
    let line = read.strip_suffix('\n').unwrap_or(&read);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match text::control_character(line) {
        _ if line.is_empty() => Err(unusable(format!("the secret in {what} is empty"), one_line)),
        Some(_) => Err(unusable(
            format!("the secret in {what} has a control character"),
            one_line,
        )),
        None => Ok(line.into()),
    }
}

/// No secret of these settings may lie where files are served from.
pub(super) fn validate_places<'s>(
    settings: impl Iterator<Item = &'s BootSettings>,
    read: &ParsedAppliance,
    problems: &mut Problems,
) {
    let appliance = &read.appliance;
    let named = [&appliance.scripts, &appliance.answers, &appliance.images];
    let served: Vec<PathBuf> = named
        .into_iter()
        .chain(&appliance.loaders)
        .filter_map(|folder| folder.canonicalize().ok())
        .collect();
    for var in settings.flat_map(|own| own.vars.values()) {
        let Var::Secret(secret) = &var.value else { continue };
        let SecretSource::File(path) = &secret.source else {
            continue;
        };
        let Ok(real) = path.canonicalize() else { continue };
        if served.iter().any(|folder| real.starts_with(folder)) {
            let message = format_args!("the secret's file {} lies where files are served from", path.display());
            problems.error(&var.origin, message, "move it, such as to /etc/bootwright/secrets");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt};

    fn secret(text: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_secret_is_one_line_of_a_file_that_its_owner_alone_may_read() {
        for mode in [0o600, 0o400] {
            let (_folder, path) = secret(b"hunter2\n", mode);
            let read = of_file(&path, SecretsAre::Served).map_err(|unusable| unusable.what);
            assert_eq!(read, Ok(Some("hunter2".into())));
            assert!(matches!(of_file(&path, SecretsAre::Elsewhere), Ok(None)));
        }
        for mode in [0o640, 0o604, 0o660, 0o700, 0o644] {
            let (_folder, path) = secret(b"hunter2\n", mode);
            for secrets in [SecretsAre::Served, SecretsAre::LookedAt] {
                let what = of_file(&path, secrets).unwrap_err().what;
                assert!(
                    what.contains(&format!("{mode:04o}")) && !what.contains("hunter2"),
                    "{what}"
                );
            }
        }
        for text in [&b""[..], b"\n", b"hunter2\nhunter3\n", b"hunter2\0", b"\xff\xfehunter2"] {
            let (_folder, path) = secret(text, 0o600);
            let what = of_file(&path, SecretsAre::Served).unwrap_err().what;
            assert!(!what.contains("hunter"), "{what}");
        }
        let gone = Path::new("/nonexistent/secret");
        assert!(of_file(gone, SecretsAre::LookedAt).is_err());
    }
}
