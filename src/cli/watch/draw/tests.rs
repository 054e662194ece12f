//! The screen, cell by cell.

use super::*;
use crate::cli::watch::{
    board::{RoomState, UsualTimes},
    poll::News,
    view::Keyed,
};
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};

const NOW: u64 = 1_764_000_600;

fn host(name: &str) -> serde_json::Value {
    serde_json::json!({
        "name": name, "macs": [], "address": null, "holds": [], "boot": "live", "image": "debian", "script": "who",
        "loaders": [], "locked": false, "install": null, "written": "inventory.toml:1",
    })
}

/// An attempt that began so many seconds ago and came to `progress` at once.
fn attempt(host: &str, ago: u64, event: (&str, &str), verdict: serde_json::Value) -> serde_json::Value {
    let (progress, file_kind) = event;
    let began = crate::admin::api::Timestamp::from(crate::model::WallTime(NOW - ago));
    serde_json::json!({
        "id": "1", "host": host, "mac": null, "address": null, "generation": 1, "began": began, "last_ms": 1000,
        "progress": progress, "outcome": null, "omitted": 0, "verdict": verdict,
        "steps": [{"at_ms": 1000, "until_ms": 1000, "times": 1, "stage": "ipxe", "event": "sent", "file_kind": file_kind,
                   "file": "a file", "bytes": 9}],
    })
}

fn room() -> RoomState {
    let verdict = serde_json::json!({
        "cause": "artifact_missing", "severity": "problem", "confidence": "certain", "sentence": "its kernel is not there",
        "last": "script", "missing": "artifacts", "action": "add it",
    });
    let none = serde_json::Value::Null;
    let attempts = [
        attempt("r1u01", 31, ("script", "script"), none.clone()),
        attempt("r1u02", 40, ("script", "script"), verdict),
        attempt("r1u03", 601, ("artifacts", "artifact"), none),
    ];
    let transfer = serde_json::json!({
        "machine": "r1u01", "client": "192.0.2.11", "transport": "http", "what": "image debian/initrd", "sent_bytes": 37,
        "length_bytes": 100, "age_s": 3,
    });
    let read = |values: Vec<serde_json::Value>| serde_json::Value::from(values);
    RoomState {
        now: NOW,
        hosts: serde_json::from_value(read(["r1u01", "r1u02", "r1u03", "r1u04"].map(host).to_vec())).unwrap(),
        attempts: serde_json::from_value(read(attempts.to_vec())).unwrap(),
        transfers: serde_json::from_value(read(vec![transfer])).unwrap(),
    }
}

fn view() -> View {
    let mut usual = UsualTimes::default();
    let earlier: Vec<serde_json::Value> = [10, 20, 30]
        .into_iter()
        .map(|took| {
            let mut attempt = attempt("r1u01", 900, ("system", "script"), serde_json::Value::Null);
            let next = serde_json::json!({
                "at_ms": 1000 + took * 1000, "until_ms": 1000, "times": 1, "stage": "ipxe", "event": "sent",
                "file_kind": "artifact",
            });
            let system = serde_json::json!({
                "at_ms": 1000 + took * 3000, "until_ms": 1000, "times": 1, "stage": "system", "event": "acknowledged",
            });
            attempt["steps"].as_array_mut().unwrap().extend([next, system]);
            attempt
        })
        .collect();
    let earlier: Vec<_> = serde_json::from_value(earlier.into()).unwrap();
    usual.add("live/debian/who".to_owned(), &earlier);
    let mut view = View::default();
    view.take(News::Usual(usual));
    view.take(News::Room(Box::new(room())));
    view
}

fn press(view: &mut View, keys: &[KeyCode]) -> Keyed {
    let pressed = keys.iter().map(|key| view.key(KeyEvent::new(*key, KeyModifiers::NONE)));
    pressed.last().unwrap_or(Keyed::Stay)
}

fn drawn(view: &mut View, (width, height): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, view)).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let area = buffer.area;
    let line = |y| (0..area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..area.height).map(|y| line(y).trim_end().to_owned()).collect()
}

/// The words of a line, columns being two blanks or more apart.
fn columns(line: &str) -> Vec<&str> {
    line.split("  ")
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect()
}

