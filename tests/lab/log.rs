//! Rung 3: whoever reads the daemon's log stops reading it.

use super::SOON;
use super::daemon::{ask, ask_json};
use super::namespace::{Namespace, SERVER, Wire, text};
use super::room::Room;
use super::wire::Rack;
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::File,
    io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe},
    net::TcpStream,
    os::{fd::OwnedFd, linux::fs::MetadataExt},
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

/// The daemon with its log in a pipe, which its test reads when it likes. For the daemon it is journald's.
struct Unheard(Child);

impl Unheard {
    fn start(server: &Namespace, room: &Room, log: PipeWriter) -> Unheard {
        let log = File::from(OwnedFd::from(log));
        let pipe = log.metadata().expect("a pipe has a number");
        let mut command = server.command(env!("CARGO_BIN_EXE_bootwright"));
        command
            .arg("serve")
            .arg("--config")
            .arg(room.config())
            // Else a flood leaves out most of its lines.
            .env("BOOTWRIGHT_LOG", "debug")
            .env("JOURNAL_STREAM", format!("{}:{}", pipe.st_dev(), pipe.st_ino()))
            .stdout(Stdio::null())
            .stderr(log);
        Unheard(command.spawn().expect("the built binary runs"))
    }

    fn end(&mut self) -> ExitStatus {
        super::poll(SOON, || self.0.try_wait().expect("our own child")).expect("the daemon ends")
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks for a file that is not there, whose name makes a long line.
fn ask_in_vain(client: &Namespace, times: usize) {
    let name = "x".repeat(1500);
    client.enter(|| {
        for _ in 0..times {
            let mut stream = TcpStream::connect((SERVER, 80)).expect("the server listens");
            stream.set_read_timeout(Some(SOON)).expect("a timeout above zero");
            write!(stream, "GET /{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("the server reads");
            let mut answer = String::new();
            stream
                .read_to_string(&mut answer)
                .expect("the server goes on answering");
            assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        }
    });
}

fn lost(room: &Room) -> u64 {
    ask_json(room, "status")["counters"]["log_lost"]
        .as_u64()
        .expect("a counter")
}

/// Reads a log from now on.
fn hear(log: PipeReader) -> Arc<Mutex<Vec<String>>> {
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let theirs = Arc::clone(&heard);
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            theirs.lock().expect("no panic").push(line);
        }
    });
    heard
}

#[test]
fn a_log_that_nobody_reads_stops_nobody_and_its_reader_is_told_what_it_missed() {
    let wire = Wire::new();
    let room = Room::new("");
    let client = wire.client_at("02:00:00:00:00:fa", "192.0.2.250");
    let rack = Rack::new(&client);
    let (reader, writer) = pipe().expect("a pipe");
    let mut daemon = Unheard::start(&wire.server, &room, writer);
    assert!(rack.lease(1).is_some(), "it starts");
    for _ in 0..40 {
        ask_in_vain(&client, 200);
        if lost(&room) > 0 {
            break;
        }
    }
    assert!(lost(&room) > 0, "twelve megabytes are more than any queue");
    assert!(rack.lease(2).is_some(), "machines are served");
    assert!(text(&ask(&room, &["reload"])).contains("generation 2"), "and operators");
    let lost = lost(&room);
    let shown = text(&ask(&room, &["status"]));
    assert!(shown.contains(&format!("{lost} log_lost\n")), "{shown}");

    let heard = hear(reader);
    let find = |words: &str| {
        super::poll(SOON, || {
            let heard = heard.lock().expect("no panic");
            let place = heard.iter().position(|line| line.contains(words))?;
            Some((place, heard[place].clone()))
        })
        .unwrap_or_else(|| {
            panic!(
                "no line says: {words}\n{}",
                super::tail(&heard.lock().expect("no panic").join("\n"), 6)
            )
        })
    };
    let (gap, line) = find("lines of this log were lost");
    assert!(line.starts_with("<3>"), "journald's priority of an error: {line}");
    assert!(line.contains(&format!(" {lost} lines")), "{lost} are lost: {line}");
    assert!(rack.lease(3).is_some());
    let (after, _) = find("02:bb:00:00:00:03");
    assert!(find("02:bb:00:00:00:01").0 < gap && gap < after);
    {
        let heard = heard.lock().expect("no panic");
        assert!(heard.iter().all(|line| line.starts_with('<')), "no line is cut");
        assert!(
            !heard.iter().any(|line| line.contains("02:bb:00:00:00:02")),
            "it is in the gap"
        );
    }
    kill(Pid::from_raw(daemon.0.id().cast_signed()), Signal::SIGTERM).expect("our own child");
    assert!(daemon.end().success());
    let (last, _) = find("stopped");
    assert_eq!(heard.lock().expect("no panic").len(), last + 1, "nothing follows");
}

#[test]
fn a_start_that_fails_ends_though_nobody_reads_why() {
    let wire = Wire::new();
    let room = Room::new("");
    room.write("admin.sock", "somebody's file");
    let (mut reader, mut writer) = pipe().expect("a pipe");
    // Full to the last byte.
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("our own pipe");
    while writer.write(&[b'\n'; 512]).is_ok() {}
    while writer.write(b"\n").is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).expect("our own pipe");
    let mut daemon = Unheard::start(&wire.server, &room, writer);
    assert!(!daemon.end().success());
    let mut heard = String::new();
    reader.read_to_string(&mut heard).expect("the daemon's end closed it");
    assert_eq!(heard.trim(), "");

    // One that is read says why, whole.
    let (mut reader, writer) = pipe().expect("a pipe");
    let mut daemon = Unheard::start(&wire.server, &room, writer);
    reader.read_to_string(&mut heard).expect("the daemon's end closes it");
    assert!(!daemon.end().success());
    assert!(heard.trim().lines().all(|line| line.starts_with('<')), "{heard}");
    let last = heard.lines().last().expect("it says why");
    assert!(last.starts_with("<3>") && last.contains("is no socket"), "{heard}");
}
