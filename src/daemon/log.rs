//! Where log lines go: standard error, as text for people and journald, or as JSON. Also the last words
//! of a process that has no log yet, and those of a panic.
//!
//! The daemon never waits for whoever reads its log ([`lines`](mod@lines)).
//!
//! What clients say is escaped by tracing-subscriber (RUSTSEC-2025-0055).

mod lines;

use lines::{LineQueue, LineWriter};
use std::{
    backtrace::Backtrace,
    fmt,
    fs::File,
    io::{self, IsTerminal, stderr},
    os::{fd::AsFd, linux::fs::MetadataExt, unix::fs::MetadataExt as _},
    sync::OnceLock,
};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    filter::{LevelFilter, ParseError},
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Compact, Format, Writer},
    },
    registry::LookupSpan,
};

/// The variable that chooses lines, such as `info,boot=debug`; it goes before the level asked for.
pub const FILTER_VARIABLE: &str = "BOOTWRIGHT_LOG";

/// The lines of this process's log, once it is started.
static LINES: OnceLock<LineQueue> = OnceLock::new();

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people; under journald without the time, which journald knows, and with its priorities.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there is no log.
#[derive(Debug)]
pub enum LogError {
    /// What is to be logged makes no sense.
    Filter {
        /// The option or variable that says it.
        from: &'static str,
        /// What it says.
        filter: String,
        /// What is wrong with it.
        source: FilterError,
    },
    /// Standard error can't be written to.
    NoFile(io::Error),
    /// A log was started before.
    Started(Box<dyn std::error::Error + Send + Sync>),
    /// The system refuses a thread for it.
    NoThread(io::Error),
}

/// What is wrong with a filter.
#[derive(Debug)]
pub enum FilterError {
    /// It has a word where a level stands, and the word is none.
    NoLevel(String),
    /// It is no filter.
    Unreadable(ParseError),
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterError::NoLevel(word) => write!(f, "`{}` is no level", word.escape_debug()),
            FilterError::Unreadable(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FilterError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FilterError::NoLevel(_) => None,
            FilterError::Unreadable(error) => Some(error),
        }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Filter { from, filter, source } => write!(
                f,
                "{from} `{}` is no log filter ({source}); write `info`, `debug` or `info,boot=debug`",
                filter.escape_debug()
            ),
            LogError::NoFile(error) => write!(f, "the log has no file to go to: {error}"),
            LogError::Started(error) => error.fmt(f),
            LogError::NoThread(error) => write!(f, "no thread for the log: {error}"),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LogError::Filter { source, .. } => Some(source),
            LogError::NoFile(error) | LogError::NoThread(error) => Some(error),
            LogError::Started(error) => Some(&**error),
        }
    }
}

/// Starts the log of this process; [`write_in_background`] follows as soon as there may be threads, and
/// [`flush`] at the end. `level` is a level or a filter as in [`FILTER_VARIABLE`].
///
/// # Errors
///
/// The filter makes no sense, or a log was started before.
pub fn start(format: LogFormat, level: &str) -> Result<(), LogError> {
    let (wanted, from) = match std::env::var(FILTER_VARIABLE) {
        Ok(filter) if !filter.is_empty() => (filter, FILTER_VARIABLE),
        Ok(_) | Err(_) => (level.to_owned(), "--log-level"),
    };
    let refused = |source| LogError::Filter {
        from,
        filter: wanted.clone(),
        source,
    };
    if let Some(word) = misspelt_level(&wanted) {
        return Err(refused(FilterError::NoLevel(word.to_owned())));
    }
    let filter = EnvFilter::try_new(apart(&wanted)).map_err(|error| refused(FilterError::Unreadable(error)))?;
    let lines = lines().map_err(LogError::NoFile)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| LineWriter(lines));
    let started = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text if journald_reads() => builder.event_format(JournaldFormat::new()).try_init(),
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).compact().try_init(),
    };
    started.map_err(LogError::Started)?;
    std::panic::set_hook(Box::new(|panic| {
        let message = format!("{panic}; this is a bug of bootwright\n{}", Backtrace::capture());
        // A filter that lets no error through must not hide it.
        match tracing::enabled!(Level::ERROR) {
            true => tracing::error!(event = "panic", "{message}"),
            false => plain(format_args!("{message}")),
        }
        // The process ends with this thread.
        if std::thread::current().name() == Some("main") {
            flush();
        }
    }));
    Ok(())
}

/// This process's lines, which go to standard error from now on.
fn lines() -> io::Result<&'static LineQueue> {
    // Another descriptor of the same file: the standard library's own is locked while another thread writes to it.
    let file = File::from(stderr().as_fd().try_clone_to_owned()?);
    Ok(LINES.get_or_init(|| LineQueue::to(file)))
}

/// From now on a thread writes the log, and no other thread waits for its reader.
///
/// # Errors
///
/// The system refuses another thread.
pub fn write_in_background() -> Result<(), LogError> {
    let Some(lines) = LINES.get() else { return Ok(()) };
    let written = std::thread::Builder::new()
        .name("log-writer".to_owned())
        .spawn(|| lines.write(tell_lost));
    written.map(drop).map_err(LogError::NoThread)
}

fn tell_lost(lost: u64) {
    tracing::error!(
        "{lost} lines of this log were lost here: it was not read, or its disk took nothing. Machines were served meanwhile"
    );
}

/// Lines of the log that were lost, because they were not read in time.
pub fn lost() -> u64 {
    LINES.get().map_or(0, LineQueue::lost)
}

