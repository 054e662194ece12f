//! The operator's socket, asked by the command line's own client and by hand.

use bootwright::admin::{
    self, AdminSocket, Answers, Caller, Document, Lines,
    api::{
        AdminRefusal, ArmRequest, Armed, AttemptFilter, AttemptStatus, DisarmRequest, Disarmed, EventFilter, EventLine,
        Explanation, GenerationFilter, GenerationStatus, HostFilter, HostStatus, LeaseStatus, NoParameters,
        PacketFilter, PlanBasis, Problem, QuestionWords, RecordedPackets, RefusalCode, ReloadAccepted, ReloadRefusal,
        RenderRequest, RenderedText, RollbackRequest, RolledBack, Status, generation_number,
    },
    client::{self, ClientError},
    routes::{
        GetAttempts, GetEvents, GetExplain, GetGenerations, GetHosts, GetLeases, GetPackets, GetPlanBasis, GetRender,
        GetStatus, PostArm, PostDisarm, PostReload, PostRollback,
    },
};
use bootwright::model::WallTime;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::Ipv4Addr,
    ops::ControlFlow,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{Sender, channel},
    },
    time::Duration,
};

/// Long enough for anything that happens at all.
const SOON: Duration = Duration::from_secs(60);

/// More than a socket holds, so that an answer waits for who asked.
const HOSTS: usize = 2_000;

type Hosts = Box<dyn Iterator<Item = HostStatus> + Send>;

/// Whoever answers.
struct Api {
    hosts: Box<dyn Fn() -> Hosts + Send + Sync>,
}

impl Api {
    fn new() -> Api {
        Api::with_hosts(|| Box::new(std::iter::repeat_n(host(0), HOSTS)))
    }

    fn with_hosts(hosts: impl Fn() -> Hosts + Send + Sync + 'static) -> Api {
        Api { hosts: Box::new(hosts) }
    }
}

fn host(number: usize) -> HostStatus {
    HostStatus {
        name: format!("r1u{number}"),
        macs: vec!["52:54:00:00:00:07".to_owned()],
        address: None,
        holds: Vec::new(),
        boot: "local".to_owned(),
        image: None,
        script: None,
        loaders: Vec::new(),
        locked: false,
        disks: None,
        install: None,
        written: "inventory.toml:41".to_owned(),
    }
}

impl Answers<PostArm> for Api {
    fn answer(&self, request: ArmRequest, caller: &Caller) -> Result<Document<Armed>, AdminRefusal> {
        Ok(Document(Armed {
            until: WallTime(request.lasting()?.as_secs()).into(),
            hosts: request.host,
            by: caller.uid().map_or_else(String::new, |uid| uid.to_string()),
            disks: Vec::new(),
        }))
    }
}

impl Answers<PostDisarm> for Api {
    fn answer(&self, request: DisarmRequest, _: &Caller) -> Result<Document<Disarmed>, AdminRefusal> {
        Ok(Document(Disarmed {
            disarmed: request.host,
            unarmed: request.by,
        }))
    }
}

impl Answers<GetStatus> for Api {
    fn answer(&self, _: NoParameters, _: &Caller) -> Result<Document<Status>, AdminRefusal> {
        Err(AdminRefusal::new(RefusalCode::Internal, "the store is damaged"))
    }
}

impl Answers<GetHosts> for Api {
    fn answer(&self, filter: HostFilter, _: &Caller) -> Result<Lines<HostStatus>, AdminRefusal> {
        match filter.host.first() {
            None => Ok(Lines::new((self.hosts)())),
            Some(name) => Err(AdminRefusal::new(RefusalCode::UnknownHost, name.as_str()).with_help("look")),
        }
    }
}

impl Answers<GetLeases> for Api {
    fn answer(&self, _: NoParameters, _: &Caller) -> Result<Lines<LeaseStatus>, AdminRefusal> {
        Ok(Lines::new(std::iter::once(LeaseStatus {
            address: Ipv4Addr::new(192, 0, 2, 100),
            client: "52:54:00:00:00:07".to_owned(),
            host: None,
            expires: WallTime(1_764_307_162).into(),
        })))
    }
}

