//! How each downloaded file is verified, and by whose checksum or signature.
//!
//! In order: a checksum that the operator or the catalogue wrote down; one in a file of checksums,
//! which is signed or came over HTTPS; a signature of the file itself. Without any of them the
//! operator must have accepted whatever comes.

use super::{
    client::{Fault, HttpClient, RequestOptions},
    download::{Download, RetryBudget},
    request::{FetchProgress, FetchRequest},
    signature,
    staging_dir::StagingDir,
    sums::{self, Sum},
    url,
};
use crate::images::{
    catalogue::{Remote, Signature, SumFile},
    error::{ImageError, failed},
    place,
};
use crate::model::{Name, limits::FETCH_SUMS_BYTES_MAX};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
};

/// A file whose URL and check are known.
pub(super) struct ResolvedFile {
    /// As the catalogue says it, with its `*`.
    pub(super) asked: String,
    pub(super) wanted: Download,
    check: CheckMethod,
}

/// Who says what a file must be.
enum CheckMethod {
    /// The operator, or the catalogue.
    Pinned,
    /// A file of checksums.
    Listed(SumsTrust),
    Signed(Signature),
    Accepted,
}

/// Why checksums are trusted.
#[derive(Clone, Debug)]
pub(super) enum SumsTrust {
    /// Their file is signed, by this key's owner.
    Signed(String),
    /// Their file came from this server over HTTPS.
    Https(String),
}

/// Checksums that are trusted, and why. `None` where there are none.
pub(super) struct TrustedSums {
    sums: Vec<Sum>,
    because: Option<SumsTrust>,
}

/// What vouches for a file.
pub(super) enum Checked<'a> {
    /// A checksum of the catalogue or of the operator.
    Pinned,
    /// Its file of checksums.
    Listed(&'a SumsTrust),
    /// A signature of its own, by this key's owner.
    Signed(String),
    /// Nothing, as the operator wanted it.
    Accepted,
}

impl fmt::Display for Checked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Checked::Pinned => f.write_str("as it was written down"),
            Checked::Listed(SumsTrust::Signed(signer)) => {
                write!(f, "as its file of checksums says, which {signer} signed")
            }
            Checked::Listed(SumsTrust::Https(host)) => write!(
                f,
                "as its file of checksums says, which is not signed and came from {host} over HTTPS"
            ),
            Checked::Signed(signer) => write!(f, "signed by {signer}"),
            Checked::Accepted => f.write_str("accepted as it came, without a checksum or a signature"),
        }
    }
}

/// What can be known to fail before a byte is fetched.
pub(super) fn preflight(request: &FetchRequest) -> Result<(), ImageError> {
    for url in request
        .entry
        .files()
        .map(|file| &file.url)
        .chain(request.entry.sums.iter().map(|sums| &sums.url))
    {
        url::validate(url).map_err(ImageError::new)?;
    }
    if request.entry.files().next().is_none() {
        return Err(ImageError::new(format_args!(
            "`{}` names no file on a server; name one with --kernel URL",
            request.name
        )));
    }
    if let Some(first) = request.entry.sums.first()
        && !is_signed(first, request)
        && !first.url.starts_with("https://")
    {
        return Err(ImageError::new(format_args!(
            "{} has no signature to check it by, and over plain HTTP anybody on the way may change it; name an https:// URL, its --signature and --keyring, or each file's --sha256",
            first.url
        )));
    }
    for signed in request
        .entry
        .sums
        .iter()
        .filter(|_| !request.unsigned)
        .filter_map(|sums| sums.signature.as_ref())
    {
        has_keyring(signed, " Or say --unsigned, and HTTPS alone will do")?;
    }
    request
        .entry
        .files()
        .filter(|file| !(request.accept || file.sha256.is_some()))
        .filter_map(|file| file.signature.as_ref())
        .try_for_each(|signed| {
            has_keyring(
                signed,
                " Or say --sha256 accept, which takes whatever comes and shows its checksum",
            )
        })
}

fn is_signed(file: &SumFile, request: &FetchRequest) -> bool {
    file.signature.is_some() && !request.unsigned
}

fn has_keyring(signed: &Signature, otherwise: &str) -> Result<(), ImageError> {
    if signed.keyring.is_file() {
        return Ok(());
    }
    let keyring = signed.keyring.display();
    Err(match &signed.keyring_from {
        Some(from) => ImageError::new(format_args!("the keyring {keyring} is not here; {from}.{otherwise}")),
        None => ImageError::new(format_args!("the keyring {keyring} is not here.{otherwise}")),
    })
}