/// Waits for what was logged to be read, but not for a reader that reads nothing.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush();
    }
}

/// A line to standard error as it is, behind those of the log.
fn plain(line: fmt::Arguments<'_>) {
    match LINES.get() {
        Some(lines) => lines.take(format!("{line}\n").as_bytes()),
        None => eprintln!("{line}"),
    }
}

/// Says why a process ends: to people as it is, else a line an error in the log; under journald with the
/// priority of an error where there is no log yet.
pub fn last_words(message: &dyn fmt::Display) {
    let is_logged = !stderr().is_terminal() && tracing::enabled!(Level::ERROR);
    let priority = if journald_reads() { "<3>" } else { "" };
    let message = message.to_string();
    match is_logged {
        true => message
            .lines()
            .for_each(|line| tracing::error!(event = "exit", "{line}")),
        false => message.lines().enumerate().for_each(|(number, line)| {
            let program = if number == 0 { "bootwright: " } else { "" };
            plain(format_args!("{priority}{program}{line}"));
        }),
    }
}

/// The filter with `boot`, the steps of machines, kept apart from `bootwright`, all of our modules: tracing
/// takes the one for the beginning of the other, and `warn,boot=info` would be `info` for everything.
fn apart(filter: &str) -> String {
    let directives: Vec<&str> = filter.split(',').map(str::trim).collect();
    let names = |place: &str| {
        let mut places = directives.iter().map(|directive| directive.split(['=', '[']).next());
        places.any(|directive| directive.map(str::trim) == Some(place))
    };
    if !names("boot") || names("bootwright") {
        return filter.to_owned();
    }
    let is_level = |word: &&&str| word.parse::<LevelFilter>().is_ok();
    let general = directives.iter().rfind(is_level).unwrap_or(&"error");
    format!("{filter},bootwright={general}")
}

/// The first word of `filter` that stands alone and is no level: `inof` would be taken for the name
/// of a module, and the log would be silent.
fn misspelt_level(filter: &str) -> Option<&str> {
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let names_a_place = |word: &str| word.contains(['=', ':', '[']) || matches!(word, "boot" | "bootwright");
    filter
        .split(',')
        .map(str::trim)
        .find(|word| !is_level(word) && !names_a_place(word))
}

/// Whether standard error goes to journald: systemd names its device and inode (systemd.exec(5)).
pub fn journald_reads() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|ours| named == format!("{}:{}", ours.st_dev(), ours.ino()))
}

/// A text line as journald wants it: `<6>` for its priority (sd-daemon(3)), no time and no colour.
struct JournaldFormat(Format<Compact, ()>);

impl JournaldFormat {
    fn new() -> JournaldFormat {
        let line = Format::default()
            .compact()
            .without_time()
            .with_level(false)
            .with_ansi(false);
        JournaldFormat(line)
    }
}

impl<S, N> FormatEvent<S, N> for JournaldFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// syslog(3)'s number of a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    /// Which levels of a target's lines are wanted; the target must be a literal.
    macro_rules! levels {
        ($target:literal) => {
            [
                tracing::enabled!(target: $target, Level::ERROR).then_some(LevelFilter::ERROR),
                tracing::enabled!(target: $target, Level::WARN).then_some(LevelFilter::WARN),
                tracing::enabled!(target: $target, Level::INFO).then_some(LevelFilter::INFO),
                tracing::enabled!(target: $target, Level::DEBUG).then_some(LevelFilter::DEBUG),
            ]
        };
    }

    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    /// The most that a filter lets through of one place's lines.
    fn level_of(filter: &str, place: &str) -> LevelFilter {
        let filter = EnvFilter::try_new(apart(filter)).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(filter), || {
            let enabled = match place {
                "boot" => levels!("boot"),
                "bootwright::net" => levels!("bootwright::net"),
                _ => levels!("hyper"),
            };
            enabled.into_iter().flatten().max().unwrap_or(LevelFilter::OFF)
        })
    }

    #[test]
    fn boot_is_not_the_beginning_of_bootwright() {
        let levels = |filter| ["boot", "bootwright::net", "hyper"].map(|place| level_of(filter, place));
        let (off, warn, info, debug) = (
            LevelFilter::OFF,
            LevelFilter::WARN,
            LevelFilter::INFO,
            LevelFilter::DEBUG,
        );
        assert_eq!(levels("warn,boot=info"), [info, warn, warn]);
        assert_eq!(levels("boot=info,warn"), [info, warn, warn]);
        assert_eq!(levels("info,boot=debug"), [debug, info, info]);
        assert_eq!(levels("info,boot=off"), [off, info, info]);
        assert_eq!(levels("boot=info"), [info, LevelFilter::ERROR, off]);
        assert_eq!(levels("warn,boot=info,bootwright=debug"), [info, debug, warn]);
        assert_eq!(levels("warn,boot=info,bootwright::net=debug"), [info, debug, warn]);
        assert_eq!(levels("info"), [info, info, info]);
        assert_eq!(levels("warn,bootwright=info"), [warn, info, warn]);
    }

    #[test]
    fn a_misspelt_level_is_no_name_of_a_module() {
        assert_eq!(misspelt_level("inof"), Some("inof"));
        assert_eq!(misspelt_level("info,bot"), Some("bot"));
        for filter in [
            "info",
            "DEBUG",
            "off",
            "info,boot=debug",
            "warn, bootwright::net=trace",
            "boot",
        ] {
            assert_eq!(misspelt_level(filter), None, "{filter}");
        }
    }
}
