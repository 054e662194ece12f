//! What other programs print that know this machine: none keeps the doctor waiting for long.

use crate::model::limits::DOCTOR_PROGRAM_TIMEOUT;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    io,
    os::unix::process::CommandExt,
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread,
};

/// Where the programs are that an ordinary user's PATH may lack.
const PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin";

/// What a program prints; `None` where there is no such program.
pub(super) fn printed(program: &str, arguments: &[&str]) -> Option<io::Result<String>> {
    let mut command = Command::new("env");
    command.arg(["PATH=", PATH].concat()).arg(program).args(arguments);
    match output_in_time(command) {
        // `env` found none.
        Ok(output) if output.status.code() == Some(127) => None,
        Ok(output) if output.status.success() => Some(String::from_utf8(output.stdout).map_err(io::Error::other)),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Some(Err(io::Error::other(said.lines().next().unwrap_or("it failed").trim())))
        }
        Err(error) => Some(Err(error)),
    }
}

/// All that it prints until it ends. One that does not end is killed, with what it started.
fn output_in_time(mut command: Command) -> io::Result<Output> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let group = i32::try_from(child.id()).map(Pid::from_raw);
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().spawn(move || sender.send(child.wait_with_output()))?;
    receiver.recv_timeout(DOCTOR_PROGRAM_TIMEOUT).unwrap_or_else(|_| {
        if let Ok(group) = group {
            let _ = killpg(group, Signal::SIGKILL);
        }
        let seconds = DOCTOR_PROGRAM_TIMEOUT.as_secs();
        let hangs =
            format!("it did not end within {seconds} s and was stopped; run it by hand to see what it waits for");
        Err(io::Error::new(io::ErrorKind::TimedOut, hangs))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_program_that_hangs_is_stopped_and_one_that_is_not_there_is_told_from_one_that_fails() {
        let start = Instant::now();
        // The one that sleeps holds the pipe, and is no child of ours.
        let error = printed("sh", &["-c", "sleep 600; true"]).unwrap().unwrap_err();
        assert!(error.to_string().contains("did not end within"), "{error}");
        assert!(start.elapsed() < 3 * DOCTOR_PROGRAM_TIMEOUT);
        assert_eq!(printed("echo", &["here"]).unwrap().unwrap(), "here\n");
        assert!(printed("bootwright-has-no-such-program", &[]).is_none());
        let failed = printed("sh", &["-c", "echo no >&2; exit 3"]).unwrap().unwrap_err();
        assert_eq!(failed.to_string(), "no");
    }
}