/// Fetches and checks the files of checksums, each by its signature, by HTTPS, or by the one before.
pub(super) fn sums(
    client: &HttpClient,
    request: &FetchRequest,
    kept: &StagingDir,
    progress: &dyn FetchProgress,
) -> Result<TrustedSums, ImageError> {
    let mut known = TrustedSums {
        sums: Vec::new(),
        because: None,
    };
    for (index, file) in request.entry.sums.iter().enumerate() {
        let listed = sums::find(&known.sums, &file.url).map(|sum| sum.sha256);
        let signed = file.signature.as_ref().filter(|_| is_signed(file, request));
        let vouched = index > 0 && signed.is_none();
        if vouched && listed.is_none() {
            return Err(ImageError::new(format_args!(
                "{} says nothing of {}",
                request.entry.sums[index - 1].url,
                file.url
            )));
        }
        let secure = !vouched && signed.is_none();
        let mut body = small(client, &file.url, secure, progress)?;
        if let Some(expected) = listed.filter(|_| vouched) {
            let found: [u8; 32] = Sha256::digest(&body).into();
            if found != expected {
                return Err(ImageError::new(format_args!(
                    "{} is not what {} says of it; the mirror may be in the middle of an update: try later",
                    file.url,
                    request.entry.sums[index - 1].url
                )));
            }
        } else if let Some(signed) = signed {
            let (text, signer) = check_text(client, (&file.url, body), signed, kept, progress)?;
            body = text;
            known.because = Some(SumsTrust::Signed(signer));
        } else {
            known.because = Some(SumsTrust::Https(url::host(&file.url).to_owned()));
        }
        known
            .sums
            .extend(sums::read(&file.url, &String::from_utf8_lossy(&body)));
    }
    Ok(known)
}

/// Checks a text's signature, its own or the one beside it.
fn check_text(
    client: &HttpClient,
    (url, body): (&str, Vec<u8>),
    signed: &Signature,
    kept: &StagingDir,
    progress: &dyn FetchProgress,
) -> Result<(Vec<u8>, String), ImageError> {
    let file = Scratch::write(kept, "sums", &body)?;
    match &signed.url {
        None => signature::check_clear(&file.0, &signed.keyring, url),
        Some(beside) => {
            let beside = Scratch::write(kept, "sums-signature", &small(client, beside, false, progress)?)?;
            let signer = signature::check(&file.0, &beside.0, &signed.keyring, url)?;
            Ok((body, signer))
        }
    }
}

/// A file for gpgv to read, gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn write(kept: &StagingDir, name: &str, body: &[u8]) -> Result<Scratch, ImageError> {
        let path = kept.folder().join(format!(".{name}"));
        fs::write(&path, body).map_err(|error| failed("write", path.display(), error))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is hidden, small, and overwritten by the next run.
        let _ = (
            fs::remove_file(&self.0),
            fs::remove_file(self.0.with_extension("signed")),
        );
    }
}

/// A small file, in memory.
fn small(client: &HttpClient, url: &str, secure: bool, progress: &dyn FetchProgress) -> Result<Vec<u8>, ImageError> {
    url::validate(url).map_err(ImageError::new)?;
    let mut tries = RetryBudget::new(client);
    loop {
        let asked = RequestOptions {
            secure,
            ..RequestOptions::default()
        };
        let read = client.ask(url, &asked).and_then(|mut response| {
            let limited = response.body_mut().with_config().limit(FETCH_SUMS_BYTES_MAX);
            limited.read_to_vec().map_err(|error| match error {
                ureq::Error::BodyExceedsLimit(_) => Fault::lasting(format_args!(
                    "{url} is larger than {FETCH_SUMS_BYTES_MAX} bytes, and holds no checksums then"
                )),
                other => client.broken(url, other.into_io()),
            })
        });
        match read {
            Ok(body) => return Ok(body),
            Err(fault) => tries.after(fault, progress)?,
        }
    }
}