impl Answers<GetAttempts> for Api {
    fn answer(&self, _: AttemptFilter, _: &Caller) -> Result<Lines<AttemptStatus>, AdminRefusal> {
        Ok(Lines::new(std::iter::empty()))
    }
}

/// Two events, and then nothing for as long as somebody follows.
impl Answers<GetEvents> for Api {
    fn answer(&self, filter: EventFilter, _: &Caller) -> Result<Lines<EventLine>, AdminRefusal> {
        let missed = [7, 8].map(|count| EventLine::Missed { count }).into_iter();
        Ok(match filter.follow.is_empty() {
            true => Lines::new(missed),
            false => Lines::new(missed.chain(std::iter::repeat(EventLine::Alive))),
        })
    }
}

impl Answers<GetPackets> for Api {
    fn answer(&self, _: PacketFilter, _: &Caller) -> Result<Document<RecordedPackets>, AdminRefusal> {
        Err(AdminRefusal::new(RefusalCode::NotFound, "no packets are kept"))
    }
}

impl Answers<GetPlanBasis> for Api {
    fn answer(&self, _: NoParameters, _: &Caller) -> Result<Document<PlanBasis>, AdminRefusal> {
        Err(AdminRefusal::new(RefusalCode::Internal, "no inventory is served"))
    }
}

impl Answers<GetGenerations> for Api {
    fn answer(&self, _: GenerationFilter, _: &Caller) -> Result<Lines<GenerationStatus>, AdminRefusal> {
        Ok(Lines::new(std::iter::empty()))
    }
}

impl Answers<PostRollback> for Api {
    fn answer(&self, request: RollbackRequest, _: &Caller) -> Result<Document<RolledBack>, AdminRefusal> {
        generation_number(&request.number)?;
        Err(AdminRefusal::new(RefusalCode::NotFound, "no generation is kept"))
    }
}

impl Answers<GetRender> for Api {
    fn answer(&self, request: RenderRequest, _: &Caller) -> Result<Document<RenderedText>, AdminRefusal> {
        Err(AdminRefusal::new(RefusalCode::UnknownHost, request.host.concat()))
    }
}

impl Answers<GetExplain> for Api {
    fn answer(&self, words: QuestionWords, _: &Caller) -> Result<Document<Explanation>, AdminRefusal> {
        Err(AdminRefusal::new(RefusalCode::UnknownHost, words.machine.concat()))
    }
}

impl Answers<PostReload> for Api {
    fn answer(&self, _: NoParameters, _: &Caller) -> Result<Document<ReloadAccepted>, AdminRefusal> {
        Err(AdminRefusal::from(ReloadRefusal {
            at: WallTime(7).into(),
            generation: 3,
            errors: vec![Problem {
                help: Some("nearest is 192.0.2.0/24".to_owned()),
                file: Some("inventory.toml".to_owned()),
                line: Some(41),
                column: Some(9),
                ..Problem::new("host r1u07: address 192.0.3.11 lies in no subnet")
            }],
        }))
    }
}

