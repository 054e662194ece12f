//! Diagnostics for people, the way rustc shows them, and for programs.

mod secrets;

use super::{Diagnostic, LoadReport};
use crate::images::reading::open_regular;
use crate::model::limits::EDITED_FILE_BYTES_MAX;
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, MietteError, MietteSpanContents, Severity,
    SourceCode, SourceSpan, SpanContents,
};
use secrets::Redactor;
use serde::{Serializer, ser::SerializeMap};
use std::{
    collections::HashMap,
    fmt::Write,
    io::{IsTerminal, Read},
    path::Path,
};

/// Whether what goes to `stream` wants colours: it is a terminal, and NO_COLOR is not set.
pub fn stream_wants_colours(stream: &impl IsTerminal) -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && stream.is_terminal()
}

/// Whether standard error wants colours.
pub fn wants_colours() -> bool {
    stream_wants_colours(&std::io::stderr())
}

impl LoadReport {
    /// Every error and warning with the line it is about.
    pub fn render(&self, colours: bool) -> String {
        let mut pages = SourceCache::default();
        let mut shown = String::new();
        let errors = self.errors.iter().map(|one| (one, Severity::Error));
        let warnings = self.warnings.iter().map(|one| (one, Severity::Warning));
        for (diagnostic, severity) in errors.chain(warnings) {
            pages.render(diagnostic, severity, colours, &mut shown);
        }
        shown
    }
}

impl std::fmt::Display for Diagnostic {
    /// `inventory.toml:41:9: host r1u07: address …; nearest is …`: one line, for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// Files already read for their snippets.
#[derive(Default)]
struct SourceCache(HashMap<String, Option<Page>>);

impl SourceCache {
    fn page(&mut self, file: &str) -> Option<&mut Page> {
        let page = self.0.entry(file.to_owned()).or_insert_with(|| Page::read(file));
        page.as_mut()
    }

    fn render(&mut self, diagnostic: &Diagnostic, severity: Severity, colours: bool, shown: &mut String) {
        let mut report = MietteDiagnostic::new(&diagnostic.message).with_severity(severity);
        if let Some(help) = &diagnostic.help {
            report = report.with_help(help);
        }
        let label = diagnostic.place.and_then(|(line, column)| {
            let page = self.page(&diagnostic.file)?;
            excerpt(page, &diagnostic.file, line, column)
        });
        let theme = match colours {
            true => GraphicalTheme::unicode(),
            false => GraphicalTheme::unicode_nocolor(),
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(110)
            .with_context_lines(1)
            .with_links(false);
        // Writing to a String cannot fail.
        let _ = match label {
            Some((span, source)) => {
                report = report.with_label(LabeledSpan::underline(span));
                handler.render_report(shown, miette::Report::new(report).with_source_code(source).as_ref())
            }
            None => {
                report.message = match diagnostic.place {
                    Some((line, column)) => format!("{}:{line}:{column}: {}", diagnostic.file, report.message),
                    None => format!("{}: {}", diagnostic.file, report.message),
                };
                handler.render_report(shown, &report)
            }
        };
        let _ = writeln!(shown);
    }
}

/// A file, of which a few lines are shown. Diagnostics stand in the order of its lines, so that none is looked through
/// twice.
struct Page {
    text: String,
    /// Where the lines begin that were shown last.
    place: PagePlace,
}

/// A line, and what of a secret goes on in it.
#[derive(Clone, Default)]
struct PagePlace {
    at: usize,
    lines_before: usize,
    veil: Redactor,
}

impl Page {
    /// The file as it is now; one that can't be shown is only named.
    fn read(file: &str) -> Option<Page> {
        let mut text = String::new();
        let opened = open_regular(Path::new(file)).ok()?;
        opened.take(EDITED_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
        Some(Page {
            text,
            place: PagePlace::default(),
        })
    }

    /// Up to `count` lines behind as many as `skipped`, as they may be shown.
    fn lines(&mut self, skipped: usize, count: usize) -> Vec<String> {
        if skipped < self.place.lines_before {
            self.place = PagePlace::default();
        }
        let PagePlace { at, lines_before, veil } = &mut self.place;
        let mut lines = self.text[*at..].split_inclusive('\n');
        while *lines_before < skipped
            && let Some(line) = lines.next()
        {
            veil.pass(line);
            *at += line.len();
            *lines_before += 1;
        }
        let mut veil = veil.clone();
        let shown = self.text[*at..].lines().take(count);
        shown.map(|line| veil.over(&printable(line))).collect()
    }
}

/// A few lines of a file that know their numbers: miette would count lines from the file's
/// beginning for every diagnostic, which is slow when a large inventory has thousands.
struct Excerpt {
    file: String,
    text: String,
    /// Lines of the file before the excerpt.
    skipped: usize,
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let found = self.text.read_span(span, before, after)?;
        let line = found.line() + self.skipped;
        let (data, span, column, count) = (found.data(), *found.span(), found.column(), found.line_count());
        let contents = MietteSpanContents::new_named(self.file.clone(), data, span, line, column, count);
        Ok(Box::new(contents))
    }
}

/// The line, its neighbours, and what to underline. A long line is left out: its end is noise.
fn excerpt(page: &mut Page, file: &str, line: u32, column: u32) -> Option<(SourceSpan, Excerpt)> {
    const LINE_BYTES_MAX: usize = 400;
    let index = usize::try_from(line).ok()?.checked_sub(1)?;
    let skipped = index.saturating_sub(1);
    let lines = page.lines(skipped, 3);
    let marked = lines.get(index - skipped)?;
    if lines.iter().any(|line| line.len() > LINE_BYTES_MAX) {
        return None;
    }
    let column = usize::try_from(column).ok()?.checked_sub(1)?;
    // Something missing at the end of a line is just beyond its last character.
    let start = marked.char_indices().nth(column).map_or(marked.len(), |(at, _)| at);
    let before: usize = lines[..index - skipped].iter().map(|line| line.len() + 1).sum();
    let length = token_length(&marked[start..]).max(usize::from(start < marked.len()));
    let source = Excerpt {
        file: file.to_owned(),
        text: lines.join("\n"),
        skipped,
    };
    Some(((before + start, length).into(), source))
}

/// A line that can't steer the terminal it is shown on; columns stay what they were.
fn printable(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
        .collect()
}

/// Bytes of the value or key that `rest` begins with.
fn token_length(rest: &str) -> usize {
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    let end = match quote {
        Some(quote) => rest[1..].find(quote).map(|end| end + 2),
        None => rest.find(|c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}' | '=')),
    };
    end.unwrap_or_else(|| rest.trim_end().len())
}

/// `place` as `line` and `column` of a JSON object.
pub(super) fn line_and_column<S: Serializer>(place: &Option<(u32, u32)>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(2))?;
    map.serialize_entry("line", &place.map(|(line, _)| line))?;
    map.serialize_entry("column", &place.map(|(_, column)| column))?;
    map.end()
}