/// Settles what is to be fetched, each URL once.
pub(super) fn resolve(request: &FetchRequest, known: &TrustedSums) -> Result<Vec<ResolvedFile>, ImageError> {
    let mut settled: Vec<ResolvedFile> = Vec::new();
    for remote in request.entry.files() {
        // An archive has more than one file of an image.
        if settled.iter().any(|one| one.asked == remote.url) && remote.member.is_some() {
            continue;
        }
        settled.push(resolve_one(remote, request, known)?);
    }
    let members = request.entry.files().filter_map(|remote| remote.member.as_deref());
    let members = members.map(|member| kept_as(url::file_name(member)));
    let files = settled.iter().map(|one| Ok(one.wanted.file.clone()));
    let mut names = BTreeSet::new();
    for name in files.chain(members) {
        let name = name?;
        if names.contains(&name) {
            return Err(ImageError::new(format_args!(
                "two files are called `{name}`; an image can't hold both"
            )));
        }
        names.insert(name);
    }
    Ok(settled)
}

/// What a file is called in the image.
fn kept_as(file: &str) -> Result<Name, ImageError> {
    let name = url::kept_as(file).map_err(ImageError::new)?;
    place::may_be_called(name.as_str())?;
    Ok(name)
}

fn resolve_one(remote: &Remote, request: &FetchRequest, known: &TrustedSums) -> Result<ResolvedFile, ImageError> {
    let listed = sums::find(&known.sums, &remote.url);
    if let Some(sum) = listed.filter(|sum| remote.sha256.is_none() && sums::is_contradicted(&known.sums, sum)) {
        return Err(ImageError::new(format_args!(
            "{} has two different checksums in its file of checksums; look there which is right, and name it with --sha256 or in a catalogue.toml of your own",
            sum.url
        )));
    }
    let url = listed.map_or(&remote.url, |sum| &sum.url);
    let (sha256, check) = match (remote.sha256, listed.zip(known.because.clone()), &remote.signature) {
        (Some(sha256), _, _) => (Some(sha256), CheckMethod::Pinned),
        (None, Some((sum, because)), _) => (Some(sum.sha256), CheckMethod::Listed(because)),
        (None, None, _) if request.accept => (None, CheckMethod::Accepted),
        (None, None, Some(signed)) => (None, CheckMethod::Signed(signed.clone())),
        (None, None, None) => return Err(no_checksum(remote, request)),
    };
    if url.contains('*') {
        return Err(no_checksum(remote, request));
    }
    // What a file of checksums says is judged as what people say.
    url::validate(url).map_err(ImageError::new)?;
    let file = kept_as(url::file_name(url)).map_err(|error| ImageError::about(url, error))?;
    let wanted = Download {
        url: url.clone(),
        file,
        sha256,
    };
    Ok(ResolvedFile {
        asked: remote.url.clone(),
        wanted,
        check,
    })
}

fn no_checksum(remote: &Remote, request: &FetchRequest) -> ImageError {
    match request.entry.sums.last() {
        Some(sums) => ImageError::new(format_args!(
            "{} says nothing of {}; the release may have moved on: look there, and put what is right into a catalogue.toml of your own",
            sums.url, remote.url
        )),
        None => ImageError::new(format_args!(
            "there is no checksum for {}: name its checksum with --sha256, or a file of checksums with --sums; --sha256 accept takes whatever comes, and shows its checksum",
            remote.url
        )),
    }
}

/// Checks what the download itself did not, and says what vouches for the file.
pub(super) fn check<'a>(
    client: &HttpClient,
    one: &'a ResolvedFile,
    path: &Path,
    kept: &StagingDir,
    progress: &dyn FetchProgress,
) -> Result<Checked<'a>, ImageError> {
    match &one.check {
        CheckMethod::Pinned => Ok(Checked::Pinned),
        CheckMethod::Listed(because) => Ok(Checked::Listed(because)),
        CheckMethod::Accepted => Ok(Checked::Accepted),
        CheckMethod::Signed(signed) => {
            let url = signed.url.clone().unwrap_or_default();
            let beside = Scratch::write(kept, "signature", &small(client, &url, false, progress)?)?;
            let judged = signature::check(path, &beside.0, &signed.keyring, &one.wanted.url);
            let signer = judged.inspect_err(|_| {
                // Nothing that fails its check is taken up by the next run.
                let _ = (fs::remove_file(path), fs::remove_file(kept.note(&one.wanted.file)));
            })?;
            Ok(Checked::Signed(signer))
        }
    }
}
