//! A server of a few lines, so that it can lie where a real one would not.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A request: its path, its headers in lower case, and its body.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    /// Where the part begins that is asked for.
    pub fn from(&self) -> Option<usize> {
        self.headers
            .get("range")?
            .strip_prefix("bytes=")?
            .trim_end_matches('-')
            .parse()
            .ok()
    }
}

/// Answers each request with the handler, one connection each, until the process ends.
pub struct Server {
    pub base: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// The handler is told how many requests there were before.
    pub fn start(handler: impl Fn(usize, &Request, &mut TcpStream) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let server = Server {
            base,
            seen: Arc::clone(&seen),
        };
        let handler = Arc::new(handler);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (handler, seen) = (Arc::clone(&handler), Arc::clone(&seen));
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(request) = read(&stream) else { return };
                    let before = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request.clone());
                        seen.len() - 1
                    };
                    handler(before, &request, &mut stream);
                });
            }
        });
        server
    }

    /// One that serves these files as they are, without parts.
    pub fn of(files: Vec<(&'static str, Vec<u8>)>) -> Server {
        Server::start(move |_, request, stream| {
            match files.iter().find(|(name, _)| request.path == format!("/{name}")) {
                Some((_, body)) => answer(stream, "200 OK", &[], body),
                None => answer(stream, "404 Not Found", &[], b"no"),
            }
        })
    }

    pub fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let headers: HashMap<String, String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.split_once(": ")
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        })
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body })
}

/// An honest answer.
pub fn answer(stream: &mut TcpStream, status: &str, headers: &[(&str, &str)], body: &[u8]) {
    head(stream, status, body.len(), headers);
    // A client that has enough may be gone.
    let _ = stream.write_all(body);
}

/// The head alone, with whatever length.
pub fn head(stream: &mut TcpStream, status: &str, length: usize, headers: &[(&str, &str)]) {
    let more: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n");
    let _ = stream.write_all(head.as_bytes());
}

/// `body` from `from`, as a server that knows parts gives it.
pub fn part(stream: &mut TcpStream, body: &[u8], from: usize, etag: &str) {
    let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
    answer(
        stream,
        "206 Partial Content",
        &[("Content-Range", &range), ("ETag", etag)],
        &body[from..],
    );
}
