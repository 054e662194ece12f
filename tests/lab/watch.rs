//! Rung 3: the board of the room, on a terminal of 80 columns.

use super::SOON;
use super::daemon::Daemon;
use super::namespace::{SERVER, Wire, text};
use super::room::{ONE_LIVE_HOST, Room, binary};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::{fs, process::Command};

/// A terminal of tmux's, of 80 by 24.
struct Terminal(String);

impl Terminal {
    fn start(name: &str, command: &str) -> Terminal {
        let terminal = Terminal(format!("bw{}-{name}", std::process::id()));
        terminal.tmux(&["new-session", "-d", "-x", "80", "-y", "24", command]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command
            .env_remove("TMUX")
            .args(["-L", &self.0, "-f", "/dev/null"])
            .args(arguments);
        let output = command.output().expect("package tmux is installed");
        assert!(output.status.success(), "tmux {arguments:?}: {}", text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// What stands on it, once that has all of these words.
    fn shows(&self, words: &[&str]) -> String {
        let screen = || self.tmux(&["capture-pane", "-p"]);
        let found = super::poll(SOON, || {
            let screen = screen();
            words.iter().all(|word| screen.contains(word)).then_some(screen)
        });
        found.unwrap_or_else(|| panic!("{words:?} are not on\n{}", screen()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.0, "kill-server"]).output();
    }
}

#[test]
fn the_board_shows_what_happens_outlives_the_daemon_and_leaves_the_terminal_as_it_was() {
    let wire = Wire::new();
    let room = Room::new(ONE_LIVE_HOST)
        .with_script("who", "#!ipxe\necho {{ name }}\n")
        .with_small_image(&[7; 1000]);
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let get = |path: &str| drop(client.run("curl", &["-s", "-o", "/dev/null", &format!("http://{SERVER}{path}")]));
    let file = |name: &str| room.path(name).to_string_lossy().into_owned();
    let [before, after, pid, socket] = ["before", "after", "pid", "admin.sock"].map(file);
    let watch = format!(
        "sh -c 'echo $$ > {pid}; exec {} watch --socket {socket}'; echo ended $?",
        binary()
    );
    let shell = format!("stty -a > {before}; {watch}; {watch}; stty -a > {after}; sleep 600");
    let terminal = Terminal::start("board", &shell);
    terminal.shows(&["r1u01", "not seen", "1 machines", "q quit"]);

    get("/boot.ipxe?mac=02-00-00-00-00-41");
    terminal.shows(&["has its script", "1 on their way"]);
    get("/image/small/nothing");
    terminal.shows(&["1 with a problem"]);
    terminal.keys(&["Enter"]);
    terminal.shows(&["What to do:", "script who"]);
    terminal.keys(&["Escape"]);
    terminal.keys(&["/", "n", "o", "n", "e", "Enter"]);
    terminal.shows(&["no machine is like that"]);
    terminal.keys(&["Escape"]);
    terminal.shows(&["r1u01"]);

    assert!(daemon.stop().success());
    terminal.shows(&["The daemon is away", "r1u01"]);
    let _daemon = Daemon::start(&wire, &room);
    terminal.shows(&["q quit", "r1u01"]);

    let watched = fs::read_to_string(&pid).expect("the shell wrote it");
    let number = watched.trim().parse().expect("a number");
    kill(Pid::from_raw(number), Signal::SIGTERM).expect("it runs");
    let is_next = || fs::read_to_string(&pid).is_ok_and(|next| next.ends_with('\n') && next != watched);
    assert!(
        super::poll(SOON, || is_next().then_some(())).is_some(),
        "it did not end"
    );
    // 128 and the signal; and then once more, to be told to quit.
    terminal.shows(&["q quit", "r1u01"]);
    terminal.keys(&["q"]);
    let screen = terminal.shows(&["ended 143", "ended 0"]);
    assert!(!screen.contains("q quit"), "{screen}");
    let settings = |file: &str| super::poll(SOON, || fs::read_to_string(file).ok().filter(|text| !text.is_empty()));
    assert_eq!(settings(&before), settings(&after));
}

#[test]
fn it_ends_with_its_terminal() {
    let wire = Wire::new();
    let room = Room::new(ONE_LIVE_HOST)
        .with_script("who", "#!ipxe\n")
        .with_small_image(b"x");
    let _daemon = Daemon::start(&wire, &room);
    let [pid, socket] = ["pid", "admin.sock"].map(|name| room.path(name).to_string_lossy().into_owned());
    // In a session of its own nobody sends it SIGHUP.
    let watch = format!(
        "setsid --wait sh -c 'echo $$ > {pid}; exec {} watch --socket {socket}'",
        binary()
    );
    let terminal = Terminal::start("gone", &watch);
    terminal.shows(&["r1u01", "q quit"]);
    let process = format!("/proc/{}", fs::read_to_string(&pid).expect("the shell wrote it").trim());
    assert!(fs::exists(&process).expect("/proc is there"));
    drop(terminal);
    let is_gone = || (!fs::exists(&process).expect("/proc is there")).then_some(());
    assert!(super::poll(SOON, is_gone).is_some(), "it runs on without a terminal");
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let output = super::room::bootwright(&["watch"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("bootwright events -f"));
}
