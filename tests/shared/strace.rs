//! Programs under strace: killed when they are about to do something on disk, or stopped in the middle of it, so
//! that a test need not guess how long that takes. Part of both test programs that start the built binary.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a program may take to come so far.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command under strace, which lets it feel `inject` at the system call `call`, and writes to `log`.
pub fn traced(plain: &Command, call: &str, inject: &str, log: &str) -> Command {
    let mut traced = Command::new("strace");
    traced
        .args([
            "--follow-forks",
            "--quiet=attach,exit,path-resolution,personality,thread-execve",
        ])
        .arg(format!("--output={log}"))
        .arg(format!("--trace={call}"))
        .arg(format!("--inject={call}:{inject}"))
        .arg(plain.get_program())
        .args(plain.get_args());
    if let Some(folder) = plain.get_current_dir() {
        traced.current_dir(folder);
    }
    traced
}

/// Runs a command that is killed when it is about to do this, so often; whether it came so far.
pub fn is_killed_at(plain: &Command, call: &str, time: usize) -> bool {
    let status = traced(plain, call, &format!("signal=KILL:when={time}"), "/dev/null")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("strace is installed by tests/install-packages.sh");
    assert!(status.success() || status.signal() == Some(9), "{status:?}");
    !status.success()
}

/// A command that has just done something, and stands still.
pub struct Stopped {
    strace: Child,
    process: Pid,
}

impl Stopped {
    /// Starts a command, which stops when it has done this so often.
    pub fn at(plain: &Command, call: &str, time: usize) -> Stopped {
        let log = tempfile::NamedTempFile::new().unwrap();
        let path = log.path().display().to_string();
        let mut strace = traced(plain, call, &format!("signal=STOP:when={time}"), &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed by tests/install-packages.sh");
        let began = Instant::now();
        while !fs::read_to_string(&path).unwrap().contains("stopped by SIGSTOP") {
            let ended = strace.try_wait().unwrap();
            assert!(ended.is_none(), "it never came so far: {ended:?}");
            assert!(began.elapsed() < PATIENCE, "{}", fs::read_to_string(&path).unwrap());
            thread::sleep(Duration::from_millis(1));
        }
        let children = format!("/proc/{0}/task/{0}/children", strace.id());
        let process = fs::read_to_string(children).unwrap().trim().parse().unwrap();
        Stopped {
            strace,
            process: Pid::from_raw(process),
        }
    }

    /// A signal, which it feels when it goes on.
    pub fn signal(&self, signal: Signal) {
        kill(self.process, signal).unwrap();
    }

    /// Lets it go on to its end.
    pub fn go_on(self) -> Output {
        self.signal(Signal::SIGCONT);
        self.strace.wait_with_output().unwrap()
    }
}
