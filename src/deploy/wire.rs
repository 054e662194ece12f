//! Plain HTTP to the daemon, over a network that may be away for minutes.
//!
//! What may pass is tried again with growing pauses, for as long as the wire's patience lasts: a connection that is
//! refused or breaks, silence, 429 and 5xx (not before their `Retry-After`). A download goes on where it stood, and
//! only with the same file.

use super::failure::{DeployFailure, WireFault};
use crate::model::limits::{
    DEPLOY_CONNECT_TIMEOUT, DEPLOY_PAUSE_MAX, DEPLOY_PAUSE_MIN, DEPLOY_PROGRESS_TIMEOUT, DEPLOY_SILENCE,
};
use std::{
    io::{self, Read},
    thread,
    time::{Duration, Instant},
};
use ureq::{
    Agent, Body, BodyReader,
    http::{HeaderValue, Response, StatusCode, header},
};

/// How requests are made.
pub(super) struct Wire {
    agent: Agent,
    patience: Duration,
}

/// How long a server that brings nothing is asked again.
struct Patience {
    limit: Duration,
    since: Instant,
    pause: Duration,
}

/// An image on its way.
pub(super) struct ImageDownload<'w> {
    wire: &'w Wire,
    url: &'w str,
    bytes: u64,
    /// The next byte that is wanted.
    at: u64,
    /// The first behind it that is not.
    until: u64,
    body: Option<BodyReader<'static>>,
    etag: Option<HeaderValue>,
    patience: Patience,
}

/// Why one request brought nothing.
enum RequestFault {
    /// Another may help.
    Passing {
        fault: WireFault,
        not_before: Option<Duration>,
    },
    /// No other will.
    Lasting(StatusCode),
}

impl Patience {
    fn new(limit: Duration) -> Patience {
        Patience {
            limit,
            since: Instant::now(),
            pause: DEPLOY_PAUSE_MIN,
        }
    }

    /// Something came.
    fn renew(&mut self) {
        self.since = Instant::now();
        self.pause = DEPLOY_PAUSE_MIN;
    }

    /// Waits until it is time for another try, unless it is out.
    fn wait(&mut self, fault: WireFault, not_before: Option<Duration>) -> Result<(), DeployFailure> {
        let waited = self.since.elapsed();
        let Some(left) = self.limit.checked_sub(waited).filter(|left| !left.is_zero()) else {
            return Err(DeployFailure::ServerGone { waited, last: fault });
        };
        let pause = self.pause.max(not_before.unwrap_or_default()).min(left);
        eprintln!(
            "bootwright-deploy: the server gives nothing: {fault}; the next try is in {:.1} s",
            pause.as_secs_f32()
        );
        thread::sleep(pause);
        self.pause = (self.pause * 2).min(DEPLOY_PAUSE_MAX);
        Ok(())
    }
}

