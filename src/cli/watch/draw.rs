//! The screen as a function of the view: nothing else decides what stands where.

use super::{
    board::{Row, Urgency},
    view::View,
};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row as TableRow, Table, Wrap},
};
use std::time::Duration;

/// Cells of a bar.
const BAR_CELLS: usize = 10;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, view: &mut View) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
    frame.render_widget(headline(view), head);
    match &view.open {
        Some(_) => machine(frame, body, view),
        None => board(frame, body, view),
    }
    frame.render_widget(footline(view), foot);
}

/// How many machines are how.
fn headline(view: &View) -> Line<'static> {
    let count = |urgency| view.all().iter().filter(|row| row.urgency == urgency).count();
    let mut spans = vec![Span::styled(
        format!("bootwright  {} machines", view.all().len()),
        Style::new().add_modifier(Modifier::BOLD),
    )];
    for (urgency, word) in [
        (Urgency::Problem, "with a problem"),
        (Urgency::Slow, "slow"),
        (Urgency::Busy, "on their way"),
    ] {
        let count = count(urgency);
        let style = if count > 0 { style(urgency) } else { Style::new() };
        spans.push(Span::styled(format!("  {count} {word}"), style));
    }
    Line::from(spans)
}

/// What the keys do, or what is the matter with the daemon.
fn footline(view: &View) -> Line<'static> {
    let alarm = Style::new().fg(Color::Black).bg(Color::Yellow);
    if let Some(why) = &view.away {
        return Line::styled(format!("The daemon is away, trying again: {why}"), alarm);
    }
    if view.is_writing {
        return Line::from(format!("/{}_  Enter to keep, Esc to drop", view.filter));
    }
    let keys = match (&view.open, view.filter.is_empty()) {
        (Some(_), _) => "Esc back  arrows to move  q quit".to_owned(),
        (None, true) => format!("/ filter  s sort ({})  Enter open  q quit", view.order.name()),
        (None, false) => format!(
            "filter: {}  Esc all  s sort ({})  Enter open  q quit",
            view.filter,
            view.order.name()
        ),
    };
    Line::styled(keys, Style::new().add_modifier(Modifier::DIM))
}

fn board(frame: &mut Frame<'_>, area: Rect, view: &mut View) {
    let shown = usize::from(area.height.saturating_sub(1));
    let rows = view.rows();
    let place = view.place(&rows);
    // The row that is pointed at stays on the screen.
    let offset = view.offset.clamp((place + 1).saturating_sub(shown.max(1)), place);
    if rows.is_empty() {
        let words = match (view.is_empty(), view.filter.is_empty()) {
            (true, _) => "asking the daemon ...",
            (false, true) => "no host is in the inventory, and no other machine was seen",
            (false, false) => "no machine is like that",
        };
        return frame.render_widget(Paragraph::new(words), area);
    }
    let widths = [
        Constraint::Max(17),
        Constraint::Length(26),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Min(10),
    ];
    let lines = rows.iter().enumerate().skip(offset).take(shown);
    let lines = lines.map(|(at, row)| line(row, at == place));
    let head = TableRow::new(["MACHINE", "STATE", "FOR", "USUAL", ""]).style(Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Table::new(lines, widths).header(head), area);
    view.offset = offset;
}

fn line(row: &Row, is_selected: bool) -> TableRow<'static> {
    let time = |time: Option<Duration>| time.map(length).unwrap_or_default();
    let bar = row.percent.map(bar).unwrap_or_default();
    let last = match (bar.is_empty(), row.note.is_empty()) {
        (false, false) => format!("{bar} {}", row.note),
        _ => bar + &row.note,
    };
    let cells = [
        row.name.clone(),
        row.state.clone(),
        time(row.since),
        time(row.usual),
        last,
    ];
    let style = match is_selected {
        true => style(row.urgency).add_modifier(Modifier::REVERSED),
        false => style(row.urgency),
    };
    TableRow::new(cells.map(Cell::from)).style(style)
}

fn style(urgency: Urgency) -> Style {
    match urgency {
        Urgency::Problem => Style::new().fg(Color::Red),
        Urgency::Slow => Style::new().fg(Color::Yellow),
        Urgency::Busy => Style::new().fg(Color::Green),
        Urgency::Quiet => Style::new(),
    }
}

/// `[###-------] 37 %`: in letters that every terminal has.
fn bar(percent: u8) -> String {
    let percent = usize::from(percent.min(100));
    let full = percent * BAR_CELLS / 100;
    format!("[{}{}] {percent} %", "#".repeat(full), "-".repeat(BAR_CELLS - full))
}

/// A length of time in at most seven letters.
fn length(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{}:{:02} m", seconds / 60, seconds % 60),
        seconds @ 3_600..172_800 => format!("{}:{:02} h", seconds / 3_600, seconds / 60 % 60),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// The verdict and the timeline of one machine.
fn machine(frame: &mut Frame<'_>, area: Rect, view: &mut View) {
    let Some(open) = &view.open else { return };
    let text = view.text(&open.name);
    let lines = text.lines().count();
    let scroll = open.scroll.min(lines.saturating_sub(1));
    let lines: Vec<Line<'_>> = text.lines().skip(scroll).map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
    if let Some(open) = &mut view.open {
        open.scroll = scroll;
    }
}

#[cfg(test)]
mod tests;