/// Serves while `asking` runs, and gives it the socket's path.
fn with_daemon<T>(api: Api, asking: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let socket = AdminSocket::bind(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let serving = runtime.spawn(async move { admin::serve(&socket, Arc::new(api), stopped).await });
    let answer = asking(&path);
    stop.send(true).unwrap();
    runtime.block_on(serving).unwrap().unwrap();
    runtime.shutdown_background();
    answer
}

fn hosts(path: &Path) -> Result<Vec<HostStatus>, ClientError> {
    client::list::<GetHosts, _>(path, &HostFilter::default())
}

#[test]
fn a_list_that_goes_on_is_read_as_it_comes_until_its_reader_has_enough() {
    let filter = EventFilter {
        follow: vec!["true".to_owned()],
        ..EventFilter::default()
    };
    let mut read = Vec::new();
    let done = with_daemon(Api::new(), |path| {
        client::each::<GetEvents, EventLine>(path, &filter, |line| {
            read.push(line);
            match read.len() {
                4 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        })
    });
    assert!(done.is_ok());
    let missed = |count| EventLine::Missed { count };
    assert_eq!(read, [missed(7), missed(8), EventLine::Alive, EventLine::Alive]);
}

fn refused(error: ClientError) -> AdminRefusal {
    match error {
        ClientError::Refused(refusal) => *refusal,
        other => panic!("{other}"),
    }
}

/// A connection by hand.
struct Raw {
    stream: BufReader<UnixStream>,
}

/// A response by hand.
#[derive(Debug)]
struct Response {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Raw {
    fn connect(path: &Path) -> Raw {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Raw {
            stream: BufReader::new(stream),
        }
    }

    fn ask(&mut self, request: &str) {
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line
    }

    /// The head of a response.
    fn head(&mut self) -> (u16, String) {
        let status = self.line().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = String::new();
        loop {
            match self.line().trim_end() {
                "" => return (status, headers),
                line => headers += &(line.to_ascii_lowercase() + "\n"),
            }
        }
    }

    /// A chunk of a chunked body; the last one is empty.
    fn chunk(&mut self) -> Vec<u8> {
        let length = usize::from_str_radix(self.line().trim_end(), 16).unwrap();
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk).unwrap();
        chunk.truncate(length);
        chunk
    }

    fn response(&mut self) -> Response {
        let (status, headers) = self.head();
        let length = headers.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body = match length {
            Some(length) => {
                let mut body = vec![0; length.parse().unwrap()];
                self.stream.read_exact(&mut body).unwrap();
                body
            }
            None => {
                let chunks = std::iter::from_fn(|| Some(self.chunk()).filter(|chunk| !chunk.is_empty()));
                chunks.flatten().collect()
            }
        };
        Response { status, headers, body }
    }

    /// Whether the daemon ended the connection, with nothing more on it.
    fn is_ended(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([]) | Err(_))
    }
}

#[test]
fn a_list_is_a_json_object_a_line_with_times_of_rfc_3339() {
    with_daemon(Api::new(), |path| {
        let mut raw = Raw::connect(path);
        raw.ask("GET /v1/leases");
        let response = raw.response();
        assert_eq!(response.status, 200);
        for header in [
            "content-type: application/x-ndjson\n",
            "transfer-encoding: chunked\n",
            "bootwright-api: 1\n",
            &format!("server: bootwright/{}\n", env!("CARGO_PKG_VERSION")),
        ] {
            assert!(response.headers.contains(header), "{}", response.headers);
        }
        assert!(response.body.ends_with(b"}\n"));
        let lease = json!({
            "address": "192.0.2.100",
            "client": "52:54:00:00:00:07",
            "host": null,
            "expires": "2025-11-28T05:19:22Z",
        });
        assert_eq!(response.json(), lease);
        let leases = client::list::<GetLeases, _>(path, &NoParameters {}).unwrap();
        assert_eq!(leases[0].expires, WallTime(1_764_307_162).into());
    });
}

#[test]
fn a_refused_reload_names_the_line_and_what_to_do() {
    with_daemon(Api::new(), |path| {
        let mut raw = Raw::connect(path);
        raw.ask("POST /v1/reload");
        let response = raw.response();
        assert!(response.headers.contains("content-type: application/problem+json\n"));
        let refusal = json!({
            "api": 1,
            "status": 422,
            "code": "files-refused",
            "title": "The files are refused",
            "detail": "reload refused: generation 3 stays in force",
            "at": "1970-01-01T00:00:07Z",
            "generation": 3,
            "errors": [{
                "message": "host r1u07: address 192.0.3.11 lies in no subnet",
                "help": "nearest is 192.0.2.0/24",
                "file": "inventory.toml",
                "line": 41,
                "column": 9,
            }],
        });
        assert_eq!((response.status, response.json()), (422, refusal));
        let error = client::document::<PostReload, _>(path, &NoParameters {}).unwrap_err();
        assert_eq!(serde_json::to_value(error.refusal()).unwrap(), response.json());
    });
}

#[test]
fn every_refusal_has_one_shape() {
    with_daemon(Api::new(), |path| {
        let mut raw = Raw::connect(path);
        for (request, status, code) in [
            ("GET /v1/status", 500, "internal"),
            ("GET /v1/nowhere", 404, "not-found"),
            ("DELETE /v1/hosts", 405, "method-not-allowed"),
            ("GET /v1/hosts?hots=r1u07", 400, "bad-request"),
            ("GET /v1/hosts?host=r1u7", 404, "unknown-host"),
            ("GET /v2/status", 404, "unsupported-version"),
            ("GET /status", 404, "unsupported-version"),
        ] {
            raw.ask(request);
            let response = raw.response();
            let refusal: AdminRefusal = serde_json::from_slice(&response.body).unwrap();
            assert_eq!((response.status, refusal.status), (status, Some(status)), "{request}");
            assert_eq!(response.json()["code"], code, "{request}");
            assert!(!refusal.detail.is_empty() && response.headers.contains("bootwright-api: 1\n"));
        }
        let filter = HostFilter {
            host: vec!["räck 1&2".to_owned()],
        };
        let refusal = refused(client::list::<GetHosts, _>(path, &filter).unwrap_err());
        let received = (refusal.code, &*refusal.detail, refusal.help.as_deref());
        assert_eq!(received, (RefusalCode::UnknownHost, "räck 1&2", Some("look")));
    });
}

#[test]
fn one_connection_takes_question_after_question() {
    with_daemon(Api::new(), |path| {
        let mut raw = Raw::connect(path);
        for _ in 0..3 {
            raw.ask("GET /v1/hosts");
            raw.ask("GET /v1/status");
            assert_eq!(raw.response().body.iter().filter(|byte| **byte == b'\n').count(), HOSTS);
            assert_eq!(raw.response().status, 500);
        }
    });
}

/// Tells when it is dropped.
struct Dropped(Sender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn a_list_without_an_end_is_made_as_it_is_read_and_ends_with_its_reader() {
    let (ended, has_ended) = channel();
    let endless = move || -> Hosts {
        let dropped = Dropped(ended.clone());
        Box::new((0..).map(move |number| {
            let _ = &dropped;
            host(number)
        }))
    };
    with_daemon(Api::with_hosts(endless), |path| {
        let mut raw = Raw::connect(path);
        raw.ask("GET /v1/hosts");
        assert_eq!(raw.head().0, 200);
        let mut read = Vec::new();
        while read.iter().filter(|byte| **byte == b'\n').count() < 3 * HOSTS {
            read.extend(raw.chunk());
        }
        let lines = read.split(|byte| *byte == b'\n').take(3 * HOSTS).enumerate();
        for (number, line) in lines {
            let listed: HostStatus = serde_json::from_slice(line).unwrap();
            assert_eq!(listed, host(number));
        }
        drop(raw);
        has_ended.recv_timeout(SOON).unwrap();
    });
}

#[test]
fn a_line_is_sent_before_the_next_is_known() {
    let (next, coming) = channel();
    let coming = Mutex::new(Some(coming));
    let live = move || -> Hosts { Box::new(coming.lock().unwrap().take().unwrap().into_iter().map(host)) };
    with_daemon(Api::with_hosts(live), |path| {
        let mut raw = Raw::connect(path);
        raw.ask("GET /v1/hosts");
        assert_eq!(raw.head().0, 200);
        for number in 0..3 {
            next.send(number).unwrap();
            let listed: HostStatus = serde_json::from_slice(&raw.chunk()).unwrap();
            assert_eq!(listed, host(number));
        }
        drop(next);
        assert_eq!(raw.chunk(), b"");
    });
}

#[test]
fn a_list_that_breaks_off_is_an_error_and_no_shorter_list() {
    let broken = || -> Hosts {
        Box::new((0..HOSTS).map(|number| match number {
            1_999 => panic!("the last one breaks"),
            number => host(number),
        }))
    };
    with_daemon(Api::with_hosts(broken), |path| {
        let error = hosts(path).unwrap_err();
        assert!(matches!(error, ClientError::BrokenOff { .. }), "{error}");
        assert_eq!(error.refusal().code, RefusalCode::NoAnswer);
    });
}

/// Says `response` to whoever asks first.
fn daemon_that_says(response: String) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
        while head.next().is_some_and(|line| !line.unwrap().is_empty()) {}
        stream.write_all(response.as_bytes()).unwrap();
    });
    (folder, path)
}