impl Wire {
    pub(super) fn new(patience: Duration) -> Wire {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .user_agent(concat!("bootwright-deploy/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(DEPLOY_CONNECT_TIMEOUT))
            .timeout_recv_response(Some(DEPLOY_SILENCE))
            .timeout_per_read(Some(DEPLOY_SILENCE))
            .build();
        Wire {
            agent: config.into(),
            patience,
        }
    }

    /// A text of at most so many bytes.
    pub(super) fn text(&self, url: &str, what: &'static str, bytes_max: usize) -> Result<String, DeployFailure> {
        let mut patience = Patience::new(self.patience);
        loop {
            let fault = match answered(self.agent.get(url).call()) {
                Ok(response) => match read_text(response, bytes_max) {
                    Ok(Some(text)) => return Ok(text),
                    Ok(None) => return Err(DeployFailure::TooLong { what }),
                    Err(error) => RequestFault::from(error),
                },
                Err(fault) => fault,
            };
            fault.passing(what, &mut patience)?;
        }
    }

    /// Posts a form until it is taken.
    pub(super) fn post(
        &self,
        url: &str,
        form: &str,
        what: &'static str,
        patience: Duration,
    ) -> Result<(), DeployFailure> {
        let mut patience = Patience::new(patience.max(self.patience));
        loop {
            let request = self.agent.post(url).header(header::CONTENT_TYPE, FORM);
            match answered(request.send(form)) {
                Ok(_) => return Ok(()),
                Err(fault) => fault.passing(what, &mut patience)?,
            }
        }
    }

    /// Posts a form once, and does not care.
    pub(super) fn post_once(&self, url: &str, form: &str) {
        let request = self.agent.post(url).header(header::CONTENT_TYPE, FORM);
        let request = request.config().timeout_global(Some(DEPLOY_PROGRESS_TIMEOUT)).build();
        if answered(request.send(form)).is_err() {
            eprintln!("bootwright-deploy: the server did not take a word about progress");
        }
    }

    /// The bytes of an image, of which there are so many.
    pub(super) fn download<'w>(&'w self, url: &'w str, bytes: u64) -> ImageDownload<'w> {
        ImageDownload {
            wire: self,
            url,
            bytes,
            at: 0,
            until: bytes,
            body: None,
            etag: None,
            patience: Patience::new(self.patience),
        }
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

/// A response that is worth to be read.
fn answered(result: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, RequestFault> {
    let response = result.map_err(|error| RequestFault::Passing {
        fault: WireFault::Connection(Box::new(error)),
        not_before: None,
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let is_passing =
        status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if !is_passing {
        return Err(RequestFault::Lasting(status));
    }
    let after = response.headers().get(header::RETRY_AFTER);
    let seconds = after.and_then(|after| after.to_str().ok()?.trim().parse().ok());
    Err(RequestFault::Passing {
        fault: WireFault::Busy {
            status: status.as_u16(),
        },
        not_before: seconds.map(Duration::from_secs),
    })
}

/// The text, unless it is too long.
fn read_text(response: Response<Body>, bytes_max: usize) -> io::Result<Option<String>> {
    let mut text = String::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    response
        .into_body()
        .into_reader()
        .take(limit)
        .read_to_string(&mut text)?;
    Ok((text.len() <= bytes_max).then_some(text))
}

impl From<io::Error> for RequestFault {
    fn from(error: io::Error) -> RequestFault {
        RequestFault::Passing {
            fault: WireFault::Broken(error),
            not_before: None,
        }
    }
}

impl RequestFault {
    /// Waits, where another try may help.
    fn passing(self, what: &'static str, patience: &mut Patience) -> Result<(), DeployFailure> {
        match self {
            RequestFault::Passing { fault, not_before } => patience.wait(fault, not_before),
            RequestFault::Lasting(status) => Err(DeployFailure::Refused {
                what,
                status: status.as_u16(),
            }),
        }
    }
}

impl ImageDownload<'_> {
    /// Nothing is wanted from this byte on, until it goes on.
    pub(super) fn end_at(&mut self, byte: u64) {
        self.until = byte.min(self.bytes);
    }

    /// What is wanted next begins there, and ends with the image.
    pub(super) fn go_on_at(&mut self, byte: u64) {
        self.body = None;
        // Nothing was asked of the server meanwhile, for as long as a disk takes to be read.
        self.patience.renew();
        (self.at, self.until) = (byte, self.bytes);
    }

    /// The next bytes, or none at its end.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, DeployFailure> {
        loop {
            let left = usize::try_from(self.until.saturating_sub(self.at))
                .unwrap_or(usize::MAX)
                .min(into.len());
            if left == 0 {
                return Ok(0);
            }
            let Some(body) = &mut self.body else {
                self.open()?;
                continue;
            };
            let error = match body.read(&mut into[..left]) {
                Ok(0) => io::Error::from(io::ErrorKind::UnexpectedEof),
                Ok(read) => {
                    self.at += u64::try_from(read).unwrap_or_default();
                    self.patience.renew();
                    return Ok(read);
                }
                Err(error) => error,
            };
            self.body = None;
            self.patience.wait(WireFault::Broken(error), None)?;
        }
    }

    /// Asks for the bytes that are still wanted.
    fn open(&mut self) -> Result<(), DeployFailure> {
        // gzip of an image is a file, and no encoding of one.
        let mut request = self
            .wire
            .agent
            .get(self.url)
            .header(header::ACCEPT_ENCODING, "identity");
        if self.until < self.bytes {
            let last = self.until.saturating_sub(1);
            request = request.header(header::RANGE, format!("bytes={}-{last}", self.at));
        } else if self.at > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.at));
        }
        if self.at > 0 {
            // A weak one tells of no bytes, and `If-Match` never fits it (RFC 9110, 13.1.1).
            let is_strong = |etag: &&HeaderValue| !etag.as_bytes().starts_with(b"W/");
            if let Some(etag) = self.etag.as_ref().filter(is_strong) {
                request = request.header(header::IF_MATCH, etag);
            }
        }
        match answered(request.call()) {
            Ok(response) => self.begin(response),
            Err(RequestFault::Lasting(StatusCode::PRECONDITION_FAILED)) => Err(DeployFailure::ImageChanged),
            Err(RequestFault::Lasting(StatusCode::RANGE_NOT_SATISFIABLE)) => Err(DeployFailure::ImageLength {
                found: self.at,
                wanted: self.bytes,
            }),
            Err(fault) => fault.passing("the image", &mut self.patience),
        }
    }

    /// Takes a response whose bytes are those that are wanted.
    fn begin(&mut self, response: Response<Body>) -> Result<(), DeployFailure> {
        let headers = response.headers();
        let etag = headers.get(header::ETAG);
        if self.at > 0 && self.etag.as_ref() != etag {
            return Err(DeployFailure::ImageChanged);
        }
        self.etag = etag.cloned();
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        let (from, whole) = match (is_part, content_range(headers.get(header::CONTENT_RANGE))) {
            (true, Some((from, whole))) => (from, whole),
            (true, None) => (u64::MAX, None),
            (false, _) => (0, number(headers.get(header::CONTENT_LENGTH))),
        };
        if let Some(found) = whole.filter(|found| *found != self.bytes) {
            return Err(DeployFailure::ImageLength {
                found,
                wanted: self.bytes,
            });
        }
        let mut body = response.into_body().into_reader();
        // A server without ranges begins at the first byte again.
        let Some(known) = self.at.checked_sub(from) else {
            return Err(DeployFailure::ImageChanged);
        };
        match io::copy(&mut (&mut body).take(known), &mut io::sink()) {
            Ok(skipped) if skipped == known => {
                self.body = Some(body);
                Ok(())
            }
            Ok(_) => self
                .patience
                .wait(WireFault::Broken(io::ErrorKind::UnexpectedEof.into()), None),
            Err(error) => self.patience.wait(WireFault::Broken(error), None),
        }
    }
}

fn number(value: Option<&HeaderValue>) -> Option<u64> {
    value?.to_str().ok()?.trim().parse().ok()
}

/// The first byte of a part, and how many the whole has, of `bytes 5-9/10`.
fn content_range(value: Option<&HeaderValue>) -> Option<(u64, Option<u64>)> {
    let (range, whole) = value?.to_str().ok()?.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (from, _) = range.split_once('-')?;
    Some((from.trim().parse().ok()?, whole.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_was_not_asked_while_the_disk_was_read_has_all_the_patience_there_is() {
        let limit = Duration::from_secs(5);
        let wire = Wire::new(limit);
        let mut download = wire.download("http://192.0.2.1/image", 10);
        let broken = || WireFault::Broken(io::ErrorKind::UnexpectedEof.into());
        download.end_at(4);
        download.patience.since = Instant::now().checked_sub(limit * 2).unwrap();
        let gone = download.patience.wait(broken(), None);
        assert!(matches!(gone, Err(DeployFailure::ServerGone { .. })));
        download.go_on_at(8);
        assert!(download.patience.wait(broken(), None).is_ok());
    }

    #[test]
    fn a_part_says_where_it_begins_and_how_many_bytes_the_whole_has() {
        let range = |text: &'static str| content_range(Some(&HeaderValue::from_static(text)));
        assert_eq!(range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, None)));
        for text in ["bytes */10", "5-9/10", "bytes 5-9", "items 5-9/10"] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}
