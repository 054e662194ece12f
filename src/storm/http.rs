//! Carries HTTP fetches of one machine: one connection, kept between files as iPXE keeps it, and
//! bytes that are counted and dropped.

use super::{
    progress::StormProgress,
    report::FailureCause,
    tftp::{Failed, local},
};
use crate::model::limits::STORM_HTTP_IDLE_TIMEOUT;
use crate::proto::ipxe::FileUrl;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{HOST, HeaderMap, RETRY_AFTER, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use std::{net::Ipv4Addr, sync::atomic::Ordering, time::Duration};
use tokio::{net::TcpSocket, task::JoinHandle, time::timeout};

/// The read buffer of a connection: what one wakeup takes, times ten thousand machines.
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// The receive buffer of a connection that is to be cut.
const CUT_BUFFER_BYTES: u32 = 16 * 1024;
/// How long a 503 without its `Retry-After` is waited out.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// One machine's HTTP client.
pub(super) struct Http<'a> {
    local: Ipv4Addr,
    server: Ipv4Addr,
    progress: &'a StormProgress,
    open: Option<Open>,
    /// The kernel's receive buffer of connections; its own choice where nothing is said.
    receive_buffer: Option<u32>,
}

struct Open {
    port: u16,
    sender: SendRequest<Empty<Bytes>>,
    carrier: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

impl<'a> Http<'a> {
    pub(super) fn new(local: Ipv4Addr, server: Ipv4Addr, progress: &'a StormProgress) -> Http<'a> {
        Http {
            local,
            server,
            progress,
            open: None,
            receive_buffer: None,
        }
    }

    /// The beginning of a file, so many percent of it: then its connection is cut.
    pub(super) async fn begin(&mut self, place: &FileUrl, percent: u64) -> Result<(), Failed> {
        // What is on its way is no more than that: the rest waits at the server when it is cut.
        self.receive_buffer = Some(CUT_BUFFER_BYTES);
        self.open = None;
        let response = in_time(self.request(place)).await??;
        if response.status() != StatusCode::OK {
            let status = response.status();
            return Err((FailureCause::HttpStatus(status.as_u16()), status.to_string()));
        }
        let mut body = response.into_body();
        let (mut had, of) = (0, body.size_hint().exact().unwrap_or(0));
        while had * 100 < of * percent
            && let Some(frame) = in_time(body.frame()).await?
        {
            let frame = frame.map_err(|error| broken(&error))?;
            had += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        self.open = None;
        Ok(())
    }

    /// A whole file; its first `keep` bytes. A 503 is waited out for as long as the storm lasts.
    pub(super) async fn fetch(&mut self, place: &FileUrl, keep: usize) -> Result<Vec<u8>, Failed> {
        loop {
            let response = in_time(self.request(place)).await??;
            match response.status() {
                StatusCode::OK => return self.body(response, keep).await,
                StatusCode::SERVICE_UNAVAILABLE => {
                    self.progress.http_busy.fetch_add(1, Ordering::Relaxed);
                    let pause = retry_after(response.headers());
                    self.open = None;
                    tokio::time::sleep(pause).await;
                }
                other => return Err((FailureCause::HttpStatus(other.as_u16()), other.to_string())),
            }
        }
    }

    /// Asks over the connection that is open, or over a new one.
    async fn request(&mut self, place: &FileUrl) -> Result<Response<Incoming>, Failed> {
        let kept = self.open.take().filter(|open| open.port == place.port);
        if let Some(mut open) = kept
            && open.sender.ready().await.is_ok()
        {
            let answered = self.ask(open, place).await;
            // The server may close an idle connection while we ask: iPXE asks again over a new one.
            if answered.is_ok() {
                return answered;
            }
        }
        let open = self.connect(place.port).await?;
        self.ask(open, place).await
    }

    async fn ask(&mut self, mut open: Open, place: &FileUrl) -> Result<Response<Incoming>, Failed> {
        let request = Request::get(&place.path)
            .header(HOST, &place.host)
            .header(USER_AGENT, "iPXE/1.21.1 (bootwright storm)")
            .body(Empty::new())
            .map_err(|error| broken(&error))?;
        let response = open
            .sender
            .send_request(request)
            .await
            .map_err(|error| broken(&error))?;
        self.open = Some(open);
        Ok(response)
    }

    async fn connect(&self, port: u16) -> Result<Open, Failed> {
        let socket = TcpSocket::new_v4().map_err(|error| local(&error))?;
        socket.bind((self.local, 0).into()).map_err(|error| local(&error))?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes).map_err(|error| local(&error))?;
        }
        let stream = socket
            .connect((self.server, port).into())
            .await
            .map_err(|error| broken(&error))?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(READ_BUFFER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let carrier = tokio::spawn(async move {
            // How it ended is told to whoever waits for the response.
            let _ = connection.await;
        });
        Ok(Open { port, sender, carrier })
    }

    /// Reads a body to its end; hyper holds it against Content-Length.
    async fn body(&mut self, response: Response<Incoming>, keep: usize) -> Result<Vec<u8>, Failed> {
        let mut body = response.into_body();
        let mut kept = Vec::new();
        while let Some(frame) = in_time(body.frame()).await? {
            let frame = frame.map_err(|error| broken(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            self.progress.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
            let room = keep.saturating_sub(kept.len()).min(data.len());
            kept.extend_from_slice(&data[..room]);
        }
        Ok(kept)
    }
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, Failed> {
    timeout(STORM_HTTP_IDLE_TIMEOUT, work)
        .await
        .map_err(|_| (FailureCause::HttpSilent, String::new()))
}

/// Whole seconds; iPXE reads no dates there either.
fn retry_after(headers: &HeaderMap) -> Duration {
    let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    header
        .and_then(|seconds| seconds.trim().parse().ok())
        .map_or(RETRY_AFTER_DEFAULT, Duration::from_secs)
}

fn broken(error: &dyn std::error::Error) -> Failed {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    (FailureCause::HttpBroken, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    #[test]
    fn a_pause_is_as_long_as_the_server_says_in_seconds() {
        let pause = |header: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, header.parse().unwrap())]));
        assert_eq!(pause("7"), Duration::from_secs(7));
        assert_eq!(pause("Fri, 31 Dec 1999 23:59:59 GMT"), RETRY_AFTER_DEFAULT);
        assert_eq!(retry_after(&HeaderMap::new()), RETRY_AFTER_DEFAULT);
    }

    #[tokio::test]
    async fn a_busy_server_is_asked_again_and_the_wait_is_counted() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = server.local_addr().unwrap().port();
        let answers = async {
            for answer in [
                "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nkernel",
            ] {
                let (mut stream, _) = server.accept().await.unwrap();
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let progress = StormProgress::default();
        let mut http = Http::new(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, &progress);
        let place = FileUrl::url(&format!("http://127.0.0.1:{port}/linux")).unwrap();
        let (fetched, ()) = tokio::join!(http.fetch(&place, 100), answers);
        assert_eq!(fetched, Ok(b"kernel".to_vec()));
        assert_eq!(progress.http_busy.load(Ordering::Relaxed), 1);
    }
}