#[test]
fn a_daemon_of_another_version_is_named_with_both_versions() {
    let ours = format!("this is bootwright {} with API 1", env!("CARGO_PKG_VERSION"));
    let before = r#"{"message":"nothing is at /v1/status"}"#;
    for (head, body, theirs) in [
        ("404 Not Found", before, "an older bootwright, of before API 1"),
        (
            "200 OK\r\nServer: bootwright/7.8.9\r\nBootwright-API: 2",
            "{}",
            "bootwright 7.8.9 with API 2",
        ),
    ] {
        let length = body.len();
        let (_folder, path) = daemon_that_says(format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}"));
        let error = client::document::<GetStatus, _>(&path, &NoParameters {}).unwrap_err();
        assert!(matches!(error, ClientError::OtherVersion { .. }), "{error}");
        let received = error.refusal().detail;
        assert!(received.contains(&ours) && received.contains(theirs), "{received}");
        assert_eq!(error.refusal().code, RefusalCode::VersionMismatch);
    }
}

#[test]
fn a_command_of_before_the_versions_shows_both_of_them() {
    with_daemon(Api::new(), |path| {
        let mut raw = Raw::connect(path);
        for request in ["GET /status", "GET /hosts", "GET /leases", "POST /reload"] {
            raw.ask(request);
            // These two it reads, and shows.
            let response = raw.response().json();
            let [message, help] = ["message", "help"].map(|key| response[key].as_str().unwrap());
            let here = format!("this daemon is bootwright {} with API 1", env!("CARGO_PKG_VERSION"));
            assert!(
                message.starts_with(&here) && help.contains("older than the daemon"),
                "{message}; {help}"
            );
        }
    });
}

