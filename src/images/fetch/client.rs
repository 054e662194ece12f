//! One HTTP request as a command needs it: the system's certificate authorities, the environment's
//! proxy, bounded waits, and faults in words that say whether another try may help.

use super::{request::RetryPolicy, url};
use crate::images::error::ImageError;
use crate::model::limits::FETCH_REDIRECTS_MAX;
use std::{
    fmt,
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};
use ureq::{
    Agent, Body, Error, Proxy, ResponseExt,
    http::{Response, StatusCode, Uri, header},
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};

/// Why a request brought nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// Another try will end the same way.
    Lasting(ImageError),
    /// Another try may help; not before so long, if the server says so.
    Passing {
        error: ImageError,
        not_before: Option<Duration>,
    },
}

impl Fault {
    pub(super) fn passing(why: impl fmt::Display) -> Fault {
        Fault::Passing {
            error: ImageError::new(why),
            not_before: None,
        }
    }

    pub(super) fn lasting(why: impl fmt::Display) -> Fault {
        Fault::Lasting(ImageError::new(why))
    }

    /// Adds the error beneath it.
    fn with_source(self, source: impl std::error::Error + Send + Sync + 'static) -> Fault {
        match self {
            Fault::Lasting(error) => Fault::Lasting(error.with_source(source)),
            Fault::Passing { error, not_before } => Fault::Passing {
                error: error.with_source(source),
                not_before,
            },
        }
    }
}

/// What one request asks for besides the URL.
#[derive(Default)]
pub(super) struct RequestOptions<'a> {
    /// The first byte that is wanted, of a file that some are here of.
    pub(super) from: u64,
    /// The version that they are of.
    pub(super) validator: Option<&'a str>,
    /// Nothing but HTTPS will do, at every redirect.
    pub(super) secure: bool,
}

/// Asks servers.
pub(super) struct HttpClient {
    agent: Agent,
    pub(super) retry_policy: RetryPolicy,
}

impl HttpClient {
    pub(super) fn new(retry_policy: RetryPolicy) -> HttpClient {
        let roots = rustls_native_certs::load_native_certs().certs;
        let roots: Vec<Certificate<'static>> = roots
            .iter()
            .map(|root| Certificate::from_der(root).to_owned())
            .collect();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(tls)
            .proxy(Proxy::try_from_env())
            .max_redirects(FETCH_REDIRECTS_MAX)
            .user_agent(concat!("bootwright/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(retry_policy.connect))
            .timeout_connect(Some(retry_policy.connect))
            .timeout_recv_response(Some(retry_policy.silence))
            .timeout_per_read(Some(retry_policy.silence))
            .build();
        HttpClient {
            agent: config.into(),
            retry_policy,
        }
    }

    /// The answer with its body unread: 200, 206, or 416 where a part was asked for.
    pub(super) fn ask(&self, url: &str, asked: &RequestOptions<'_>) -> Result<Response<Body>, Fault> {
        // A distribution's .gz is a file, and no encoding of one.
        let mut request = self.agent.get(url).header(header::ACCEPT_ENCODING, "identity");
        if asked.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", asked.from));
        }
        if let (true, Some(validator)) = (asked.from > 0, asked.validator) {
            request = request.header(header::IF_RANGE, validator);
        }
        let request = request.config().https_only(asked.secure).build();
        let response = request.call().map_err(|error| self.in_words(url, error))?;
        let part = asked.from > 0;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if part => Ok(response),
            status => Err(refused(url, status, &response)),
        }
    }

