//! The operator's socket, asked by the command line's own client.

use bootwright::admin::{
    self, AdminApi, AdminSocket,
    api::{HostStatus, LeaseStatus, Problem, ReloadAccepted, ReloadRefusal, Status},
    client,
};
use bootwright::model::WallTime;
use std::{
    io::{Read, Write},
    net::Ipv4Addr,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::Arc,
};

struct Desk {
    refuses: bool,
}

/// More than a socket holds, so that an answer waits for who asked.
const HOSTS: usize = 2_000;

impl AdminApi for Desk {
    async fn reload(&self) -> Result<ReloadAccepted, ReloadRefusal> {
        if self.refuses {
            return Err(ReloadRefusal {
                at: WallTime(7),
                generation: 3,
                errors: vec![Problem {
                    help: Some("nearest is 192.0.2.0/24".to_owned()),
                    file: Some("inventory.toml".to_owned()),
                    line: Some(41),
                    column: Some(9),
                    ..Problem::new("host r1u07: address 192.0.3.11 lies in no subnet")
                }],
            });
        }
        Ok(ReloadAccepted {
            generation: 4,
            hosts: 1,
            warnings: Vec::new(),
            restart_needed_for: Vec::new(),
        })
    }

    fn status(&self) -> Result<Status, Problem> {
        Err(Problem::new("the store is damaged"))
    }

    fn hosts(&self) -> Result<Vec<HostStatus>, Problem> {
        let host = HostStatus {
            name: "r1u07".to_owned(),
            macs: vec!["52:54:00:00:00:07".to_owned()],
            address: None,
            holds: Vec::new(),
            boot: "local".to_owned(),
            image: None,
            script: None,
            loaders: Vec::new(),
            locked: false,
            written: "inventory.toml:41".to_owned(),
        };
        Ok(vec![host; HOSTS])
    }

    fn leases(&self) -> Result<Vec<LeaseStatus>, Problem> {
        Ok(vec![LeaseStatus {
            address: Ipv4Addr::new(192, 0, 2, 100),
            client: "52:54:00:00:00:07".to_owned(),
            host: None,
            expires: WallTime(9),
        }])
    }
}

/// Serves while `asking` runs, and gives it the socket's path.
fn with_daemon<T>(refuses: bool, asking: impl FnOnce(PathBuf) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let socket = AdminSocket::bind(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let serving = runtime.spawn(async move { admin::serve(&socket, Arc::new(Desk { refuses }), stopped).await });
    let answer = asking(path);
    stop.send(true).unwrap();
    runtime.block_on(serving).unwrap().unwrap();
    answer
}

#[test]
fn an_answer_arrives_as_it_was_given() {
    let leases: Vec<LeaseStatus> = with_daemon(false, |path| client::get(&path, "/leases")).unwrap();
    assert_eq!(leases[0].address, Ipv4Addr::new(192, 0, 2, 100));
}

#[test]
fn a_refused_reload_names_the_line_and_what_to_do() {
    let refusal = with_daemon(true, |path| client::reload(&path)).unwrap().unwrap_err();
    assert_eq!(
        refusal.errors[0].to_string(),
        "inventory.toml:41:9: host r1u07: address 192.0.3.11 lies in no subnet; nearest is 192.0.2.0/24"
    );
    assert_eq!(refusal.generation, 3);
    let accepted = with_daemon(false, |path| client::reload(&path)).unwrap().unwrap();
    assert_eq!(accepted.generation, 4);
}

#[test]
fn a_problem_of_the_daemon_is_the_clients_error() {
    let error = with_daemon(false, |path| client::get::<Status>(&path, "/status")).unwrap_err();
    assert_eq!(error.to_string(), "the store is damaged");
}

#[test]
fn a_missing_daemon_is_said_with_what_to_do() {
    let error = client::get::<Status>("/nonexistent/admin.sock".as_ref(), "/status").unwrap_err();
    assert!(
        error.to_string().contains("is `systemctl status bootwright` active?"),
        "{error}"
    );
}

#[test]
fn garbage_and_silence_take_no_place_from_an_operator() {
    with_daemon(false, |path| {
        let mut garbage = UnixStream::connect(&path).unwrap();
        garbage.write_all(b"\x00\xff\r\n\r\nGET").unwrap();
        let silent: Vec<UnixStream> = (0..8).map(|_| UnixStream::connect(&path).unwrap()).collect();
        assert_eq!(client::get::<Vec<HostStatus>>(&path, "/hosts").unwrap().len(), HOSTS);
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
    with_daemon(false, |path| {
        let silent = |_| UnixStream::connect(&path).unwrap();
        let unread = |_| {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(b"GET /hosts HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            stream
        };
        let silent: Vec<UnixStream> = (0..100).map(silent).collect();
        assert_eq!(client::get::<Vec<HostStatus>>(&path, "/hosts").unwrap().len(), HOSTS);
        let unread: Vec<UnixStream> = (0..40).map(unread).collect();
        assert_eq!(client::get::<Vec<HostStatus>>(&path, "/hosts").unwrap().len(), HOSTS);
        drop((silent, unread));
    });
}