#[test]
fn a_missing_daemon_is_reported_with_what_to_do() {
    let error = client::document::<GetStatus, _>("/nonexistent/admin.sock".as_ref(), &NoParameters {}).unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { .. }), "{error}");
    let refusal = error.refusal();
    assert_eq!((refusal.code, refusal.status), (RefusalCode::NoDaemon, None));
    assert!(
        refusal.detail.contains("see `systemctl status bootwright`"),
        "{refusal}"
    );
}

#[test]
fn garbage_and_silence_take_no_place_from_an_operator() {
    with_daemon(Api::new(), |path| {
        let mut garbage = UnixStream::connect(path).unwrap();
        garbage.write_all(b"\x00\xff\r\n\r\nGET").unwrap();
        let silent: Vec<UnixStream> = (0..8).map(|_| UnixStream::connect(path).unwrap()).collect();
        assert_eq!(hosts(path).unwrap().len(), HOSTS);
        let mut answer = Vec::new();
        let _ = garbage.read_to_end(&mut answer);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
            "{}",
            answer.escape_ascii()
        );
        drop(silent);
    });
}

#[test]
fn whoever_only_holds_connections_gives_way_to_who_asks() {
    with_daemon(Api::new(), |path| {
        let silent: Vec<Raw> = (0..100).map(|_| Raw::connect(path)).collect();
        assert_eq!(hosts(path).unwrap().len(), HOSTS);
        let unread = |_| {
            let mut raw = Raw::connect(path);
            raw.ask("GET /v1/hosts");
            raw
        };
        let unread: Vec<Raw> = (0..40).map(unread).collect();
        assert_eq!(hosts(path).unwrap().len(), HOSTS);
        drop((silent, unread));
    });
}

#[test]
fn an_answered_connection_that_is_kept_gives_way_before_one_that_is_being_answered() {
    let endless = || -> Hosts { Box::new((0..).map(host)) };
    with_daemon(Api::with_hosts(endless), |path| {
        let mut streamed = Raw::connect(path);
        streamed.ask("GET /v1/hosts");
        assert_eq!(streamed.head().0, 200);
        let kept = |_| {
            let mut raw = Raw::connect(path);
            raw.ask("GET /v1/status");
            assert_eq!(raw.response().status, 500);
            raw
        };
        // One more than there are places for, beside the first.
        let mut kept: Vec<Raw> = (0..32).map(kept).collect();
        assert!(kept[0].is_ended(), "the oldest that was only kept");
        for _ in 0..1_000 {
            assert!(!streamed.chunk().is_empty());
        }
        let youngest = kept.last_mut().unwrap();
        youngest.ask("GET /v1/status");
        assert_eq!(youngest.response().status, 500);
    });
}