    fn in_words(&self, url: &str, error: Error) -> Fault {
        let host = url::host(url);
        let fault = match &error {
            Error::Io(_) => return self.broken(url, error.into_io()),
            Error::Timeout(_) => Fault::passing(format_args!(
                "{host} did not answer within {} s",
                self.retry_policy.connect.max(self.retry_policy.silence).as_secs_f32()
            )),
            Error::HostNotFound => Fault::lasting(format_args!(
                "{url}: the name {host} is not known here; is it right, and does this machine have DNS? A proxy is taken from https_proxy"
            )),
            Error::TooManyRedirects => Fault::lasting(format_args!(
                "{url}: it is redirected more than {FETCH_REDIRECTS_MAX} times; take the URL that it shall lead to"
            )),
            Error::Rustls(error) => distrusted(url, error),
            Error::Tls(error) => distrusted(url, error),
            // ureq asks a proxy for a tunnel in any case, and most let tunnels to port 443 alone through.
            Error::ConnectProxyFailed(why) => Fault::lasting(format_args!(
                "can't fetch {url}: the proxy of the environment gives no way to {host}: {why}; take an https:// URL, or name the host in no_proxy"
            )),
            Error::ConnectionFailed => Fault::passing(format_args!("there is no connection to {host}")),
            Error::RequireHttpsOnly(_) => Fault::lasting(format_args!(
                "{url}: it leads to plain HTTP, where anybody on the way may change what has no signature"
            )),
            other => Fault::lasting(format_args!("can't fetch {url}: {other}")),
        };
        fault.with_source(error)
    }

    /// What became of a connection.
    pub(super) fn broken(&self, url: &str, error: io::Error) -> Fault {
        let host = url::host(url);
        let inner = error.get_ref();
        let distrust = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let is_timeout = inner.is_some_and(|inner| matches!(inner.downcast_ref::<Error>(), Some(Error::Timeout(_))));
        let fault = match (distrust, error.kind()) {
            (Some(distrust), _) => distrusted(url, distrust),
            (None, ErrorKind::UnexpectedEof) => Fault::passing(format_args!("{host} closed the connection too early")),
            (None, ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                Fault::passing(format_args!("{host} was silent for too long"))
            }
            (None, _) if is_timeout => Fault::passing(format_args!(
                "{host} was silent for {} s",
                self.retry_policy.silence.as_secs_f32()
            )),
            (None, _) => Fault::passing(format_args!("the connection to {host} failed: {error}")),
        };
        fault.with_source(error)
    }
}

fn distrusted(url: &str, why: impl fmt::Display) -> Fault {
    Fault::lasting(format_args!(
        "can't trust the server of {url}: {why}; its certificate authority must be one of this system's (update-ca-certificates), or in the file that SSL_CERT_FILE names"
    ))
}

fn refused(url: &str, status: StatusCode, response: &Response<Body>) -> Fault {
    let failure = ServerRefusal {
        url,
        led_to: Some(response.get_uri()).filter(|last| *last != url),
        status,
    };
    if status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) {
        let after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|after| after.to_str().ok());
        let not_before = after.and_then(|after| after.parse().ok()).map(Duration::from_secs);
        return Fault::Passing {
            error: ImageError::new(failure),
            not_before,
        };
    }
    let next = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            "the file has moved or the release is over: look in a browser where it is now, and put that into a catalogue.toml of your own"
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "the server does not give it to this machine: try another mirror, or ask who runs the server"
        }
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => "put user and password into https_proxy",
        _ => "try another mirror",
    };
    Fault::lasting(format_args!("{failure}; {next}"))
}

/// Which server said what in place of the file.
struct ServerRefusal<'a> {
    url: &'a str,
    /// Where the URL led.
    led_to: Option<&'a Uri>,
    status: StatusCode,
}

impl fmt::Display for ServerRefusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url)?;
        if let Some(last) = self.led_to {
            write!(f, " (which leads to {last})")?;
        }
        write!(f, ": the server says {}", self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn what_the_system_says_of_a_connection_stays_beneath_what_is_said_of_it() {
        let client = HttpClient::new(RetryPolicy::default());
        for kind in [
            ErrorKind::ConnectionRefused,
            ErrorKind::UnexpectedEof,
            ErrorKind::TimedOut,
        ] {
            let fault = client.in_words("http://192.0.2.1/linux", Error::Io(kind.into()));
            let Fault::Passing { error, .. } = fault else {
                panic!("{kind}: {fault:?}");
            };
            let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
            assert_eq!(source.map(io::Error::kind), Some(kind), "{error}");
        }
        let fault = client.in_words("http://nowhere.example/linux", Error::HostNotFound);
        let Fault::Lasting(error) = fault else {
            panic!("{fault:?}");
        };
        let source = error.source().and_then(|source| source.downcast_ref::<Error>());
        assert!(matches!(source, Some(Error::HostNotFound)), "{error}");
    }
}