#[test]
fn problems_come_first_then_what_is_slow_then_what_is_on_its_way() {
    let mut view = view();
    let buffer = drawn(&mut view, (100, 24));
    let lines = lines(&buffer);
    assert_eq!(
        columns(&lines[0])[1..],
        ["4 machines", "1 with a problem", "1 slow", "1 on their way"]
    );
    let names: Vec<&str> = lines[2..6].iter().map(|line| columns(line)[0]).collect();
    assert_eq!(names, ["r1u02", "r1u03", "r1u01", "r1u04"]);
    // Its script since 30 s, which took 10, 20 and 30; and its initrd is on its way.
    assert_eq!(
        columns(&lines[4]),
        [
            "r1u01",
            "has its script",
            "30 s",
            "20 s",
            "[###-------] 37 % image debian/initrd"
        ]
    );
    // Its kernel since 10 minutes, which took 20, 40 and 60 s.
    assert_eq!(columns(&lines[3])[1..], ["has files of its image", "10:00 m", "40 s"]);
    assert!(lines[2].ends_with("its kernel is not there"), "{lines:#?}");
    assert_eq!(buffer[(0, 2)].fg, Color::Red);
    assert_eq!((buffer[(0, 3)].fg, buffer[(0, 4)].fg), (Color::Yellow, Color::Green));
    assert!(
        buffer[(0, 2)].modifier.contains(Modifier::REVERSED) && !buffer[(0, 3)].modifier.contains(Modifier::REVERSED)
    );
}

#[test]
fn eighty_columns_are_enough_and_so_is_next_to_nothing() {
    let mut view = view();
    let lines = lines(&drawn(&mut view, (80, 24)));
    assert!(
        lines.iter().any(|line| line.contains("[###-------] 37 %")),
        "{lines:#?}"
    );
    assert!(lines[23].contains("q quit"), "{lines:#?}");
    for size in [(1, 1), (3, 2), (20, 4), (300, 100)] {
        drawn(&mut view, size);
    }
}

#[test]
fn a_filter_is_written_kept_and_dropped() {
    let mut view = view();
    press(
        &mut view,
        &[
            KeyCode::Char('/'),
            KeyCode::Char('u'),
            KeyCode::Char('0'),
            KeyCode::Char('3'),
        ],
    );
    let while_writing = lines(&drawn(&mut view, (80, 10)));
    assert!(while_writing[9].starts_with("/u03_"), "{while_writing:#?}");
    // What is a letter of the filter is no key.
    assert_eq!(
        press(&mut view, &[KeyCode::Char('q'), KeyCode::Backspace, KeyCode::Enter]),
        Keyed::Stay
    );
    let kept = lines(&drawn(&mut view, (80, 10)));
    assert_eq!(columns(&kept[2])[0], "r1u03");
    assert_eq!(kept[3], "");
    press(&mut view, &[KeyCode::Esc]);
    assert_eq!(view.rows().len(), 4);
    assert_eq!(press(&mut view, &[KeyCode::Char('q')]), Keyed::Quit);
}

#[test]
fn a_machine_is_opened_with_its_verdict_and_closed_again() {
    let mut view = view();
    press(&mut view, &[KeyCode::Enter]);
    let open = lines(&drawn(&mut view, (80, 24)));
    assert!(open[1].starts_with("r1u02: its kernel is not there"), "{open:#?}");
    assert!(open.iter().any(|line| line.contains("What to do: add it")), "{open:#?}");
    press(&mut view, &[KeyCode::PageDown; 9]);
    drawn(&mut view, (80, 24));
    assert_eq!(press(&mut view, &[KeyCode::Esc]), Keyed::Stay);
    assert!(view.open.is_none());
}

#[test]
fn the_order_changes_and_who_is_pointed_at_stays_so_on_the_screen() {
    let mut view = view();
    press(&mut view, &[KeyCode::Char('s'), KeyCode::End]);
    let rows = view.rows();
    let names: Vec<&str> = rows.iter().map(|row| &*row.name).collect();
    assert_eq!(
        (names.as_slice(), view.place(&rows)),
        (&["r1u01", "r1u02", "r1u03", "r1u04"][..], 3)
    );
    // Two rows fit: those at the end.
    let small = lines(&drawn(&mut view, (80, 5)));
    assert_eq!([columns(&small[2])[0], columns(&small[3])[0]], ["r1u03", "r1u04"]);
    press(&mut view, &[KeyCode::Char('s')]);
    assert_eq!(view.rows()[0].name, "r1u03", "who is there longest");
    let rows = view.rows();
    assert_eq!(rows[view.place(&rows)].name, "r1u04");
}

#[test]
fn a_daemon_that_is_away_is_said_to_be_and_the_last_that_it_said_stays() {
    let mut view = View::default();
    assert!(lines(&drawn(&mut view, (80, 10)))[1].starts_with("asking"));
    view.take(News::Away("no daemon answers".to_owned()));
    view.take(News::Room(Box::new(room())));
    assert!(!lines(&drawn(&mut view, (80, 10)))[9].contains("away"));
    view.take(News::Away("no daemon answers".to_owned()));
    let buffer = drawn(&mut view, (80, 10));
    let lines = lines(&buffer);
    assert!(lines[9].contains("away") && lines[2].starts_with("r1u02"), "{lines:#?}");
    assert_eq!(buffer[(0, 9)].bg, Color::Yellow);
}
