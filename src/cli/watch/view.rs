//! What the keys change: which rows are shown and in which order, and which machine is open.

use super::{
    board::{RoomState, Row, UsualTimes, rows},
    poll::News,
};
use crate::cli::why::timeline;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Lines that a page key moves.
const PAGE: usize = 10;

/// What a key came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyed {
    Stay,
    Quit,
}

/// The order of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// Problems first.
    #[default]
    Urgency,
    Name,
    /// Who is longest where it is first.
    Time,
}

impl Order {
    pub(super) fn name(self) -> &'static str {
        match self {
            Order::Urgency => "problems first",
            Order::Name => "by name",
            Order::Time => "longest first",
        }
    }

    fn next(self) -> Order {
        match self {
            Order::Urgency => Order::Name,
            Order::Name => Order::Time,
            Order::Time => Order::Urgency,
        }
    }
}

/// A machine that is open.
#[derive(Debug)]
pub(super) struct OpenMachine {
    pub(super) name: String,
    /// Lines above the first that is shown.
    pub(super) scroll: usize,
}

/// What is shown.
#[derive(Debug, Default)]
pub(super) struct View {
    room: Option<Box<RoomState>>,
    usual: UsualTimes,
    all: Vec<Row>,
    /// Why the daemon says nothing, where it does not.
    pub(super) away: Option<String>,
    pub(super) filter: String,
    /// Whether the filter is being written.
    pub(super) is_writing: bool,
    pub(super) order: Order,
    /// The machine that is pointed at.
    selected: Option<String>,
    pub(super) open: Option<OpenMachine>,
    /// Rows above the first that is shown.
    pub(super) offset: usize,
}

impl View {
    /// Takes what the daemon says.
    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Room(room) => {
                self.away = None;
                self.room = Some(room);
            }
            News::Usual(usual) => self.usual = usual,
            News::Away(why) => self.away = Some(why),
        }
        if let Some(room) = &self.room {
            self.all = rows(room, &self.usual);
        }
    }

    /// Whether the daemon was heard at all.
    pub(super) fn is_empty(&self) -> bool {
        self.room.is_none()
    }

    /// Every row, whatever is filtered.
    pub(super) fn all(&self) -> &[Row] {
        &self.all
    }

    /// The rows that the filter lets through, in their order.
    pub(super) fn rows(&self) -> Vec<&Row> {
        let wanted = self.filter.to_lowercase();
        let has = |row: &&Row| {
            let texts = [&row.name, &row.state, &row.note];
            texts.iter().any(|text| text.to_lowercase().contains(&wanted))
        };
        let mut rows: Vec<&Row> = self.all.iter().filter(has).collect();
        match self.order {
            Order::Urgency => {}
            Order::Name => rows.sort_by(|one, other| one.name.cmp(&other.name)),
            Order::Time => rows.sort_by_key(|row| std::cmp::Reverse(row.since)),
        }
        rows
    }

    /// The place of the row that is pointed at, of so many.
    pub(super) fn place(&self, rows: &[&Row]) -> usize {
        let selected = self.selected.as_deref();
        rows.iter().position(|row| Some(&*row.name) == selected).unwrap_or(0)
    }

    /// The text of the machine that is open.
    pub(super) fn text(&self, name: &str) -> String {
        let attempts = self.room.iter().flat_map(|room| &room.attempts);
        let mut of_machine = attempts.filter(|attempt| attempt.machine() == name);
        match of_machine.next() {
            Some(attempt) => timeline(attempt),
            None => format!("{name}: no boot of it was seen\n"),
        }
    }

    /// Takes a key.
    pub(super) fn key(&mut self, key: KeyEvent) -> Keyed {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Keyed::Quit;
        }
        match (self.is_writing, self.open.is_some()) {
            (true, _) => self.write(key.code),
            (false, true) => return self.key_on_machine(key.code),
            (false, false) => return self.key_on_board(key.code),
        }
        Keyed::Stay
    }

    fn write(&mut self, key: KeyCode) {
        match key {
            KeyCode::Esc => {
                self.filter.clear();
                self.is_writing = false;
            }
            KeyCode::Enter => self.is_writing = false,
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => {}
        }
    }

    fn key_on_machine(&mut self, key: KeyCode) -> Keyed {
        let Some(open) = &mut self.open else {
            return Keyed::Stay;
        };
        match key {
            KeyCode::Char('q') => return Keyed::Quit,
            KeyCode::Esc | KeyCode::Enter | KeyCode::Left | KeyCode::Backspace => self.open = None,
            KeyCode::Down | KeyCode::Char('j') => open.scroll += 1,
            KeyCode::Up | KeyCode::Char('k') => open.scroll = open.scroll.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => open.scroll += PAGE,
            KeyCode::PageUp => open.scroll = open.scroll.saturating_sub(PAGE),
            KeyCode::Home => open.scroll = 0,
            _ => {}
        }
        Keyed::Stay
    }

    fn key_on_board(&mut self, key: KeyCode) -> Keyed {
        match key {
            KeyCode::Char('q') => return Keyed::Quit,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('/') => self.is_writing = true,
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Down | KeyCode::Char('j') => self.select(|place| place + 1),
            KeyCode::Up | KeyCode::Char('k') => self.select(|place| place.saturating_sub(1)),
            KeyCode::PageDown | KeyCode::Char(' ') => self.select(|place| place + PAGE),
            KeyCode::PageUp => self.select(|place| place.saturating_sub(PAGE)),
            KeyCode::Home => self.select(|_| 0),
            KeyCode::End => self.select(|_| usize::MAX),
            KeyCode::Enter | KeyCode::Right => {
                let rows = self.rows();
                let name = rows.get(self.place(&rows)).map(|row| row.name.clone());
                self.open = name.map(|name| OpenMachine { name, scroll: 0 });
            }
            _ => {}
        }
        Keyed::Stay
    }

    fn select(&mut self, to: impl Fn(usize) -> usize) {
        let rows = self.rows();
        let place = to(self.place(&rows)).min(rows.len().saturating_sub(1));
        self.selected = rows.get(place).map(|row| row.name.clone());
    }
}
